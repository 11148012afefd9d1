"""The textbook's equations on whole vectors, for NumPy and JAX: `xp` is numpy or jax.numpy."""

from __future__ import annotations

from collections.abc import Callable


def step(xp, cell: str, H: int) -> Callable:
    """A step (x part, h part, h, c) -> (h, c)."""

    def sigmoid(a):
        return 0.5 * xp.tanh(0.5 * a) + 0.5

    def lstm(a, u, h, c):
        i, f, g, o = xp.split(a + u, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * xp.tanh(g)
        return sigmoid(o) * xp.tanh(c), c

    def gru(a, u, h, c):
        r, z = xp.split(sigmoid(a[:, : 2 * H] + u[:, : 2 * H]), 2, axis=1)
        return (1 - z) * xp.tanh(a[:, 2 * H :] + r * u[:, 2 * H :]) + z * h, c

    def rnn(a, u, h, c):
        return xp.tanh(a + u), c

    return {"lstm": lstm, "gru": gru, "rnn": rnn}[cell]


def whole(xp, sequence: Callable, lengths) -> Callable:
    """(x, params of each direction) -> y from a loop `sequence(x, params)` in one direction: zero past each length."""

    def run(x, directions):
        if len(directions) == 2:
            ahead, back = directions
            return xp.concatenate([sequence(x, ahead), sequence(x[::-1], back)[::-1]], axis=-1)
        y = sequence(x, directions[0])
        if lengths is None:
            return y
        return xp.where((xp.arange(len(x))[:, None] < lengths)[:, :, None], y, xp.zeros((), y.dtype))

    return run
