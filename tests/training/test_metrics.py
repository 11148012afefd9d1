"""Metrics: their values by definition, padding and lists, and sums over batches of any size."""

import math
from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from recurrent import metrics
from recurrent.conformance.tolerance import assert_close
from recurrent.losses import count_entries

T, N, V = 6, 5, 4
LENGTHS = np.array([6, 0, 3, 1, 5])
INSIDE = np.arange(T)[:, None] < LENGTHS


def example(seed=0, dtype="float32"):
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((T, N, V)).astype(dtype)
    return y, rng.integers(0, V, (T, N)), rng.standard_normal((T, N, V)).astype(dtype)


def by_hand(name, found, right):
    """Return the value from predicted and right classes, one after the other."""
    if name == "accuracy":
        return sum(f == r for f, r in zip(found, right, strict=True)) / len(right)
    scores = []
    for c in range(V):
        hits = sum(f == r == c for f, r in zip(found, right, strict=True))
        every = sum(f == c for f in found) + sum(r == c for r in right)
        if every:
            scores.append(2 * hits / every)
    return sum(scores) / len(scores)


@pytest.mark.parametrize("name", ["accuracy", "macro_f1"])
def test_values_of_classes_by_definition(name):
    y, ids, _ = example()
    metric, found = getattr(metrics, name), y.argmax(-1)
    assert metric(y, ids) == pytest.approx(by_hand(name, found.ravel(), ids.ravel()))
    expected = by_hand(name, found[INSIDE], ids[INSIDE])
    assert metric(y, ids, LENGTHS) == pytest.approx(expected)
    assert metric(y, ids, mask=INSIDE) == metric(y, ids, INSIDE) == metric(y, ids, LENGTHS)
    known = ids != 2
    expected = by_hand(name, found[INSIDE & known], ids[INSIDE & known])
    assert metric(y, ids, LENGTHS, ignore_index=2) == pytest.approx(expected)
    two = np.where(ids > 1, 1, ids)  # classes 2 and 3 occur among the predictions alone
    assert metric(y, two) == pytest.approx(by_hand(name, found.ravel(), two.ravel()))
    y[..., 2:] = -np.inf
    found = y.argmax(-1)
    assert metric(y, two) == pytest.approx(by_hand(name, found.ravel(), two.ravel()))


def test_the_confusion_matrix_counts_answers():
    y, ids, _ = example()
    expected = np.zeros((V, V), int)
    for found, right in zip(y.argmax(-1)[INSIDE], ids[INSIDE], strict=True):
        expected[right, found] += 1
    np.testing.assert_array_equal(metrics.confusion_matrix(y, ids, LENGTHS), expected)
    assert metrics.accuracy(y, ids, LENGTHS) == np.trace(expected) / expected.sum()


def test_yes_and_no():
    y = np.array([[2.0, -1.0], [-1.0, 3.0], [0.5, 0.5]])
    targets = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    assert metrics.accuracy(y, targets) == 4 / 6
    assert metrics.macro_f1(y, targets) == (2 * 1 / 4 + 2 * 2 / 4) / 2
    assert metrics.macro_f1(y[:, :1], targets[:, :1]) == 0.5


def test_values_of_errors_by_definition():
    y, _, targets = example(dtype="float64")
    errors = (y - targets)[INSIDE]
    value = metrics.root_mean_squared_error(y, targets, LENGTHS)
    assert_close(value, np.sqrt(np.mean(errors**2)), errors.size)
    value = metrics.mean_absolute_error(y, targets, LENGTHS)
    assert_close(value, np.mean(np.abs(errors)), errors.size)


METRICS = {
    "accuracy": (metrics.accuracy, 1),
    "confusion": (metrics.confusion_matrix, 1),
    "F1": (metrics.macro_f1, 1),
    "ignored": (partial(metrics.macro_f1, ignore_index=0), 1),
    "RMSE": (metrics.root_mean_squared_error, 2),
    "MAE": (metrics.mean_absolute_error, 2),
}


@pytest.mark.parametrize("name", METRICS)
def test_sums_over_batches_have_the_bits_of_one_batch(name):
    metric, which = METRICS[name]
    batch = example()
    y, targets = batch[0], batch[which]
    whole = metric(y, targets, LENGTHS)
    counts, value = metrics.counting(metric)
    for order in (range(N), [3, 1, 4, 0, 2]):
        parts = [counts(y[:, n : n + 1], targets[:, n : n + 1], LENGTHS[[n]]) for n in order]
        np.testing.assert_array_equal(value(sum(parts[1:], parts[0])), whole)


@pytest.mark.parametrize("name", METRICS)
def test_padding_and_lists_change_nothing(name):
    metric, which = METRICS[name]
    batch = example()
    y, targets = batch[0], batch[which]
    expected = metric(y, targets, LENGTHS)
    lists = [[a[:length, n] for n, length in enumerate(LENGTHS)] for a in (y, targets)]
    np.testing.assert_array_equal(metric(*lists), expected)
    y[~INSIDE] = np.nan
    targets[~INSIDE] = -100 if which == 1 else np.nan
    np.testing.assert_array_equal(metric(y, targets, LENGTHS), expected)
    nothing = metric(y, targets, 0 * LENGTHS)
    assert (nothing == 0).all() if name == "confusion" else math.isnan(nothing)


@pytest.mark.parametrize("name", METRICS)
def test_at_the_last_step(name):
    metric, which = METRICS[name]
    y, targets = example()[0], example()[which][0]
    last = metrics.at_last_step(metric)
    valid = LENGTHS > 0
    ends = y[LENGTHS[valid] - 1, np.flatnonzero(valid)]
    np.testing.assert_array_equal(last(y, targets, LENGTHS), metric(ends, targets[valid]))
    counts, value = metrics.counting(last)
    np.testing.assert_array_equal(value(counts(y, targets, LENGTHS)), last(y, targets, LENGTHS))
    np.testing.assert_array_equal(last(y, targets), metric(y[-1], targets))
    assert metrics.direction_of(last) == metrics.direction_of(metric)


def test_a_mean_of_ones_own_at_the_last_step_is_weighted_by_its_sequences():
    def share(y, targets, lengths=None):
        return float(np.mean(y > targets))

    y, _, targets = example()
    last = metrics.at_last_step(share)
    assert count_entries(last, y, targets[0], LENGTHS) == 4 * V
    assert metrics.counting(last) is None
    assert metrics.name_of(last) == "share at the last step"


def test_sums_are_exact():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(500) * 10.0 ** rng.integers(-300, 300, 500)
    values[:3] = 0.0, 5e-324, -1.7e308
    expected = sum(map(Fraction, values.tolist()), Fraction(0))
    assert metrics.exact_sum(values) == expected == metrics.exact_sum(values[::-1])
    assert metrics.exact_sum(np.zeros(0)) == 0
    assert math.isnan(metrics.exact_sum(np.array([1.0, np.nan])))
    assert metrics.exact_sum(np.array([1.0, np.inf])) == math.inf


def test_infinite_errors_stay():
    y = np.array([1.0, np.inf])
    assert metrics.root_mean_squared_error(y, np.zeros(2)) == math.inf
    assert math.isnan(metrics.mean_absolute_error(np.array([np.nan]), np.zeros(1)))


Y, IDS = np.zeros((T, N, V)), np.zeros((T, N), int)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: metrics.accuracy(Y, IDS + V), ValueError, r"targets must be in 0\.\.3, got 4"),
        (lambda: metrics.accuracy(Y, IDS - 1), ValueError, "pass ignore_index=-1"),
        (lambda: metrics.accuracy(Y, IDS[:2]), ValueError, "targets must have the shape of y"),
        (lambda: metrics.accuracy(Y, Y.astype("float32")), TypeError, "or have the dtype of y"),
        (lambda: metrics.accuracy(Y, IDS > 0), TypeError, "targets must be integers or have"),
        (lambda: metrics.confusion_matrix(Y, Y), TypeError, "targets must be ids of classes"),
        (lambda: metrics.mean_absolute_error(Y, IDS), TypeError, "targets must be float32 or"),
        (lambda: metrics.at_last_step(3), TypeError, "metric must be a function such as"),
    ],
)
def test_wrong_arguments_are_one_clear_line(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
