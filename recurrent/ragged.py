"""Packed order: a ragged batch as rows without blanks, the longest sequence first, step after step.

Step t of a packed batch is the rows `offsets[t]:offsets[t + 1]`; they are the first sequences of the batch sorted by
length, so the rows of a step are a prefix of the rows of the step before. A batch without `lengths` is packed already.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np


class Layout(NamedTuple):
    """How a batch of N sequences of at most T steps lies in memory while it is computed."""

    T: int
    N: int
    S: int  # rows in all
    offsets: np.ndarray  # (T + 1,) int64
    order: np.ndarray | None  # (N,) sequence at each place of the packed batch; None: as given
    rows: np.ndarray | None  # (S,) row t * N + n of the caller's (T, N, ...) array; None: as given
    previous: np.ndarray  # (S,) row of the state before, in a buffer of N initial states and S new ones; empty: row s itself
    lengths: np.ndarray | None  # (N,)

    def pack(self, a: np.ndarray) -> np.ndarray:
        """Rows of a (T, N, ...) array in packed order, (S, ...)."""
        flat = a.reshape(self.T * self.N, *a.shape[2:])
        return flat if self.rows is None else flat[self.rows]

    def unpack(self, a: np.ndarray) -> np.ndarray:
        """(T, N, ...) from packed rows (S, ...); zeros past each length."""
        if self.rows is None:
            return a.reshape(self.T, self.N, *a.shape[1:])
        out = np.zeros((self.T * self.N, *a.shape[1:]), a.dtype)
        out[self.rows] = a
        return out.reshape(self.T, self.N, *a.shape[1:])

    def sort(self, a: np.ndarray) -> np.ndarray:
        """Sequences (..., N, H) into packed order."""
        return a if self.order is None else a[..., self.order, :]

    def unsort(self, a: np.ndarray) -> np.ndarray:
        """The inverse of `sort`."""
        if self.order is None:
            return a
        out = np.empty_like(a)
        out[..., self.order, :] = a
        return out

    def final(self, states: np.ndarray) -> np.ndarray:
        """State after the last valid step, (..., N, H) in the caller's order, from a buffer (..., N + S, H)."""
        if self.lengths is None:
            return states[..., self.S : self.S + self.N, :]
        place = np.arange(self.N)
        length = self.lengths[self.order]
        last = np.where(length > 0, self.N + self.offsets[np.maximum(length, 1) - 1] + place, place)
        return self.unsort(states[..., last, :])


NO_ROWS = np.zeros(0, np.int64)


def layout(T: int, N: int, lengths: np.ndarray | None = None, reverse: bool = False) -> Layout:
    """Packed order of N sequences; `reverse` runs each from its last valid step to its first."""
    if lengths is None and not reverse:
        return _full(T, N)
    valid = np.full(N, T, np.int64) if lengths is None else lengths
    order = np.argsort(-valid, kind="stable")
    sorted_lengths = valid[order]
    counts = np.searchsorted(-sorted_lengths, -np.arange(T), side="left")  # sequences longer than t
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    step = np.repeat(np.arange(T), counts)
    place = np.arange(offsets[-1]) - offsets[step]
    time = sorted_lengths[place] - 1 - step if reverse else step
    starts = np.concatenate([[0], N + offsets[:-1]])  # where the state before each step begins
    return Layout(
        T,
        N,
        int(offsets[-1]),
        offsets,
        order,
        time * N + order[place],
        starts[step] + place,
        lengths if lengths is None else valid,
    )


@lru_cache(maxsize=64)
def _full(T: int, N: int) -> Layout:
    return Layout(T, N, T * N, np.arange(T + 1, dtype=np.int64) * N, None, None, NO_ROWS, None)
