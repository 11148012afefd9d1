"""Nodes that turn axes, take places of them, or go over one: steps, states, directions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...layers import Embedding, Last, Layer, MaxPool, MeanPool
from ..assemble import filled
from . import shapes
from .axes import FAR, Data, NotLayers, chosen_states, place_of
from .node import Node

POOLS = {"ReduceMean": MeanPool, "ReduceMax": MaxPool}
GLOBAL_POOLS = {"GlobalAveragePool": MeanPool, "GlobalMaxPool": MaxPool}
MERGES = {"ReduceSum": "sum", "ReduceMean": "average", "ReduceProd": "mul"}
INTEGERS = (2, 3, 4, 5, 6, 7, 12, 13)  # ONNX's numbers of the integer dtypes


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
    if label in ("S", "G"):
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
    return replace(data, axes=data.axes[:axis] + data.axes[axis + 1 :]).of_direction()


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
    if label == "F":
        return _half(node, data, start[0], end[0])
    last = (start[0], end[0] >= FAR) == (-1, True)
    if not last and (start[0], end[0]) != (0, 1):
        raise NotLayers(several)
    if data.size(label) == 1:
        return data
    data = _step(node, data, label, -1 if last else 0)
    return replace(data, axes=(*data.axes[:axis], "1", *data.axes[axis + 1 :])).of_direction()


def _split(node: Node) -> dict[str, Data]:
    """Return each of stacked states, or the units of each direction."""
    data, sizes = node.alone(), node.integers("split", 1)
    axis = data.axis(node.own.get("axis", 0))
    label, count = data.axes[axis], len(node.outputs)
    whole = data.size(label)
    if sizes is None and isinstance(whole, int) and whole % count == 0:
        sizes = [whole // count] * count
    if sizes is None or len(sizes) != count or sum(sizes) != whole or min(sizes) < 1:
        raise NotLayers("the sizes of its parts are not known")
    ends = [sum(sizes[: k + 1]) for k in range(count)]
    found = {}
    for name, start, end in zip(node.outputs, [0, *ends], ends, strict=False):
        if label == "S":
            found[name] = chosen_states(data, axis, slice(start, end))
        elif label == "F":
            found[name] = _half(node, data, start, end)
        else:
            raise NotLayers("it takes several places of an axis")
    return {name: one for name, one in found.items() if name}


def _half(node: Node, data: Data, start: int, end: int) -> Data:
    """Return the units of one direction of a bidirectional layer."""
    layer: Any = node.walk.layers.get(data.place, (None, ()))[0]
    H = getattr(layer, "hidden_size", 0)
    if getattr(layer, "merge", None) != "concat" or data.sizes.get("F") != 2 * H:
        raise NotLayers("it takes some of the features")
    places = slice(start, end).indices(2 * H)[:2]
    if data.half is not None or places not in ((0, H), (H, 2 * H)):
        raise NotLayers("it takes some of the features")
    sizes = {**data.sizes, "F": H}
    return replace(data, half=int(places[0] > 0), sizes=sizes, sole=False).of_direction()


def _step(node: Node, data: Data, label: str, k: int) -> Data:
    """Return the first or the last step of each sequence; the axes stay as they are."""
    walk = node.walk
    if label not in ("a", "b") or k not in (0, -1):
        raise NotLayers(f"it takes place {k} of an axis, which is not the last step")
    walk.steps(label)
    layer: Any = walk.layers.get(data.place, (None, ()))[0]
    walk.whole.append(node.name)
    if getattr(layer, "merge", None) == "concat" and "D" not in data.axes:
        return replace(data, step=k, sole=False)
    ways = walk.ways(data.place)
    if ways != ({False} if k else {True}) and (ways or k == 0):
        raise NotLayers(
            "at the last step the reverse direction has read a single step"
            if ways == {False, True}
            else f"it takes step {k}, which is not the last one of the layer below"
        )
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
    data = data if data.is_whole else node.walk.features(data)
    return replace(data, place=node.put(layer, data), sole=False)


def _merge(node: Node, data: Data, axis: int) -> Data:
    """Return the steps of both directions, merged by the layer itself."""
    if data.sizes["D"] != 2:
        raise NotLayers("it merges one direction")
    axes = tuple("F" if one == "H" else one for k, one in enumerate(data.axes) if k != axis)
    return merged(node, replace(data, axes=axes, sizes={"F": data.sizes["H"]}), MERGES[node.op])


def merged(node: Node, data: Data, way: str) -> Data:
    """Return the output of a bidirectional layer that merges its directions in another way."""
    layer, read = node.walk.layers[data.place]
    options: Any = {**layer.options, "merge": way}
    twin: Any = filled(type(layer)(**options), dict(layer.parameters))
    place = node.walk.put(data.place, "", twin, *read)  # the other one is left out if it is unused
    return replace(data, place=place, half=None, sole=False)


def _global_pool(node: Node) -> Data:
    data = node.walk.features(node.alone())
    if len(data.axes) != 3 or data.axes[1] != "F" or data.axes[2] not in ("a", "b"):
        raise NotLayers("it goes over axes that are not time")
    data = _pooled(node, data, data.axes[2], GLOBAL_POOLS[node.op]())
    return replace(data, axes=(*data.axes[:2], "1"))


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
    **dict.fromkeys({**POOLS, **MERGES}, _reduce),
    **dict.fromkeys(GLOBAL_POOLS, _global_pool),
    "Gather": _gather,
    "Slice": _slice,
    "Split": _split,
}
