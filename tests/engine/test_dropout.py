"""Dropout inside a layer: the papers' equations, seeds, gradients, inference."""

import re

import numpy as np
import pytest

from recurrent import GRU, LSTM, RNN, Dropout, Linear, Recurrent, Sequential, gradcheck
from recurrent.conformance.tolerance import assert_close, assert_same_bits
from recurrent.engine.bernoulli import bernoulli, dropout_mask

pytestmark = pytest.mark.reference

T, N, D, H = 6, 5, 3, 17
RNG = np.random.default_rng(0)
X = RNG.standard_normal((T, N, D))

OPTIONS = {
    "zoneout": dict(zoneout={"h": 0.3, "c": 0.6}),
    "recurrent": dict(recurrent_dropout=0.4),
    "weights": dict(weight_drop=0.4),
    "all": dict(zoneout=0.2, recurrent_dropout=0.3, weight_drop=0.5),
}
CI = {("recurrent", "float64")}  # compiled for the tests of this file alone


def options_and_dtype(test):
    """Run a test with every kind of dropout in both dtypes."""
    pairs = [
        pytest.param(o, d, id=f"{d}-{n}", marks=pytest.mark.ci if (n, d) in CI else ())
        for d in ("float32", "float64")
        for n, o in OPTIONS.items()
    ]
    return pytest.mark.parametrize(("options", "dtype"), pairs)(test)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def papers_lstm(x, params, masks, before):
    """Krueger et al. (2017), eq. 4; Gal, Ghahramani (2016), eq. 7; Merity et al. (2018), sec. 2."""
    W, U, b, d = params
    U = U * masks.get("weight_hh", 1)
    h, c = before
    out = []
    for t in range(len(x)):
        a = x[t] @ W.T + b + d + (masks.get("dropout", 1) * h) @ U.T
        i, f, g, o = np.split(a, 4, axis=1)
        new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        z_h, z_c = (masks[f"zoneout_{s}"][t] if f"zoneout_{s}" in masks else 0 for s in "hc")
        h = z_h * h + (1 - z_h) * (sigmoid(o) * np.tanh(new))
        c = z_c * c + (1 - z_c) * new
        out.append(h)
    return np.stack(out), (h, c)


def made(dtype, options, **more):
    return LSTM(D, H, **options, **more).initialise(1, dtype)


@options_and_dtype
def test_an_lstm_by_the_equations_of_the_papers(options, dtype):
    layer, x = made(dtype, options), X.astype(dtype)
    before = layer.engine.State(*RNG.standard_normal((2, N, H)).astype(dtype))
    y, final, tape = layer.forward(x, before, record=True)
    expected, ends = papers_lstm(x.astype(float), layer.params, tape.masks, before)
    terms = T * (D + 4 * H)
    assert_close(y, expected, terms, 1 + np.abs(expected).max())
    for a, b in zip(final, ends, strict=True):
        assert_close(a, b, terms, 1 + np.abs(b).max())


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_same_seed_replays_masks_and_results(options):
    layer = made("float32", options)

    def run(seed):
        layer.generator = np.random.default_rng(seed)
        y, _, tape = layer.forward(X.astype(np.float32), record=True)
        return y, tape.masks

    (y, masks), (again, same), (other, _) = run(3), run(3), run(4)
    assert_same_bits(y, again)
    assert set(masks) == set(same)
    for name, mask in masks.items():
        assert_same_bits(mask, same[name], name)
    assert not np.array_equal(y, other)


def test_shapes_and_values_of_masks():
    layer = LSTM(D, 64, zoneout={"c": 0.3}, recurrent_dropout=0.25, weight_drop=0.5).initialise(1)
    masks = layer.forward(np.zeros((20, 30, D), np.float32), record=True)[2].masks
    shapes = {"zoneout_c": (20, 30, 64), "dropout": (30, 64), "weight_hh": (256, 64)}
    assert {n: m.shape for n, m in masks.items()} == shapes
    for name, values, share in (
        ("zoneout_c", {0, 1}, 0.3),
        ("dropout", {0, 4 / 3}, 0.75),
        ("weight_hh", {0, 2}, 0.5),
    ):
        mask = masks[name]
        assert set(np.unique(mask)) == {np.float32(v) for v in values}
        assert abs((mask > 0).mean() - share) < 5 * np.sqrt(share * (1 - share) / mask.size)


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937, np.random.SFC64])
def test_masks_of_any_generator_have_their_probability(bits, dtype):
    """Extreme probabilities included; an odd size consumes as many words as the next even one."""
    shape = (101, 33, 7)
    for p in (0.0, 1e-12, 0.03, 0.5, 0.9, 1 - 1e-12):
        mask = bernoulli(np.random.Generator(bits(1)), p, shape, dtype)
        assert (mask.shape, mask.dtype, set(np.unique(mask)) <= {0, 1}) == (shape, dtype, True)
        assert abs(mask.mean() - p) <= 5 * np.sqrt(p * (1 - p) / mask.size)
        if p:
            scaled = dropout_mask(np.random.Generator(bits(1)), 1 - p, shape, dtype)
            assert_same_bits(scaled > 0, mask > 0)
    one, two = (np.random.Generator(bits(1)) for _ in range(2))
    assert_same_bits(bernoulli(one, 0.5, (7,), dtype), bernoulli(two, 0.5, (8,), dtype)[:7])
    assert one.random() == two.random()


@options_and_dtype
def test_inference_equals_streaming_and_has_no_masks(options, dtype):
    layer, x = made(dtype, options), X.astype(dtype)
    y, _, tape = layer.forward(x, record=True, training=False)
    assert not tape.masks
    assert_same_bits(layer.forward(x)[0], y)
    stream = layer.stream()
    assert_same_bits(np.stack([stream.step(x_t) for x_t in x]), y)
    expected = {f"zoneout_{s}": np.full((T, 1, 1), p) for s, p in layer.dropouts.zoneout}
    zeros = np.zeros((2, N, H))
    assert_close(
        y, papers_lstm(x.astype(float), layer.params, expected, zeros)[0], T * (D + 4 * H), 1.0
    )


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (LSTM, dict(zoneout=0.4)),
        pytest.param(GRU, dict(zoneout=0.4), marks=pytest.mark.ci),
        pytest.param(RNN, dict(zoneout=0.4), marks=pytest.mark.ci),
        *((kind, OPTIONS["all"]) for kind in (LSTM, GRU, RNN)),
    ],
)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradients_with_fixed_masks(kind, options, bidirectional):
    layer = kind(D, 4, bidirectional=bidirectional, **options).initialise(2, "float64")
    assert gradcheck(layer, X[:4, :3], lengths=[4, 0, 2], entries=8)


def test_gradients_of_a_model_with_every_kind_of_dropout():
    model = Sequential(
        Dropout(0.3, per="sequence"),
        LSTM(D, 4, zoneout=0.3),
        Dropout(0.3),
        GRU(4, 3, zoneout=0.2, recurrent_dropout=0.5),
        Linear(3, 2),
    )
    assert gradcheck(model, X, entries=8)


def test_a_row_of_a_batch_under_its_own_masks_is_the_sequence_alone():
    """With a tiny zoneout probability the results also equal those without masks."""
    layer, plain = made("float32", dict(zoneout=1e-9)), made("float32", {})
    x = X.astype(np.float32)
    y, final, _ = layer.forward(x, record=True)
    expected, ends, _ = plain.forward(x, record=True)
    assert_close(y, expected, T * (D + 4 * H), 1.0)
    for n in range(N):
        assert_same_bits(layer.forward(x[:, n : n + 1], record=True)[0][:, 0], y[:, n])
    for a, b in zip(final, ends, strict=True):
        assert_close(a, b, T * (D + 4 * H), 1 + np.abs(b).max())


def test_variational_dropout_of_the_input_has_one_mask_a_sequence():
    layer = Dropout(0.5, per="sequence")
    y, _, mask = layer.forward(np.ones((50, 8, 30)), record=True)
    assert mask.shape == (1, 8, 30)
    assert_same_bits(y, np.broadcast_to(mask, y.shape))
    assert set(np.unique(mask)) == {0.0, 2.0}
    assert not np.array_equal(mask[0, 0], mask[0, 1])
    assert_same_bits(layer.forward(np.ones((5, 8, 30)))[0], np.ones((5, 8, 30)))


def test_a_description_builds_an_equal_model():
    model = Sequential(
        Dropout(0.2, per="sequence"),
        LSTM(D, 4, zoneout={"c": 0.5}, weight_drop=0.1),
        GRU(4, 3, zoneout=0.1),
    )
    again = Sequential.build(model.describe())
    assert repr(again) == repr(model)
    again.flat[:] = model.flat
    again.generator, model.generator = (np.random.default_rng(1) for _ in range(2))
    assert_same_bits(
        again.forward(X.astype(np.float32), record=True)[0],
        model.forward(X.astype(np.float32), record=True)[0],
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(zoneout=1.0), "zoneout of h must be at least 0 and below 1, got 1.0"),
        (dict(zoneout={"k": 0.1}), "zoneout: lstm has the states h, c, got 'k'"),
        (dict(weight_drop=-0.1), "weight_drop must be at least 0 and below 1, got -0.1"),
    ],
)
def test_invalid_probabilities(options, message):
    with pytest.raises(ValueError, match=message):
        LSTM(D, H, **options)


def test_invalid_options():
    with pytest.raises(TypeError, match="recurrent_dropout must be a number, got bool"):
        GRU(D, H, recurrent_dropout=True)
    options = "recurrent_dropout, weight_drop, zoneout; did you mean 'zoneout'?"
    match = rf"Recurrent has no option 'zonout'; its options are .*, {re.escape(options)}"
    with pytest.raises(TypeError, match=match):
        Recurrent("mgu", D, H, zonout=0.1)
    with pytest.raises(ValueError, match="indrnn has no W_hh"):
        Recurrent("indrnn", D, H, weight_drop=0.1)
    with pytest.raises(ValueError, match="per must be one of step, sequence, got 'batch'"):
        Dropout(0.5, per="batch")
