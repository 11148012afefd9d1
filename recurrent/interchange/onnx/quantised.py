"""Our own functions of ONNX's operators on int8 and uint8.

Where the file itself quantises data, by DynamicQuantizeLinear, the result has the bits that ONNX
says. ONNX Runtime's own DynamicQuantizeMatMul, which does that inside, is computed in float32 here,
as its LSTM is: nearer to the float model.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .functions import MAKERS
from .known import Known, Run
from .numeric import own
from .quantised_lstm import MICROSOFT
from .windows import Convolution, matmul, product

__all__ = ["MAKERS"]


@own("DequantizeLinear")
def _dequantize(node: Known) -> Run | None:
    axis = node.attributes.get("axis", 1)
    if node.attributes.get("block_size") or node.attributes.get("output_dtype"):
        return None

    def run(x: Any, scale: Any, zero: Any = None) -> Any:
        y = x.astype(scale.dtype)
        if zero is not None:
            y -= _along(zero, x.ndim, axis).astype(scale.dtype)
        return y * _along(scale, x.ndim, axis)

    return run


@own("QuantizeLinear")
def _quantize(node: Known) -> Run | None:
    axis, zero = node.attributes.get("axis", 1), node.constant(2)
    dtype = np.dtype(np.uint8) if zero is None else zero.dtype
    if dtype.kind not in "iu" or any(
        node.attributes.get(name) for name in ("block_size", "output_dtype", "precision")
    ):
        return None

    def run(x: Any, scale: Any, zero: Any = None) -> Any:
        y = np.rint(x / _along(scale, x.ndim, axis))
        if zero is not None:
            y += _along(zero, x.ndim, axis)
        ends = np.iinfo(dtype if zero is None else zero.dtype)
        return np.clip(y, ends.min, ends.max).astype(ends.dtype)

    return run


def _along(a: np.ndarray, rank: int, axis: int) -> np.ndarray:
    """Return a number as it is, and a vector with its entries along one of `rank` axes."""
    if a.size == 1:
        return a.reshape(())
    shape = [1] * rank
    shape[axis] = -1
    return a.reshape(shape)


def plain(codes: np.ndarray, zero: np.ndarray | None, axis: int) -> np.ndarray:
    """Return codes without zero point as float64, of which sums of products are exact.

    A vector of zero points has one for each position but those along `axis`, the last or the one
    before it.
    """
    found = codes.astype(np.float64)
    if zero is not None:
        found -= zero.reshape(()) if zero.size == 1 else np.expand_dims(zero, axis)
    return found


def real(codes: np.ndarray, scale: np.ndarray, zero: np.ndarray | None) -> np.ndarray:
    """Return the matrix (K, N) that codes stand for, with one scale or N."""
    return (plain(codes, zero, -2) * scale).astype(scale.dtype)


@own("MatMulInteger")
def _matmul_integer(node: Known) -> Run:
    B: Any = node.constant(1)
    held = plain(B, node.constant(3), -2) if B is not None and node.known(3) else None

    def run(A: Any, B: Any, a_zero: Any = None, b_zero: Any = None) -> Any:
        b = plain(B, b_zero, -2) if held is None else held
        return product(plain(A, a_zero, -1), b).astype(np.int32)

    return run


@own("ConvInteger")
def _conv_integer(node: Known) -> Run:
    groups = node.attributes.get("group", 1)

    def convolution(W: Any, zero: Any) -> Convolution:
        w = W.astype(np.float64)
        if zero is not None:
            w -= _along(zero, W.ndim, 0)
        return Convolution(node, w, None, groups)

    W: Any = node.constant(1)
    held = convolution(W, node.constant(3)) if W is not None and node.known(3) else None

    def run(x: Any, W: Any, x_zero: Any = None, w_zero: Any = None) -> Any:
        made = convolution(W, w_zero) if held is None else held
        x = x.astype(np.float64)
        if x_zero is not None:
            x -= x_zero.reshape(())
        return made(x).astype(np.int32)

    return run


@own(f"{MICROSOFT}.DynamicQuantizeMatMul")
def _dynamic_matmul(node: Known) -> Run:
    B, scale = node.constant(1), node.constant(2)
    held: Any = None
    if B is not None and scale is not None and node.known(3):
        held = real(B, scale, node.constant(3))
    multiply = matmul(node._replace(constants=[None, held]))

    def run(A: Any, B: Any, scale: Any, zero: Any = None, bias: Any = None) -> Any:
        y = multiply(A, real(B, scale, zero) if held is None else held)
        return y if bias is None else y + bias

    return run


@own(f"{MICROSOFT}.MatMulIntegerToFloat")
def _matmul_to_float(_: Known) -> Run:
    def run(
        A: Any, B: Any, a_scale: Any, b_scale: Any, a_zero: Any = None, b_zero: Any = None,
        bias: Any = None,
    ) -> Any:  # fmt: skip
        y = product(plain(A, a_zero, -1), plain(B, b_zero, -2)) * a_scale * b_scale
        return (y if bias is None else y + bias).astype(a_scale.dtype)

    return run
