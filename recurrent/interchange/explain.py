"""The equations, the gate order and the biases of layers in words: `recurrent.explain`."""

from __future__ import annotations

from typing import Any

from .. import checks
from ..cells import Cell
from ..checks.guided import explained
from ..equations.expressions import Expr, topological
from ..layers import Layer, Recurrent
from ..models.base import Model
from .formats import FORMATS

_SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "greater": ">", "at_least": ">="}
# How tightly operations bind; what is not here is a name or a function.
_LEVEL = {"greater": 0, "at_least": 0, "add": 1, "sub": 1, "neg": 2, "mul": 2, "div": 2}


@explained
def explain(model: Model | Layer) -> str:
    """Say which equations each layer computes, in which order its gates are, and its biases.

    All of it is read from the cell that the engine runs. For cells that PyTorch, Keras and ONNX
    have too, their gate orders and biases are listed, in the names of gates here.

    Parameters
    ----------
    model : Sequential, Seq2Seq or Layer
        The model, or one layer.

    Returns
    -------
    str
        Lines of text.

    Raises
    ------
    TypeError
        If model is neither a model nor a layer.

    Examples
    --------
    >>> from recurrent import GRU
    >>> print(explain(GRU(2, 3, biases=1)))
    GRU(input_size=2, hidden_size=3, biases=1)
      r = sigmoid(W_ih.r x + b_ih.r + W_hh.r h')
      z = sigmoid(W_ih.z x + b_ih.z + W_hh.z h')
      n = tanh(W_ih.n x + b_ih.n + r * (W_hh.n h'))
      h = (1 - z) * n + z * h'
      ' marks a value of the previous step; W_ih.r are the rows of W_ih for gate r.
      gates r z n: blocks of 3 rows in weight_ih_l0 (9, 2), weight_hh_l0 (9, 3), bias_ih_l0 (9,)
      biases: one vector for each gate, b_ih
      PyTorch: gates r z n in (G*H, D); biases: two vectors, or none (bias=False)
      Keras: gates z r n in (D, G*H); biases: one vector, or none; two rows for reset_after=True
      ONNX: gates z r n in (G*H, D); biases: all of W_ih, then all of W_hh
    """
    checks.instance(model, (Layer, Model), "model", "a model or a layer")
    if isinstance(model, Layer):
        return "\n".join(_layer(model))
    lines = []
    parts: dict[str, Any] = model.parts
    for part, stack in parts.items():
        for name, layer in zip(stack.names, stack.layers, strict=True):
            first, *more = _layer(layer)
            lines += [f"{part}.{name} {first}" if part else f"{name} {first}", *more]
    return "\n".join(lines)


def _layer(layer: Layer) -> list[str]:
    """Return the lines about a layer, its name first."""
    if not isinstance(layer, Recurrent):
        about = (type(layer).__doc__ or "").strip().partition("\n")[0]
        return [repr(layer), *([f"  {about}"] if about else [])]
    cell, H = layer.cell, layer.hidden_size
    lines = [f"{name} = {text}" for name, text in equations(cell).items()]
    legend = "' marks a value of the previous step"
    if len(cell.x_gates) > 1:
        legend += f"; W_ih.{cell.x_gates[0]} are the rows of W_ih for gate {cell.x_gates[0]}"
    lines.append(f"{legend}.")
    arrays = [
        f"{name} {shape}"
        for name, shape in layer.shapes.items()
        if name.startswith(("weight_ih", "weight_hh", "bias")) and not name.endswith("_reverse")
    ]
    lines.append(
        f"gates {' '.join(cell.x_gates)}: blocks of {H} row{'s' * (H > 1)} in {', '.join(arrays)}"
    )
    lines.append(f"biases: {_biases(cell)}")
    for form in FORMATS:
        if _base(cell) in form.gates:
            gates = form.gates[_base(cell)]
            lines.append(f"{form.title}: gates {gates} in {form.layout}; biases: {form.biases}")
    return [repr(layer), *(f"  {line}" for line in lines)]


def _base(cell: Cell) -> str:
    """Return the family of a cell: "lstm" for "lstm(peephole=True)"."""
    return cell.name.partition("(")[0].removesuffix("_relu")


def _biases(cell: Cell) -> str:
    if not cell.biases:
        return "none"
    if cell.biases == 1:
        return "one vector for each gate, b_ih"
    return "two vectors for each gate, b_ih and b_hh"


def equations(cell: Cell) -> dict[str, str]:
    """Return the right side of each equation of a cell, in an order in which they can be computed.

    Parameters
    ----------
    cell : Cell
        The cell.

    Returns
    -------
    dict of str to str
        The text by the name of the gate or state.
    """
    names: dict[Any, str] = {e: f"{s}'" for e, s in zip(cell.previous, cell.states, strict=True)}
    for e in cell.parameter_inputs:
        names[e] = e.name.rpartition(".")[2]
    sums = {a.input: _sum(cell, a) for a in cell.accumulators}
    order = {e: k for k, e in enumerate(topological(cell.values.values()))}
    found = {}
    for name, e in sorted(cell.values.items(), key=lambda item: order[item[1]]):
        found[name] = _text(e, cell, names, sums)[0]
        names.setdefault(e, name)
    return found


def _rows(cell: Cell, gate: str, matrix: str, vector: str, bias: str) -> str:
    """Return the text of a product for one gate, with its bias."""
    part = f".{gate}" if len(cell.gates) > 1 else ""
    return f"{matrix}{part} {vector}" + (f" + {bias}{part}" if bias else "")


def _sum(cell: Cell, accumulator: Any) -> tuple[str, int]:
    """Return the text of a pre-activation, and how tightly it binds."""
    gate = accumulator.gate
    if gate in cell.inputs:
        return gate, 3
    terms = []
    if accumulator.x:
        terms.append(_rows(cell, gate, "W_ih", "x", "b_ih" if cell.biases else ""))
    if accumulator.h:
        previous = f"{cell.states[0]}'"
        terms.append(_rows(cell, gate, "W_hh", previous, "b_hh" if cell.biases == 2 else ""))
    return " + ".join(terms), 1


def _text(
    e: Expr, cell: Cell, names: dict[Any, str], sums: dict[Any, tuple[str, int]]
) -> tuple[str, int]:
    """Return the text of an expression, and how tightly it binds."""
    if e in names:
        return names[e], 3
    if e in sums:
        return sums[e]
    if e.op == "const":
        return repr(e.value).removesuffix(".0"), 3
    level = _LEVEL.get(e.op, 3)
    parts = []
    for k, arg in enumerate(e.args):
        text, inner = _text(arg, cell, names, sums)
        # The right side of - and / keeps its parentheses.
        tight = level + (k == 1 and e.op in ("sub", "div"))
        parts.append(f"({text})" if level < 3 and inner < tight else text)
    if e.op in _SIGNS:
        return f" {_SIGNS[e.op]} ".join(parts), level
    if e.op == "neg":
        return f"-{parts[0]}", level
    if e.op == "product":
        bias = "b_hh" if cell.biases == 2 else ""
        return _rows(cell, e.name, "W_hh", f"({parts[0]})", bias), 1 if bias else 2
    return f"{'W_hr' if e.op == 'projection' else e.op}({', '.join(parts)})", 3
