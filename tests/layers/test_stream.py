"""A stream uses a snapshot of all weights taken when it is created."""

import numpy as np
import pytest

from recurrent import GRU, LSTM, RNN, Dropout, Embedding, Engine, Linear, Sequential
from recurrent.cells import CELLS
from recurrent.conformance.tolerance import assert_same_bits


@pytest.mark.reference
def test_changing_the_weights_does_not_reach_a_stream():
    layers = Embedding(7, 5), LSTM(5, 4), Dropout(0.5), GRU(4, 3), RNN(3, 3), Linear(3, 2)
    model = Sequential(*layers, rng=0)
    ids = np.random.default_rng(0).integers(0, 7, (6, 3))
    y, state, _ = model.forward(ids)
    stream = model.stream()
    model.flat[:] = np.nan
    for x_t, y_t in zip(ids, y, strict=True):
        assert_same_bits(stream.step(x_t), y_t)
    for ours, theirs in zip(stream.state, state, strict=True):
        for a, b in zip(ours or (), theirs or (), strict=True):
            assert_same_bits(a, b)


@pytest.mark.reference
def test_a_step_that_fails_leaves_the_state():
    model = Sequential(Embedding(7, 5), LSTM(5, 4), Linear(4, 2), rng=0)
    stream, other = model.stream(), model.stream()
    for s in (stream, other):
        s.step(np.array([1, 2]))
    for bad in (np.array([1, 7]), np.array([1, 2, 3])):
        with pytest.raises((IndexError, ValueError)):
            stream.step(bad)
    assert_same_bits(stream.step(np.array([3, 4])), other.step(np.array([3, 4])))


@pytest.mark.reference
def test_packed_params_are_a_snapshot(engine, dtype):
    params = engine.init(5, 4, dtype)
    x = np.random.default_rng(0).standard_normal((6, 3, 5)).astype(dtype)
    y, final, _ = engine.forward(x, params)
    packed = engine.pack(params)
    for p in params:
        p[:] = np.nan
    ours, state, _ = engine.forward(x, packed)
    for a, b in zip((ours, *state), (y, *final), strict=True):
        assert_same_bits(a, b)
    assert_same_bits(engine.step(x[0], None, packed).h, y[0])
    with pytest.raises(ValueError, match="recorded"):
        engine.forward(x, packed, record=True)
    with pytest.raises(ValueError, match="the params were packed for"):
        Engine(next(c for c in CELLS.values() if c is not engine.cell)).forward(x, packed)
