"""A cell's equations in the form in which the page evaluates them.

The page computes the values that a recording lacks from those it has. It knows sums, products and a
few functions; the results of other operations are stored with the numbers. That suffices for
gradients too, because derivatives consist of values, sums and products.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from recurrent.cells import Cell
from recurrent.equations.expressions import Expr, topological

from ..reading import evaluate
from ..reading.wiring import cell_wiring

# The operations of cell.js.
KNOWN = (
    "add", "sub", "mul", "div", "neg", "positive", "tanh", "sigmoid", "exp", "sqrt", "relu", "log",
    "sin", "cos", "greater", "at_least", "where",
)  # fmt: skip


def computed(cell: Cell) -> list[str]:
    """Return the ids of the nodes whose values must be stored besides those of the recording."""
    drawn, recorded = {a.id for a in cell_wiring(cell).neurons}, _recorded(cell)
    known = (*KNOWN, "const", "input")
    given = {a.input for a in cell.accumulators if a.gate in cell.inputs}
    return [
        k
        for k, e in _expressions(cell).items()
        if k not in recorded and (k in drawn or e.op not in known or e in given)
    ]


def table(run: Any, put: Callable[[np.ndarray], list]) -> dict:
    """Return the table that cell.js evaluates.

    "forward" lists the id and source of each node's value in the order of computation. "backward"
    lists the nodes that each node's gradient flows to, with the factors, from the last node to the
    first. "starts" names the recorded gradients of nodes, "makers" the node of each new state.
    """
    cell = run.layer.cell
    exprs, recorded = _expressions(cell), _recorded(cell)
    ids = {id(e): k for k, e in exprs.items()}
    ahead = []
    for k, e in exprs.items():
        if k in recorded:
            source = {"key": recorded[k]}
        elif e.op == "const":
            source = {"is": e.value}
        elif e in cell.previous:
            source = {"before": cell.states[cell.previous.index(e)]}
        elif e in cell.parameter_inputs:
            name = cell.parameters[cell.parameter_inputs.index(e)]
            source = {"own": put(run.way.parameters[name][run.units])}
        elif k in run.inner:
            source = {"inner": k}
        elif e.op == "input":
            continue  # a dot product that only its own activation uses
        else:
            source = {"is": [e.op, *(ids[id(a)] for a in e.args)]}
        ahead.append([k, source])
    local = evaluate.local_derivatives(cell)
    back = [[k, [[s, _plain(e)] for s, e in local[k]]] for k in reversed(exprs) if k in local]
    values = cell.graph().values
    starts = {values[s]: f"∂L/∂{s}" for s in cell.states}
    return {
        "forward": ahead,
        "backward": back,
        "starts": starts,
        "makers": {s: values[s] for s in cell.states},
    }


def inner(recording: Any, way: Any, n: int, like: np.ndarray) -> dict[str, np.ndarray]:
    """Return the values (T, H) of each node of `computed` in the dtype of `like` (T, H)."""
    out = {k: np.empty_like(like) for k in computed(way.cell)}
    for t in range(len(like) if out else 0):
        found = evaluate.forward(way, evaluate.step(recording, way, t, n))
        for k, a in out.items():
            a[t] = found[k]
    return out


def _expressions(cell):
    """Return the expressions of the cell's graph by id, in the order of computation."""
    ids = [n.id for n in cell.graph().nodes if n.kind != "vector"]
    return dict(zip(ids, topological(cell.values.values()), strict=True))


def _recorded(cell):
    """Return the names of the nodes that compute gates and states; a state's name comes first."""
    values = cell.graph().values
    return {values[name]: name for name in (*cell.gates, *reversed(cell.states))}


def _plain(e: Expr) -> Any:
    """Return an expression as JSON: a node's id, a number, or an operation and its arguments."""
    if e.op == "input":
        return e.name
    return e.value if e.op == "const" else [e.op, *map(_plain, e.args)]
