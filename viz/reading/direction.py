"""One direction of a recurrent layer; the pictures of units each show one direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from recurrent import checks
from recurrent.engine.bidirectional import REVERSE
from recurrent.layers.base import Layer
from recurrent.models.base import Model

NAMES = ("forward", "reverse")


@dataclass(frozen=True)
class Direction:
    """The units of a layer that read in one direction.

    `name` is "reverse" for the second direction of a layer only: the units of a layer with
    reverse=True are its first direction, and their values have plain names in a recording.

    It has the attributes of a layer of one direction: `cell`, `input_size`, `hidden_size`,
    `output_size`, `params`, `size` and `owner`.
    """

    layer: Any
    name: str = NAMES[0]

    @property
    def cell(self) -> Any:
        return self.layer.cell

    @property
    def input_size(self) -> int:
        """Number of columns of x that W_ih multiplies."""
        return self.layer.input_size - len(self.cell.inputs)

    @property
    def hidden_size(self) -> int:
        return self.layer.hidden_size

    @property
    def output_size(self) -> int:
        """Size of h: one number per unit, or P where the layer has a projection."""
        return self.layer.sizes.P

    @property
    def owner(self) -> Any:
        return self.layer.owner

    @property
    def both(self) -> bool:
        """True if the layer is bidirectional."""
        return self.layer.bidirectional

    @property
    def params(self) -> Any:
        """The engine's Params of this direction."""
        return self.layer.params[NAMES.index(self.name)] if self.both else self.layer.params

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """The arrays of `params` by name; a value that all units share is there for each."""
        arrays, cell = self.params._asdict(), self.cell
        shared = {n: np.repeat(arrays[n], self.hidden_size) for n in cell.scalars}
        return arrays | shared

    @property
    def size(self) -> int:
        """Number of parameters of this direction."""
        return self.layer.size // (1 + self.both)

    @property
    def end(self) -> str:
        """Suffix of this direction's names in a recording, "" for the forward direction."""
        return REVERSE if self.name == "reverse" else ""

    @property
    def step(self) -> int:
        """Offset of the step that the state is passed to: 1 (the next) or -1 (the previous)."""
        return -1 if self.name == "reverse" or self.layer.reverse else 1

    @property
    def before(self) -> str:
        """Subscript of the step that the state comes from."""
        return "t-1" if self.step > 0 else "t+1"

    @property
    def earlier(self) -> str:
        """The step that the state comes from, in running text."""
        return "t - 1" if self.step > 0 else "t + 1"

    @property
    def delay(self) -> str:
        return "1 step later" if self.step > 0 else "1 step earlier"

    @property
    def ahead(self) -> str:
        """The step that the state is passed to, in running text."""
        return "t + 1" if self.step > 0 else "t − 1"

    @property
    def arrow(self) -> str:
        """The arrow that follows a short name, "" for a layer of one direction."""
        return (" →" if self.step > 0 else " ←") if self.both else ""

    @property
    def suffix(self) -> str:
        """The direction as the end of a title, "" for a layer of one direction."""
        return f", {self.name} direction" if self.both else ""

    def __repr__(self):
        return f"{self.layer!r}{self.suffix}"


def directions_of(layer: Any) -> list[Direction]:
    """Return the one or two directions of a layer."""
    return [Direction(layer, name) for name in NAMES[: 1 + layer.bidirectional]]


def check_recurrent(layer: Any, view: str) -> None:
    """Raise TypeError for anything but a recurrent layer; an engine has a cell, but no weights."""
    if not isinstance(layer, Layer) or layer.cell is None:
        model = layer if isinstance(layer, Model) else getattr(layer, "owner", None)
        write = ""
        if isinstance(model, Model):
            found = [f"model[{k}]" for k, one in enumerate(model.layers) if one.cell is not None]
            write = f", such as {found[0]}" if found else ", and this model has none"
        raise TypeError(f"{view} draws a recurrent layer{write}, got {checks.shown(layer)}")


def check_unit(unit: Any, layer: Any, name: str = "unit") -> None:
    """Raise TypeError or IndexError unless `unit` is the number of a unit of the layer."""
    checks.index(unit, name, layer.hidden_size, f", the units of {layer!r}")


def direction_of(layer: Any, name: str = "forward", view: str = "the view") -> Direction:
    """Return a direction of a layer; a Direction is returned as it is.

    Raises TypeError for a layer without a cell, ValueError for a direction it does not have.
    """
    if isinstance(layer, Direction):
        return layer
    check_recurrent(layer, view)
    checks.choice(name, "direction", NAMES)
    if name == "reverse" and not (layer.bidirectional or layer.reverse):
        raise ValueError(f"direction='reverse' needs a bidirectional layer, got {layer!r}")
    return Direction(layer, name if layer.bidirectional else NAMES[0])
