"""LayerNorm: equal to PyTorch, gradients, use in a model."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import viz
from recurrent import LSTM, LayerNorm, Linear, Sequential, gradcheck
from recurrent.cli import describe
from recurrent.conformance.tolerance import assert_close, assert_same_bits
from recurrent.training import checkpoint

pytestmark = pytest.mark.reference


def layer(size, dtype, rng, eps=1e-5):
    made = LayerNorm(size, eps).initialise(dtype=dtype)
    for a in made.parameters.values():
        a[:] = rng.standard_normal(a.shape)
    return made


@given(
    shape=st.lists(st.integers(1, 5), max_size=2),
    size=st.integers(1, 40),
    eps=st.sampled_from([1e-5, 1e-3]),
    seed=st.integers(0, 99),
)
def test_it_equals_pytorch(dtype, shape, size, eps, seed):
    torch = pytest.importorskip(
        "torch", reason="parity with PyTorch needs torch: pip install recurrent-engine[peers]"
    )
    rng = np.random.default_rng(seed)
    ours, x = layer(size, dtype, rng, eps), rng.standard_normal((*shape, size)).astype(dtype)
    theirs = torch.nn.LayerNorm(size, eps=eps, dtype=torch.float64)
    theirs.load_state_dict({n: torch.from_numpy(a) for n, a in ours.parameters.items()})
    given_x = torch.from_numpy(x.astype("float64")).requires_grad_()
    expected = theirs(given_x)
    dy = rng.standard_normal(x.shape).astype(dtype)
    expected.backward(torch.from_numpy(dy.astype("float64")))
    y, _, tape = ours.forward(x, record=True)
    dx, grads, _ = ours.backward(dy, tape)
    # A mean is off by `size` roundings of x; dividing by a small deviation enlarges that.
    steep, rows = 1 / np.sqrt(x.var(axis=-1).min() + eps), int(np.prod(shape, dtype=int))
    moved = steep * np.abs(x).max() * max(1.0, np.abs(y).max())
    largest_dy, gain = np.abs(dy).max(), np.abs(ours.parameters["weight"]).max()
    assert_close(y, expected.detach().numpy(), size + 4, moved * gain)
    assert_close(grads["bias"], theirs.bias.grad.numpy(), rows, largest_dy * rows)
    assert_close(
        grads["weight"], theirs.weight.grad.numpy(), size + rows + 4, largest_dy * rows * moved
    )
    assert_close(dx, given_x.grad.numpy(), 4 * size + 8, largest_dy * gain * steep * moved)


def test_in_a_model(dtype, tmp_path):
    rng = np.random.default_rng(0)
    model = Sequential(LSTM(3, 8), LayerNorm(8), LSTM(8, 5), Linear(5, 2), rng=0, dtype=dtype)
    assert (model.parameters["1.weight"] == 1).all()
    assert not model.parameters["1.bias"].any()
    model.flat += rng.standard_normal(model.size).astype(dtype) / 10
    x = rng.standard_normal((6, 4, 3)).astype(dtype)
    y, _, _ = model.forward(x)
    stream = model.stream()
    assert_same_bits(np.stack([stream.step(x_t) for x_t in x]), y)
    for n in range(4):
        assert_same_bits(model.forward(x[:, n])[0], y[:, n])
    checkpoint.save(tmp_path / "m", checkpoint.Checkpoint(model))
    assert_same_bits(checkpoint.load(tmp_path / "m").model.forward(x)[0], y)
    assert model.plan(T=6, N=4).total > 0
    assert "gain" in describe.unit(model, 1)
    assert "LayerNorm(8)" in viz.network(model).source
    if dtype == "float64":

        def loss(y, lengths=None):
            return float((y * y).sum() / 2), y

        assert gradcheck(model, x, loss).ok


def test_bad_input():
    with pytest.raises(ValueError, match="normalized_shape must be at least 1, got 0"):
        LayerNorm(0)
    with pytest.raises(ValueError, match="eps must be at least 0, got -1"):
        LayerNorm(3, eps=-1)
    with pytest.raises(ValueError, match=r"x must be \(..., 3\), got \(2, 4\)"):
        LayerNorm(3).forward(np.zeros((2, 4), np.float32))
    with pytest.raises(TypeError, match="x must have the dtype of weight, float32, got float64"):
        LayerNorm(3).forward(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="layer 1"):
        Sequential(LSTM(2, 4), LayerNorm(5))
