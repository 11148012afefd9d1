"""A cell's equations as vector code: applied to a tile of pre-activations while it is still in registers."""

from __future__ import annotations

from numba import types
from numba.extending import intrinsic

from .gates import GateInputs, emit_gates
from .lower import Expressions, leaves, of_units
from .staged import Planes, StepBackArgs, Team, emit_backward, emit_forward
from .target import TARGETS
from .tile import pointer_to, units_left
from .vector import I64, Vectors


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
        v, given = (
            Vectors(b, t),
            GateInputs(init, init_stride, init_rows, x, D, adds_x, h, W, H, panels),
        )
        if cell.cross_unit_ops:
            team = Team(j0, j1, barrier, parts, met)
            return emit_forward(
                v, cell, count, team, given, p, old, new, plane, h_new, saved, Planes(work, apart)
            )
        recording = b.icmp_unsigned("!=", b.ptrtoint(saved, I64), I64(0))

        def finish(row, j, block, acc):
            apply(row, b.add(j, I64(block * v.lanes)), units_left(v, b.sub(H, j), block), acc)

        def apply(row, unit, left, acc):
            place = b.add(b.mul(H, row), unit)
            planes = [b.add(place, b.mul(plane, I64(k))) for k in range(len(cell.states) - 1)]
            where = dict(
                zip(cell.previous, [v.at(h, place), *(v.at(old, q) for q in planes)], strict=True)
            )
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
                    v.store_units(
                        [(e, v.at(saved, first, b.mul(H, I64(k)))) for k, e in kept], left
                    )

        emit_gates(v, cell, 0, count, j0, j1, given, finish)
        return met

    i, q = types.int64, pointer_to(t)
    n = types.CPointer(i)
    return i(
        target, i, i, i, q, i, n, q, i, i, q, i, i, q, q, q, q, i, q, q, q, i, n, i, i
    ), codegen


@intrinsic
def backward_step(
    typingctx, target, count, j0, j1, panels, dy, carry, carry_plane, saved, h_old, h_new, old, new, plane, W, H, p, da,
    dp, total, total_plane, work, apart, barrier, parts, met,
):  # fmt: skip
    """The equations of one time step back for `count` sequences and the units j0 to j1, whole tiles but for the end of H.

    carry (states, count, H padded to whole vectors): gradients of the states after this step, without dy. It becomes the
    gradients of the states before this step, without what comes through W_hh: `flow_tiles` adds that. da (count, columns,
    H) is written; total (states, count, H) too unless null; dp (count, P, H), gradients of per-unit parameters, is added to.
    States lie `carry_plane`, `plane`, `total_plane` apart. dy, h_old and h_new have rows of W. What else comes, and what is
    returned, is as in `forward_step`.

    Row after row, in the order of memory: applied to each tile of the product, the same equations waited for memory
    several times as long as they took, whatever was asked for ahead.
    """
    t = TARGETS[target.name]

    def codegen(context, b, _, args):
        return emit_backward(Vectors(b, t), t.cell, StepBackArgs(*args[1:]))

    i, q = types.int64, pointer_to(t)
    n = types.CPointer(i)
    return i(
        target, i, i, i, q, q, q, i, q, q, q, q, q, i, i, i, q, q, q, q, i, q, i, n, i, i
    ), codegen
