"""The loops over time, forward and back, and the packing of a cell's weights. All arrays flat."""

from __future__ import annotations

from .dense import padded
from .jit import jit
from .moves import spread
from .tile import at, lanes, nowhere, wide
from .unit import backward_step, flow_tiles, forward_step, project_tiles


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
        for k in range(0, K, 16):  # small squares, because one of the two sides is strided
            for g in range(G):
                for c in range(min(width, H - j)):
                    to = at(panels, place + k * width * G + (c // L) * G * L + g * L + c % L)
                    spread(target, at(W, (gates[g] * H + j + c) * K + k), to, width * G, min(16, K - k))
        j += width


@jit
def project(target, x, S, D, H, panels, bias, out):
    """Bias plus x part for all steps at once: faster than step by step when a batch is smaller than a tile is tall."""
    project_tiles(target, S, at(bias, 0), at(x, 0), D, H, at(panels, 0), at(out, 0))


@jit
def forward(target, x, D, offsets, panels, init, init_stride, p, h, H, rest, plane, saved, saved_width):
    """All steps forward.

    h (N + S, H), rest (states - 1, plane): initial states first; a `plane` of N * H updates rest in place.
    init: the bias, with an init_stride of 0, or what `project` made. saved (S, saved_width) or empty.
    """
    S = offsets[offsets.size - 1]
    N = h.size // H - S
    for t in range(offsets.size - 1):
        s = offsets[t]
        before, after = N + offsets[t - 1] if t else 0, N + s
        old, new = (0, 0) if plane == N * H else (before * H, after * H)
        keep = at(saved, s * saved_width) if saved.size else nowhere(saved)
        forward_step(
            target, offsets[t + 1] - s, at(init, s * init_stride), init_stride, at(x, s * D), D, 0 if init_stride else 1,
            at(h, before * H), H, at(panels, 0), at(p, 0), at(rest, old), at(rest, new), plane, at(h, after * H), keep,
        )  # fmt: skip


@jit
def backward(target, dy, offsets, panels, p, h, H, rest, plane, saved, saved_width, carry, da, width, total):
    """All steps back. carry (states, N, H) comes in as the gradient of the final states, goes out as the initial ones'.

    da (S, width), total (states, S, H) or empty.
    """
    T = offsets.size - 1
    S = offsets[T]
    N = h.size // H - S
    later = 0
    for t in range(T - 1, -1, -1):
        s, after = offsets[t], offsets[t + 1]
        old, new = N + offsets[t - 1] if t else 0, N + s
        # Sequences that go on after this step, then those that end with it.
        for part in range(2):
            n, count = (0, later) if part == 0 else (later, after - s - later)
            if count:
                r = s + n
                sums = at(total, r * H) if total.size else nowhere(total)
                backward_step(
                    target, count, 1 - part, at(da, after * width if part == 0 else 0), at(panels, 0), at(dy, r * H),
                    at(carry, n * H), N * H, at(saved, r * saved_width), at(h, (old + n) * H), at(h, (new + n) * H),
                    at(rest, (old + n) * H), at(rest, (new + n) * H), plane, H, at(p, 0), at(da, r * width), sums, S * H,
                )  # fmt: skip
        later = after - s
    if later:
        flow_tiles(target, later, at(da, 0), at(panels, 0), at(carry, 0), H)
