"""Connectionist temporal classification: the loss of labels that no one has aligned with steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..checks.guided import explained
from ..engine import ragged
from ..kernels import threads
from . import lattice
from .entries import sequence_entries, sum_in_order, valid_times

# Operations of a matrix product that take as long as one exp or log: the unit of `threads.split`.
EXP = 500


@explained
def ctc(
    y: Any,
    targets: Any,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    blank: int = 0,
    target_lengths: np.ndarray | None = None,
    zero_infinity: bool = False,
    sample_weight: np.ndarray | None = None,
) -> tuple[float, Any]:
    """CTC loss in nats: -log of the sum of p over all alignments of the target with the steps.

    An alignment has one label or the blank at each step. It says the target once repeated labels
    are merged and then blanks removed. The sums are in log space and in float64. A target needs a
    step for each label and one for a blank between two equal labels; with fewer steps the loss is
    infinite and the gradient NaN, as in PyTorch.

    PyTorch's `reduction="sum"` divided by N has this value; its "mean" also divides each loss by
    the number of labels.

    Parameters
    ----------
    y : ndarray, shape (T, N, V) or (T, V), float32 or float64, or list of arrays (T_i, V)
        Logits of the labels and of the blank.
    targets : ndarray, shape (N, S) or (S,), int, or list of N arrays (S_i,)
        Labels of each sequence, one after the other, padded with negative numbers such as -1. A
        target may be empty.
    lengths : ndarray, shape (N,), int, or mask, shape (T, N), bool, optional
        Lengths of the sequences; y must be (T, N, V).
    mask : ndarray, shape (N,), bool, optional
        Sequences that count.
    blank : int
        Class of the blank.
    target_lengths : ndarray, shape (N,), int, optional
        Number of labels of each target, where the padding is no negative number.
    zero_infinity : bool
        Whether an infinite loss, and its gradient, count as zero.
    sample_weight : ndarray, shape (N,), optional
        Weights of the sequences.

    Returns
    -------
    value : float
        Mean over the sequences that have steps.
    dy : ndarray, shape and dtype of y, or list of them
        Gradient with respect to y.

    Raises
    ------
    IndexError
        If a target is not in 0..V-1.
    ValueError
        If shapes do not fit, a target has a blank, or a weight is negative.
    TypeError
        If dtypes do not fit.

    References
    ----------
    A. Graves, S. Fernandez, F. Gomez and J. Schmidhuber, "Connectionist temporal classification",
    ICML (2006).

    Examples
    --------
    Three alignments of 4 say the label 1 in two steps: 1 1, 1 blank and blank 1.

    >>> value, dy = ctc(np.zeros((2, 2)), [1])
    >>> round(float(np.exp(-value)), 6)
    0.75
    >>> ctc(np.zeros((2, 2)), [1, 1])[0]
    inf
    """
    zero_infinity, listed = checks.flag(zero_infinity, "zero_infinity"), ragged.is_list(y)
    p = Problem.of(y, targets, lengths, mask, blank, target_lengths, sample_weight)
    dy = np.zeros_like(p.logits, order="C")
    if p.total == 0:
        return 0.0, _like(dy, p, listed)
    logits, losses = np.require(p.logits, requirements=["C", "W"]), np.zeros(len(p.steps))

    def work(first: int, last: int) -> None:
        with np.errstate(all="ignore"):
            lattice.ctc_loss(
                first, last, logits, p.times, p.steps, p.labels, p.sizes, p.blank, zero_infinity,
                p.shares / p.total, losses, dy,
            )  # fmt: skip

    exps = float(p.steps.sum()) * (2 * logits.shape[2] + 16 * p.labels.shape[1])
    threads.split(EXP * exps, len(losses), work, lambda: p.steps + 1)
    with np.errstate(invalid="ignore"):
        value = sum_in_order(p.shares * losses) / p.total
    return value, _like(dy, p, listed)


class Problem(NamedTuple):
    """The checked arguments of a loss or a metric of unaligned labels.

    Attributes
    ----------
    logits : ndarray, shape (T, N, V), float32 or float64
    times : ndarray, shape (T, N), int64
        Times of the valid steps of each sequence.
    steps : ndarray, shape (N,), int64
        Their number.
    labels : ndarray, shape (N, S), int64
        Targets; 0 at the padding.
    sizes : ndarray, shape (N,), int64
        Number of labels of each one; 0 for sequences that do not count.
    blank : int
    shares : ndarray, shape (N,), float64
        Weights of the sequences; 0 for those that do not count.
    total : int or float
        Their sum.
    alone : bool
        Whether y is a single sequence, (T, V).
    """

    logits: np.ndarray
    times: np.ndarray
    steps: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray
    blank: int
    shares: np.ndarray
    total: float
    alone: bool

    @classmethod
    def of(
        cls, y, targets, lengths=None, mask=None, blank=0, target_lengths=None, sample_weight=None
    ) -> Problem:
        """Check the arguments of `ctc`."""
        logits, lengths, alone = checked_logits(y, lengths)
        T, N, V = logits.shape
        blank = checks.integer(blank, "blank", 0, V - 1)
        times, steps = valid_times(lengths, T, N)
        found, shares = sequence_entries(steps, mask, sample_weight)
        labels, sizes = _labels(targets, target_lengths, alone, shares > 0, V, blank)
        return cls(logits, times, steps, labels, sizes, blank, shares, found.total, alone)


def checked_logits(y: Any, lengths: Any) -> tuple[np.ndarray, Any, bool]:
    """Return y as (T, N, V), the lengths, and whether y is a single sequence, (T, V)."""
    y, lengths, _ = ragged.pad_sequences(y, lengths, "y")
    y = checks.array(y, "y")
    if y.ndim not in (2, 3) or y.shape[-1] == 0:
        raise ValueError(f"y must be (T, N, V) or (T, V) with V at least 1, got {y.shape}")
    if y.ndim == 2 and lengths is not None:
        raise ValueError(f"lengths need a batch: y must be (T, N, V), got {y.shape}")
    return (y[:, None] if y.ndim == 2 else y), lengths, y.ndim == 2


def _like(dy, p, listed) -> Any:
    """Return the gradient in the form of y."""
    if listed:
        return ragged.unpad_sequences(dy, p.steps)
    return dy[:, 0] if p.alone else dy


def _labels(targets, target_lengths, alone, counts, V, blank) -> tuple[np.ndarray, np.ndarray]:
    """Return the targets (N, S) as int64, and the number of labels of each sequence, (N,).

    Targets of sequences that do not count are empty.
    """
    N = len(counts)
    if not alone and isinstance(targets, (list, tuple)):
        targets = ragged.pad_labels(targets, "targets")
    targets = checks.integers(targets, "targets")
    targets = targets[None] if alone and targets.ndim == 1 else targets
    if targets.ndim != 2 or len(targets) != N:
        words = "(S,), as y is (T, V)" if alone else f"(N, S) with N = {N}, or a list of {N} arrays"
        raise ValueError(f"targets must be {words}, got {targets.shape[alone:]}")
    S = targets.shape[1]
    if target_lengths is None:
        sizes = np.where((targets < 0).any(axis=1), (targets < 0).argmax(axis=1), S) if S else 0
        sizes = np.broadcast_to(sizes, N).astype(np.int64)
    else:
        sizes = checks.integers(target_lengths, "target_lengths").astype(np.int64)
        sizes = sizes[None] if alone and sizes.ndim == 0 else sizes
        checks.shape(sizes, "target_lengths", (N,), "(N,)")
        for n in np.flatnonzero((sizes < 0) | (sizes > S))[:1]:
            raise ValueError(
                f"target_lengths must be between 0 and S = {S}, got {sizes[n]} for sequence {n}"
            )
    sizes = np.where(counts, sizes, 0)
    inside = np.arange(S) < sizes[:, None]
    # After the padding begins no label may follow.
    late = (targets >= 0) & ~inside & counts[:, None] & (target_lengths is None)
    wrong = inside & ((targets < 0) | (targets >= V) | (targets == blank)) | late
    for n, s in np.argwhere(wrong)[:1].tolist():
        label, place = targets[n, s], f"at {(s,) if alone else (n, s)}"
        if late[n, s]:
            raise ValueError(f"targets must have padding at the end alone, got {label} {place}")
        if label == blank:
            raise ValueError(
                f"targets must not have the blank, {blank}, got it {place}; pad targets with -1, or"
                " pass target_lengths"
            )
        raise IndexError(f"targets must be in 0..{V - 1}, got {label} {place}")
    return np.where(inside, targets, 0).astype(np.int64), sizes


def _entries(y, targets, lengths, mask=None, sample_weight=None, **_) -> float:
    """Count the sequences, or their weights, that the loss is a mean over."""
    logits, lengths, _ = checked_logits(y, lengths)
    steps = valid_times(lengths, *logits.shape[:2])[1]
    return sequence_entries(steps, mask, sample_weight)[0].total


def _causes(y, targets, lengths, zero_infinity=False, **options) -> Iterator[str]:
    """Yield which target has too few steps, so that the loss is infinite."""
    p = Problem.of(y, targets, lengths, **options)
    inside = np.arange(1, p.labels.shape[1]) < p.sizes[:, None]
    repeats = inside & (p.labels[:, 1:] == p.labels[:, :-1])
    needed = p.sizes + repeats.sum(axis=1)
    for n in np.flatnonzero(needed > p.steps)[:1]:
        yield (
            f"target {n} needs {needed[n]} steps, one for each label and one between equal labels,"
            f" and its sequence has {p.steps[n]}: pass partial(ctc, zero_infinity=True) to leave"
            " such sequences out"
        )


ctc.entries, ctc.causes = _entries, _causes
