"""ONNX Runtime's LSTM with quantised weights.

It is computed in float32 here, where ONNX Runtime also rounds x and h to 8 bits in each step: the
weights are the same, and the results nearer to those of the float model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...engine.engine import Engine
from ...engine.params import sizes_of
from ...engine.stepping import PackedParams
from ...kernels.quantized import MOST, Quantized
from ...layers import Recurrent
from .operators import Operator, Weights

MICROSOFT = "com.microsoft"  # the domain of ONNX Runtime's own operators
KIND = "DynamicQuantizeLSTM"
PLACES = (8, 9, 10, 11)  # those of scales and zero points among the inputs; the others as in LSTM
MATRICES = ("W_ih", "W_hh")


class QuantisedLSTM:
    """One DynamicQuantizeLSTM node without its arrays; it is used as an `Operator`.

    Codes of W and R have shape (directions, K, 4*H). Scales and zero points have one entry for each
    direction, or (directions, 4*H).
    """

    def __init__(self, attributes: Mapping[str, Any]):
        self.operator = Operator("LSTM", attributes)

    def weights(
        self, W: Any, R: Any, B: Any, P: Any, W_scale: Any, W_zero: Any, R_scale: Any, R_zero: Any
    ) -> Weights:
        """Return the weights of a run, packed: int8 as `quantize` keeps them if the codes fit."""
        W, W_scale = _codes(W, W_scale, W_zero, "W")
        R, R_scale = _codes(R, R_scale, R_zero, "R")
        if max(np.abs(a).max(initial=0) for a in (W, R)) > MOST:
            return self.operator.weights(W * W_scale, R * R_scale, B, P)
        scales = self.operator.fields(
            np.broadcast_to(W_scale, W.shape), np.broadcast_to(R_scale, R.shape), None, None
        )
        made = []
        for (options, own), (_, rows) in zip(self.operator.fields(W, R, B, P), scales, strict=True):
            engine = Engine(self.operator.kind.family(**options))
            held: dict[str, Any] = {n: np.ascontiguousarray(a) for n, a in own.items()}
            for n in MATRICES:
                held[n] = Quantized(held[n].astype(np.int8), rows[n][:, 0].copy())
            params = engine.Params(**held)
            sizes = sizes_of(engine.cell, params)
            made.append((engine, PackedParams(engine.cell, engine.kernels, sizes, params)))
        return Weights(self.operator, made)

    def layer(
        self, W: Any, R: Any, B: Any, P: Any, W_scale: Any, W_zero: Any, R_scale: Any, R_zero: Any
    ) -> Recurrent:
        """Return a layer with the weights that the codes stand for, float32."""
        W, W_scale = _codes(W, W_scale, W_zero, "W")
        R, R_scale = _codes(R, R_scale, R_zero, "R")
        return self.operator.layer(W * W_scale, R * R_scale, B, P)


def _codes(Q: Any, scale: Any, zero: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return codes (directions, 4*H, K) without zero point as float32; scales that multiply them.

    Scales have shape (directions, 4*H, 1) or (directions, 1, 1).
    """
    if Q.ndim != 3 or Q.dtype not in (np.int8, np.uint8):
        raise ValueError(f"{name} must be int8 or uint8 of three axes, got {Q.dtype} {Q.shape}")
    if scale is None:
        raise ValueError(f"{name}_scale is missing")
    count, _, rows = Q.shape
    found = []
    for word, a in (("scale", scale), ("zero_point", np.zeros(count) if zero is None else zero)):
        if a.shape not in ((count,), (count, 1), (count, rows)):
            raise ValueError(
                f"{name}_{word} must be ({count},) or ({count}, {rows}), got {a.shape}"
            )
        found.append(a.reshape(count, -1, 1).astype(np.float32))
    return Q.swapaxes(1, 2).astype(np.float32) - found[1], found[0]
