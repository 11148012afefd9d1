"""Losses of classes: softmax cross-entropy and binary cross-entropy, from logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks, kernels
from ..checks.guided import explained
from .entries import find_entries, nonnegative, sample_weights, sum_in_order, takes_lists
from .regression import check_pair


@explained
@takes_lists
def softmax_cross_entropy(
    y: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    weight: np.ndarray | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    sample_weight: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Softmax cross-entropy in nats: -log softmax(y)[target].

    With class weights an entry weighs as much as its class, as in PyTorch: the value is divided by
    the sum of these weights.

    Parameters
    ----------
    y : ndarray, shape (T, N, V), (T, V) or (N, V), float32 or float64
        Logits.
    targets : ndarray, shape (T, N), (T,) or (N,), int
        Ids of the right classes, from 0 to V - 1.
    lengths : ndarray, shape (N,), int, or mask, shape (T, N), bool, optional
        Lengths of the sequences; y must be (T, N, V).
    mask : ndarray, broadcastable to the shape of targets, bool, optional
        Entries that count.
    weight : ndarray, shape (V,), optional
        Weights of the classes.
    label_smoothing : float
        Share of the target's probability that is spread over all V classes, from 0 to 1.
    ignore_index : int, optional
        Target of entries that do not count, such as -100.
    sample_weight : ndarray, shape of targets, or (N,) for y (T, N, V), optional
        Weights of the entries, or of the sequences.

    Returns
    -------
    value : float
        Mean over the valid entries.
    dy : ndarray, shape and dtype of y
        Gradient with respect to y.

    Raises
    ------
    IndexError
        If a valid target is not in 0..V-1.
    ValueError
        If shapes do not fit, or a weight is negative.
    TypeError
        If dtypes do not fit.

    Examples
    --------
    >>> value, dy = softmax_cross_entropy(np.zeros((1, 4)), [2])
    >>> round(value, 6), dy.tolist()
    (1.386294, [[0.25, 0.25, -0.75, 0.25]])
    """
    y, targets = checks.array(y, "y"), checks.integers(targets, "targets")
    if y.ndim < 1 or y.shape[-1] == 0:
        raise ValueError(f"y must be (..., V) with V at least 1, got {y.shape}")
    V = y.shape[-1]
    checks.shape(targets, "targets", y.shape[:-1], "the shape of y without V")
    smoothing = checks.number(label_smoothing, "label_smoothing", 0, most=1)
    weights = sample_weights(sample_weight, y.shape, targets.shape)
    if weight is not None:
        weight = nonnegative(weight, "weight")
        checks.shape(weight, "weight", (V,), "(V,)")
    known, of_class = _of_classes(targets, weight, ignore_index)
    found = find_entries(targets.shape, lengths, mask, weights)
    if known is not None:
        valid = known if found.valid is None else found.valid & known
        found = find_entries(targets.shape, None, valid, weights)
    if found.total == 0:
        return 0.0, np.zeros_like(y)
    ids = targets if found.valid is None else np.where(found.valid, targets, 0)
    if ids.min() < 0 or ids.max() >= V:
        place = tuple(int(k) for k in np.argwhere((ids < 0) | (ids >= V))[0])
        hint = f"; to leave it out pass ignore_index={ids[place]}" if ids[place] < 0 else ""
        raise IndexError(f"targets must be in 0..{V - 1}, got {ids[place]} at {place}{hint}")
    rows = np.zeros(0, bool) if found.valid is None else np.array(found.valid).reshape(-1)
    dy, losses = np.empty_like(y), np.empty(ids.size)
    ids = checks.array(ids.reshape(-1).astype(np.int64, copy=False), "targets", ("int64",))
    logits, d = y.reshape(-1, V), dy.reshape(-1, V)
    plain = found.weights is None and weight is None and smoothing == 0
    count = int(found.total) if plain else 1
    kernels.backend.softmax_cross_entropy(logits, ids, rows, count, d, losses)
    if plain:
        return sum_in_order(losses) / count, dy
    if found.weights is not None:
        shares = found.weights.reshape(-1)
    else:
        shares = np.ones(ids.size) if found.valid is None else rows.astype(np.float64)
    of_target = np.ones(ids.size) if of_class is None else of_class.reshape(-1)
    total = sum_in_order(shares * of_target)
    if total == 0:
        return 0.0, np.zeros_like(y)
    with np.errstate(invalid="ignore", over="ignore"):
        right = (1 - smoothing) * of_target
        if smoothing:
            classes = np.ones(V) if weight is None else weight
            log_sums = losses + logits[np.arange(ids.size), ids]
            spread = ((log_sums[:, None] - logits) * classes).sum(axis=1) * (smoothing / V)
            losses = right * losses + spread
            # The kernel has written p - [c = target]; the smoothed part is p sum(w) - w.
            right = right + smoothing / V * classes.sum()
            part = (shares / total * (smoothing / V)).astype(y.dtype)
            d *= (shares / total * right).astype(y.dtype)[:, None]
            d -= part[:, None] * classes.astype(y.dtype)
            d[np.arange(ids.size), ids] += part * y.dtype.type(classes.sum())
        else:
            losses = right * losses
            d *= (shares / total * right).astype(y.dtype)[:, None]
        losses = np.where(shares > 0, shares * losses, 0.0)
        return sum_in_order(losses) / total, dy


def _of_classes(targets, weight, ignore_index) -> tuple[Any, Any]:
    """Return which targets are not ignored, and the weights of their classes; None for all."""
    known = None
    if ignore_index is not None:
        known = targets != checks.integer(ignore_index, "ignore_index")
    if weight is None:
        return known, None
    weight = nonnegative(weight, "weight")
    return known, weight[np.clip(targets, 0, len(weight) - 1)]


softmax_cross_entropy.of_classes = _of_classes


@explained
@takes_lists
def binary_cross_entropy(
    y: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    pos_weight: np.ndarray | float | None = None,
    sample_weight: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Binary cross-entropy in nats: -t log(p) - (1 - t) log(1 - p), where p = sigmoid(y).

    It is computed from the logits y without overflow.

    Parameters
    ----------
    y : ndarray, shape (T, N, M) or any other, float32 or float64
        Logits.
    targets : ndarray, shape and dtype of y
        Targets, from 0 to 1.
    lengths : ndarray, shape (N,), int, or mask, shape (T, N), bool, optional
        Lengths of the sequences; y must be time-major, (T, N, ...).
    mask : ndarray, broadcastable to the shape of y, bool, optional
        Entries that count: (T, N, 1) for whole steps.
    pos_weight : float or ndarray, shape (M,), optional
        Factor of the first term, -t log(p), for one class or for each; the divisor stays.
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
    >>> value, dy = binary_cross_entropy(np.array([0.0, 1000.0]), np.array([1.0, 1.0]))
    >>> round(value, 6), dy.tolist()
    (0.346574, [-0.25, 0.0])
    """
    y, targets, found = check_pair(y, targets, lengths, mask, sample_weight)
    if pos_weight is not None:
        pos_weight = nonnegative(pos_weight, "pos_weight").astype(y.dtype)
        if pos_weight.shape not in ((), y.shape[-1:]):
            raise ValueError(
                f"pos_weight must be a number or (M,) = {y.shape[-1:]}, got {pos_weight.shape}"
            )
    if found.total == 0:
        return 0.0, np.zeros_like(y)
    with np.errstate(invalid="ignore", over="ignore"):
        small = np.exp(-np.abs(y))
        dy = np.where(y < 0, small, y.dtype.type(1))  # = sigmoid(y) (1 + small)
        dy /= 1 + small
        if pos_weight is None:
            losses = np.maximum(y, 0) - y * targets
            losses += np.log1p(small)
            dy -= targets
        else:
            factor = 1 + (pos_weight - 1) * targets
            losses = (1 - targets) * y + factor * (np.log1p(small) + np.maximum(-y, 0))
            dy *= factor
            dy -= pos_weight * targets  # = factor - (1 - targets)
        return found.mean(found.pick(losses)), found.scale(dy)
