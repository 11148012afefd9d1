"""The choice of the time steps that a time grid shows, and which of them are padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recurrent import checks

from ..draw import notation

MOST = 24  # columns, however many steps are asked for
# All steps are shown up to ALL of them; beyond that, the first, the last and those at the cuts.
ALL, FIRST, LAST = 8, 3, 2


def is_int(value: Any) -> bool:
    """Return whether a value is an integer but not a bool.

    >>> is_int(3), is_int(np.int64(3)), is_int(True), is_int(3.0)
    (True, True, False, False)
    """
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def chosen_steps(steps: int | Sequence[int], window: int | None) -> tuple[int, list[int]]:
    """Return the number of steps and which of them to show."""
    if window is not None:
        checks.size(window, "window")
    if is_int(steps):
        checks.size(steps, "steps")
        return int(steps), visible_steps(int(steps), window)
    listed = isinstance(steps, (Sequence, range, np.ndarray)) and not isinstance(steps, str)
    wanted = (
        list(steps) if listed and not (isinstance(steps, np.ndarray) and steps.ndim != 1) else []
    )
    if not wanted or any(not is_int(t) or t < 0 for t in wanted):
        raise ValueError(
            f"steps must be a count or a list of steps from 0, got {checks.shown(steps)}"
        )
    chosen = sorted({int(t) for t in wanted})
    if len(chosen) > MOST:  # the picture says how many it leaves out
        chosen = chosen[: MOST // 2] + chosen[-MOST // 2 :]
    return int(max(wanted)) + 1, chosen


def visible_steps(T: int, window: int | None) -> list[int]:
    """Return which of T steps to show: all if few, else the ends and both sides of the first cuts.

    >>> visible_steps(5, None), visible_steps(100, None), visible_steps(40, 20)
    ([0, 1, 2, 3, 4], [0, 1, 2, 98, 99], [0, 1, 2, 19, 20, 21, 38, 39])
    >>> visible_steps(1000, 50)
    [0, 1, 2, 49, 50, 51, 99, 998, 999]
    """
    if T <= ALL:
        return list(range(T))
    wanted = {*range(FIRST), *range(T - LAST, T)}
    if window is not None and window < T:
        wanted |= {t for t in (window - 1, window, window + 1, 2 * window - 1) if t < T}
    return sorted(wanted)


def padded_steps(lengths: Any, n: int, T: int) -> frozenset[int]:
    """Return the steps of T that are padding in sequence n; `lengths` (N,) or a mask (T, N)."""
    if lengths is None:
        return frozenset()
    a = checks.as_array(lengths, "lengths")
    if a.ndim not in (1, 2) or a.size == 0:
        raise ValueError(f"lengths must be (N,) ints or a mask (T, N) of bools, got {a.shape}")
    n = checks.index(n, "n", a.shape[-1], ", the sequences of lengths")
    if a.ndim == 2 and a.dtype == bool:
        return frozenset(int(t) for t in np.flatnonzero(~a[:T, n])) | frozenset(range(len(a), T))
    if a.ndim != 1 or not np.issubdtype(a.dtype, np.integer):
        raise ValueError(
            f"lengths must be (N,) ints or a mask (T, N) of bools, got {a.shape} {a.dtype.name}"
        )
    return frozenset(range(max(int(a[n]), 0), T))


def labelled(given: Any, name: str, count: int, chosen: Sequence[int], letter: str) -> list[str]:
    """Return the labels of the chosen steps as one sees them, by default x₀, x₁ and so on.

    Raises TypeError or ValueError unless `given` is None or has a label for each of `count` steps.
    """
    if given is None:
        return [notation.sub(letter, t) for t in chosen]
    checks.labels(given, name)
    if len(given) != count:
        steps = notation.count(count, "step")
        raise ValueError(f"{name} must have one label for each of {steps}, got {len(given)}")
    return ["".join(notation.visible(c) or " " for c in str(given[t])) for t in chosen]
