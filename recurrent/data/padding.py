"""Lists of sequences as one padded array, and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import checks
from ..engine import ragged


def pad_sequences(
    sequences: Any, value: Any = 0, *, batch_first: bool = False, dtype: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Pad sequences of different lengths to one array.

    Parameters
    ----------
    sequences : list of arrays or lists, each of shape (T_i,) or (T_i, D)
        N sequences.
    value : number
        What stands behind the end of each.
    batch_first : bool
        Whether the result is (N, T, ...) instead of (T, N, ...).
    dtype : {"float32", "float64"}, optional
        Convert floats and bools to this type. By default all must have one dtype.

    Returns
    -------
    padded : ndarray, shape (T, N), (T, N, D), or with N before T
        The sequences, which begin at step 0.
    lengths : ndarray, shape (N,), int
        The lengths, as models take them.

    Raises
    ------
    TypeError, ValueError
        If the sequences do not fit each other.

    Examples
    --------
    >>> pad_sequences([[5, 6, 7], [8]], batch_first=True)
    (array([[5, 6, 7],
           [8, 0, 0]]), array([3, 1]))
    """
    dtype = None if dtype is None else checks.dtype(dtype)
    batch_first = checks.flag(batch_first, "batch_first")
    if not isinstance(sequences, (list, tuple)) or not len(sequences):
        raise TypeError(
            f"sequences must be a list of arrays or lists (T_i, ...), got {checks.shown(sequences)}"
        )
    arrays = ragged.checked_list(sequences, "sequences", cast=dtype is not None)
    padded, lengths = ragged.pad_arrays(arrays, dtype)
    value = _padding(value, padded.dtype)
    if value != 0:
        padded[~checks.inside(lengths, len(padded))] = value
    return np.ascontiguousarray(padded.swapaxes(0, 1)) if batch_first else padded, lengths


def _padding(value: Any, dtype: np.dtype) -> float:
    """Return the value of padding; raise TypeError or ValueError if the dtype cannot hold it."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return checks.integer(value, "value", int(limits.min), int(limits.max))
    if isinstance(value, float) and not math.isfinite(value):
        return value
    return checks.number(value, "value")


def unpad_sequences(a: Any, lengths: Any, *, batch_first: bool = False) -> list[np.ndarray]:
    """Return the sequences of a padded array: the inverse of `pad_sequences`.

    Parameters
    ----------
    a : ndarray, shape (T, N, ...), or (N, T, ...) if batch_first
        Padded sequences.
    lengths : ndarray, shape (N,), int
        The lengths.
    batch_first : bool
        Whether the first axis is that of the sequences.

    Returns
    -------
    list of ndarray, each of shape (T_i, ...)
        Copies.

    Raises
    ------
    TypeError, ValueError
        If the lengths do not fit.

    Examples
    --------
    >>> [s.tolist() for s in unpad_sequences(np.array([[5, 8], [6, 0]]), [2, 1])]
    [[5, 6], [8]]
    """
    a = checks.as_array(a, "a")
    batch_first = checks.flag(batch_first, "batch_first")
    if a.ndim < 2:
        raise ValueError(f"a must be (T, N, ...), got {a.shape}")
    a = a.swapaxes(0, 1) if batch_first else a
    counts = checks.sequence_lengths(lengths, *a.shape[:2])
    if counts is None:
        raise TypeError("lengths must be an array (N,), got None")
    return ragged.unpad_sequences(a, counts)
