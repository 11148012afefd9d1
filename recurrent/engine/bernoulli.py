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
    generator: np.random.Generator, p: float, shape: tuple[int, ...], dtype: Any
) -> np.ndarray:
    """Return an array of samples that are 1 with probability p, to within 2^-32, and 0 otherwise.

    Each 64-bit word of the generator gives two samples.
    """
    size = math.prod(shape)
    words = generator.integers(0, 2**64, -(-size // 2), np.uint64).view(np.uint32)[:size]
    return (words < np.uint32(min(round(p * 2**32), 2**32 - 1))).astype(dtype).reshape(shape)


def dropout_mask(
    generator: np.random.Generator, p: float, shape: tuple[int, ...], dtype: Any
) -> np.ndarray:
    """Return a dropout mask: entries are 0 with probability p, else 1 / (1 - p)."""
    mask = bernoulli(generator, 1 - p, shape, dtype)
    mask *= mask.dtype.type(1 / (1 - p))  # in place, to allocate no third array
    return mask
