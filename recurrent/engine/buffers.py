"""Memory of tapes, used again.

A training step needs the same large arrays as the one before. The system hands them out as new pages: it has to clear
them, and the host of a virtual machine, which takes back what lies free for seconds, has to find them first: together up to
a quarter of a step. So what the last array in a block leaves stays here for the next recorded pass: as much as was
once in use at the same time, in blocks at most twice as large as what is in them. DirectionTapes only, and attention's arrays: all
tapes are in use when training takes most memory, so what is idle at other times adds nothing to the peak.
"""

from __future__ import annotations

import os
import threading
from math import prod
from typing import Any

import numpy as np

LARGE = 1 << 20  # bytes; below, the C library keeps its memory itself
LINE = 64  # bytes: a cache line, and the widest vector

_choosing = threading.Lock()
_blocks: list[_Block] = []
_most = 0  # bytes once in use at the same time


def _unlock() -> None:
    global _choosing
    _choosing = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)  # another thread may have been choosing


class _Block:
    """Memory, and how many bytes of it are in use."""

    def __init__(self, size: int):
        self.memory = np.empty(size + LINE, np.uint8)
        self.size, self.used = size, size
        self.address = -(-self.memory.ctypes.data // LINE) * LINE


class _Lease:
    """What all arrays in a block have as their base: with the last of them it goes, and the block is free."""

    def __init__(self, block: _Block, shape: tuple[int, ...], dtype: np.dtype):
        self.block = block
        self.__array_interface__ = {
            "shape": shape,
            "typestr": dtype.str,
            "data": (block.address, False),
            "version": 3,
        }

    def __del__(self):
        self.block.used = 0  # no lock: this may come in the middle of anything


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """As `np.empty`."""
    dtype = np.dtype(dtype)
    size = prod(shape) * dtype.itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    return np.asarray(_Lease(_block(size), shape, dtype))


def release() -> int:
    """Give memory that no array is in back to the system (`recurrent.release_memory`); returns how many bytes that was.

    What is in use now follows with its last array.
    """
    global _most
    with _choosing:
        free = sum(b.size for b in _blocks if not b.used)
        _blocks.clear()
        _most = 0
    return free


def _block(size: int) -> _Block:
    """The smallest free one that is large enough and no waste, or a new one; small ones that are then too many are dropped."""
    global _most
    with _choosing:
        free = sorted((b for b in _blocks if not b.used), key=lambda b: b.size)
        _most = max(_most, size + sum(b.used for b in _blocks))
        for b in free:
            if size <= b.size <= 2 * size:
                b.used = size
                return b
        over = size + sum(b.size for b in _blocks) - _most
        dropped: list[_Block] = []
        for b in free:
            if sum(d.size for d in dropped) < over:
                dropped.append(b)
        _blocks[:] = [b for b in _blocks if b not in dropped]
        _blocks.append(_Block(size))
        return _blocks[-1]
