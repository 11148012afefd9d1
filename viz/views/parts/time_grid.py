"""The rows of a time grid: what a model has at each step, from the input at the bottom to the output at the top.

A layer is one row. A bidirectional one is three: the units that read forward, those that read in reverse, and where
their outputs are merged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...reading import describe, unit_values
from ...reading.direction import direction_of

CELL, BOX, DOT = (68, 42), (68, 26), (38, 26)


@dataclass
class Row:
    """One row; `name` begins the names of its nodes. `states`: those that its units hand on, as a recording calls them."""

    name: str
    kind: str  # of the layer; input, output; merge
    label: str
    words: str  # of the layer, for tooltips
    shape: tuple  # of one step
    size: tuple[int, int]
    layer: int | None = None
    states: tuple[str, ...] = ()
    direction: int = 1  # of its states: to the step after, or -1 to the step before
    below: tuple[str, ...] = ()  # rows that it takes its input from, at the same step
    around: bool = False  # whether its input passes by a row of the same layer
    begins: str = "zero"  # where its first states come from
    steps: bool = True  # whether it has a node at every step, or one after the last
    y: float = 0.0

    def plain(self, state: str) -> str:
        """The name of a state without its direction."""
        return state.removesuffix("_reverse")


def rows(model: Any) -> list[Row]:
    """The rows of a model, from its graph, with their heights."""
    graph, out = model.graph(), []
    for n in graph.nodes:
        steps, below = "T" in n.shape, (out[-1].name,) if out else ()
        shape = n.shape[1:] if steps else n.shape
        if n.kind in ("input", "output"):
            out.append(Row(n.id, n.kind, n.label, "", shape, DOT, below=below, steps=steps))
            continue
        k = int(n.id.removeprefix("layer"))
        loops = {d: [e for e in graph.edges if e.delay == d and e.source == n.id] for d in (1, -1)}
        called = describe.kind(model[k])
        fixed = dict(kind=n.kind, words=n.label, layer=k, steps=steps)
        if any(loops.values()):
            fixed["begins"] = unit_values.beginning(direction_of(model[k]))
        if not loops[-1]:
            names = tuple(e.label for e in loops[1])
            out.append(
                Row(
                    n.id,
                    label=called,
                    shape=shape,
                    size=CELL if names else BOX,
                    states=names,
                    below=below,
                    **fixed,
                )
            )
            continue
        for d, name, arrow in ((1, n.id, "→"), (-1, f"{n.id}_reverse", "←")):
            mine = dict(
                states=tuple(e.label for e in loops[d]), direction=d, below=below, around=d < 0
            )
            out.append(
                Row(
                    name,
                    label=f"{called} {arrow}",
                    shape=loops[d][0].shape,
                    size=CELL,
                    **mine,
                    **fixed,
                )
            )
        merge = model[k].merge
        both = (f"{n.id}_reverse", n.id)
        out.append(
            Row(
                f"{n.id}_merge",
                label=merge,
                shape=shape,
                size=BOX,
                below=both,
                **{**fixed, "kind": "merge"},
            )
        )
    at = 0.0
    for before, row in zip([None, *out[:-1]], out, strict=True):
        if before is not None:
            at += before.size[1] / 2 + 32 + row.size[1] / 2
        row.y = at
    return out
