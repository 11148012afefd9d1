"""Composites of a cell's graph as single nodes.

A composite that a cell declares, such as layer normalisation, is drawn as one node; so is a clip,
the minimum of a maximum with opposite constants.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from recurrent.equations.expressions import CROSS_UNIT, Composite
from recurrent.graph import Edge, Graph, Node

KIND = "composite"
MOST = 2  # inputs of a folded node: no operation of a picture has more


@dataclass(frozen=True)
class Fold:
    """A composite with the inputs of each of its results and the parameters only that result uses.

    `taken` and `own` map the id of each result's node to ids of nodes. `nodes` are those that it
    stands for.
    """

    composite: Composite
    taken: dict[str, list[str]]
    own: dict[str, list[str]]
    nodes: tuple[str, ...]
    own_unit: bool = False  # whether it reads its own unit alone, not all units

    @property
    def formula(self) -> str:
        """Return the formula, and what it reads."""
        whole = "" if self.own_unit else ", over all units of its inputs"
        return f"{self.composite.formula}{whole}"

    @property
    def members(self) -> list[str]:
        """Return all inputs, each once."""
        return list(dict.fromkeys(a for args in self.taken.values() for a in args))

    def described(self, names: dict[str, str]) -> str:
        """Return the formula in words that name every input."""
        inputs = ", ".join(names[a] for a in self.members)
        whole = "" if self.own_unit else "over all units "
        text = f"{self.composite.name}: {self.composite.formula}, {whole}of {inputs}"
        own = [
            f"{names[args[0]]}: {', '.join(names[p] for p in self.own[result])}"
            for result, args in self.taken.items()
            if self.own[result]
        ]
        return f"{text}; own parameters for {'; for '.join(own)}" if own else text


def folds(graph: Graph) -> list[Fold]:
    """Return the composites of a cell's graph that can be drawn as one node for each result."""
    kinds = {n.id: n.kind for n in graph.nodes}
    into: dict[str, list[str]] = {}
    for e in graph.edges:
        if not e.delay:
            into.setdefault(e.target, []).append(e.source)
    out = list(_clips(graph, into))
    for composite, nodes in graph.composites.items():
        inside = set(nodes)
        used_outside = {a for b, args in into.items() if b not in inside for a in args}
        used_outside |= set(graph.values.values())
        taken, own = {}, {}
        for result in (k for k in nodes if k in used_outside):
            sources = _sources(result, inside, into, kinds)
            own[result] = [a for a in sources if kinds[a] == "parameter" and a not in used_outside]
            taken[result] = [a for a in sources if a not in own[result]]
        if all(1 <= len(args) <= MOST for args in taken.values()):
            out.append(Fold(composite, taken, own, tuple(nodes)))
    return out


def _clips(graph, into):
    """Yield a fold for each minimum of a maximum that nothing else uses, with -limit and limit."""
    node = {n.id: n for n in graph.nodes}
    uses = Counter(a for args in into.values() for a in args)
    uses.update(graph.values.values())
    for n in graph.nodes:
        inner, limit = [*into.get(n.id, ()), "", ""][:2]
        if n.kind != "min" or inner not in node or node[inner].kind != "max" or uses[inner] > 1:
            continue
        a, least = into[inner]
        ends = node[limit], node[least]
        if [e.kind for e in ends] == ["const", "const"]:
            high, low = (float(e.label.replace("−", "-")) for e in ends)
            if high == -low:
                clip = Composite(f"clip ±{high:g}", f"a limited to [−{high:g}, {high:g}]")
                yield Fold(clip, {n.id: [a]}, {n.id: []}, (inner, n.id), own_unit=True)


def _sources(result, inside, into, kinds):
    """Return the nodes of its own unit that a result depends on, in the order of the equations.

    Means and matrix products use all units. Nodes that reach the result only through them are left
    out.
    """
    found, stack = {}, [result]
    while stack:
        k = stack.pop()
        if k not in inside:
            found[k] = None
        elif kinds[k] not in CROSS_UNIT:
            stack += reversed(into[k])
    return [k for k in found if kinds[k] != "const"]


def folded(graph: Graph) -> Graph:
    """Return the graph with one node of kind "composite" for each result of a composite."""
    found = folds(graph)
    results = {r: f for f in found for r in f.taken}
    gone = {k for f in found for k in f.nodes if k not in results}
    gone |= {p for f in found for own in f.own.values() for p in own}

    def node(n: Node) -> Node:
        return replace(n, kind=KIND, label=results[n.id].composite.name) if n.id in results else n

    edges = [
        e
        for e in graph.edges
        if e.target not in gone and e.source not in gone and e.target not in results
    ]
    edges += [e for e in graph.edges if e.delay and e.target in results]
    edges += [Edge(a, r) for r, f in results.items() for a in f.taken[r]]
    return Graph([node(n) for n in graph.nodes if n.id not in gone], edges, graph.values)
