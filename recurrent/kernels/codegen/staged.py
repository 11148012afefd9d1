"""A time step in stages, for cells whose units interact within a step, and for every backward step.

A product within a step or a mean over units needs values of all units of a sequence, so a step
cannot be the epilogue of one tile. `schedule` divides it into stages: products by register tiles,
whose sums are stored in the workspace, then equations row by row, which read them there. Workspace
arrays are (count, H), one for each node that a later stage reads. Threads that share the units wait
for each other at a barrier between groups of stages.
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
from .gates import GateInputs, emit_gates, panels_of_tile, projected_range
from .lower import Expressions, leaves, per_unit_pointers
from .tile import Cut, Segment, emit_product, emit_while, units_left, up
from .vector import I64, Vectors


class Team(NamedTuple):
    """One thread's share of the units of a step, and the state that it needs at the barrier."""

    j0: ir.Value  # its first unit
    j1: ir.Value  # the unit after its last
    barrier: ir.Value  # pointer, see `barrier_wait`
    parts: ir.Value  # number of threads
    rounds: ir.Value  # number of waits of this thread so far in this call of the kernel


class Workspace(NamedTuple):
    """Workspace arrays of a step, one (count, H) for each node of `schedule.Stages.planes`."""

    first: ir.Value
    stride: ir.Value  # distance between the arrays
    piece: ir.Value  # how panels are read, see `tile.Cut`
    sums: ir.Value


class ForwardStates(NamedTuple):
    """States before and after a forward step, and per-unit numbers; pointers to the first row."""

    h_new: ir.Value  # (count, P)
    old: ir.Value  # the other states before the step, (states - 1, count, H)
    new: ir.Value  # and after it
    stride: ir.Value  # distance between two of the other states
    saved: ir.Value  # (count, K, H), or null: the step is not recorded
    p: ir.Value  # see `per_unit_pointers`


class BackwardStates(NamedTuple):
    """States and values saved by a recorded forward step; fields as in ForwardStates."""

    h_old: ir.Value  # (count, P)
    h_new: ir.Value  # (count, P)
    old: ir.Value
    new: ir.Value
    stride: ir.Value
    saved: ir.Value
    p: ir.Value


class BackwardGradients(NamedTuple):
    """Gradients that a backward step reads and writes; pointers to the first row."""

    dy: ir.Value  # (count, P)
    carry: ir.Value  # (states, count, H padded to whole vectors): after the step, then before it
    carry_stride: ir.Value  # distance between two states in carry
    da: ir.Value  # (count, columns, H), written
    dp: ir.Value  # (count, per-unit parameters, H), added to
    states: ir.Value  # (states, count, H), written, or null
    states_stride: ir.Value  # distance between two states in `states`


class Row(NamedTuple):
    """A row on its way through a group of stages."""

    number: ir.Value
    first: ir.Value  # the thread's first row
    whole: bool  # all units, or only those of this thread
    means: dict[Expr, ir.Value]  # means computed so far, in every lane


# How an output is stored, other than by a plain store.
PADDED = object()  # in rows padded to whole vectors: storing a part of a vector is slow
ADDED = object()  # added to what is there


class Step:
    """The code that both directions of a step have in common."""

    def __init__(
        self,
        v: Vectors,
        cell: Cell,
        count,
        team: Team,
        P,
        H,
        workspace: Workspace,
        panels,
        direction,
    ):
        self.v, self.b, self.cell, self.count, self.team = v, v.b, cell, count, team
        self.P, self.H, self.workspace, self.panels = P, H, workspace, panels
        self.outputs, self.schedule = direction(cell)

    def width(self, projected: bool):
        """Return how many values a node has in a row."""
        return self.P if projected else self.H

    def columns(self, projected: bool):
        """Return the range of those values that is this thread's."""
        t = self.team
        if projected:
            return projected_range(self.v, self.cell, t.j0, t.j1, self.H, self.P)
        return t.j0, t.j1

    def plane(self, e: Expr):
        """Return a pointer to the workspace array of a node."""
        offset = self.b.mul(self.workspace.stride, I64(self.schedule.planes[e]))
        return self.v.at(self.workspace.first, offset)

    def emit(self, loaded: dict, put: Callable) -> ir.Value:
        """Write every stage; return how often this thread has waited, -1 if another gave up.

        Threads share the units of products and equations. In a group with means they share the rows
        instead, and a row passes all stages of the group while it is in cache.

        loaded: for each node in memory, (row, unit) -> pointers, whose values are added up. `put(k,
        row, unit)`: a pointer to output k, and None, PADDED, ADDED, or the condition on which it is
        stored.
        """
        b, count, t = self.b, self.count, self.team
        rounds, done = cgutils.alloca_once_value(b, t.rounds), b.append_basic_block("stages_done")
        for number, group in enumerate(self.schedule.groups):
            if number:
                self._wait(rounds, done)
            for stage in group:
                self.products(stage)
            by_rows = any(stage.means for stage in group)
            first, last = I64(0), count
            if by_rows:
                self._wait(rounds, done)
                first, last = (b.sdiv(b.mul(count, j), self.H) for j in (t.j0, t.j1))

            def row_of_group(row, group=group, by_rows=by_rows, first=first):
                here = Row(row, first, by_rows, {})
                for stage in group:
                    self.equations(stage, here, loaded, put)

            emit_while(self.v, first, 1, last, row_of_group)
        b.branch(done)
        b.position_at_end(done)
        return b.load(rounds)

    def _wait(self, rounds, done):
        """Wait at the barrier if several threads share the step; leave if one of them gave up."""
        b, t = self.b, self.team
        waiting, following, abandoned = (
            b.append_basic_block(n) for n in ("waiting", "following", "abandoned")
        )
        b.cbranch(b.icmp_signed(">", t.parts, I64(1)), waiting, following)
        b.position_at_end(waiting)
        round_number = b.add(b.load(rounds), I64(1))
        b.store(round_number, rounds)
        complete = emit_barrier_wait(b, t.barrier, t.parts, round_number)
        b.cbranch(complete, following, abandoned)
        b.position_at_end(abandoned)
        b.store(I64(-1), rounds)
        b.branch(done)
        b.position_at_end(following)

    def products(self, stage: schedule.Stage) -> None:
        """Compute the products of a stage in the workspace.

        The panels of all products of the step lie one after the other, then their biases.
        """
        v, b, every = self.v, self.b, self.schedule.products
        biases = v.at(self.panels, self._before(len(every)))
        biases = b.bitcast(biases, v.real.as_pointer())
        M = self.width(stage.projected)
        for e in stage.products:
            source, K = self.plane(e.args[0]), self.width(self.cell.projected_nodes[e.args[0]])
            panels = v.at(self.panels, self._before(every.index(e)))

            def segments(firsts, blocks, source=source, K=K, panels=panels):
                tiles = [v.panel(panels, j, K) for j in firsts]
                return [Segment(source, self.H, I64(1), K, tiles, list(range(blocks)))]

            bias = v.at(biases, b.mul(self.H, I64(every.index(e))))
            columns, piece = self.columns(stage.projected), self.workspace.piece
            out = self.plane(e)
            emit_product(v, self.count, M, bias, I64(0), out, segments, piece, columns, self.H)

    def _before(self, number: int):
        """Return how many weights the panels of the first `number` products have."""
        total = I64(0)
        for s in self.schedule.stages:
            for e in s.products:
                if number > 0:
                    K = self.width(self.cell.projected_nodes[e.args[0]])
                    K = self.b.add(K, I64(self.v.target.scale_rows))
                    total = self.b.add(total, self.b.mul(up(self.v, self.width(s.projected)), K))
                number -= 1
        return total

    def equations(self, stage: schedule.Stage, row: Row, loaded: dict, put: Callable) -> None:
        """Compute the equations of a stage for a row, and the means of their results."""
        v, b, width = self.v, self.b, self.width(stage.projected)
        averaged = [e.args[0] for e in stage.means]
        results = [*stage.stored, *averaged, *(self.outputs[k].value for k in stage.outputs)]
        if not results:
            return
        computed = [e for e in self.schedule.planes if self._is_computed(e, stage)]
        inputs = leaves(results, dict.fromkeys((*loaded, *row.means, *computed)))
        means = {
            e: self._earlier_mean(e, row) for e in inputs if e.op == "mean" and e not in loaded
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
                value = code.value(e)
                if mask is not None:
                    value = b.select(mask, value, v.constant(0.0))
                b.store(b.fadd(b.load(total), value), total)
            for e in stage.stored:
                v.store(code.value(e), self.place(e, row, unit), mask)
            conditional: dict = {}
            for k in stage.outputs:
                value = code.value(self.outputs[k].value)
                pointer, condition = put(k, row.number, unit)
                if condition is None:
                    v.store(value, pointer, mask)
                elif condition is PADDED:
                    v.store(value, pointer)
                elif condition is ADDED:
                    v.store(b.fadd(v.load(pointer, mask), value), pointer, mask)
                else:
                    conditional.setdefault(condition, []).append((value, pointer))
            for condition, pairs in conditional.items():
                with b.if_then(condition):
                    for value, pointer in pairs:
                        v.store(value, pointer, mask)

        columns = (I64(0), width) if row.whole else self.columns(stage.projected)
        emit_vectors(v, *columns, units)
        for e, total in zip(stage.means, totals, strict=True):
            mean = b.fdiv(v.across(b.load(total), b.fadd), b.sitofp(width, v.real))
            row.means[e] = v.broadcast(mean)
            if e in self.schedule.lasting:
                b.store(mean, self.place(e, row, I64(0)))

    def place(self, e, row, unit):
        """Return where a row's values of a node are stored.

        A node that only its own group reads has one row for each thread, which stays in cache.
        """
        line = row.number if e in self.schedule.lasting else row.first
        return self.v.at(self.plane(e), self.b.mul(self.H, line), unit)

    def _is_computed(self, e, stage):
        """Return whether a node is in the workspace when the equations of a stage begin."""
        for s in self.schedule.stages:
            if e in s.stored or e in s.means:
                return s.level < stage.level
            if e in s.products:
                return s.level <= stage.level
        return True

    def _earlier_mean(self, e, row):
        """Return a mean that this group or an earlier one has computed, in every lane."""
        if e not in row.means:
            row.means[e] = self.v.broadcast(self.b.load(self.place(e, row, I64(0))))
        return row.means[e]


def emit_forward(
    v: Vectors, cell: Cell, count, team: Team, g: GateInputs, states: ForwardStates, workspace
) -> ir.Value:
    """Write `step.forward_step` for a cell whose units interact within a step."""
    b, H, P = v.b, g.H, g.P
    panels = v.at(g.panels, panels_of_tile(v, cell, len(schedule.tiles(cell)), H, g.D, P))
    step = Step(v, cell, count, team, P, H, workspace, panels, schedule.forward)
    B, K = len(cell.states), len(cell.backward.saved)
    recording = b.icmp_unsigned("!=", b.ptrtoint(states.saved, I64), I64(0))

    def state(h, others, k, row, unit):
        return _state(v, h, others, states.stride, k, row, unit, P, H)

    def put(k, row, unit):
        if k < B:
            return state(states.h_new, states.new, k, row, unit), None
        return _inner(v, states.saved, K, k - B, row, unit, H), recording

    loaded = {
        e: lambda row, unit, k=k: [state(g.h, states.old, k, row, unit)]
        for k, e in enumerate(cell.previous)
    }
    loaded |= _per_unit(v, cell, states.p, H)
    for number, tile in enumerate(schedule.tiles(cell)):

        def finish(row, j, u, acc, tile=tile):
            unit = b.add(j, I64(u * v.lanes))
            here, left = b.add(b.mul(H, row), unit), units_left(v, b.sub(H, j), u)
            sums = [v.at(step.plane(cell.accumulators[k].input), here) for k in tile]
            v.store_units(list(zip(acc, sums, strict=True)), left)

        cut = Cut(workspace.piece, workspace.sums)
        emit_gates(v, cell, number, count, team.j0, team.j1, g, cut, finish)
    return step.emit(loaded, put)


def emit_backward(
    v: Vectors, cell: Cell, count, team: Team, P, H, panels, states: BackwardStates,
    gradients: BackwardGradients, workspace: Workspace,
) -> ir.Value:  # fmt: skip
    """Write `step.backward_step`: in one stage if the units of the cell do not interact."""
    b, back, g = v.b, cell.backward, gradients
    products = v.at(panels, b.mul(up(v, P), b.mul(H, I64(len(cell.h_gates)))))
    step = Step(v, cell, count, team, P, H, workspace, products, schedule.backward)
    B, K = len(cell.states), len(back.saved)
    with_state_gradients = b.icmp_unsigned("!=", b.ptrtoint(g.states, I64), I64(0))

    def state(h, others, k, row, unit):
        return _state(v, h, others, states.stride, k, row, unit, P, H)

    def carried(k, row, unit):
        return v.at(g.carry, b.mul(g.carry_stride, I64(k)), b.mul(up(v, H), row), unit)

    def put(k, row, unit):
        A, parameters = len(cell.accumulators), len(cell.parameters)
        if A <= k < A + parameters:
            return _inner(v, g.dp, parameters, k - A, row, unit, H), ADDED
        k -= parameters if k >= A else 0
        if k < cell.columns:
            return _inner(v, g.da, cell.columns, k, row, unit, H), None
        k -= cell.columns
        if k < B:
            return carried(k, row, unit), PADDED
        place = v.at(g.states, b.mul(g.states_stride, I64(k - B)), b.mul(H, row), unit)
        return place, with_state_gradients

    def arriving(k, row, unit):
        dy = [v.at(g.dy, b.mul(P, row), unit)] if k == cell.output else []
        return [carried(k, row, unit), *dy]

    loaded = {
        e: lambda row, unit, k=k: [_inner(v, states.saved, K, k, row, unit, H)]
        for k, (_, e) in enumerate(back.saved)
    }
    loaded |= {
        e: lambda row, unit, k=k: [state(states.h_new, states.new, k, row, unit)]
        for k, e in enumerate(cell.new)
    }
    loaded |= {
        e: lambda row, unit, k=k: [state(states.h_old, states.old, k, row, unit)]
        for k, e in enumerate(cell.previous)
    }
    loaded |= _per_unit(v, cell, states.p, H)
    loaded |= {e: lambda row, unit, k=k: arriving(k, row, unit) for k, e in enumerate(back.d_new)}
    return step.emit(loaded, put)


def _state(v, h, others, stride, k, row, unit, P, H):
    """Return a pointer to state k of a row: h (count, P) or others (states - 1, count, H)."""
    if k == 0:
        return v.at(h, v.b.mul(P, row), unit)
    return v.at(others, v.b.mul(stride, I64(k - 1)), v.b.mul(H, row), unit)


def _inner(v, first, size, k, row, unit, H):
    """Return a pointer to entry k of a row of an array (count, size, H)."""
    return v.at(first, v.b.mul(H, v.b.add(v.b.mul(row, I64(size)), I64(k))), unit)


def _per_unit(v, cell, p, H):
    """Return, for `Step.emit`, where per-unit parameters and masks are loaded from."""
    return {
        e: lambda row, unit, e=e: [per_unit_pointers(v, cell, p, row, unit, H)[e]]
        for e in cell.parameter_inputs
    }
