"""Norms of gradients over time, and whether they vanish or explode."""

from __future__ import annotations

import numpy as np

# Ratios of the first step to the last that count as vanishing and exploding.
VANISHES, EXPLODES = 1e-3, 1e3


def norms(gradient: np.ndarray) -> np.ndarray:
    """Return the norm (T,) of each step of (T, N, H) or (T, H), in float64."""
    a = np.asarray(gradient, np.float64)
    return np.sqrt(np.square(a).reshape(len(a), -1).sum(axis=1))


def verdict(sizes: np.ndarray, ratio_of: str = "first / last") -> str:
    """Return the ratio of the norm at the step read first to that at the one read last.

    With "vanishes" or "explodes" if it does.

    >>> verdict(np.array([1e-6, 1e-3, 1.0])), verdict(np.array([2.0, 1.0]))
    ('first / last = 1e-06: vanishes', 'first / last = 2')
    """
    first, last = float(sizes[0]), float(sizes[-1])
    if not np.isfinite(sizes).all():
        return "not finite: explodes"
    if last == 0:
        return "last step: 0"
    ratio = first / last
    fate = ": vanishes" if ratio < VANISHES else ": explodes" if ratio > EXPLODES else ""
    return f"{ratio_of} = {ratio:.3g}{fate}"
