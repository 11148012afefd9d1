"""Nodes of ONNX that data go through: the layer of each, or what it makes of the axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...layers import (
    Activation,
    Add,
    Concat,
    Conv1d,
    Dropout,
    Embedding,
    Last,
    Layer,
    LayerNorm,
    Linear,
    MaxPool,
    MeanPool,
    Multiply,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from ..assemble import array, filled
from . import shapes
from .axes import FAR, Data, NotLayers, State, chosen_states, joined_states, place_of
from .found import Found
from .operators import KINDS, Operator

PLAIN = {"Relu": ReLU, "Tanh": Tanh, "Sigmoid": Sigmoid}
# Activations with numbers: the names and the defaults in ONNX.
NUMBERED: dict[str, dict[str, float]] = {
    "LeakyRelu": {"alpha": 0.01},
    "Elu": {"alpha": 1.0},
    "ThresholdedRelu": {"alpha": 1.0},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "Softplus": {},
    "Softsign": {},
}
POOLS = {"ReduceMean": MeanPool, "ReduceMax": MaxPool}
GLOBAL_POOLS = {"GlobalAveragePool": MeanPool, "GlobalMaxPool": MaxPool}
MERGES = {"ReduceSum": "sum", "ReduceMean": "average", "ReduceProd": "mul"}
INTEGERS = (2, 3, 4, 5, 6, 7, 12, 13)  # ONNX's numbers of the integer dtypes


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
        data = self.walk.features(data) if data.states else data
        return replace(data, place=self.put(layer, data), sole=False)


# Axes


def _transpose(node: Node) -> Data:
    data = node.alone()
    return data.turned(node.own.get("perm", range(len(data.axes))[::-1]))


def _squeeze(node: Node) -> Data:
    data = node.alone()
    gone = node.integers("axes", 1)
    if not gone:
        raise NotLayers("it leaves out all axes of length 1, whichever they are")
    return data.without([data.axis(k) for k in gone])


def _unsqueeze(node: Node) -> Data:
    data = node.alone()
    return data.widened(node.integers("axes", 1) or [])


def _reshape(node: Node) -> Data:
    data = node.alone()
    target = shapes.sizes(node.walk.values.get(node.inputs[1]))
    if target is None or (node.own.get("allowzero") and 0 in target):
        raise NotLayers("the shape of a Reshape is not known")
    return data.reshaped(target, node.walk.fixed)


def _flatten(node: Node) -> Data:
    data = node.alone()
    if node.own.get("axis", 1) != 1:
        raise NotLayers("it joins the first axes")
    return data.reshaped([data.axes[0], -1], node.walk.fixed)


def _identity(node: Node) -> Data:
    return node.alone()


def _cast(node: Node) -> Data:
    data = node.alone()
    if "F" in data.axes or node.own.get("to") not in INTEGERS or data.place in node.walk.layers:
        raise NotLayers("it changes the dtype of data")
    return data


# Places of an axis


def _gather(node: Node) -> Data:
    if 1 in node.reads:
        return _embedding(node)
    data = node.alone()
    axis, index = data.axis(node.own.get("axis", 0)), node.walk.values.get(node.inputs[1])
    label = data.axes[axis]
    if isinstance(index, shapes.Order):
        return node.walk.sorted(data, label, index)
    index = node.array(1)
    k = place_of(index)
    if label == "S":
        if k is None and index is not None and index.size == 1:
            first = int(index.ravel()[0]) % len(data.states)
            return chosen_states(data, axis, slice(first, first + 1))
        if k is not None:
            return chosen_states(data, axis, k)
    if k is None:
        raise NotLayers("it takes several places of an axis")
    if data.size(label) == 1 and k in (0, -1):
        return data.without([axis])
    data = _step(node, data, label, k)
    return replace(data, axes=data.axes[:axis] + data.axes[axis + 1 :])


def _embedding(node: Node) -> Data:
    data, table = node.data(1), node.weight(0)
    if node.own.get("axis", 0) or table.ndim != 2 or "F" in data.axes or data.states:
        raise NotLayers("it is no embedding")
    place = node.put(filled(Embedding(*table.shape), {"weight": table}), data)
    return replace(data, place=place, axes=(*data.axes, "F"), sizes={"F": table.shape[1]})


def _slice(node: Node) -> Data:
    data, several = node.alone(), "it takes several places of an axis"
    start, end, along = (
        node.integers(name, k) for name, k in (("starts", 1), ("ends", 2), ("axes", 3))
    )
    step = node.array(4)
    if not start or not end or not along or len(along) > 1 or (step is not None and step != 1):
        raise NotLayers(several)
    axis = data.axis(along[0])
    label = data.axes[axis]
    if label == "S":
        return chosen_states(data, axis, slice(start[0], end[0]))
    last = (start[0], end[0] >= FAR) == (-1, True)
    if not last and (start[0], end[0]) != (0, 1):
        raise NotLayers(several)
    if data.size(label) == 1:
        return data
    data = _step(node, data, label, -1 if last else 0)
    return replace(data, axes=(*data.axes[:axis], "1", *data.axes[axis + 1 :]))


def _step(node: Node, data: Data, label: str, k: int) -> Data:
    """Return the first or the last step of each sequence; the axes stay as they are."""
    walk = node.walk
    if label not in ("a", "b") or k not in (0, -1):
        raise NotLayers(f"it takes place {k} of an axis, which is not the last step")
    walk.steps(label)
    ways = walk.ways(data.place)
    if ways != ({False} if k else {True}) and (ways or k == 0):
        raise NotLayers(
            "at the last step the reverse direction has read a single step"
            if ways == {False, True}
            else f"it takes step {k}, which is not the last one of the layer below"
        )
    walk.whole.append(node.name)
    return replace(data, place=node.put(Last() if k else Last(reverse=True), data), sole=False)


def _reduce(node: Node) -> Data:
    data, along = node.alone(), node.integers("axes", 1)
    if not along or len(along) > 1:
        raise NotLayers("it goes over more than one axis")
    axis, keeps = data.axis(along[0]), node.own.get("keepdims", 1)
    label = data.axes[axis]
    if label == "D" and node.op in MERGES and not keeps and not data.states:
        return _merge(node, data, axis)
    if label not in ("a", "b") or node.op not in POOLS:
        raise NotLayers("it goes over an axis that is not time")
    axes = (*data.axes[:axis], *("1" * bool(keeps)), *data.axes[axis + 1 :])
    return replace(_pooled(node, data, label, POOLS[node.op]()), axes=axes)


def _pooled(node: Node, data: Data, label: str, layer: Layer) -> Data:
    node.walk.steps(label)
    node.walk.whole.append(node.name)
    data = node.walk.features(data) if "D" not in data.axes else data
    return replace(data, place=node.put(layer, data), sole=False)


def _merge(node: Node, data: Data, axis: int) -> Data:
    """Return the steps of both directions, merged by the layer itself."""
    walk = node.walk
    layer, read = walk.layers[data.place]
    if not data.sole or data.place in walk.lasts or data.sizes["D"] != 2:
        raise NotLayers("the directions are merged, and read apart, too")
    options: Any = {**layer.options, "merge": MERGES[node.op]}
    merged: Any = type(layer)(**options)
    walk.layers[data.place] = filled(merged, dict(layer.parameters)), read
    axes = tuple("F" if one == "H" else one for k, one in enumerate(data.axes) if k != axis)
    return replace(data, axes=axes, sizes={"F": data.sizes["H"]})


def _global_pool(node: Node) -> Data:
    data = node.walk.features(node.alone())
    if len(data.axes) != 3 or data.axes[1] != "F" or data.axes[2] not in ("a", "b"):
        raise NotLayers("it goes over axes that are not time")
    data = _pooled(node, data, data.axes[2], GLOBAL_POOLS[node.op]())
    return replace(data, axes=(*data.axes[:2], "1"))


# Joins


def _several(node: Node) -> list[Data]:
    """Return all inputs, which are data with the same axes."""
    if len(node.reads) != len(node.inputs) or len(node.inputs) < 2:
        raise NotLayers("it joins data with a constant")
    return [node.data(k) for k in node.reads]


def _concat(node: Node) -> Data:
    data = [node.data(0)] if len(node.inputs) == 1 else _several(node)
    axis = data[0].axis(node.own["axis"])
    if len(data) == 1:
        return data[0]
    states = joined_states(data, axis)
    if states is not None:
        return states
    data = [node.walk.features(one) for one in data]
    widths = [one.sizes.get("F") for one in data]
    if data[0].axes[axis] != "F" or None in widths:
        raise NotLayers("it joins along an axis that is not that of features")
    return replace(_joined(node, Concat(), data), sizes={"F": sum(n for n in widths if n)})


def _joined(node: Node, layer: Layer, data: Sequence[Data]) -> Data:
    first = data[0]
    for one in data[1:]:
        if one.axes != first.axes or one.order != first.order:
            raise NotLayers("the axes of what it joins differ")
    return replace(first, place=node.put(layer, *data), sole=False)


def _entries_joined(node: Node, layer: Layer) -> Data:
    data = [node.walk.features(one) if one.states else one for one in _several(node)]
    for label in "DHF":
        known = {one.sizes[label] for one in data if label in one.axes and label in one.sizes}
        if len(known) > 1:
            raise NotLayers("the numbers of features of what it joins differ")
    return _joined(node, layer, data)


def _add(node: Node) -> Data:
    """Add data, or a bias to the Linear before it."""
    if len(node.reads) == len(node.inputs):
        return _entries_joined(node, Add())
    (k,) = node.reads
    data, b = node.data(k), node.weight(1 - k)
    below, read = node.walk.layers.get(data.place, (None, ()))
    if (
        not isinstance(below, Linear) or not data.sole or "bias" in below.shapes
        or data.axes[-1] != "F" or b.shape != (below.out_features,)
    ):  # fmt: skip
        raise NotLayers("what it adds is no bias")
    node.walk.layers[data.place] = _linear(below.parameters["weight"], b), read
    return replace(data, sole=False)


def _multiply(node: Node) -> Data:
    return _entries_joined(node, Multiply())


# Layers


def _recurrent(node: Node) -> dict[str, Data]:
    operator, walk = Operator(node.op, node.own), node.walk
    names = [*node.inputs, *[""] * (8 - len(node.inputs))]
    if any(k in node.reads for k in (5, 6)):
        raise NotLayers("its initial state is computed from the inputs")
    data = walk.features(node.alone())
    for k in (5, 6):
        if names[k] and not shapes.is_zero(walk.values.get(names[k])):
            raise NotLayers("it has initial states of its own")
    if len(data.axes) != 3 or data.axes[2] != "F":
        raise NotLayers("the data are no sequences of features")
    t, n = data.axes[1::-1] if operator.layout else data.axes[:2]
    walk.steps(t)
    if n not in ("a", "b"):
        raise NotLayers("the data are no sequences of features")
    walk.note_lengths(names[4], data)
    layer = operator.layer(*(node.weight(k) for k in (1, 2, 3, 7)))
    place, D, H = node.put(layer, data), len(operator.reverse), layer.hidden_size
    outputs = [*node.outputs, "", ""]
    sole = walk.readers[outputs[0]] == 1
    sizes = {"D": D, "H": H}
    steps = (n, t, "D", "H") if operator.layout else (t, "D", n, "H")
    found = {outputs[0]: Data(place, steps, sizes, sole=sole, order=data.order)}
    for k in (0, 1):
        states = tuple(State(place, d, k) for d in range(D))
        axes = (n, "S", "H") if operator.layout else ("S", n, "H")
        found[outputs[k + 1]] = Data("", axes, {"H": H}, states, order=data.order)
    return {name: one for name, one in found.items() if name}


def _linear(W: np.ndarray, b: np.ndarray | None) -> Linear:
    layer = Linear(*W.shape[::-1]) if b is not None else Linear(*W.shape[::-1], bias=False)
    filled(layer, {"weight": W} | ({} if b is None else {"bias": b}))
    return layer


def _matmul(node: Node) -> Data:
    if node.reads != [0]:
        raise NotLayers("it is no product of data with a matrix")
    W = node.weight(1)
    if W.ndim != 2:
        raise NotLayers("it is no product of data with a matrix")
    return node.on_features(node.data(0), _linear(W.T, None), W.shape[1])


def _gemm(node: Node) -> Data:
    own = node.own
    if node.reads != [0]:
        raise NotLayers("it is no Linear")
    W, b = node.weight(1), node.weight(2)
    plain = own.get("alpha", 1.0) == own.get("beta", 1.0) == 1.0 and not own.get("transA", 0)
    if not plain or len(node.data(0).axes) != 2:
        raise NotLayers("it is no Linear")
    W = W if own.get("transB", 0) else W.T
    if b is not None and b.shape != W.shape[:1]:
        raise NotLayers("its C is no bias")
    return node.on_features(node.data(0), _linear(W, b), W.shape[0])


def _softmax(node: Node) -> Data:
    data = node.alone()
    axis = node.own.get("axis", -1 if node.walk.opset >= 13 else 1)
    if axis not in (-1, len(data.axes) - 1):
        raise NotLayers("it is not along the features")
    return node.on_features(data, Softmax())


def _plain(node: Node) -> Data:
    return node.on_entries(node.alone(), PLAIN[node.op]())


def _numbered(node: Node) -> Data:
    values = [repr(_short(node.own.get(k, v))) for k, v in NUMBERED[node.op].items()]
    text = f"({', '.join(values)})" if values else ""
    return node.on_entries(node.alone(), Activation(node.op.lower() + text))


def _gelu(node: Node) -> Data:
    if node.own.get("approximate", "none") != "tanh":
        raise NotLayers("it is not the approximation by tanh")
    return node.on_entries(node.alone(), Activation("gelu_tanh"))


def _short(value: float) -> float:
    """Return the shortest number that a float32 of ONNX stands for: 0.01."""
    return float(str(np.float32(value)))


def _dropout(node: Node) -> Data:
    given = node.array(1)
    rate = node.own.get("ratio", 0.5) if given is None else float(given)
    return node.on_entries(node.alone(), Dropout(_short(rate)))


def _layer_norm(node: Node) -> Data:
    scale, bias, data = node.weight(1), node.weight(2), node.alone()
    if node.own.get("axis", -1) not in (-1, len(data.axes) - 1) or scale.ndim != 1:
        raise NotLayers("it does not normalise the features")
    given = {"weight": scale, "bias": np.zeros_like(scale) if bias is None else bias}
    eps = _short(node.own.get("epsilon", 1e-5))
    return node.on_features(data, filled(LayerNorm(scale.size, eps), given))


def _conv(node: Node) -> Data:
    W, b, own = node.weight(1), node.weight(2), node.own
    data = node.walk.features(node.alone())
    if len(data.axes) != 3 or data.axes[1] != "F" or W.ndim != 3:
        raise NotLayers("it is no convolution over time with the channels in the middle")
    if own.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise NotLayers(f"it has auto_pad={own['auto_pad']}")
    node.walk.steps(data.axes[2])
    node.walk.whole.append(node.name)
    (stride,), (dilation,) = own.get("strides", [1]), own.get("dilations", [1])
    left, right = own.get("pads", [0, 0])
    groups, k = own.get("group", 1), W.shape[2]
    padding: Any = left
    if left != right:
        if right or left != (k - 1) * dilation:
            raise NotLayers(f"it has pads={[left, right]}")
        padding = "causal"
    made = Conv1d(
        W.shape[1] * groups, W.shape[0], k, stride, padding, dilation, groups, b is not None
    )
    filled(made, {"weight": W} | ({} if b is None else {"bias": b}))
    return replace(data, place=node.put(made, data), sizes={"F": W.shape[0]}, sole=False)


AXES: dict[str, Callable[[Node], Data]] = {  # these make no layers
    "Cast": _cast,
    "Flatten": _flatten,
    "Identity": _identity,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
READERS: dict[str, Callable[[Node], Any]] = {
    **AXES,
    **dict.fromkeys(KINDS, _recurrent),
    **dict.fromkeys(PLAIN, _plain),
    **dict.fromkeys(NUMBERED, _numbered),
    **dict.fromkeys({**POOLS, **MERGES}, _reduce),
    **dict.fromkeys(GLOBAL_POOLS, _global_pool),
    "Add": _add,
    "Concat": _concat,
    "Conv": _conv,
    "Dropout": _dropout,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "LayerNormalization": _layer_norm,
    "MatMul": _matmul,
    "Mul": _multiply,
    "Slice": _slice,
    "Softmax": _softmax,
}
