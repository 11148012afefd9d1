"""Checks of arguments: each is checked once, before a kernel uses it. Kernels never raise."""

from __future__ import annotations

import difflib
import math
import operator
import os
from collections.abc import Collection, Sequence
from functools import lru_cache
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from .elsewhere import answer

LINE = 200  # characters of a name at most, as files hold them


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


def as_array(value: Any, name: str, where: str = "") -> np.ndarray:
    """Return `value` as an array of any dtype; raise TypeError for what cannot become one.

    Tensors of other libraries are taken as NumPy takes them: without a copy, and never cast. NumPy
    takes masked entries as values, so an array that has any is a ValueError.
    """
    if type(value) is np.ndarray:
        return value
    masked = _masked(value)
    if masked:
        raise ValueError(
            f"{where}{name} has {masked} masked {'entry' if masked == 1 else 'entries'}: pass "
            f"lengths or a mask instead, or fill them by {name}.filled(0)"
        )
    try:
        return np.asarray(value)
    except Exception as error:  # a list of unequal rows, a tensor on a device, and so on
        reason = "" if isinstance(value, (list, tuple)) else f": {_one_line(error)}"
        kind = type(value).__name__
        got = f"a {kind} of entries of different shapes" if not reason else f"{kind}{reason}"
        raise TypeError(f"{where}{name} must be an array, got {got}") from None


def _masked(value: Any) -> int:
    """Return the number of masked entries of a masked array, or of those in a list."""
    if isinstance(value, np.ma.MaskedArray):
        return np.ma.count_masked(value)
    if isinstance(value, (list, tuple)):
        return sum(_masked(a) for a in value if isinstance(a, (list, tuple, np.ndarray)))
    return 0


def _one_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _contents(value: Any, a: np.ndarray) -> str:
    """Return the words for the dtype of an array; the type of `value` if it is no array at all."""
    if a.dtype == object and not isinstance(value, (np.ndarray, list, tuple)):
        return type(value).__name__
    if a.dtype.kind in "USV":
        return type(value).__name__ if a.ndim == 0 else f"{type(value).__name__} of {a.dtype.name}"
    return a.dtype.name if a.dtype.isnative else f"{a.dtype.name} of non-native byte order"


def integers(value: Any, name: str, where: str = "") -> np.ndarray:
    """Return `value` as an array of an integer dtype; raise TypeError otherwise. Bools are none."""
    a = as_array(value, name, where)
    if not (a.dtype.kind in "iu" or (a.size == 0 and isinstance(value, (list, tuple)))):
        raise TypeError(f"{where}{name} must be integers, got {_contents(value, a)}")
    return a if a.size or a.dtype.kind in "iu" else a.astype(np.int64)


def array(
    value, name: str, dtypes: tuple[str, ...] = ("float32", "float64"), where: str = ""
) -> np.ndarray:
    """Return `value` as a C-contiguous array of one of `dtypes`, for reading only; never casts.

    Raises TypeError for another dtype and for what cannot become an array.
    """
    a = value if type(value) is np.ndarray else as_array(value, name, where)
    if a.dtype not in _dtypes(dtypes):
        raise TypeError(f"{where}{name} must be {' or '.join(dtypes)}, got {_contents(value, a)}")
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
        advice = ""
        if name in ("x", "targets") and a.dtype.kind == "f" and dtype.kind == "f":
            advice = (
                f'; {name}.astype("{dtype}") converts it, as Batches(..., dtype="{dtype}") does'
            )
        raise TypeError(
            f"{where}{name} must have the dtype of {other}, {dtype.name}, got {a.dtype.name}"
            f"{advice}"
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
    if type(a) is np.ndarray and a.dtype is like.dtype and a.shape == like.shape and a.flags.carray:
        return
    instance(a, np.ndarray, name, "an array", where)
    if isinstance(a, np.ma.MaskedArray):
        raise TypeError(f"{where}{name} must be an array without a mask, got MaskedArray")
    same_dtype(a, name, like.dtype, "the result", where)
    shape(a, name, like.shape, "the shape of the result", where)
    flags = {"not C-contiguous": a.flags.c_contiguous, "read-only": a.flags.writeable}
    lacks = [words for words, met in flags.items() if not met]
    if lacks:
        raise ValueError(
            f"{where}{name} must be C-contiguous and writeable, because the result is written "
            f"into it; got an array that is {' and '.join(lacks)}"
        )


def apart(
    written: Sequence[np.ndarray],
    names: Sequence[str],
    read: Sequence[np.ndarray],
    others: Sequence[str],
) -> None:
    """Raise ValueError if an array that is written shares memory with one that is read.

    `names` and `others` are the names of both. Pairs of arrays are compared only where the owners
    of their memory, which are compared first, may be the same. An array that is written twice is an
    error too.
    """
    owners, sure = set(), True
    for a in written:
        owner = a if a.base is None else a.base
        sure = sure and type(owner) is np.ndarray and owner.base is None
        owners.add(id(owner))
    for a in read:
        owner = a if a.base is None else a.base
        if type(owner) is _Writeable:
            owner = owner.owner if owner.owner.base is None else owner.owner.base
        sure = sure and type(owner) is np.ndarray and owner.base is None
        if not sure or id(owner) in owners:
            break
    else:
        if len(set(map(id, written))) == len(written):
            return
        read, others = written, names
    for k, (a, other) in enumerate(zip(read, others, strict=True)):
        for b, name in list(zip(written, names, strict=True))[k + 1 if read is written else 0 :]:
            if np.may_share_memory(a, b):
                raise ValueError(
                    f"{name} shares memory with {other}, and would overwrite it while it is "
                    "needed: pass another array"
                )


LARGEST = 2**31 - 1  # of a size: an axis that an int32 can index


def size(value: Any, name: str, where: str = "") -> int:
    """Return `value` as an int; raise unless it is an integer from 1 to LARGEST."""
    return integer(value, name, 1, LARGEST, where)


def integer(
    value: Any, name: str, least: int | None = None, most: int | None = None, where: str = ""
) -> int:
    """Return `value` as an int; raise unless it is an integer (of Python or NumPy) in the range."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{where}{name} must be an int, got {type(value).__name__}")
    if least is not None and value < least:
        raise ValueError(f"{where}{name} must be at least {least}, got {shown(int(value))}")
    if most is not None and value > most:
        raise ValueError(f"{where}{name} must be at most {most}, got {shown(int(value))}")
    return int(value)


def power_of_two(value: Any, name: str, most: int = LARGEST) -> int:
    """Return `value` as an int; raise unless it is 1, 2, 4, 8 and so on."""
    value = integer(value, name, 1, most)
    if value & (value - 1):
        near = 1 << (value.bit_length() - 1)
        raise ValueError(f"{name} must be a power of two, such as {near}, got {shown(value)}")
    return value


def number(
    value: Any,
    name: str,
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    most: float | None = None,
    where: str = "",
) -> float:
    """Return `value` as a float; raise unless it is a finite number in the range.

    Any real number is accepted, of Python or NumPy, but not a bool.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{where}{name} must be a number, got {type(value).__name__}")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf if operator.gt(value, 0) else -math.inf
    limits = [
        (f"{words} {limit:g}", holds(result, limit))
        for words, limit, holds in (
            ("at least", least, operator.ge),
            ("above", above, operator.gt),
            ("at most", most, operator.le),
            ("below", below, operator.lt),
        )
        if limit is not None
    ]
    within = all(holds for _, holds in limits)
    if not within or not math.isfinite(result):
        needed = "finite" if within else " and ".join(words for words, _ in limits)
        raise ValueError(f"{where}{name} must be {needed}, got {shown(value)}")
    return result


def flag(value: Any, name: str, where: str = "") -> bool:
    """Return `value` as a bool; raise TypeError unless it is one, of Python or NumPy."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{where}{name} must be True or False, got {shown(value)}")
    return bool(value)


def text(value: Any, name: str, where: str = "") -> str:
    """Return `value`; raise TypeError unless it is a str."""
    if not isinstance(value, str):
        raise TypeError(f"{where}{name} must be a str, got {type(value).__name__}")
    return value


def line(value: Any, name: str, least: int = 0) -> str:
    """Return a name in one line, `least` to LINE characters; raise an error for anything else."""
    text(value, name)
    if not least <= len(value) <= LINE or not value.isprintable():
        raise ValueError(
            f"{name} must be {least} to {LINE} printable characters, got {shown(value)}"
        )
    return value


def choice(value: Any, name: str, allowed: Collection[str], where: str = "", also: str = "") -> str:
    """Return `value`; raise an error that lists the allowed names unless it is one of them.

    `also` ends the list with what else is allowed, such as " or None".
    """
    if isinstance(value, str) and value in allowed:
        return value
    kind = ValueError if isinstance(value, str) else TypeError
    raise kind(
        f"{where}{name} must be one of {', '.join(allowed)}{also}, got {shown(value)}"
        f"{guess(value, allowed)}"
    )


def guess(value: Any, allowed: Collection[str]) -> str:
    """Return "; did you mean ...?" with the allowed name nearest to `value`, or an empty str."""
    if not isinstance(value, str):
        return ""
    by_lower = {name.lower(): name for name in allowed}
    near = difflib.get_close_matches(value[:100].lower(), by_lower, 1)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""


def shown(value: Any) -> str:
    """Return the words for a value in an error: its repr if that is short, else its type."""
    if value is None or isinstance(value, (bool, Real, str, bytes, np.generic)):
        words = repr(value.item() if isinstance(value, np.generic) else value)
        if len(words) <= 60:
            return words
        kind = type(value).__name__
        return f"{words[:40]}..., {'an' if kind[0] in 'aeiou' else 'a'} {kind}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, (tuple, list)) and len(value) <= 4:
        ends = "()" if isinstance(value, tuple) else "[]"
        words = ", ".join(shown(v) for v in value)
        if len(words) <= 60 and "\n" not in words:
            return f"{ends[0]}{words}{',' * (len(value) == 1 and ends == '()')}{ends[1]}"
    return type(value).__name__


def brief(value: Any) -> str:
    """Return the words for a value in a repr: the shape and dtype of an array, not its entries."""
    if isinstance(value, np.ndarray):
        return f"{value.shape} {value.dtype.name}"
    if isinstance(value, (tuple, list)) and any(isinstance(v, np.ndarray) for v in value):
        if isinstance(value, list) or len(value) > 2:
            return f"a list of {len(value):,}"
        return f"({', '.join(map(brief, value))})"
    if isinstance(value, dict) and any(isinstance(v, np.ndarray) for v in value.values()):
        words = ", ".join(f"{name} {brief(v)}" for name, v in list(value.items())[:3])
        return f"{{{words}{', ...' * (len(value) > 3)}}}"
    return getattr(value, "__name__", None) or shown(value)


def plain(value: Any) -> Any:
    """Return options with Python's numbers in place of NumPy's, so that JSON can hold them."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if type(value) in (tuple, list):
        return type(value)(map(plain, value))
    return value


def modes(record: Any, training: Any) -> None:
    """Raise TypeError unless `record` is a bool, and `training` a bool or None."""
    if type(record) is not bool:
        flag(record, "record")
    if training is not None and type(training) is not bool:
        flag(training, "training")


def tape(value: Any, kind: type, parts: int | None = None) -> None:
    """Raise an error unless `value` can be the tape of a layer: of this kind and length."""
    if value is None:
        raise ValueError("backward needs a tape: call forward with record=True")
    if not isinstance(value, kind) or (parts is not None and len(value) != parts):
        raise TypeError(
            f"tape must be the one that forward returns with record=True, got {shown(value)}"
        )


def per_layer(value: Any, name: str, n: int) -> tuple:
    """Return one value per layer: n times None, or `value` if it is a sequence of n entries."""
    if value is None:
        return (None,) * n
    if not isinstance(value, (tuple, list)):
        raise TypeError(
            f"{name} must be a tuple with one entry per layer, got {type(value).__name__}"
        )
    if len(value) != n:
        raise ValueError(f"{name} must have {n} entries, one per layer, got {len(value)}")
    return tuple(value)


def loss_of(result: Any) -> tuple[float, np.ndarray]:
    """Return the result of a loss; raise TypeError unless it is (value, dy)."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(
            "loss must return its value and its gradient with respect to y, "
            f"got {type(result).__name__}"
        )
    return result


def labels(value: Any, name: str) -> None:
    """Raise TypeError unless `value` is a sequence, one label for each step."""
    plain = isinstance(value, (str, tuple, list, range))
    if not plain and not (isinstance(value, np.ndarray) and value.ndim):
        raise TypeError(f"{name} must be a sequence of labels, got {shown(value)}")


def path(value: Any, name: str = "path") -> Path:
    """Return `value` as a Path; raise an error unless it names a file."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a str or a Path, got {type(value).__name__}")
    text = os.fspath(value)
    if not isinstance(text, str) or not text or "\0" in text:
        raise ValueError(f"{name} must be the path of a file, got {shown(text)}")
    if len(os.fsencode(Path(text).name)) > 255:
        raise ValueError(f"{name} must have at most 255 bytes in a name, got {shown(text)}")
    return Path(text)


def instance(
    value: Any, kind: type | tuple[type, ...], name: str, words: str, where: str = ""
) -> None:
    """Raise TypeError unless `value` is of the kind that `words` describe."""
    if not isinstance(value, kind):
        got = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise TypeError(f"{where}{name} must be {words}, got {got}{answer(value)}")


def iterable(value: Any, name: str, words: str, where: str = "") -> None:
    """Raise TypeError unless one can iterate over `value`; `words` say of what."""
    try:
        iter(value)
    except TypeError:
        kind = type(value).__name__
        raise TypeError(f"{where}{name} must be {words}, got {kind}") from None


def function(value: Any, name: str, example: str, where: str = "") -> None:
    """Raise TypeError unless `value` is callable; a class is none: its instances may be."""
    if not callable(value) or isinstance(value, type):
        got = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise TypeError(
            f"{where}{name} must be a function such as {example}, got {got}{answer(value)}"
        )


def index(value: Any, name: str, n: int, of: str = "", where: str = "") -> int:
    """Return `value` as an int; raise IndexError unless it is in 0..n-1, TypeError if no int."""
    k = integer(value, name, where=where)
    if not 0 <= k < n:
        raise IndexError(f"{where}{name} must be in 0..{n - 1}{of}, got {shown(k)}")
    return k


def dtype(value, where: str = "") -> np.dtype:
    """Return float32 or float64 as a NumPy dtype; raise TypeError for anything else."""
    try:
        found = None if value is None else np.dtype(value)  # np.dtype(None) would be float64
    except Exception:  # TypeError, ValueError, SyntaxError: whatever NumPy finds wrong
        found = None
    if found is None or found.name not in ("float32", "float64") or not found.isnative:
        raise TypeError(f"{where}dtype must be float32 or float64, got {shown(value)}")
    return found


def sequence_lengths(lengths, T: int, N: int, where: str = "") -> np.ndarray | None:
    """Return `lengths` as int64 (N,), or None; raise an error unless 0 <= length <= T."""
    if lengths is None:
        return None
    a = integers(lengths, "lengths", where)
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
    mask = as_array(lengths, "lengths", where)
    if mask.dtype != bool or mask.ndim != 2:
        return sequence_lengths(lengths, T, N, where)
    shape(mask, "lengths as a mask", (T, N), "(T, N)", where)
    counts = np.count_nonzero(mask, axis=0).astype(np.int64)
    return counts if np.array_equal(mask, inside(counts, T)) else mask


def inside(valid: np.ndarray, T: int) -> np.ndarray:
    """Return the bool mask (T, N) of the valid steps, given a result of `valid_steps`."""
    return valid if valid.ndim == 2 else np.arange(T)[:, None] < valid


def generator(rng: Any, name: str = "rng") -> np.random.Generator:
    """Return a generator seeded by `rng`, or `rng` itself if it is a generator.

    Raises TypeError for anything that cannot seed one, ValueError for a negative seed.
    """
    if isinstance(rng, np.random.Generator):
        return rng
    seed = rng is None or isinstance(rng, (np.random.SeedSequence, np.random.BitGenerator))
    if not seed:
        if isinstance(rng, (list, tuple)) and rng:
            rng = [integer(k, f"{name}[{i}]", 0) for i, k in enumerate(rng)]
        elif isinstance(rng, (bool, np.bool_)) or not isinstance(rng, (int, np.integer)):
            raise TypeError(
                f"{name} must be an int, a numpy.random.Generator or None, got {shown(rng)}"
            )
        else:
            rng = integer(rng, name, 0)
    return np.random.default_rng(rng)
