"""Losses and their gradients against central differences and PyTorch; padding and masks."""

from functools import partial

import numpy as np
import pytest

from recurrent import losses
from recurrent.conformance.tolerance import assert_close, assert_same_bits, tolerance
from recurrent.losses import (
    at_last_step,
    binary_cross_entropy,
    count_entries,
    huber,
    mean_absolute_error,
    mean_squared_error,
    quantile,
    softmax_cross_entropy,
    summed_over_steps,
)

T, N, V = 5, 4, 7
LENGTHS = np.array([5, 0, 3, 1])
LOSSES = {
    f.__name__: f
    for f in (
        softmax_cross_entropy, mean_squared_error, binary_cross_entropy, mean_absolute_error, huber,
        quantile,
    )
}  # fmt: skip

pytestmark = pytest.mark.reference


@pytest.fixture(params=LOSSES)
def name(request):
    return request.param


def example(name, dtype="float64", shape=(T, N, V), scale=3.0, seed=0):
    rng = np.random.default_rng(seed)
    y = (scale * rng.standard_normal(shape)).astype(dtype)
    if name == "softmax_cross_entropy":
        return y, rng.integers(0, shape[-1], shape[:-1])
    targets = rng.random(shape) if name == "binary_cross_entropy" else rng.standard_normal(shape)
    return y, targets.astype(dtype)


def validity(name, kind, seed=1):
    """Return `lengths` and `mask` of a kind, and one mask of the targets that says the same."""
    shape = (T, N) if name == "softmax_cross_entropy" else (T, N, V)
    lengths = np.arange(T)[:, None] < LENGTHS
    mask = np.random.default_rng(seed).random(shape) < 0.6
    lengths = np.broadcast_to(lengths.reshape((T, N) + (1,) * (len(shape) - 2)), shape).copy()
    return {
        "all": ({}, np.ones(shape, bool)),
        "lengths": ({"lengths": LENGTHS}, lengths),
        "mask": ({"mask": mask}, mask),
        "both": ({"lengths": LENGTHS, "mask": mask}, lengths & mask),
        "one sequence": ({"mask": np.arange(N).reshape((N,) + (1,) * (len(shape) - 2)) == 2}, None),
    }[kind]


KINDS = ("all", "lengths", "mask", "both")


@pytest.mark.parametrize("kind", [*KINDS, "one sequence"])
def test_gradient_by_central_differences(name, kind):
    y, targets = example(name)
    options, _ = validity(name, kind)
    _, dy = LOSSES[name](y, targets, **options)
    step = np.finfo(float).eps ** (1 / 3)
    numeric = np.empty_like(y)
    for k in np.ndindex(y.shape):
        ends = []
        for s in (step, -step):
            moved = y.copy()
            moved[k] += s
            ends.append(LOSSES[name](moved, targets, **options)[0])
        numeric[k] = (ends[0] - ends[1]) / (2 * step)
    bound = tolerance(float, y.size, 10) / step + 10 * step**2
    np.testing.assert_allclose(dy, numeric, rtol=0, atol=bound)
    assert np.abs(dy).max() > 1000 * bound


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equals_torch(name, dtype, kind):
    torch = pytest.importorskip("torch", reason="PyTorch is the outside oracle")
    y, targets = example(name, dtype)
    options, valid = validity(name, kind)
    value, dy = LOSSES[name](y, targets, **options)
    theirs = torch.tensor(y, requires_grad=True)
    function = {
        "softmax_cross_entropy": torch.nn.functional.cross_entropy,
        "mean_squared_error": torch.nn.functional.mse_loss,
        "binary_cross_entropy": torch.nn.functional.binary_cross_entropy_with_logits,
        "mean_absolute_error": torch.nn.functional.l1_loss,
        "huber": torch.nn.functional.huber_loss,
        "quantile": lambda y, t: torch.maximum(t - y, y - t).mean() / 2,
    }[name]
    expected = function(theirs[valid], torch.tensor(targets)[valid])
    expected.backward()
    assert type(value) is float
    assert dy.dtype == y.dtype
    assert abs(value - float(expected.detach())) <= tolerance(dtype, y.size, max(1.0, value))
    assert_close(dy, theirs.grad.numpy(), V)
    assert not dy[~valid].any()


@pytest.mark.parametrize("shape", [(T, V), (1, V), (T, N, 1), (V,)])
def test_shapes_without_a_batch_or_time(name, shape):
    """Losses are means over entries, whatever the axes."""
    y, targets = example(name, shape=shape)
    value, dy = LOSSES[name](y, targets)
    more, dmore = LOSSES[name](y[None], targets[None])
    assert value == more
    np.testing.assert_array_equal(dy, dmore[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_padding_has_no_effect(name, dtype):
    y, targets = example(name, dtype)
    value, dy = LOSSES[name](y, targets, lengths=LENGTHS)
    past = np.arange(T)[:, None] >= LENGTHS
    y[past] = np.nan
    targets[past] = -100 if targets.dtype.kind == "i" else np.nan
    again, d_again = LOSSES[name](y, targets, lengths=LENGTHS)
    assert value == again
    np.testing.assert_array_equal(dy, d_again)
    longer = [np.concatenate([a, a[:2]]) for a in (y, targets)]
    assert LOSSES[name](*longer, lengths=LENGTHS)[0] == value


def test_without_valid_entries_the_loss_is_zero(name):
    y, targets = example(name)
    for options in ({"lengths": np.zeros(N, int)}, {"mask": np.array(False)}):
        value, dy = LOSSES[name](y, targets, **options)
        assert value == 0.0
        np.testing.assert_array_equal(dy, np.zeros_like(y))
    empty = LOSSES[name](y[:0], targets[:0])
    assert (empty[0], empty[1].shape) == (0.0, (0, N, V))


def test_nan_propagates_to_the_loss_and_stays_in_its_row(name):
    y, targets = example(name)
    y[1, 2, 3] = np.nan
    value, dy = LOSSES[name](y, targets)
    assert np.isnan(value)
    assert np.isnan(dy[1, 2, 3])
    assert np.isfinite(np.delete(dy.reshape(-1, V), N + 2, axis=0)).all()


def test_large_logits_do_not_overflow():
    y = np.array([[1e4, 0.0, -1e4]], np.float32)
    value, dy = softmax_cross_entropy(y, [1])
    assert value == 1e4
    np.testing.assert_array_equal(dy, np.array([[1, -1, 0]], np.float32))
    y = np.array([1e4, -1e4, -1e4], np.float32)
    value, dy = binary_cross_entropy(y, np.array([0, 0, 1], np.float32))
    assert value == pytest.approx(2e4 / 3)
    np.testing.assert_array_equal(dy, np.array([1, 0, -1], np.float32) / np.float32(3))


def test_a_class_with_a_logit_of_minus_infinity():
    value, dy = softmax_cross_entropy(np.array([[0.0, -np.inf]]), [0])
    assert (value, dy.tolist()) == (0.0, [[0.0, 0.0]])
    assert softmax_cross_entropy(np.array([[0.0, -np.inf]]), [1])[0] == np.inf


def test_the_last_valid_step():
    y, targets = example("mean_squared_error")
    loss = at_last_step(mean_squared_error)
    value, dy = loss(y, targets[0])
    expected, d_last = mean_squared_error(y[-1], targets[0])
    assert value == expected
    np.testing.assert_array_equal(dy[-1], d_last)
    assert not dy[:-1].any()
    value, dy = loss(y, targets[0], lengths=LENGTHS)
    valid = LENGTHS > 0
    ends = y[LENGTHS[valid] - 1, np.flatnonzero(valid)]
    expected, d_ends = mean_squared_error(ends, targets[0][valid])
    assert value == expected
    np.testing.assert_array_equal(dy[LENGTHS[valid] - 1, np.flatnonzero(valid)], d_ends)
    assert {tuple(k) for k in np.argwhere(dy.any(axis=2))} == {(4, 0), (2, 2), (0, 3)}
    assert loss(y, targets[0], lengths=0 * LENGTHS)[0] == 0.0
    ids = np.arange(N)
    single, d_single = at_last_step(softmax_cross_entropy)(y[:, 1], ids[1])
    assert single == softmax_cross_entropy(y[-1, 1], ids[1])[0]
    assert d_single.shape == (T, V)


def test_the_sum_over_steps():
    """The gradient is that of the sum over T steps of each step's mean; the value is the mean."""
    y, targets = example("softmax_cross_entropy")
    value, dy = summed_over_steps(softmax_cross_entropy)(y, targets)
    steps = [softmax_cross_entropy(y[t], targets[t]) for t in range(T)]
    assert_close(value, np.mean([v for v, _ in steps]), 4)
    assert_close(dy, np.stack([d for _, d in steps]), 4)
    _, dy = summed_over_steps(mean_squared_error)(y, 0 * y, lengths=LENGTHS)
    valid = np.arange(T)[:, None] < LENGTHS
    assert_close(dy, valid[..., None] * T * 2 * y / (valid.sum() * V), 4)


# Options of the losses

CLASSES = np.array([0.5, 2.0, 0.1, 1.0, 0.25, 3.0, 1.0])
LEVELS = np.linspace(0.1, 0.9, V)
OPTIONS = {
    "class weights": (softmax_cross_entropy, {"weight": CLASSES}),
    "smoothing": (softmax_cross_entropy, {"label_smoothing": 0.2}),
    "ignored": (softmax_cross_entropy, {"ignore_index": 3}),
    "ignored outside": (softmax_cross_entropy, {"ignore_index": -100}),
    "all of classes": (
        softmax_cross_entropy,
        {"weight": CLASSES, "label_smoothing": 0.3, "ignore_index": 3},
    ),
    "pos_weight": (binary_cross_entropy, {"pos_weight": CLASSES}),
    "one pos_weight": (binary_cross_entropy, {"pos_weight": 2.5}),
    "delta": (huber, {"delta": 2.5}),
    "q": (quantile, {"q": 0.8}),
    "several q": (quantile, {"q": LEVELS}),
    "none": (mean_squared_error, {}),
    "none, absolute": (mean_absolute_error, {}),
}


def torch_loss(torch, name, options, dtype):
    """The same loss by PyTorch: of each entry, and the divisor of each entry's weight."""
    F = torch.nn.functional
    weight = {k: torch.tensor(CLASSES.astype(dtype)) for k in ("weight",) if k in options}
    plain = {k: v for k, v in options.items() if k in ("label_smoothing", "ignore_index", "delta")}
    q = torch.tensor(np.asarray(options.get("q", 0.5), dtype))
    positive = torch.tensor(np.asarray(options.get("pos_weight", 1), dtype))
    return {
        "softmax_cross_entropy": lambda y, t: F.cross_entropy(
            y, t, **weight, **plain, reduction="none"
        ),
        "binary_cross_entropy": lambda y, t: F.binary_cross_entropy_with_logits(
            y, t, pos_weight=positive, reduction="none"
        ),
        "huber": lambda y, t: F.huber_loss(y, t, **plain, reduction="none"),
        "mean_squared_error": lambda y, t: F.mse_loss(y, t, reduction="none"),
        "mean_absolute_error": lambda y, t: F.l1_loss(y, t, reduction="none"),
        "quantile": lambda y, t: torch.maximum(q * (t - y), (q - 1) * (t - y)),
    }[name]


def option_example(case, dtype="float64"):
    loss, options = OPTIONS[case]
    y, targets = example(loss.__name__, dtype)
    if options.get("ignore_index") == -100:
        targets[1:3, 2] = -100
    return loss, options, y, targets


@pytest.mark.parametrize(
    "case", ["class weights", "smoothing", "all of classes", "ignored outside"]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_options_of_classes_equal_torchs_mean(case, dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is the outside oracle")
    loss, options, y, targets = option_example(case, dtype)
    theirs = torch.tensor(y, requires_grad=True)
    own = {k: torch.tensor(v.astype(dtype)) if k == "weight" else v for k, v in options.items()}
    expected = torch.nn.functional.cross_entropy(
        theirs.reshape(-1, V), torch.tensor(targets).reshape(-1), **own
    )
    expected.backward()
    value, dy = loss(y, targets, **options)
    assert abs(value - float(expected.detach())) <= tolerance(dtype, y.size, 5)
    assert_close(dy, theirs.grad.numpy(), V)


@pytest.mark.parametrize("per", ["nothing", "sequence", "step", "entry"])
@pytest.mark.parametrize("case", OPTIONS)
def test_weighted_options_equal_torchs_sum(case, per):
    """The sum of weight times loss over the sum of the weights, with lengths."""
    torch = pytest.importorskip("torch", reason="PyTorch is the outside oracle")
    loss, options, y, targets = option_example(case)
    classes = loss is softmax_cross_entropy
    shape = {"nothing": (), "sequence": (N,), "step": (T, N), "entry": targets.shape}[per]
    weights = np.random.default_rng(5).random(shape) if shape else np.ones(())
    if per == "step":
        weights[:2, 2] = 0  # not valid: the target may be NaN
        if not classes:
            targets[0, 2] = np.nan
    w = weights[..., None] if per == "step" and not classes else weights
    w = w.reshape(N, *[1] * (targets.ndim - 2)) if per == "sequence" else w
    inside = (np.arange(T)[:, None] < LENGTHS).reshape(T, N, *[1] * (targets.ndim - 2))
    w = np.broadcast_to(w * inside, targets.shape).copy()
    total = w * CLASSES[targets.clip(0)] if "weight" in options else w
    if "ignore_index" in options:
        total = np.where(targets == options["ignore_index"], 0, total)
    theirs = torch.tensor(y, requires_grad=True)
    each = torch_loss(torch, loss.__name__, options, "float64")(
        theirs.reshape(-1, V) if classes else theirs,
        torch.tensor(np.nan_to_num(targets).reshape(-1) if classes else np.nan_to_num(targets)),
    )
    expected = (each.reshape(w.shape) * torch.tensor(w)).sum() / total.sum()
    expected.backward()
    given = {} if per == "nothing" else {"sample_weight": weights}
    value, dy = loss(y, targets, LENGTHS, **options, **given)
    assert abs(value - float(expected.detach())) <= tolerance(float, y.size, 10)
    assert_close(dy, theirs.grad.numpy(), 10 * V)
    assert dy.any()
    count = count_entries(partial(loss, **options, **given), y, targets, LENGTHS)
    assert_close(float(count), total.sum(), total.size)


@pytest.mark.parametrize("case", OPTIONS)
def test_gradient_of_options_by_central_differences(case):
    loss, options, y, targets = option_example(case)
    options = {**options, "sample_weight": np.random.default_rng(6).random((T, N))}
    _, dy = loss(y, targets, LENGTHS, **options)
    step = np.finfo(float).eps ** (1 / 3)
    for k in list(np.ndindex(y.shape))[::5]:
        ends = []
        for s in (step, -step):
            moved = y.copy()
            moved[k] += s
            ends.append(loss(moved, targets, LENGTHS, **options)[0])
        assert dy[k] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-8)


@pytest.mark.parametrize("case", OPTIONS)
def test_joined_means_do_not_depend_on_the_cut(case):
    """Means of batches, weighted by their entries, are the mean of all."""
    loss, options, y, targets = option_example(case)
    weights = np.random.default_rng(7).random((T, N))
    whole = loss(y, targets, LENGTHS, sample_weight=weights, **options)[0]
    total = count = 0.0
    for n in range(N):
        part = partial(loss, sample_weight=weights[:, n : n + 1], **options)
        batch = y[:, n : n + 1], targets[:, n : n + 1], LENGTHS[n : n + 1]
        weight = count_entries(part, *batch)
        total, count = total + weight * part(*batch)[0], count + weight
    assert_close(total / count, whole, y.size)


def test_without_weight_the_loss_is_zero():
    """Where all is ignored PyTorch's mean is NaN; here it is 0, like any mean of nothing."""
    y, ids = example("softmax_cross_entropy")
    for options in (
        {"ignore_index": -1, "weight": CLASSES},
        {"ignore_index": -1},
        {"ignore_index": -1, "label_smoothing": 0.1},
        {"sample_weight": np.zeros((T, N))},
    ):
        targets = np.full_like(ids, -1) if "ignore_index" in options else ids
        value, dy = softmax_cross_entropy(y, targets, **options)
        assert (value, dy.any()) == (0.0, False)
        assert count_entries(partial(softmax_cross_entropy, **options), y, targets) == 0
    value, dy = softmax_cross_entropy(y, np.full_like(ids, 2), weight=CLASSES != 0.1)
    assert (value, dy.any()) == (0.0, False)
    for name in ("mean_squared_error", "quantile", "huber"):
        y, targets = example(name)
        value, dy = LOSSES[name](y, np.nan * targets, sample_weight=np.zeros(N))
        assert (value, dy.any()) == (0.0, False)


@pytest.mark.parametrize("case", ["all of classes", "several q", "delta"])
def test_options_with_lists_and_at_the_last_step(case):
    loss, options, y, targets = option_example(case)
    weights = np.random.default_rng(8).random((T, N))
    expected, d = loss(y, targets, LENGTHS, sample_weight=weights, **options)
    lists = [[a[:length, n] for n, length in enumerate(LENGTHS)] for a in (y, targets, weights)]
    value, dy = loss(*lists[:2], sample_weight=lists[2], **options)
    assert value == expected
    for n, length in enumerate(LENGTHS):
        assert_same_bits(dy[n], d[:length, n])
    once = loss(lists[0], lists[1], sample_weight=weights[0], **options)[0]
    assert once == loss(y, targets, LENGTHS, sample_weight=weights[0], **options)[0]
    last = at_last_step(partial(loss, **options))
    valid = LENGTHS > 0
    ends = y[LENGTHS[valid] - 1, np.flatnonzero(valid)]
    value, _ = last(y, targets[0], LENGTHS, sample_weight=weights[0])
    own = partial(loss, sample_weight=weights[0, valid], **options)
    assert value == own(ends, targets[0, valid])[0]
    count = count_entries(partial(last, sample_weight=weights[0]), y, targets[0], LENGTHS)
    assert count == count_entries(own, ends, targets[0, valid])
    summed = summed_over_steps(loss)
    value, dy = summed(y, targets, LENGTHS, sample_weight=weights, **options)
    assert value == expected
    assert_close(dy, T * d, 2)
    count = count_entries(partial(summed, sample_weight=weights, **options), y, targets, LENGTHS)
    assert count == count_entries(
        partial(loss, sample_weight=weights, **options), y, targets, LENGTHS
    )


def test_one_target_of_several_quantiles():
    y, targets = example("quantile")
    value, dy = quantile(y, targets[..., :1], q=LEVELS)
    expected, d = quantile(y, np.repeat(targets[..., :1], V, -1), q=LEVELS)
    assert value == expected
    assert_same_bits(dy, d)


def test_a_loss_of_ones_own_counts_its_entries():
    def known(y, targets, lengths=None):
        return mean_squared_error(y, targets, lengths, mask=~np.isnan(targets))

    known.entries = lambda y, targets, lengths: np.count_nonzero(~np.isnan(targets))
    y, targets = example("mean_squared_error")
    targets[1, 2, 3:] = np.nan
    assert count_entries(known, y, targets) == y.size - V + 3
    known.entries = lambda y, targets, lengths: "many"
    with pytest.raises(TypeError, match="what entries of the loss returns must be a number"):
        count_entries(known, y, targets)


Y = np.zeros((T, N, V))
IDS = np.zeros((T, N), int)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: softmax_cross_entropy(Y, IDS + V),
            IndexError,
            r"targets must be in 0\.\.6, got 7 at \(0, 0\)",
        ),
        (
            lambda: softmax_cross_entropy(Y, IDS - 1),
            IndexError,
            r"targets must be in 0\.\.6, got -1 at \(0, 0\)",
        ),
        (
            lambda: softmax_cross_entropy(Y, IDS[:2]),
            ValueError,
            r"targets must have .* = \(5, 4\), got \(2, 4\)",
        ),
        (
            lambda: softmax_cross_entropy(Y, IDS * 1.0),
            TypeError,
            "targets must be integers, got float64",
        ),
        (
            lambda: softmax_cross_entropy(Y.astype(int), IDS),
            TypeError,
            "y must be float32 or float64, got int64",
        ),
        (
            lambda: softmax_cross_entropy(Y[..., :0], IDS),
            ValueError,
            r"V at least 1, got \(5, 4, 0\)",
        ),
        (
            lambda: softmax_cross_entropy(Y, IDS, lengths=LENGTHS + 1),
            ValueError,
            "between 0 and T = 5, got 6 for sequence 0",
        ),
        (
            lambda: softmax_cross_entropy(Y[0], IDS[0], lengths=LENGTHS),
            ValueError,
            "lengths need time-major targets",
        ),
        (
            lambda: softmax_cross_entropy(Y, IDS, mask=IDS),
            TypeError,
            "mask must be bool, got int64",
        ),
        (
            lambda: softmax_cross_entropy(Y, IDS, mask=Y > 0),
            ValueError,
            r"targets' shape \(5, 4\), got \(5, 4, 7\)",
        ),
        (
            lambda: mean_squared_error(Y, Y[0]),
            ValueError,
            r"targets must have .* = \(5, 4, 7\), got \(4, 7\)",
        ),
        (
            lambda: mean_squared_error(Y, Y.astype("float32")),
            TypeError,
            "targets must have the dtype of y, float64, got float32",
        ),
        (
            lambda: binary_cross_entropy(Y, Y > 0),
            TypeError,
            "targets must be float32 or float64, got bool",
        ),
        (
            lambda: softmax_cross_entropy(Y, IDS - 100),
            IndexError,
            r"got -100 at \(0, 0\); to leave it out pass ignore_index=-100",
        ),
        (
            lambda: softmax_cross_entropy(Y, IDS, weight=[1, 2]),
            ValueError,
            r"weight must be \(V,\) = \(7,\), got \(2,\)",
        ),
        (
            lambda: softmax_cross_entropy(Y, IDS, weight=-CLASSES),
            ValueError,
            r"weight must be finite and at least 0, got -0.5 at \(0,\)",
        ),
        (
            lambda: softmax_cross_entropy(Y, IDS, label_smoothing=2),
            ValueError,
            "label_smoothing must be at least 0 and at most 1, got 2",
        ),
        (
            lambda: softmax_cross_entropy(Y, IDS, ignore_index=0.5),
            TypeError,
            "ignore_index must be an int, got float",
        ),
        (
            lambda: mean_squared_error(Y, Y, sample_weight=np.ones(T)),
            ValueError,
            r"for each step, \(5, 4\), or for each sequence, \(4,\), got \(5,\)",
        ),
        (
            lambda: mean_squared_error(Y, Y, sample_weight=["a"]),
            TypeError,
            "sample_weight must be numbers, got str",
        ),
        (lambda: huber(Y, Y, delta=0), ValueError, "delta must be above 0, got 0"),
        (lambda: quantile(Y, Y, q=1.0), ValueError, "q must be above 0 and below 1, got 1.0"),
        (lambda: quantile(Y, Y, q=[0.5]), ValueError, r"q must be \(M,\) = \(7,\), got \(1,\)"),
        (
            lambda: binary_cross_entropy(Y, Y, pos_weight=[1, 2]),
            ValueError,
            r"pos_weight must be a number or \(M,\) = \(7,\), got \(2,\)",
        ),
        (lambda: at_last_step(mean_squared_error)(Y[:0], Y[0]), ValueError, "at least one step"),
        (
            lambda: at_last_step(mean_squared_error)(Y[0], Y[0, 0], lengths=LENGTHS),
            ValueError,
            "lengths need a batch",
        ),
    ],
)
def test_bad_input_is_one_clear_line(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


# Lists of sequences, masks, and how many entries count


def listed(dtype="float64"):
    rng = np.random.default_rng(3)
    lengths = np.array([3, 0, 1, 3])
    y = [rng.standard_normal((n, 2)).astype(dtype) for n in lengths]
    padded = np.full((3, 4, 2), np.nan, dtype)
    for n, a in enumerate(y):
        padded[: len(a), n] = a
    return y, padded, lengths


@pytest.mark.parametrize("name", ["ids", "floats", "summed", "last step", "last step, ids"])
def test_lists_of_sequences_are_padded(name):
    y, padded, lengths = listed()
    rng = np.random.default_rng(4)
    ids = [rng.integers(0, 2, n) for n in lengths]
    floats = [rng.random((n, 2)) for n in lengths]
    once, numbers = [rng.random(2) for _ in lengths], [int(k) for k in rng.integers(0, 2, 4)]
    loss, targets = {
        "ids": (softmax_cross_entropy, ids),
        "floats": (binary_cross_entropy, floats),
        "summed": (summed_over_steps(mean_squared_error), floats),
        "last step": (at_last_step(mean_squared_error), once),
        "last step, ids": (at_last_step(softmax_cross_entropy), numbers),
    }[name]
    value, dy = loss(y, targets)
    whole = np.array(targets) if "last" in name else np.zeros((3, 4, *targets[0].shape[1:]), float)
    if "last" not in name:
        for n, a in enumerate(targets):
            whole[: len(a), n] = a
        whole = whole.astype(targets[0].dtype)
    expected, d_padded = loss(np.nan_to_num(padded), whole, lengths)
    assert value == expected
    for n, (a, length) in enumerate(zip(dy, lengths, strict=True)):
        assert_same_bits(a, d_padded[:length, n])


def test_the_last_step_of_a_mask():
    y = np.arange(12.0).reshape(4, 3, 1)
    mask = np.array([[1, 0, 0], [0, 0, 1], [1, 0, 1], [0, 0, 0]], bool)
    value, dy = at_last_step(mean_squared_error)(y, np.array([[6.0], [0.0], [6.0]]), mask)
    assert value == 2.0  # y at (2, 0) is 6, at (2, 2) it is 8; sequence 1 has no step
    assert dy[2, 2, 0] == 2.0
    assert np.count_nonzero(dy) == 1


@pytest.mark.parametrize("T", [3, 4])
@pytest.mark.parametrize("name", ["ids", "floats", "last step", "last ids", "mask", "own", "once"])
def test_entries_are_those_that_the_loss_averages_over(name, T):
    """With losses of 1 for each entry the gradient tells how many the mean is over: T = N = M."""
    rng, N, M = np.random.default_rng(0), 3, 3
    lengths = np.array([T, 0, 1])
    y, ids, floats = np.zeros((T, N, M)), rng.integers(0, M, (T, N)), np.ones((T, N, M))
    mask, last = rng.random((T, N, M)) < 0.5, at_last_step(mean_squared_error)
    loss, targets, count = {
        "ids": (softmax_cross_entropy, ids, T + 1),
        "floats": (mean_squared_error, floats, 3 * (T + 1)),
        "last step": (at_last_step(mean_squared_error), floats[0], 6),
        "last ids": (at_last_step(softmax_cross_entropy), ids[0], 2),
        "mask": (partial(mean_squared_error, mask=mask), floats, None),
        "own": (lambda y, t, lengths: binary_cross_entropy(y, t, lengths), floats, 3 * (T + 1)),
        "once": (lambda y, t, lengths: last(y, t, lengths), floats[0], 6),
    }[name]
    inside = np.arange(T)[:, None] < lengths
    if count is None:
        count = np.count_nonzero(mask & inside[..., None])
    for steps in (lengths, inside):
        assert count_entries(loss, y, targets, steps) == count
        assert count_entries(loss, y, targets, np.zeros_like(steps)) == 0
    _, dy = loss(y, targets, lengths)
    if loss is not softmax_cross_entropy and name != "last ids":
        assert np.count_nonzero(dy) == count
    assert count_entries(summed_over_steps(loss), y, targets, lengths) == count


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda y: mean_squared_error(y, [1, 2]), TypeError, "targets must be float32 or float64"),
        (lambda y: mean_squared_error(None, y), TypeError, "y must be float32 or float64, got"),
        (lambda y: mean_squared_error(y, y, mask=[2]), TypeError, "mask must be bool, got int64"),
        (lambda y: softmax_cross_entropy(y, y > 0), TypeError, "must be integers, got bool"),
        (lambda y: softmax_cross_entropy(y, None), TypeError, "targets must be integers, got None"),
        (lambda y: at_last_step(3), TypeError, "loss must be a function such as losses.mean"),
        (lambda y: summed_over_steps(None), TypeError, "loss must be a function such as losses"),
        (
            lambda y: at_last_step(mean_squared_error)(y, y[0, :1], [1, 1]),
            ValueError,
            r"targets must be \(N, ...\) with N = 2, got \(1, 3\)",
        ),
        (
            lambda y: count_entries(mean_squared_error, y, np.zeros(7), [1, 1]),
            ValueError,
            r"targets must be \(T, N, ...\) or \(N, ...\) with T, N = 4, 2, got \(7,\)",
        ),
        (lambda y: mean_squared_error([*y], [*y], [2] * 4), ValueError, "lengths must be None"),
    ],
)
def test_wrong_arguments_are_one_clear_line(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call(np.zeros((4, 2, 3)))
    assert "\n" not in str(caught.value)


OTHERS = ("Loss", "at_last_step", "count_entries", "quantile", "summed_over_steps")


@pytest.mark.parametrize("name", [name for name in losses.__all__ if name not in OTHERS])
def test_an_option_that_a_loss_does_not_have_is_named(name):
    y = np.zeros((4, 2, 9))
    for given in (y, [*y.swapaxes(0, 1)]):
        with pytest.raises(TypeError, match=f"^{name} has no option 'sizes'; its options are y"):
            getattr(losses, name)(given, given, sizes=True)
