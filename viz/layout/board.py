"""What a laid out circuit is, whoever laid it out: places on a grid for nodes, ways along it for wires."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..reading.wiring import Wiring
from .router import Place

APART, BUS, GATES, BARS = (
    3,
    0,
    1,
    2,
)  # columns between gates; rows of the h bus, of the gates, and of bars over them


@dataclass
class Circuit:
    """`place` of each node, `routes` as (tail, head, places): terminals are `previous:S`, `state:S` and `above`.

    `lanes`: row of each state that is used directly; `spines`: what lies on them. Results of a bar stand right above the
    neurons that it takes (`Wiring.bars`), in the row BARS.
    """

    wiring: Wiring
    place: dict[str, Place] = field(default_factory=dict)
    routes: list[tuple[str, str, list[Place]]] = field(default_factory=list)
    lanes: dict[str, int] = field(default_factory=dict)
    spines: dict[str, list[str]] = field(default_factory=dict)
    columns: int = 0
    rows: int = 0
