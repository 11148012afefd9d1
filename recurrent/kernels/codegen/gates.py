"""The large products of a cell: the accumulators of its gates, and the gradient W_hh' da of h.

An accumulator is a pre-activation of one unit, or its x part or h part if the cell needs them
apart. A tile computes the accumulators of some units side by side, so the epilogue has all
pre-activations of a unit in registers. Cells without interaction between units apply their
equations there (`step`); others store the sums first (`staged`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ...equations.cell import Cell
from ..schedule import tiles
from .target import TARGETS
from .tile import (
    SIDE_BY_SIDE,
    Cut,
    Segment,
    accumulate,
    emit_pieces,
    emit_product,
    emit_row,
    emit_rows,
    emit_units,
    parts,
    pointer_to,
    pointer_to_weights,
    up,
)
from .vector import I64, Vectors


class GateInputs(NamedTuple):
    """The operands of the accumulators of one time step."""

    init: ir.Value  # initial values: the bias, or rows of bias plus x part
    init_stride: ir.Value  # 0 if it is the bias
    init_rows: ir.Value  # (count,): the row of init of each sequence; null for row n
    x: ir.Value  # (count, D)
    D: ir.Value
    adds_x: ir.Value  # 1, or 0 if init has the x part
    h: ir.Value | None  # (count, P); None: the x part alone
    P: ir.Value
    H: ir.Value
    panels: ir.Value  # packed weights: for each tile those of x, then those of h
    downward: ir.Value  # 1: the last units come first, see `tile.emit_units`


def projected_range(v: Vectors, cell: Cell, j0, j1, H, P) -> tuple[ir.Value, ir.Value]:
    """Return the part of the P projected values that belongs to the thread with units j0 to j1.

    The part consists of whole tiles, except at the end of P.
    """
    if not cell.has_projection:
        return j0, j1
    b, grain = v.b, I64(4 * v.lanes)

    def share(j):
        whole = b.mul(b.sdiv(b.sdiv(b.mul(j, P), H), grain), grain)
        return b.select(b.icmp_signed(">=", j, H), P, whole)

    return share(j0), share(j1)


def weights_per_unit(v: Vectors, cell: Cell, tile: tuple[int, ...], D, P) -> ir.Value:
    """Return how many weights a unit has in the panels of a tile."""
    X, R = (sum(getattr(cell.accumulators[k], part) for k in tile) for part in "xh")
    D, P = (v.b.add(n, I64(v.target.scale_rows)) for n in (D, P))
    return v.b.add(v.b.mul(D, I64(X)), v.b.mul(P, I64(R)))


def panels_of_tile(v: Vectors, cell: Cell, number: int, H, D, P) -> ir.Value:
    """Return where the panels of a tile begin; for the number after the last tile, their end."""
    start = I64(0)
    for tile in tiles(cell)[:number]:
        start = v.b.add(start, v.b.mul(up(v, H), weights_per_unit(v, cell, tile, D, P)))
    return start


def emit_gates(
    v: Vectors, cell: Cell, number: int, count, j0, j1, g: GateInputs, cut: Cut, finish: Callable
) -> None:
    """Compute a tile of accumulators (`schedule.tiles`) for `count` sequences, units j0 to j1.

    `finish(row, first unit, block, accumulators)` is the epilogue of a row and a block of units.
    `cut.sums`: (count, vectors of a tile).
    """
    b, tile = v.b, tiles(cell)[number]
    A = len(tile)
    before = sum(len(other) for other in tiles(cell)[:number])
    init = v.at(g.init, b.mul(up(v, g.H), I64(before)))
    panels = v.at(g.panels, panels_of_tile(v, cell, number, g.H, g.D, g.P))
    numbers = weights_per_unit(v, cell, tile, g.D, g.P)
    X = sum(cell.accumulators[k].x for k in tile)

    def units(j, blocks, side_by_side, only_row=False):
        touched = {
            part: [
                u * A + k
                for u in range(blocks)
                for k, a in enumerate(tile)
                if getattr(cell.accumulators[a], part)
            ]
            for part in "xh"
        }
        vectors, width = blocks * A, blocks * v.lanes
        firsts = [b.add(j, I64(p * width)) for p in range(side_by_side)]
        panel = [v.at(panels, b.mul(first, numbers)) for first in firsts]
        recurrent = [v.panel(one, I64(X * width), g.D) for one in panel]
        one = I64(1)
        whole = {"x": Segment(g.x, g.D, one, b.mul(g.adds_x, g.D), panel, touched["x"])}
        if g.h is not None:
            whole["h"] = Segment(g.h, g.P, one, g.P, recurrent, touched["h"])
        whole = [segment for segment in whole.values() if segment.touched]
        total = reduce(b.add, (segment.K for segment in whole), I64(0))

        def sums_of(n, r):
            return v.at(cut.sums, b.mul(b.add(n, I64(r)), I64(vectors * v.lanes)))

        def initial(n, rows):
            places = [emit_row(v, g.init_rows, b.add(n, I64(r))) for r in range(rows)]
            return [v.at(init, b.mul(g.init_stride, place), b.mul(j, I64(A))) for place in places]

        def begin(n, rows, first):
            """Return the accumulators of some rows when k = first begins."""
            places = initial(n, rows)
            if v.target.cut:
                begins = b.icmp_signed("==", first, I64(0))
                places = [b.select(begins, s, sums_of(n, r)) for r, s in enumerate(places)]
            every = range(side_by_side * vectors)  # tiles side by side lie one after the other
            return [[v.load(v.at(s, k * v.lanes)) for k in every] for s in places]

        def sums_after(n, rows, first, some):
            """Add some segments, from k = first on, to the accumulators of some rows."""
            acc = begin(n, rows, first)
            for segment in some:
                acc = accumulate(v, acc, segment, n)
            return acc

        def stored(n, rows, first, some):
            for r, row in enumerate(sums_after(n, rows, first, some)):
                for k, value in enumerate(row):
                    v.store(value, v.at(sums_of(n, r), k * v.lanes))

        def finished(n, rows, first, some):
            acc = sums_after(n, rows, first, some)
            for p, unit in enumerate(firsts):
                for u in range(blocks):
                    for r in range(rows):
                        at = p * vectors + u * A
                        finish(b.add(n, I64(r)), unit, u, acc[r][at : at + A])

        if only_row:
            finished(I64(0), 1, I64(0), whole)
            return
        if not v.target.cut:
            emit_rows(v, vectors, count, lambda n, rows: finished(n, rows, I64(0), whole))
            return
        # All pieces but the last are added up here, where the epilogue follows.
        before = b.block
        with b.if_then(b.icmp_signed("<", cut.piece, total)):
            early = b.mul(b.sdiv(b.sub(total, I64(1)), cut.piece), cut.piece)

            def piece(first, last):
                some = parts(v, whole, first, last)
                emit_rows(v, vectors, count, lambda n, rows: stored(n, rows, first, some))

            emit_pieces(v, early, cut.piece, piece)
            inside = b.block
        first = b.phi(I64)
        first.add_incoming(I64(0), before)
        first.add_incoming(early, inside)

        some = parts(v, whole, first, total)
        emit_rows(v, vectors, count, lambda n, rows: finished(n, rows, first, some))

    downward = b.icmp_signed("!=", g.downward, I64(0))
    with b.if_else(b.icmp_signed("==", count, I64(1))) as (single, several):
        with single:
            emit_units(v, A, j0, j1, partial(units, only_row=True), downward, SIDE_BY_SIDE)
        with several:
            emit_units(v, A, j0, j1, units, downward)


@intrinsic
def project_tiles(typingctx, target, count, bias, x, D, P, H, panels, piece, sums, out):
    """Compute out (count, vectors) = bias plus the x part of every accumulator.

    This is an init for `forward_step`, from the same panels. piece, sums: see `tile.Cut`.
    """
    t = TARGETS[target.name]
    cell = t.cell

    def codegen(context, b, _, args):
        _, count, bias, x, D, P, H, panels, piece, sums, out = args
        v = Vectors(b, t)
        out_stride = b.mul(up(v, H), I64(len(cell.accumulators)))
        in_order = ir.Constant(I64.as_pointer(), None)
        inputs = GateInputs(bias, I64(0), in_order, x, D, I64(1), None, P, H, panels, I64(0))
        start = out
        for number, tile in enumerate(tiles(cell)):

            def finish(row, j, u, acc, start=start):
                line = v.at(start, b.mul(out_stride, row), b.mul(j, I64(len(acc))))
                for k, value in enumerate(acc):
                    v.store(value, v.at(line, (u * len(acc) + k) * v.lanes))

            emit_gates(v, cell, number, count, I64(0), H, inputs, Cut(piece, sums), finish)
            start = v.at(start, b.mul(up(v, H), I64(len(tile))))
        return context.get_dummy_value()

    i, q, w = types.int64, pointer_to(t), pointer_to_weights(t)
    return types.void(target, i, q, q, i, i, i, w, i, q, q), codegen


@intrinsic
def flow_tiles(typingctx, target, count, j0, j1, da, panels, carry, P, H, piece, downward):
    """Add da (count, columns, H) times W_hh to carry (count, H padded to whole vectors).

    This is the gradient of h that flows from the next time step. Only the part of the P
    columns that belongs to the units j0 to j1 is computed.
    """
    t = TARGETS[target.name]
    cell = t.cell

    def codegen(context, b, _, args):
        _, count, j0, j1, da, panels, carry, P, H, piece, downward = args
        if not cell.h_runs:
            return context.get_dummy_value()
        v = Vectors(b, t)
        row = b.mul(H, I64(cell.columns))

        def segments(firsts, blocks):
            tiles = [v.at(panels, b.mul(j, b.mul(H, I64(len(cell.h_gates))))) for j in firsts]
            for run in cell.h_runs:
                a = v.at(da, b.mul(H, I64(run.accumulator)))
                before = b.mul(H, I64(run.gate * blocks * v.lanes))
                weights = [v.at(panel, before) for panel in tiles]
                K = b.mul(H, I64(run.count))
                yield Segment(a, row, I64(1), K, weights, list(range(blocks)))

        first, last = projected_range(v, cell, j0, j1, H, P)
        columns, stride = (first, up(v, last)), up(v, H)
        emit_product(
            v, count, up(v, P), carry, stride, carry, segments, piece, columns, stride,
            b.icmp_signed("!=", downward, I64(0)),
        )  # fmt: skip
        return context.get_dummy_value()

    i, q = types.int64, pointer_to(t)
    return types.void(target, i, i, i, q, q, q, i, i, i, i), codegen
