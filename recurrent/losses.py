"""Losses: the value and the gradient with respect to y in one pass, as a mean over *valid* entries.

Every loss is called `loss(y, targets, lengths=None, mask=None)` and returns `(value, dy)`: value a Python float, dy like y,
zero where an entry is not valid. What y and targets hold there does not matter, NaN included. Without any valid entry
the value is 0.0. NaN elsewhere propagates. Sums over entries are taken in float64 in the order of rows.

Valid are the first `lengths[n]` steps of sequence n, `lengths` (N,) for time-major arrays (T, N, ...) or a mask (T, N) as a
model takes it, and the entries where `mask`, bool, is true; both if both are given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import checks, kernels

Loss = Callable[..., tuple[float, np.ndarray]]


def softmax_cross_entropy(
    y: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """-log softmax(y)[target] in nats.

    y (T, N, V), (T, V) or (N, V): logits. targets: integer ids of y's shape without V. `mask`: broadcastable to targets.
    Raises IndexError for a valid target outside 0..V-1, ValueError for shapes, TypeError for dtypes.

    >>> value, dy = softmax_cross_entropy(np.zeros((1, 4)), [2])
    >>> round(value, 6), dy.tolist()
    (1.386294, [[0.25, 0.25, -0.75, 0.25]])
    """
    y, targets = checks.array(y, "y"), np.asarray(targets)
    if y.ndim < 1 or y.shape[-1] == 0:
        raise ValueError(f"y must be (..., V) with V at least 1, got {y.shape}")
    if not np.issubdtype(targets.dtype, np.integer):
        raise TypeError(f"targets must be integers, got {targets.dtype.name}")
    checks.shape(targets, "targets", y.shape[:-1], "the shape of y without V")
    valid = _valid(y.shape[:-1], lengths, mask)
    count, V = _count(targets, valid), y.shape[-1]
    if count == 0:
        return 0.0, np.zeros_like(y)
    ids = targets if valid is None else np.where(valid, targets, 0)
    if ids.min() < 0 or ids.max() >= V:
        place = tuple(int(k) for k in np.argwhere((ids < 0) | (ids >= V))[0])
        raise IndexError(f"targets must be in 0..{V - 1}, got {ids[place]} at {place}")
    rows = np.zeros(0, bool) if valid is None else np.array(valid).reshape(-1)
    dy, losses = np.empty_like(y), np.empty(ids.size)
    ids = checks.array(ids.reshape(-1).astype(np.int64, copy=False), "targets", ("int64",))
    kernels.backend.softmax_cross_entropy(
        y.reshape(-1, V), ids, rows, count, dy.reshape(-1, V), losses
    )
    return _in_order(losses) / count, dy


def mean_squared_error(
    y: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """(y - target)^2, a mean over valid entries and their features.

    y and targets of one shape and dtype, any shape; time-major (T, N, ...) with `lengths`. `mask`: broadcastable to
    targets, so (T, N, 1) for whole steps. Raises ValueError for shapes, TypeError for dtypes.

    >>> value, dy = mean_squared_error(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    >>> value, dy.tolist()
    (2.0, [0.0, -2.0])
    """
    y, targets, valid, count = _regression(y, targets, lengths, mask)
    if count == 0:
        return 0.0, np.zeros_like(y)
    with np.errstate(invalid="ignore", over="ignore"):
        dy = y - targets
        if valid is not None:
            dy[~valid] = 0
        value = float(np.square(dy if valid is None else dy[valid], dtype=np.float64).sum()) / count
        dy *= 2 / count
    return value, dy


def binary_cross_entropy(
    y: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """-t log(p) - (1 - t) log(1 - p) in nats, p = sigmoid(y), computed from the logits y without overflow.

    y and targets of one shape and dtype, targets in [0, 1]; `lengths` and `mask` as for `mean_squared_error`.
    Raises ValueError for shapes, TypeError for dtypes.

    >>> value, dy = binary_cross_entropy(np.array([0.0, 1000.0]), np.array([1.0, 1.0]))
    >>> round(value, 6), dy.tolist()
    (0.346574, [-0.25, 0.0])
    """
    y, targets, valid, count = _regression(y, targets, lengths, mask)
    if count == 0:
        return 0.0, np.zeros_like(y)
    with np.errstate(invalid="ignore", over="ignore"):
        small = np.exp(-np.abs(y))
        losses = np.maximum(y, 0) - y * targets
        losses += np.log1p(small)
        dy = np.where(y < 0, small, y.dtype.type(1))  # sigmoid(y) (1 + small)
        dy /= 1 + small
        dy -= targets
        dy /= count
    if valid is not None:
        dy[~valid] = 0
        losses = losses[valid]
    return float(losses.sum(dtype=np.float64)) / count, dy


def at_last_step(loss: Loss) -> Loss:
    """`loss` of the last valid step only: for models that read a sequence and answer once (many to one).

    The new loss takes y (T, N, M) with targets (N, ...), or y (T, M) with the target of one sequence. Where `lengths` are
    given, step lengths[n] - 1 counts for sequence n, and a sequence of length 0 is not valid.

    >>> value, dy = at_last_step(mean_squared_error)(np.ones((3, 1, 1)), np.zeros((1, 1)))
    >>> value, dy.ravel().tolist()
    (1.0, [0.0, 0.0, 2.0])
    """

    def last(
        y: np.ndarray, targets: np.ndarray, lengths: np.ndarray | None = None
    ) -> tuple[float, np.ndarray]:
        y = np.asarray(y)
        if y.ndim not in (2, 3) or len(y) == 0:
            raise ValueError(f"y must be (T, N, M) or (T, M) with at least one step, got {y.shape}")
        dy = np.zeros_like(y)
        if lengths is None:
            value, dy[-1] = loss(y[-1], targets)
            return value, dy
        if y.ndim != 3:
            raise ValueError(f"lengths need a batch: y must be (T, N, M), got {y.shape}")
        lengths = checks.sequence_lengths(lengths, *y.shape[:2])
        some = np.flatnonzero(lengths)
        if not some.size:
            return 0.0, dy
        end = lengths[some] - 1
        value, dy[end, some] = loss(y[end, some], np.asarray(targets)[some])
        return value, dy

    last.__name__ = f"{getattr(loss, '__name__', 'loss')} at the last step"
    return last


def summed_over_steps(loss: Loss) -> Loss:
    """`loss`, its gradient T times as large: that of the sum over the steps of a window, not of their mean.

    What char-rnn and min-char-rnn hand to clipping and optimiser. The value stays the mean, so that losses of windows
    of any length, and of other models, can be compared.

    >>> value, dy = summed_over_steps(mean_squared_error)(np.ones((4, 1, 1)), np.zeros((4, 1, 1)))
    >>> value, dy.ravel().tolist()
    (1.0, [2.0, 2.0, 2.0, 2.0])
    """

    def summed(
        y: np.ndarray, targets: np.ndarray, lengths: np.ndarray | None = None
    ) -> tuple[float, np.ndarray]:
        value, dy = loss(y, targets, lengths=lengths)
        dy *= len(y)
        return value, dy

    summed.__name__ = f"{getattr(loss, '__name__', 'loss')} summed over steps"
    return summed


def _regression(y: Any, targets: Any, lengths: Any, mask: Any):
    y, targets = checks.array(y, "y"), checks.array(targets, "targets")
    checks.same_dtype(targets, "targets", y.dtype, "y")
    checks.shape(targets, "targets", y.shape, "the shape of y")
    valid = _valid(y.shape, lengths, mask)
    return y, targets, valid, _count(y, valid)


def _in_order(losses: np.ndarray) -> float:
    """The sum of losses one after the other: zeros between them change no bit, as they do where NumPy sums pairwise."""
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.cumsum(losses)[-1])


def _count(entries: np.ndarray, valid: np.ndarray | None) -> int:
    return entries.size if valid is None else int(np.count_nonzero(valid))


def _valid(shape: tuple[int, ...], lengths: Any, mask: Any) -> np.ndarray | None:
    """Which entries count, bool of `shape`; None for all of them."""
    valid = None
    if lengths is not None:
        if len(shape) < 2:
            raise ValueError(f"lengths need time-major targets (T, N, ...), got {shape}")
        inside = checks.inside(checks.valid_steps(lengths, *shape[:2]), shape[0])
        valid = np.broadcast_to(inside.reshape(*shape[:2], *[1] * (len(shape) - 2)), shape)
    if mask is not None:
        mask = np.asarray(mask)
        if mask.dtype != bool:
            raise TypeError(f"mask must be bool, got {mask.dtype.name}")
        try:
            mask = np.broadcast_to(mask, shape)
        except ValueError:
            raise ValueError(
                f"mask must be broadcastable to the targets' shape {shape}, got {mask.shape}"
            ) from None
        valid = mask if valid is None else valid & mask
    return valid
