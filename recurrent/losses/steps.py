"""Losses made of another loss: at the last step alone, or summed over the steps."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from .. import checks
from .entries import Loss, count_entries, takes_lists


def at_last_step(loss: Loss) -> Loss:
    """Make a loss of the last valid step only, for many-to-one models.

    The new loss takes y (T, N, M) with targets (N, ...), or y (T, M) with the target of a single
    sequence. With `lengths` the last step of sequence n is lengths[n] - 1, or the last that a
    mask (T, N) marks; a sequence without any is not valid. `sample_weight` (N,) weighs the
    sequences, if the loss takes it.

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
    >>> from recurrent.losses import mean_squared_error
    >>> value, dy = at_last_step(mean_squared_error)(np.ones((3, 1, 1)), np.zeros((1, 1)))
    >>> value, dy.ravel().tolist()
    (1.0, [0.0, 0.0, 2.0])
    """

    checks.function(loss, "loss", "losses.mean_squared_error")

    @takes_lists
    def last(
        y: np.ndarray,
        targets: np.ndarray,
        lengths: np.ndarray | None = None,
        *,
        sample_weight: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        y = checks.as_array(y, "y")
        ends, targets, place = last_steps(y, targets, lengths)
        dy = np.zeros_like(y)
        if not ends.size:
            return 0.0, dy
        value, dy[place] = _weighted(loss, sample_weight, y, place)(ends, targets)
        return value, dy

    def entries(y: np.ndarray, targets: Any, lengths: Any, sample_weight: Any = None) -> float:
        """Count the entries that the loss is a mean over."""
        ends, targets, place = last_steps(np.asarray(y), targets, lengths)
        return count_entries(_weighted(loss, sample_weight, y, place), ends, targets)

    last.__name__ = f"{getattr(loss, '__name__', 'loss')} at the last step"
    last.entries = entries
    return last


def summed_over_steps(loss: Loss) -> Loss:
    """Make a loss whose gradient is that of the sum over the time steps instead of their mean.

    The gradient is T times as large; the value stays the mean, so that losses of windows of any
    length can be compared. char-rnn and min-char-rnn clip and apply this gradient. Options are
    those of the loss.

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
    >>> from recurrent.losses import mean_squared_error
    >>> value, dy = summed_over_steps(mean_squared_error)(np.ones((4, 1, 1)), np.zeros((4, 1, 1)))
    >>> value, dy.ravel().tolist()
    (1.0, [2.0, 2.0, 2.0, 2.0])
    """

    checks.function(loss, "loss", "losses.mean_squared_error")

    @takes_lists
    def summed(
        y: np.ndarray, targets: np.ndarray, lengths: np.ndarray | None = None, **options: Any
    ) -> tuple[float, np.ndarray]:
        value, dy = loss(y, targets, lengths=lengths, **options)
        dy *= len(y)
        return value, dy

    def entries(y: np.ndarray, targets: Any, lengths: Any, **options: Any) -> float:
        """Count the entries that the loss is a mean over."""
        return count_entries(partial(loss, **options) if options else loss, y, targets, lengths)

    summed.__name__ = f"{getattr(loss, '__name__', 'loss')} summed over steps"
    summed.entries = entries
    return summed


def last_steps(y: np.ndarray, targets: Any, lengths: Any) -> tuple[np.ndarray, Any, tuple]:
    """Return y and targets of the sequences that have a last step, and the place of that in y."""
    if y.ndim not in (2, 3) or len(y) == 0:
        raise ValueError(f"y must be (T, N, M) or (T, M) with at least one step, got {y.shape}")
    if lengths is None:
        return y[-1], targets, (-1,)
    if y.ndim != 3:
        raise ValueError(f"lengths need a batch: y must be (T, N, M), got {y.shape}")
    T, N = y.shape[:2]
    steps = checks.inside(np.asarray(checks.valid_steps(lengths, T, N)), T)
    valid = np.flatnonzero(steps.any(axis=0))
    end = T - 1 - np.argmax(steps[::-1], axis=0)[valid]
    targets = checks.as_array(targets, "targets")
    if targets.shape[:1] != (N,):
        raise ValueError(f"targets must be (N, ...) with N = {N}, got {targets.shape}")
    return y[end, valid], targets[valid], (end, valid)


def _weighted(loss: Loss, sample_weight: Any, y: Any, place: tuple) -> Any:
    """Return the loss with the weights of the sequences at a place of y."""
    if sample_weight is None:
        return loss
    weights = checks.as_array(sample_weight, "sample_weight")
    if len(place) > 1:
        checks.shape(weights, "sample_weight", y.shape[1:2], "(N,)")
        weights = weights[place[1]]
    return partial(loss, sample_weight=weights)
