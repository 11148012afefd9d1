"""Recurrent layers: as RNN, LSTM or GRU where ONNX has the cell, else as a Scan."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...cells import gru_cell, lstm_cell, rnn_cell
from ...engine.bidirectional import REVERSE
from ...layers import Recurrent
from ...layers.recurrent import NAMES
from ..formats import ONNX, reordered
from .builder import Builder
from .cells import scan

# Activations of an RNN: ONNX's names of those that have no numbers.
_FUNCTIONS = {
    "tanh": "Tanh",
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "softsign": "Softsign",
    "softplus": "Softplus",
}
_REDUCE = {"mul": "ReduceProd", "average": "ReduceMean"}


def operator(layer: Recurrent, dtype: np.dtype) -> dict[str, Any] | None:
    """Return the attributes of the operator that computes a layer; None if a Scan has to.

    ONNX Runtime has no such operators of float64, so float64 models have a Scan.
    """
    if dtype != np.float32:
        return None
    cell, clip = layer.cell, layer.options.get("clip")
    common = {"biases": cell.biases, "clip": clip}
    more = {"clip": float(clip)} if clip else {}
    for f in _FUNCTIONS:
        if cell.digest == rnn_cell(nonlinearity=f, **common).digest:
            return {"op_type": "RNN", "activations": [_FUNCTIONS[f]], **more}
    for peephole in (False, True):
        if cell.digest == lstm_cell(peephole=peephole, **common).digest:
            return {"op_type": "LSTM", **more}
    for after in (False, True):
        if cell.digest == gru_cell(reset_after=after, **common).digest:
            return {"op_type": "GRU", "linear_before_reset": int(after), **more}
    return None


def write_recurrent(b: Builder, place: Any, layer: Recurrent, x: str) -> str:
    """Add a recurrent layer; return the name of its output."""
    initial = {s: place.initial_state(layer, s, x) for s in layer.state_sizes}
    attributes = operator(layer, b.dtype)
    if attributes is None:
        return _scans(b, place, layer, x, initial)
    return _operator(b, place, layer, x, attributes, initial)


def _ends(layer: Recurrent) -> list[str]:
    """Return the ends of the names of each direction."""
    return ["", REVERSE] if layer.bidirectional else [""]


def _scans(b, place, layer, x, initial) -> str:
    """Add a Scan for each direction; return the name of the output (T, N, K)."""
    outputs, final, states = [], {}, layer.cell.states
    fields = layer.engine.shapes(*layer.sizes)._fields
    valid = b.valid(place.lengths, x) if place.lengths else None
    for end in _ends(layer):
        first = [
            initial[f"{s}{end}"] or b.rows(b.constant(0), x, layer.state_sizes[f"{s}{end}"])
            for s in states
        ]
        params = {n: place.parameter(f"{NAMES.get(n, n)}_l0{end}") for n in fields}
        backwards = layer.reverse or end == REVERSE
        y, last = scan(b, layer.cell, layer.sizes, params, x, first, valid, backwards)
        outputs.append(y)
        final |= {f"{s}{end}": a for s, a in zip(states, last, strict=True)}
    place.final_states(final)
    return _merged(b, layer, outputs)


def _merged(b: Builder, layer: Recurrent, outputs: list[str]) -> str:
    """Return the outputs of both directions merged."""
    if len(outputs) == 1:
        return outputs[0]
    if layer.merge == "concat":
        return b.add("Concat", *outputs, axis=-1)
    y = b.add("Mul" if layer.merge == "mul" else "Add", *outputs)
    return b.add("Mul", y, b.constant(0.5)) if layer.merge == "average" else y


def _operator(b, place, layer, x, attributes, initial) -> str:
    """Add an RNN, LSTM or GRU; return the name of the output (T, N, K)."""
    kind, cell, H, ends = attributes.pop("op_type"), layer.cell, layer.hidden_size, _ends(layer)
    gates = ONNX.gates[kind.lower()].split()

    def stacked(name: str) -> np.ndarray:
        """Return an array of all directions in the order of ONNX's gates."""
        arrays = [layer.parameters[f"{name}_l0{end}"] for end in ends]
        return np.stack([reordered(a, cell.gates, gates) for a in arrays])

    inputs = [x]
    for name in ("weight_ih", "weight_hh"):
        inputs.append(b.matrix(place.name(f"{name}_l0"), stacked(name)))
    bias = ""
    if cell.biases:
        b_ih = stacked("bias_ih")
        b_hh = stacked("bias_hh") if cell.biases == 2 else np.zeros_like(b_ih)
        bias = b.parameter(f"{place.prefix}bias_l0", np.concatenate([b_ih, b_hh], axis=1))
    inputs += [bias, place.lengths or ""]
    for s in cell.states:
        rows = [initial[f"{s}{end}"] for end in ends]
        rows = [b.add("Unsqueeze", a, b.ints(0)) for a in rows if a]
        inputs.append(b.add("Concat", *rows, axis=0) if rows else "")
    if cell.parameters:  # peepholes
        names = [[f"p_{g}_l0{end}" for g in "iof"] for end in ends]
        P = np.stack([np.concatenate([layer.parameters[n] for n in row]) for row in names])
        inputs.append(b.parameter(f"{place.prefix}peepholes_l0", P))
    while inputs[-1] == "":
        inputs.pop()
    direction = "bidirectional" if len(ends) == 2 else "reverse" if layer.reverse else "forward"
    if "activations" in attributes:
        attributes["activations"] = attributes["activations"] * len(ends)
    Y, *final = b.add_many(
        kind, inputs, 1 + len(cell.states), hidden_size=H, direction=direction, **attributes
    )
    states = {}
    for s, a in zip(cell.states, final, strict=True):
        for k, end in enumerate(ends if place.states else ()):
            states[f"{s}{end}"] = b.add("Gather", a, b.constant(k, np.int64), axis=0)
    place.final_states(states)
    if len(ends) == 1:
        return b.add("Squeeze", Y, b.ints(1))
    if layer.merge == "concat":
        turned = b.add("Transpose", Y, perm=[0, 2, 1, 3])
        return b.add("Reshape", turned, b.ints(0, 0, 2 * H))
    if layer.merge == "sum":
        return b.add("ReduceSum", Y, b.ints(1), keepdims=0)
    return b.add(_REDUCE[layer.merge], Y, axes=[1], keepdims=0)
