"""The large products of a cell: accumulators of its gates from x and h, and what flows back through W_hh."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ...equations.cell import Cell
from ..schedule import tiles
from .target import TARGETS
from .tile import Segment, accumulate, emit_product, emit_row, emit_rows, emit_units, pointer_to
from .vector import I64, Vectors


class GateInputs(NamedTuple):
    """What accumulators are computed from: see `unit.forward_step`."""

    init: ir.Value
    init_stride: ir.Value
    init_rows: ir.Value
    x: ir.Value
    D: ir.Value
    adds_x: ir.Value
    h: ir.Value | None  # None: only the x part
    W: ir.Value
    H: ir.Value
    panels: ir.Value


def up(v: Vectors, units: ir.Value) -> ir.Value:
    """Units rounded up to whole vectors."""
    return v.b.mul(v.b.sdiv(v.b.add(units, I64(v.lanes - 1)), I64(v.lanes)), I64(v.lanes))


def projected_range(v: Vectors, cell: Cell, j0, j1, H, W) -> tuple[ir.Value, ir.Value]:
    """Of what is handed on, the part of a thread that has the units j0 to j1: whole tiles but for the end of W."""
    if not cell.has_projection:
        return j0, j1
    b, grain = v.b, I64(4 * v.lanes)

    def share(j):
        whole = b.mul(b.sdiv(b.sdiv(b.mul(j, W), H), grain), grain)
        return b.select(b.icmp_signed(">=", j, H), W, whole)

    return share(j0), share(j1)


def per_unit(v: Vectors, cell: Cell, tile: tuple[int, ...], D, W) -> ir.Value:
    """Weights that a unit takes in the panels of a tile."""
    X, R = (sum(getattr(cell.accumulators[k], part) for k in tile) for part in "xh")
    return v.b.add(v.b.mul(D, I64(X)), v.b.mul(W, I64(R)))


def panels_of_gates(v: Vectors, cell: Cell, before: int, H, D, W) -> ir.Value:
    """Where in the forward panels those of the tile number `before` begin; of the one after the last: where they end."""
    start = I64(0)
    for tile in tiles(cell)[:before]:
        start = v.b.add(start, v.b.mul(up(v, H), per_unit(v, cell, tile, D, W)))
    return start


def emit_gates(
    v: Vectors, cell: Cell, number: int, count, j0, j1, g: GateInputs, finish: Callable
) -> None:
    """The accumulators of the cell's tile of this number, for `count` sequences and the units j0 to j1.

    `finish(row, first unit, block, accumulators)` gets those of a row and a block of units, in registers.
    """
    b, tile = v.b, tiles(cell)[number]
    A = len(tile)
    before = sum(len(other) for other in tiles(cell)[:number])
    init = v.at(g.init, b.mul(up(v, g.H), I64(before)))
    panels, numbers = (
        v.at(g.panels, panels_of_gates(v, cell, number, g.H, g.D, g.W)),
        per_unit(v, cell, tile, g.D, g.W),
    )
    X = sum(cell.accumulators[k].x for k in tile)

    def units(j, blocks):
        touched = {
            part: [
                u * A + k
                for u in range(blocks)
                for k, a in enumerate(tile)
                if getattr(cell.accumulators[a], part)
            ]
            for part in "xh"
        }
        panel = v.at(panels, b.mul(j, numbers))
        recurrent = v.at(panel, b.mul(g.D, I64(X * blocks * v.lanes)))

        def rows_of_tile(n, rows):
            places = [emit_row(v, g.init_rows, b.add(n, I64(r))) for r in range(rows)]
            starts = [v.at(init, b.mul(g.init_stride, place), b.mul(j, I64(A))) for place in places]
            acc = [[v.load(v.at(s, k * v.lanes)) for k in range(blocks * A)] for s in starts]
            from_x = Segment(
                v.at(g.x, b.mul(g.D, n)), g.D, I64(1), b.mul(g.adds_x, g.D), panel, touched["x"]
            )
            segments = [from_x]
            if g.h is not None:
                segments.append(
                    Segment(v.at(g.h, b.mul(g.W, n)), g.W, I64(1), g.W, recurrent, touched["h"])
                )
            for segment in segments:
                acc = accumulate(v, acc, segment) if segment.touched else acc
            for u in range(blocks):
                for r in range(rows):
                    finish(b.add(n, I64(r)), j, u, acc[r][u * A : (u + 1) * A])

        emit_rows(v, blocks * A, count, rows_of_tile)

    emit_units(v, A, j0, j1, units)


@intrinsic
def project_tiles(typingctx, target, count, bias, x, D, W, H, panels, out):
    """out (count, vectors) = bias plus the x part of every accumulator: an init for `forward_step`, with its panels."""
    t = TARGETS[target.name]
    cell = t.cell

    def codegen(context, b, _, args):
        _, count, bias, x, D, W, H, panels, out = args
        v = Vectors(b, t)
        out_stride = b.mul(up(v, H), I64(len(cell.accumulators)))
        nowhere = ir.Constant(I64.as_pointer(), None)
        given = GateInputs(bias, I64(0), nowhere, x, D, I64(1), None, W, H, panels)
        start = out
        for number, tile in enumerate(tiles(cell)):

            def finish(row, j, u, acc, start=start):
                line = v.at(start, b.mul(out_stride, row), b.mul(j, I64(len(acc))))
                for k, value in enumerate(acc):
                    v.store(value, v.at(line, (u * len(acc) + k) * v.lanes))

            emit_gates(v, cell, number, count, I64(0), H, given, finish)
            start = v.at(start, b.mul(up(v, H), I64(len(tile))))
        return context.get_dummy_value()

    i, q = types.int64, pointer_to(t)
    return types.void(target, i, q, q, i, i, i, q, q), codegen


@intrinsic
def flow_tiles(typingctx, target, count, j0, j1, da, panels, carry, W, H):
    """carry (count, H padded to whole vectors) += da (count, columns, H) times W_hh: the gradient of h from the step after.

    Of W columns, padded too, those that belong to the units j0 to j1.
    """
    t = TARGETS[target.name]
    cell = t.cell

    def codegen(context, b, _, args):
        _, count, j0, j1, da, panels, carry, W, H = args
        v = Vectors(b, t)

        row = b.mul(H, I64(cell.columns))

        def segments(n, j, blocks):
            panel = v.at(panels, b.mul(j, b.mul(H, I64(len(cell.h_gates)))))
            for run in cell.h_runs:
                a = v.at(da, b.mul(row, n), b.mul(H, I64(run.accumulator)))
                weights = v.at(panel, b.mul(H, I64(run.gate * blocks * v.lanes)))
                yield Segment(
                    a, row, I64(1), b.mul(H, I64(run.count)), weights, list(range(blocks))
                )

        first, last = projected_range(v, cell, j0, j1, H, W)
        emit_product(
            v, count, up(v, W), carry, up(v, H), carry, segments, (first, up(v, last)), up(v, H)
        )
        return context.get_dummy_value()

    i, q = types.int64, pointer_to(t)
    return types.void(target, i, i, i, q, q, q, i, i), codegen
