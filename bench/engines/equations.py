"""The cells' equations on whole vectors, for NumPy and JAX; `xp` is numpy or jax.numpy."""

from __future__ import annotations

from collections.abc import Callable

from ..workloads.catalogue import EQUATIONS


def step(xp, cell: str, H: int) -> Callable:
    """Return one time step of a cell.

    The function takes a = W_ih x + b_ih, u = W_hh h + b_hh, h, c and the per-unit parameters, and
    returns (h, c).
    """

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

    def layer_norm(a, gain):
        a = a - a.mean(axis=1, keepdims=True)
        return gain * a / xp.sqrt((a * a).mean(axis=1, keepdims=True) + 1e-5)

    def lstm_norm(a, u, h, c, *p):
        gain_x, gain_h, bias = (xp.concatenate(p[k : k + 4]) for k in (0, 4, 8))
        i, f, g, o = xp.split(layer_norm(a, gain_x) + bias + layer_norm(u, gain_h), 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * xp.tanh(g)
        return sigmoid(o) * xp.tanh(layer_norm(c, p[12]) + p[13]), c

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
    """Return an attention layer.

    The function takes x (T, N, H), memory (S, N, H), valid (N, S) and the parameters by name, and
    returns y (T, N, H).
    """

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
        joined = xp.concatenate([context, x], axis=2)
        return xp.swapaxes(xp.tanh(joined @ p["weight_output"].T + p["bias_output"]), 0, 1)

    return run


def split_params(workload, W_ih, W_hh, *others) -> tuple:
    """Return W_ih, W_hh, b_ih, b_hh and a tuple of the other parameters; 0 for missing biases."""
    n = EQUATIONS[workload.cell].biases
    return (W_ih, W_hh, *others[:n], *[0.0] * (2 - n), others[n:])


def layer(xp, sequence: Callable, lengths) -> Callable:
    """Return a layer of one or two directions from a loop `sequence(x, params)` in one direction.

    The function takes x and the parameters of each direction; its outputs are zero past each
    length.
    """

    def run(x, directions):
        if len(directions) == 2:
            forward, backward = directions
            y = sequence(x, forward), sequence(x[::-1], backward)[::-1]
            return xp.concatenate(y, axis=-1)
        y = sequence(x, directions[0])
        if lengths is None:
            return y
        valid = xp.arange(len(x))[:, None] < lengths
        return xp.where(valid[:, :, None], y, xp.zeros((), y.dtype))

    return run
