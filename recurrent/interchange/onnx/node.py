"""A node of ONNX that data go through, and what it asks of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...layers import Layer, Linear
from ..assemble import array
from .axes import Data, NotLayers
from .found import Found


class Node:
    """A node of the file, with its attributes and what it reads."""

    def __init__(self, walk: Found, proto: Any, own: dict[str, Any]):
        self.walk, self.own, self.op = walk, own, proto.op_type
        self.inputs, self.outputs = list(proto.input), list(proto.output)
        self.name = proto.name or proto.output[0]
        self.reads = [k for k, name in enumerate(self.inputs) if name in walk.data]

    def data(self, k: int) -> Data:
        """Return input k, which are data."""
        if k not in self.reads:
            raise NotLayers(f"input {k} does not depend on the inputs of the model")
        return self.walk.data[self.inputs[k]]

    def alone(self) -> Data:
        """Return the first input; raise NotLayers if others are data."""
        if self.reads != [0]:
            raise NotLayers("more than its first input depends on the inputs of the model")
        return self.data(0)

    def array(self, k: int) -> np.ndarray | None:
        """Return input k, a constant; None if the node has none."""
        if k >= len(self.inputs) or not self.inputs[k]:
            return None
        value = self.walk.values.get(self.inputs[k])
        if not isinstance(value, np.ndarray):
            raise NotLayers(f"{self.inputs[k]} is no constant")
        return value

    def weight(self, k: int) -> Any:
        """Return input k, a constant of float32 or float64; None if the node has none."""
        a = self.array(k)
        if a is not None and a.dtype.kind in "iu":
            raise NotLayers(f"it has quantised weights, {a.dtype}")
        return None if a is None else array(a, self.inputs[k])

    def integers(self, name: str, k: int) -> list[int] | None:
        """Return numbers that are an attribute, or input k in newer versions."""
        if name in self.own:
            value = self.own[name]
            return list(value) if isinstance(value, (list, tuple)) else [value]
        a = self.array(k)
        return None if a is None else [int(v) for v in a.ravel()]

    def put(self, layer: Layer, *read: Data) -> str:
        """Add a layer that reads these data; return its name."""
        return self.walk.put(self.name, self.op, layer, *(one.place for one in read))

    def on_features(self, data: Data, layer: Layer, width: int | None = None) -> Data:
        """Return what a layer makes of data whose last axis is features."""
        data = self.walk.features(data)
        if data.axes[-1:] != ("F",):
            raise NotLayers("the last axis of the data is not that of their features")
        sizes = data.sizes if width is None else {**data.sizes, "F": width}
        place, sole = self.put(layer, data), isinstance(layer, Linear)
        return replace(data, place=place, sizes=sizes, sole=sole)

    def on_entries(self, data: Data, layer: Layer) -> Data:
        """Return what a layer makes of each entry, whatever the axes are."""
        data = data if data.is_whole else self.walk.features(data)
        return replace(data, place=self.put(layer, data), sole=False)


def short(value: float) -> float:
    """Return the shortest number that a float32 of ONNX stands for: 0.01."""
    return float(str(np.float32(value)))
