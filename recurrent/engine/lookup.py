"""Rows of a table that nobody writes out: what an Embedding hands to a recurrent layer, and the gradient it gets back.

What is the same for every step with one id, such as the input's part of the pre-activations, is then computed once for each id
that occurs, not once for each step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


class Lookup:
    """The array table[ids]: shape (*ids.shape, D) from a table (V, D) and integer ids in 0..V-1; NumPy can write it out."""

    def __init__(self, table: np.ndarray, ids: np.ndarray):
        self.table, self.ids = table, ids
        self.shape, self.dtype = (*ids.shape, table.shape[1]), table.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __array__(self, dtype=None, copy=None):
        return self.table[self.ids]


@dataclass(frozen=True)
class RowGradients:
    """The gradient with respect to a Lookup, summed by id: `rows` (U, D) of the ids that occur (U,), ascending.

    Of a recording NumPy can write it out, (*ids.shape, D), which costs a product: `each` does.
    """

    ids: np.ndarray
    rows: np.ndarray
    each: Callable[[], np.ndarray] | None = None

    def __array__(self, dtype=None, copy=None):
        return self.each()

    def __add__(self, other: RowGradients) -> RowGradients:
        """The sum of two with respect to the same Lookup."""
        return RowGradients(self.ids, self.rows + other.rows, lambda: self.each() + other.each())


def distinct(ids: np.ndarray, V: int) -> tuple[np.ndarray, np.ndarray]:
    """The ids in 0..V-1 that occur in `ids` (S,), ascending, and the place of each of `ids` among them; int64.

    >>> [a.tolist() for a in distinct(np.array([7, 2, 7]), 9)]
    [[2, 7], [1, 0, 1]]
    """
    place = np.zeros(V, np.int64)
    place[ids] = 1
    found = np.flatnonzero(place)
    place[found] = np.arange(found.size)
    return found, place[ids]
