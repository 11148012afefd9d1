"""The result of a circuit layout: places of nodes on a grid and routes of wires along it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..reading.wiring import Wiring
from .router import Place

APART = 3  # columns between gates
BUS, GATES, BARS = 0, 1, 2  # rows of the h bus, of the gates, and of bars above them


@dataclass
class Circuit:
    """`place` of each node, and `routes` of wires as (tail, head, places).

    Besides the nodes of the wiring there are the previous states, the new states, and `above`, the
    output to the next layer. `lanes` gives the row of each state that is used directly, `spines`
    the operations on that row. Results of a bar (`Wiring.bars`) stand in the row BARS right above
    their neurons.
    """

    wiring: Wiring
    place: dict[str, Place] = field(default_factory=dict)
    routes: list[tuple[str, str, list[Place]]] = field(default_factory=list)
    lanes: dict[str, int] = field(default_factory=dict)
    spines: dict[str, list[str]] = field(default_factory=dict)
    columns: int = 0
    rows: int = 0
