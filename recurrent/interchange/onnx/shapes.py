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


class Counting:
    """The numbers 0, 1, 2 and so on."""


Size = int | str  # a number, or the label of an axis of unknown length
# None: not known
Value = np.ndarray | list[Size] | Size | Zeros | Lengths | Order | Counting | None


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


def _is_whole(value: Value) -> bool:
    """Return whether a value is an array of whole numbers: sizes, not data."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "iu"


def _scalar(value: Value) -> list[Any] | None:
    """Return the number in an array of one entry as a list."""
    if isinstance(value, np.ndarray) and value.size == 1:
        return [value.ravel()[0].item()]
    return value if isinstance(value, list) and len(value) == 1 else None
