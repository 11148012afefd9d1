"""A result never overwrites what it is computed from, and a tape is read with its parameters."""

import numpy as np
import pytest
from support.strategies import Case

import recurrent
from recurrent import (
    GRU,
    LSTM,
    Attention,
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    Seq2Seq,
    Sequential,
    TruncatedBPTT,
)
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.losses import mean_squared_error
from recurrent.optim import OPTIMIZERS, SGD

pytestmark = pytest.mark.reference

T, N, D = 4, 2, 3


def array(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype("f")


def shares(name):
    return pytest.raises(ValueError, match=rf"\A[^\n]*shares memory with {name}[^\n]*\Z")


@pytest.fixture
def model():
    layers = LSTM(D, 4, bidirectional=True), Dropout(0.2), LayerNorm(8), Linear(8, 2)
    return Sequential(*layers, rng=0)


def run(model, x=None):
    """Return the tape of a forward pass, and dy."""
    y, _, tape = model.forward(array(T, N, D) if x is None else x, record=True)
    return tape, np.cos(y)


@pytest.mark.parametrize("view", [lambda a: a, lambda a: a[:], lambda a: np.asarray(memoryview(a))])
def test_the_gradient_does_not_overwrite_the_parameters(model, view):
    """It did: after backward(out=model.flat) the model consisted of its own gradient."""
    before = model.flat.copy()
    tape, dy = run(model)
    with shares("model.flat"):
        model.backward(dy, tape, out=view(model.flat))
    with shares("model.flat"):
        TruncatedBPTT(model).gradient(array(T, N, D), dy, mean_squared_error, out=view(model.flat))
    nan = np.full_like(dy, np.nan)
    with shares("model.flat"):
        TruncatedBPTT(model).gradient(array(T, N, D), nan, mean_squared_error, out=view(model.flat))
    assert_same_bits(model.flat, before)


def test_the_gradient_does_not_overwrite_x_or_dy(model):
    memory = np.zeros(model.size + T * N * D, "f")
    tape, dy = run(model, memory[: T * N * D].reshape(T, N, D))
    with shares("x"):
        model.backward(dy, tape, out=memory[: model.size])
    tape, dy = run(model)
    part = memory[-dy.size :].reshape(dy.shape)
    part[:] = dy
    with shares("dy"):
        model.backward(part, tape, out=memory[-model.size :])
    expected = model.backward(dy, tape)
    ours = model.backward(part, tape, out=memory[: model.size])
    assert_same_bits(ours.dx, expected.dx)
    for name, a in expected.params.items():
        assert_same_bits(ours.params[name], a)


def test_the_gradient_of_an_encoder_and_decoder(model):
    rng = np.random.default_rng(0)
    pair = Seq2Seq(
        Sequential(Embedding(5, 3), GRU(3, 4)),
        Sequential(Embedding(5, 3), GRU(3, 4), Attention(4, 4), Linear(8, 5)),
        start=0,
        end=1,
    )
    y, _, tape = pair.forward((rng.integers(0, 5, (3, 2)), rng.integers(0, 5, (4, 2))), record=True)
    with shares("model.flat"):
        pair.backward(y, tape, out=pair.flat)
    pair.flat *= 1.5
    with pytest.raises(ValueError, match="the parameters changed"):
        pair.backward(y, tape)


LAYERS = LSTM(D, 4, learn_state=True), Linear(D, 4), LayerNorm(D), Attention(D, output_size=4)


@pytest.mark.parametrize(
    "layer", [*LAYERS, Embedding(D, 4)], ids=lambda layer: type(layer).__name__
)
def test_the_gradients_of_a_layer(layer):
    x = np.ones((T, N), int) if isinstance(layer, Embedding) else array(T, N, D)
    y, _, tape = layer.forward(x, record=True)
    dy = np.cos(y)
    expected = layer.backward(dy, tape).params
    before = {name: a.copy() for name, a in layer.parameters.items()}
    with shares("[a-z_0-9]+, and would overwrite it"):
        layer.backward(dy, tape, out=dict(layer.parameters))
    for name in expected:
        assert_same_bits(layer.parameters[name], before[name])
        wrong = {n: np.zeros(a.shape if n != name else (1,), "f") for n, a in expected.items()}
        with pytest.raises(ValueError, match="shape of the result"):
            layer.backward(dy, tape, out=wrong)
    with pytest.raises(ValueError, match="out must have the names"):
        layer.backward(dy, tape, out={})
    out = {name: np.full_like(a, np.nan) for name, a in expected.items()}
    for name, a in layer.backward(dy, tape, out=out).params.items():
        assert a is out[name]
        assert_same_bits(a, expected[name])


def test_the_gradients_of_an_engine(engine):
    p = Case(T, N, D, 5, "float32").build(engine)
    tape, names = p.forward(record=True)[2], engine.Params._fields
    expected = engine.backward(p.dy, tape)[1]
    for k, name in enumerate(names):
        out = [np.empty_like(a) for a in p.params]
        out[k] = p.params[k]
        with shares(name):
            engine.backward(p.dy, tape, out=engine.Params(*out))
    if "b_hh" in names:
        out = [np.empty_like(a) for a in p.params]
        out[names.index("b_hh")] = out[names.index("b_ih")]
        with pytest.raises(ValueError, match=r"shares memory with out\.b_ih"):
            engine.backward(p.dy, tape, out=engine.Params(*out))
    out = engine.Params(*[np.empty_like(a) for a in p.params])
    for a, b in zip(engine.backward(p.dy, tape, out=out)[1], expected, strict=True):
        assert_same_bits(a, b)


def test_the_gradients_do_not_overwrite_memory_of_others():
    """Two arrays over one buffer have no owner in common that is an array."""
    engine, buffer = recurrent.lstm, bytearray(4 * 48)
    params = engine.init(D, 4)
    x = np.frombuffer(buffer, "f", T * N * D).reshape(T, N, D)
    y, _, tape = engine.forward(x, params, record=True)
    out = engine.Params(*[np.empty_like(a) for a in params])
    out = out._replace(W_ih=np.frombuffer(buffer, "f").reshape(16, 3))
    with shares("x"):
        engine.backward(y, tape, out=out)


# Without those that other test files define.
@pytest.mark.parametrize(
    "name", [n for n, c in OPTIMIZERS.items() if c.__module__ == SGD.__module__]
)
def test_an_update_does_not_read_what_it_writes(name):
    flat = array(9)
    with shares("gradient"):
        OPTIMIZERS[name]().update(flat, flat)
    with shares("gradient"):
        OPTIMIZERS[name]().update(flat[:8], flat[1:])


def parameters_minus(model):
    for a in model.parameters.values():
        a -= 0.01


def flat_minus(model):
    model.flat -= 0.01


def flat_set(model):
    model.flat = model.flat * 2


CHANGES = {
    "update": lambda m: SGD(0.1).update(m.flat, np.ones_like(m.flat)),
    "parameters -=": parameters_minus,
    "flat -=": flat_minus,
    "flat =": flat_set,
    "flat[:] =": lambda m: m.flat.fill(0),
    "one bias": lambda m: m.parameters.update({"3.bias": np.ones(2, "f")}),
    "initialise": lambda m: m.initialise(5),
    "a layer": lambda m: m[0].initialise(5),
}


@pytest.mark.parametrize("change", CHANGES)
def test_parameters_that_change_before_backward(model, change):
    """The activations of old weights with new weights gave the gradient of no function."""
    tape, dy = run(model)
    expected = model.backward(dy, tape).dx
    before = model.flat.copy()
    CHANGES[change](model)
    with pytest.raises(ValueError, match=r"\Athe parameters changed between forward and backward"):
        model.backward(dy, tape)
    model.flat = before
    assert_same_bits(model.backward(dy, tape).dx, expected)


def test_params_of_an_engine_that_change_before_backward(engine):
    p = Case(T, N, D, 5, "float32").build(engine)
    tape = p.forward(record=True)[2]
    for a, name in zip(p.params, engine.Params._fields, strict=True):
        before = a.copy()
        a += 0.5
        with pytest.raises(ValueError, match=rf"the parameters changed .* \({name}\)"):
            engine.backward(p.dy, tape)
        a[...] = before


def test_parameters_that_are_nan_have_not_changed(model):
    model.flat[:] = np.nan
    tape, dy = run(model)
    assert np.isnan(model.backward(dy, tape).params["3.weight"]).all()
    layer = LSTM(D, 4).initialise(0)
    layer.parameters["weight_hh_l0"][:] = np.nan
    y, _, tape = layer.forward(array(T, N, D), record=True)
    assert np.isnan(layer.backward(y, tape).params["weight_ih_l0"]).all()
