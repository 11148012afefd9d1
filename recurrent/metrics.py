"""Metrics: how good outputs are, in numbers to read rather than to train by.

Every metric is called `metric(y, targets, lengths=None, mask=None)`, as the losses are, and valid
are the same entries. Without any valid entry the value is NaN.

`fit(..., metrics=[metrics.accuracy])` and `evaluate(..., metrics=[metrics.accuracy])` add up counts
over the batches and compute the value at the end: the value of all entries, the same for batches of
any size. `functools.partial` gives options: `partial(metrics.accuracy, ignore_index=-100)`.

A metric of your own is a function that is called in the same way and returns a number. Its mean
over the batches is weighted by their entries, see `losses.count_entries`. If it is no mean, give it
what the metrics here have: an attribute `counts`, a function of the same arguments that returns
what is added up, and `value`, a function of the sum. `higher_is_better` says in which direction
`fit(..., monitor=...)` looks for the best.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from . import checks
from .checks.guided import module_getattr
from .engine import ragged
from .losses import alignments
from .losses.decoding import ctc_greedy_decode, viterbi_decode
from .losses.entries import check_both_arrays, count_entries, valid_entries
from .losses.lattice import edit_distance
from .losses.steps import last_steps

Metric = Callable[..., Any]


def _metric(counts: Callable, value: Callable, higher_is_better: bool | None) -> Callable:
    """Return a decorator that gives a metric its counts, its value of them and its direction."""

    def decorate(metric: Callable) -> Any:
        named: Any = metric
        named.counts, named.value, named.higher_is_better = counts, value, higher_is_better
        return metric

    return decorate


def _entries(
    y: Any, targets: Any, lengths: Any, mask: Any, classes: bool, ignore_index: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return y and targets at the valid entries: of classes (S, V) and ids (S,), or both (S,)."""
    if isinstance(y, (list, tuple)):
        y, lengths, listed = ragged.pad_sequences(y, lengths, "y")
        targets = ragged.pad_targets(targets, lengths) if listed else targets
    else:
        check_both_arrays(y, targets)
    y, targets = checks.array(y, "y"), checks.as_array(targets, "targets")
    if not classes:
        checks.array(targets, "targets")
        checks.same_dtype(targets, "targets", y.dtype, "y")
    if targets.dtype.kind in "iu":
        if y.ndim < 1 or y.shape[-1] == 0:
            raise ValueError(f"y must be (..., V) with V at least 1, got {y.shape}")
        checks.shape(targets, "targets", y.shape[:-1], "the shape of y without V")
    elif targets.dtype == y.dtype:
        checks.shape(targets, "targets", y.shape, "the shape of y")
    else:
        raise TypeError(
            f"targets must be integers or have the dtype of y, {y.dtype.name}, got"
            f" {targets.dtype.name}"
        )
    valid = valid_entries(targets.shape, lengths, mask)
    if ignore_index is not None:
        known = targets != checks.integer(ignore_index, "ignore_index")
        valid = known if valid is None else valid & known
    if valid is None:
        valid = np.ones(targets.shape, bool)
    return y[valid], targets[valid]


def _classes(y: Any, targets: Any, lengths: Any, mask: Any, ignore_index: Any) -> tuple:
    """Return predicted and right classes at the valid entries, and V; V is None for yes and no."""
    y, targets = _entries(y, targets, lengths, mask, True, ignore_index)
    if targets.dtype.kind == "f":
        return y > 0, targets > 0.5, None
    V = y.shape[-1]
    for k in np.flatnonzero((targets < 0) | (targets >= V))[:1]:
        raise ValueError(
            f"targets must be in 0..{V - 1}, got {targets[k]}; to leave it out pass"
            f" ignore_index={targets[k]}"
        )
    return y.argmax(axis=-1), targets, V


def _right(y, targets, lengths=None, mask=None, ignore_index=None) -> np.ndarray:
    """Count the right and all answers."""
    found, right, _ = _classes(y, targets, lengths, mask, ignore_index)
    return np.array([np.count_nonzero(found == right), right.size])


def _ratio(counts) -> float:
    return float(counts[0] / counts[1]) if counts[1] else math.nan


@_metric(_right, _ratio, True)
def accuracy(
    y: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    ignore_index: int | None = None,
) -> float:
    """Share of right answers: of the class with the highest logit, or of each yes or no.

    Parameters
    ----------
    y : ndarray, shape (T, N, V), (T, V) or (N, V), float32 or float64
        Logits of the classes; with targets of floats the logit of each yes.
    targets : ndarray, shape of y without V, int, or shape and dtype of y
        Ids of the right classes; or numbers from 0 to 1, of which those above 0.5 are a yes.
    lengths : ndarray, shape (N,), int, or mask, shape (T, N), bool, optional
        Lengths of the sequences.
    mask : ndarray, broadcastable to the shape of targets, bool, optional
        Entries that count.
    ignore_index : int, optional
        Target of entries that do not count, such as -100.

    Returns
    -------
    float
        From 0 to 1; NaN without valid entries.

    Raises
    ------
    ValueError
        If shapes do not fit, or a target is not a class.
    TypeError
        If dtypes do not fit.

    Examples
    --------
    >>> accuracy(np.eye(3), [0, 1, 0])
    0.6666666666666666
    """
    return accuracy.value(accuracy.counts(y, targets, lengths, mask, ignore_index))


def _confusion(y, targets, lengths=None, mask=None, ignore_index=None) -> np.ndarray:
    """Count the answers by right and by predicted class, (V, V)."""
    found, right, V = _classes(y, targets, lengths, mask, ignore_index)
    if V is None:
        raise TypeError("targets must be ids of classes, integers, for a confusion matrix")
    return np.bincount(right * V + found, minlength=V * V).reshape(V, V)


@_metric(_confusion, np.asarray, None)
def confusion_matrix(
    y: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    ignore_index: int | None = None,
) -> np.ndarray:
    """Number of answers by right class, a row each, and by predicted class, a column each.

    Parameters
    ----------
    y : ndarray, shape (T, N, V), (T, V) or (N, V), float32 or float64
        Logits of the classes.
    targets : ndarray, shape of y without V, int
        Ids of the right classes.
    lengths : ndarray, shape (N,), int, or mask, shape (T, N), bool, optional
        Lengths of the sequences.
    mask : ndarray, broadcastable to the shape of targets, bool, optional
        Entries that count.
    ignore_index : int, optional
        Target of entries that do not count, such as -100.

    Returns
    -------
    ndarray, shape (V, V), int

    Raises
    ------
    ValueError
        If shapes do not fit, or a target is not a class.
    TypeError
        If dtypes do not fit.

    Examples
    --------
    >>> confusion_matrix(np.eye(2)[[0, 1, 1]], [0, 0, 1]).tolist()
    [[1, 1], [0, 1]]
    """
    return _confusion(y, targets, lengths, mask, ignore_index)


def _of_each_class(y, targets, lengths=None, mask=None, ignore_index=None) -> np.ndarray:
    """Count for each class the right answers, the predictions and the targets, (3, V)."""
    found, right, V = _classes(y, targets, lengths, mask, ignore_index)
    if V is None:
        counts = [a.reshape(len(a), -1).sum(axis=0) for a in (found & right, found, right)]
    else:
        counts = [np.bincount(a, minlength=V) for a in (right[found == right], found, right)]
    return np.array(counts)


def _mean_f1(counts) -> float:
    hits, found, right = counts
    occurs = found + right > 0
    return float(np.mean(2 * hits[occurs] / (found + right)[occurs])) if occurs.any() else math.nan


@_metric(_of_each_class, _mean_f1, True)
def macro_f1(
    y: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    ignore_index: int | None = None,
) -> float:
    """Mean of the classes' F1 scores, the harmonic means of precision and recall.

    Classes that neither the targets nor the predictions have are left out.

    Parameters
    ----------
    y : ndarray, shape (T, N, V), (T, V) or (N, V), float32 or float64
        Logits of the classes; with targets of floats the logit of each yes.
    targets : ndarray, shape of y without V, int, or shape and dtype of y
        Ids of the right classes; or numbers from 0 to 1, of which those above 0.5 are a yes: then
        each feature of y is a class.
    lengths : ndarray, shape (N,), int, or mask, shape (T, N), bool, optional
        Lengths of the sequences.
    mask : ndarray, broadcastable to the shape of targets, bool, optional
        Entries that count; with targets of floats whole steps, (T, N, 1).
    ignore_index : int, optional
        Target of entries that do not count, such as -100.

    Returns
    -------
    float
        From 0 to 1; NaN without valid entries.

    Raises
    ------
    ValueError
        If shapes do not fit, or a target is not a class.
    TypeError
        If dtypes do not fit.

    Examples
    --------
    >>> macro_f1(np.eye(2)[[0, 0, 1]], [0, 0, 0])
    0.4
    """
    return _mean_f1(_of_each_class(y, targets, lengths, mask, ignore_index))


def exact_sum(values: np.ndarray) -> Fraction | float:
    """Return the sum of floats without any rounding: it does not depend on their order.

    Parameters
    ----------
    values : ndarray, any shape, float64
        The floats.

    Returns
    -------
    Fraction or float
        A float, NaN or infinite, if a value is.

    Examples
    --------
    >>> exact_sum(np.array([1e100, 1.0, -1e100]))
    Fraction(1, 1)
    """
    values = values.reshape(-1)
    if not values.size or not np.isfinite(values).all():
        return float(values.sum()) if values.size else Fraction(0)
    share, exponent = np.frexp(values)
    digits, lowest = (share * 2.0**53).astype(np.int64), int(exponent.min())
    places = exponent - lowest
    # Sums of 27 bits each are exact in a float64 up to 2**26 values.
    high, low = (np.bincount(places, part) for part in (digits >> 27, digits & (2**27 - 1)))
    total = 0
    for place in np.flatnonzero((high != 0) | (low != 0)).tolist():
        total += ((int(high[place]) << 27) + int(low[place])) << place
    return Fraction(total) * Fraction(2) ** (lowest - 53)


def _errors(function, y, targets, lengths=None, mask=None) -> np.ndarray:
    """Sum a function of the errors exactly, and count them."""
    y, targets = _entries(y, targets, lengths, mask, False)
    with np.errstate(invalid="ignore", over="ignore"):
        errors = function(y.astype(np.float64) - targets)
    return np.array([exact_sum(errors), errors.size], object)


def _mean(counts) -> float:
    return float(counts[0] / counts[1]) if counts[1] else math.nan


def _root_mean(counts) -> float:
    return math.sqrt(_mean(counts))


_squares, _sizes = partial(_errors, np.square), partial(_errors, np.abs)


@_metric(_squares, _root_mean, False)
def root_mean_squared_error(
    y: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> float:
    """Root of the mean squared error (RMSE).

    Parameters
    ----------
    y : ndarray, shape (T, N, M) or any other, float32 or float64
        Outputs.
    targets : ndarray, shape and dtype of y
        Targets.
    lengths : ndarray, shape (N,), int, or mask, shape (T, N), bool, optional
        Lengths of the sequences; y must be time-major, (T, N, ...).
    mask : ndarray, broadcastable to the shape of y, bool, optional
        Entries that count: (T, N, 1) for whole steps.

    Returns
    -------
    float
        NaN without valid entries.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If dtypes do not fit.

    Examples
    --------
    >>> root_mean_squared_error(np.array([1.0, 2.0]), np.array([1.0, 4.0])) ** 2
    2.0000000000000004
    """
    return _root_mean(_squares(y, targets, lengths, mask))


@_metric(_sizes, _mean, False)
def mean_absolute_error(
    y: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> float:
    """Mean absolute error (MAE).

    Parameters
    ----------
    y : ndarray, shape (T, N, M) or any other, float32 or float64
        Outputs.
    targets : ndarray, shape and dtype of y
        Targets.
    lengths : ndarray, shape (N,), int, or mask, shape (T, N), bool, optional
        Lengths of the sequences; y must be time-major, (T, N, ...).
    mask : ndarray, broadcastable to the shape of y, bool, optional
        Entries that count: (T, N, 1) for whole steps.

    Returns
    -------
    float
        NaN without valid entries.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If dtypes do not fit.

    Examples
    --------
    >>> mean_absolute_error(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    1.0
    """
    return _mean(_sizes(y, targets, lengths, mask))


def _label_errors(y, targets, lengths=None, mask=None, blank=0, target_lengths=None) -> np.ndarray:
    """Add up edit distances, and the numbers of labels."""
    p = alignments.Problem.of(y, targets, lengths, mask, blank, target_lengths)
    found = ctc_greedy_decode(y, lengths, blank=p.blank)
    rows = [row[:size] for row, size in zip(p.labels, p.sizes, strict=True)]
    errors = [edit_distance(*pair) for pair in zip(found, rows, strict=True)]
    return np.array([np.array(errors, int)[p.shares > 0].sum(), p.sizes.sum()])


@_metric(_label_errors, _ratio, False)
def label_error_rate(
    y: Any,
    targets: Any,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    blank: int = 0,
    target_lengths: np.ndarray | None = None,
) -> float:
    """Label error rate of greedy CTC decoding: edit distances divided by the number of labels.

    With characters as labels it is the character error rate (CER).

    Parameters
    ----------
    y : ndarray, shape (T, N, V) or (T, V), float32 or float64, or list of arrays (T_i, V)
        Logits, as `losses.ctc` takes them.
    targets : ndarray, shape (N, S) or (S,), int, or list of N arrays (S_i,)
        Labels of each sequence, padded with negative numbers.
    lengths : ndarray, shape (N,), int, or mask, shape (T, N), bool, optional
        Lengths of the sequences.
    mask : ndarray, shape (N,), bool, optional
        Sequences that count.
    blank : int
        Class of the blank.
    target_lengths : ndarray, shape (N,), int, optional
        Number of labels of each target, where the padding is no negative number.

    Returns
    -------
    float
        At least 0; above 1 if there are more errors than labels, NaN without labels.

    Raises
    ------
    IndexError, ValueError
        As in `losses.ctc`, or if a logit is NaN.
    TypeError
        If dtypes do not fit.

    Examples
    --------
    >>> label_error_rate(np.eye(4)[[1, 1, 0, 2, 3]], [1, 3])  # 1 2 3 is one too many
    0.5
    """
    return _ratio(_label_errors(y, targets, lengths, mask, blank, target_lengths))


def _right_tags(y, targets, lengths=None, mask=None) -> np.ndarray:
    """Count the right and all tags."""
    if isinstance(y, (list, tuple)):
        y, lengths, listed = ragged.pad_sequences(y, lengths, "y")
        targets = ragged.pad_targets(targets, lengths) if listed else targets
    y, targets = checks.array(y, "y"), checks.integers(targets, "targets")
    checks.shape(targets, "targets", y.shape[:-1], "the shape of y without its last axis")
    valid = valid_entries(targets.shape, lengths, mask)
    if y.ndim == 2:
        y, targets, valid = (None if a is None else a[:, None] for a in (y, targets, valid))
    right = viterbi_decode(y, valid) == targets
    right = right if valid is None else right[valid]
    return np.array([np.count_nonzero(right), right.size])


@_metric(_right_tags, _ratio, True)
def tag_accuracy(
    y: Any,
    targets: Any,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> float:
    """Share of right tags among those that Viterbi's algorithm finds, for a model that ends in CRF.

    Parameters
    ----------
    y : ndarray, shape (T, N, (K + 1)^2) or (T, (K + 1)^2), or list of arrays (T_i, (K + 1)^2)
        Scores of pairs of tags, as a `CRF` layer returns them.
    targets : ndarray, shape (T, N) or (T,), int, or list of arrays (T_i,)
        The right tags.
    lengths : ndarray, shape (N,), int, or mask, shape (T, N), bool, optional
        Lengths of the sequences.
    mask : ndarray, broadcastable to the shape of targets, bool, optional
        Steps that count, as a mask in place of the lengths.

    Returns
    -------
    float
        From 0 to 1; NaN without valid steps.

    Raises
    ------
    ValueError
        If shapes do not fit, or a score is NaN.
    TypeError
        If dtypes do not fit.

    Examples
    --------
    >>> tag_accuracy(np.zeros((4, 9)), [0, 0, 1, 0])  # of equal scores the lowest tag wins
    0.75
    """
    return _ratio(_right_tags(y, targets, lengths, mask))


def at_last_step(metric: Metric) -> Metric:
    """Make a metric of the last valid step only, as `losses.at_last_step` makes a loss.

    Parameters
    ----------
    metric : callable
        A metric of this module, or one that is called like them.

    Returns
    -------
    callable
        `metric(y, targets, lengths=None)`, of y (T, N, M) and targets (N, ...).

    Examples
    --------
    >>> y = np.zeros((5, 2, 3))
    >>> y[4, 0, 2] = y[1, 1, 1] = 1
    >>> at_last_step(accuracy)(y, [2, 1], lengths=[5, 2])
    1.0
    """
    checks.function(metric, "metric", "metrics.accuracy")

    def ends(y: Any, targets: Any, lengths: Any) -> tuple:
        """Return y and targets of the sequences that have a last step."""
        if isinstance(y, (list, tuple)):
            y, lengths, listed = ragged.pad_sequences(y, lengths, "y")
            targets = ragged.pad_targets(targets, lengths) if listed else targets
        return last_steps(checks.as_array(y, "y"), targets, lengths)[:2]

    def last(y: np.ndarray, targets: np.ndarray, lengths: np.ndarray | None = None) -> Any:
        return metric(*ends(y, targets, lengths))

    named: Any = last
    named.__name__ = f"{name_of(metric)} at the last step"
    named.higher_is_better = direction_of(metric)
    counted = counting(metric)
    if counted:
        named.counts = lambda y, targets, lengths=None: counted[0](*ends(y, targets, lengths))
        named.value = counted[1]
    else:
        named.entries = lambda y, targets, lengths: count_entries(
            metric, *ends(y, targets, lengths)
        )
    return last


def counting(metric: Metric) -> tuple[Callable, Callable] | None:
    """Return what a metric adds up and the value of the sum; None for a metric that is a mean."""
    options, inner = _inner(metric)
    if not (hasattr(inner, "counts") and hasattr(inner, "value")):
        return None
    return partial(inner.counts, **options), inner.value


def direction_of(metric: Metric) -> bool | None:
    """Return whether higher values of a metric are better; None if it does not say."""
    return getattr(_inner(metric)[1], "higher_is_better", None)


def gives_number(metric: Metric) -> bool:
    """Return whether a metric gives a number, as far as is known."""
    return _inner(metric)[1] is not confusion_matrix


def name_of(metric: Metric) -> str:
    """Return the name of a metric."""
    return getattr(_inner(metric)[1], "__name__", "metric").strip("<>")


def _inner(metric: Any) -> tuple[dict[str, Any], Any]:
    """Return the options that `functools.partial` has given, and the function inside."""
    options: dict[str, Any] = {}
    while isinstance(metric, partial) and not hasattr(metric, "counts"):
        options, metric = {**metric.keywords, **options}, metric.func
    return options, metric


__getattr__ = module_getattr(__name__)
