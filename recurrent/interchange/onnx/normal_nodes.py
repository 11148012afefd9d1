"""LayerNorm as exporters of older opsets write it: the mean, the variance, and what follows.

(x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * weight + bias, one node for each operation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...layers import LayerNorm
from ..assemble import filled
from .axes import Data, Normal
from .node import Node, short


def part(node: Node) -> Data | None:
    """Return what a node makes of data as a part of a LayerNorm; None if it is none."""
    data = [node.data(k) for k in node.reads]
    stages = [one.normal.stage if one.normal else "" for one in data]
    first = data[0]
    one, *others = (replace(a, normal=None, sole=False) for a in data)
    if node.op == "ReduceMean" and stages[0] in ("", "square") and len(data) == 1:
        whole = stages[0] or (first.is_whole and "D" not in first.axes)
        return _stage(first, "variance" if stages[0] else "mean") if whole and _mean(node) else None
    if others == [one]:  # parts of one array
        if node.op == "Sub" and stages == ["", "mean"] and first.is_whole:
            return _stage(first, "centred")
        if node.op == "Div" and stages == ["centred", "deviation"]:
            return _stage(data[1], "normal")
        if node.op == "Mul" and stages == ["centred", "centred"]:
            return _stage(first, "square")
    if len(data) > 1 or not stages[0]:
        return None
    if node.op == "Sqrt" and stages == ["added"]:
        return _stage(first, "deviation")
    if len(node.inputs) != 2:
        return None
    constant: Any = node.array(1 - node.reads[0])
    if node.op == "Pow" and stages == ["centred"] and node.reads == [0]:
        return _stage(first, "square") if constant is not None and (constant == 2).all() else None
    if node.op == "Add" and stages == ["variance"] and np.size(constant) == 1:
        return _stage(first, "added", eps=short(np.ravel(constant)[0]))
    width = (first.sizes.get("F"),)
    if node.op == "Mul" and stages == ["normal"] and np.shape(constant) == width:
        return _stage(first, "scaled", weight=node.weight(1 - node.reads[0]))
    if node.op == "Add" and stages == ["scaled"] and np.shape(constant) == width:
        normal: Any = first.normal
        arrays = {"weight": normal.weight, "bias": node.weight(1 - node.reads[0])}
        layer = filled(LayerNorm(width[0] or 0, normal.eps), arrays)
        return node.on_features(replace(first, normal=None), layer)
    return None


def _mean(node: Node) -> bool:
    """Return whether a ReduceMean goes over the features, and keeps their axis."""
    data, along = node.data(0), node.integers("axes", 1)
    one = along is not None and len(along) == 1 and node.own.get("keepdims", 1) == 1
    return bool(one and along and data.axes[data.axis(along[0])] == "F")


def _stage(data: Data, stage: str, **more: Any) -> Data:
    """Return the data at another stage."""
    normal = replace(data.normal or Normal(""), stage=stage, **more)
    return replace(data, normal=normal, sole=False)
