"""Textbook examples that a reader would check first."""

import numpy as np
import pytest

from recurrent import LSTM, Embedding, Sequential
from recurrent.conformance import textbook
from recurrent.conformance.tolerance import assert_close, assert_same_bits

pytestmark = pytest.mark.reference


def test_a_thousand_samples_of_ten_steps_of_five_features():
    """In an LSTM of 10 units each gate neuron has 5 + 10 = 15 inputs, and y is (10, 1000, 10)."""
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


@pytest.mark.parametrize("check", [textbook.a_single_unit_unrolled, textbook.the_vanilla_network])
def test_written_out_in_numpy(check, dtype):
    check(dtype)


def test_two_stacked_layers_stepped_by_hand(engine, dtype):
    textbook.two_layers_stepped_by_hand(engine.cell, dtype)


def test_an_embedding_in_a_model_is_a_one_hot_input(dtype):
    """Compare with the same network fed with one-hot vectors, the table multiplied into W_ih."""
    V, E, H = 7, 5, 9
    model = Sequential(Embedding(V, E), LSTM(E, H), rng=0, dtype=dtype)
    other = LSTM(V, H).initialise(0, dtype)
    for name, a in other.parameters.items():
        a[:] = model.parameters[f"1.{name}"] if name != "weight_ih_l0" else 0
    other.parameters["weight_ih_l0"][:] = (
        model.parameters["1.weight_ih_l0"] @ model.parameters["0.weight"].T
    )
    ids = np.random.default_rng(0).integers(0, V, (6, 4))
    y = model.forward(ids)[0]
    assert_close(other.forward(np.eye(V, dtype=dtype)[ids])[0], y, 6 * (V + E + 4 * H), 1.0)


def test_a_state_remembers_what_the_input_no_longer_says():
    """Build a latch by hand: a pulse sets a unit, which holds it for a hundred steps of zeros."""
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
