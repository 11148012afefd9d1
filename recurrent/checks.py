"""The boundary: every argument is checked once, here, before a kernel sees it. Kernels never raise."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache
def _known(names: tuple[str, ...]) -> tuple[np.dtype, ...]:
    return tuple(np.dtype(n) for n in names)  # identity finds one faster than a set its hash


class naming:
    """`with naming(where)`: errors from inside say where they come from."""

    # Not contextlib's generator: that takes a few microseconds for each layer and call.

    def __init__(self, where: str):
        self.where = where

    def __enter__(self):
        pass

    def __exit__(self, kind, error, traceback):
        base = next((b for b in (IndexError, TypeError, ValueError) if isinstance(error, b)), None)
        if base is not None:
            # A kind with arguments of its own, as UnicodeEncodeError has them, cannot be made of a message.
            named = kind if kind.__init__ is base.__init__ else base
            raise named(f"{self.where}: {error}") from error


def array(
    value, name: str, dtypes: tuple[str, ...] = ("float32", "float64"), where: str = ""
) -> np.ndarray:
    """`value` as a C-contiguous array of one of `dtypes`, to read only; never cast.

    Raises TypeError with the argument's name for another dtype, ValueError for what is no array at all.
    """
    a = np.asarray(value)
    if a.dtype not in _known(dtypes):
        got = a.dtype.name if a.dtype.isnative else f"{a.dtype.name} of the other byte order"
        raise TypeError(f"{where}{name} must be {' or '.join(dtypes)}, got {got}")
    if a.flags.carray:
        return a
    # A strided, unaligned or read-only array would make Numba compile every kernel once more; a copy or a view is cheaper.
    return (
        np.asarray(_Unlocked(a)) if a.flags.c_contiguous and a.flags.aligned else a.copy(order="C")
    )


class _Unlocked:
    """The memory of a read-only array, to be had as one that is not: for kernels that only read it."""

    def __init__(self, a: np.ndarray):
        interface = a.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}
        self.owner = a


def same_dtype(a: np.ndarray, name: str, dtype: np.dtype, other: str, where: str = "") -> None:
    """Raise TypeError unless `a` has the dtype of the argument called `other`."""
    if a.dtype != dtype:
        raise TypeError(
            f"{where}{name} is {a.dtype.name} but {other} is {dtype.name}; convert one of them"
        )


def shape(a: np.ndarray, name: str, expected: tuple[int, ...], words: str, where: str = "") -> None:
    """Raise ValueError unless `a` has the shape `expected`, described by `words`."""
    if a.shape != expected:
        raise ValueError(f"{where}{name} must be {words} = {expected}, got {a.shape}")


def writeable(a: np.ndarray, name: str, like: np.ndarray, where: str = "") -> None:
    """Raise unless a kernel can write results like `like` to `a` in place: kernels trust their arguments."""
    same_dtype(a, name, like.dtype, "the result", where)
    shape(a, name, like.shape, "the shape of the result", where)
    if not (a.flags.c_contiguous and a.flags.writeable):
        raise ValueError(
            f"{where}{name} must be C-contiguous and writeable: results are written in place"
        )


def size(value, name: str, where: str = "") -> int:
    """A positive whole number."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{where}{name} must be an int, got {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{where}{name} must be at least 1, got {value}")
    return int(value)


def function(value, name: str, example: str) -> None:
    """Raise TypeError unless `value` can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be a function such as {example}, got {type(value).__name__}")


def dtype(value, where: str = "") -> np.dtype:
    """float32 or float64 as a NumPy dtype."""
    try:
        found = None if value is None else np.dtype(value)  # NumPy's None is float64
    except TypeError:
        found = None
    if found is None or found.name not in ("float32", "float64") or not found.isnative:
        raise TypeError(f"{where}dtype must be float32 or float64, got {value!r}")
    return found


def sequence_lengths(lengths, T: int, N: int, where: str = "") -> np.ndarray | None:
    """`lengths` as (N,) int64 with 0 <= length <= T; or None."""
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


def valid_steps(lengths, T: int, N: int, where: str = "") -> np.ndarray | None:
    """`lengths` (N,) as int64; or the mask (T, N) of bools, where its valid steps are not simply the first ones; or None."""
    if lengths is None:
        return None
    mask = np.asarray(lengths)
    if mask.dtype != bool or mask.ndim != 2:
        return sequence_lengths(lengths, T, N, where)
    shape(mask, "lengths as a mask", (T, N), "(T, N)", where)
    counts = np.count_nonzero(mask, axis=0).astype(np.int64)
    return counts if np.array_equal(mask, inside(counts, T)) else mask


def inside(valid: np.ndarray, T: int) -> np.ndarray:
    """The mask (T, N) of what `valid_steps` returned."""
    return valid if valid.ndim == 2 else np.arange(T)[:, None] < valid


def generator(rng) -> np.random.Generator:
    """A generator from a seed, or the generator itself."""
    return rng if isinstance(rng, np.random.Generator) else np.random.default_rng(rng)
