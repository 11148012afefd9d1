"""Quantised matrices: 8 or 16 bits a weight instead of 32, for weights that do not fit a cache.

int8 is symmetric with one scale a row: a weight is code * scale, with codes -127 to 127. The scale
has 16 significant bits, so this product is exact in float32, and quantising the result gives the
same codes and scale again. bfloat16 is the upper half of a float32, rounded to the nearest, ties to
even.

Kernels widen the codes in registers and compute in float32, so their results are those of the
dequantised matrix, bit for bit. In a packed matrix the scale of a row precedes its codes, as the
four bytes of a float32, the lowest first: see `with_scales`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import checks

# By name: the dtype of a code, and how many codes the scale of a row takes.
STORED = {"int8": (np.dtype(np.int8), 4), "bfloat16": (np.dtype(np.uint16), 0)}
MOST = 127  # the largest code of int8
BITS = 16  # significant bits of a scale
SMALLEST = float(np.finfo(np.float32).smallest_normal)


@dataclass(frozen=True)
class Quantized:
    """A matrix of shape (M, K) as codes and scales.

    Attributes
    ----------
    codes : ndarray, shape (M, K), int8 or uint16
        The quantised weights; uint16 holds the bits of bfloat16.
    scales : ndarray, shape (M,), float32
        The scale of each row; ones for bfloat16.
    """

    codes: np.ndarray
    scales: np.ndarray

    @property
    def weights(self) -> str:
        """Name of the kind of weights, a key of `STORED`."""
        return next(n for n, (dtype, _) in STORED.items() if dtype == self.codes.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the matrix, (M, K)."""
        return self.codes.shape

    @property
    def dtype(self) -> np.dtype:
        """Dtype of the dequantised matrix."""
        return self.scales.dtype

    def __len__(self):
        return len(self.codes)

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales."""
        return self.codes.nbytes + (self.scales.nbytes if self.weights == "int8" else 0)

    def rows(self, which: Any) -> np.ndarray:
        """Return rows of the dequantised matrix, by an index or an array of them."""
        codes = self.codes[which]
        if self.weights == "bfloat16":
            return (codes.astype(np.uint32) << 16).view(np.float32)
        return codes.astype(np.float32) * self.scales[which][..., None]

    def inside(self, zeros_and_ones: np.ndarray) -> Quantized:
        """Return a larger matrix with this one in its upper left corner."""
        rows, K = self.shape
        one = 1 if self.weights == "int8" else 0x3F80  # 1.0 in bfloat16
        codes = (zeros_and_ones * one).astype(self.codes.dtype)
        scales = np.ones(len(codes), self.scales.dtype)
        codes[:rows, :K], scales[:rows] = self.codes, self.scales
        return Quantized(codes, scales)

    def dequantized(self) -> np.ndarray:
        """Return the matrix of the rounded weights, shape (M, K), float32."""
        return self.rows(slice(None))


def quantize(W: np.ndarray, weights: str, name: str = "W") -> Quantized:
    """Quantise a matrix.

    Parameters
    ----------
    W : ndarray, shape (M, K), float32
        The matrix.
    weights : {"int8", "bfloat16"}
        The kind of weights.
    name : str
        The name of the matrix in error messages.

    Returns
    -------
    Quantized

    Raises
    ------
    TypeError
        If the matrix is not float32.
    ValueError
        If a weight is NaN or infinite, or too large for bfloat16.
    """
    checks.choice(weights, "weights", tuple(STORED))
    if W.dtype != np.float32:
        raise TypeError(f"{name} must be float32 to be quantised, got {W.dtype.name}")
    if not np.isfinite(W).all():
        raise ValueError(f"{name} must be finite to be quantised, got NaN or infinity")
    if weights == "bfloat16":
        bits = np.ascontiguousarray(W).view(np.uint32)
        codes = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
        if (codes & 0x7FFF == 0x7F80).any():
            raise ValueError(f"{name} has weights too large for bfloat16: {np.abs(W).max():.4g}")
        return Quantized(codes, np.ones(len(W), np.float32))
    peak = np.abs(W).max(axis=1, initial=0).astype(np.float64)
    m, e = np.frexp(peak / MOST)
    scales = np.maximum(np.ldexp(np.ceil(np.ldexp(m, BITS)), e - BITS), SMALLEST)
    codes = np.rint(W / scales[:, None]).astype(np.int8)
    scales[~codes.any(axis=1)] = 1  # of zeros, and of numbers that round to them
    return Quantized(codes, scales.astype(np.float32))


def with_scales(W: Any) -> np.ndarray:
    """Return the codes as float32, for the packing functions; before each row those of its scale.

    Packing moves numbers and computes nothing, so the codes of a packed matrix are exact. An array
    that is not quantised stays as it is.
    """
    if not isinstance(W, Quantized):
        return W
    codes = W.codes.astype(np.float32)
    if not STORED[W.weights][1]:
        return codes
    scales = W.scales.astype("<f4").view(np.int8).reshape(len(codes), 4)
    return np.concatenate([scales.astype(np.float32), codes], axis=1)


def dequantized(params: Any) -> Any:
    """Return a NamedTuple of parameters whose quantised matrices are dequantised."""
    return params._replace(
        **{n: a.dequantized() for n, a in params._asdict().items() if isinstance(a, Quantized)}
    )
