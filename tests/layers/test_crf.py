"""CRF: loss and search against all sequences of tags; the layer on every path of a model."""

from functools import partial
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recurrent
from recurrent import (
    CRF,
    LSTM,
    Dropout,
    Embedding,
    Last,
    Linear,
    Sequential,
    evaluate,
    fit,
    get_num_threads,
    gradcheck,
    predict,
    set_num_threads,
    viterbi_decode,
)
from recurrent.conformance.tolerance import assert_close, assert_same_bits, tolerance
from recurrent.data import Batches
from recurrent.kernels import threads
from recurrent.losses import count_entries, crf, softmax_cross_entropy
from recurrent.metrics import confusion_matrix, macro_f1, tag_accuracy
from recurrent.optim import Adam

T, N, K = 6, 5, 3
LENGTHS = np.array([6, 0, 4, 1, 5])

pytestmark = pytest.mark.reference


def layer(dtype="float64", K=K, scale=1.0, seed=0):
    """Return a CRF with random parameters."""
    made, rng = CRF(K).initialise(0, dtype), np.random.default_rng(seed)
    for name, shape in made.shapes.items():
        made.parameters[name] = (scale * rng.standard_normal(shape)).astype(dtype)
    return made


def example(dtype="float64", T=T, N=N, K=K, seed=0, scale=1.0):
    """Return scores of pairs, emissions and tags."""
    rng = np.random.default_rng([seed, 1])
    x = (scale * rng.standard_normal((T, N, K))).astype(dtype)
    return layer(dtype, K, scale, seed).forward(x)[0], x, rng.integers(0, K, (T, N))


def score(made, x, tags):
    """Return the score of tags of one sequence x (T, K), by the formula of pytorch-crf."""
    p = {name: a.astype(float) for name, a in made.parameters.items()}
    total = p["start_transitions"][tags[0]] + p["end_transitions"][tags[-1]]
    total += sum(float(x[t, tag]) for t, tag in enumerate(tags))
    return total + sum(p["transitions"][i, j] for i, j in pairwise(tags))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(
    T=st.integers(1, 4), K=st.integers(1, 4), seed=st.integers(0, 2**31),
    scale=st.sampled_from([0.1, 1.0, 4.0]),
)  # fmt: skip
def test_the_loss_and_the_search_by_enumeration(dtype, T, K, seed, scale):
    y, x, tags = example(dtype, T, 1, K, seed, scale)
    every = list(product(range(K), repeat=T))
    scores = np.array([score(layer(dtype, K, scale, seed), x[:, 0], path) for path in every])
    log_z = scores.max() + np.log(np.exp(scores - scores.max()).sum())
    expected = log_z - scores[every.index(tuple(tags[:, 0]))]
    value, _ = crf(y, tags)
    assert abs(value - expected) <= tolerance(dtype, 4 * T, max(1.0, np.abs(scores).max()))
    found = every.index(tuple(viterbi_decode(y)[:, 0].tolist()))
    assert scores[found] >= scores.max() - tolerance(dtype, 4 * T, max(1.0, np.abs(scores).max()))


def test_ties_go_to_the_lowest_tag():
    assert viterbi_decode(np.zeros((4, 16))).tolist() == [0, 0, 0, 0]


def test_the_gradient_is_the_marginals_minus_the_tags():
    """Each entry: p of the pair, by enumeration, minus 1 for the pair that is right."""
    y, x, tags = example(T=4, N=1)
    made, expected = layer(), np.zeros((4, 1, K + 1, K + 1))
    every = list(product(range(K), repeat=4))
    p = np.exp([score(made, x[:, 0], path) for path in every])
    for path, share in [*zip(every, p / p.sum(), strict=True), (tuple(tags[:, 0]), -1.0)]:
        for t, (i, j) in enumerate(zip((K, *path), path, strict=False)):
            expected[t, 0, i, j] += share
        expected[3, 0, path[-1], K] += share
    _, dy = crf(y, tags)
    assert_close(dy.reshape(expected.shape), expected, 100, 1.0)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_gradients_in_a_model(lengths, monkeypatch):
    below = [Linear(2, K)] if lengths is None else [LSTM(2, 3, bidirectional=True), Linear(6, K)]
    model = Sequential(*below, CRF(K), rng=0)
    rng = np.random.default_rng(0)
    x, tags = rng.standard_normal((T, N, 2)), rng.integers(0, K, (T, N))
    found = gradcheck(model, x, crf, targets=tags, lengths=lengths)
    assert found.ok, found
    assert any("transitions" in f.name for f in found.findings)
    # The checker finds a gradient of transitions that is a little wrong.
    right = CRF.backward

    def wrong(*arguments, **options):
        found = right(*arguments, **options)
        found.params["transitions"] *= 1.001
        return found

    monkeypatch.setattr(CRF, "backward", wrong)
    found = gradcheck(model, x, crf, targets=tags, lengths=lengths, strict=False)
    assert found.worst.name == f"{len(below)}.transitions"
    assert not found.ok


def test_a_sequence_alone_has_the_bits_of_a_batch():
    y, _, tags = example("float32")
    value, dy = crf(y, tags, LENGTHS)
    found = viterbi_decode(y, LENGTHS)
    longer = np.concatenate([y, np.full_like(y, np.nan)])
    again, d_again = crf(longer, np.concatenate([tags, tags - 100]), LENGTHS)
    assert again == value
    assert_same_bits(d_again[:T], dy)
    assert_same_bits(viterbi_decode(longer, LENGTHS)[:T], found)
    alone = []
    for n in np.flatnonzero(LENGTHS):
        some, of_n = (slice(LENGTHS[n]), n), np.arange(N) == n
        one, d_one = crf(y, tags, LENGTHS, mask=of_n)
        value_n, dy_n = crf(y[some], tags[some])
        assert one == value_n
        assert_same_bits(d_one[some], dy_n)
        assert_same_bits(viterbi_decode(y[some]), found[some])
        alone.append(value_n)
    assert value == np.cumsum(alone)[-1] / len(alone)
    assert not found[np.arange(T)[:, None] >= LENGTHS].any()


def test_lists_and_masks_say_the_same():
    y, _, tags = example()
    value, dy = crf(y, tags, LENGTHS)
    parts = [a[:k] for a, k in zip(y.swapaxes(0, 1), LENGTHS, strict=True)]
    listed, d_listed = crf(parts, [tags[:k, n] for n, k in enumerate(LENGTHS)])
    assert listed == value
    for n, found in enumerate(viterbi_decode(parts)):
        assert_same_bits(d_listed[n], dy[: LENGTHS[n], n])
        assert_same_bits(found, viterbi_decode(y, LENGTHS)[: LENGTHS[n], n])
    # Every second step is left out: the tag before it is followed by the tag after it.
    twice, more = np.repeat(y, 2, axis=0), np.repeat(tags, 2, axis=0)
    mask = np.repeat(np.arange(T)[:, None] < LENGTHS, 2, axis=0)
    mask[1::2], twice[1::2], more[1::2] = False, np.nan, -100
    for options in (dict(lengths=mask), dict(mask=mask)):
        masked, d_masked = crf(twice, more, **options)
        assert masked == value
        assert_same_bits(d_masked[::2], dy)
        assert not d_masked[1::2].any()
    assert_same_bits(viterbi_decode(twice, mask)[::2], viterbi_decode(y, LENGTHS))


def test_any_number_of_threads_gives_the_same_bits(monkeypatch):
    y, _, tags = example("float32")
    before, found = get_num_threads(), []
    monkeypatch.setattr(threads, "MIN_FLOPS_PER_THREAD", 1.0)
    try:
        for n in {1, before}:
            set_num_threads(n)
            found.append((*crf(y, tags, LENGTHS), viterbi_decode(y, LENGTHS)))
    finally:
        set_num_threads(before)
    for values in found[1:]:
        for ours, theirs in zip(found[0], values, strict=True):
            assert_same_bits(np.asarray(ours), np.asarray(theirs))


def test_what_the_mean_is_over():
    y, _, tags = example()
    value, _ = crf(y, tags, LENGTHS)
    assert count_entries(crf, y, tags, LENGTHS) == 4
    each = [crf(y, tags, LENGTHS, mask=np.arange(N) == n)[0] for n in range(N)]
    assert value == pytest.approx(sum(each) / 4)
    weights = np.array([2.0, 5.0, 0.0, 1.0, 0.5])
    weighted = crf(y, tags, LENGTHS, sample_weight=weights)[0]
    assert weighted == pytest.approx((2 * each[0] + each[3] + 0.5 * each[4]) / 3.5)
    assert count_entries(partial(crf, sample_weight=weights), y, tags, LENGTHS) == 3.5
    tags[:, 2], y[:, 2] = -100, np.nan  # what has no weight may hold anything
    assert crf(y, tags, LENGTHS, sample_weight=weights)[0] == weighted
    assert crf(y, tags, 0 * LENGTHS)[0] == 0.0


def test_transitions_that_must_not_be():
    """Scores of -inf forbid a transition: its probability and its gradient are 0."""
    made = layer()
    table = made.parameters["transitions"].copy()
    table[0, 1] = -np.inf
    made.parameters["transitions"] = table
    y = made.forward(np.zeros((4, 1, K)))[0]
    assert crf(y, np.array([[0], [1], [0], [0]]))[0] == np.inf
    value, dy = crf(y, np.array([[0], [2], [0], [0]]))
    assert np.isfinite(value)
    assert not dy.reshape(4, K + 1, K + 1)[:, 0, 1].any()
    y[2, 0, 5] = np.nan
    assert np.isnan(crf(y, np.zeros((4, 1), int))[0])


@pytest.mark.parametrize("way", ["into", "out of"])
def test_a_tag_that_cannot_be_used_is_as_if_it_were_not_there(way):
    made, fewer = layer(), CRF(2).initialise(0, "float64")
    values = {name: a.copy() for name, a in made.parameters.items()}
    fewer.parameters.update({n: a[1:] if a.ndim == 1 else a[1:, 1:] for n, a in values.items()})
    if way == "into":
        values["transitions"][:, 0] = values["start_transitions"][0] = -np.inf
    else:
        values["transitions"][0] = values["end_transitions"][0] = -np.inf
    made.parameters.update(values)
    x, tags = np.random.default_rng(0).standard_normal((T, 1, K)), np.array([[1, 2, 2, 1, 2, 1]]).T
    value, dy = crf(made.forward(x)[0], tags)
    expected, d_fewer = crf(fewer.forward(np.ascontiguousarray(x[..., 1:]))[0], tags - 1)
    assert value == pytest.approx(expected)
    pairs = dy.reshape(T, K + 1, K + 1)
    assert not pairs[:, 0].any()
    assert not pairs[:, :, 0].any()
    np.testing.assert_allclose(pairs[:, 1:, 1:], d_fewer.reshape(T, K, K), atol=1e-12)
    assert_same_bits(
        viterbi_decode(made.forward(x)[0]),
        viterbi_decode(fewer.forward(np.ascontiguousarray(x[..., 1:]))[0]) + 1,
    )


# The layer


def tagger(dtype="float32", **options):
    layers = Embedding(9, 4), LSTM(4, 5), Dropout(0.2), Linear(5, K), CRF(K)
    return Sequential(*layers, rng=0, dtype=dtype, **options)


def test_names_and_values_are_those_of_pytorch_crf():
    made = CRF(4).initialise(3)
    assert made.shapes == {
        "start_transitions": (4,), "end_transitions": (4,), "transitions": (4, 4)
    }  # fmt: skip
    values = np.concatenate([a.ravel() for a in made.parameters.values()])
    assert np.abs(values).max() <= 0.1
    assert len(set(values)) == 24
    x = np.zeros((2, 4), np.float32)
    pairs = made.forward(x)[0].reshape(2, 5, 5)
    for t in range(2):
        assert_same_bits(pairs[t, :4, :4], made.parameters["transitions"])
        assert_same_bits(pairs[t, 4, :4], made.parameters["start_transitions"])
        assert_same_bits(pairs[t, :4, 4], made.parameters["end_transitions"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_path_of_a_model(dtype, tmp_path):
    model, rng = tagger(dtype), np.random.default_rng(0)
    x = rng.integers(0, 9, (T, N))
    y, _, _ = model.forward(x)
    stream = model.stream()
    assert_same_bits(np.stack([stream.step(x_t) for x_t in x]), y)
    first = model.forward(x[:2])
    assert_same_bits(np.concatenate([first[0], model.forward(x[2:], first[1])[0]]), y)
    ragged = model.forward(x, lengths=LENGTHS)[0]
    sequences = [x[: max(k, 1), n] for n, k in enumerate(LENGTHS)]
    for n, found in enumerate(predict(model, sequences, batch=2)):
        assert_same_bits(found, y[: max(LENGTHS[n], 1), n])
        assert_same_bits(found[: LENGTHS[n]], ragged[: LENGTHS[n], n])
    model.save(tmp_path / "model.safetensors")
    loaded = recurrent.load(tmp_path / "model.safetensors")
    assert_same_bits(loaded.forward(x)[0], y)
    tags = rng.integers(0, K, (T, N))
    recording = model.record(x, tags, crf, lengths=LENGTHS)
    assert recording.loss == crf(ragged, tags, LENGTHS)[0]
    assert recording.gradients.params["4.transitions"].any()
    assert "CRF(3)" in model.summary()
    assert "(T, N, 16)" in model.summary()
    assert model.plan(T=T, N=N).total > 0
    if dtype == "float32":
        small = model.quantize("int8")
        assert_same_bits(small.forward(x)[0], small.dequantized().forward(x)[0])
    turned = tagger(dtype, batch_first=True)
    assert_same_bits(turned.forward(x.T)[0], y.swapaxes(0, 1))


@pytest.mark.parametrize("kind", ["arrays", "lists"])
def test_fit_learns_that_a_tag_may_not_repeat(kind):
    """Steps show nothing: after training, the transitions alone say which tag follows."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 7, 60)
    tags = (np.arange(6)[:, None] + rng.integers(0, 3, 60)) % 3
    x = np.zeros((6, 60, 1), np.float32)
    if kind == "arrays":
        batches = Batches(x, tags, 20, lengths=lengths)
    else:
        batches = Batches(
            [x[:k, n] for n, k in enumerate(lengths)], [tags[:k, n] for n, k in enumerate(lengths)],
            20, per_sequence=False,
        )  # fmt: skip
    model = Sequential(Linear(1, 3), CRF(3), rng=0)
    history = fit(
        model, batches, crf, Adam(0.1), epochs=40, validation=batches, progress=False
    )  # fmt: skip
    assert history.validation[-1][1] == pytest.approx(np.log(3), abs=0.1)
    y = model.forward(x)[0]
    found = viterbi_decode(y)
    # Which tag begins cannot be known; of all three ways one is right.
    share = tag_accuracy(y, tags, lengths)
    inside = np.arange(6)[:, None] < lengths
    assert (
        share
        == (viterbi_decode(y, lengths) == tags)[inside].mean()
        == tag_accuracy(y, tags, mask=inside)
    )
    assert 0.1 < share < 0.6
    parts = [y[:k, n] for n, k in enumerate(lengths)]
    assert tag_accuracy(parts, [tags[:k, n] for n, k in enumerate(lengths)]) == share
    assert tag_accuracy(y[:, 0], tags[:, 0]) == tag_accuracy(y[:, :1], tags[:, :1])
    np.testing.assert_array_equal(np.diff(found, axis=0) % 3, 1)


@pytest.mark.parametrize(
    "metric", ["accuracy", partial(confusion_matrix, ignore_index=9), macro_f1]
)
def test_metrics_of_classes_do_not_take_scores_of_pairs(metric):
    model, x = Sequential(CRF(3), rng=0), np.zeros((2, 1, 3), np.float32)
    batches = [(x, np.zeros((2, 1), int))]
    text = "^metrics must be metrics.tag_accuracy for a model that ends in a CRF, got [a-z_1]+$"
    with pytest.raises(ValueError, match=text):
        evaluate(model, batches, crf, metrics=metric)
    with pytest.raises(ValueError, match=text):
        fit(model, batches, crf, Adam(), epochs=1, validation=batches, metrics=[metric])
    assert "tag_accuracy" in evaluate(model, batches, crf, metrics="tag_accuracy")


def test_bad_input():
    with pytest.raises(ValueError, match="num_tags must be at least 1, got 0"):
        CRF(0)
    with pytest.raises(ValueError, match=r"x must be \(\.\.\., 3\), got \(2, 4\)"):
        CRF(3).forward(np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match=r"layer 1 \(CRF\).*in.* 4"):
        Sequential(LSTM(2, 4), CRF(5))
    with pytest.raises(ValueError, match=r"layer 2 \(CRF\).*must be a sequence, but layer 1"):
        Sequential(LSTM(2, 4), Last(), CRF(4))
    y, _, tags = example()
    for arguments, words in (
        (dict(targets=tags + 1), r"targets must be in 0\.\.2, got 3 at \(\d, \d\); to leave"),
        (dict(y=y[..., :15]), r"y must be \(T, N, \(K \+ 1\)\^2\)"),
        (dict(targets=tags[0]), "targets must have the shape of y without its last axis"),
        (dict(targets=tags + 0.5), "targets must be integers"),
        (dict(lengths=[7, 1, 1, 1, 1]), "lengths must be between 0 and T = 6, got 7"),
        (dict(sample_weight=np.ones((T, N))), "sample_weight must have a weight for each seq"),
        (dict(y=y[:, 0], targets=tags[:, 0], lengths=[3]), "lengths need"),
    ):
        with pytest.raises((ValueError, TypeError, IndexError), match=words) as error:
            crf(**(dict(y=y, targets=tags) | arguments))
        assert "\n" not in str(error.value)
    model = Sequential(Linear(2, K), CRF(K))
    for loss in (softmax_cross_entropy, partial(softmax_cross_entropy, ignore_index=-1)):
        for train in (fit, evaluate):
            with pytest.raises(ValueError, match=r"loss must be losses\.crf for a model that ends"):
                train(model, [(np.zeros((T, N, 2), np.float32), tags)], loss)
    y[2, 1] = np.nan
    with pytest.raises(ValueError, match="y must have no NaN, got one at step 2 of sequence 1"):
        viterbi_decode(y)
    assert viterbi_decode(y, [6, 2, 6, 6, 6]).shape == (T, N)
    with pytest.raises(ValueError, match="lengths need a batch"):
        viterbi_decode(y[:, 0], [3])
