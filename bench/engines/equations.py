"""The textbook's equations on whole vectors, for NumPy and JAX: `xp` is numpy or jax.numpy."""

from __future__ import annotations

from collections.abc import Callable

from ..workloads.catalogue import EQUATIONS


def step(xp, cell: str, H: int) -> Callable:
    """A step (x part, h part, h, c, per-unit parameters) -> (h, c)."""

    def sigmoid(a):
        return 0.5 * xp.tanh(0.5 * a) + 0.5

    def lstm(a, u, h, c):
        i, f, g, o = xp.split(a + u, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * xp.tanh(g)
        return sigmoid(o) * xp.tanh(c), c

    def gru(a, u, h, c):
        r, z = xp.split(sigmoid(a[:, : 2 * H] + u[:, : 2 * H]), 2, axis=1)
        return (1 - z) * xp.tanh(a[:, 2 * H :] + r * u[:, 2 * H :]) + z * h, c

    def lstm_proj(a, u, h, c, W_hr):
        m, c = lstm(a, u, h, c)
        return m @ W_hr.T, c

    def normal(a, gain):
        a = a - a.mean(axis=1, keepdims=True)
        return gain * a / xp.sqrt((a * a).mean(axis=1, keepdims=True) + 1e-5)

    def lstm_norm(a, u, h, c, *p):
        gain_x, gain_h, bias = (xp.concatenate(p[k : k + 4]) for k in (0, 4, 8))
        i, f, g, o = xp.split(normal(a, gain_x) + bias + normal(u, gain_h), 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * xp.tanh(g)
        return sigmoid(o) * xp.tanh(normal(c, p[12]) + p[13]), c

    def rnn(a, u, h, c):
        return xp.tanh(a + u), c

    def mgu(a, u, h, c):
        f = sigmoid(a[:, :H] + u[:, :H])
        return (1 - f) * h + f * xp.tanh(a[:, H:] + f * u[:, H:]), c

    def indrnn(a, _, h, c, w):
        return xp.maximum(a + w * h, 0), c

    def mingru(a, _, h, c):
        z, n = xp.split(a, 2, axis=1)
        return h + sigmoid(z) * (n - h), c

    def minlstm(a, _, h, c):
        f, i = sigmoid(a[:, :H]), sigmoid(a[:, H : 2 * H])
        return (f * h + i * a[:, 2 * H :]) / (f + i), c

    def qrnn(a, _, h, c):
        z, f, o = xp.split(a, 3, axis=1)
        z, f = xp.tanh(z), sigmoid(f)
        c = f * c + (1 - f) * z
        return sigmoid(o) * c, c

    def sru(a, _, h, c, v_f, v_r):
        n, f, r, s = xp.split(a, 4, axis=1)
        f, r = sigmoid(f + v_f * c), sigmoid(r + v_r * c)
        c = f * c + (1 - f) * n
        return r * c + (1 - r) * s, c

    steps = (lstm, lstm_proj, lstm_norm, gru, rnn, mgu, indrnn, mingru, minlstm, qrnn, sru)
    return {s.__name__: s for s in steps}[cell]


def attention(xp, score: str) -> Callable:
    """(x (T, N, H), memory (S, N, H), valid (N, S), parameters by name) -> y of a layer of attention."""

    def run(x, memory, valid, p):
        x, m = xp.swapaxes(x, 0, 1), xp.swapaxes(memory, 0, 1)
        if score == "additive":
            query, key = x @ p["weight_query"].T + p["bias_query"], m @ p["weight_memory"].T
            scores = xp.tanh(query[:, :, None] + key[:, None]) @ p["weight_score"][0]
        else:
            scores = (x @ p["weight_query"].T if score == "general" else x) @ xp.swapaxes(m, 1, 2)
        scores = xp.where(valid[:, None], scores, -xp.inf)
        e = xp.exp(scores - scores.max(axis=2, keepdims=True))
        context = (e / e.sum(axis=2, keepdims=True)) @ m
        return xp.swapaxes(
            xp.tanh(xp.concatenate([context, x], axis=2) @ p["weight_output"].T + p["bias_output"]),
            0,
            1,
        )

    return run


def parts(workload, W_ih, W_hh, *rest) -> tuple:
    """(W_ih, W_hh, b_ih, b_hh, other parameters) of a cell; zeros for biases that it has not."""
    n = EQUATIONS[workload.cell].biases
    return (W_ih, W_hh, *rest[:n], *[0.0] * (2 - n), rest[n:])


def whole(xp, sequence: Callable, lengths) -> Callable:
    """(x, params of each direction) -> y from a loop `sequence(x, params)` in one direction: zero past each length."""

    def run(x, directions):
        if len(directions) == 2:
            ahead, back = directions
            return xp.concatenate([sequence(x, ahead), sequence(x[::-1], back)[::-1]], axis=-1)
        y = sequence(x, directions[0])
        if lengths is None:
            return y
        return xp.where(
            (xp.arange(len(x))[:, None] < lengths)[:, :, None], y, xp.zeros((), y.dtype)
        )

    return run
