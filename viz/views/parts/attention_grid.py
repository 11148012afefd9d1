"""Sizes of the attention picture, and which inputs and outputs it draws."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...draw import notation

INPUTS, OUTPUTS = 40, 24  # more are left out, and the picture says so
NUMBERED = 30  # width of a column that has room for a number with decimals
FAINT = 0.01  # lines of smaller weights are not drawn
ROW, STATE = 20, 22


def columns_of(weights: np.ndarray) -> list[int]:
    """Return which states of weights (T_out, T_in) are drawn: all, or those with the largest."""
    if weights.shape[1] <= INPUTS:
        return list(range(weights.shape[1]))
    return sorted(np.argsort(-weights.max(axis=0), kind="stable")[:INPUTS].tolist())


def rows_of(count: int, step: int | None) -> list[int]:
    """Return which outputs are drawn: all, or the first, or those around `step`."""
    first = 0 if step is None else min(max(step - OUTPUTS // 2, 0), max(count - OUTPUTS, 0))
    return list(range(first, min(first + OUTPUTS, count)))


def pitch(inputs: Sequence[str]) -> int:
    """Return the points from one drawn state to the next, with room for the labels."""
    wide = max(notation.width(text, 10) * 1.15 for text in inputs) + 12
    found = min(max(34.0 if len(inputs) <= 24 else 28.0, wide), 110.0)
    return 2 * math.ceil(max(found, 62.0 if len(inputs) <= 8 else 0.0) / 2)
