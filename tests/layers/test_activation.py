"""Activation layers: values, exact gradients, streams, segments, files."""

import numpy as np
import pytest

from recurrent import (
    LSTM,
    Activation,
    Last,
    Linear,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
    TruncatedBPTT,
    gradcheck,
    kernels,
)
from recurrent.cells.activations import ACTIVATIONS
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.gradcheck import complex_step
from recurrent.layers.activation import MORE, rules
from recurrent.losses import mean_squared_error
from recurrent.training import checkpoint

NUMBERS = {"affine": "affine(0.5, 0.25)", "scaledtanh": "scaledtanh(1.5, 0.75)"}
NAMES = [NUMBERS.get(name, name) for name in [*ACTIVATIONS, *MORE]]
ALONE = {"relu": ReLU, "tanh": Tanh, "sigmoid": Sigmoid, "softmax": Softmax}


def data(*shape, dtype="float64"):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@pytest.fixture
def interpreted(monkeypatch):
    """Let layers run on the interpreter of their equations."""
    monkeypatch.setattr(kernels, "backend", kernels.reference)


@pytest.mark.parametrize("name", [*NAMES, "softmax"])
def test_gradients_equal_the_complex_step(name, interpreted):
    layer, x, dy = Activation(name), data(2, 3, 4), data(3, 4, 2).reshape(2, 3, 4)

    def loss(a):
        y = a["x"].copy()
        if name == "softmax":
            kernels.reference.softmax(y, np.ones((2, 4), bool))
        else:
            rule = rules(layer.function)[0]
            flat = {"x": a["x"].reshape(-1), "y": y.reshape(-1)}
            kernels.reference.apply_rule(rule, {}, flat, 8)
        return np.sum(dy * y)

    y, _, tape = layer.forward(x, record=True)
    assert np.sum(dy * y) == pytest.approx(loss({"x": x + 0j}).real, rel=1e-14)
    exact = complex_step(loss, {"x": x})["x"]
    np.testing.assert_allclose(layer.backward(dy, tape).dx, exact, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ALONE)
def test_compiled_equals_interpreted(name, dtype, monkeypatch):
    layer, x, dy = ALONE[name](), data(5, 3, 7, dtype=dtype), data(5, 3, 7, dtype=dtype)
    y, _, tape = layer.forward(x, record=True)
    dx = layer.backward(dy, tape).dx
    assert (y.dtype, dx.dtype, layer.options) == (dtype, dtype, {})
    monkeypatch.setattr(kernels, "backend", kernels.reference)
    expected, _, tape = layer.forward(x, record=True)
    rounding = dict(rtol=0, atol=16 * np.finfo(dtype).eps)
    np.testing.assert_allclose(y, expected, **rounding)
    np.testing.assert_allclose(dx, layer.backward(dy, tape).dx, **rounding)


@pytest.mark.parametrize("name", ALONE)
def test_values_are_those_of_torch(name):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    layer, x, dy = ALONE[name](), data(4, 3, 6), data(3, 4, 6).reshape(4, 3, 6)
    theirs = torch.tensor(x, requires_grad=True)
    kind = type(layer).__name__
    made = torch.nn.Softmax(dim=-1) if kind == "Softmax" else getattr(torch.nn, kind)()
    expected = made(theirs)
    expected.backward(torch.tensor(dy))
    y, _, tape = layer.forward(x, record=True)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(layer.backward(dy, tape).dx, theirs.grad, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", ["silu", "swish", "gelu_tanh"])
def test_functions_of_layers_alone_are_those_of_torch(name):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    layer, x = Activation(name), 3 * data(4, 3, 6)
    kind = torch.nn.GELU(approximate="tanh") if name == "gelu_tanh" else torch.nn.SiLU()
    expected = kind(torch.tensor(x)).numpy()
    np.testing.assert_allclose(layer.forward(x)[0], expected, rtol=1e-13, atol=1e-15)
    assert repr(layer) == repr(Activation(layer.function))


@pytest.mark.parametrize("name", ALONE)
def test_rows_do_not_depend_on_the_batch(name):
    layer, x = ALONE[name](), data(9, 5, 13, dtype="float32")
    y, _, tape = layer.forward(x, record=True)
    dx = layer.backward(x, tape).dx
    for t, n in ((0, 0), (3, 2), (8, 4)):
        alone, _, tape = layer.forward(x[t, n], record=True)
        assert_same_bits(alone, y[t, n])
        assert_same_bits(layer.backward(x[t, n], tape).dx, dx[t, n])
    assert layer.forward(np.zeros((0, 2, 3)))[0].shape == (0, 2, 3)


def model(*more, dtype="float64"):
    return Sequential(LSTM(3, 4), Tanh(), Linear(4, 4), Softmax(), *more, rng=0, dtype=dtype)


def test_models_with_activations_are_models():
    net, x = model(), data(6, 2, 3)
    assert gradcheck(net, x)
    stream, y = net.stream(), net.forward(x)[0]
    for t in range(6):
        assert_same_bits(stream.step(x[t]), y[t])
    again = Sequential.build(net.describe(), net.parameters)
    assert repr(again) == repr(net)
    assert_same_bits(again.forward(x)[0], y)
    assert net.record(x).layers[1].y.shape == (6, 2, 4)
    assert [node.kind for node in net.graph().nodes[2:5]] == ["Tanh", "Linear", "Softmax"]
    assert net.plan(6, 2).total > 0


@pytest.mark.parametrize("more", [(), (Last(),)])
def test_a_run_in_segments_has_the_bits_of_the_whole(more):
    net, x = model(*[type(layer)() for layer in more]), data(7, 2, 3)
    targets = data(*net.forward(x)[0].shape)
    whole = TruncatedBPTT(net).gradient(x, targets, mean_squared_error)
    parts = TruncatedBPTT(net, checkpoint_every=3).gradient(x, targets, mean_squared_error)
    assert_same_bits(parts[1], whole[1])
    assert_same_bits(parts[2], whole[2])


def test_files_keep_them(tmp_path):
    net = Sequential(Linear(2, 3), ReLU(), Activation("leaky_relu(0.2)"), rng=0)
    checkpoint.save(tmp_path / "a.safetensors", checkpoint.Checkpoint(net))
    again = checkpoint.load(tmp_path / "a.safetensors").model
    assert repr(again) == repr(net)
    assert again[2].function == "leakyrelu(0.2)"


def test_wrong_names_are_refused():
    with pytest.raises(ValueError, match=r"\Aunknown activation 'tahn'; .*mean 'tanh'\?\Z"):
        Activation("tahn")
    with pytest.raises(TypeError, match="by name"):
        Activation(np.tanh)
