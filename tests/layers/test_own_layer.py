"""A layer of one's own, as the docstring of Layer describes it, and one with a parameter."""

import numpy as np
import pytest

from recurrent import LSTM, Linear, Residual, Sequential, TruncatedBPTT, fit, gradcheck, load
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.layers import Gradients, Layer
from recurrent.layers.base import LAYERS
from recurrent.losses import mean_squared_error
from recurrent.optim import Adam

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def classes():
    """Classes that are registered for one test."""
    before = dict(LAYERS)

    class Square(Layer):
        def forward(self, x, *_, **__):
            return x * x, None, x

        def backward(self, dy, tape, *_, **__):
            return Gradients(2 * tape * dy, {}, None)

    class Gain(Layer):
        runs_in_segments = True

        def __init__(self, width: int):
            super().__init__(width=width)
            self.in_features = self.out_features = width
            self.shapes = {"weight": (width,)}

        def reset_parameters(self, rng):
            self.parameters["weight"][:] = rng.uniform(0.5, 1.5, self.in_features)

        def forward(self, x, state=None, lengths=None, record=False, training=None):
            return x * self.parameters["weight"], None, x

        def backward(self, dy, tape, dstate=None, out=None, state_gradients=None, sums=None):
            grads = {"weight": np.zeros(self.in_features, dy.dtype)} if out is None else out
            if sums is None:
                grads["weight"][:] = 0
            for d in (dy * tape).reshape(-1, self.in_features)[::-1]:
                grads["weight"] += d
            return Gradients(dy * self.parameters["weight"], grads, None)

    yield Square, Gain
    LAYERS.clear()
    LAYERS.update(before)


def model(classes):
    Square, Gain = classes
    return Sequential(LSTM(2, 3), Square(), Residual(Gain(3), Square()), Linear(3, 1), rng=0)


def test_it_trains_streams_records_and_is_gradchecked(classes):
    net, x = model(classes), RNG.standard_normal((5, 2, 2), "f")
    assert gradcheck(net, x)
    history = fit(net, [(x, x[..., :1])], mean_squared_error, Adam(0.05), epochs=30, progress=False)
    assert history.losses[-1] < 0.5 * history.losses[0]
    stream, y = net.stream(), net.forward(x)[0]
    for t in range(5):
        assert_same_bits(stream.step(x[t]), y[t])
    recording = net.record(x)
    assert_same_bits(recording.layers[1].y, recording.layers[0].y ** 2)


def test_files_hold_it_while_its_class_is_known(classes, tmp_path):
    net, x = model(classes), RNG.standard_normal((5, 2, 2), "f")
    net.save(tmp_path / "model.safetensors")
    assert_same_bits(load(tmp_path / "model.safetensors").forward(x)[0], net.forward(x)[0])
    del LAYERS["Gain"]
    with pytest.raises(ValueError, match="unknown layer type 'Gain': define its class before"):
        load(tmp_path / "model.safetensors")


def test_segments_and_plans_need_what_the_docstring_says(classes):
    x = RNG.standard_normal((6, 2, 2), "f")
    with pytest.raises(ValueError, match=r"Square\), which does not say that it runs in segments"):
        TruncatedBPTT(model(classes), checkpoint_every=2)
    with pytest.raises(ValueError, match=r"Square does not implement footprint"):
        model(classes).plan(3, 2)
    net = Sequential(LSTM(2, 3), Residual(classes[1](3)), rng=0)
    whole, parts = (
        TruncatedBPTT(net, checkpoint_every=every).gradient(
            x, net.forward(x)[0] * 0, mean_squared_error
        )[1]
        for every in (None, 2)
    )
    assert_same_bits(parts, whole)


def test_errors_of_a_layer_say_what_its_methods_must_do():
    def made(**methods):
        return type("Own", (Layer,), methods, abstract=True)

    def forward(self, x, *_, **__):
        return x, None, x

    with pytest.raises(TypeError, match=r"Own\.forward must take \(x, state, lengths, record,"):
        made(forward=lambda self, x: x)
    model = Sequential(Linear(2, 2), made(forward=lambda self, x, *_: x)())
    with pytest.raises(TypeError, match=r"forward of Own must return \(y, state, tape\), got an a"):
        model.forward(np.ones((3, 2), np.float32))
    with pytest.raises(TypeError, match=r"Own\.__init__ must first call super\(\)\.__init__\(\)"):
        Sequential(made(__init__=lambda self: None, forward=forward)())
    with pytest.raises(TypeError, match=r"Own\.__init__ must first call super\(\)\.__init__\(\)"):
        Residual(made(__init__=lambda self: None, forward=forward)())
    y, _, tape = (model := Sequential(Linear(2, 2), made(forward=forward)())).forward(
        np.ones((3, 2), np.float32), record=True
    )
    with pytest.raises(NotImplementedError, match="Own has no backward, so it cannot be trained"):
        model.backward(y, tape)

    def shaped(self):
        Layer.__init__(self)
        self.shapes = {"weight": (2,)}

    with pytest.raises(TypeError, match=r"Own has parameters \(weight\) but no reset_parameters"):
        Sequential(made(__init__=shaped, forward=forward)())


@pytest.mark.parametrize("every", [None, 2])
def test_gradients_that_a_layer_only_returns_are_taken(classes, every):
    """They are equal if it writes to `out` or returns new arrays, in one piece and in segments."""
    _, Gain = classes

    class Returned(Gain):
        def backward(self, dy, tape, dstate=None, out=None, state_gradients=None, sums=None):
            return super().backward(dy, tape)

    x, y = RNG.standard_normal((2, 7, 4, 3)).astype("f")
    found = [
        TruncatedBPTT(Sequential(LSTM(3, 3), kind(3), rng=0), checkpoint_every=every).gradient(
            x, y, mean_squared_error
        )[1]
        for kind in (Gain, Returned)
    ]
    assert np.any(found[0][-3:])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
