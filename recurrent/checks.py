"""Checks of arguments: each is checked once, before a kernel uses it. Kernels never raise."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np


@lru_cache
def _dtypes(names: tuple[str, ...]) -> tuple[np.dtype, ...]:
    # A tuple: its search by identity is faster than the hash of a dtype.
    return tuple(np.dtype(n) for n in names)


class naming:
    """Context manager that prefixes the errors raised inside with where they come from."""

    # A class, because contextlib's generator costs a few microseconds per layer and call.

    def __init__(self, where: str):
        self.where = where

    def __enter__(self):
        pass

    def __exit__(self, kind, error, traceback):
        base = next((b for b in (IndexError, TypeError, ValueError) if isinstance(error, b)), None)
        if base is not None:
            # A subclass with its own constructor, such as UnicodeEncodeError, takes no message.
            named = kind if kind.__init__ is base.__init__ else base
            raise named(f"{self.where}: {error}") from error


def array(
    value, name: str, dtypes: tuple[str, ...] = ("float32", "float64"), where: str = ""
) -> np.ndarray:
    """Return `value` as a C-contiguous array of one of `dtypes`, for reading only; never casts.

    Raises TypeError for another dtype, and NumPy's ValueError for what cannot become an array.
    """
    a = np.asarray(value)
    if a.dtype not in _dtypes(dtypes):
        got = a.dtype.name if a.dtype.isnative else f"{a.dtype.name} of non-native byte order"
        raise TypeError(f"{where}{name} must be {' or '.join(dtypes)}, got {got}")
    if a.flags.carray:
        return a
    # Numba would compile every kernel again for a strided, unaligned or read-only array; a copy or
    # a view is cheaper.
    if a.flags.c_contiguous and a.flags.aligned:
        return np.asarray(_Writeable(a))
    return a.copy(order="C")


class _Writeable:
    """The memory of a read-only array as a writeable one, for kernels that only read it."""

    def __init__(self, a: np.ndarray):
        interface = a.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}
        self.owner = a


def same_dtype(a: Any, name: str, dtype: np.dtype, other: str, where: str = "") -> None:
    """Raise TypeError unless `a` has the dtype of the argument called `other`."""
    if a.dtype != dtype:
        raise TypeError(
            f"{where}{name} must have the dtype of {other}, {dtype.name}, got {a.dtype.name}"
        )


def shape(a: np.ndarray, name: str, expected: tuple[int, ...], words: str, where: str = "") -> None:
    """Raise ValueError unless `a` has the shape `expected`.

    `words` describes that shape: either its axes, "(T, N, H)", or "the shape of y".
    """
    if a.shape != expected:
        verb = "be" if words.startswith("(") else "have"
        raise ValueError(f"{where}{name} must {verb} {words} = {expected}, got {a.shape}")


def writeable(a: np.ndarray, name: str, like: np.ndarray, where: str = "") -> None:
    """Raise TypeError or ValueError unless a kernel can write a result like `like` into `a`."""
    same_dtype(a, name, like.dtype, "the result", where)
    shape(a, name, like.shape, "the shape of the result", where)
    flags = {"not C-contiguous": a.flags.c_contiguous, "read-only": a.flags.writeable}
    lacks = [words for words, met in flags.items() if not met]
    if lacks:
        raise ValueError(
            f"{where}{name} must be C-contiguous and writeable, because the result is written "
            f"into it; got an array that is {' and '.join(lacks)}"
        )


def size(value, name: str, where: str = "") -> int:
    """Return `value` as an int; raise unless it is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{where}{name} must be an int, got {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{where}{name} must be at least 1, got {value}")
    return int(value)


def function(value, name: str, example: str) -> None:
    """Raise TypeError unless `value` is callable."""
    if not callable(value):
        raise TypeError(f"{name} must be a function such as {example}, got {type(value).__name__}")


def dtype(value, where: str = "") -> np.dtype:
    """Return float32 or float64 as a NumPy dtype; raise TypeError for anything else."""
    try:
        found = None if value is None else np.dtype(value)  # np.dtype(None) would be float64
    except TypeError:
        found = None
    if found is None or found.name not in ("float32", "float64") or not found.isnative:
        raise TypeError(f"{where}dtype must be float32 or float64, got {value!r}")
    return found


def sequence_lengths(lengths, T: int, N: int, where: str = "") -> np.ndarray | None:
    """Return `lengths` as int64 (N,), or None; raise an error unless 0 <= length <= T."""
    if lengths is None:
        return None
    a = np.asarray(lengths)
    if a.size and not np.issubdtype(a.dtype, np.integer):
        raise TypeError(f"{where}lengths must be integers, got {a.dtype.name}")
    if a.shape != (N,):
        raise ValueError(f"{where}lengths must be (N,) = ({N},), got {a.shape}")
    for n in np.flatnonzero((a < 0) | (a > T))[:1]:
        raise ValueError(
            f"{where}lengths must be between 0 and T = {T}, got {a[n]} for sequence {n}"
        )
    return a.astype(np.int64)


def valid_steps(lengths, T: int, N: int, where: str = "") -> Any:
    """Return which time steps are valid, from lengths (N,), a bool mask (T, N) or None.

    The result is int64 lengths (N,) if the valid steps of every sequence come first, otherwise the
    mask; None if all steps are valid.
    """
    if lengths is None:
        return None
    mask = np.asarray(lengths)
    if mask.dtype != bool or mask.ndim != 2:
        return sequence_lengths(lengths, T, N, where)
    shape(mask, "lengths as a mask", (T, N), "(T, N)", where)
    counts = np.count_nonzero(mask, axis=0).astype(np.int64)
    return counts if np.array_equal(mask, inside(counts, T)) else mask


def inside(valid: np.ndarray, T: int) -> np.ndarray:
    """Return the bool mask (T, N) of the valid steps, given a result of `valid_steps`."""
    return valid if valid.ndim == 2 else np.arange(T)[:, None] < valid


def generator(rng) -> np.random.Generator:
    """Return a generator seeded by `rng`, or `rng` itself if it is a generator."""
    return rng if isinstance(rng, np.random.Generator) else np.random.default_rng(rng)
