"""Limits on what a file may ask for: a result that is too large is refused, not computed."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np

MOST_ENTRIES = 1 << 27  # of a result: 512 MiB of float32
MOST_STEPS = 1 << 18  # of all loops of one call
MOST_AXES = 64
STEPS = 1  # the slot of a frame that counts them


def checked(size: float) -> None:
    """Raise ValueError if a result of `size` entries is too large."""
    if size > MOST_ENTRIES:
        raise ValueError(f"a result must have at most {MOST_ENTRIES:,} entries, got {size:,.0f}")


def count(frame: list[Any], steps: int = 1) -> None:
    """Count steps of a loop; raise ValueError if those of this call are too many."""
    frame[STEPS] += steps
    if frame[STEPS] > MOST_STEPS:
        raise ValueError(f"loops must end after at most {MOST_STEPS:,} steps in all")


def shape(sizes: Iterable[Any]) -> tuple[int, ...]:
    """Return a shape of ints whose array is not too large."""
    found = tuple(int(n) for n in sizes)
    if any(n < 0 for n in found):
        raise ValueError(f"sizes must be at least 0, got {found}")
    checked(prod(found))
    return found


def broadcast(*arrays: Any) -> None:
    """Raise ValueError if arrays are too large once they are broadcast."""
    if prod([a.size for a in arrays]) > MOST_ENTRIES:  # no result is larger than that
        checked(prod(np.broadcast_shapes(*[a.shape for a in arrays])))
