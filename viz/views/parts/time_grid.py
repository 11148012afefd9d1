"""The rows of a time grid, from the input at the bottom to the output at the top.

A layer is one row. A bidirectional one is three: its units that read forward, those that read in
reverse, and the merge of their outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recurrent.engine.bidirectional import REVERSE
from recurrent.layers.stack import walk

from ...draw import dot, notation
from ...reading import describe, nodes, unit_values
from ...reading.direction import direction_of

CELL, BOX, DOT = (68, 42), (68, 26), (38, 26)
WIRE = 16  # between the wires of two states


@dataclass
class Row:
    """One row; `name` begins the names of its nodes.

    `states` are the names, as in a recording, of the states that its units pass on.
    """

    name: str
    kind: str  # kind of the layer, or "input", "output" or "merge"
    label: str
    words: str  # the layer in tooltips
    shape: tuple  # of one step
    size: tuple[int, int]
    layer: int | None = None
    states: tuple[str, ...] = ()
    direction: int = 1  # of its states: 1 to the next step, -1 to the previous one
    below: tuple[str, ...] = ()  # rows of its inputs, at the same step
    around: bool = False  # whether its input passes by a row of the same layer
    begins: str = "zero"  # the origin of its initial states
    steps: bool = True  # whether it has a node at every step, or one after the last
    y: float = 0.0

    def plain(self, state: str) -> str:
        """Return the name of a state without its direction."""
        return state.removesuffix(REVERSE)


def rows(model: Any) -> list[Row]:
    """Return the rows of a model, read from its graph, with their heights."""
    graph, out = model.graph(), []
    for n in graph.nodes:
        steps, below = "T" in n.shape, (out[-1].name,) if out else ()
        shape = n.shape[1:] if steps else n.shape
        if n.kind in ("input", "output"):
            out.append(Row(n.id, n.kind, n.label, "", shape, DOT, below=below, steps=steps))
        else:
            out += _layer_rows(model, graph, n, shape, steps, below)
    at = 0.0
    for before, row in zip([None, *out[:-1]], out, strict=True):
        if before is not None:
            at += before.size[1] / 2 + 32 + row.size[1] / 2
        row.y = at
    return out


def _layer_rows(model, graph, n, shape, steps, below):
    """Return the one row of a layer, or the three of a bidirectional layer."""
    k = nodes.layer_number(n.id)
    layer, kind = model[k], describe.kind(model[k])
    loops = {d: [e for e in graph.edges if e.delay == d and e.source == n.id] for d in (1, -1)}
    fixed = dict(kind=n.kind, words=n.label, layer=k, steps=steps)
    within = next((one for one in walk([layer]) if one.cell is not None), None)
    if within is None:  # a window of inputs is no state of units
        loops = {1: [], -1: []}
    elif any(loops.values()):
        fixed["begins"] = unit_values.origin(direction_of(within))
    if not (loops[1] and loops[-1]):
        direction = -1 if loops[-1] else 1
        states = tuple(e.label for e in loops[direction])
        own = dict(label=kind + " ←" * (direction < 0), size=_cell(kind, states) if states else BOX)
        own |= dict(states=states, direction=direction, shape=shape, below=below)
        return [Row(n.id, **own, **fixed)]
    forward, reverse = n.id, n.id + REVERSE
    found = []
    for d, name, arrow in ((1, forward, "→"), (-1, reverse, "←")):
        own = dict(states=tuple(e.label for e in loops[d]), direction=d, around=d < 0)
        own |= dict(label=f"{kind} {arrow}", shape=loops[d][0].shape, below=below)
        own |= dict(size=_cell(own["label"], own["states"]))
        found.append(Row(name, **own, **fixed))
    both = dict(
        label=getattr(layer, "merge", "x + f"), shape=shape, size=BOX, below=(reverse, forward)
    )
    return [*found, Row(f"{n.id}_merge", **both, **{**fixed, "kind": "merge"})]


def _cell(label, states):
    """Return the size of a cell's box, with room for its label and for the wire of each state."""
    wide = dot.whole(notation.width(label, 11) * 1.12 + 14)
    return max(CELL[0], wide), max(CELL[1], WIRE * len(states) + 10)


def initial_label(state: str, begins: str) -> str:
    """Return the label of an initial state that is zero, learned or from an encoder.

    >>> initial_label("h", "zero"), initial_label("c", "learned"), initial_label("h", "encoder")
    ('h = 0', 'c0', 'h enc.')
    """
    return {"zero": f"{state} = 0", "learned": f"{state}0"}.get(begins, f"{state} enc.")
