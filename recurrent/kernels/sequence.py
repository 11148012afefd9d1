"""The loops over time, forward and back, and the packing of a cell's weights. All arrays flat."""

from __future__ import annotations

from .codegen.barrier import barrier_wait
from .codegen.copy import copy, transpose
from .codegen.denormals import flush_denormals, restore_denormals
from .codegen.gates import flow_tiles, project_tiles
from .codegen.lower import row_of_units
from .codegen.step import backward_step, forward_step
from .codegen.tile import at, in_order, lanes, nowhere, wide
from .jit import jit
from .matmul import padded


@jit
def pack_gates(target, A, W, K, gates, start, H, per_unit, panels):
    """Rows of W (G * H, K) into the panels of the forward step: for each k, unit block and gate of `gates`, its units.

    `start`: numbers a unit takes before these; `per_unit`: all numbers of a unit. Units past H are left as they are.
    """
    L, G = lanes(target), gates.size
    j = 0
    while j < H:
        width = wide(target, A) if padded(target, H) - j >= wide(target, A) else L
        place = j * per_unit + width * start
        for c in range(0, min(width, H - j), L):
            for g in range(G):
                to = at(panels, place + c * G + g * L)
                transpose(
                    target,
                    at(W, (gates[g] * H + j + c) * K),
                    K,
                    min(L, H - j - c),
                    K,
                    to,
                    width * G,
                )
        j += width


@jit
def pack_bias(target, A, x_bias, x_gates, h_bias, h_gates, H, bias):
    """b_ih + b_hh of every accumulator, unit block by unit block; -1 in the gates for the part that one does not have."""
    L = lanes(target)
    for j in range(H):
        for k in range(A):
            total = bias[0] * 0
            if x_gates[k] >= 0:
                total += x_bias[x_gates[k] * H + j]
            if h_gates[k] >= 0:
                total += h_bias[h_gates[k] * H + j]
            bias[(j // L * A + k) * L + j % L] = total


@jit
def pack(
    target, A, H, W_ih, D, x_used, W_hh, W, h_used, b_ih, x_gates, b_hh, h_gates, panels, bias
):
    """Weights of the accumulators of H units for the forward step, in one call: many calls are short."""
    start = x_used.size * D
    per_unit = start + h_used.size * W
    pack_gates(target, A, W_ih, D, x_used, 0, H, per_unit, panels)
    pack_gates(target, A, W_hh, W, h_used, start, H, per_unit, panels)
    pack_bias(target, A, b_ih, x_gates, b_hh, h_gates, H, bias)


@jit
def project(target, x, first, last, D, W, H, panels, bias, out, width):
    """Bias plus x part for rows first to last of all steps: faster than step by step for less than a tile's rows."""
    setting = flush_denormals()
    project_tiles(
        target,
        last - first,
        at(bias, 0),
        at(x, first * D),
        D,
        W,
        H,
        at(panels, 0),
        at(out, first * width),
    )
    restore_denormals(setting)


@jit
def forward(
    target, first, last, j0, j1, parts, barrier, x, D, offsets, panels, init, init_stride, ids, p, h, W, H, rest,
    plane, saved, saved_width, work,
):  # fmt: skip
    """All steps forward for the sequences first to last of the packed batch and the units j0 to j1.

    Where `parts` threads share the units, they meet at the `barrier` after each step.
    h (N + S, H), rest (states - 1, plane): initial states first; a `plane` of N * H updates rest in place.
    init: the bias, with an init_stride of 0, or what `project` made; row s, or row ids[s] unless `ids` is empty.
    saved (S, saved_width) or empty. h (N + S, W). work: planes (N, H) of a cell that computes a step in stages.
    """
    setting = flush_denormals()
    S = offsets[offsets.size - 1]
    N, met = h.size // W - S, 0
    for t in range(offsets.size - 1):
        count = min(last, offsets[t + 1] - offsets[t]) - first
        if count <= 0:
            break
        s = offsets[t] + first
        before, after = (N + offsets[t - 1] if t else 0) + first, N + s
        old, new = (first * H, first * H) if plane == N * H else (before * H, after * H)
        keep = at(saved, s * saved_width) if saved.size else nowhere(saved)
        row, rows = (0, at(ids, s)) if ids.size else (s, in_order())
        met = forward_step(
            target, count, j0, j1, at(init, row * init_stride), init_stride, rows, at(x, row * D), D, 0 if init_stride else 1,
            at(h, before * W), W, H, at(panels, 0), at(p, row_of_units(target, s, H)), at(rest, old), at(rest, new), plane,
            at(h, after * W), keep, at(work, first * H), N * H, at(barrier, 0), parts, met,
        )  # fmt: skip
        if parts > 1:
            met += 1
            if met == 0 or not barrier_wait(barrier, parts, met):
                break
    restore_denormals(setting)


@jit
def step(target, N, x, D, panels, bias, p, h, W, H, rest, y, work):
    """One step for N sequences: h (2 N, W), the state in its first half, and rest (states - 1, N, H) go on; y = h."""
    setting = flush_denormals()
    forward_step(
        target, N, 0, H, at(bias, 0), 0, in_order(), at(x, 0), D, 1, at(h, 0), W, H, at(panels, 0), at(p, 0), at(rest, 0),
        at(rest, 0), N * H, at(h, N * W), nowhere(h), at(work, 0), N * H, in_order(), 1, 0,
    )  # fmt: skip
    copy(target, at(h, N * W), at(h, 0), N * W)
    copy(target, at(h, N * W), at(y, 0), N * W)
    restore_denormals(setting)


@jit
def backward(
    target, first, last, j0, j1, parts, barrier, dy, offsets, panels, p, h, W, H, rest, plane, saved, saved_width, carry,
    da, width, dp, dp_width, total, work,
):  # fmt: skip
    """All steps back for the sequences first to last of the packed batch and the units j0 to j1, threads as in `forward`.

    carry (states, N, H padded to whole vectors) comes in as the gradient of the final states, goes out as the initial ones'.
    da (S, width), dp (N, dp_width), to which each step adds, total (states, S, H) or empty. dy (S, W); work as in `forward`.
    """
    setting = flush_denormals()
    T = offsets.size - 1
    S = offsets[T]
    N, met, wide_H = h.size // W - S, 0, padded(target, H)
    later = first  # sequences from `first` to here go on after the step
    for t in range(T - 1, -1, -1):
        s, after = offsets[t], offsets[t + 1]
        old, new = N + offsets[t - 1] if t else 0, N + s
        end = max(first, min(last, after - s))
        if later > first:
            flow_tiles(
                target,
                later - first,
                j0,
                j1,
                at(da, (after + first) * width),
                at(panels, 0),
                at(carry, first * wide_H),
                W,
                H,
            )
        if end > first:
            r = s + first
            met = backward_step(
                target, end - first, j0, j1, at(panels, 0), at(dy, r * W), at(carry, first * wide_H), N * wide_H,
                at(saved, r * saved_width), at(h, (old + first) * W), at(h, (new + first) * W), at(rest, (old + first) * H),
                at(rest, (new + first) * H), plane, W, H, at(p, row_of_units(target, r, H)), at(da, r * width),
                at(dp, first * dp_width), at(total, r * H) if total.size else nowhere(total), S * H, at(work, first * H), N * H,
                at(barrier, 0), parts, met,
            )  # fmt: skip
            if met < 0:
                break
        later = end
        if parts > 1:
            met += 1
            if met == 0 or not barrier_wait(barrier, parts, met):
                break
    if later > first:
        flow_tiles(
            target,
            later - first,
            j0,
            j1,
            at(da, first * width),
            at(panels, 0),
            at(carry, first * wide_H),
            W,
            H,
        )
    restore_denormals(setting)
