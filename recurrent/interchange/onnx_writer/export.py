"""`to_onnx`: a model as an ONNX graph."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from ... import checks
from ...checks.guided import explained
from ...models import files
from ...models.layered import Layered
from ...models.seq2seq import Seq2Seq
from .builder import Builder
from .layers import Place, output_lengths, refused, write_layer

OPSET, IR = 17, 8
LARGEST = 2**31 - 1  # bytes of a protocol buffer


@explained
def to_onnx(
    model: Layered,
    path: str | os.PathLike | None = None,
    lengths: bool = False,
    states: bool = False,
) -> Any:
    """Write a model as an ONNX graph, for ONNX Runtime and other programs.

    x is (T, N, K), or ids (T, N), and T and N are free. RNN, LSTM and GRU are the operators of
    these names where ONNX has their equations. Any other cell, your own too, is a `Scan`, whose
    body is written from its equations. So is each cell of a float64 model: ONNX Runtime has neither
    LSTM nor Conv of float64. Dropout leaves no nodes. Quantised weights stay as small in the file:
    nodes at its beginning widen them at each run. ONNX Runtime needs at least one step and one
    sequence.

    Parameters
    ----------
    model : Sequential or Graph
        The model. Its inputs are called "x" and its output "y", or as those of the Graph.
    path : str or os.PathLike, optional
        A file to write.
    lengths : bool, default False
        Whether the graph has an input "lengths", (N,) of int32: the valid steps of each sequence,
        in all inputs. Without it all steps are valid.
    states : bool, default False
        Whether the states of recurrent layers are inputs and outputs. The initial state h of layer
        "0" is "0.h0", of one row or N; it may be left out, and is then zeros or the learned one.
        The final state is "0.hn".

    Returns
    -------
    onnx.ModelProto
        The graph, of opset 17. Parameters are initializers of their names; an RNN, LSTM or GRU has
        them in ONNX's order of gates, those of both directions in one, and all biases as
        "0.bias_l0". Codes of int8 have scales beside them, such as "0.weight.scales".

    Raises
    ------
    TypeError
        If model is neither a Sequential nor a Graph, or an argument has the wrong type.
    ValueError
        If a layer has no equal in ONNX, or the model is larger than a file can be.
    ImportError
        If the package onnx is not installed.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> from recurrent import LSTM, Embedding, Last, Linear, Sequential
    >>> graph = to_onnx(Sequential(Embedding(9, 2), LSTM(2, 3), Last(), Linear(3, 1))).graph
    >>> [node.op_type for node in graph.node]
    ['Gather', 'LSTM', 'Squeeze', 'Gather', 'Transpose', 'MatMul', 'Add', 'Identity']
    """
    _check_kind(model)
    lengths, states = checks.flag(lengths, "lengths"), checks.flag(states, "states")
    _check(model, lengths)
    if path is not None:
        path = checks.path(path, "path")
        files.check_writable(path)
    proto = _written(model, lengths, states)
    if path is not None:
        files.replace(path, proto.SerializeToString())
    return proto


def _check_kind(model: Any) -> None:
    """Raise TypeError unless a model is a Sequential or a Graph."""
    if isinstance(model, Seq2Seq):
        raise TypeError(
            "model must be a Sequential or a Graph, got Seq2Seq, whose decoder runs in a loop that "
            "to_onnx does not write: to_onnx(model.encoder) writes its encoder"
        )
    inner = getattr(model, "model", None)
    if isinstance(inner, (Layered, Seq2Seq)):  # a character model or a translator
        raise TypeError(
            f"model must be a Sequential or a Graph, got {type(model).__name__}: its network is "
            f"its attribute model, a {type(inner).__name__}"
        )
    checks.instance(model, Layered, "model", "a Sequential or a Graph")


def _check(model: Layered, lengths: bool) -> None:
    """Raise an error unless ONNX can say the model."""
    for k, layer in enumerate(model.layers):
        with checks.naming(model.where(k)):
            if why := refused(layer):
                raise ValueError(why)
    for name in (*model._wiring.inputs, *model._wiring.outputs):
        of_layer = any(name.startswith(f"{own}.") for own in model.names)
        if of_layer or name.startswith("/") or (lengths and name == "lengths"):
            raise ValueError(
                f"an input or output of the Graph is called {checks.shown(name)}, a name that the "
                "ONNX graph gives something else: choose another one"
            )
    if model.nbytes > LARGEST - 2**20:
        raise ValueError(
            f"an ONNX file has at most {LARGEST} bytes, the parameters have {model.nbytes}"
        )
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise ImportError("to_onnx needs onnx: pip install onnx") from None


def _written(model: Layered, lengths: bool, states: bool) -> Any:
    """Return the graph of a model that ONNX can say."""
    quantised = model.weights if model.weights != model.dtype.name else None
    b, wiring = Builder(model.dtype, weights=quantised), model._wiring
    values: list[Any] = []
    for v, name in enumerate(wiring.inputs):
        readers = [model.layers[k] for k in wiring.readers[v]]
        ids = any(layer.gives_lookup for layer in readers)
        width = next((a.in_features for a in readers if a.in_features is not None), f"K of {name}")
        axes = ("N", "T") if model.batch_first else ("T", "N")
        shape = [a if len(wiring.inputs) == 1 or a == "N" else f"T of {name}" for a in axes]
        kind = np.int64 if ids else model.dtype
        b.inputs.append(b.info(name, shape if ids else [*shape, width], kind))
        values.append(_turned(b, name, ids) if model.batch_first else name)
    if lengths:
        b.inputs.append(b.info("lengths", ["N"], np.int32))
    steps: list[str | None] = ["lengths" if lengths else None] * len(values)
    for k, (layer, read) in enumerate(zip(model.layers, wiring.reads, strict=True)):
        own = steps[read[0]]
        place = Place(b, f"{model.names[k]}.", layer, model._entries(k), own, states)
        x = tuple(values[v] for v in read) if layer.joins else values[read[0]]
        values.append(write_layer(place, x))
        keeps = own and layer.returns_sequence
        steps.append(output_lengths(b, layer, own) if own and keeps else None)
    outputs = []
    for name, v in wiring.outputs.items():
        has_steps = model._steps[v]
        y = _turned(b, values[v], False) if model.batch_first and has_steps else values[v]
        b.nodes.append(b.helper.make_node("Identity", [y], [name], name))
        axes = ["T of y" if len(wiring.outputs) == 1 else f"T of {name}", "N"][not has_steps :]
        axes = axes[::-1] if model.batch_first else axes
        outputs.append(b.info(name, [*axes, model._widths[v] or f"K of {name}"]))
    b.outputs[:0] = outputs
    proto = b.helper.make_model(
        b.graph("recurrent"),
        opset_imports=[b.helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="recurrent",
    )
    b.helper.set_model_props(proto, {"recurrent": json.dumps(model.describe())})
    return proto


def _turned(b: Builder, value: str, ids: bool) -> str:
    """Return a value with its first two axes swapped."""
    return b.add("Transpose", value, perm=[1, 0] if ids else [1, 0, 2])
