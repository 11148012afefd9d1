"""Loops over time: forward, one step, backward; and packing a cell's weights. All arrays are flat.

`compiled` calls these loops for one thread's share: sequences `first` to `last` and hidden units
`j0` to `j1`. Each time step is an intrinsic of `codegen.step`, which writes the machine code of the
cell's products and equations; the backward loop adds W_hh' da by `codegen.gates`. Packed order, and
the shapes before flattening, are those of `kernels.Backend`. `*_stride`: distance between the
arrays of a stack; `*_width`: length of a row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .codegen.barrier import barrier_wait
from .codegen.copy import copy, transpose
from .codegen.denormals import flush_denormals, restore_denormals
from .codegen.gates import GateInputs, flow_tiles, project_tiles
from .codegen.lower import per_unit_offset
from .codegen.staged import BackwardGradients, BackwardStates, ForwardStates, Team, Workspace
from .codegen.step import backward_step, forward_step
from .codegen.tile import at, in_order, lanes, null, wide
from .jit import jit
from .matmul import WHOLE, padded


class ForwardWeights(NamedTuple):
    """Packed weights of the forward step."""

    panels: np.ndarray
    bias: np.ndarray
    parameters: np.ndarray  # per-unit parameters, with masks for each row
    D: int
    P: int
    H: int


class BackwardWeights(NamedTuple):
    """Packed weights of the backward step."""

    panels: np.ndarray  # panels of W_hh, then those of the products within a step
    parameters: np.ndarray
    P: int
    H: int


class InitialSums(NamedTuple):
    """Initial values of the accumulators: the bias, or rows that `project` computed."""

    sums: np.ndarray
    stride: int  # numbers of a row; 0 if it is the bias
    ids: np.ndarray  # (S,), int64: the row of each packed row, in x too; empty for row s


class History(NamedTuple):
    """States and saved values of all time steps."""

    h: np.ndarray  # (N + S, P)
    states: np.ndarray  # (states - 1, N + S, H), or (states - 1, N, H) to update in place
    states_stride: int
    saved: np.ndarray  # (S, saved_width), or empty
    saved_width: int


class Gradients(NamedTuple):
    """Gradients that the backward loop reads and writes."""

    carry: np.ndarray  # (states, N, H padded to whole vectors)
    da: np.ndarray  # (S, da_width)
    da_width: int
    dp: np.ndarray  # (N, dp_width)
    dp_width: int
    states: np.ndarray  # (states, S, H), or empty


@jit
def pack_gates(target, A, W, K, gates, start, H, per_unit, panels):
    """Pack rows of W (G * H, K) into the panels of the forward step.

    A panel holds the units of one register tile: for each k and each gate of `gates`, its units. A
    unit has `per_unit` numbers in all, `start` of them before these. The padding past unit H is not
    written.
    """
    L, G = lanes(target), gates.size
    j = 0
    while j < H:
        width = wide(target, A) if padded(target, H) - j >= wide(target, A) else L
        panel = j * per_unit + width * start
        for c in range(0, min(width, H - j), L):
            rows = min(L, H - j - c)
            for g in range(G):
                source = at(W, (gates[g] * H + j + c) * K)
                transpose(target, source, K, rows, K, at(panels, panel + c * G + g * L), width * G)
        j += width


@jit
def pack_bias(target, A, x_bias, x_gates, h_bias, h_gates, H, bias):
    """Pack b_ih + b_hh of A accumulators by blocks of units; a gate of -1 means no such part."""
    L = lanes(target)
    for j in range(H):
        for k in range(A):
            total = bias.dtype.type(0)
            if x_gates[k] >= 0:
                total += x_bias[x_gates[k] * H + j]
            if h_gates[k] >= 0:
                total += h_bias[h_gates[k] * H + j]
            bias[(j // L * A + k) * L + j % L] = total


@jit
def pack(
    target, A, H, W_ih, D, x_used, W_hh, P, h_used, b_ih, x_gates, b_hh, h_gates, panels, bias
):
    """Pack weights and biases of a tile's A accumulators.

    `x_gates`, `h_gates` (A,): the gate of each accumulator, -1 for none; `x_used`, `h_used`: those
    without the -1. One kernel with flat arguments: dispatching several, or one with named tuples,
    takes longer.
    """
    start = x_used.size * D
    per_unit = start + h_used.size * P
    pack_gates(target, A, W_ih, D, x_used, 0, H, per_unit, panels)
    pack_gates(target, A, W_hh, P, h_used, start, H, per_unit, panels)
    pack_bias(target, A, b_ih, x_gates, b_hh, h_gates, H, bias)


@jit
def project(target, first, last, x, weights, piece, sums, out, width):
    """Compute bias plus x part of the accumulators for rows first to last of all time steps.

    weights: ForwardWeights. piece, sums: see `tile.Cut`. This is faster than step by step if a step
    has fewer rows than a register tile.
    """
    panels, bias, _, D, P, H = weights
    setting = flush_denormals()
    source, start = at(x, first * D), at(out, first * width)
    project_tiles(
        target, last - first, at(bias, 0), source, D, P, H, at(panels, 0), piece, at(sums, 0), start
    )
    restore_denormals(setting)


@jit
def forward(target, share, x, offsets, weights, piece, sums, initial, history, work):
    """Run all time steps for a thread's share.

    weights: ForwardWeights. piece, sums: see `tile.Cut`. initial: InitialSums. work: workspace
    (planes, N, H) of a step in stages.
    """
    first, last, j0, j1, parts, barrier = share
    panels, _, p, D, P, H = weights
    init, init_stride, ids = initial
    h, states, states_stride, saved, saved_width = history
    setting = flush_denormals()
    S = offsets[offsets.size - 1]
    N, rounds = h.size // P - S, 0
    for t in range(offsets.size - 1):
        count = min(last, offsets[t + 1] - offsets[t]) - first
        if count <= 0:
            break
        s = offsets[t] + first
        before, after = (N + offsets[t - 1] if t else 0) + first, N + s
        old, new = (first * H, first * H) if states_stride == N * H else (before * H, after * H)
        saved_row = at(saved, s * saved_width) if saved.size else null(saved)
        row, rows = (0, at(ids, s)) if ids.size else (s, in_order())
        inputs = GateInputs(
            at(init, row * init_stride), init_stride, rows, at(x, row * D), D,
            0 if init_stride else 1, at(h, before * P), P, H, at(panels, 0), t & 1,
        )  # fmt: skip
        steps = ForwardStates(
            at(h, after * P), at(states, old), at(states, new), states_stride, saved_row,
            at(p, per_unit_offset(target, s, H)),
        )  # fmt: skip
        team = Team(j0, j1, at(barrier, 0), parts, rounds)
        workspace = Workspace(at(work, first * H), N * H, piece, at(sums, 0))
        rounds = forward_step(target, count, team, inputs, steps, workspace)
        if parts > 1:
            rounds += 1
            if rounds == 0 or not barrier_wait(barrier, parts, rounds):
                break
    restore_denormals(setting)


@jit
def step(target, N, x, D, panels, bias, p, h, P, H, states, now, y, work):
    """Run one time step for N sequences; the arrays are those of `Backend.step`.

    Arguments are flat: a named tuple of weights made a step of a small stream 15 % slower.
    """
    setting = flush_denormals()
    old_h, new_h, half = at(h, now * N * P), at(h, (1 - now) * N * P), states.size // 2
    source, packed = at(x, 0), at(panels, 0)
    inputs = GateInputs(at(bias, 0), 0, in_order(), source, D, 1, old_h, P, H, packed, now)
    old, new = at(states, now * half), at(states, (1 - now) * half)
    steps = ForwardStates(new_h, old, new, N * H, null(h), at(p, 0))
    team, workspace = Team(0, H, in_order(), 1, 0), Workspace(at(work, 0), N * H, WHOLE, null(h))
    forward_step(target, N, team, inputs, steps, workspace)
    copy(target, new_h, at(y, 0), N * P)
    restore_denormals(setting)


@jit
def backward(target, share, dy, offsets, weights, piece, history, gradients, work):
    """Run all time steps backward for a thread's share; `piece` and `work` as in `forward`.

    weights: BackwardWeights. gradients: Gradients, whose carry is the gradient with respect to the
    final states and becomes that with respect to the initial ones.
    """
    first, last, j0, j1, parts, barrier = share
    panels, p, P, H = weights
    h, states, states_stride, saved, saved_width = history
    carry, da, da_width, dp, dp_width, state_gradients = gradients
    setting = flush_denormals()
    T = offsets.size - 1
    S = offsets[T]
    N, rounds, carry_width = h.size // P - S, 0, padded(target, H)
    carry_rows = at(carry, first * carry_width)
    # Sequences from `first` to `later` have a time step after the present one.
    later = first
    for t in range(T - 1, -1, -1):
        s, after = offsets[t], offsets[t + 1]
        old, new = N + offsets[t - 1] if t else 0, N + s
        end = max(first, min(last, after - s))
        if later > first:
            rows = at(da, (after + first) * da_width)
            flow_tiles(
                target, later - first, j0, j1, rows, at(panels, 0), carry_rows, P, H, piece, t & 1
            )
        if end > first:
            r = s + first
            old_row, new_row = old + first, new + first
            steps = BackwardStates(
                at(h, old_row * P), at(h, new_row * P), at(states, old_row * H),
                at(states, new_row * H), states_stride, at(saved, r * saved_width),
                at(p, per_unit_offset(target, r, H)),
            )  # fmt: skip
            d_states = at(state_gradients, r * H) if state_gradients.size else null(state_gradients)
            d_step = BackwardGradients(
                at(dy, r * P), carry_rows, N * carry_width, at(da, r * da_width),
                at(dp, first * dp_width), d_states, S * H,
            )  # fmt: skip
            team = Team(j0, j1, at(barrier, 0), parts, rounds)
            workspace = Workspace(at(work, first * H), N * H, piece, null(h))
            rounds = backward_step(
                target, end - first, team, P, H, at(panels, 0), steps, d_step, workspace
            )
            if rounds < 0:
                break
        later = end
        if parts > 1:
            rounds += 1
            if rounds == 0 or not barrier_wait(barrier, parts, rounds):
                break
    if later > first:
        rows = at(da, first * da_width)
        flow_tiles(target, later - first, j0, j1, rows, at(panels, 0), carry_rows, P, H, piece, 1)
    restore_denormals(setting)
