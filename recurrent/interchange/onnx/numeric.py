"""Functions of ONNX's operators: our own where onnx's are slow or wrong, else onnx's in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Run = Callable[..., Any]


class Node(NamedTuple):
    """A node as an operator sees it.

    `constants` has the arrays of its inputs, None for one that is known only at a call.
    """

    proto: Any
    attributes: dict[str, Any]
    constants: list[Any]
    opset: int

    @property
    def outputs(self) -> int:
        return len(self.proto.output)


# By domain and operator: returns the function of a node, or None if it is left to onnx's.
OWN: dict[tuple[str, str], Callable[[Node], Run | None]] = {}


def resolved(node: Node) -> Run:
    """Return the function of a node: arrays in; an array out, or a tuple for several outputs."""
    make = OWN.get((node.proto.domain, node.proto.op_type))
    run = make(node) if make else None
    return run or _reference(node)


def _reference(node: Node) -> Run:
    """Return onnx's function of a node, without its checks at each call."""
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpFunction, OpRun
    from onnx.reference.ops import load_op

    from .quantised import OPERATORS

    proto = node.proto
    loaded: Any = None
    quantised = {(kind.op_domain, kind.__name__): kind for kind in OPERATORS}
    own_kind = quantised.get((proto.domain, proto.op_type))
    try:
        if own_kind is not None:
            loaded = own_kind(proto, _parameters(node))
        elif not proto.domain:
            kind = load_op("", proto.op_type, node.opset, evaluator_cls=ReferenceEvaluator)
            loaded = kind(proto, _parameters(node))
    except (RuntimeError, NotImplementedError, TypeError, AttributeError, ValueError) as error:
        words = " ".join(str(error).split())
        raise ValueError(f"it cannot be run: {words:.200}") from None
    if loaded is None or isinstance(loaded, OpFunction):
        return _evaluated(node)
    own = {}
    if type(loaded).run is OpRun.run:
        own = {name: getattr(loaded, name) for name in loaded.attributes_names_}
    elif proto.op_type in ("Max", "Min"):
        loaded._run = loaded.run  # it has several inputs
    return _unpacked(loaded._run, own, node.outputs)


def _unpacked(run: Run, own: dict[str, Any], outputs: int) -> Run:
    """Return a function that gives an array for one output, and a tuple for more."""
    if outputs == 1:
        return lambda *inputs: np.asarray(run(*inputs, **own)[0])
    return lambda *inputs: run(*inputs, **own)


def _parameters(node: Node) -> dict[str, Any]:
    return {
        "log": lambda *_: None,
        "opsets": {"": node.opset},
        "verbose": 0,
        "new_ops": None,
        "existing_functions": {},
    }


def _evaluated(node: Node) -> Run:
    """Return the function of a node that onnx computes by other nodes, or of another domain."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    proto = onnx.NodeProto()
    proto.CopyFrom(node.proto)
    names = {name: f"x{k}" for k, name in enumerate(dict.fromkeys(proto.input)) if name}
    outputs = [f"y{k}" for k in range(len(proto.output))]
    given = list(proto.input)
    for k, name in enumerate(given):
        proto.input[k] = names.get(name, "")
    for k, name in enumerate(outputs):
        proto.output[k] = name
    graph = onnx.helper.make_graph(
        [proto],
        "node",
        [onnx.helper.make_empty_tensor_value_info(n) for n in names.values()],
        [onnx.helper.make_empty_tensor_value_info(n) for n in outputs],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid(proto.domain, node.opset)]
    )
    try:
        evaluator = ReferenceEvaluator(model)
    except Exception as error:  # onnx's operators raise all kinds
        words = " ".join(str(error).split())
        raise ValueError(f"it cannot be run: {words:.200}") from None

    def run(*inputs: Any) -> Any:
        feeds = {names[n]: a for n, a in zip(given, inputs, strict=True) if n}
        found: Any = evaluator.run(None, feeds)
        return found[0] if len(found) == 1 else tuple(found)

    return run
