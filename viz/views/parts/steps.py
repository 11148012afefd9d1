"""Which steps of a run a time grid shows, and which of them a sequence does not have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MOST = 24  # columns, however many are asked for
ALL, FIRST, LAST = (
    8,
    3,
    2,
)  # up to ALL steps each has a column; beyond that the first, the last, and those asked for


def asked(steps, window):
    """The number of steps and which of them to show."""
    if window is not None and (
        isinstance(window, bool) or not isinstance(window, (int, np.integer)) or window < 1
    ):
        raise ValueError(f"window must be an int of at least 1, got {window!r}")
    if isinstance(steps, (int, np.integer)) and not isinstance(steps, bool):
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        return int(steps), visible(int(steps), window)
    asked = (
        list(steps)
        if isinstance(steps, (Sequence, range, np.ndarray)) and not isinstance(steps, str)
        else None
    )
    if not asked or any(
        isinstance(t, bool) or not isinstance(t, (int, np.integer)) or t < 0 for t in asked
    ):
        raise ValueError(f"steps must be a count or a list of steps from 0, got {steps!r}")
    chosen = sorted({int(t) for t in asked})
    if len(chosen) > MOST:  # the picture says how many it leaves out
        chosen = chosen[: MOST // 2] + chosen[-MOST // 2 :]
    return int(max(asked)) + 1, chosen


def visible(T: int, window: int | None) -> list[int]:
    """Steps to show of T: all of a few, else the ends, and both sides of the cuts that are shown.

    >>> visible(5, None), visible(100, None), visible(40, 20)
    ([0, 1, 2, 3, 4], [0, 1, 2, 98, 99], [0, 1, 2, 19, 20, 21, 38, 39])
    >>> visible(1000, 50)
    [0, 1, 2, 49, 50, 51, 99, 998, 999]
    """
    if T <= ALL:
        return list(range(T))
    wanted = {*range(FIRST), *range(T - LAST, T)}
    if window is not None and window < T:
        wanted |= {t for t in (window - 1, window, window + 1, 2 * window - 1) if t < T}
    return sorted(wanted)


def blanks(lengths, n, T):
    """Steps of T that sequence n does not have."""
    if lengths is None:
        return frozenset()
    a = np.asarray(lengths)
    N = a.shape[-1] if a.ndim else 0
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 0 <= n < N:
        raise IndexError(f"n must be in 0..{N - 1}, the sequences of lengths, got {n!r}")
    if a.ndim == 2 and a.dtype == bool:
        return frozenset(int(t) for t in np.flatnonzero(~a[:T, n])) | frozenset(range(len(a), T))
    if a.ndim != 1 or not np.issubdtype(a.dtype, np.integer):
        raise ValueError(
            f"lengths must be (N,) ints or a mask (T, N) of bools, got {a.shape} {a.dtype.name}"
        )
    return frozenset(range(max(int(a[n]), 0), T))
