"""Numbers and derivatives on a cell's graph: every node's value for all units at a step, and the gradient's way back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from recurrent.cells import Cell
from recurrent.equations.expressions import CROSS_UNIT, OPS, Expr, evaluate, topological

from ..draw import notation
from . import unit_values
from .direction import direction_of
from .folding import folds

_INFIX = {"add": " + ", "sub": " − ", "mul": " × "}


class Step(NamedTuple):
    """One step of one sequence: x (D,), each state before (H,) and after (H,); (P,) of what a projection made."""

    t: int
    T: int
    x: np.ndarray
    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]  # dL/d state (H,), empty without a loss
    gates: dict[str, np.ndarray]  # (H,)


def step(recording: Any, layer: Any, t: int | None, n: int) -> Step:
    """Step t (the last one if None) of sequence n of a recording, as this layer saw it. Errors are those of `unit_values.read_unit`."""
    way = direction_of(layer)
    seen = unit_values.read_unit(recording, way, 0, t, n)
    mine = recording.layers[unit_values.index_in(recording, way.layer)]
    batched, t = mine.y.ndim == 3, seen.t
    found = {s: (mine.states[s + way.end], mine.dstates.get(s + way.end)) for s in way.cell.states}
    states = {s: unit_values.sequence(a, n, batched) for s, (a, _) in found.items()}
    gradients = {
        s: unit_values.sequence(d, n, batched)[t] for s, (_, d) in found.items() if d is not None
    }
    before = (
        unit_values.initial(recording, way, n)
        if seen.last is None
        else {s: a[seen.last] for s, a in states.items()}
    )
    named = ((g, mine.gates.get(g + way.end)) for g in way.cell.gates)
    gates = {g: unit_values.sequence(a, n, batched)[t] for g, a in named if a is not None}
    return Step(t, seen.T, seen.x, before, {s: a[t] for s, a in states.items()}, gradients, gates)


def forward(layer: Any, seen: Step) -> dict[str, np.ndarray]:
    """The value (H,) or (P,) of every node of the cell's graph at a step, in float64, by doing what the graph says."""
    cell, H = layer.cell, layer.hidden_size
    p = layer.params._asdict()
    parts = {}
    for name, gates, v in (
        ("ih", cell.x_gates, seen.x),
        ("hh", cell.h_gates, seen.before[cell.states[0]]),
    ):
        rows = np.asarray(p[f"W_{name}"], np.float64) @ np.asarray(v, np.float64) + p.get(
            f"b_{name}", 0
        )
        parts |= {(name, g): rows[k * H : (k + 1) * H] for k, g in enumerate(gates)}
    known = {
        a.input: sum(parts[m, a.gate] for m, used in (("ih", a.x), ("hh", a.h)) if used)
        for a in cell.accumulators
    }
    known |= {
        e: np.asarray(seen.before[s], np.float64)
        for e, s in zip(cell.previous, cell.states, strict=True)
    }
    known |= {
        e: np.asarray(p[q], np.float64)
        for e, q in zip(cell.parameter_inputs, cell.parameters, strict=True)
    }
    nodes = topological(cell.values.values())
    ids = [n.id for n in cell.graph().nodes if n.kind != "vector"]  # in the same order

    def product(e, vector):
        return _matrix(layer, e) @ vector + (
            p["b_hh"][_rows(layer, e)] if e.name and "b_hh" in p else 0
        )

    found = evaluate(nodes, known, np.float64, product)
    sizes = (layer.output_size if cell.projected_nodes[e] else H for e in nodes)
    return {k: np.broadcast_to(v, size) for k, v, size in zip(ids, found, sizes, strict=True)}


def _rows(layer, e):
    """Rows of W_hh that a product multiplies by."""
    k, H = layer.cell.h_gates.index(e.name), layer.hidden_size
    return slice(k * H, (k + 1) * H)


def _matrix(layer, e):
    """What a product within the step multiplies by."""
    params = layer.params
    return np.asarray(params.W_hh[_rows(layer, e)] if e.name else params.W_hr, np.float64)


def local_derivatives(cell: Cell) -> dict[str, list[tuple[str, Expr]]]:
    """Of each operation: its arguments in order, and the derivative of its result with respect to each.

    The derivative is the engine's own (`OPS`), in inputs named like the nodes whose values it needs.
    """
    graph, out = cell.graph(), {}
    for node in graph.nodes:
        if node.kind in OPS:
            sources = [e.source for e in graph.inputs(node.id) if not e.delay]
            leaves = {s: Expr("input", name=s) for s in (*sources, node.id)}
            one = Expr("const", value=1.0)
            found = OPS[node.kind].gradients(leaves[node.id], [leaves[s] for s in sources], one)
            out[node.id] = [(s, _simple(e)) for s, e in zip(sources, found, strict=True)]
    return out


def backward(
    cell: Cell, numbers: dict[str, np.ndarray], totals: dict[str, np.ndarray], layer: Any = None
) -> dict[str, np.ndarray]:
    """dL/d node (H,) or (P,) for every node of a step, from dL/d state after it (everything that each state does later, and
    within the step: what a recording with a loss has)."""
    graph = cell.graph()
    met = dict(
        zip((n.id for n in graph.nodes if n.kind in CROSS_UNIT), cell.cross_unit_ops, strict=True)
    )
    out = {graph.values[s]: np.asarray(a, np.float64) for s, a in totals.items()}
    given = set(out)
    local = local_derivatives(cell)
    for node in reversed(graph.nodes):
        if node.id in out and node.id in met:
            (source,), d, e = (a.source for a in graph.inputs(node.id)), out[node.id], met[node.id]
            back = np.full_like(d, d.mean()) if e.op == "mean" else _matrix(layer, e).T @ d
            if source not in given:
                out[source] = out[source] + back if source in out else back
        if node.id in out and node.id in local:
            for source, e in local[node.id]:
                if source not in given:
                    known = {leaf: numbers[leaf.name] for leaf in _leaves(e)}
                    d = out[node.id] * evaluate([e], known, np.float64)[0]
                    out[source] = out[source] + d if source in out else d
    return out


def spell(e: Expr, names: dict[str, str]) -> str:
    """An expression as people write it; `names` of its inputs.

    >>> y = Expr("input", name="g")
    >>> spell(1 - y * y, {"g": "gₜ"}), spell(y * (y + 1), {"g": "gₜ"})
    ('1 − gₜ²', 'gₜ × (gₜ + 1)')
    """
    if e.op == "input":
        return names[e.name]
    if e.op == "const":
        return f"{e.value:g}".replace("-", "−")
    if e.op == "mul" and e.args[0] is e.args[1] and e.args[0].op == "input":
        return f"{names[e.args[0].name]}²"
    parts = [spell(a, names) for a in e.args]
    if e.op in _INFIX:
        loose = [
            a.op in ("add", "sub") and (e.op == "mul" or (e.op == "sub" and k == 1))
            for k, a in enumerate(e.args)
        ]
        return _INFIX[e.op].join(
            f"({p})" if wrap else p for p, wrap in zip(parts, loose, strict=True)
        )
    if e.op == "neg":
        return f"−{parts[0]}"
    if e.op == "positive":
        return f"[{parts[0]} > 0]"
    return f"{notation.operation(e.op)}({', '.join(parts)})"


def names(cell: Cell, before: str = "t-1") -> dict[str, str]:
    """What to call the value of each node: its name at t, or how it is made of names; `before`: the time of old states."""
    graph, out = cell.graph(), {}
    named = {k: n for n, k in graph.values.items()}
    composite = {r: f for f in folds(graph) for r in f.taken}
    for node in graph.nodes:
        sources = [e.source for e in graph.inputs(node.id) if not e.delay]
        if node.kind == "previous":
            out[node.id] = notation.sub(node.label, before)
        elif node.id in named:
            out[node.id] = notation.sub(named[node.id], "t")
        elif node.kind == "sum":
            side = node.id.partition(".")[2]
            out[node.id] = f"{side or 'a'}.{node.label}"
        elif node.id in composite:
            fold = composite[node.id]
            out[node.id] = (
                f"{fold.composite.name}({', '.join(out[a] for a in fold.taken[node.id])})"
            )
        elif node.kind in OPS:
            leaves = [Expr("input", name=s) for s in sources]
            out[node.id] = spell(
                Expr(node.kind, *leaves), {s: _bracketed(out[s], node.kind) for s in sources}
            )
        elif node.kind in CROSS_UNIT:
            out[node.id] = f"{notation.operation(node.kind)}({out[sources[0]]})"
        else:
            out[node.id] = node.label
    return out


def _bracketed(text, kind):
    return f"({text})" if kind == "mul" and (" + " in text or " − " in text) else text


def _leaves(e):
    return [e] if e.op == "input" else [leaf for a in e.args for leaf in _leaves(a)]


def _simple(e):
    """The same without factors of one: gradients start from 1 here."""
    if e.op == "mul":
        a, b = (_simple(x) for x in e.args)
        return (
            b
            if a.op == "const" and a.value == 1
            else a
            if b.op == "const" and b.value == 1
            else Expr("mul", a, b)
        )
    if e.op == "neg" and e.args[0].op == "const":
        return Expr("const", value=-e.args[0].value)
    return e
