"""Chooses how much of a packed matrix is read at a time, by the sizes of the caches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

from .codegen.target import Target, processor, target
from .matmul import WHOLE

# Share of a cache for the piece of a panel that all rows pass before the next piece is read.
SHARE = 0.6
# Processors that read panels from their second-level cache as fast as they compute, by the
# beginning of LLVM's names: on a Zen 5, pieces for the first-level cache made products of K = 512
# to 1024 up to 7 % slower.
FROM_SECOND_CACHE = ("znver",)
# Fewer rows than this read a panel in one piece: they read it again so rarely that storing and
# taking up the accumulators takes longer.
FEW = 16


class Caches(NamedTuple):
    """Bytes of the caches of one processor core, and of the one that panels are read from."""

    first: int
    second: int
    panels: int


@cache
def caches() -> Caches:
    """Return the sizes that the system reports; where it does not, those of a small processor."""
    first = _reported("SC_LEVEL1_DCACHE_SIZE") or 32 * 1024
    second = _reported("SC_LEVEL2_CACHE_SIZE") or 1 << 20
    return Caches(first, second, second if processor().startswith(FROM_SECOND_CACHE) else first)


def _reported(name: str) -> int:
    """Return a number of `os.sysconf`, 0 if the system does not know it."""
    try:
        return max(os.sysconf(name), 0)
    except (AttributeError, ValueError, OSError):
        return 0


@cache
def _length(t: Target, vectors: int, size: int) -> int:
    """Return the number of rows of a panel of so many vectors that fit in the share of a cache."""
    return max(int(SHARE * size) // (vectors * t.lanes * t.weight_size) // 8 * 8, 8)


def piece(t: Target, vectors: int, K: int, rows: int) -> int:
    """Return the length of the pieces of K in which `rows` rows read panels, see `tile.Cut`."""
    if rows < FEW:
        return WHOLE
    length = _length(t, vectors, 0 if _shortest else caches().panels)
    return length if length < K else WHOLE


_shortest = False


@contextmanager
def shortest_pieces() -> Iterator[None]:
    """Let panels be read in the shortest pieces, so that small sizes run the kernels of large ones.

    No bit of a result changes.
    """
    global _shortest
    before, _shortest = _shortest, True
    try:
        yield
    finally:
        _shortest = before


def reading(t: Target, piece: int) -> Target:
    """Return the target whose kernels read panels in pieces of this length."""
    return t if piece == WHOLE else target(t.dtype, t.cell, t.weights, True)


def exceed_second_cache(panels) -> bool:
    """Return whether packed weights are larger than the second-level cache of one core."""
    return panels.nbytes > caches().second
