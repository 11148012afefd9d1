"""CTC: the loss against all alignments and PyTorch; greedy decoding and prefix beam search."""

from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurrent import (
    GRU,
    Linear,
    Sequential,
    ctc_beam_search,
    ctc_greedy_decode,
    evaluate,
    fit,
    get_num_threads,
    gradcheck,
    metrics,
    set_num_threads,
)
from recurrent.conformance.tolerance import assert_close, assert_same_bits, tolerance
from recurrent.data import Batches
from recurrent.kernels import threads
from recurrent.losses import count_entries, ctc
from recurrent.optim import Adam

T, N, V, S = 7, 5, 4, 3
LENGTHS = np.array([7, 0, 4, 1, 6])
SIZES = np.array([3, 2, 2, 0, 1])

pytestmark = pytest.mark.reference


def example(dtype="float64", T=T, N=N, V=V, S=S, blank=0, scale=2.0, seed=0, sizes=SIZES):
    """Return logits and targets (N, S), padded with -1."""
    rng = np.random.default_rng(seed)
    y = (scale * rng.standard_normal((T, N, V))).astype(dtype)
    targets = rng.integers(0, V - 1, (N, S))
    targets += targets >= blank
    targets[np.arange(S) >= np.asarray(sizes)[:, None]] = -1
    return y, targets


def collapsed(alignment, blank=0):
    """Merge repeated labels, then remove blanks."""
    merged = [c for k, c in enumerate(alignment) if k == 0 or alignment[k - 1] != c]
    return tuple(c for c in merged if c != blank)


def probabilities(y, blank=0):
    """Return p of each labelling of y (T, V): the sum over all V^T alignments."""
    p = np.exp(y - y.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    found = {}
    for alignment in product(range(y.shape[1]), repeat=len(y)):
        labels = collapsed(alignment, blank)
        found[labels] = found.get(labels, 0.0) + float(np.prod(p[np.arange(len(y)), alignment]))
    return found


@pytest.mark.parametrize("blank", [0, 1, 2])
def test_the_loss_sums_all_alignments(blank):
    y = example(T=5, N=1, V=3, sizes=[0])[0][:, 0]
    every = probabilities(y, blank)
    assert sum(every.values()) == pytest.approx(1)
    for labels, p in every.items():
        value, _ = ctc(y, np.array(labels, int), blank=blank)
        assert value == pytest.approx(-np.log(p), abs=1e-12)
    assert (1, 1, 1, 1) not in every
    assert ctc(y, [(blank + 1) % 3] * 4, blank=blank)[0] == np.inf


def torch_loss(torch, y, targets, lengths, sizes, **options):
    """Return the loss of each sequence by PyTorch, and the logits that it is a function of."""
    logits = torch.tensor(y, requires_grad=True)
    losses = torch.nn.functional.ctc_loss(
        logits.log_softmax(2), torch.tensor(targets), torch.tensor(lengths), torch.tensor(sizes),
        reduction="none", **options,
    )  # fmt: skip
    return losses, logits


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(
    T=st.integers(1, 9), N=st.integers(1, 4), V=st.integers(2, 5), S=st.integers(1, 4),
    scale=st.sampled_from([0.1, 1.0, 5.0]), seed=st.integers(0, 2**31), zero=st.booleans(),
)  # fmt: skip
def test_equals_torch(dtype, T, N, V, S, scale, seed, zero):
    torch = pytest.importorskip("torch", reason="PyTorch is the outside oracle")
    rng = np.random.default_rng(seed)
    lengths, sizes = rng.integers(1, T + 1, N), rng.integers(0, S + 1, N)
    blank = int(rng.integers(0, V))
    y, targets = example(dtype, T, N, V, S, blank, scale, seed, sizes)
    padded = np.where(targets < 0, (blank + 1) % V, targets)
    theirs, logits = torch_loss(torch, y, padded, lengths, sizes, blank=blank, zero_infinity=zero)
    theirs.mean().backward()
    value, dy = ctc(y, targets, lengths, blank=blank, zero_infinity=zero)
    assert dy.dtype == y.dtype
    expected = float(theirs.detach().numpy().astype(float).mean())
    if np.isinf(expected):
        assert value == expected
    else:
        assert abs(value - expected) <= tolerance(dtype, T * V * (2 * S + 1), max(1, expected))
    # PyTorch leaves numbers, not zeros, where it has no steps; the exponents lose digits of dtype.
    inside = np.arange(T)[:, None] < lengths
    grad = np.where(inside[..., None], logits.grad.numpy(), 0)
    finite = np.isfinite(theirs.detach().numpy())
    bound = tolerance(dtype, T * V * (2 * S + 1), 10 * scale * T)
    np.testing.assert_allclose(dy[:, finite], grad[:, finite], rtol=0, atol=bound)
    assert np.isnan(dy[:, ~finite][inside[:, ~finite]]).all()


def test_gradient_by_central_differences():
    y, targets = example()
    weights = np.array([1.0, 2.0, 0.5, 3.0, 0.0])
    loss = partial(ctc, targets=targets, lengths=LENGTHS, sample_weight=weights)
    _, dy = loss(y)
    step = np.finfo(float).eps ** (1 / 3)
    for k in np.ndindex(y.shape):
        ends = []
        for s in (step, -step):
            moved = y.copy()
            moved[k] += s
            ends.append(loss(moved)[0])
        assert dy[k] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-9)
    assert np.abs(dy).max() > 0.01


def test_a_sequence_alone_has_the_bits_of_a_batch():
    """So it has with more padding, of steps and of targets, and beside other sequences."""
    y, targets = example("float32")
    value, dy = ctc(y, targets, LENGTHS)
    longer = np.concatenate([y, np.full_like(y, np.nan)])
    wider = np.concatenate([targets, np.full((N, 4), -1)], axis=1)
    again, d_again = ctc(longer, wider, LENGTHS)
    assert again == value
    assert_same_bits(d_again[:T], dy)
    assert not d_again[T:].any()
    alone = []
    for n in np.flatnonzero(LENGTHS):
        value_n, dy_n = ctc(y[: LENGTHS[n], n], targets[n, : SIZES[n]])
        one, d_one = ctc(y, targets, LENGTHS, mask=np.arange(N) == n)
        assert one == value_n
        assert_same_bits(d_one[: LENGTHS[n], n], dy_n)
        assert np.abs(d_one).sum() == pytest.approx(np.abs(dy_n).sum())
        alone.append(value_n)
    assert value == np.cumsum(alone)[-1] / len(alone)


def test_lists_masks_and_target_lengths_say_the_same():
    y, targets = example()
    value, dy = ctc(y, targets, LENGTHS)
    labels = [row[:size] for row, size in zip(targets, SIZES, strict=True)]
    listed, d_listed = ctc([a[:k] for a, k in zip(y.swapaxes(0, 1), LENGTHS, strict=True)], labels)
    assert listed == value
    for n in range(N):
        assert_same_bits(d_listed[n], dy[: LENGTHS[n], n])
    zeros = np.where(targets < 0, 0, targets)
    assert ctc(y, zeros, LENGTHS, target_lengths=SIZES)[0] == value
    assert ctc(y, labels, LENGTHS)[0] == value
    # A mask with gaps: each step twice, of which one counts.
    twice, mask = np.repeat(y, 2, axis=0), np.repeat(np.arange(T)[:, None] < LENGTHS, 2, axis=0)
    mask[::2] = False
    twice[::2] = np.nan
    masked, d_masked = ctc(twice, targets, mask)
    assert masked == value
    assert_same_bits(d_masked[1::2], dy)
    assert not d_masked[::2].any()


def test_any_number_of_threads_gives_the_same_bits(monkeypatch):
    y, targets = example("float32")
    before = get_num_threads()
    found = []
    monkeypatch.setattr(threads, "MIN_FLOPS_PER_THREAD", 1.0)
    try:
        for n in {1, before}:
            set_num_threads(n)
            beams = ctc_beam_search(y, LENGTHS, beam=3)
            found.append((*ctc(y, targets, LENGTHS), beams.ids, beams.scores))
    finally:
        set_num_threads(before)
    for values in found[1:]:
        for ours, theirs in zip(found[0], values, strict=True):
            assert_same_bits(np.asarray(ours), np.asarray(theirs))


def test_a_target_that_needs_more_steps():
    """It needs one for each label and one between equal ones; the others are not affected."""
    y, _ = example()
    targets = np.array([[1, 1, 2], [1, 2, 3]])
    for steps, finite in ((4, [True, True]), (3, [False, True]), (2, [False, False])):
        value, dy = ctc(y[:steps, :2], targets)
        assert np.isfinite(value) == all(finite)
        assert np.isfinite(dy).all(axis=(0, 2)).tolist() == finite
        value, dy = ctc(y[:steps, :2], targets, zero_infinity=True)
        assert np.isfinite(value)
        assert dy.any(axis=(0, 2)).tolist() == finite
        kept = [ctc(y[:steps, n], targets[n])[0] for n in np.flatnonzero(finite)]
        assert value == pytest.approx(sum(kept) / 2)


def test_extreme_logits():
    y = np.array([[1e4, 0, -1e4], [0, 1e4, 0]], np.float32)
    value, dy = ctc(y, [1])
    assert (value, dy.any()) == (0.0, False)
    assert ctc(y, [2])[0] == 1e4
    closed = np.log([[0.5, 0.5, 1], [0.25, 0.75, 1]])
    closed[:, 2] = -np.inf  # class 2 is impossible
    value, dy = ctc(closed, [1])
    assert value == pytest.approx(-np.log(1 - 0.5 * 0.25))
    assert np.isfinite(dy).all()
    assert ctc(closed, [2])[0] == np.inf
    y, targets = example()
    y[1, 2, 3] = np.nan
    value, dy = ctc(y, targets, LENGTHS)
    assert np.isnan(value)
    assert np.isfinite(np.delete(dy, 2, axis=1)).all()


def test_what_the_mean_is_over():
    y, targets = example()
    value, dy = ctc(y, targets, LENGTHS)
    assert count_entries(ctc, y, targets, LENGTHS) == 4
    weights = np.array([2.0, 5.0, 0.0, 1.0, 0.5])
    assert count_entries(partial(ctc, sample_weight=weights), y, targets, LENGTHS) == 3.5
    each = [ctc(y, targets, LENGTHS, mask=np.arange(N) == n)[0] for n in range(N)]
    assert each[1] == 0.0
    weighted = ctc(y, targets, LENGTHS, sample_weight=weights)[0]
    assert weighted == pytest.approx((2 * each[0] + each[3] + 0.5 * each[4]) / 3.5)
    # What does not count may hold anything.
    targets[1:3], y[:, 1:3] = 99, np.nan
    assert ctc(y, targets, LENGTHS, sample_weight=weights)[0] == weighted
    for options in ({"lengths": 0 * LENGTHS}, {"mask": np.array(False)}):
        value, dy = ctc(y, targets, **options)
        assert (value, dy.any()) == (0.0, False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(targets=[[1, 0], [2, 1]]), r"must not have the blank, 0, got it at \(0, 1\); pad"),
        (dict(targets=[[1, 2], [4, 1]]), r"targets must be in 0\.\.3, got 4 at \(1, 0\)"),
        (dict(targets=[[1, -1], [-1, 1]]), r"padding at the end alone, got 1 at \(1, 1\)"),
        (dict(targets=[[1.0, 2.0], [2.0, 1.0]]), "must be integers, got float64"),
        (dict(targets=[[1, 2]]), r"targets must be \(N, S\) with N = 2, or a list of 2 arrays"),
        (dict(lengths=[8, 1]), "lengths must be between 0 and T = 7, got 8 for sequence 0"),
        (dict(target_lengths=[1, 3]), "target_lengths must be between 0 and S = 2, got 3"),
        (dict(blank=4), r"blank must be .*3"),
        (
            dict(sample_weight=np.ones((T, 2))),
            r"sample_weight must have a weight for each sequence",
        ),
        (dict(y=np.zeros((T, 2, 4, 1))), r"y must be \(T, N, V\) or \(T, V\)"),
        (dict(y=np.zeros((T, 4)), targets=[1], lengths=[3]), "lengths need a batch"),
        (dict(mask=np.ones((T, 3), bool)), "mask must be broadcastable"),
    ],
)
def test_bad_input(change, words):
    arguments = dict(y=np.zeros((T, 2, 4)), targets=np.array([[1, 2], [2, 1]])) | change
    with pytest.raises((ValueError, TypeError, IndexError), match=words) as error:
        ctc(**arguments)
    assert "\n" not in str(error.value)


def test_in_a_model():
    """Gradients by central differences; the mean of an epoch whatever the batches."""
    model = Sequential(GRU(2, 3), Linear(3, V), rng=0)
    x, (_, targets) = np.random.default_rng(0).standard_normal((T, N, 2)), example()
    assert gradcheck(model, x, ctc, targets=targets, lengths=LENGTHS).ok
    recording = model.record(x.astype(np.float32), targets, ctc, lengths=LENGTHS)
    assert recording.loss == ctc(recording.y, targets, LENGTHS)[0]
    means = [
        evaluate(
            model,
            Batches(x, targets, size, lengths=LENGTHS, per_sequence=True, dtype="float32"),
            ctc,
        )
        for size in (1, 2, N)
    ]
    assert means == pytest.approx([recording.loss] * 3)
    with pytest.raises(ValueError, match=r"labels for losses\.ctc need Batches") as error:
        fit(model, [([x[:, 0], x[:4, 1]], [targets[0], targets[1]])], ctc, Adam())
    assert "\n" not in str(error.value)


def test_fit_says_which_target_has_too_few_steps():
    """Batches pad lists of labels of different lengths; the loss knows why it is infinite."""
    rng = np.random.default_rng(0)
    strips = [rng.standard_normal((k, 3)).astype(np.float32) for k in (6, 3, 5)]
    labels = [[1, 2, 3], [2, 2, 1], []]
    batches = Batches(strips, [np.array(row, int) for row in labels], 3, None, per_sequence=True)
    assert batches.batch(0).targets.tolist() == [[1, 2, 3], [2, 2, 1], [-1, -1, -1]]
    model = Sequential(Linear(3, 4), rng=0)
    words = "target 1 needs 4 steps, one for each .* and its sequence has 3: pass partial"
    with pytest.raises(FloatingPointError, match=words) as error:
        fit(model, batches, ctc, Adam(0.1), progress=False)
    assert "lower lr" not in str(error.value)
    leaving_out = partial(ctc, zero_infinity=True)
    history = fit(
        model, batches, leaving_out, Adam(0.1), epochs=40, validation=batches,
        metrics=metrics.label_error_rate, monitor="label_error_rate", progress=False,
    )  # fmt: skip
    assert history.losses[-1] < history.losses[0] / 4
    (_, first), *_, (_, last) = history.metrics["label_error_rate"]
    assert first > last


def test_the_label_error_rate():
    def slow(a, b):
        if not a or not b:
            return len(a) + len(b)
        replaced = slow(a[1:], b[1:]) + (a[0] != b[0])
        return min(replaced, slow(a[1:], b) + 1, slow(a, b[1:]) + 1)

    y, targets = example(scale=1.0)
    found, rows = ctc_greedy_decode(y, LENGTHS), [r[r >= 0].tolist() for r in targets]
    errors = [slow(a.tolist(), b) for a, b in zip(found, rows, strict=True)]
    kept = LENGTHS > 0
    expected = np.array(errors)[kept].sum() / SIZES[kept].sum()
    assert metrics.label_error_rate(y, targets, LENGTHS) == expected
    listed = [y[:k, n] for n, k in enumerate(LENGTHS)]
    assert metrics.label_error_rate(listed, [np.array(r, int) for r in rows]) == expected
    first = np.arange(N) == 0
    assert metrics.label_error_rate(y, targets, LENGTHS, first) == errors[0] / SIZES[0]
    assert np.isnan(metrics.label_error_rate(y, targets, 0 * LENGTHS))
    halves = [metrics.label_error_rate.counts(y, targets, LENGTHS, m) for m in (first, ~first)]
    assert metrics.label_error_rate.value(sum(halves)) == expected


# Decoding


def test_greedy_decoding_merges_then_removes_blanks():
    for blank in (0, 2):
        for path in product(range(3), repeat=4):
            (found,) = ctc_greedy_decode(np.eye(3)[list(path)], blank=blank)
            assert tuple(found) == collapsed(path, blank)
    y, _ = example("float32")
    batch = ctc_greedy_decode(y, LENGTHS)
    for n in range(N):
        np.testing.assert_array_equal(batch[n], ctc_greedy_decode(y[: LENGTHS[n], n])[0])
    listed = ctc_greedy_decode([y[:k, n] for n, k in enumerate(LENGTHS)])
    assert [a.tolist() for a in listed] == [a.tolist() for a in batch]


@pytest.mark.parametrize("blank", [0, 1])
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_the_probability_of_every_labelling(seed, blank):
    y = example(T=5, N=1, V=3, scale=1.5, seed=seed, sizes=[0])[0][:, 0]
    every = probabilities(y, blank)
    found = ctc_beam_search(y, beam=len(every) + 5, blank=blank)
    assert np.isinf(found.scores[0, len(every) :]).all()
    for k in range(len(every)):
        labels = tuple(found.sequence(0, k).tolist())
        assert found.scores[0, k] == pytest.approx(np.log(every.pop(labels)), abs=1e-10)
    assert not every
    assert (np.diff(found.scores[0, : -5 - 1]) <= 0).all()


def test_a_narrow_beam_follows_the_plain_algorithm():
    """Prefixes in a dict, as in the literature; scores are those of the prefixes kept.

    In some of these examples a prefix is dropped and comes back while a longer one is kept.
    """
    for seed, beam in product(range(12), (2, 5)):
        y, _ = example(T=20, N=1, V=3, scale=1.5, seed=seed, sizes=[0])
        log_p = y[:, 0] - np.log(np.exp(y[:, 0]).sum(axis=1, keepdims=True))
        kept = {(): (1.0, 0.0)}
        for p in np.exp(log_p):
            new: dict[tuple, list[float]] = {}
            for prefix, (blank, label) in kept.items():
                stay = new.setdefault(prefix, [0.0, 0.0])
                stay[0] += (blank + label) * p[0]
                if prefix:
                    stay[1] += label * p[prefix[-1]]
                for c in (1, 2):
                    longer = new.setdefault((*prefix, c), [0.0, 0.0])
                    longer[1] += (blank + label * (prefix[-1:] != (c,))) * p[c]
            best = sorted(new, key=lambda prefix: -sum(new[prefix]))[:beam]
            kept = {prefix: (new[prefix][0], new[prefix][1]) for prefix in best}
        found = ctc_beam_search(y, beam=beam)
        assert [tuple(found.sequence(0, k).tolist()) for k in range(beam)] == list(kept)
        np.testing.assert_allclose(found.scores[0], np.log([sum(v) for v in kept.values()]))


def test_of_equal_labellings_the_shorter_and_lower_is_first():
    found = ctc_beam_search(np.zeros((1, 4)), beam=4)
    assert [found.sequence(0, k).tolist() for k in range(4)] == [[], [1], [2], [3]]


def test_a_beam_of_a_batch_is_that_of_each_sequence():
    y, _ = example("float32")
    found = ctc_beam_search(y, LENGTHS, beam=4)
    for n in range(N):
        alone = ctc_beam_search(y[: LENGTHS[n], n], beam=4)
        assert_same_bits(found.scores[n], alone.scores[0])
        for k in range(4):
            np.testing.assert_array_equal(found.sequence(n, k), alone.sequence(0, k))
    assert found.best[1].size == 0
    assert found.scores[1].tolist() == [0, -np.inf, -np.inf, -np.inf]


def test_scores_are_those_of_the_loss():
    y, _ = example()
    found = ctc_beam_search(y, beam=1000)
    for n in range(N):
        assert_close(found.scores[n, 0], -ctc(y[:, n], found.best[n])[0], 100)


@pytest.mark.parametrize("decode", [ctc_greedy_decode, ctc_beam_search])
def test_bad_input_of_decoding(decode):
    y, _ = example()
    for arguments, words in (
        (dict(y=y, blank=4), "blank must be"),
        (dict(y=y[0, 0]), r"y must be \(T, N, V\)"),
        (dict(y=y[:, 0], lengths=[3]), "lengths need a batch"),
        (dict(y=np.where(np.arange(T)[:, None, None] == 2, np.nan, y)), "one at step 2 of sequ"),
    ):
        with pytest.raises(ValueError, match=words):
            decode(**arguments)
    y[5, 2] = np.nan
    assert len(decode(y, LENGTHS).best if decode is ctc_beam_search else decode(y, LENGTHS)) == N
