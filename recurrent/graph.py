"""Graphs as data: what the engine tells about itself, for whoever draws it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Node:
    """A vertex: `kind` says what it is, `label` what people call it."""

    id: str
    kind: str
    label: str
    shape: tuple = ()
    parameters: int = 0


@dataclass(frozen=True)
class Edge:
    """What flows from one node to another, `delay` time steps later; -1 where a layer reads from the end."""

    source: str
    target: str
    label: str = ""
    shape: tuple = ()
    delay: int = 0


@dataclass
class Graph:
    """Nodes in an order where each comes after its inputs (delayed edges aside), and edges."""

    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)  # the node that computes each named value
    composites: dict[Any, list[str]] = field(
        default_factory=dict
    )  # what has a name and a formula: nodes that it is made of

    def node(self, id: str) -> Node:
        """The node called `id`; KeyError if there is none."""
        for n in self.nodes:
            if n.id == id:
                return n
        raise KeyError(id)

    def inputs(self, id: str) -> list[Edge]:
        """Edges into a node, in the order of its arguments."""
        return [e for e in self.edges if e.target == id]
