"""A stream uses a snapshot of all weights taken when it is created."""

import numpy as np
import pytest

from recurrent import GRU, LSTM, QRNN, RNN, Dropout, Embedding, Engine, Linear, Sequential
from recurrent.cells import CELLS
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.layers.base import Layer


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


class Fails(Layer, abstract=True):
    """Passes x on until `error` is set."""

    error: BaseException | None = None

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        if self.error is not None:
            raise self.error
        return x, None, None


@pytest.mark.reference
@pytest.mark.parametrize("cells", [(LSTM, GRU), (QRNN, RNN)])
@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("error", [ValueError("later"), KeyboardInterrupt()])
def test_a_step_that_fails_in_a_later_layer_takes_the_earlier_ones_back(cells, after, error):
    """The first layer had advanced: the next step differed from that of the same stream."""
    rng = np.random.default_rng(0)
    first, second = cells
    broken = Fails()
    layers = first(3, 20, learn_state=True), broken, second(20, 4)
    model = Sequential(*layers, rng=0)
    for a in layers[0].initial:
        model.parameters[f"0.{a}"][:] = rng.standard_normal(20)
    x = rng.standard_normal((5, 2, 3)).astype("f")
    y, state, _ = model.forward(x)
    stream = model.stream()
    for t, x_t in enumerate(x):
        if t == after:
            for _ in range(2):
                before = stream.state
                broken.error = error
                with pytest.raises(type(error)):
                    stream.step(x_t[:1] if after == 0 else x_t)
                broken.error = None
                for a, b in zip(before, stream.state, strict=True):
                    for one, other in zip(a or (), b or (), strict=True):
                        assert_same_bits(one, other)
        assert_same_bits(stream.step(x_t), y[t])
    for a, b in zip(stream.state, state, strict=True):
        for one, other in zip(a or (), b or (), strict=True):
            assert_same_bits(one, other)
