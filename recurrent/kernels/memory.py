"""Memory of the arrays that kernels read and write by whole vectors: aligned, and pooled for tapes.

NumPy's arrays begin at any multiple of 16 bytes. A vector of 64 bytes then lies in two cache lines,
which takes longer to load, so arrays here begin at a cache line. Small ones are NumPy's: aligning
them would take longer than it saves.

Each training step needs the same large arrays as the step before. The system would allocate new
pages for them and clear these pages. On a virtual machine, the host may first have to supply pages
that it reclaimed. Together this takes up to a quarter of a step. So when the last array in a block
of memory is deleted, the block stays in the pool for the next recorded pass. The size of the pool
is the peak of the memory in use, and an allocation gets a block of at most twice the size needed.
The pool serves tapes and attention only. All tapes are in use when training needs most memory, so
blocks that are free at other times do not add to the peak.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

LARGE = 1 << 20  # bytes; the C library reuses smaller blocks itself
SMALL = 1 << 13  # numbers; arrays with fewer are not aligned
SMALL_PANELS = 1 << 10  # the same for packed weights, which every time step reads
LINE = 64  # bytes: a cache line, and the widest vector

_choosing = threading.Lock()
_blocks: list[_Block] = []
_most = 0  # peak of the bytes in use


def _unlock() -> None:
    global _choosing
    _choosing = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)  # another thread may hold the lock at the fork


class _Block:
    """A block of memory, and how many of its bytes are in use."""

    def __init__(self, size: int):
        self.memory = np.empty(size + LINE, np.uint8)
        self.size, self.used = size, size
        self.address = -(-self.memory.ctypes.data // LINE) * LINE


class _Lease:
    """The base of all arrays in a block; it is deleted with the last of them, freeing the block."""

    def __init__(self, block: _Block, shape: tuple[int, ...], dtype: np.dtype):
        self.block = block
        self.__array_interface__ = {
            "shape": shape,
            "typestr": dtype.str,
            "data": (block.address, False),
            "version": 3,
        }

    def __del__(self):
        self.block.used = 0  # without the lock: this may run at any point of any thread


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an uninitialised array like `np.empty`; a larger one begins at a cache line."""
    if prod(shape) < SMALL:
        return np.empty(shape, dtype)
    return _aligned(np.empty, shape, np.dtype(dtype))


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array of zeros like `np.zeros`; a larger one begins at a cache line."""
    if prod(shape) < SMALL:
        return np.zeros(shape, dtype)
    return _aligned(np.zeros, shape, np.dtype(dtype))


def panels(size: int, dtype: np.dtype, padded: Any = True) -> np.ndarray:
    """Return a flat array for packed weights; all but very small ones begin at a cache line.

    padded: whether packing leaves numbers out, which then have to be zeros.
    """
    make = np.zeros if padded else np.empty
    return make(size, dtype) if size < SMALL_PANELS else _aligned(make, (size,), dtype)


def _aligned(make: Callable, shape, dtype) -> np.ndarray:
    """Return an array of new memory, made by np.empty or np.zeros, that begins at a cache line."""
    memory = make(prod(shape) * dtype.itemsize + LINE, np.uint8)
    # In a quarter of the time that `memory.ctypes.data` takes.
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    return np.ndarray(shape, dtype, memory, -start % LINE)


def pooled(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array like `empty`; a large one comes from the pool."""
    dtype = np.dtype(dtype)
    size = prod(shape) * dtype.itemsize
    if size < LARGE:
        return empty(shape, dtype)
    return np.asarray(_Lease(_block(size), shape, dtype))


def release() -> int:
    """Return pooled memory that is not in use to the system.

    Recorded passes keep the memory of past tapes for the next ones. Memory in use now is returned
    to the system with the last array in it.

    Returns
    -------
    int
        The number of bytes released.

    Examples
    --------
    >>> freed = release()
    >>> release()
    0
    """
    global _most
    with _choosing:
        free = sum(b.size for b in _blocks if not b.used)
        _blocks.clear()
        _most = 0
    return free


def _block(size: int) -> _Block:
    """Return the smallest free block that fits, or a new one; drop free ones beyond the peak."""
    global _most
    with _choosing:
        free = sorted((b for b in _blocks if not b.used), key=lambda b: b.size)
        _most = max(_most, size + sum(b.used for b in _blocks))
        for b in free:
            if size <= b.size <= 2 * size:
                b.used = size
                return b
        excess = size + sum(b.size for b in _blocks) - _most
        dropped: list[_Block] = []
        for b in free:
            if sum(d.size for d in dropped) < excess:
                dropped.append(b)
        _blocks[:] = [b for b in _blocks if b not in dropped]
        _blocks.append(_Block(size))
        return _blocks[-1]
