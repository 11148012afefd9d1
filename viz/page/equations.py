"""A cell's equations as the page computes them: what the recording lacks is worked out at each step from what it has.

The page knows sums, products and a few functions; whatever else an operation does comes with the numbers. That suffices for
the gradients too: derivatives are made of values, sums and products.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from recurrent.cells import Cell
from recurrent.equations.expressions import Expr, topological

from ..reading import evaluate
from ..reading.wiring import cell_wiring

KNOWN = (
    "add",
    "sub",
    "mul",
    "div",
    "neg",
    "positive",
    "tanh",
    "sigmoid",
    "exp",
    "sqrt",
    "relu",
)  # what cell.js knows


def computed(cell: Cell) -> list[str]:
    """Ids of the nodes whose numbers a page must be given beside what a recording has."""
    drawn, recorded = {a.id for a in cell_wiring(cell).neurons}, _recorded(cell)
    known = (*KNOWN, "const", "input")
    return [
        k
        for k, e in _expressions(cell).items()
        if k not in recorded and (k in drawn or e.op not in known)
    ]


def table(run: Any, put: Callable[[np.ndarray], list]) -> dict:
    """What cell.js computes with: "forward", id and source of each node's value in the order of computing; "backward", where
    each node's gradient goes, times what, from the last node to the first; "starts", nodes whose gradient the recording has,
    with its name; "makers", the node of each new state.
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
            p = cell.parameters[cell.parameter_inputs.index(e)]
            source = {"own": put(getattr(run.way.params, p)[run.units])}
        elif k in run.inner:
            source = {"given": put(run.inner[k])}
        elif e.op == "input":
            continue  # a dot product that nobody but its own activation sees
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
    """The values (T, H) of each node of `computed` in sequence n, in the dtype of `like` (T, H)."""
    out = {k: np.empty_like(like) for k in computed(way.cell)}
    for t in range(len(like) if out else 0):
        found = evaluate.forward(way, evaluate.step(recording, way, t, n))
        for k, a in out.items():
            a[t] = found[k]
    return out


def _expressions(cell):
    """Every node of the cell's graph but x and h themselves, by id, in the order of computing."""
    ids = [n.id for n in cell.graph().nodes if n.kind != "vector"]
    return dict(zip(ids, topological(cell.values.values()), strict=True))


def _recorded(cell):
    """The nodes that compute a gate or state, with its name; a state's name comes first."""
    values = cell.graph().values
    return {values[name]: name for name in (*cell.gates, *reversed(cell.states))}


def _plain(e: Expr) -> Any:
    """An expression as JSON: a node's id, a number, or an operation and its arguments."""
    if e.op == "input":
        return e.name
    return e.value if e.op == "const" else [e.op, *map(_plain, e.args)]
