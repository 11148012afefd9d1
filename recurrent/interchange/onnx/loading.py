"""Reads ONNX files: nothing outside them, sizes that they declare checked, then optimised."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ... import checks

MOST_NODES = 100_000
MOST_DEPTH = 16  # graphs within graphs
MOST_FOLDED = 1_000_000  # entries of an array that the optimiser may compute
NEWEST_OPSET = 22


def load(source: Any) -> Any:
    """Return the checked ModelProto of a path, of the bytes of a file, or of a ModelProto.

    Raises
    ------
    TypeError
        If source is something else.
    ValueError
        If it is no model, is damaged, or keeps arrays in other files.
    OSError
        If the file cannot be read.
    ImportError
        If onnx is not installed.
    """
    onnx = _onnx()
    if isinstance(source, onnx.ModelProto):
        model = onnx.ModelProto()
        model.CopyFrom(source)
    else:
        model = _parsed(onnx, source)
    _check(onnx, model)
    return model


@contextmanager
def damage() -> Iterator[None]:
    """Turn the errors of nodes that are not as ONNX says into a ValueError of one line."""
    try:
        yield
    except (IndexError, KeyError, AttributeError, OverflowError, RuntimeError) as error:
        words = " ".join(str(error).split())
        raise ValueError(f"the file is damaged: {words:.200}") from None


def _onnx() -> Any:
    try:
        import onnx
    except ImportError:
        raise ImportError(
            "ONNX files need onnx and onnxscript: pip install recurrent-engine[onnx]"
        ) from None
    return onnx


def _parsed(onnx: Any, source: Any) -> Any:
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    elif isinstance(source, (str, os.PathLike)):
        data = checks.path(source, "model").read_bytes()
    else:
        raise TypeError(
            "model must be the path of a file, its bytes or a ModelProto of onnx, "
            f"got {checks.shown(source)}"
        )
    from google.protobuf.message import DecodeError

    try:  # load_external_data=False: no other file is read
        return onnx.load_model_from_string(data)
    except (DecodeError, ValueError):
        raise ValueError("the file is damaged, or no ONNX file") from None


def _check(onnx: Any, model: Any) -> None:
    """Raise ValueError for what no model may have."""
    if not model.graph.node or not model.graph.output:
        raise ValueError("the file has no graph with nodes and outputs: it is no ONNX model")
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), None)
    if opset is None:
        raise ValueError("the model names no version of ONNX's operators (opset_import)")
    count = 0
    for graph in graphs(onnx, model.graph):
        count += len(graph.node)
        if count > MOST_NODES:
            raise ValueError(f"the model must have at most {MOST_NODES:,} nodes")
        for tensor in tensors(onnx, graph):
            _check_tensor(onnx, tensor)
        if graph.sparse_initializer:
            raise ValueError("sparse initialisers are not read")
    _check_order(onnx, model.graph, frozenset())


def _check_order(onnx: Any, graph: Any, outer: frozenset[str]) -> None:
    """Raise ValueError unless each node reads what is computed before it, and names are unique."""
    known = {"", *(i.name for i in graph.input), *(t.name for t in graph.initializer)}
    for node in graph.node:
        label = f"node {checks.shown(node.name or node.op_type)}"
        for name in node.input:
            if name not in known and name not in outer:
                raise ValueError(
                    f"{label} reads {checks.shown(name)}, which nothing before it computes"
                )
        for a in node.attribute:
            for inner in [a.g] if a.type == onnx.AttributeProto.GRAPH else a.graphs:
                _check_order(onnx, inner, outer | known)
        for name in node.output:
            if name and name in known:
                raise ValueError(f"{label} computes {checks.shown(name)}, which is there already")
            known.add(name)
    for one in graph.output:
        if one.name not in known and one.name not in outer:
            raise ValueError(f"the output {checks.shown(one.name)} is computed by no node")


def graphs(onnx: Any, graph: Any, depth: int = 0) -> Iterator[Any]:
    """Yield a graph and those within its nodes (If, Loop and Scan have such)."""
    if depth > MOST_DEPTH:
        raise ValueError(f"graphs must be nested at most {MOST_DEPTH} deep")
    yield graph
    for node in graph.node:
        for a in node.attribute:
            for inner in [a.g] if a.type == onnx.AttributeProto.GRAPH else a.graphs:
                yield from graphs(onnx, inner, depth + 1)


def tensors(onnx: Any, graph: Any) -> Iterator[Any]:
    """Yield the initialisers of a graph, and the arrays among the attributes of its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for a in node.attribute:
            if a.type == onnx.AttributeProto.TENSOR:
                yield a.t
            yield from a.tensors


def _check_tensor(onnx: Any, tensor: Any) -> None:
    """Raise ValueError if the array is in another file, or has not the entries that it declares."""
    name = checks.shown(tensor.name)
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise ValueError(
            f"array {name} is in another file, which is not read: save the model as one file "
            "(onnx.save with save_as_external_data=False)"
        )
    if tensor.data_type not in onnx.TensorProto.DataType.values()[1:]:
        raise ValueError(f"array {name} has the unknown dtype {tensor.data_type}")
    size = 1
    for n in tensor.dims:
        if n < 0:
            raise ValueError(f"array {name} declares {n} entries along an axis")
        size *= n
    held = max(
        len(tensor.raw_data),
        *(len(values) for values in (
            tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data,
            tensor.uint64_data, tensor.string_data,
        )),
    )  # fmt: skip
    if size > 2 * held:  # at least half a byte for each entry
        raise ValueError(f"array {name} declares {size:,} entries, more than the file has")


def optimised(model: Any) -> Any:
    """Return the model with what is constant computed, and nodes without effect left out.

    Nodes without a name get that of their first output. The model itself if the optimiser cannot
    read it: it is not needed for the result.
    """
    for graph in graphs(_onnx(), model.graph):
        for node in graph.node:  # the optimiser would call them all "node"
            node.name = node.name or next((n for n in node.output if n), "")
    try:
        import onnx_ir
        from onnxscript import optimizer
    except ImportError:
        return model
    try:
        with _silent("onnx_ir", "onnxscript"):
            inner = onnx_ir.from_proto(model)
            optimizer.optimize(inner, output_size_limit=MOST_FOLDED)
            return onnx_ir.to_proto(inner)
    except Exception:  # what the optimiser makes of it is no part of the contract
        return model


@contextmanager
def _silent(*names: str) -> Iterator[None]:
    """Let the loggers of packages, and those below them, write nothing."""
    known = logging.Logger.manager.loggerDict
    loggers = [logging.getLogger(name) for name in names]
    loggers += [
        one for name, one in known.items()
        if isinstance(one, logging.Logger) and name.startswith(tuple(f"{n}." for n in names))
    ]  # fmt: skip
    before = [(one, one.disabled) for one in loggers]
    for one in loggers:
        one.disabled = True
    try:
        yield
    finally:
        for one, was in before:
            one.disabled = was


def attributes(onnx: Any, node: Any) -> dict[str, Any]:
    """Return the attributes of a node by name, texts as str."""
    found = {}
    for a in node.attribute:
        value = onnx.helper.get_attribute_value(a)
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], bytes):
            value = [v.decode(errors="replace") for v in value]
        found[a.name] = value
    return found
