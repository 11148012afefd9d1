"""Finds the function that computes a node of ONNX: one of our own, else onnx's in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from . import bounds, quantised
from .known import DOMAINS, Known, Run, integers

MAKERS = quantised.MAKERS  # with those of functions, windows and numeric


def resolved(node: Known) -> Run:
    """Return the function of a node: arrays in; an array out, or a tuple for several outputs."""
    axis = node.attributes.get("axis", 0)
    if isinstance(axis, int) and abs(axis) > bounds.MOST_AXES:
        raise ValueError(f"axis must be within {bounds.MOST_AXES} axes, got {axis:,}")
    kind, domain = node.proto.op_type, node.proto.domain
    make = MAKERS.get(kind if domain in DOMAINS else f"{domain}.{kind}")
    return (make(node) if make else None) or _reference(node)


def _reference(node: Known) -> Run:
    """Return onnx's function of a node, without its checks at each call."""
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpFunction, OpRun
    from onnx.reference.ops import load_op

    proto = node.proto
    loaded: Any = None
    try:
        if proto.domain in DOMAINS and not any(a.HasField("g") for a in proto.attribute):
            kind = load_op("", proto.op_type, node.opset, evaluator_cls=ReferenceEvaluator)
            loaded = kind(proto, _parameters(node))
    except (RuntimeError, NotImplementedError, TypeError, AttributeError, ValueError) as error:
        words = " ".join(str(error).split())
        raise ValueError(f"it cannot be run: {words:.200}") from None
    if loaded is None or isinstance(loaded, OpFunction):
        return _limited(node, _evaluated(node))
    run = loaded._run
    if type(loaded).run is OpRun.run:
        own = {name: getattr(loaded, name) for name in loaded.attributes_names_}
        if node.outputs == 1:
            return _limited(node, lambda *inputs: _array(run(*inputs, **own)[0]))
        return _limited(node, lambda *inputs: run(*inputs, **own))
    return _limited(node, lambda *inputs: _array(run(*inputs)[0]))


def _array(value: Any) -> Any:
    return value if isinstance(value, list) else np.asarray(value)


def _parameters(node: Known) -> dict[str, Any]:
    """Return what onnx's operators are made with."""
    return {
        "log": lambda *_: None,
        "opsets": {"": node.opset},
        "verbose": 0,
        "new_ops": None,
        "existing_functions": {},
    }


def _evaluated(node: Known) -> Run:
    """Return the function of a node that onnx computes by other nodes, or of another domain."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    proto = onnx.NodeProto()
    proto.CopyFrom(node.proto)
    given = list(proto.input)
    names = {name: f"x{k}" for k, name in enumerate(dict.fromkeys(given)) if name}
    outputs = [f"y{k}" if name else "" for k, name in enumerate(proto.output)]
    proto.input[:] = [names.get(name, "") for name in given]
    proto.output[:] = outputs
    graph = onnx.helper.make_graph(
        [proto],
        "node",
        [onnx.helper.make_empty_tensor_value_info(n) for n in names.values()],
        [onnx.helper.make_empty_tensor_value_info(n) for n in outputs if n],
    )
    opsets = [onnx.helper.make_opsetid(proto.domain, node.opset)]
    if proto.domain not in DOMAINS:  # of the nodes that it stands for
        opsets.append(onnx.helper.make_opsetid("", onnx.defs.onnx_opset_version()))
    try:
        evaluator = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=opsets))
    except Exception as error:  # onnx's operators raise all kinds
        words = " ".join(str(error).split())
        raise ValueError(f"it cannot be run: {words:.200}") from None

    def run(*inputs: Any) -> Any:
        feeds = {names[n]: a for n, a in zip(given, inputs, strict=True) if n}
        found: Any = iter(evaluator.run(None, feeds))
        values = [next(found) if name else None for name in outputs]
        return values[0] if len(values) == 1 else tuple(values)

    return run


# Operators of onnx whose results may be larger than their inputs

Size = Callable[..., float]


def _resized(x: Any, *more: Any) -> float:
    """Return the entries of a Resize or an Upsample: the last input has scales or sizes."""
    last: Any = next((a for a in reversed(more) if a is not None and a.size), np.ones(1))
    if last.dtype.kind in "iu":
        return prod(integers(last))
    return x.size * float(np.prod(last))


def _einsum(equation: str) -> Size:
    def size(*arrays: Any) -> float:
        left, _, right = equation.replace(" ", "").partition("->")
        known = {}
        for term, a in zip(left.split(","), arrays, strict=False):
            known |= dict(zip(term.replace("...", ""), a.shape, strict=False))
        if not right or "..." in equation:
            return prod(a.size for a in arrays)
        return prod(known.get(letter, 1) for letter in right)

    return size


def _size(node: Known) -> Size | None:
    """Return the function that counts the entries of the result of a node from its inputs."""
    own, kind = node.attributes, node.proto.op_type
    if kind in ("Resize", "Upsample"):
        if "scales" in own:
            return lambda x: x.size * prod(own["scales"])
        return _resized
    if kind == "Einsum":
        return _einsum(own.get("equation", ""))
    if kind in ("RandomNormal", "RandomUniform"):
        return lambda: prod(own.get("shape", ()))
    return {
        "OneHot": lambda indices, depth, _: indices.size * int(depth.item()),
        "HannWindow": lambda n: n.item(), "HammingWindow": lambda n: n.item(),
        "BlackmanWindow": lambda n: n.item(),
        "CenterCropPad": lambda x, shape: prod(integers(shape)) * x.size,
        "Col2Im": lambda x, shape, block: x.size * prod(integers(shape)),
        "MaxUnpool": lambda x, _, shape=None: x.size if shape is None else prod(integers(shape)),
        "Multinomial": lambda x: len(x) * own.get("sample_size", 1),
        "DFT": lambda x, n=None, *_: x.size * (1 if n is None else n.item()),
        "MelWeightMatrix": lambda bins, length, *_: bins.item() * length.item(),
        "Tile": lambda x, *counts: x.size * prod(int(np.max(c)) for c in counts),
    }.get(kind)  # fmt: skip


def _limited(node: Known, run: Run) -> Run:
    """Return the function of a node that refuses large results before they are computed."""
    size = _size(node)
    if size is None:
        return run

    def limited(*inputs: Any) -> Any:
        bounds.checked(size(*inputs))
        return run(*inputs)

    return limited
