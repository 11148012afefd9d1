"""Nodes that are layers, or join data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...engine.bidirectional import REVERSE
from ...layers import (
    Activation,
    Add,
    Concat,
    Conv1d,
    Dropout,
    Layer,
    LayerNorm,
    Linear,
    Multiply,
    Recurrent,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from ..assemble import filled
from . import shapes
from .axes import Data, NotLayers, State, joined_states
from .axis_nodes import merged
from .node import Node, short
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
ENDS = ("", REVERSE)  # of the names of both directions

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
    data = _several(node)
    first = data[0]
    halves = [one.half for one in data] == [0, 1] and replace(first, half=1) == data[1]
    if halves and first.step is None:
        return merged(node, first, "sum" if isinstance(layer, Add) else "mul")
    data = [node.walk.features(one) if not one.is_whole else one for one in data]
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
    if len(data.axes) != 3 or data.axes[2] != "F":
        raise NotLayers("the data are no sequences of features")
    t, n = data.axes[1::-1] if operator.layout else data.axes[:2]
    walk.steps(t)
    if n not in ("a", "b"):
        raise NotLayers("the data are no sequences of features")
    walk.note_lengths(names[4], data)
    layer = operator.layer(*(node.weight(k) for k in (1, 2, 3, 7)))
    states = [walk.values.get(names[k]) if names[k] else shapes.Zeros() for k in (5, 6)]
    layer = _with_states(layer, states, operator)
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


def _with_states(layer: Recurrent, given: list[Any], operator: Operator) -> Recurrent:
    """Return the layer with its initial states, if they are not zeros: they are learned here."""
    if all(map(shapes.is_zero, given)):
        return layer
    D, H = len(operator.reverse), layer.hidden_size
    learned: Any = type(layer)(**layer.options, learn_state=True)
    arrays = dict(layer.parameters)
    dtype = next(iter(arrays.values())).dtype
    for s, value in zip(layer.cell.states, given, strict=False):
        a = value.array if isinstance(value, shapes.Rows) else value
        if shapes.is_zero(value):
            a = np.zeros((D, 1, H), dtype)
        if not isinstance(a, np.ndarray) or a.shape != (D, a.shape[1], H) or a.dtype != dtype:
            raise NotLayers("its initial state is computed, or of another shape")
        if operator.layout or (a != a[:, :1]).any():
            raise NotLayers("it has an initial state for each sequence")
        arrays |= {f"{s}0{end}": a[d, 0] for d, end in enumerate(ENDS[:D])}
    filled(learned, arrays)
    return learned


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
    values = [repr(short(node.own.get(k, v))) for k, v in NUMBERED[node.op].items()]
    text = f"({', '.join(values)})" if values else ""
    return node.on_entries(node.alone(), Activation(node.op.lower() + text))


def _gelu(node: Node) -> Data:
    if node.own.get("approximate", "none") != "tanh":
        raise NotLayers("it is not the approximation by tanh")
    return node.on_entries(node.alone(), Activation("gelu_tanh"))


def _dropout(node: Node) -> Data:
    given = node.array(1)
    rate = node.own.get("ratio", 0.5) if given is None else float(given)
    return node.on_entries(node.alone(), Dropout(short(rate)))


def _layer_norm(node: Node) -> Data:
    scale, bias, data = node.weight(1), node.weight(2), node.alone()
    if node.own.get("axis", -1) not in (-1, len(data.axes) - 1) or scale.ndim != 1:
        raise NotLayers("it does not normalise the features")
    given = {"weight": scale, "bias": np.zeros_like(scale) if bias is None else bias}
    eps = short(node.own.get("epsilon", 1e-5))
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


READERS: dict[str, Callable[[Node], Any]] = {
    **dict.fromkeys(KINDS, _recurrent),
    **dict.fromkeys(PLAIN, _plain),
    **dict.fromkeys(NUMBERED, _numbered),
    "Add": _add,
    "Concat": _concat,
    "Conv": _conv,
    "Dropout": _dropout,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "LayerNormalization": _layer_norm,
    "MatMul": _matmul,
    "Mul": _multiply,
    "Softmax": _softmax,
}
