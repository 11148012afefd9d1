"""Linear without bias, the padding row of an Embedding, and rows given beforehand."""

import numpy as np
import pytest

from recurrent import LSTM, Embedding, Linear, Sequential, TruncatedBPTT, fit, gradcheck
from recurrent.cli.describe import unit
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.losses import mean_squared_error
from recurrent.optim import AdamW
from recurrent.training import checkpoint

RNG = np.random.default_rng(0)


def test_linear_without_bias_is_linear_with_a_bias_of_zeros():
    layer, other = Linear(5, 3, bias=False).initialise(1), Linear(5, 3).initialise(1)
    assert list(layer.shapes) == ["weight"]
    other.parameters["bias"][:] = 0
    assert_same_bits(layer.parameters["weight"], other.parameters["weight"])
    x, dy = RNG.standard_normal((4, 2, 5), "f"), RNG.standard_normal((4, 2, 3), "f")
    (y, _, tape), (expected, _, _) = layer.forward(x, record=True), other.forward(x)
    assert_same_bits(y, expected)
    mine, theirs = layer.backward(dy, tape), other.backward(dy, tape)
    assert_same_bits(mine.dx, theirs.dx)
    assert_same_bits(mine.params["weight"], theirs.params["weight"])
    assert_same_bits(layer.stream().step(x[0]), y[0])
    assert repr(layer) == "Linear(in_features=5, out_features=3, bias=False)"


def test_linear_without_bias_in_a_model(tmp_path):
    model = Sequential(LSTM(2, 3), Linear(3, 2, bias=False), rng=0)
    assert gradcheck(model, RNG.standard_normal((3, 2, 2)))
    checkpoint.save(tmp_path / "a.safetensors", checkpoint.Checkpoint(model))
    again = checkpoint.load(tmp_path / "a.safetensors").model
    assert repr(again) == repr(model)
    assert_same_bits(again.flat, model.flat)
    assert "with 3 inputs and no bias: 3 parameters" in unit(model, 1)


@pytest.mark.parametrize("padding_idx", [0, 3, -1])
@pytest.mark.parametrize("init", ["pytorch", "keras"])
def test_the_padding_row_is_zeros_and_gets_no_gradient(padding_idx, init):
    layer, row = Embedding(5, 3, padding_idx=padding_idx), padding_idx % 5
    model = Sequential(layer, LSTM(3, 2), rng=0, init=init)
    assert layer.padding_idx == row
    weight = model.parameters["0.weight"]
    assert not weight[row].any()
    assert all(weight[k].any() for k in range(5) if k != row)
    ids = RNG.permutation(np.repeat(np.arange(5), 4)).reshape(10, 2)
    for net in (model, Sequential(Embedding(5, 3, padding_idx=padding_idx))):
        y, _, tape = net.forward(ids, record=True)
        d = net.backward(np.ones_like(y), tape).params["0.weight"]
        assert not d[row].any()
        assert all(d[k].any() for k in range(5) if k != row)
    run = [TruncatedBPTT(model, checkpoint_every=every) for every in (None, 3)]
    targets = RNG.standard_normal((10, 2, 2), "f")
    whole, parts = (r.gradient(ids, targets, mean_squared_error)[1] for r in run)
    assert_same_bits(parts, whole)
    model.initialise(3)
    assert not weight[row].any()


def test_the_padding_row_stays_zeros_in_training():
    model = Sequential(Embedding(5, 3, padding_idx=2), LSTM(3, 2), rng=0)
    batch = np.arange(5).repeat(2).reshape(5, 2), np.ones((5, 2, 2), "f")
    fit(model, [batch], mean_squared_error, AdamW(0.1), epochs=5, progress=False)
    assert not model.parameters["0.weight"][2].any()


def test_gradients_are_those_of_torch():
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    rows, ids = RNG.standard_normal((6, 3)), RNG.integers(0, 6, (4, 2))
    dy = RNG.standard_normal((4, 2, 3))
    layer = Embedding.from_pretrained(rows, freeze=False, padding_idx=1)
    theirs = torch.nn.Embedding.from_pretrained(torch.tensor(rows), freeze=False, padding_idx=1)
    y, _, tape = layer.forward(ids, record=True)
    expected = theirs(torch.tensor(ids))
    expected.backward(torch.tensor(dy))
    assert_same_bits(y, expected.detach().numpy())
    np.testing.assert_allclose(layer.backward(dy, tape).params["weight"], theirs.weight.grad)


def test_rows_given_beforehand_are_copied_and_frozen():
    rows = RNG.standard_normal((6, 3), "f")
    layer = Embedding.from_pretrained(rows)
    assert not layer.trainable
    rows[:] = 0
    assert layer.parameters["weight"].any()
    before = layer.parameters["weight"].copy()
    model = Sequential(layer, LSTM(3, 2), rng=5)
    assert_same_bits(model.parameters["0.weight"], before)
    assert Embedding.from_pretrained(before, freeze=False).trainable
    kept = Embedding.from_pretrained(before, padding_idx=1)
    assert_same_bits(kept.parameters["weight"], before)
    with pytest.raises(TypeError, match="weight must have the dtype of the model"):
        Sequential(Embedding.from_pretrained(before.astype("d")), LSTM(3, 2))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Embedding(5, 3, padding_idx=5), r"padding_idx must be .*5"),
        (lambda: Embedding(5, 3, padding_idx=-6), r"padding_idx must be .*-6"),
        (lambda: Embedding(5, 3, padding_idx=1.5), r"padding_idx must be an int, got float"),
        (lambda: Embedding.from_pretrained(np.zeros(3)), r"embeddings must be .* got \(3,\)"),
        (lambda: Embedding.from_pretrained(np.eye(3, dtype=int)), "embeddings must be float32"),
        (lambda: Linear(3, 2, bias=None), "bias must be True or False, got None"),
    ],
)
def test_wrong_options_are_one_line(call, words):
    with pytest.raises((TypeError, ValueError), match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
