"""Rewrites models of ONNX before they are read: without functions, and without float16."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..damage import one_line
from . import loading


def inlined(model: Any) -> Any:
    """Return the model with the nodes of its functions in place of their calls.

    Raises ValueError if the functions are damaged.
    """
    import onnx
    from onnx import inliner

    if not model.functions:
        return model
    try:
        model = inliner.inline_local_functions(model)
    except Exception as error:  # it raises its own
        words = one_line(f"the functions of the model cannot be read: {error}")
        raise ValueError(words) from None
    loading.check(onnx, model)
    return model


def widened(model: Any) -> Any:
    """Return the model with float32 in place of float16 and bfloat16.

    Warn if it computes in them: weights that are only kept so have the same values in float32.
    """
    import onnx

    kind = onnx.TensorProto
    halves, found = (kind.FLOAT16, kind.BFLOAT16), False
    graphs = list(loading.graphs(onnx, model.graph))
    read = {
        name for g in graphs for node in g.node if node.op_type != "Cast" for name in node.input
    }
    for graph in graphs:
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type in halves:
                value.type.tensor_type.elem_type, found = kind.FLOAT, True
        for tensor in loading.tensors(onnx, graph):
            if tensor.data_type in halves:
                a, name = onnx.numpy_helper.to_array(tensor), tensor.name
                found = found or not name or name in read
                tensor.CopyFrom(onnx.numpy_helper.from_array(a.astype(np.float32), name))
        for node in graph.node:
            for a in node.attribute:
                if a.name in ("to", "dtype", "output_dtype", "stash_type") and a.i in halves:
                    a.i, found = kind.FLOAT, True
    if found:
        warnings.warn(
            "the file computes in float16, which the engine does not have: its arrays are read as "
            "float32, and the results are nearer to those of float32",
            stacklevel=4,
        )
    return model
