"""Computes what a network reads of a series at each step, and reads its outputs.

At step t the network reads the new value, whether there was one, the values one lag before each
target, and the exogenous columns. It outputs K numbers: what is to be added to the baselines of
the next K values. Values are taken relative to their baseline and in units of the series' scale.

Arrays have the time first: (R, N) are R steps of N series. NaN is a missing value, here and there
only: the network reads 0 in its place, with a flag beside it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BASELINES = ("last", "seasonal")
LEVEL_LIMIT = 4.0  # of the level, in standard deviations: beyond, a trend has left the known range


class Scales(NamedTuple):
    """The statistics of N series: of their values relative to the baseline, and of the values.

    Parameters
    ----------
    shift : ndarray, shape (N, K)
        What is subtracted of values relative to the baseline of target k.
    scale : ndarray, shape (N,)
        What they are then divided by.
    mean : ndarray, shape (N,)
        The mean of the values.
    std : ndarray, shape (N,)
        Their standard deviation.
    """

    shift: np.ndarray
    scale: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    def rows(self, rows) -> Scales:
        """Return the statistics of some series."""
        return Scales(*(a[rows] for a in self))


class History(NamedTuple):
    """Steps of N series, the last ones or all.

    Parameters
    ----------
    y : ndarray, shape (R, N)
        Values, NaN where missing.
    last : ndarray, shape (R, N)
        The last value that was not missing.
    filled : ndarray, shape (lags, R, N)
        For each lag the value, or the one a lag before where it is missing, and so on.
    x : ndarray, shape (R, N, F)
        The exogenous columns, scaled.
    """

    y: np.ndarray
    last: np.ndarray
    filled: np.ndarray
    x: np.ndarray

    def rows(self, rows) -> History:
        """Return some series."""
        y, last, filled = (a[..., rows] for a in self[:3])
        return History(y, last, filled, self.x[:, rows])


class Features:
    """The inputs of a network, and the meaning of its outputs.

    Parameters
    ----------
    targets : int
        The number K of next values that the network forecasts at once.
    lags : tuple of int
        Numbers of steps before each target whose values the network is told.
    baseline : {"last", "seasonal"} or None
        What an output is added to: the last value, the value the first lag before, or nothing.
    columns : int
        Number of exogenous columns.
    ahead : tuple of int
        The columns that are known ahead.
    """

    def __init__(self, targets: int, lags: tuple, baseline: str | None, columns: int, ahead: tuple):
        self.targets, self.lags, self.baseline = targets, lags, baseline
        self.columns, self.ahead = columns, list(ahead)
        self.lead = targets if ahead else 0  # steps of x that must be known beyond the present one
        steps = np.arange(1, targets + 1)
        # For each lag and target, how far before the step its value is.
        self.back = [s * -(-steps // s) - steps for s in lags]
        self.season = -(-steps // lags[0]) if baseline == "seasonal" else steps
        self.told = [k for k in range(len(lags)) if baseline != "seasonal" or k > 0]
        width = 2 + (baseline is not None) + 2 * targets * len(self.told)
        self.width = width + columns + targets * len(ahead)
        self.reach = max((*lags, 1)) + 1 + self.lead  # steps of history that a step reads

    def history(self, y: np.ndarray, x: np.ndarray) -> History:
        """Return the history of whole series, y (L, N) and x (L, N, F)."""
        steps = np.arange(len(y))[:, None]
        place = np.maximum.accumulate(np.where(np.isnan(y), -1, steps), axis=0)
        last = np.where(place < 0, np.nan, np.take_along_axis(y, np.maximum(place, 0), axis=0))
        filled = np.empty((len(self.lags), *y.shape))
        for k, lag in enumerate(self.lags):
            filled[k] = y
            for t in range(lag, len(y), lag):
                part, before = filled[k, t : t + lag], filled[k, t - lag : t]
                np.copyto(part, before[: len(part)], where=np.isnan(part))
        return History(y, last, filled, x)

    def tail(self, history: History) -> History:
        """Return the last steps of a history, as many as a step reads; NaN before the first."""
        R = self.reach

        def cut(a, axis):
            a = np.take(a, range(max(0, a.shape[axis] - R), a.shape[axis]), axis)
            before = [(0, 0)] * a.ndim
            before[axis] = (R - a.shape[axis], 0)
            return np.pad(a, before, constant_values=np.nan)

        return History(
            cut(history.y, 0), cut(history.last, 0), cut(history.filled, 1), cut(history.x, 0)
        )

    def push(self, history: History, y: np.ndarray, x: np.ndarray) -> None:
        """Move a tail on by one step: y (N,) and x (N, F) are appended, the first step goes."""
        for a in (history.y, history.last, history.x):
            a[:-1] = a[1:]
        history.filled[:, :-1] = history.filled[:, 1:]
        missing = np.isnan(y)
        history.y[-1], history.x[-1] = y, x
        history.last[-1] = np.where(missing, history.last[-2], y)
        for a, lag in zip(history.filled, self.lags, strict=True):
            a[-1] = np.where(missing, a[-1 - lag], y)

    def baselines(self, history: History, t: np.ndarray, known: bool = True) -> np.ndarray:
        """Return the baselines of the targets of steps t (S,), as (S, N, K).

        Where no value is a season back they are NaN, unless `known` is false: then the last value.
        """
        if self.baseline is None:
            return np.zeros((len(t), history.y.shape[1], self.targets))
        last = _take(history.last, t)[..., None]
        if self.baseline == "last":
            return np.repeat(last, self.targets, axis=-1)
        before = self._lagged(history, t, 0)
        return before if known else np.where(np.isnan(before), last, before)

    def _lagged(self, history: History, t: np.ndarray, k: int) -> np.ndarray:
        """Return the values a lag before each target, (S, N, K)."""
        return _take(history.filled[k], t[:, None] - self.back[k]).swapaxes(1, 2)

    def inputs(self, history: History, scales: Scales, t: np.ndarray) -> np.ndarray:
        """Return what the network reads at steps t (S,), as (S, N, D) of float32.

        x must be known up to `lead` steps after each of them.
        """
        S, N, K = len(t), history.y.shape[1], self.targets
        out = np.zeros((S, N, self.width), np.float32)
        expected = self.baselines(history, t - 1)[..., 0] + scales.shift[:, 0]
        _put(out, 0, 1, (_take(history.y, t) - expected) / scales.scale)
        at = 2
        if self.baseline is not None:
            level = (_take(history.last, t) - scales.mean) / scales.std
            _put(out, 2, None, np.clip(level, -LEVEL_LIMIT, LEVEL_LIMIT))
            at = 3
        if self.told:
            base = self.baselines(history, t, known=False) + scales.shift
            for k in self.told:
                value = (self._lagged(history, t, k) - base) / scales.scale[:, None]
                _put(out, slice(at, at + K), slice(at + K, at + 2 * K), value)
                at += 2 * K
        if self.columns:
            out[..., at : at + self.columns] = history.x[t]
            at += self.columns
        if self.ahead:
            steps = t[:, None] + np.arange(1, K + 1)
            out[..., at:] = history.x[steps][..., self.ahead].swapaxes(1, 2).reshape(S, N, -1)
        return out

    def targets_of(self, history: History, scales: Scales, t: np.ndarray) -> np.ndarray:
        """Return what the outputs of steps t (S,) should be, (S, N, K); NaN where unknown."""
        after = _take(history.y, t[:, None] + np.arange(1, self.targets + 1)).swapaxes(1, 2)
        base = self.baselines(history, t) + scales.shift
        return ((after - base) / scales.scale[:, None]).astype(np.float32)

    def values(self, outputs: np.ndarray, history: History, scales: Scales) -> np.ndarray:
        """Return forecasts (N, K) from the outputs (N, K) of the last step of a history."""
        base = self.baselines(history, np.array([len(history.y) - 1]), known=False)[0]
        return base + scales.shift + outputs * scales.scale[:, None]

    def measure(self, history: History, kind: str | None) -> Scales:
        """Return the statistics of whole series; `kind` is "standard", "robust" or None."""
        N, t = history.y.shape[1], np.arange(len(history.y))
        if kind is None:
            zeros, ones = np.zeros(N), np.ones(N)
            return Scales(np.zeros((N, self.targets)), ones, zeros, ones)
        mean, std = _statistics(history.y, kind)
        middle, scale = _statistics(history.y - self.baselines(history, t - 1)[..., 0], kind)
        steps = self.season if self.baseline is not None else np.ones(self.targets)
        return Scales(middle[:, None] * steps, scale, mean, std)


def _statistics(values: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle and the scale of the columns of (L, N): 0 and 1 without any value."""
    middle, scale = np.zeros(values.shape[1]), np.ones(values.shape[1])
    for n, column in enumerate(values.T):
        present = column[~np.isnan(column)]
        if not len(present):
            continue
        # In units of a power of two, which change no bit, squares neither overflow nor vanish.
        unit = np.exp2(np.frexp(np.abs(present).max())[1] - 1.0)
        present = present / unit
        if kind == "standard":
            center, spread = present.mean(), present.std()
        else:
            low, center, high = np.quantile(present, (0.25, 0.5, 0.75))
            spread = (high - low) / 1.349 or present.std()  # the quartiles of a normal deviate
        middle[n] = center * unit
        # A constant series has a spread of rounding errors, if any.
        if spread > 1e-12 * np.abs(present).max():
            scale[n] = spread * unit
    return middle, scale


def _take(a: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return a[t], NaN where t lies outside."""
    if t.size and t.min() >= 0 and t.max() < len(a):
        return a[t]
    inside = (t >= 0) & (t < len(a))
    taken = a[np.where(inside, t, 0)] if len(a) else np.full((*t.shape, *a.shape[1:]), np.nan)
    taken[~inside] = np.nan
    return taken


def _put(out: np.ndarray, at, flag, values: np.ndarray) -> None:
    """Write values to columns of out, 0 where missing, and to others whether they are present."""
    missing = np.isnan(values)
    out[..., at] = np.where(missing, 0.0, values)
    if flag is not None:
        out[..., flag] = ~missing
