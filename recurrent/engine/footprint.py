"""The type of memory estimates."""

from __future__ import annotations

from typing import NamedTuple

WIDE = 8  # bytes of an id, an index and a loss


class Footprint(NamedTuple):
    """The memory that one layer takes in a training step, in bytes."""

    kept: int  # by the tape, without the layer's input
    output: int  # by y, unless it is part of the tape
    forward: int  # peak of everything else while `forward` runs
    backward: int  # peak of everything except dy and dx while `backward` runs
    dx: int
