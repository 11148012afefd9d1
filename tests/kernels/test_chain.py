"""A step of several layers in one call of compiled code: the bits of `forward`."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numba import config

from recurrent import (
    GRU,
    LSTM,
    RNN,
    Activation,
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    Recurrent,
    Residual,
    Sequential,
    Sigmoid,
    Tanh,
)
from recurrent.cells import CELLS
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.engine.chain import Chain

pytestmark = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="there are no compiled kernels")

T = 5


def numbers(*shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def check(model, x):
    """Compare a stream with `forward`; return the stream."""
    stream = model.stream()
    y, final, _ = model.forward(x)
    for x_t, y_t in zip(x, y, strict=True):
        assert_same_bits(stream.step(x_t), y_t)
    for ours, theirs in zip(stream.state, final, strict=True):
        for a, b in zip(ours or (), theirs or (), strict=True):
            assert_same_bits(a, b)
    return stream


def calls(stream):
    """Return how many calls of Python a step makes, and of how many layers each is."""
    return [len(c._steppers) if isinstance(c, Chain) and c._run else 0 for c in stream._plan]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [(), (1,), (2,), (11,)])
@pytest.mark.parametrize("sizes", [(1, 40, 1), (3, 1, 5), (17, 33, 70)])
def test_a_step_is_one_call(dtype, rows, sizes):
    D, H, M = sizes
    layers = GRU(D, H), Dropout(0.4), LSTM(H, H), Linear(H, M)
    stream = check(Sequential(*layers, rng=1, dtype=dtype), numbers(T, *rows, D, dtype=dtype))
    assert calls(stream) == [4]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [(), (2,), (11,)])
def test_activations_are_part_of_a_call(dtype, rows):
    layers = Tanh(), GRU(17, 33), Activation("elu"), Linear(33, 5), Sigmoid()
    stream = check(Sequential(*layers, rng=1, dtype=dtype), numbers(T, *rows, 17, dtype=dtype))
    assert calls(stream) == [5]


def test_activations_in_a_call_keep_denormals():
    x = np.float32([[[1e-40, -1e-39, 2]], [[1, 2, 3]]])
    stream = check(Sequential(Activation("leaky_relu"), Activation("softsign")), x)
    assert calls(stream) == [2]
    assert 0 < stream.step(x[0])[0, 0] < np.finfo(np.float32).tiny


def test_layers_that_hold_layers():
    inner = Residual(LSTM(4, 4), Dropout(0.2), Linear(4, 4))
    model = Sequential(GRU(3, 4), inner, Sequential(GRU(4, 4), Linear(4, 2)), rng=0)
    assert calls(check(model, numbers(T, 3, 3))) == [1, 0, 2]


def test_other_layers_run_between_calls():
    model = Sequential(
        Embedding(9, 3), LSTM(3, 4), RNN(4, 4), LayerNorm(4), Linear(4, 4), GRU(4, 2)
    )
    ids = np.random.default_rng(0).integers(0, 9, (T, 3))
    assert calls(check(model, ids)) == [0, 2, 0, 2]


@pytest.mark.ci
@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_cell(cell, dtype):
    P = 5 if CELLS[cell].has_projection else 0
    layer = Recurrent(cell, 3, 20, proj_size=P)
    model = Sequential(layer, Linear(layer.out_features, 3), rng=2, dtype=dtype)
    assert calls(check(model, numbers(T, 2, 3, dtype=dtype))) == [2]


def test_a_cell_whose_units_interact_within_a_step():
    layer = LSTM(3, 20, layer_norm=True)
    assert layer.cell.cross_unit_ops
    assert calls(check(Sequential(layer, Linear(20, 2)), numbers(T, 2, 3))) == [2]


def test_a_large_layer_keeps_its_threads():
    model = Sequential(GRU(300, 300), Linear(300, 2))
    stream = check(model, numbers(2, 60, 300))
    assert calls(stream) == [0]
    small = check(model, numbers(2, 2, 300))
    assert calls(small) == [2]


def test_errors_leave_the_states():
    model = Sequential(GRU(3, 4), Linear(4, 2))
    x = numbers(T, 2, 3)
    y = model.forward(x)[0]
    stream = model.stream()
    for t, x_t in enumerate(x):
        for bad, error in [
            (x_t[:1], ValueError),
            (x_t.astype("d"), TypeError),
            (x_t[0], ValueError),
        ]:
            if t:
                with pytest.raises(error, match="x_t must"):
                    stream.step(bad)
        with pytest.raises(ValueError, match="x_t must be"):
            stream.step(x_t[:, :2])
        strided = np.asfortranarray(x_t)
        strided.flags.writeable = False
        assert_same_bits(stream.step(strided), y[t])
    stream.reset()
    assert_same_bits(stream.step(x[0, 1]), y[0, 1])  # another batch after reset
    affine = Sequential(Linear(3, 2)).stream()
    for shape in ((3,), (4, 3), (2, 5, 3), (0, 3)):  # layers without a state take any batch
        assert affine.step(numbers(*shape)).shape == (*shape[:-1], 2)


def test_outputs_are_arrays_of_their_own():
    model, x = Sequential(GRU(3, 4), GRU(4, 2)), numbers(T, 2, 3)
    stream = model.stream()
    outputs = [stream.step(x_t) for x_t in x]
    assert_same_bits(np.stack(outputs), model.forward(x)[0])
    outputs[-1][:] = np.nan
    assert_same_bits(stream.step(x[0]), model.forward(np.concatenate([x, x[:1]]))[0][-1])


def test_streams_in_several_threads():
    model, x = Sequential(GRU(3, 40), Linear(40, 2)), numbers(300, 3)
    y = model.forward(x)[0]

    def run(_):
        stream = model.stream()
        return np.stack([stream.step(x_t) for x_t in x])

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(run, range(8)):
            assert_same_bits(found, y)


def test_a_pickled_stream_of_another_processor_is_refused(monkeypatch):
    stream = Sequential(GRU(3, 4), Linear(4, 2)).stream()
    stream.step(numbers(3))
    content = pickle.dumps(stream)
    from recurrent.kernels.codegen import target

    other = next(u for u in (target.AVX512, target.AVX2) if u != target.host())
    monkeypatch.setattr(target, "host", lambda: other)
    with pytest.raises(ValueError, match="packed weights are those of another processor"):
        pickle.loads(content)
