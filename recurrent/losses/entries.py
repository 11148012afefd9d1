"""The entries that a loss or a metric is a mean over: which are valid, and what they weigh."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..checks.guided import explained
from ..engine import ragged

Loss = Callable[..., tuple[float, np.ndarray]]


class Entries(NamedTuple):
    """The entries of a mean.

    Attributes
    ----------
    valid : ndarray, shape of the entries, bool, or None
        Which of them count; None if all do.
    weights : ndarray, shape of the entries, float64, or None
        Their weights, zero where they are not valid; None if each weighs 1.
    total : int or float
        The number of valid entries, or the sum of their weights.
    """

    valid: np.ndarray | None
    weights: np.ndarray | None
    total: float

    def pick(self, values: np.ndarray) -> np.ndarray:
        """Return the values of the valid entries."""
        return values if self.valid is None else values[self.valid]

    def mean(self, picked: np.ndarray) -> float:
        """Return the weighted mean of the values of the valid entries."""
        if self.weights is not None:
            picked = picked * self.pick(self.weights)
        return float(picked.sum(dtype=np.float64)) / self.total

    def scale(self, dy: np.ndarray, factor: float = 1.0) -> np.ndarray:
        """Turn `factor` times the derivative of each entry into that of the mean, in place."""
        if self.valid is not None:
            dy[~self.valid] = 0
        if self.weights is not None:
            dy *= self.weights.astype(dy.dtype)
        dy /= self.total / factor
        return dy


def find_entries(
    shape: tuple[int, ...], lengths: Any, mask: Any, weights: np.ndarray | None = None
) -> Entries:
    """Return the entries of this shape that are valid; `weights`, of this shape, are theirs."""
    valid = valid_entries(shape, lengths, mask)
    if weights is None:
        total = math.prod(shape) if valid is None else int(np.count_nonzero(valid))
        return Entries(valid, None, total)
    valid = weights > 0 if valid is None else valid & (weights > 0)
    weights = np.where(valid, weights, 0.0)
    return Entries(valid, weights, sum_in_order(weights))


def sum_in_order(values: np.ndarray) -> float:
    """Sum the values one after the other.

    Zeros between them change no bit, as they would in NumPy's pairwise summation.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.cumsum(values)[-1]) if values.size else 0.0


def sample_weights(value: Any, y_shape: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """Return `sample_weight` as float64 weights of the entries of this shape; None stays None.

    y (T, N, M) has a weight for each sequence, (N,), each step, (T, N), or each entry; y (N, M) and
    y (T, M) have one for each row or each entry.
    """
    if value is None:
        return None
    a = nonnegative(value, "sample_weight")
    once = a.ndim == 1 and len(y_shape) > 2
    expected = y_shape[1:2] if once else y_shape[: a.ndim]
    if a.shape != expected or a.ndim > len(shape):
        each = f", or for each sequence, {y_shape[1:2]}" if len(y_shape) > 2 else ""
        raise ValueError(
            f"sample_weight must have a weight for each step, {y_shape[: max(1, len(y_shape) - 1)]}"
            f"{each}, got {a.shape}"
        )
    a = a[None] if once else a
    return np.broadcast_to(a.reshape(*a.shape, *[1] * (len(shape) - a.ndim)), shape)


def nonnegative(value: Any, name: str) -> np.ndarray:
    """Return weights as float64; raise an error unless they are finite and at least 0."""
    a = checks.as_array(value, name)
    if a.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be numbers, got {a.dtype.name}")
    a = a.astype(np.float64)
    for k in np.argwhere(~(np.isfinite(a) & (a >= 0)))[:1].tolist():
        raise ValueError(f"{name} must be finite and at least 0, got {a[tuple(k)]:g} at {tuple(k)}")
    return a


def valid_entries(shape: tuple[int, ...], lengths: Any, mask: Any) -> np.ndarray | None:
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


def valid_times(lengths: Any, T: int, N: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the times (T, N) of the valid steps of each sequence, in order, and their number (N,).

    `lengths` may be a mask (T, N). Times after the last valid step mean nothing.
    """
    steps = checks.valid_steps(lengths, T, N)
    times = np.broadcast_to(np.arange(T)[:, None], (T, N))
    if steps is None:
        steps = np.full(N, T)
    elif steps.ndim == 2:
        times, steps = np.argsort(~steps, axis=0, kind="stable"), steps.sum(axis=0)
    return np.ascontiguousarray(times, np.int64), np.ascontiguousarray(steps, np.int64)


def sequence_entries(
    steps: np.ndarray, mask: Any, sample_weight: Any
) -> tuple[Entries, np.ndarray]:
    """Return the entries of a loss of whole sequences, and the weight of each one, (N,).

    A sequence without steps is not valid.
    """
    N = len(steps)
    if sample_weight is not None:
        sample_weight = nonnegative(sample_weight, "sample_weight")
        checks.shape(sample_weight, "sample_weight", (N,), "a weight for each sequence, (N,)")
    valid = valid_entries((N,), None, mask)
    valid = steps > 0 if valid is None else valid & (steps > 0)
    found = find_entries((N,), None, valid, sample_weight)
    return found, valid.astype(np.float64) if found.weights is None else found.weights


def causes_of(loss: Any, y: np.ndarray, targets: Any, lengths: Any) -> list[str]:
    """Return why the loss is not finite, if its attribute `causes`, a function, knows."""
    options, loss = _unwrapped(loss, "causes")
    return list(loss.causes(y, targets, lengths, **options)) if hasattr(loss, "causes") else []


def _unwrapped(loss: Any, attribute: str) -> tuple[dict[str, Any], Any]:
    """Return the options that `functools.partial` has given, and the loss that has an attribute."""
    options: dict[str, Any] = {}
    while not hasattr(loss, attribute) and isinstance(loss, partial):
        options, loss = {**loss.keywords, **options}, loss.func
    return options, loss


def takes_lists(loss: Callable) -> Any:
    """Return a loss that also takes y and targets as lists of arrays (T_i, ...)."""
    loss = explained(loss)  # its errors say which options there are

    @wraps(loss)
    def padded(y, targets, lengths=None, *mask, **options):
        if not isinstance(y, (list, tuple)):
            check_both_arrays(y, targets)
            return loss(y, targets, lengths, *mask, **options)
        y, own_lengths, listed = ragged.pad_sequences(y, lengths, "y")
        if listed:
            targets = ragged.pad_targets(targets, own_lengths)
            weights = options.get("sample_weight")
            if weights is not None:
                weights = ragged.pad_targets(weights, own_lengths, "sample_weight")
                options["sample_weight"] = weights
        value, dy = loss(y, targets, own_lengths, *mask, **options)
        return value, ragged.unpad_sequences(dy, own_lengths) if listed else dy

    return padded


def check_both_arrays(y: Any, targets: Any) -> None:
    """Raise TypeError if targets are a list of arrays although y is an array."""
    if np.ndim(y) > 2 and ragged.is_list(targets):
        raise TypeError(
            "targets must be an array, because y is one, got a list of arrays; pad both or neither"
        )


def count_entries(loss: Any, y: np.ndarray, targets: Any, lengths: Any = None) -> float:
    """Count the entries that a loss, or a metric, is a mean over: the weight of a batch.

    Targets at the steps behind `lengths` do not count, nor does the one target of a sequence
    without steps. Weighted entries count by their weights. A loss that leaves out other entries
    counts its own by an attribute `entries`, a function of y, targets and lengths, and of the
    options that `functools.partial` has given to the loss; of other losses the options `mask` and
    `sample_weight` are understood.

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
    int or float
        A whole number unless entries have weights.

    Raises
    ------
    ValueError
        If targets do not fit y and lengths.

    Examples
    --------
    >>> from recurrent.losses import softmax_cross_entropy
    >>> y, targets = np.zeros((5, 2, 3)), np.zeros((5, 2), int)
    >>> count_entries(softmax_cross_entropy, y, targets, lengths=[5, 1])
    6
    >>> weighted = partial(softmax_cross_entropy, weight=[0.5, 1, 1])
    >>> count_entries(weighted, y, targets, lengths=[5, 1])
    3.0
    """
    checks.function(loss, "loss", "losses.mean_squared_error")
    options, loss = _unwrapped(loss, "entries")
    if hasattr(loss, "entries"):
        count = loss.entries(y, targets, lengths, **options)
        checks.number(count, "what entries of the loss returns", 0)
        return count.item() if isinstance(count, np.generic) else count
    if isinstance(y, dict):
        raise TypeError(
            "a loss of several outputs does not say what it is a mean over: give it an attribute "
            "entries, a function of y, targets and lengths, or give each Batch its weight"
        )
    y, targets = checks.as_array(y, "y"), checks.as_array(targets, "targets")
    mask, shape = options.get("mask"), y.shape
    if lengths is not None:
        if y.ndim < 2:
            raise ValueError(f"lengths need a batch: y must be (T, N, ...), got {y.shape}")
        T, N = y.shape[:2]
        # With T = N = M, floats (N, M) may be one target for each sequence; ids (T, N) are not.
        once = targets.ndim == 2 and targets.shape == y.shape[1:] and targets.dtype.kind == "f"
        if targets.shape[:2] != (T, N) or once:
            if targets.shape[:1] != (N,):
                raise ValueError(
                    f"targets must be (T, N, ...) or (N, ...) with T, N = {T}, {N}, got"
                    f" {targets.shape}; for other targets give each Batch its weight"
                )
            steps = checks.inside(np.asarray(checks.valid_steps(lengths, T, N)), T)
            ends = steps.any(axis=0).reshape(N, *[1] * (targets.ndim - 1))
            mask = np.broadcast_to(ends, targets.shape)
            lengths, shape = None, y.shape[1:]
    weights = sample_weights(options.get("sample_weight"), shape, targets.shape)
    if hasattr(loss, "of_classes"):
        known, own = loss.of_classes(targets, options.get("weight"), options.get("ignore_index"))
        mask = known if mask is None else mask if known is None else mask & known
        weights = own if weights is None else weights if own is None else own * weights
    return find_entries(targets.shape, lengths, mask, weights).total
