"""Graphs of networks and cells as plain data, which `viz` draws."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Node:
    """A vertex: `kind` is its type, `label` its name in pictures."""

    id: str
    kind: str
    label: str
    shape: tuple = ()
    parameters: int = 0


@dataclass(frozen=True)
class Edge:
    """A connection that passes a value from one node to another.

    It arrives `delay` time steps later, or -1 in a layer that reads the sequence in reverse.
    """

    source: str
    target: str
    label: str = ""
    shape: tuple = ()
    delay: int = 0


@dataclass
class Graph:
    """A graph whose nodes come after their inputs, apart from edges with a delay.

    `values` maps the name of a value to the id of the node that computes it; `composites` maps a
    composite to the ids of its nodes.
    """

    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    composites: dict[Any, list[str]] = field(default_factory=dict)

    def node(self, id: str) -> Node:
        """Return the node with this id; raise KeyError if there is none."""
        for n in self.nodes:
            if n.id == id:
                return n
        raise KeyError(id)

    def inputs(self, id: str) -> list[Edge]:
        """Return the edges into a node, in the order of its arguments."""
        return [e for e in self.edges if e.target == id]
