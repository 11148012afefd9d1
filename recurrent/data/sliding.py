"""Sliding windows of a series, each with what follows it: many-to-one forecasts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import checks
from ..engine import ragged
from .batch import Batch
from .batches import Shuffled, cast


class SlidingWindows(Shuffled):
    """All windows of k steps of a series, each with the values that follow it.

    The windows overlap; each is copied when its batch is made, so the series is kept once.

    Parameters
    ----------
    x : ndarray, shape (L,) or (L, D), or list of such arrays
        A series of L steps, or several, over whose ends no window goes.
    steps : int
        Number of steps k of a window.
    batch : int
        Number of windows of a batch.
    rng : int or numpy.random.Generator, optional
        Seed of the random order; None keeps the order.
    y : ndarray, shape (L,) or (L, M), or list of such arrays, optional
        The series that the targets come from; by default x.
    ahead : int or sequence of int
        How many steps after the last one of a window its target is: 1 is the next step, and
        range(1, 13) are the next twelve. 0, the last step itself, needs `y`.
    stride : int
        Number of steps from the start of a window to that of the next.
    mask : ndarray, shape (L,), bool, or list of such arrays, optional
        The steps of x that are valid. A model skips the others; a window is left out if its target
        or all of its steps are not valid, or if its target is NaN.
    y_mask : ndarray, shape (L,), bool, or list of such arrays, optional
        The steps of the targets that are valid; those of `mask` by default.
    keep_last : bool
        Whether to keep a last, smaller batch.
    dtype : {"float32", "float64"}, optional
        Convert floats and bools to this type, batch by batch. By default nothing is cast.

    Attributes
    ----------
    starts : ndarray, shape (N,), int
        The first step of each window.

    Raises
    ------
    ValueError
        If the shapes do not fit together, x has NaN at a valid step, or no window has a target.

    Examples
    --------
    >>> windows = SlidingWindows(np.arange(6.0), 3, 2, rng=None)
    >>> [(b.x[..., 0].T.tolist(), b.targets.tolist()) for b in windows]
    [([[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]], [[3.0], [4.0]]), ([[2.0, 3.0, 4.0]], [[5.0]])]
    >>> SlidingWindows(np.arange(6.0), 3, 2, rng=None, ahead=[1, 2]).batch(0).targets.tolist()
    [[3.0, 4.0], [4.0, 5.0]]

    Targets are (N, M), those of several steps ahead side by side; class ids (L,) give (N,).
    """

    def __init__(
        self,
        x: Any,
        steps: int,
        batch: int,
        rng: Any = 0,
        *,
        y: Any = None,
        ahead: Any = 1,
        stride: int = 1,
        mask: Any = None,
        y_mask: Any = None,
        keep_last: bool = True,
        dtype: Any = None,
    ):
        self.dtype = None if dtype is None else checks.dtype(dtype)
        self.steps, stride = checks.size(steps, "steps"), checks.size(stride, "stride")
        self.ahead = _ahead(ahead, 1 if y is None else 0)
        self.x, counts = _joined(x, "x")
        self.y = self.x if y is None else _same_steps(y, "y", counts)
        self.mask = _valid_steps(mask, "mask", counts)
        known = self.mask if y_mask is None else _valid_steps(y_mask, "y_mask", counts)
        if self.x.ndim == 1 and self.x.dtype.kind not in "iu":
            self.x = self.x[:, None]
        if self.y.ndim == 1 and self.y.dtype.kind not in "iu":
            self.y = self.y[:, None]
        self._check_finite()
        span = self.steps + int(self.ahead.max())
        first = np.cumsum([0, *counts[:-1]])
        starts = [
            start + np.arange(0, count - span + 1, stride)
            for start, count in zip(first, counts, strict=True)
        ]
        self.starts = np.concatenate(starts).astype(np.int64)
        if not len(self.starts):
            raise ValueError(
                f"x must have at least {span} steps for windows of {self.steps} steps and a "
                f"target {int(self.ahead.max())} ahead, got {max(counts)}"
            )
        self.starts = self.starts[self._usable(known)]
        if not len(self.starts):
            raise ValueError("x must have a window with a target that is valid, got none")
        super().__init__(len(self.starts), batch, rng, keep_last)

    def _check_finite(self) -> None:
        """Raise ValueError for a value of x that is not finite at a valid step."""
        if self.x.dtype.kind != "f":
            return
        bad = ~np.isfinite(self.x).all(axis=1)
        bad &= True if self.mask is None else self.mask
        for step in np.flatnonzero(bad)[:1]:
            raise ValueError(
                f"x must be finite at valid steps, got {self.x[step].tolist()} at step {step}: "
                "filled, present = data.fill_missing(x) gives values and a mask"
            )

    def _usable(self, known: np.ndarray | None) -> np.ndarray:
        """Return which windows have valid targets, at steps that are known, and a valid step."""
        valid = np.ones(len(self.y), bool) if known is None else known.copy()
        if self.y.dtype.kind == "f":
            valid &= ~np.isnan(self.y).reshape(len(self.y), -1).any(axis=1)
        usable = np.ones(len(self.starts), bool)
        if self.mask is not None:
            counts = np.concatenate([[0], np.cumsum(self.mask)])
            usable = counts[self.starts + self.steps] > counts[self.starts]
        for k in self.ahead:
            usable &= valid[self.starts + self.steps - 1 + k]
        return usable

    def batch(self, k: int) -> Batch:
        starts = self.starts[self.indices(k)]
        inside = np.arange(self.steps)[:, None] + starts
        after = (starts + self.steps - 1)[:, None] + self.ahead
        y = self.y[after]
        y = y.reshape(len(starts), math.prod(y.shape[1:]))
        if self.y.ndim == 1 and len(self.ahead) == 1:
            y = y[:, 0]
        lengths = None if self.mask is None else self.mask[inside]
        return Batch(cast(self.x[inside], self.dtype), cast(y, self.dtype), lengths)


def _valid_steps(mask: Any, name: str, counts: list[int]) -> np.ndarray | None:
    """Return the mask (L,) joined; raise TypeError for anything else."""
    if mask is None:
        return None
    joined = _same_steps(mask, name, counts)
    if joined.dtype != bool or joined.ndim != 1:
        raise TypeError(f"{name} must be bool (L,), got {joined.dtype.name} {joined.shape}")
    return joined


def _ahead(ahead: Any, least: int) -> np.ndarray:
    """Return how many steps ahead the targets are, as an array of int."""
    if not isinstance(ahead, (list, tuple, range, np.ndarray)):
        return np.array([checks.integer(ahead, "ahead", least, checks.LARGEST)])
    steps = checks.integers(list(ahead) if isinstance(ahead, range) else ahead, "ahead")
    if steps.ndim != 1 or not len(steps):
        raise ValueError(f"ahead must be an int or a list of int, got {checks.shown(ahead)}")
    return np.array([checks.integer(k, "ahead", least, checks.LARGEST) for k in steps])


def _joined(x: Any, name: str) -> tuple[np.ndarray, list[int]]:
    """Return one series, or several one after the other, and how many steps each has."""
    several = ragged.is_list(x)
    arrays = [
        checks.as_array(a, f"{name}[{n}]" if several else name)
        for n, a in enumerate(x if several else [x])
    ]
    for n, a in enumerate(arrays):
        if a.ndim not in (1, 2) or a.dtype.kind not in "fbiu":
            raise ValueError(
                f"{name} must be a series of numbers (L,) or (L, D), or a list of them, "
                f"got {checks.shown(x if not several else a)}"
            )
        if a.shape[1:] != arrays[0].shape[1:]:
            raise ValueError(
                f"{name}[{n}] must have the features of {name}[0], got {a.shape} and "
                f"{arrays[0].shape}"
            )
        checks.same_dtype(a, f"{name}[{n}]", arrays[0].dtype, f"{name}[0]")
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays), [len(a) for a in arrays]


def _same_steps(y: Any, name: str, counts: list[int]) -> np.ndarray:
    """Return the series `y` joined; raise ValueError unless they have the steps of x."""
    joined, found = _joined(y, name)
    if found != counts:
        raise ValueError(f"{name} must have the steps of x, {counts[:5]}, got {found[:5]}")
    return joined
