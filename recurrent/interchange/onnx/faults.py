"""Finds what exporters get wrong and a file still shows: a lost projection, a fixed length."""

from __future__ import annotations

import warnings
from typing import Any

from . import loading
from .operators import KINDS

MOST_LABELS = 8  # axes of free length that are looked at
LOOPS = (*KINDS, "Scan", "Loop")
# What computes each step of its output from the same step of its input.
STEPWISE = {
    "Add", "Cast", "Div", "Gather", "Identity", "Less", "MatMul", "Mul", "Neg", "Relu", "Sigmoid",
    "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip


def check(model: Any) -> None:
    """Raise ValueError for a wrong LSTM; warn if a file of free length computes some steps only.

    In the second case the length in the model becomes that number of steps.
    """
    import onnx

    kinds = {node.op_type for graph in loading.graphs(onnx, model.graph) for node in graph.node}
    if "LSTM" in kinds:
        _projections(onnx, model.graph)
    if kinds.isdisjoint(LOOPS):
        _unrolled(onnx, model)


def _projections(onnx: Any, graph: Any) -> None:
    """Raise ValueError for an LSTM whose states have different sizes, which ONNX does not have."""
    widths = {t.name: t.dims[-1] for t in graph.initializer if t.dims}
    for value in (*graph.value_info, *graph.input):
        dims = value.type.tensor_type.shape.dim
        if dims and dims[-1].dim_value:
            widths[value.name] = dims[-1].dim_value
    for node in graph.node:
        if node.op_type == "LSTM":
            h, c = ([*node.input, *[""] * 7][k] for k in (5, 6))
            sizes = widths.get(h), widths.get(c)
            if None not in sizes and sizes[0] != sizes[1]:
                raise ValueError(
                    f"{node.name or 'an LSTM'} has an initial_h of {sizes[0]} units and an "
                    f"initial_c of {sizes[1]}: PyTorch's exporter writes an LSTM with proj_size so "
                    "and loses its projection; write from_torch(module)"
                )


def _unrolled(onnx: Any, model: Any) -> None:
    """Warn if an axis is free by the inputs, and the nodes read a fixed number of its places."""
    constants = _constants(onnx, model.graph)
    turned = onnx.ModelProto()
    turned.CopyFrom(model)
    for node in turned.graph.node:  # both directions take as many places
        if node.op_type == "Slice" and _number(constants.get(([*node.input] * 5)[4])) == -1:
            node.op_type = "Identity"
            del node.input[1:]
    graph, axes = _inferred(onnx, turned)
    made = {name: node for node in graph.node for name in node.output}
    free = {i.name: axes[i.name] for i in graph.input}
    labels = dict.fromkeys(label for own in free.values() for label in own if label)
    for label in list(labels)[:MOST_LABELS]:
        steps, todo, seen = 0, [o.name for o in graph.output], set(constants)
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            if label in free.get(name, ()):
                break  # more than fixed places of it are read
            node = made.get(name)
            if node is None or node.op_type == "Shape":
                continue
            read = _places(onnx, node, label, axes, made, constants)
            if read is None:
                todo += node.input
            elif not _stepwise(read[0], free, label, made):
                break
            else:
                steps = max(steps, read[1])
        else:
            if steps:
                words = f"{steps} step{'s' * (steps > 1)}"
                _fix(
                    model,
                    label,
                    steps,
                    f"unrolled the loop over time to {words}, and calls its length {label} free: "
                    f"the nodes are right for {words} alone",
                )


def frozen(original: Any, model: Any) -> None:
    """Warn if a Reshape holds the length of the example that an exporter ran on a free axis.

    ONNX Runtime computes something else of other lengths, or fails.

    Parameters
    ----------
    original, model : ModelProto
        The file, and what the optimiser made of it, whose inputs get the length.
    """
    import onnx

    constants = _constants(onnx, original.graph)
    nodes = [
        node for node in original.graph.node
        if node.op_type == "Reshape" and len(node.input) > 1 and node.input[1] in constants
    ]  # fmt: skip
    if not nodes:
        return
    graph, axes = _inferred(onnx, original)
    free = {label for i in graph.input for label in axes[i.name] if label}
    found = {}
    for node in nodes:
        given, target = axes.get(node.input[0], []), constants[node.input[1]].ravel().tolist()
        for k, (label, n) in enumerate(zip(given, target, strict=False)):
            others = [one for one in given[k + 1 :] if one in free]
            if n > 1 and label in free and len(others) == sum(m < 1 for m in target[k + 1 :]):
                found[label] = n
            if n != 0:
                break
    for label, n in found.items():
        _fix(
            model,
            label,
            n,
            f"wrote the length {n} into a Reshape, and calls it free ({label}): the nodes are "
            "right for that length alone",
        )


def _inferred(onnx: Any, model: Any) -> tuple[Any, dict[str, list[str]]]:
    """Return a graph with the types of its values, and the labels of their axes that have one."""
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # whatever it finds: the file is read with the types that it has
        graph = model.graph
    values = (*graph.value_info, *graph.input, *graph.output)
    return graph, {v.name: [d.dim_param for d in v.type.tensor_type.shape.dim] for v in values}


def _constants(onnx: Any, graph: Any) -> dict[str, Any]:
    """Return the integers among initialisers and nodes Constant by name."""
    found = {t.name: t for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = node.attribute[0].t
    kinds = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
    return {n: onnx.numpy_helper.to_array(t) for n, t in found.items() if t.data_type in kinds}


def _number(a: Any) -> int | None:
    """Return the integer in an array of one entry; None for anything else."""
    return int(a.item()) if a is not None and a.size == 1 and a.dtype.kind in "iu" else None


def _places(onnx, node, label, axes, made, constants):
    """Return the array of which a node takes fixed places of an axis, and the end of them.

    None if it is no such node.
    """
    own = loading.attributes(onnx, node)
    if node.op_type == "SequenceAt":
        cut = made.get(node.input[0])
        if cut is None or cut.op_type != "SplitToSequence":
            return None
        own, source, last = (
            loading.attributes(onnx, cut),
            cut.input[0],
            _number(constants.get(node.input[1])),
        )
    elif node.op_type == "Split":
        source, last = node.input[0], len(node.output) - 1
    elif node.op_type == "Gather":
        source, last = node.input[0], _number(constants.get(node.input[1]))
    else:
        return None
    shape = axes.get(source, [])
    axis = own.get("axis", 0)
    here = -len(shape) <= axis < len(shape) and shape[axis] == label
    return (source, last + 1) if here and last is not None and last >= 0 else None


def _stepwise(name, free, label, made) -> bool:
    """Return whether each place of an array depends on the same place of the input alone."""
    todo, seen = [name], set()
    while todo:
        name = todo.pop()
        if name in seen or label in free.get(name, ()) or name not in made:
            continue
        seen.add(name)
        node = made[name]
        if node.op_type not in (*STEPWISE, "Constant", "Shape"):
            return False
        todo += [] if node.op_type == "Shape" else node.input
    return True


def _fix(model: Any, label: str, length: int, words: str) -> None:
    """Write a length into the inputs that call it free, and warn."""
    for value in model.graph.input:
        for d in value.type.tensor_type.shape.dim:
            if d.dim_param == label:
                d.dim_value = length
    by = f"{model.producer_name} {model.producer_version}".strip() or "the exporter"
    warnings.warn(
        f"{by} {words}, which x must have here. Read the original by from_torch or from_keras",
        stacklevel=5,
    )
