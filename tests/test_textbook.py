"""What a reader of a textbook checks first."""

import numpy as np
import pytest
from tolerance import assert_close, assert_same_bits

from recurrent import LSTM, RNN, Embedding, Linear, Sequential
from recurrent.layers import Recurrent

pytestmark = pytest.mark.reference


def test_a_thousand_samples_of_ten_steps_of_five_features():
    """Into an LSTM of 10 units: each gate neuron has 5 + 10 = 15 inputs, y is (10, 1000, 10)."""
    layer = LSTM(5, 10)
    x = np.random.default_rng(0).standard_normal((10, 1000, 5)).astype(np.float32)
    y, state, _ = layer.forward(x)
    assert y.shape == (10, 1000, 10)
    assert state.h.shape == state.c.shape == (1000, 10)
    for gate in range(4):
        inputs = [layer.params[k][gate * 10 : (gate + 1) * 10] for k in (0, 1)]
        assert [a.shape for a in inputs] == [(10, 5), (10, 10)]
        assert sum(a.shape[1] for a in inputs) == 15
    assert layer.size == 4 * 10 * (15 + 2)
    assert_same_bits(y[-1], state.h)


def test_a_single_hidden_unit_unrolled(dtype):
    """One unit over T steps, with nothing but scalars."""
    layer = LSTM(1, 1).initialise(4, dtype)
    T = 12
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
        assert_close(tape.c[t, 0], c, 4 * T, 1.0 + abs(c))
        assert_close(y[t, 0], h, 4 * T, 1.0)
    assert_close(state.c[0], c, 4 * T, 1.0 + abs(c))


def test_the_vanilla_network_of_the_textbooks(dtype):
    """h = tanh(W_hh h + W_xh x), y = W_hy h, written as NumPy, equals RNN + Linear without biases."""
    T, D, H, V = 9, 4, 6, 3
    model = Sequential(RNN(D, H), Linear(H, V), rng=2, dtype=dtype)
    for name, a in model.parameters.items():
        if "bias" in name:
            a[:] = 0
    W_xh, W_hh = model.parameters["0.weight_ih_l0"], model.parameters["0.weight_hh_l0"]
    W_hy = model.parameters["1.weight"]
    x = np.random.default_rng(0).standard_normal((T, D)).astype(dtype)

    h, outputs = np.zeros(H), []
    for t in range(T):
        h = np.tanh(np.dot(W_hh, h) + np.dot(W_xh, x[t]))
        outputs.append(np.dot(W_hy, h))

    assert_close(model.forward(x)[0], np.stack(outputs), T * (D + H), 1.0)


def test_two_stacked_layers_stepped_by_hand(engine, dtype):
    """y1 = rnn1.step(x); y = rnn2.step(y1), equal to the model's sequence call bit for bit."""
    model = Sequential(Recurrent(engine.cell, 5, 17), Recurrent(engine.cell, 17, 6), rng=3, dtype=dtype)
    for shape in ((8, 5), (8, 1, 5), (8, 7, 5)):
        x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
        rnn1, rnn2 = model[0].stream(), model[1].stream()
        by_hand = []
        for x_t in x:
            y1 = rnn1.step(x_t)
            by_hand.append(rnn2.step(y1))
        assert_same_bits(np.stack(by_hand), model.forward(x)[0])


def test_an_embedding_in_a_model_is_a_one_hot_input(dtype):
    """The same network fed with one-hot vectors: the embedding's rows take part in the first product."""
    V, E, H = 7, 5, 9
    model = Sequential(Embedding(V, E), LSTM(E, H), rng=0, dtype=dtype)
    other = LSTM(V, H).initialise(0, dtype)
    for name, a in other.parameters.items():
        a[:] = model.parameters[f"1.{name}"] if name != "weight_ih_l0" else 0
    other.parameters["weight_ih_l0"][:] = model.parameters["1.weight_ih_l0"] @ model.parameters["0.weight"].T
    ids = np.random.default_rng(0).integers(0, V, (6, 4))
    y = model.forward(ids)[0]
    assert_close(other.forward(np.eye(V, dtype=dtype)[ids])[0], y, 6 * (V + E + 4 * H), 1.0)


def test_a_state_remembers_what_the_input_no_longer_says():
    """A latch by hand: a unit that is set by a pulse and holds it for a hundred steps of silence."""
    layer = LSTM(1, 1).initialise(0, "float64")
    W_ih, W_hh, b_ih, b_hh = layer.params
    for a in (W_ih, W_hh, b_ih, b_hh):
        a[:] = 0
    W_ih[:, 0] = [200, 0, 200, 0]  # the pulse opens the input gate and says what to write
    b_ih[:] = [-100, 100, 0, 100]  # closed without it; forget gate and output gate open
    x = np.zeros((100, 2, 1))
    x[0, 0] = 1
    y = layer.forward(x)[0]
    assert_close(y[:, 0, 0], np.full(100, np.tanh(1.0)), 100, 1.0)
    assert not y[:, 1].any()
