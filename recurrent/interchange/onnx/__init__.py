"""Models in ONNX files. The package onnx is imported when a file is read."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

from ... import checks
from ...checks.guided import explained
from ...models.graph_model import Graph
from ...models.sequential import Sequential
from ..damage import damage
from . import faults, loading, rewriting, written
from .axes import NotLayers
from .chain import layered
from .network import Network

__all__ = ["Network", "from_onnx"]


@explained
def from_onnx(
    model: Any, outputs: str | Sequence[str] | None = None, gru_reset_after: bool = False
) -> Sequential | Graph | Network:
    """Make a model from one of ONNX: a file, its bytes, or a ModelProto.

    Known layers become a model that can be trained: a Sequential if they are one chain, else a
    `Graph`. Known are RNN, LSTM and GRU with the nodes around them that turn axes, Embedding,
    Linear, Conv1d, LayerNorm, Dropout, activations, the last step, the final state h, the mean and
    the maximum over time, and Add, Mul and Concat of data. Other models become a `Network`, which
    computes the outputs: recurrent nodes run in the engine, the others in NumPy. float16 is read as
    float32, with a warning.

    A file of `to_onnx` becomes the model that was written, with its names and all its layers, also
    those of your own cells.

    An input of lengths becomes the argument `lengths`, and inputs of initial states the argument
    `state`, of `forward`, and both may be left out. Outputs that are final states of layers are
    left out with a warning, as `forward` returns them by layer. Equal layers become one layer that
    is used several times, and an Embedding and a Linear with equal weights are tied.

    Parameters
    ----------
    model : str, os.PathLike, bytes or onnx.ModelProto
        The model. Files with their arrays in other files are refused.
    outputs : str or sequence of str, optional
        The names of the outputs to compute. By default all, but for final states beside other
        outputs; a model whose final states are named here becomes a Network.
    gru_reset_after : bool, default False
        Whether to read each GRU with linear_before_reset=0 as if it had 1: PyTorch's GRU has no
        other form, and some versions of its exporter write 0.

    Returns
    -------
    Sequential, Graph or Network
        Its arrays have their axes as the file has them: it is batch-first if that is. Several
        inputs and outputs are dicts by the names in the file. `Network.why` says why the nodes are
        no layers.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or arrays are neither float32 nor float64.
    ValueError
        If the file is damaged, has its arrays in other files, or a node cannot be run.
    OSError
        If the file cannot be read.
    ImportError
        If onnx is not installed.
    """
    gru_reset_after = checks.flag(gru_reset_after, "gru_reset_after")
    where = str(model) if isinstance(model, (str, os.PathLike)) else "the model"
    proto = loading.load(model)
    with checks.naming(where), damage(AssertionError):
        proto = rewriting.inlined(proto)
        names = _outputs(proto, outputs)
        _grus(proto, gru_reset_after)
        own = written.described(proto, None if outputs is None else names)
        if own is not None:
            return own
        faults.check(proto)
        proto, drop = loading.named(rewriting.widened(proto)), outputs is None
        try:
            made, told = layered(proto, names, drop)
        except NotLayers:
            simpler = loading.optimised(proto)  # slow to import, and seldom needed
            try:
                made, told = layered(simpler, names, drop)
            except NotLayers as reason:
                faults.frozen(proto, simpler)
                return Network(simpler, list(names), str(reason))
    for words in told:
        warnings.warn(words, stacklevel=3)
    return made


def _outputs(proto: Any, outputs: Any) -> tuple[str, ...]:
    """Return the names of the outputs to compute."""
    known = [o.name for o in proto.graph.output]
    if outputs is None:
        return tuple(known)
    names = [outputs] if isinstance(outputs, str) else outputs
    checks.instance(names, (list, tuple), "outputs", "the name of an output, or a list of names")
    for name in names:
        checks.choice(name, "outputs", known)
    if not names:
        raise ValueError("outputs must name at least one output, got none")
    return tuple(names)


def _grus(proto: Any, reset_after: bool) -> None:
    """Read GRU nodes as reset-after if asked for; else warn of those of PyTorch that are not."""
    import onnx

    before = [
        node
        for graph in loading.graphs(onnx, proto.graph)
        for node in graph.node
        if node.op_type == "GRU"
        and not any(a.name == "linear_before_reset" and a.i for a in node.attribute)
    ]
    if reset_after:
        for node in before:
            kept = [a for a in node.attribute if a.name != "linear_before_reset"]
            kept.append(onnx.helper.make_attribute("linear_before_reset", 1))
            del node.attribute[:]
            node.attribute.extend(kept)
    elif before and proto.producer_name.lower() == "pytorch":
        warnings.warn(
            f"{before[0].name or 'a GRU'} was written by PyTorch with linear_before_reset=0, which "
            "PyTorch's GRU does not compute: almost surely a fault of the exporter. Compare with "
            "the original, or write from_onnx(..., gru_reset_after=True)",
            stacklevel=4,
        )
