"""Reads ONNX files: nothing outside them, sizes that they declare checked, then optimised."""

from __future__ import annotations

import logging
import math
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ... import checks
from ...models import files, foreign
from ..damage import damage

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
    elif isinstance(source, (bytes, bytearray, memoryview)):
        model = _parsed(onnx, bytes(source))
    elif isinstance(source, (str, os.PathLike)):
        return _from_file(onnx, checks.path(source, "model"))
    else:
        raise TypeError(
            "model must be the path of a file, its bytes or a ModelProto of onnx, "
            f"got {checks.shown(source)}"
        )
    with damage():
        check(onnx, model)
    return model


def _from_file(onnx: Any, path: Path) -> Any:
    """Return the checked ModelProto of a file; errors name it, and say what else it is."""
    if os.path.isdir(path):
        raise IsADirectoryError(foreign.folder(path))
    files.check_readable(path)
    try:
        with damage():
            model = _parsed(onnx, path.read_bytes())
            check(onnx, model)
        return model
    except ValueError as error:
        words = foreign.file(path)
        other = words is not None and "an ONNX file" not in words
        raise ValueError(f"{path}: {words if other else error}") from None


def _onnx() -> Any:
    try:
        import onnx
    except ImportError:
        raise ImportError(
            "ONNX files need onnx and onnxscript: pip install recurrent-engine[onnx]"
        ) from None
    return onnx


def _parsed(onnx: Any, data: bytes) -> Any:
    from google.protobuf.message import DecodeError

    try:  # load_external_data=False: no other file is read
        return onnx.load_model_from_string(data)
    except (DecodeError, ValueError):
        raise ValueError("the file is damaged, or no ONNX file") from None


def check(onnx: Any, model: Any) -> None:
    """Raise ValueError for what no model may have."""
    if not model.graph.node or not model.graph.output:
        raise ValueError("the file has no graph with nodes and outputs: it is no ONNX model")
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), None)
    if opset is None:
        raise ValueError("the model names no version of ONNX's operators (opset_import)")
    for function in (model.graph, *model.functions):
        count = 0
        for graph in graphs(onnx, function):
            count += len(graph.node)
            if count > MOST_NODES:
                raise ValueError(f"the model must have at most {MOST_NODES:,} nodes")
            for tensor in tensors(onnx, graph):
                _check_tensor(onnx, tensor)
            sparse = (onnx.AttributeProto.SPARSE_TENSOR, onnx.AttributeProto.SPARSE_TENSORS)
            kinds = [a.type for node in graph.node for a in node.attribute]
            if getattr(graph, "sparse_initializer", ()) or not set(sparse).isdisjoint(kinds):
                raise ValueError("sparse arrays are not read")
    _check_functions(onnx, model)
    _check_order(onnx, model.graph, frozenset())


def _check_functions(onnx: Any, model: Any) -> None:
    """Raise ValueError for functions that call themselves, or make too many nodes of a few."""
    bodies = {(f.domain, f.name, f.overload): f for f in model.functions}
    counts: dict[tuple, int] = {}  # nodes of each function, with those of all that it calls
    calls = {
        key: Counter(
            (node.domain, node.op_type, node.overload)
            for graph in graphs(onnx, body)
            for node in graph.node
        )
        for key, body in {**bodies, (): model.graph}.items()
    }
    waiting, within = list(calls), set()
    while waiting:
        key = waiting[-1]
        left = [call for call in calls[key] if call in bodies and call not in counts]
        if left and key in within:
            raise ValueError(f"the function {checks.shown(left[0][1])} calls itself")
        if left:
            within.add(key)
            waiting += left
            continue
        within.discard(waiting.pop())
        counts[key] = sum(n * counts.get(call, 1) for call, n in calls[key].items())
        if counts[key] > MOST_NODES:
            raise ValueError(
                f"the model must have at most {MOST_NODES:,} nodes, with its functions"
            )


def _check_order(onnx: Any, graph: Any, outer: frozenset[str]) -> None:
    """Raise ValueError unless each node reads what is computed before it, and names are unique."""
    inputs, arrays = ([one.name for one in some] for some in (graph.input, graph.initializer))
    for kind, names in (("input", inputs), ("initialiser", arrays)):
        for name, count in Counter(names).items():
            if not name or count > 1:
                words = (
                    f"has the name {checks.shown(name)} {count} times" if name else "has no name"
                )
                raise ValueError(f"an {kind} {words}: names must differ")
    known = {"", *inputs, *arrays}
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
        if not one.name or (one.name not in known and one.name not in outer):
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
    yield from getattr(graph, "initializer", ())  # a function has none
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


def named(model: Any) -> Any:
    """Return the model; its nodes without a name get that of their first output.

    The optimiser would call them all "node".
    """
    for graph in graphs(_onnx(), model.graph):
        for node in graph.node:
            node.name = node.name or next((n for n in node.output if n), "")
    return model


def optimised(model: Any) -> Any:
    """Return the model with what is constant computed, and nodes without effect left out.

    The model itself if the optimiser cannot read it: it is not needed for the result.
    """
    try:
        import onnx_ir
        from onnxscript import optimizer
    except ImportError:
        return model
    try:
        with _silent("onnx_ir", "onnxscript"):
            inner = onnx_ir.from_proto(model)
            optimizer.optimize_ir(inner, output_size_limit=MOST_FOLDED, should_fold=_is_small)
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


def _is_small(node: Any) -> bool | None:
    """Return False for a node whose outputs may be large: the optimiser runs it to see."""
    for value in node.outputs:
        shape = value.shape
        if shape is None or not shape.is_static() or math.prod(shape.numpy()) > MOST_FOLDED:
            return False
    return None  # as the optimiser does otherwise


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
