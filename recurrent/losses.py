"""Losses: value and gradient with respect to y in one pass, as a mean over *valid* entries.

Every loss is called `loss(y, targets, lengths=None, mask=None)` and returns `(value, dy)`: value a
Python float, dy like y. Valid are the first `lengths[n]` steps of sequence n, and the entries where
`mask` is true; both if both are given. At other entries dy is zero, and y and targets have no
effect, even if they are NaN; at valid entries NaN propagates. Without any valid entry the value is
0.0. Entries are summed in float64, in row order.

Where y is a list of arrays (T_i, ...), as models return it for a list of sequences, targets are a
list too, and so is dy; the arrays have their own lengths.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import numpy as np

from . import checks, kernels
from .engine import ragged

Loss = Callable[..., tuple[float, np.ndarray]]


def _takes_lists(loss: Callable) -> Any:
    """Return a loss that also takes y and targets as lists of arrays (T_i, ...)."""

    @wraps(loss)
    def padded(y, targets, lengths=None, *mask, **options):
        if not isinstance(y, (list, tuple)):
            if np.ndim(y) > 2 and ragged.is_list(targets):
                raise TypeError(
                    "targets must be an array, because y is one, got a list of arrays;"
                    " pad both or neither"
                )
            return loss(y, targets, lengths, *mask, **options)
        y, own_lengths, listed = ragged.pad_sequences(y, lengths, "y")
        if listed:
            targets = ragged.pad_targets(targets, own_lengths)
        value, dy = loss(y, targets, own_lengths, *mask, **options)
        return value, ragged.unpad_sequences(dy, own_lengths) if listed else dy

    return padded


@_takes_lists
def softmax_cross_entropy(
    y: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Softmax cross-entropy in nats: -log softmax(y)[target].

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
        If shapes do not fit.
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


@_takes_lists
def mean_squared_error(
    y: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
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

    Returns
    -------
    value : float
        Mean over the valid entries and their features.
    dy : ndarray, shape and dtype of y
        Gradient with respect to y.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If dtypes do not fit.

    Examples
    --------
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


@_takes_lists
def binary_cross_entropy(
    y: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
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

    Returns
    -------
    value : float
        Mean over the valid entries and their features.
    dy : ndarray, shape and dtype of y
        Gradient with respect to y.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If dtypes do not fit.

    Examples
    --------
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
        dy = np.where(y < 0, small, y.dtype.type(1))  # = sigmoid(y) (1 + small)
        dy /= 1 + small
        dy -= targets
        dy /= count
    if valid is not None:
        dy[~valid] = 0
        losses = losses[valid]
    return float(losses.sum(dtype=np.float64)) / count, dy


def at_last_step(loss: Loss) -> Loss:
    """Make a loss of the last valid step only, for many-to-one models.

    The new loss takes y (T, N, M) with targets (N, ...), or y (T, M) with the target of a single
    sequence. With `lengths` the last step of sequence n is lengths[n] - 1, or the last that a
    mask (T, N) marks; a sequence without any is not valid.

    Parameters
    ----------
    loss : callable
        A loss of this module, or one that is called like them.

    Returns
    -------
    callable
        `loss(y, targets, lengths=None)`.

    Examples
    --------
    >>> value, dy = at_last_step(mean_squared_error)(np.ones((3, 1, 1)), np.zeros((1, 1)))
    >>> value, dy.ravel().tolist()
    (1.0, [0.0, 0.0, 2.0])
    """

    checks.function(loss, "loss", "losses.mean_squared_error")

    @_takes_lists
    def last(
        y: np.ndarray, targets: np.ndarray, lengths: np.ndarray | None = None
    ) -> tuple[float, np.ndarray]:
        y = checks.as_array(y, "y")
        if y.ndim not in (2, 3) or len(y) == 0:
            raise ValueError(f"y must be (T, N, M) or (T, M) with at least one step, got {y.shape}")
        dy = np.zeros_like(y)
        if lengths is None:
            value, dy[-1] = loss(y[-1], targets)
            return value, dy
        end, valid = _last_steps(y, lengths)
        targets = checks.as_array(targets, "targets")
        if targets.shape[:1] != y.shape[1:2]:
            raise ValueError(f"targets must be (N, ...) with N = {y.shape[1]}, got {targets.shape}")
        if not valid.size:
            return 0.0, dy
        value, dy[end, valid] = loss(y[end, valid], targets[valid])
        return value, dy

    def entries(y: np.ndarray, targets: Any, lengths: Any) -> int:
        """Count the entries that the loss is a mean over."""
        if lengths is not None:
            end, valid = _last_steps(y, lengths)
            y, targets = y[end, valid], np.asarray(targets)[valid]
        else:
            y = y[-1]
        return count_entries(loss, y, targets)

    last.__name__ = f"{getattr(loss, '__name__', 'loss')} at the last step"
    last.entries = entries
    return last


def summed_over_steps(loss: Loss) -> Loss:
    """Make a loss whose gradient is that of the sum over the time steps instead of their mean.

    The gradient is T times as large; the value stays the mean, so that losses of windows of any
    length can be compared. char-rnn and min-char-rnn clip and apply this gradient.

    Parameters
    ----------
    loss : callable
        A loss of this module, or one that is called like them.

    Returns
    -------
    callable
        `loss(y, targets, lengths=None)`.

    Examples
    --------
    >>> value, dy = summed_over_steps(mean_squared_error)(np.ones((4, 1, 1)), np.zeros((4, 1, 1)))
    >>> value, dy.ravel().tolist()
    (1.0, [2.0, 2.0, 2.0, 2.0])
    """

    checks.function(loss, "loss", "losses.mean_squared_error")

    @_takes_lists
    def summed(
        y: np.ndarray, targets: np.ndarray, lengths: np.ndarray | None = None
    ) -> tuple[float, np.ndarray]:
        value, dy = loss(y, targets, lengths=lengths)
        dy *= len(y)
        return value, dy

    summed.__name__ = f"{getattr(loss, '__name__', 'loss')} summed over steps"
    summed.entries = partial(count_entries, loss)
    return summed


def count_entries(loss: Any, y: np.ndarray, targets: Any, lengths: Any = None) -> int:
    """Count the entries that a loss, or a metric, is a mean over: the weight of a batch.

    Targets at the steps behind `lengths` do not count, nor does the one target of a sequence
    without steps. A loss that leaves out other entries counts its own by an attribute `entries`,
    a function of y, targets and lengths; `functools.partial` of a loss with a mask is understood.

    Parameters
    ----------
    loss : callable
        The loss or metric.
    y : ndarray, shape (T, N, M), or (N, M) without lengths
        Outputs.
    targets : ndarray, shape (T, N), (T, N, M), (N,) or (N, M)
        Targets, as the loss takes them.
    lengths : ndarray, shape (N,), int, or mask, shape (T, N), bool, optional
        Lengths of the sequences.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If targets do not fit y and lengths.

    Examples
    --------
    >>> y, targets = np.zeros((5, 2, 3)), np.zeros((5, 2), int)
    >>> count_entries(softmax_cross_entropy, y, targets, lengths=[5, 1])
    6
    """
    mask = None
    while not hasattr(loss, "entries") and isinstance(loss, partial):
        mask, loss = loss.keywords.get("mask", mask), loss.func
    if hasattr(loss, "entries"):
        return int(loss.entries(y, targets, lengths))
    y, targets = np.asarray(y), checks.as_array(targets, "targets")
    if lengths is None:
        return _count(targets, _valid(targets.shape, None, mask))
    T, N = y.shape[:2]
    # With T = N = M, floats (N, M) may be one target for each sequence; class ids (T, N) are not.
    once = targets.ndim == 2 and targets.shape == y.shape[1:] and targets.dtype.kind == "f"
    if targets.shape[:2] == (T, N) and not once:
        return _count(targets, _valid(targets.shape, lengths, mask))
    if targets.shape[:1] != (N,):
        raise ValueError(
            f"targets must be (T, N, ...) or (N, ...) with T, N = {T}, {N}, got {targets.shape};"
            " for other targets give each Batch its weight"
        )
    steps = checks.inside(np.asarray(checks.valid_steps(lengths, T, N)), T)
    valid = np.broadcast_to(steps.any(axis=0).reshape(N, *[1] * (targets.ndim - 1)), targets.shape)
    return _count(targets, valid)


def _last_steps(y: np.ndarray, lengths: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the last valid step of each sequence that has one, and the number of the sequence."""
    if y.ndim != 3:
        raise ValueError(f"lengths need a batch: y must be (T, N, M), got {y.shape}")
    T, N = y.shape[:2]
    steps = checks.inside(np.asarray(checks.valid_steps(lengths, T, N)), T)
    valid = np.flatnonzero(steps.any(axis=0))
    return T - 1 - np.argmax(steps[::-1], axis=0)[valid], valid


def _regression(y: Any, targets: Any, lengths: Any, mask: Any):
    """Check y and targets; return them with the valid entries and how many there are."""
    y, targets = checks.array(y, "y"), checks.array(targets, "targets")
    checks.same_dtype(targets, "targets", y.dtype, "y")
    checks.shape(targets, "targets", y.shape, "the shape of y")
    valid = _valid(y.shape, lengths, mask)
    return y, targets, valid, _count(y, valid)


def _in_order(losses: np.ndarray) -> float:
    """Sum the losses one after the other.

    Zeros between them change no bit, as they would in NumPy's pairwise summation.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.cumsum(losses)[-1])


def _count(entries: np.ndarray, valid: np.ndarray | None) -> int:
    """Count the valid entries."""
    return entries.size if valid is None else int(np.count_nonzero(valid))


def _valid(shape: tuple[int, ...], lengths: Any, mask: Any) -> np.ndarray | None:
    """Return a mask of the valid entries, of this shape; None if all are valid."""
    valid = None
    if lengths is not None:
        if len(shape) < 2:
            raise ValueError(f"lengths need time-major targets (T, N, ...), got {shape}")
        steps = np.asarray(checks.valid_steps(lengths, *shape[:2]))
        inside = checks.inside(steps, shape[0])
        valid = np.broadcast_to(inside.reshape(*shape[:2], *[1] * (len(shape) - 2)), shape)
    if mask is not None:
        mask = checks.as_array(mask, "mask")
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
