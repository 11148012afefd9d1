"""The loss of a linear-chain conditional random field, for a model that ends in a `CRF` layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import checks
from ..checks.guided import explained
from ..kernels import threads
from . import lattice
from .alignments import EXP
from .entries import sequence_entries, sum_in_order, takes_lists, valid_entries, valid_times


def scores_of_pairs(y: Any) -> np.ndarray:
    """Return y of a `CRF` layer, (T, N, (K + 1)^2) or (T, (K + 1)^2), as (T, N, K + 1, K + 1)."""
    y = checks.array(y, "y")
    side = math.isqrt(y.shape[-1]) if y.ndim else 0
    if y.ndim not in (2, 3) or side < 2 or side**2 != y.shape[-1]:
        raise ValueError(
            "y must be (T, N, (K + 1)^2) or (T, (K + 1)^2) for K tags, as a CRF layer returns it,"
            f" got {y.shape}"
        )
    batched = y[:, None] if y.ndim == 2 else y
    pairs = batched.reshape(*batched.shape[:2], side, side)
    return np.require(pairs, requirements=["C", "W"])


@explained
@takes_lists
def crf(
    y: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    sample_weight: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Negative log-likelihood in nats of the tags of a linear-chain CRF: log Z - score(tags).

    y comes from a `CRF` layer with K tags. log Z, the log of the sum of exp(score) over all K^T
    sequences of tags, is computed by the forward algorithm in log space and in float64. A sequence
    is an entry: the value is that of `reduction="mean"` in pytorch-crf.

    Parameters
    ----------
    y : ndarray, shape (T, N, (K + 1)^2) or (T, (K + 1)^2), float32 or float64
        Scores of pairs of tags, see `CRF`.
    targets : ndarray, shape (T, N) or (T,), int
        The right tags, from 0 to K - 1.
    lengths : ndarray, shape (N,), int, or mask, shape (T, N), bool, optional
        Lengths of the sequences; y must have N. A step that a mask leaves out is skipped: the tag
        after it follows the tag before it.
    mask : ndarray, broadcastable to the shape of targets, bool, optional
        Steps that count, as a mask in place of the lengths.
    sample_weight : ndarray, shape (N,), optional
        Weights of the sequences.

    Returns
    -------
    value : float
        Mean over the sequences that have steps.
    dy : ndarray, shape and dtype of y
        Gradient with respect to y.

    Raises
    ------
    IndexError
        If a valid target is not in 0..K-1.
    ValueError
        If shapes do not fit, or a weight is negative.
    TypeError
        If dtypes do not fit.

    References
    ----------
    J. Lafferty, A. McCallum and F. Pereira, "Conditional random fields", ICML (2001).

    Examples
    --------
    Without any preference all 2^3 sequences of 2 tags are as probable.

    >>> value, dy = crf(np.zeros((3, 9)), [0, 1, 1])
    >>> round(float(np.exp(-value)), 6)
    0.125
    """
    pairs, targets = scores_of_pairs(y), checks.integers(targets, "targets")
    y = checks.array(y, "y")
    checks.shape(targets, "targets", y.shape[:-1], "the shape of y without its last axis")
    if y.ndim == 2 and lengths is not None:
        raise ValueError(f"lengths need a batch: y must be (T, N, (K + 1)^2), got {y.shape}")
    valid = valid_entries(targets.shape, lengths, mask)
    T, N, K = *pairs.shape[:2], pairs.shape[2] - 1
    tags = targets.reshape(T, N)
    times, steps = valid_times(None if valid is None else valid.reshape(T, N), T, N)
    found, shares = sequence_entries(steps, None, sample_weight)
    dy = np.zeros_like(pairs)
    if found.total == 0:
        return 0.0, dy.reshape(y.shape)
    counts = np.broadcast_to(shares > 0, (T, N))
    counts = counts if valid is None else counts & valid.reshape(T, N)
    for t, n in np.argwhere(counts & ((tags < 0) | (tags >= K)))[:1].tolist():
        place = (t, n) if y.ndim == 3 else (t,)
        raise IndexError(
            f"targets must be in 0..{K - 1}, got {tags[t, n]} at {place}; to leave a step out pass"
            " mask"
        )
    tags, losses = np.where(counts, tags, 0).astype(np.int64), np.zeros(N)

    def work(first: int, last: int) -> None:
        with np.errstate(all="ignore"):
            scales = shares / found.total
            lattice.crf_loss(first, last, pairs, times, steps, tags, scales, losses, dy)

    exps = 4.0 * steps.sum() * K * K
    threads.split(EXP * exps, N, work, lambda: steps + 1)
    with np.errstate(invalid="ignore"):
        return sum_in_order(shares * losses) / found.total, dy.reshape(y.shape)


def _entries(y, targets, lengths, mask=None, sample_weight=None) -> float:
    """Count the sequences, or their weights, that the loss is a mean over."""
    shape = np.shape(y)[:-1]
    valid = valid_entries(shape, lengths, mask)
    T, N = shape if len(shape) == 2 else (*shape, 1)
    steps = valid_times(None if valid is None else valid.reshape(T, N), T, N)[1]
    return sequence_entries(steps, None, sample_weight)[0].total


crf.entries = _entries
