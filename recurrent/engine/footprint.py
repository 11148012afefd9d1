"""The memory that a layer takes in a training step."""

from __future__ import annotations

from typing import NamedTuple

WIDE = 8  # bytes of an id, an index and a loss


class Footprint(NamedTuple):
    """What a layer takes in a training step, in bytes."""

    kept: int  # by its tape, besides its input
    output: int  # y, where the tape does not hold it anyway
    forward: int  # at most, besides, while `forward` runs
    backward: int  # at most, besides dy and dx, while `backward` runs
    dx: int
