"""Values and gradients on a cell's graph: every node for all units at one step."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from recurrent.cells import Cell
from recurrent.equations.expressions import CROSS_UNIT, OPS, Expr, evaluate, topological
from recurrent.layers.recording import Recording

from ..draw import notation
from . import nodes, unit_values
from .direction import direction_of
from .folding import folds

CHOICE, SUM, PRODUCT, ATOM = range(4)  # how strongly a written formula holds together
# Sign of an operation, and how strongly its left and its right argument must hold together.
_INFIX = {
    "add": (" + ", SUM, SUM),
    "sub": (" − ", SUM, PRODUCT),
    "mul": (" × ", PRODUCT, PRODUCT),
    "div": (" / ", PRODUCT, ATOM),
}


class Step(NamedTuple):
    """One step of a sequence: x (D,), and states and gates by name, (H,) or (P,) if projected.

    `given` are the values of the cell's inputs, which are not in x.
    """

    t: int
    T: int
    x: np.ndarray
    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]  # dL/d(state), empty without a loss
    gates: dict[str, np.ndarray]
    given: dict[str, float]


def step(recording: Recording, layer: Any, t: int | None, n: int) -> Step:
    """Return the inputs, states and gates of a layer at step t (None: the last) of sequence n.

    Raises the errors of `unit_values.read_unit`.
    """
    way = direction_of(layer)
    unit = unit_values.read_unit(recording, way, 0, t, n)
    recorded = recording.layers[unit_values.index_in(recording, way.layer)]
    batched, t, end = recorded.y.ndim == 3, unit.t, way.end

    def own(arrays, names):
        """Return the arrays of this direction for sequence n, by name."""
        return {
            name: unit_values.sequence(arrays[name + end], n, batched)
            for name in names
            if name + end in arrays
        }

    states = own(recorded.states, way.cell.states)
    if unit.last is None:
        before = unit_values.initial(recording, way, n)
    else:
        before = {s: a[unit.last] for s, a in states.items()}
    return Step(
        t=t,
        T=unit.T,
        x=unit.x,
        before=before,
        after={s: a[t] for s, a in states.items()},
        gradients={s: a[t] for s, a in own(recorded.dstates, way.cell.states).items()},
        gates={g: a[t] for g, a in own(recorded.gates, way.cell.gates).items()},
        given=unit.given,
    )


def forward(layer: Any, at: Step) -> dict[str, np.ndarray]:
    """Return the value (H,) or (P,) of every node of the cell's graph at a step, in float64."""
    cell, H = layer.cell, layer.hidden_size
    params = layer.params._asdict()
    vectors = {"ih": (cell.x_gates, at.x), "hh": (cell.h_gates, at.before[cell.states[0]])}
    sums = {}
    for side, (gates, v) in vectors.items():
        W = np.asarray(params[f"W_{side}"], np.float64)
        rows = W @ np.asarray(v, np.float64) + params.get(f"b_{side}", 0)
        sums |= {(side, g): rows[k * H : (k + 1) * H] for k, g in enumerate(gates)}
    known = {}
    for a in cell.accumulators:
        if a.gate in cell.inputs:
            known[a.input] = np.full(H, at.given[a.gate], np.float64)
            continue
        sides = [side for side, used in (("ih", a.x), ("hh", a.h)) if used]
        known[a.input] = sum(sums[side, a.gate] for side in sides)
    for e, s in zip(cell.previous, cell.states, strict=True):
        known[e] = np.asarray(at.before[s], np.float64)
    for e, name in zip(cell.parameter_inputs, cell.parameters, strict=True):
        known[e] = np.asarray(params[name], np.float64)
    exprs = topological(cell.values.values())
    ids = [n.id for n in cell.graph().nodes if n.kind != "vector"]  # in the same order

    def product(e, vector):
        bias = params["b_hh"][_rows(layer, e)] if e.name and "b_hh" in params else 0
        return _matrix(layer, e) @ vector + bias

    values = evaluate(exprs, known, np.float64, product)
    sizes = (layer.output_size if cell.projected_nodes[e] else H for e in exprs)
    return {k: np.broadcast_to(v, size) for k, v, size in zip(ids, values, sizes, strict=True)}


def _rows(layer, e):
    """Return the rows of W_hh that a product multiplies by."""
    k, H = layer.cell.h_gates.index(e.name), layer.hidden_size
    return slice(k * H, (k + 1) * H)


def _matrix(layer, e):
    """Return the matrix that a product within the step multiplies by."""
    params = layer.params
    return np.asarray(params.W_hh[_rows(layer, e)] if e.name else params.W_hr, np.float64)


def local_derivatives(cell: Cell) -> dict[str, list[tuple[str, Expr]]]:
    """Return the arguments of each operation with the derivative of its result by each.

    The derivatives are the engine's own (`OPS`). Their inputs are named after the nodes whose
    values they use.
    """
    graph, out = cell.graph(), {}
    for node in graph.nodes:
        if node.kind in OPS:
            sources = [e.source for e in graph.inputs(node.id) if not e.delay]
            leaves = {s: Expr("input", name=s) for s in (*sources, node.id)}
            one = Expr("const", value=1.0)
            found = OPS[node.kind].gradients(leaves[node.id], [leaves[s] for s in sources], one)
            pairs = zip(sources, found, strict=True)
            out[node.id] = [(s, _simple(e)) for s, e in pairs if e is not None]
    return out


def backward(
    cell: Cell, numbers: dict[str, np.ndarray], totals: dict[str, np.ndarray], layer: Any = None
) -> dict[str, np.ndarray]:
    """Return dL/d(node) (H,) or (P,) for every node of a step.

    `numbers` are the values of the nodes. `totals` are the full gradients of the new states,
    through this step and all later ones, as a recording with a loss contains them.
    """
    graph = cell.graph()
    crossing = [n.id for n in graph.nodes if n.kind in CROSS_UNIT]
    cross_unit = dict(zip(crossing, cell.cross_unit_ops, strict=True))
    out = {graph.values[s]: np.asarray(a, np.float64) for s, a in totals.items()}
    complete = set(out)
    local = local_derivatives(cell)

    def add(node, gradient):
        if node not in complete:
            out[node] = out[node] + gradient if node in out else gradient

    for node in reversed(graph.nodes):
        if node.id not in out:
            continue
        d = out[node.id]
        if node.id in cross_unit:
            e = cross_unit[node.id]
            (source,) = (a.source for a in graph.inputs(node.id))
            add(source, np.full_like(d, d.mean()) if e.op == "mean" else _matrix(layer, e).T @ d)
        for source, e in local.get(node.id, ()):
            if source not in complete:
                known = {leaf: numbers[leaf.name] for leaf in _leaves(e)}
                add(source, d * evaluate([e], known, np.float64)[0])
    return out


def spell(e: Expr, names: dict[str, str]) -> str:
    """Return an expression as text; `names` are those of its inputs, and may be formulas.

    >>> y = Expr("input", name="g")
    >>> spell(1 - y * y, {"g": "gₜ"}), spell(y * (y + 1), {"g": "gₜ"})
    ('1 − gₜ²', 'gₜ × (gₜ + 1)')
    >>> spell(1 - y, {"g": "a + b"}), spell(y / (y * y), {"g": "a"})
    ('1 − (a + b)', 'a / a²')
    >>> spell(Expr("positive", y - 1), {"g": "a"})
    '[a > 1]'
    """
    if e.op == "input":
        return names[e.name]
    if e.op == "const":
        return f"{e.value:g}".replace("-", "−")
    if e.op == "positive" and e.args[0].op == "sub":
        a, b = (bracketed(spell(a, names), SUM) for a in e.args[0].args)
        return f"[{a} > {b}]"
    return _written(e, [spell(a, names) for a in e.args])


def _written(e, parts):
    """Return an operation on arguments that are written as `parts`."""
    a, b, c = [*parts, "", "", ""][:3]
    if e.op == "mul" and a == b and _binding(a) == ATOM:
        return f"{a}²"
    if e.op in _INFIX:
        sign, left, right = _INFIX[e.op]
        return f"{bracketed(a, left)}{sign}{bracketed(b, right)}"
    if e.op == "neg":
        return f"−{bracketed(a, PRODUCT)}"
    if e.op == "positive":
        return f"[{a} > 0]"
    if e.op in ("greater", "at_least"):
        return f"[{a} {notation.operation(e.op)} {b}]"
    if e.op == "where":
        if (b, c) in (("1", "0"), ("0", "1")):
            return a if b == "1" else f"1 − {bracketed(a, PRODUCT)}"
        return f"{bracketed(b, SUM)} if {a} else {c}"
    return f"{notation.operation(e.op)}({', '.join(parts)})"


def bracketed(text: str, least: int) -> str:
    """Return a text, in brackets if it binds less than `least`."""
    return text if _binding(text) >= least else f"({text})"


def _binding(text):
    """Return how strongly a formula holds together: a choice, a sum, a product or an atom."""
    depth, outer = 0, []
    for c in text:
        depth -= c in ")]"
        outer.append("" if depth else c)
        depth += c in "(["
    plain = "".join(outer)
    if " if " in plain:
        return CHOICE
    if " + " in plain or " − " in plain:
        return SUM
    return PRODUCT if " × " in plain or " / " in plain or text.startswith("−") else ATOM


def node_names(cell: Cell, before: str = "t-1") -> dict[str, str]:
    """Return a name for each node: its own at time t, or a formula of names.

    `before` is the time index of previous states.
    """
    graph, out = cell.graph(), {}
    named = {k: n for n, k in graph.values.items()}
    composite = {r: f for f in folds(graph) for r in f.taken}
    for node in graph.nodes:
        sources = [e.source for e in graph.inputs(node.id) if not e.delay]
        if node.kind == "previous":
            text = notation.sub(node.label, before)
        elif node.id in named:
            text = notation.sub(named[node.id], "t")
        elif node.kind == "sum":
            text = f"{nodes.summed_part(node.id) or 'a'}.{node.label}"
        elif node.id in composite:
            fold = composite[node.id]
            text = f"{fold.composite.name}({', '.join(out[a] for a in fold.taken[node.id])})"
        elif node.kind in OPS:
            leaves = [Expr("input", name=s) for s in sources]
            text = spell(Expr(node.kind, *leaves), {s: out[s] for s in sources})
        elif node.kind in CROSS_UNIT:
            sign, what = notation.operation(node.kind), out[sources[0]]
            text = f"{sign} {bracketed(what, ATOM)}" if sign.endswith("·") else f"{sign}({what})"
        else:
            text = node.label
        out[node.id] = text
    return out


def _leaves(e):
    return [e] if e.op == "input" else [leaf for a in e.args for leaf in _leaves(a)]


def _simple(e):
    """Return the expression without factors of one and minus one; gradients start from 1 here."""
    args = [_simple(a) for a in e.args]
    if e.op == "mul":
        for a, b in (args, args[::-1]):
            if a.op == "const" and abs(a.value) == 1:
                return b if a.value > 0 else _simple(Expr("neg", b))
    if e.op == "neg" and args[0].op == "const":
        return Expr("const", value=-args[0].value)
    return e.with_args(*args)
