"""Composites of a cell's graph as single nodes: what a declaration says is one thing is drawn as one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from recurrent.equations.expressions import CROSS_UNIT, Composite
from recurrent.graph import Edge, Graph, Node

KIND = "composite"
MOST = 2  # values that a folded node may take: an operation of a picture has no more


@dataclass(frozen=True)
class Fold:
    """A composite and what goes through it: `taken` by each of its results, by the ids of the nodes that make them, and
    the units' `own` parameters that each result alone uses."""

    composite: Composite
    taken: dict[str, list[str]]
    own: dict[str, list[str]]

    @property
    def members(self) -> list[str]:
        """Everything that it takes, once."""
        return list(dict.fromkeys(a for args in self.taken.values() for a in args))

    def said(self, names: dict[str, str]) -> str:
        """What it computes, in words that name everything it takes."""
        said = f"{self.composite.name}: {self.composite.formula}, over all units of {', '.join(names[a] for a in self.members)}"
        own = [
            f"{names[args[0]]}: {', '.join(names[p] for p in self.own[r])}"
            for r, args in self.taken.items()
            if self.own[r]
        ]
        return f"{said}; own parameters for {'; for '.join(own)}" if own else said


def folds(graph: Graph) -> list[Fold]:
    """The composites of a cell's graph that can be drawn as one node for each result."""
    kinds, out = {n.id: n.kind for n in graph.nodes}, []
    into: dict[str, list[str]] = {}
    for e in graph.edges:
        if not e.delay:
            into.setdefault(e.target, []).append(e.source)
    for composite, nodes in graph.composites.items():
        inside = set(nodes)
        seen = {a for b, args in into.items() if b not in inside for a in args} | set(
            graph.values.values()
        )
        taken, own = {}, {}
        for result in (k for k in nodes if k in seen):
            found = _below(result, inside, into, kinds)
            own[result] = [a for a in found if kinds[a] == "parameter" and a not in seen]
            taken[result] = [a for a in found if a not in own[result]]
        if all(1 <= len(args) <= MOST for args in taken.values()):
            out.append(Fold(composite, taken, own))
    return out


def _below(result, inside, into, kinds):
    """What a result is made from by equations of its own unit, in their order; means and products are all units'."""
    found, stack = {}, [result]
    while stack:
        k = stack.pop()
        if k not in inside:
            found[k] = None
        elif kinds[k] not in CROSS_UNIT:
            stack += reversed(into[k])
    return [k for k in found if kinds[k] != "const"]


def folded(graph: Graph) -> Graph:
    """The graph with a node of kind "composite" for each result of a composite, in place of all that it is made of."""
    found = folds(graph)
    results = {r: f for f in found for r in f.taken}
    gone = {k for f in found for k in graph.composites[f.composite] if k not in results}
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
