"""Values of a graph that arrays of data do not reach: constants, sizes and zeros."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

ZERO_KEEPING = (
    "Cast", "Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Squeeze",
    "Tile", "Transpose", "Unsqueeze",
)  # fmt: skip


BATCH = "N"  # the label of the size of Lengths


class Zeros:
    """An array of zeros whose shape does not matter."""


@dataclass(frozen=True)
class Lengths:
    """The lengths of sequences: the name of the input, and that of the order that they have."""

    name: str
    order: str = ""


@dataclass(frozen=True)
class Order:
    """The numbers of the sequences in the order of their lengths; `back`: in that of the input."""

    name: str
    back: bool = False


@dataclass(frozen=True)
class Rows:
    """An array of states that are those of all sequences; `axis` is that of the sequences."""

    array: np.ndarray
    axis: int


class Counting:
    """The numbers 0, 1, 2 and so on."""


Size = int | str  # a number, or the label of an axis of unknown length
# None: not known
Value = np.ndarray | list[Size] | Size | Zeros | Lengths | Order | Rows | Counting | None


def is_zero(value: Value) -> bool:
    """Return whether a value is an array of zeros."""
    return isinstance(value, Zeros) or (isinstance(value, np.ndarray) and not value.any())


def sizes(value: Value) -> list[Size] | None:
    """Return a value as a list of sizes, such as the target of a Reshape; None if it is none."""
    if isinstance(value, np.ndarray):
        return [int(v) for v in value.ravel()] if value.dtype.kind in "iu" else None
    return value if isinstance(value, list) else None


def computed(op: str, given: list[Value], attributes: dict[str, Any]) -> Value:
    """Return what a node makes of values without data; None if it is not known."""
    if op == "ConstantOfShape":
        value = attributes.get("value")
        return Zeros() if value is None or is_zero(value) else None
    zeros = given if op == "Concat" else given[:1]
    if op in ZERO_KEEPING and all(is_zero(v) and not _is_whole(v) for v in zeros):
        return Zeros()
    first = given[0] if given else None
    if isinstance(first, Rows) or op in ("Expand", "Tile"):
        return _rows(op, given, attributes)
    if op == "Equal":
        a, b = (_whole(v) for v in given)
        return (
            None
            if a is None or b is None
            else np.array([x == y for x, y in zip(a, b, strict=False)])
        )
    if op == "Shape" and isinstance(first, (Lengths, Order)):
        return [BATCH]
    if op == "Range" and all(isinstance(given[k], np.ndarray) for k in (0, 2)):
        return Counting() if (given[0], given[2]) == (0, 1) else None
    if op == "ScatterElements" and isinstance(given[1], Order) and isinstance(given[2], Counting):
        return None if given[1].back else Order(given[1].name, True)
    if op in ("Cast", "Identity") or (op == "Reshape" and isinstance(first, list)):
        return first
    if op == "Concat":
        parts = [sizes(v) for v in given]
        return None if None in parts else [n for part in parts if part for n in part]
    if op in ("Unsqueeze", "Squeeze"):
        single = [first] if isinstance(first, (int, str)) else _scalar(first)
        if op == "Unsqueeze":
            return single
        return first[0] if isinstance(first, list) and len(first) == 1 else first
    if op == "Gather":
        listed, index = sizes(first), given[1]
        if listed is None or not isinstance(index, np.ndarray):
            return None
        chosen = [listed[int(k)] for k in index.ravel()]
        return chosen if index.ndim else chosen[0]
    if op == "Slice" and len(given) > 2:
        listed, start, end = sizes(first), _scalar(given[1]), _scalar(given[2])
        step = _scalar(given[4]) if len(given) > 4 else [1]
        if listed is None or start is None or end is None or step is None:
            return None
        return listed[start[0] : end[0] : step[0]]
    if op == "Mul":
        a, b = (_scalar(v) if isinstance(v, np.ndarray) else sizes(v) for v in given)
        if a and b and len(a) == len(b) == 1 and isinstance(a[0], int) and isinstance(b[0], int):
            return [a[0] * b[0]]
    return None


def _rows(op: str, given: list[Value], attributes: dict[str, Any]) -> Value:
    """Return states that are repeated for all sequences, or some of such."""
    first = given[0]
    if isinstance(first, np.ndarray) and first.ndim in (2, 3) and first.dtype.kind == "f":
        first = Rows(first, first.ndim - 2)
        if first.array.shape[first.axis] != 1:
            return None
    if not isinstance(first, Rows):
        return None
    a, axis = first.array, first.axis
    if op in ("Cast", "Identity", "Expand"):
        return first
    if op == "Tile":
        times = sizes(given[1]) or []
        others = [n for k, n in enumerate(times) if k != axis]
        return first if len(times) == a.ndim and set(others) == {1} else None
    if op == "Unsqueeze" and a.ndim == 2:
        places = attributes.get("axes") or sizes(given[1])
        return Rows(a[None], 1) if places in ([0], [-3]) else None
    if op == "Slice" and axis == 1 and len(given) == 4 and sizes(given[3]) in ([0], [-3]):
        start, end = _scalar(given[1]), _scalar(given[2])
        return Rows(a[start[0] : end[0]], 1) if start and end else None
    if op == "Concat" and all(isinstance(v, Rows) and v.axis == 1 for v in given):
        parts = [v.array for v in given if isinstance(v, Rows)]
        return Rows(np.concatenate(parts), 1) if attributes.get("axis") in (0, -3) else None
    return None


def _whole(value: Value) -> list[int] | None:
    """Return the known whole numbers of a value."""
    found = [value] if isinstance(value, int) else sizes(value)
    return None if found is None or any(isinstance(n, str) for n in found) else found  # type: ignore[return-value]


def _is_whole(value: Value) -> bool:
    """Return whether a value is an array of whole numbers: sizes, not data."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "iu"


def _scalar(value: Value) -> list[Any] | None:
    """Return the number in an array of one entry as a list."""
    if isinstance(value, np.ndarray) and value.size == 1:
        return [value.ravel()[0].item()]
    return value if isinstance(value, list) and len(value) == 1 else None
