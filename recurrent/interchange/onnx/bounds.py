"""Limits on what a file may ask for: large results are refused before memory is taken."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

MOST_ENTRIES = 1 << 26  # of a result, unless it is a small multiple of what it is made from
MOST_GROWTH = 4  # that multiple
MOST_STEPS = 1_000_000  # of a Loop or a Scan


def checked(size: int, given: int = 0) -> None:
    """Raise ValueError if a result of `size` entries is too large; `given` is that of its input."""
    if size > MOST_ENTRIES and size > MOST_GROWTH * given:
        raise ValueError(f"a result must have at most {MOST_ENTRIES:,} entries, got {size:,}")


def shape(sizes: Iterable[int], given: int = 0) -> tuple[int, ...]:
    """Return a shape of ints whose array is not too large."""
    found = tuple(int(n) for n in sizes)
    if any(n < 0 for n in found):
        raise ValueError(f"sizes must be at least 0, got {found}")
    checked(prod(found), given)
    return found
