"""How much of a packed matrix is read at a time, by the sizes of the processor's caches."""

from __future__ import annotations

import os
from functools import cache
from typing import NamedTuple

import numpy as np

from . import memory
from .codegen.target import Target
from .matmul import WHOLE

# Share of the first-level cache for the piece of a panel that all rows pass before the next one.
SHARE = 0.6
# Tiles of rows from which on that pays: fewer read a panel again so rarely that storing and taking
# up the accumulators takes longer.
TILES = 3


class Caches(NamedTuple):
    """Bytes of the caches of one processor core."""

    first: int
    second: int


class Pieces(NamedTuple):
    """How the panels of a product are read, see `codegen.tile.Cut`."""

    piece: int  # length of a piece of the summed axis
    rows: int  # the least number of rows for which panels are read in pieces
    sums: np.ndarray  # memory for the accumulators of all rows, if there are two pieces


NO_SUMS = {np.dtype(n): np.zeros(0, n) for n in ("float32", "float64")}


@cache
def caches() -> Caches:
    """Return the sizes that the system reports; where it does not, those of a small processor."""
    return Caches(
        _reported("SC_LEVEL1_DCACHE_SIZE") or 32 * 1024,
        _reported("SC_LEVEL2_CACHE_SIZE") or 1 << 20,
    )


def _reported(name: str) -> int:
    """Return a number of `os.sysconf`, 0 if the system does not know it."""
    try:
        return max(os.sysconf(name), 0)
    except (AttributeError, ValueError, OSError):
        return 0


def pieces(t: Target, vectors: int, K: int, rows: int, needs_sums: bool = True) -> Pieces:
    """Return how `rows` rows read panels of `vectors` vectors for each of the K summed numbers."""
    least = TILES * t.rows(vectors)[0]
    length = int(SHARE * caches().first) // (vectors * t.lanes * t.weight_size) // 8 * 8
    length = max(length, 8)
    if K <= length or rows < least:
        return Pieces(WHOLE, least, NO_SUMS[t.dtype])
    sums = memory.empty((rows * vectors * t.lanes,), t.dtype) if needs_sums else NO_SUMS[t.dtype]
    return Pieces(length, least, sums)
