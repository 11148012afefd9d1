"""Packed order: a batch of sequences of different lengths, stored without padding.

The sequences are sorted by length, the longest first. Step t of the packed batch is the rows
`offsets[t]:offsets[t + 1]`: one for each sequence that is longer than t, so the sequences of a step
are the first ones of the step before. A batch without `lengths` is in packed order already.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .. import checks


class Layout(NamedTuple):
    """The packed order of N sequences of at most T steps, with S valid steps in all.

    A sequence has a row of state, and a column of arrays (T, N, ...). Episodes (see `episodes`)
    have a row each, but share the columns of the sequences that they belong to.
    """

    T: int
    N: int
    S: int
    offsets: np.ndarray  # (T + 1,) int64
    order: np.ndarray | None  # (N,) the sequence at each packed place; None: unchanged
    rows: np.ndarray | None  # (S,) row t * N + n of an array (T, N, ...); None: unchanged
    # (S,) row of the state before each step, in a buffer of N initial states and S new ones;
    # empty: row s itself
    previous: np.ndarray
    lengths: np.ndarray | None  # (N,)
    columns: int | None = None  # number of columns of arrays; None: N
    sequence: np.ndarray | None = None  # (N,) the column of each row of state; None: unchanged

    @property
    def width(self) -> int:
        """Number of columns of arrays (T, N, ...)."""
        return self.N if self.columns is None else self.columns

    def pack(self, a: np.ndarray) -> np.ndarray:
        """Return the valid steps of (T, N, ...) in packed order, (S, ...)."""
        flat = a.reshape(self.T * self.width, *a.shape[2:])
        return flat if self.rows is None else flat[self.rows]

    def unpack(self, a: np.ndarray) -> np.ndarray:
        """Return packed rows (S, ...) as (T, N, ...), with zeros at padded steps."""
        if self.rows is None:
            return a.reshape(self.T, self.N, *a.shape[1:])
        out = np.zeros((self.T * self.width, *a.shape[1:]), a.dtype)
        out[self.rows] = a
        return out.reshape(self.T, self.width, *a.shape[1:])

    def to_packed_order(self, a: np.ndarray) -> np.ndarray:
        """Return the sequences of (..., N, H) in packed order."""
        return a if self.order is None else a[..., self.order, :]

    def from_packed_order(self, a: np.ndarray) -> np.ndarray:
        """Invert `to_packed_order`."""
        if self.order is None:
            return a
        out = np.empty_like(a)
        out[..., self.order, :] = a
        return out

    def final(self, states: np.ndarray) -> np.ndarray:
        """Return the state after the last valid step, (..., N, H), from all, (..., N + S, H)."""
        if self.lengths is None:
            return states[..., self.S : self.S + self.N, :]
        place = np.arange(self.N)
        length = self.lengths[self.order]
        last = np.where(length > 0, self.N + self.offsets[np.maximum(length, 1) - 1] + place, place)
        return self.from_packed_order(states[..., last, :])


NO_ROWS = np.zeros(0, np.int64)


class SegmentLengths(np.ndarray):
    """Lengths (N,) within a segment of time, and the packed order of the whole run, which it keeps.

    The order of the rows of a step is that of sums over rows. That of the lengths within the
    segment would differ: sequences of different lengths may all be valid in it.
    """

    order: np.ndarray | None = None  # (N,) the sequence at each packed place

    @classmethod
    def within(cls, lengths: np.ndarray, first: int, last: int) -> SegmentLengths:
        """Return the lengths (N,) of whole sequences within the steps first to last."""
        some = np.clip(lengths - first, 0, last - first).view(cls)
        some.order = np.argsort(-lengths, kind="stable")
        return some


def layout(
    T: int,
    N: int,
    lengths: np.ndarray | None = None,
    reverse: bool = False,
    order: np.ndarray | None = None,
) -> Layout:
    """Return the packed order of N sequences, or that which `order` lists, longest first.

    With `reverse` each one runs from its last valid step to its first. `lengths` may also be a mask
    (T, N). Steps that are not valid have no row, so the state skips them.
    """
    if lengths is None:
        return _reversed(T, N) if reverse else _full(T, N)
    return _ordered(T, N, lengths, reverse, order)


def _ordered(T, N, lengths, reverse, order=None) -> Layout:
    mask = None
    if lengths is None:
        valid = np.full(N, T, np.int64)
    elif lengths.ndim == 2:
        mask, valid = lengths, lengths.sum(axis=0)
    else:
        valid = lengths
    order = np.argsort(-valid, kind="stable") if order is None else order
    sorted_lengths = valid[order]
    counts = np.searchsorted(-sorted_lengths, -np.arange(T), side="left")  # sequences longer than t
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    step = np.repeat(np.arange(T), counts)
    place = np.arange(offsets[-1]) - offsets[step]
    time = sorted_lengths[place] - 1 - step if reverse else step
    if mask is not None:  # from the k-th valid step to its time
        time = np.argsort(~mask, axis=0, kind="stable")[time, order[place]]
    starts = np.concatenate([[0], N + offsets[:-1]])  # first row of the states before each step
    return Layout(
        T,
        N,
        S=int(offsets[-1]),
        offsets=offsets,
        order=order,
        rows=time * N + order[place],
        previous=starts[step] + place,
        lengths=None if lengths is None else valid,
    )


@lru_cache(maxsize=8)  # each holds two numbers per row
def _reversed(T: int, N: int) -> Layout:
    return _ordered(T, N, None, True)


@lru_cache(maxsize=64)
def _full(T: int, N: int) -> Layout:
    return Layout(T, N, T * N, np.arange(T + 1, dtype=np.int64) * N, None, None, NO_ROWS, None)


def is_list(x: Any) -> bool:
    """Return whether x is a list or tuple of arrays, each of at least one axis."""
    if not isinstance(x, (list, tuple)) or not x:
        return False
    return all(isinstance(a, np.ndarray) and a.ndim for a in x)


def pad_sequences(x: Any, lengths: Any, name: str = "x") -> tuple[Any, Any, bool]:
    """Pad a list of arrays (T_i, ...) with zeros to (T, N, ...); return it, the lengths and True.

    Anything but a list of arrays is returned as it is, with `lengths` and False. Raises ValueError
    or TypeError if the arrays of the list do not fit each other.
    """
    if not is_list(x):
        return x, lengths, False
    if lengths is not None:
        raise ValueError(
            f"lengths must be None if {name} is a list of arrays, which has its own lengths"
        )
    return *pad_arrays(checked_list(x, name)), True


def checked_list(x: Any, name: str, cast: bool = False) -> list[np.ndarray]:
    """Return the entries of a list as arrays (T_i, ...).

    Raises ValueError or TypeError if they do not fit each other; their dtypes may differ with
    `cast`.
    """
    x = [checks.as_array(a, f"{name}[{n}]") for n, a in enumerate(x)]
    first = x[0]
    for n, a in enumerate(x):
        if a.ndim == 0:
            raise TypeError(
                f"{name} must be a list of arrays (T_i, ...), got {checks.shown(a[()])}"
            )
        if a.shape[1:] != first.shape[1:]:
            sizes = ", ".join(map(str, ("T", *first.shape[1:])))
            raise ValueError(f"{name}[{n}] must be ({sizes}) as {name}[0], got {a.shape}")
        if not cast:
            checks.same_dtype(a, f"{name}[{n}]", first.dtype, f"{name}[0]")
        elif a.dtype.kind not in "fbiu":
            raise TypeError(f"{name}[{n}] must be numbers, got {a.dtype.name}")
    return x


def pad_arrays(x: list[np.ndarray], dtype: np.dtype | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Pad arrays (T_i, ...) with zeros to (T, N, ...); return it and the lengths (N,).

    Floats and bools are converted to `dtype`, if there is one.
    """
    kinds = {a.dtype for a in x}
    common = kinds.pop() if len(kinds) == 1 else np.result_type(*kinds)
    if dtype is not None and common.kind in "fb":
        common = dtype
    counts = np.array([len(a) for a in x], np.int64)
    padded = np.zeros((int(counts.max()), len(x), *x[0].shape[1:]), common)
    for n, a in enumerate(x):
        padded[: len(a), n] = a
    return padded, counts


def unpad_sequences(a: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Return the sequences of (T, N, ...) as a list of copies (T_i, ...)."""
    return [a[:length, n].copy() for n, length in enumerate(lengths)]


def pad_labels(labels: Any, name: str) -> np.ndarray:
    """Return the labels of N sequences, a list of arrays (S_i,) of ints, as (N, S).

    The padding is -1. An empty list of labels may have any dtype.
    """
    rows = [checks.as_array(a, f"{name}[{n}]") for n, a in enumerate(labels)]
    for n, a in enumerate(rows):
        if a.ndim != 1:
            raise ValueError(f"{name}[{n}] must be (S,), the labels of sequence {n}, got {a.shape}")
        if a.size:
            checks.integers(a, f"{name}[{n}]")
    padded = np.full((len(rows), max(map(len, rows), default=0)), -1, np.int64)
    for n, a in enumerate(rows):
        padded[n, : len(a)] = a
    return padded


def pad_targets(targets: Any, lengths: np.ndarray, name: str = "targets") -> np.ndarray:
    """Return the targets of N sequences that are given as a list, as one array.

    A list of arrays (T_i, ...) becomes (T, N, ...). One target for each sequence, as a list or an
    array of N, becomes (N, ...). Raises an error for an array of which it is not clear which axis
    is the time.
    """
    rows, once = as_targets(targets, lengths, name)
    return rows if once else pad_arrays(rows)[0]


def as_targets(
    targets: Any,
    lengths: np.ndarray,
    name: str,
    per_sequence: bool | None = None,
    cast: bool = False,
) -> tuple[Any, bool]:
    """Return the targets of N sequences, and whether there is one for each of them.

    One for each is an array (N, ...); otherwise they are a list of arrays (T_i, ...).
    `per_sequence` says which; by default it is found out.
    """
    N = len(lengths)
    if isinstance(targets, np.ndarray):
        unclear = targets.ndim not in (1, 2) or (targets.ndim == 2 and targets.dtype.kind in "iu")
        if per_sequence is False or (unclear and not (per_sequence and targets.ndim)):
            raise TypeError(
                f"{name} must be a list of {N} arrays (T_i, ...), because the sequences are a"
                f" list, got an array of shape {targets.shape}"
            )
    elif not isinstance(targets, (list, tuple)):
        raise TypeError(
            f"{name} must be a list of {N} arrays, because the sequences are a list,"
            f" got {type(targets).__name__}"
        )
    if len(targets) != N:
        raise ValueError(
            f"{name} must have an entry for each of the {N} sequences, got {len(targets)}"
        )
    if isinstance(targets, np.ndarray):
        return targets, True
    rows = [checks.as_array(a, f"{name}[{n}]") for n, a in enumerate(targets)]
    shapes = {a.shape for a in rows}
    vectors = len(shapes) == 1 and rows[0].ndim == 1 and rows[0].dtype.kind == "f"
    if per_sequence is None:
        per_sequence = vectors or shapes == {()}
    if per_sequence:
        if len(shapes) > 1 and all(a.ndim == 1 and a.dtype.kind in "iu" for a in rows if a.size):
            return pad_labels(rows, name), True
        for n, a in enumerate(rows):
            if a.shape != rows[0].shape:
                raise ValueError(f"{name}[{n}] must be {rows[0].shape} as {name}[0], got {a.shape}")
        return np.array(rows), True
    for n, (a, length) in enumerate(zip(rows, lengths, strict=True)):
        if a.shape[:1] != (length,):
            labels = all(row.ndim == 1 and row.dtype.kind in "iu" for row in rows if row.size)
            advice = "; labels for losses.ctc need Batches(x, y, batch, per_sequence=True)"
            raise ValueError(
                f"{name}[{n}] must have the {length} steps of sequence {n}, got shape {a.shape}"
                f"{advice if labels else ''}"
            )
    return checked_list(rows, name, cast), False


def pad_dy(dy: Any, tape: Any) -> tuple[Any, Any, bool]:
    """Pad dy as `pad_sequences` does; return it, the lengths, and whether dx is to be a list.

    Raises an error unless dy is a list of the lengths of y where y was a list: the tape has
    `list_lengths` if x was one, and that of a model `y_listed` and `y_lengths`.
    """
    lengths = getattr(tape, "list_lengths", None)
    if lengths is None:
        return pad_sequences(dy, None, "dy")
    if dy is not None and getattr(tape, "y_listed", True):
        if not is_list(dy):
            got = type(dy).__name__
            raise TypeError(f"dy must be a list of arrays (T_i, ...), as y is, got {got}")
        of_y = getattr(tape, "y_lengths", None)
        expected, got = (lengths if of_y is None else of_y).tolist(), [len(a) for a in dy]
        if got != expected:
            raise ValueError(f"dy must have the lengths of y, {expected[:5]}, got {got[:5]}")
        dy = pad_sequences(dy, None, "dy")[0]
    return dy, lengths, True
