"""ONNX's operators on int8 and uint8, as classes for onnx's evaluator; imported with onnx.

Where the file itself quantises data, by DynamicQuantizeLinear, the result has the bits that ONNX
says. ONNX Runtime's own DynamicQuantizeMatMul, which does that inside, is computed in float32 here,
as its LSTM is: nearer to the float model.
"""

from __future__ import annotations

import numpy as np
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_dequantize_linear import DequantizeLinear_23
from onnx.reference.ops.op_quantize_linear import QuantizeLinear_23

from .quantised_lstm import MICROSOFT


class DequantizeLinear(DequantizeLinear_23):
    """The numbers that codes stand for. onnx's evaluator has it from version 19 on alone."""


class QuantizeLinear(QuantizeLinear_23):
    """Codes of numbers. onnx's own takes numbers beyond 2^31 for small ones."""

    def _run(self, x, y_scale, zero_point=None, axis=1, block_size=0, output_dtype=None, **own):
        dtype = np.dtype(np.uint8) if zero_point is None else zero_point.dtype
        if block_size or output_dtype or dtype.kind not in "iu":
            own |= {"axis": axis, "block_size": block_size, "output_dtype": output_dtype}
            return super()._run(x, y_scale, zero_point, **own)
        if y_scale.size > 1:
            shape = [1] * x.ndim
            shape[axis] = -1
            y_scale = y_scale.reshape(shape)
            zero_point = None if zero_point is None else zero_point.reshape(shape)
        y = np.rint(x / y_scale) + (0 if zero_point is None else zero_point)
        ends = np.iinfo(dtype)
        return (np.clip(y, ends.min, ends.max).astype(dtype),)


class MatMulInteger(OpRun):
    """The product of int8 or uint8 matrices without their zero points, int32."""

    def _run(self, A, B, a_zero_point=None, b_zero_point=None):
        # A row of A or a column of B has a zero point of its own.
        A, B = _plain(A, a_zero_point, -1), _plain(B, b_zero_point, -2)
        return (np.matmul(A, B).astype(np.int32),)


def _plain(codes: np.ndarray, zero: np.ndarray | None, axis: int) -> np.ndarray:
    """Return codes without zero point as float64, of which sums of products are exact.

    A vector of zero points has one for each position but those along `axis`.
    """
    found = codes.astype(np.float64)
    if zero is not None:
        found -= np.expand_dims(zero, axis) if zero.ndim == 1 and zero.size > 1 else zero
    return found


class ConvInteger(OpRun):
    """The convolution of int8 or uint8 arrays without their zero points, int32."""

    def _run(
        self, X, W, x_zero_point=None, w_zero_point=None, auto_pad=None, dilations=None, group=None,
        kernel_shape=None, pads=None, strides=None,
    ):  # fmt: skip
        rank = X.ndim - 2
        if rank < 1 or W.ndim != X.ndim:
            raise ValueError(f"X and W must have as many axes, 3 or more: {X.shape}, {W.shape}")
        if x_zero_point is not None and x_zero_point.size > 1:
            raise ValueError(f"x_zero_point must be one number, got {x_zero_point.shape}")
        x = X.astype(np.float64) - (0 if x_zero_point is None else x_zero_point.reshape(()))
        w = W.astype(np.float64)
        if w_zero_point is not None:
            w -= w_zero_point.reshape(-1, *(1,) * (rank + 1))
        dilations, strides = dilations or [1] * rank, strides or [1] * rank
        spans = [(k - 1) * d + 1 for k, d in zip(W.shape[2:], dilations, strict=True)]
        ends = _padding(auto_pad or "NOTSET", pads or [0] * 2 * rank, X.shape[2:], spans, strides)
        x = np.pad(x, [(0, 0), (0, 0), *ends])
        if any(n < span for n, span in zip(x.shape[2:], spans, strict=True)):
            raise ValueError(f"W spans {spans} steps, and X has {x.shape[2:]} with its padding")
        axes = tuple(range(2, 2 + rank))
        windows = np.lib.stride_tricks.sliding_window_view(x, spans, axes)  # type: ignore[call-overload]
        steps = [slice(None, None, s) for s in strides]
        taps = [slice(None, None, d) for d in dilations]
        windows = windows[(slice(None), slice(None), *steps, *taps)]
        count = group or 1
        parts = [
            np.tensordot(own, kernel, ([1, *range(2 + rank, 2 + 2 * rank)], [1, *axes]))
            for own, kernel in zip(
                np.split(windows, count, axis=1), np.split(w, count), strict=True
            )
        ]
        return (np.moveaxis(np.concatenate(parts, axis=-1), -1, 1).astype(np.int32),)


def _padding(way, pads, sizes, spans, strides) -> list[tuple[int, int]]:
    """Return how many zeros precede and follow along each axis of a convolution."""
    rank = len(sizes)
    if way == "NOTSET":
        return list(zip(pads[:rank], pads[rank:], strict=True))
    if way == "VALID":
        return [(0, 0)] * rank
    ends = []
    for n, span, stride in zip(sizes, spans, strides, strict=True):
        both = max((-(-n // stride) - 1) * stride + span - n, 0)
        more, less = both - both // 2, both // 2
        ends.append((less, more) if way == "SAME_UPPER" else (more, less))
    return ends


class DynamicQuantizeMatMul(OpRun):
    """The product of float32 and a quantised matrix, plus a bias."""

    op_domain = MICROSOFT

    def _run(self, A, B, b_scale, b_zero_point=None, bias=None, **_):
        return (_product(A, _float(B, b_scale, b_zero_point, -2), bias),)


class MatMulIntegerToFloat(OpRun):
    """The product of two quantised matrices, plus a bias, float32."""

    op_domain = MICROSOFT

    def _run(
        self, A, B, a_scale, b_scale, a_zero_point=None, b_zero_point=None, bias=None, **_
    ):  # fmt: skip
        a, b = (_plain(A, a_zero_point, -1), _plain(B, b_zero_point, -2))
        y = np.matmul(a, b) * a_scale * b_scale
        return ((y if bias is None else y + bias).astype(a_scale.dtype),)


def _float(codes: np.ndarray, scale: np.ndarray, zero: np.ndarray | None, axis: int) -> np.ndarray:
    """Return the matrix that codes stand for."""
    found = _plain(codes, zero, axis)
    found *= np.expand_dims(scale, axis) if scale.ndim == 1 and scale.size > 1 else scale
    return found.astype(scale.dtype)


def _product(A: np.ndarray, B: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    y = np.matmul(A, B)
    return y if bias is None else y + bias


OPERATORS: tuple[type[OpRun], ...] = (
    DequantizeLinear, QuantizeLinear, MatMulInteger, ConvInteger,
    DynamicQuantizeMatMul, MatMulIntegerToFloat,
)  # fmt: skip
