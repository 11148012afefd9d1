"""Random masks: Bernoulli samples and dropout masks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import checks


def probability(value: Any, name: str) -> float:
    """Return a dropout probability; raise TypeError or ValueError unless 0 <= value < 1."""
    return checks.number(value, name, least=0, below=1)


def bernoulli(
    generator: np.random.Generator | Segments,
    p: float,
    shape: tuple[int, ...],
    dtype: Any,
    by_step: bool = False,
) -> np.ndarray:
    """Return an array of samples that are 1 with probability p, to within 2^-32, and 0 otherwise.

    `by_step`: whether the first axis is time.
    """
    if isinstance(generator, Segments):
        return generator.samples(p, shape, by_step).astype(dtype).reshape(shape)
    return _samples(generator, p, math.prod(shape)).astype(dtype).reshape(shape)


def _samples(generator, p, size) -> np.ndarray:
    """Return bool samples; each 64-bit word of the generator gives two."""
    words = generator.integers(0, 2**64, -(-size // 2), np.uint64).view(np.uint32)[:size]
    return words < np.uint32(min(round(p * 2**32), 2**32 - 1))


class Segments:
    """Stands in for the generator of a run of T time steps that is computed in segments.

    Each segment gets its part of the masks that one call for all T steps would draw, as often as it
    is computed. A mask is drawn when the first segment asks for it, and kept as bits.
    """

    CHUNK = 1 << 20  # samples drawn at a time: whole words and whole bytes

    def __init__(self, generator: np.random.Generator, T: int):
        self.generator, self.T = generator, T
        self._masks: list[np.ndarray] = []
        self.go_to(0)

    def go_to(self, step: int) -> None:
        """Begin the segment that starts at this time step."""
        self._step, self._next = step, 0

    def samples(self, p: float, shape: tuple[int, ...], by_step: bool) -> np.ndarray:
        """Return the samples of the next mask of this segment, bool, in one axis."""
        row, size = math.prod(shape[1:]), math.prod(shape)
        if self._next == len(self._masks):
            self._masks.append(self._draw(p, self.T * row if by_step else size))
        bits, first = self._masks[self._next], self._step * row if by_step else 0
        self._next += 1
        some = np.unpackbits(bits[first // 8 : (first + size + 7) // 8]).view(bool)
        return some[first % 8 :][:size]

    def _draw(self, p, size) -> np.ndarray:
        bits = np.empty((size + 7) // 8, np.uint8)
        for first in range(0, size, self.CHUNK):
            some = np.packbits(_samples(self.generator, p, min(self.CHUNK, size - first)))
            bits[first // 8 :][: some.size] = some
        return bits


def dropout_mask(
    generator: np.random.Generator | Segments,
    p: float,
    shape: tuple[int, ...],
    dtype: Any,
    by_step: bool = False,
) -> np.ndarray:
    """Return a dropout mask: entries are 0 with probability p, else 1 / (1 - p)."""
    mask = bernoulli(generator, 1 - p, shape, dtype, by_step)
    mask *= mask.dtype.type(1 / (1 - p))  # in place, to allocate no third array
    return mask
