"""Operators of ONNX that are formulas of others, and that onnx's evaluator cannot run alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .known import Known, Run
from .numeric import own
from .windows import MAKERS

__all__ = ["MAKERS"]

_ERF = np.frompyfunc(math.erf, 1, 1)


@own("Erf")
def _erf(node: Known) -> Run:
    return lambda x: np.asarray(_ERF(x), x.dtype)


@own("Gelu")
def _gelu(node: Known) -> Run:
    if node.attributes.get("approximate", "none") == "tanh":
        return lambda x: x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return lambda x: x * (0.5 + 0.5 * np.asarray(_ERF(x / math.sqrt(2)), x.dtype))


@own("GroupNormalization")
def _group_normalization(node: Known) -> Run:
    groups, epsilon = node.attributes["num_groups"], node.attributes.get("epsilon", 1e-5)

    def run(x: Any, scale: Any, bias: Any) -> Any:
        channels = x.shape[1]
        parts = x.reshape(len(x), groups, -1)
        parts = parts - parts.mean(axis=2, keepdims=True)
        variance = np.square(parts).mean(axis=2, keepdims=True)
        y = (parts / np.sqrt(variance + x.dtype.type(epsilon))).reshape(x.shape)
        # Version 18 has one entry for each group.
        rows = [np.repeat(a, channels // len(a)) for a in (scale, bias)]
        scale, bias = (a.reshape(-1, *(1,) * (x.ndim - 2)) for a in rows)
        return y * scale + bias

    return run
