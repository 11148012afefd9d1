"""One time step of a cell as vector code, forward and backward, for the loops over time.

A cell whose units do not interact within a step applies its equations as the epilogue of the
register tiles: the pre-activations are still in registers, and only new states and saved values are
stored. Other cells compute a step in stages (`staged`), and so do all cells backward.
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .gates import GateInputs, emit_gates
from .lower import Expressions, leaves, per_unit_pointers
from .staged import (
    BackwardGradients,
    BackwardStates,
    ForwardStates,
    Team,
    Workspace,
    emit_backward,
    emit_forward,
)
from .target import TARGETS
from .tile import Cut, units_left
from .vector import I64, Vectors


def _unpack(b: ir.IRBuilder, kind: type[NamedTuple], value: ir.Value):
    """Return the fields of a NamedTuple that jitted code passed to an intrinsic."""
    return kind(*cgutils.unpack_tuple(b, value, len(kind._fields)))


@intrinsic
def forward_step(typingctx, target, count, team, inputs, states, workspace):
    """Run one time step for `count` sequences and the units of `team`.

    team: Team. inputs: GateInputs. states: ForwardStates. workspace: Workspace. Returns how often
    the threads have waited at the barrier in this call of the kernel, -1 if one of them gave up.
    """
    t = TARGETS[target.name]
    cell = t.cell
    K = len(cell.backward.saved)
    # All that a recorded step computes, recorded or not: so the same bits come out.
    results = [*cell.new, *(e for _, e in cell.backward.saved)]
    loaded = leaves(results, (*cell.previous, *cell.parameter_inputs))

    def codegen(context, b, _, args):
        v, count = Vectors(b, t), args[1]
        team, g = _unpack(b, Team, args[2]), _unpack(b, GateInputs, args[3])
        states, workspace = _unpack(b, ForwardStates, args[4]), _unpack(b, Workspace, args[5])
        if cell.cross_unit_ops:
            return emit_forward(v, cell, count, team, g, states, workspace)
        H = g.H
        recording = b.icmp_unsigned("!=", b.ptrtoint(states.saved, I64), I64(0))

        def finish(row, j, block, acc):
            apply(row, b.add(j, I64(block * v.lanes)), units_left(v, b.sub(H, j), block), acc)

        def apply(row, unit, left, acc):
            place = b.add(b.mul(H, row), unit)
            others = [
                b.add(place, b.mul(states.stride, I64(k))) for k in range(len(cell.states) - 1)
            ]
            previous = [v.at(g.h, place), *(v.at(states.old, o) for o in others)]
            where = dict(zip(cell.previous, previous, strict=True))
            where |= per_unit_pointers(v, cell, states.p, row, unit, H)
            known = dict(zip(loaded, v.load_units([where[e] for e in loaded], left), strict=True))
            known |= {a.input: value for a, value in zip(cell.accumulators, acc, strict=True)}
            code = Expressions(v, results, known)
            values = [code.value(e) for e in results]
            new = [v.at(states.h_new, place), *(v.at(states.new, o) for o in others)]
            v.store_units(list(zip(values, new, strict=False)), left)
            if K:
                first = b.add(b.mul(H, b.mul(row, I64(K))), unit)
                with b.if_then(recording):
                    saved = [
                        (value, v.at(states.saved, first, b.mul(H, I64(k))))
                        for k, value in enumerate(values[len(cell.new) :])
                    ]
                    v.store_units(saved, left)

        cut = Cut(workspace.piece, workspace.sums)
        emit_gates(v, cell, 0, count, team.j0, team.j1, g, cut, finish)
        return team.rounds

    i = types.int64
    return i(target, i, team, inputs, states, workspace), codegen


@intrinsic
def backward_step(typingctx, target, count, team, P, H, panels, states, gradients, workspace):
    """Run the equations of one time step backward; arguments and result are as in `forward_step`.

    panels: packed W_hh, then the products within a step. states: BackwardStates. gradients:
    BackwardGradients. `flow_tiles` adds the gradient that flows through W_hh to the previous step.

    The equations run row by row, in the order of memory. In the epilogue of the tiles of W_hh' da
    they waited for memory several times as long as they computed, in spite of prefetching.
    """
    t = TARGETS[target.name]

    def codegen(context, b, _, args):
        _, count, team, P, H, panels, states, gradients, workspace = args
        return emit_backward(
            Vectors(b, t), t.cell, count, _unpack(b, Team, team), P, H, panels,
            _unpack(b, BackwardStates, states), _unpack(b, BackwardGradients, gradients),
            _unpack(b, Workspace, workspace),
        )  # fmt: skip

    i = types.int64
    return i(target, i, team, i, i, panels, states, gradients, workspace), codegen
