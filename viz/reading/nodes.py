"""Ids of the nodes of a cell: those of `recurrent.graph`, and the ends that the pictures add.

Ids stay plain strings because they are also the names of nodes in the DOT text.
"""

from __future__ import annotations

_PREVIOUS, _NEW, _VECTOR = "previous:", "state:", "vector:"


def previous(state: str) -> str:
    """Return the id of a state's value from the previous step."""
    return _PREVIOUS + state


def new(state: str) -> str:
    """Return the id of the end of the wire that carries a state's new value."""
    return _NEW + state


def vector(name: str) -> str:
    """Return the id of x or h, a vector that reaches dot products."""
    return _VECTOR + name


def previous_state(node: str) -> str:
    """Return the state whose previous value a node is, or "".

    >>> previous_state("previous:c"), previous_state("sum:i")
    ('c', '')
    """
    return node.removeprefix(_PREVIOUS) if node.startswith(_PREVIOUS) else ""


def is_new(node: str) -> bool:
    """Return whether a node is the end of a wire with a new state."""
    return node.startswith(_NEW)


def is_terminal(node: str) -> bool:
    """Return whether a node is where a state enters or leaves the cell."""
    return node.startswith((_PREVIOUS, _NEW))


def summed_part(node: str) -> str:
    """Return "x" or "h" for a sum over that part alone, "" for a sum over both.

    >>> summed_part("sum:n.x"), summed_part("sum:i")
    ('x', '')
    """
    return node.partition(".")[2]


def parameter_name(node: str) -> str:
    """Return the name of the parameter that a node stands for.

    >>> parameter_name("parameter:p_i")
    'p_i'
    """
    return node.partition(":")[2]


def layer_number(node: str) -> int:
    """Return the place in its model of a layer that a model's graph names.

    >>> layer_number("layer12")
    12
    """
    return int(node.removeprefix("layer"))
