"""Losses of numbers: squared and absolute error, Huber's, and that of quantiles."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..checks.guided import explained
from .entries import Entries, find_entries, sample_weights, takes_lists


@explained
@takes_lists
def mean_squared_error(
    y: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    sample_weight: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Mean squared error: (y - target)^2.

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
    sample_weight : ndarray, shape of y or (T, N), or (N,) for y (T, N, M), optional
        Weights of the entries, of the steps or of the sequences.

    Returns
    -------
    value : float
        Mean over the valid entries and their features.
    dy : ndarray, shape and dtype of y
        Gradient with respect to y.

    Raises
    ------
    ValueError
        If shapes do not fit, or a weight is negative.
    TypeError
        If dtypes do not fit.

    Examples
    --------
    >>> value, dy = mean_squared_error(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    >>> value, dy.tolist()
    (2.0, [0.0, -2.0])
    """
    y, targets, found = check_pair(y, targets, lengths, mask, sample_weight)
    if found.total == 0:
        return 0.0, np.zeros_like(y)
    with np.errstate(invalid="ignore", over="ignore"):
        dy = y - targets
        value = found.mean(np.square(found.pick(dy), dtype=np.float64))
        return value, found.scale(dy, 2)


@explained
@takes_lists
def mean_absolute_error(
    y: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    sample_weight: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Mean absolute error: |y - target|. The derivative where both are equal is 0.

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
    sample_weight : ndarray, shape of y or (T, N), or (N,) for y (T, N, M), optional
        Weights of the entries, of the steps or of the sequences.

    Returns
    -------
    value : float
        Mean over the valid entries and their features.
    dy : ndarray, shape and dtype of y
        Gradient with respect to y.

    Raises
    ------
    ValueError
        If shapes do not fit, or a weight is negative.
    TypeError
        If dtypes do not fit.

    Examples
    --------
    >>> value, dy = mean_absolute_error(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    >>> value, dy.tolist()
    (1.0, [0.0, -0.5])
    """
    y, targets, found = check_pair(y, targets, lengths, mask, sample_weight)
    if found.total == 0:
        return 0.0, np.zeros_like(y)
    with np.errstate(invalid="ignore", over="ignore"):
        error = y - targets
        return found.mean(np.abs(found.pick(error))), found.scale(np.sign(error))


@explained
@takes_lists
def huber(
    y: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    delta: float = 1.0,
    sample_weight: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Huber's loss of e = y - target: e^2 / 2 up to |e| = delta, then delta (|e| - delta / 2).

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
    delta : float
        Error at which the loss becomes linear; above 0.
    sample_weight : ndarray, shape of y or (T, N), or (N,) for y (T, N, M), optional
        Weights of the entries, of the steps or of the sequences.

    Returns
    -------
    value : float
        Mean over the valid entries and their features.
    dy : ndarray, shape and dtype of y
        Gradient with respect to y.

    Raises
    ------
    ValueError
        If shapes do not fit, or a weight is negative or `delta` not above 0.
    TypeError
        If dtypes do not fit.

    References
    ----------
    P. J. Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35
    (1964).

    Examples
    --------
    >>> value, dy = huber(np.array([1.0, 2.0]), np.array([1.5, 5.0]))
    >>> value, dy.tolist()
    (1.3125, [-0.25, -0.5])
    """
    delta = checks.number(delta, "delta", above=0)
    y, targets, found = check_pair(y, targets, lengths, mask, sample_weight)
    if found.total == 0:
        return 0.0, np.zeros_like(y)
    with np.errstate(invalid="ignore", over="ignore"):
        error = y - targets
        slope = np.clip(error, -delta, delta)
        losses = slope * (error - slope / 2)
        return found.mean(found.pick(losses)), found.scale(slope)


@explained
@takes_lists
def quantile(
    y: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    q: float | np.ndarray = 0.5,
    sample_weight: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Quantile loss (pinball loss): q e for e = target - y above 0, else (q - 1) e.

    The y with the lowest loss is the q-quantile of the targets. Several quantiles are the features
    of y, one each, of the same target. The derivative where e = 0 is 0.

    Parameters
    ----------
    y : ndarray, shape (T, N, M) or any other, float32 or float64
        Outputs.
    targets : ndarray, shape of y, or (..., 1) with several quantiles, dtype of y
        Targets.
    lengths : ndarray, shape (N,), int, or mask, shape (T, N), bool, optional
        Lengths of the sequences; y must be time-major, (T, N, ...).
    mask : ndarray, broadcastable to the shape of y, bool, optional
        Entries that count: (T, N, 1) for whole steps.
    q : float or ndarray, shape (M,)
        The quantile, or one for each feature of y; above 0 and below 1.
    sample_weight : ndarray, shape of y or (T, N), or (N,) for y (T, N, M), optional
        Weights of the entries, of the steps or of the sequences.

    Returns
    -------
    value : float
        Mean over the valid entries and their features.
    dy : ndarray, shape and dtype of y
        Gradient with respect to y.

    Raises
    ------
    ValueError
        If shapes do not fit, a weight is negative, or a quantile is not between 0 and 1.
    TypeError
        If dtypes do not fit.

    References
    ----------
    R. Koenker and G. Bassett, "Regression quantiles", Econometrica 46 (1978).

    Examples
    --------
    >>> y, targets = np.array([[1.0, 2.0, 3.0]]), np.array([[4.0]])
    >>> value, dy = quantile(y, targets, q=[0.25, 0.5, 0.75])
    >>> round(value, 6), dy.round(6).tolist()
    (0.833333, [[-0.083333, -0.166667, -0.25]])
    """
    levels = checks.as_array(q, "q")
    if levels.dtype.kind not in "fiu" or levels.ndim > 1 or not levels.size:
        raise TypeError(f"q must be a number or (M,) numbers, got {checks.shown(q)}")
    for level in levels.reshape(-1):
        checks.number(level, "q", above=0, below=1)
    y = checks.array(y, "y")
    if levels.ndim:
        checks.shape(levels, "q", y.shape[-1:], "(M,)")
        targets = checks.array(targets, "targets")
        if targets.ndim and targets.shape == (*y.shape[:-1], 1):
            targets = np.broadcast_to(targets, y.shape)
    y, targets, found = check_pair(y, targets, lengths, mask, sample_weight)
    if found.total == 0:
        return 0.0, np.zeros_like(y)
    level = levels.astype(y.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        error = targets - y
        losses = np.maximum(level * error, (level - 1) * error)
        dy = np.where(error > 0, -level, np.where(error < 0, 1 - level, error))
        return found.mean(found.pick(losses)), found.scale(dy)


def check_pair(
    y: Any, targets: Any, lengths: Any, mask: Any, sample_weight: Any
) -> tuple[np.ndarray, np.ndarray, Entries]:
    """Check y and targets of one shape and dtype; return them with the valid entries."""
    y, targets = checks.array(y, "y"), checks.array(targets, "targets")
    checks.same_dtype(targets, "targets", y.dtype, "y")
    checks.shape(targets, "targets", y.shape, "the shape of y")
    weights = sample_weights(sample_weight, y.shape, y.shape)
    return y, targets, find_entries(y.shape, lengths, mask, weights)
