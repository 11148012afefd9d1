"""A step in stages as vector code: products and means that need all units of a sequence, then equations, row by row.

Products are the same register tiles as everywhere; they leave their sums in planes (N, H), from which the equations take
them: so the order of every chain is that of k, whatever the number of rows and threads. Threads that share the units meet
after each level.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import NamedTuple

from llvmlite import ir
from numba.core import cgutils

from ...equations.cell import Cell
from ...equations.expressions import Expr
from .. import schedule
from .barrier import emit_barrier_wait
from .copy import emit_vectors
from .gates import GateInputs, emit_gates, panels_of_gates, projected_range, up
from .lower import Expressions, leaves, of_units
from .tile import Segment, emit_product, emit_while, units_left
from .vector import I64, Vectors


class Team(NamedTuple):
    """Threads that share the units: this one's, and how often they have met in the call."""

    j0: ir.Value
    j1: ir.Value
    barrier: ir.Value
    parts: ir.Value
    met: ir.Value


class Planes(NamedTuple):
    """Scratch of a step, each node's (count, H), `apart` numbers apart."""

    first: ir.Value
    apart: ir.Value


class StepBackArgs(NamedTuple):
    """Arguments of `unit.backward_step`."""

    count: ir.Value
    j0: ir.Value
    j1: ir.Value
    panels: ir.Value
    dy: ir.Value
    carry: ir.Value
    carry_plane: ir.Value
    saved: ir.Value
    h_old: ir.Value
    h_new: ir.Value
    old: ir.Value
    new: ir.Value
    plane: ir.Value
    W: ir.Value
    H: ir.Value
    p: ir.Value
    da: ir.Value
    dp: ir.Value
    total: ir.Value
    total_plane: ir.Value
    work: ir.Value
    apart: ir.Value
    barrier: ir.Value
    parts: ir.Value
    met: ir.Value


class Row(NamedTuple):
    """A row on its way through a stretch of stages."""

    number: ir.Value
    first: ir.Value  # of this thread
    whole: bool  # or only the thread's part of its units
    means: dict[Expr, ir.Value]  # of what has been computed, in every lane


PADDED = object()  # rows padded to whole vectors: a part of one is slow to store
ADDED = object()  # to what is there


class Step:
    """What both directions of a step have in common."""

    def __init__(
        self, v: Vectors, cell: Cell, count, team: Team, W, H, planes: Planes, sums, direction
    ):
        self.v, self.b, self.cell, self.count, self.team, self.W, self.H = (
            v,
            v.b,
            cell,
            count,
            team,
            W,
            H,
        )
        self.planes, self.sums, (self.outputs, self.found) = planes, sums, direction(cell)

    def width(self, projected: bool):
        return self.W if projected else self.H

    def columns(self, projected: bool):
        """The part of this thread."""
        t = self.team
        return (
            projected_range(self.v, self.cell, t.j0, t.j1, self.H, self.W)
            if projected
            else (t.j0, t.j1)
        )

    def plane(self, e: Expr):
        return self.v.at(
            self.planes.first, self.b.mul(self.planes.apart, I64(self.found.planes[e]))
        )

    def emit(self, loaded: dict, put: Callable) -> ir.Value:
        """Every stage; returns how often this thread has met, -1 for in vain.

        Products are shared by units. So are equations, unless there are means: then they are shared by rows, and a row goes
        through all of a stretch while it is in cache.

        loaded: (row, unit) -> pointer of everything that is in memory, by node; a second pointer is added to the first.
        `put(k, row, unit)`: pointer of output k, and what must be true for it to be written, or None; or PADDED, or ADDED.
        """
        b, count, t = self.b, self.count, self.team
        met, done = cgutils.alloca_once_value(b, t.met), b.append_basic_block("stages_done")
        for number, stretch in enumerate(self.found.stretches):
            if number:
                self._meet(met, done)
            for stage in stretch:
                self.products(stage)
            by_rows = any(stage.means for stage in stretch)
            first, last = I64(0), count
            if by_rows:
                self._meet(met, done)
                first, last = (b.sdiv(b.mul(count, j), self.H) for j in (t.j0, t.j1))

            def row_of_stages(row, stretch=stretch, by_rows=by_rows, first=first):
                here = Row(row, first, by_rows, {})
                for stage in stretch:
                    self.equations(stage, here, loaded, put)

            emit_while(self.v, first, 1, last, row_of_stages)
        b.branch(done)
        b.position_at_end(done)
        return b.load(met)

    def _meet(self, met, done):
        b, t = self.b, self.team
        meeting, following, apart = (
            b.append_basic_block(n) for n in ("meeting", "following", "apart")
        )
        b.cbranch(b.icmp_signed(">", t.parts, I64(1)), meeting, following)
        b.position_at_end(meeting)
        times = b.add(b.load(met), I64(1))
        b.store(times, met)
        b.cbranch(emit_barrier_wait(b, t.barrier, t.parts, times), following, apart)
        b.position_at_end(apart)
        b.store(I64(-1), met)
        b.branch(done)
        b.position_at_end(following)

    def products(self, stage: schedule.Stage) -> None:
        """Every product of a stage into its plane. At `sums` lie the panels of all products, at last their biases."""
        v, b = self.v, self.b
        place, every = self.sums, [e for s in self.found.stages for e in s.products]
        biases = v.at(place, self._before(len(every)))
        M = self.width(stage.projected)
        for e in stage.products:
            source, K = self.plane(e.args[0]), self.width(self.cell.projected_nodes[e.args[0]])
            panels = v.at(self.sums, self._before(every.index(e)))

            def segments(n, j, blocks, source=source, K=K, panels=panels):
                row = v.at(source, b.mul(self.H, n))
                return [
                    Segment(row, self.H, I64(1), K, v.at(panels, b.mul(j, K)), list(range(blocks)))
                ]

            bias = v.at(biases, b.mul(self.H, I64(every.index(e))))
            emit_product(
                v, self.count, M, bias, I64(0), self.plane(e), segments, self.columns(stage.projected), self.H
            )  # fmt: skip

    def _before(self, number: int):
        """Numbers in the panels of the products before this one."""
        total = I64(0)
        for s in self.found.stages:
            for e in s.products:
                if number > 0:
                    K = self.width(self.cell.projected_nodes[e.args[0]])
                    total = self.b.add(total, self.b.mul(up(self.v, self.width(s.projected)), K))
                number -= 1
        return total

    def equations(self, stage: schedule.Stage, row: Row, loaded: dict, put: Callable) -> None:
        """The equations of a stage for a row, and the means of what they compute."""
        v, b, width = self.v, self.b, self.width(stage.projected)
        averaged = [e.args[0] for e in stage.means]
        results = [*stage.kept, *averaged, *(self.outputs[k].value for k in stage.outputs)]
        if not results:
            return
        there = [e for e in self.found.planes if self._is_there(e, stage)]
        inputs = leaves(results, dict.fromkeys((*loaded, *row.means, *there)))
        means = {
            e: self._mean_of_before(e, row) for e in inputs if e.op == "mean" and e not in loaded
        }
        inputs = [e for e in inputs if e not in means]
        totals = [cgutils.alloca_once(b, v.type) for _ in averaged]
        for total in totals:
            b.store(v.constant(0.0), total)

        def units(unit, mask):
            known = dict(means)
            for e in inputs:
                pointers = (
                    loaded[e](row.number, unit) if e in loaded else [self.place(e, row, unit)]
                )
                known[e] = reduce(b.fadd, [v.load(pointer, mask) for pointer in pointers])
            code = Expressions(v, results, known)
            for e in results:
                code.value(e)
            for e, total in zip(averaged, totals, strict=True):
                value = (
                    code.value(e)
                    if mask is None
                    else b.select(mask, code.value(e), v.constant(0.0))
                )
                b.store(b.fadd(b.load(total), value), total)
            for e in stage.kept:
                v.store(code.value(e), self.place(e, row, unit), mask)
            conditional: dict = {}
            for k in stage.outputs:
                value, (pointer, condition) = (
                    code.value(self.outputs[k].value),
                    put(k, row.number, unit),
                )
                if condition is None:
                    v.store(value, pointer, mask)
                elif condition is PADDED:
                    v.store(value, pointer)
                elif condition is ADDED:
                    v.store(b.fadd(v.load(pointer, mask), value), pointer, mask)
                else:
                    conditional.setdefault(condition, []).append((value, pointer))
            for condition, some in conditional.items():
                with b.if_then(condition):
                    for value, pointer in some:
                        v.store(value, pointer, mask)

        emit_vectors(v, *((I64(0), width) if row.whole else self.columns(stage.projected)), units)
        for e, total in zip(stage.means, totals, strict=True):
            share = b.fdiv(v.across(b.load(total), b.fadd), b.sitofp(width, v.real))
            row.means[e] = v.broadcast(share)
            if e in self.found.lasting:
                b.store(share, self.place(e, row, I64(0)))

    def place(self, e, row, unit):
        """Where a row's numbers of a node lie: what nobody else reads, in the same few lines for all rows of a thread."""
        line = row.number if e in self.found.lasting else row.first
        return self.v.at(self.plane(e), self.b.mul(self.H, line), unit)

    def _is_there(self, e, stage):
        """Whether a node is in its plane when the equations of a stage begin."""
        for s in self.found.stages:
            if e in s.kept or e in s.means:
                return s.level < stage.level
            if e in s.products:
                return s.level <= stage.level
        return True

    def _mean_of_before(self, e, row):
        """A mean in every lane: of this stretch, or of one before."""
        if e not in row.means:
            row.means[e] = self.v.broadcast(self.b.load(self.place(e, row, I64(0))))
        return row.means[e]


def emit_forward(
    v: Vectors,
    cell: Cell,
    count,
    team: Team,
    g: GateInputs,
    p,
    old,
    new,
    plane,
    h_new,
    saved,
    planes: Planes,
):
    """`unit.forward_step` of a cell whose units meet within a step."""
    b, H, W = v.b, g.H, g.W
    products = v.at(g.panels, panels_of_gates(v, cell, len(schedule.tiles(cell)), H, g.D, W))
    step = Step(v, cell, count, team, W, H, planes, products, schedule.forward)
    S, K = len(cell.states), len(cell.backward.saved)
    recording = b.icmp_unsigned("!=", b.ptrtoint(saved, I64), I64(0))

    def state(first, others, k, row, unit):
        if k == 0:
            return v.at(first, b.mul(W, row), unit)
        return v.at(others, b.mul(plane, I64(k - 1)), b.mul(H, row), unit)

    def put(k, row, unit):
        if k < S:
            return state(h_new, new, k, row, unit), None
        return v.at(saved, b.mul(H, b.add(b.mul(row, I64(K)), I64(k - S))), unit), recording

    loaded = {
        e: lambda row, unit, k=k: [state(g.h, old, k, row, unit)]
        for k, e in enumerate(cell.previous)
    }
    loaded |= {
        e: lambda row, unit, e=e: [of_units(v, cell, p, row, unit, H)[e]]
        for e in cell.parameter_inputs
    }

    for number, tile in enumerate(schedule.tiles(cell)):

        def finish(row, j, u, acc, tile=tile):
            unit = b.add(j, I64(u * v.lanes))
            here, left = b.add(b.mul(H, row), unit), units_left(v, b.sub(H, j), u)
            sums = [v.at(step.plane(cell.accumulators[k].input), here) for k in tile]
            v.store_units(list(zip(acc, sums, strict=True)), left)

        emit_gates(v, cell, number, count, team.j0, team.j1, g, finish)
    return step.emit(loaded, put)


def emit_backward(v: Vectors, cell: Cell, a: StepBackArgs) -> ir.Value:
    """`unit.backward_step`, in as many stages as the cell has: one, where its units do not meet within a step."""
    b, back, count, W, H = v.b, cell.backward, a.count, a.W, a.H
    team, planes = Team(a.j0, a.j1, a.barrier, a.parts, a.met), Planes(a.work, a.apart)
    rows_of_W_hh = b.mul(H, I64(len(cell.h_gates)))
    step = Step(
        v,
        cell,
        count,
        team,
        W,
        H,
        planes,
        v.at(a.panels, b.mul(up(v, W), rows_of_W_hh)),
        schedule.backward,
    )
    S, K = len(cell.states), len(back.saved)
    totals = b.icmp_unsigned("!=", b.ptrtoint(a.total, I64), I64(0))

    def state(first, others, k, row, unit):
        if k == 0:
            return v.at(first, b.mul(W, row), unit)
        return v.at(others, b.mul(a.plane, I64(k - 1)), b.mul(H, row), unit)

    def carried(k, row, unit):
        return v.at(a.carry, b.mul(a.carry_plane, I64(k)), b.mul(up(v, H), row), unit)

    def inside(first, count, k, row, unit):
        return v.at(first, b.mul(H, b.add(b.mul(row, I64(count)), I64(k))), unit)

    def put(k, row, unit):
        A, P = len(cell.accumulators), len(cell.parameters)
        if A <= k < A + P:
            return inside(a.dp, P, k - A, row, unit), ADDED
        k -= P if k >= A else 0
        if k < cell.columns:
            return inside(a.da, cell.columns, k, row, unit), None
        k -= cell.columns
        if k < S:
            return carried(k, row, unit), PADDED
        return v.at(a.total, b.mul(a.total_plane, I64(k - S)), b.mul(H, row), unit), totals

    def arriving(k, row, unit):
        y = [v.at(a.dy, b.mul(W, row), unit)] if k == cell.output else []
        return [carried(k, row, unit), *y]

    loaded = {
        e: lambda row, unit, k=k: [inside(a.saved, K, k, row, unit)]
        for k, (_, e) in enumerate(back.saved)
    }
    loaded |= {
        e: lambda row, unit, k=k: [state(a.h_new, a.new, k, row, unit)]
        for k, e in enumerate(cell.new)
    }
    loaded |= {
        e: lambda row, unit, k=k: [state(a.h_old, a.old, k, row, unit)]
        for k, e in enumerate(cell.previous)
    }
    loaded |= {
        e: lambda row, unit, e=e: [of_units(v, cell, a.p, row, unit, H)[e]]
        for e in cell.parameter_inputs
    }
    loaded |= {e: lambda row, unit, k=k: arriving(k, row, unit) for k, e in enumerate(back.d_new)}

    return step.emit(loaded, put)
