"""One direction of a recurrent layer: what the pictures of its units are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recurrent.engine.bidirectional import REVERSE

NAMES = ("forward", "reverse")


@dataclass(frozen=True)
class Direction:
    """The units of a layer that read in one direction; a layer of one direction is all of its own.

    Has what a layer of one direction has: `cell`, `input_size`, `hidden_size`, `output_size`, `params`, `size`, `owner`.
    """

    layer: Any
    name: str = NAMES[0]

    @property
    def cell(self) -> Any:
        return self.layer.cell

    @property
    def input_size(self) -> int:
        return self.layer.input_size

    @property
    def hidden_size(self) -> int:
        return self.layer.hidden_size

    @property
    def output_size(self) -> int:
        """Numbers of h: one of each unit, or P where the layer projects."""
        return self.layer.sizes.P

    @property
    def owner(self) -> Any:
        return self.layer.owner

    @property
    def both(self) -> bool:
        """Whether the layer has another direction."""
        return bool(getattr(self.layer, "bidirectional", False))

    @property
    def params(self) -> Any:
        """The engine's Params of this direction."""
        return getattr(self.layer.params, self.name) if self.both else self.layer.params

    @property
    def size(self) -> int:
        """Number of parameters of this direction."""
        return self.layer.size // (1 + self.both)

    @property
    def end(self) -> str:
        """What the names of its states and gates end in."""
        return REVERSE if self.name == "reverse" else ""

    @property
    def step(self) -> int:
        """Where its state goes: 1, to the step after, or -1, to the step before."""
        return -1 if self.name == "reverse" else 1

    @property
    def before(self) -> str:
        """Index of the step that a state comes from."""
        return "t-1" if self.step > 0 else "t+1"

    @property
    def earlier(self) -> str:
        """The same in words."""
        return "t - 1" if self.step > 0 else "t + 1"

    @property
    def delay(self) -> str:
        return "1 step later" if self.step > 0 else "1 step earlier"

    @property
    def ahead(self) -> str:
        """The step that a state goes to, in words."""
        return "t + 1" if self.step > 0 else "t − 1"

    @property
    def arrow(self) -> str:
        """The same behind a short name."""
        return (" →" if self.step > 0 else " ←") if self.both else ""

    @property
    def suffix(self) -> str:
        """What a title says of it."""
        return f", {self.name} direction" if self.both else ""

    def __repr__(self):
        return f"{self.layer!r}{self.suffix}"


def directions_of(layer: Any) -> list[Direction]:
    """The one or two directions of a layer."""
    return [
        Direction(layer, name) for name in NAMES[: 1 + bool(getattr(layer, "bidirectional", False))]
    ]


def check_recurrent(layer: Any, view: str) -> None:
    """Raise TypeError for what is no recurrent layer: an engine has a cell, but no weights."""
    if getattr(layer, "cell", None) is None or not hasattr(layer, "hidden_size"):
        raise TypeError(f"{view} draws a recurrent layer, got {type(layer).__name__}")


def direction_of(layer: Any, name: str = "forward", view: str = "the view") -> Direction:
    """A direction of a layer. Raises TypeError for a layer without a cell, ValueError for a direction it does not have."""
    check_recurrent(layer, view)
    if isinstance(layer, Direction):
        return layer
    if name not in NAMES:
        raise ValueError(f"direction must be 'forward' or 'reverse', got {name!r}")
    if name == "reverse" and not getattr(layer, "bidirectional", False):
        raise ValueError(f"direction='reverse' needs a bidirectional layer, got {layer!r}")
    return Direction(layer, name)
