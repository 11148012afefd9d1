"""`to_onnx` of an estimator: its network with the scaling before it and what follows it."""

from __future__ import annotations

import copy
import os
from typing import Any

import numpy as np

from .. import checks
from ..data import Scaler
from ..interchange import to_onnx
from ..layers import Layer
from ..models import files
from ..models.sequential import Sequential


def whole_onnx(
    network: Sequential,
    before: Scaler | None,
    behind: Layer | Scaler | None,
    path: str | os.PathLike | None,
    lengths: bool,
) -> Any:
    """Return a graph of x in its own units, and write it to a path if there is one.

    `before` scales x; `behind` is a last layer, or the scaling of y that is taken back.
    """
    if path is not None:
        path = checks.path(path, "path")
        files.check_writable(path)
    model = copy.deepcopy(network)
    if isinstance(behind, Layer):
        model = Sequential(model, behind)
    proto = to_onnx(model, lengths=lengths)
    if before is not None:
        _add_before(proto.graph, before)
    if isinstance(behind, Scaler):
        _add_behind(proto.graph, behind)
    if path is not None:
        files.replace(path, proto.SerializeToString())
    return proto


def _add_before(graph: Any, scaler: Scaler) -> None:
    """Let the graph begin with (x - shift) / scale."""
    for node in graph.node:
        for k, name in enumerate(node.input):
            if name == "x":
                node.input[k] = "/x scaled"
    _insert(graph, 0, "Sub", "x", "/x shift", scaler.shift, "/x shifted")
    _insert(graph, 1, "Div", "/x shifted", "/x scale", scaler.scale, "/x scaled")


def _add_behind(graph: Any, scaler: Scaler) -> None:
    """Let the graph end with y * scale + shift."""
    for node in graph.node:
        for k, name in enumerate(node.output):
            if name == "y":
                node.output[k] = "/y scaled"
    end = len(graph.node)
    _insert(graph, end, "Mul", "/y scaled", "/y scale", scaler.scale, "/y shifted")
    _insert(graph, end + 1, "Add", "/y shifted", "/y shift", scaler.shift, "y")


def _insert(graph: Any, place: int, operator: str, x: str, name: str, value: Any, y: str) -> None:
    """Insert a node of x and a constant."""
    from onnx import helper, numpy_helper  # type: ignore[import-not-found,import-untyped]

    graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    graph.node.insert(place, helper.make_node(operator, [x, name], [y], f"{name} {operator}"))
