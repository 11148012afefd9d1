"""Textbook examples written out in NumPy, as functions that raise AssertionError on a mismatch."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..equations.cell import Cell
from ..layers import LSTM, RNN, Linear, Recurrent
from ..models.sequential import Sequential
from .tolerance import assert_close, assert_same_bits


def a_single_unit_unrolled(dtype: Any) -> None:
    """Compare an LSTM of one unit and one feature with its equations written in scalars."""
    layer, T = LSTM(1, 1).initialise(4, dtype), 12
    x = np.random.default_rng(0).standard_normal((T, 1)).astype(dtype)
    y, state, tape = layer.forward(x, record=True)
    w, u, b, d = (a.reshape(4).astype(float) for a in layer.params)
    h = c = 0.0
    for t in range(T):
        a = w * float(x[t, 0]) + u * h + b + d
        i, f, o = (1 / (1 + np.exp(-a[k])) for k in (0, 1, 3))
        g = np.tanh(a[2])
        c = f * c + i * g
        h = o * np.tanh(c)
        for name, value in dict(i=i, f=f, g=g, o=o).items():
            assert_close(tape.gates[name][t, 0], value, 4 * T, 1.0, name)
        assert_close(tape.c[t, 0], c, 4 * T, 1.0 + abs(c), "c")
        assert_close(y[t, 0], h, 4 * T, 1.0, "y")
    assert_close(state.c[0], c, 4 * T, 1.0 + abs(c), "final c")


def the_vanilla_network(dtype: Any) -> None:
    """Compare RNN + Linear with h = tanh(W_hh h + W_xh x), y = W_hy h in NumPy, without biases."""
    T, D, H, V = 9, 4, 6, 3
    model = Sequential(RNN(D, H), Linear(H, V), rng=2, dtype=dtype)
    for name, a in model.parameters.items():
        if "bias" in name:
            a[:] = 0
    names = "0.weight_ih_l0", "0.weight_hh_l0", "1.weight"
    W_xh, W_hh, W_hy = (model.parameters[n] for n in names)
    x = np.random.default_rng(0).standard_normal((T, D)).astype(dtype)
    h, outputs = np.zeros(H), []
    for t in range(T):
        h = np.tanh(np.dot(W_hh, h) + np.dot(W_xh, x[t]))
        outputs.append(np.dot(W_hy, h))
    assert_close(model.forward(x)[0], np.stack(outputs), T * (D + H), 1.0, "y")


def two_layers_stepped_by_hand(cell: Cell, dtype: Any) -> None:
    """Compare y1 = rnn1.step(x), y = rnn2.step(y1) with the model's sequence call, bit for bit."""
    model = Sequential(Recurrent(cell, 5, 17), Recurrent(cell, 17, 6), rng=3, dtype=dtype)
    for shape in ((8, 5), (8, 1, 5), (8, 7, 5)):
        x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
        rnn1, rnn2 = model[0].stream(), model[1].stream()
        by_hand = []
        for x_t in x:
            y1 = rnn1.step(x_t)
            by_hand.append(rnn2.step(y1))
        assert_same_bits(np.stack(by_hand), model.forward(x)[0], f"y of x {shape}")
