"""Symbolic table lookups, which an Embedding passes to a recurrent layer, and their gradient.

Values that are equal for all steps with the same id, such as the input part of the pre-activations,
are computed once per distinct id, not once per step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.quantized import Quantized


def rows_of(table: np.ndarray | Quantized, which: Any) -> np.ndarray:
    """Return rows of a table, by an index or an array of them; quantised ones are dequantised."""
    return table.rows(which) if isinstance(table, Quantized) else table[which]


class Lookup:
    """The array `table[ids]`, which is not computed until NumPy asks for it.

    Parameters
    ----------
    table : ndarray or Quantized, shape (V, D), float32 or float64
        The rows to choose from.
    ids : ndarray, shape (T, N) or (T,), int
        The row of each step, from 0 to V - 1.
    """

    def __init__(self, table: np.ndarray | Quantized, ids: np.ndarray):
        self.table, self.ids = table, ids
        self.shape, self.dtype = (*ids.shape, table.shape[1]), table.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __array__(self, dtype=None, copy=None):
        return rows_of(self.table, self.ids)


@dataclass(frozen=True)
class RowGradients:
    """The gradient with respect to a Lookup, summed per id.

    The gradient of a recording can be converted to an array of shape (T, N, D) or (T, D), which
    costs a matrix product.

    Parameters
    ----------
    ids : ndarray, shape (U,), int
        The distinct ids, in ascending order.
    rows : ndarray, shape (U, D), float32 or float64
        The gradient of the table's row of each id.
    each : callable, optional
        Returns the gradient of every step, shape (T, N, D) or (T, D).
    """

    ids: np.ndarray
    rows: np.ndarray
    each: Callable[[], np.ndarray] | None = None

    def __array__(self, dtype=None, copy=None):
        if self.each is None:
            raise TypeError(
                "only a recording has the gradient of every step: call record with targets and loss"
            )
        return self.each()

    def __add__(self, other: RowGradients) -> RowGradients:
        """Return the sum of two gradients with respect to the same Lookup."""

        def each():
            return np.asarray(self) + np.asarray(other)

        return RowGradients(self.ids, self.rows + other.rows, each)


def distinct(ids: np.ndarray, V: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct ids of `ids` (S,), ascending, and each id's index among them; int64.

    >>> [a.tolist() for a in distinct(np.array([7, 2, 7]), 9)]
    [[2, 7], [1, 0, 1]]
    """
    place = np.zeros(V, np.int64)
    place[ids] = 1
    occurring = np.flatnonzero(place)
    place[occurring] = np.arange(occurring.size)
    return occurring, place[ids]
