"""A cell's equations as vector code: applied to a tile of pre-activations while it is still in registers."""

from __future__ import annotations

from numba import types
from numba.extending import intrinsic

from .formulas import Expressions, leaves, of_units
from .gates import Given, emit_gates, flow
from .staged import Back, Planes, Team, emit_backward, emit_forward
from .target import TARGETS
from .tile import accumulate, emit_rows, emit_units, pointer_to, units_left
from .vector import I64, Vectors


def ask_ahead(v: Vectors, n, rows: int, j, blocks: int, places) -> None:
    """Have the caches fetch what a tile's epilogue will touch while the tile is computed: `places(row, unit)`, two lists."""
    for r in range(rows):
        for u in v.lines(blocks):
            sources, targets = places(v.b.add(n, I64(r)), v.b.add(j, I64(u * v.lanes)))
            for pointer in dict.fromkeys([*sources, *targets]):
                v.prefetch(pointer)


@intrinsic
def forward_step(
    typingctx, target, count, j0, j1, init, init_stride, init_rows, x, D, adds_x, h, W, H, panels, p, old, new, plane, h_new,
    saved, work, apart, barrier, parts, met,
):  # fmt: skip
    """One time step for `count` sequences and the units j0 to j1, whole tiles but for the end of H.

    init: bias, with an init_stride of 0, or rows of bias plus the x part, and then adds_x is 0, else 1. init_rows (count,):
    which of those rows each sequence starts from, or null. x (count, D), h (count, W): W = H but where a cell projects.
    panels: for each tile the weights of x, then of h. p: see `of_units`. h_new (count, W), and old and new
    for the other states, `plane` numbers apart. saved (count, K, H): what the tape keeps, or null.

    A cell whose units meet within a step needs `work`, planes (count, H) that lie `apart`; `parts` threads that share the
    units meet at the `barrier`. Returns how often they have met, `met` times before; -1 where one of them gave up.
    """
    t = TARGETS[target.name]
    cell = t.cell
    K = len(cell.backward.saved)
    # All that a step computes, with a tape or without: so that the same bits come out.
    results = [*cell.new, *(e for _, e in cell.backward.saved)]
    inputs = leaves(results, (*cell.previous, *cell.parameter_inputs))

    def codegen(context, b, _, args):
        (_, count, j0, j1, init, init_stride, init_rows, x, D, adds_x, h, W, H, panels, p, old, new, plane, h_new, saved,
         work, apart, barrier, parts, met) = args  # fmt: skip
        v, given = Vectors(b, t), Given(init, init_stride, init_rows, x, D, adds_x, h, W, H, panels)
        if cell.meetings:
            team = Team(j0, j1, barrier, parts, met)
            return emit_forward(v, cell, count, team, given, p, old, new, plane, h_new, saved, Planes(work, apart))
        recording = b.icmp_unsigned("!=", b.ptrtoint(saved, I64), I64(0))

        def finish(row, j, block, acc):
            apply(row, b.add(j, I64(block * v.lanes)), units_left(v, b.sub(H, j), block), acc)

        def apply(row, unit, left, acc):
            place = b.add(b.mul(H, row), unit)
            planes = [b.add(place, b.mul(plane, I64(k))) for k in range(len(cell.states) - 1)]
            where = dict(zip(cell.previous, [v.at(h, place), *(v.at(old, q) for q in planes)], strict=True))
            where |= of_units(v, cell, p, row, unit, H)
            known = dict(zip(inputs, v.load_units([where[e] for e in inputs], left), strict=True))
            known |= {a.input: value for a, value in zip(cell.accumulators, acc, strict=True)}
            code = Expressions(v, results, known)
            values = [code.value(e) for e in results]
            targets = [v.at(h_new, place), *(v.at(new, q) for q in planes)]
            v.store_units(list(zip(values, targets, strict=False)), left)
            if K:
                first = b.add(b.mul(H, b.mul(row, I64(K))), unit)
                with b.if_then(recording):
                    kept = enumerate(values[len(cell.new) :])
                    v.store_units([(e, v.at(saved, first, b.mul(H, I64(k)))) for k, e in kept], left)

        emit_gates(v, cell, 0, count, j0, j1, given, finish)
        return met

    i, q = types.int64, pointer_to(t)
    n = types.CPointer(i)
    return i(target, i, i, i, q, i, n, q, i, i, q, i, i, q, q, q, q, i, q, q, q, i, n, i, i), codegen


@intrinsic
def backward_step(
    typingctx, target, count, j0, j1, flows, da_later, panels, dy, carry, carry_plane, saved, h_old, h_new, old, new, plane, W,
    H, p, da, total, total_plane, work, apart, barrier, parts, met,
):  # fmt: skip
    """One time step back for `count` sequences and the units j0 to j1, whole tiles but for the end of H.

    carry (states, count, H): gradients of the states after this step, without dy and without what comes through W_hh
    from the step after: da_later (count, columns, H) times panels, where flows is 1; 0 at a sequence's end.
    carry becomes the gradients of the states before this step, again without what comes through W_hh. da (count, columns,
    H) is written; total (states, count, H) too unless null. States lie `carry_plane`, `plane`, `total_plane` apart.
    dy, h_old and h_new have rows of W. What else comes, and what is returned, is as in `forward_step`.
    """
    t = TARGETS[target.name]
    cell, back = t.cell, t.cell.backward
    width = cell.columns
    results = [*back.d_accumulators, *back.d_parameters, *back.d_previous, *back.d_states]
    kept = [e for _, e in back.saved]
    available = (*back.d_new, *kept, *cell.new, *cell.previous, *cell.parameter_inputs)
    inputs = [e for e in leaves(results, available) if e not in back.d_new]

    def codegen(context, b, _, args):
        v, a = Vectors(b, t), Back(*args[1:])
        if cell.meetings:
            return emit_backward(v, cell, a)
        totals = b.icmp_unsigned("!=", b.ptrtoint(a.total, I64), I64(0))

        def units(j, blocks):
            left = [units_left(v, b.sub(a.H, j), u) for u in range(blocks)]

            def tile(n, rows):
                lines = [v.at(a.carry, b.mul(a.H, b.add(n, I64(r))), j) for r in range(rows)]
                columns = [v.load_units([v.at(line, u * v.lanes) for line in lines], left[u]) for u in range(blocks)]
                acc = [list(row) for row in zip(*columns, strict=True)]
                ask_ahead(v, n, rows, j, blocks, places)
                for segment in flow(v, cell, n, j, blocks, a.da_later, a.panels, a.H, a.flows):
                    acc = accumulate(v, acc, segment)
                for u in range(blocks):
                    for r in range(rows):
                        apply(b.add(n, I64(r)), b.add(j, I64(u * v.lanes)), left[u], acc[r][u])

            emit_rows(v, blocks, a.count, tile)

        def places(row, unit):
            here = b.add(b.mul(a.H, row), unit)
            first, first_saved = (b.add(b.mul(a.H, b.mul(row, I64(n))), unit) for n in (width, len(kept)))
            planes = [b.add(here, b.mul(a.plane, I64(k))) for k in range(len(cell.states) - 1)]
            carries = [v.at(a.carry, here, b.mul(a.carry_plane, I64(k))) for k in range(len(cell.states))]
            where = {e: v.at(a.saved, first_saved, b.mul(a.H, I64(k))) for k, e in enumerate(kept)}
            where |= dict(zip(cell.new, [v.at(a.h_new, here), *(v.at(a.new, q) for q in planes)], strict=True))
            where |= dict(zip(cell.previous, [v.at(a.h_old, here), *(v.at(a.old, q) for q in planes)], strict=True))
            where |= of_units(v, cell, a.p, row, unit, a.H)
            da_at = [v.at(a.da, first, b.mul(a.H, I64(k))) for k in range(width)]
            return [v.at(a.dy, here), *carries[1:], *(where[e] for e in inputs)], da_at + carries

        def apply(row, unit, left, dh):
            sources, targets = places(row, unit)
            d_y, *rest = v.load_units(sources, left)
            others = len(cell.states) - 1
            d_new = [dh, *rest[:others]]
            d_new[cell.output] = b.fadd(d_new[cell.output], d_y)
            known = dict(zip([*back.d_new, *inputs], [*d_new, *rest[others:]], strict=True))
            code = Expressions(v, results, known)
            values = [code.value(e) for e in results]
            v.store_units(list(zip(values, targets, strict=False)), left)
            with b.if_then(totals):
                to = [v.at(a.total, b.add(b.mul(a.H, row), unit), b.mul(a.total_plane, I64(k))) for k in range(len(d_new))]
                v.store_units(list(zip(values[-len(to) :], to, strict=True)), left)

        emit_units(v, 1, a.j0, a.j1, units)
        return a.met

    i, q = types.int64, pointer_to(t)
    n = types.CPointer(i)
    return i(target, i, i, i, i, q, q, q, q, i, q, q, q, q, q, i, i, i, q, q, q, i, q, i, n, i, i), codegen
