"""Packed order: a ragged batch as rows without blanks, the longest sequence first, step after step.

Step t of a packed batch is the rows `offsets[t]:offsets[t + 1]`; they are the first sequences of the batch sorted by
length, so the rows of a step are a prefix of the rows of the step before. A batch without `lengths` is packed already.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .. import checks


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
        """(T, N, ...) from packed rows (S, ...); zeros where a step is not valid."""
        if self.rows is None:
            return a.reshape(self.T, self.N, *a.shape[1:])
        out = np.zeros((self.T * self.N, *a.shape[1:]), a.dtype)
        out[self.rows] = a
        return out.reshape(self.T, self.N, *a.shape[1:])

    def to_packed_order(self, a: np.ndarray) -> np.ndarray:
        """Sequences (..., N, H) into packed order."""
        return a if self.order is None else a[..., self.order, :]

    def from_packed_order(self, a: np.ndarray) -> np.ndarray:
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
        return self.from_packed_order(states[..., last, :])


NO_ROWS = np.zeros(0, np.int64)


def layout(T: int, N: int, lengths: np.ndarray | None = None, reverse: bool = False) -> Layout:
    """Packed order of N sequences; `reverse` runs each from its last valid step to its first.

    `lengths` may be a mask (T, N) too: a step that is not valid then has no row at all, so the state skips it.
    """
    if lengths is None:
        return _reversed(T, N) if reverse else _full(T, N)
    return _ordered(T, N, lengths, reverse)


def _ordered(T, N, lengths, reverse) -> Layout:
    mask = lengths if lengths is not None and lengths.ndim == 2 else None
    valid = (
        np.full(N, T, np.int64)
        if lengths is None
        else lengths
        if mask is None
        else mask.sum(axis=0)
    )
    order = np.argsort(-valid, kind="stable")
    sorted_lengths = valid[order]
    counts = np.searchsorted(-sorted_lengths, -np.arange(T), side="left")  # sequences longer than t
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    step = np.repeat(np.arange(T), counts)
    place = np.arange(offsets[-1]) - offsets[step]
    time = sorted_lengths[place] - 1 - step if reverse else step
    if mask is not None:
        time = np.argsort(~mask, axis=0, kind="stable")[
            time, order[place]
        ]  # of the k-th valid step
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


@lru_cache(maxsize=8)  # each holds two numbers a row
def _reversed(T: int, N: int) -> Layout:
    return _ordered(T, N, None, True)


@lru_cache(maxsize=64)
def _full(T: int, N: int) -> Layout:
    return Layout(T, N, T * N, np.arange(T + 1, dtype=np.int64) * N, None, None, NO_ROWS, None)


def pad_sequences(x: Any, lengths: Any, name: str = "x") -> tuple[Any, Any, bool]:
    """A list of arrays (T_i, ...), one a sequence, as one array (T, N, ...) with zeros in its blanks, and their lengths.

    Anything else comes back as it is. The bool says which it was. Raises ValueError or TypeError, which name the array,
    where they cannot lie side by side.
    """
    if (
        not isinstance(x, (list, tuple))
        or not x
        or not all(isinstance(a, np.ndarray) and a.ndim for a in x)
    ):
        return x, lengths, False
    if lengths is not None:
        raise ValueError(
            f"{name} is a list of arrays, which have their lengths; lengths must be None"
        )
    first = x[0]
    for n, a in enumerate(x):
        if a.shape[1:] != first.shape[1:]:
            sizes = ", ".join(map(str, ("T", *first.shape[1:])))
            raise ValueError(f"{name}[{n}] must be ({sizes}) as {name}[0], got {a.shape}")
        checks.same_dtype(a, f"{name}[{n}]", first.dtype, f"{name}[0]")
    counts = np.array([len(a) for a in x], np.int64)
    padded = np.zeros((int(counts.max()), len(x), *first.shape[1:]), first.dtype)
    for n, a in enumerate(x):
        padded[: len(a), n] = a
    return padded, counts, True


def unpad_sequences(a: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """The sequences of (T, N, ...), each (T_i, ...): the inverse of `given`."""
    return [a[:length, n].copy() for n, length in enumerate(lengths)]
