"""The layers that a page shows over time: a whole model, an encoder or a decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recurrent import checks
from recurrent.layers.recording import Recording

from ..reading.models import parts_of


@dataclass(frozen=True)
class Stack:
    """Layers with one time axis.

    `model`, a Sequential, is all or a part of the model that was recorded in `whole`. `recording`
    is that of its layers alone. `first` is the index of the first of them, `part` is "encoder",
    "decoder" or "".
    """

    model: Any
    recording: Recording
    whole: Recording
    first: int = 0
    part: str = ""

    @property
    def labelled(self) -> str:
        """Kind of step that the labels name: "output" in a decoder, else "input"."""
        return "output" if self.part == "decoder" else "input"


def stack_of(model: Any, recording: Recording, part: str | None = None) -> Stack:
    """Return the stack to show; ValueError for a part that the model does not have."""
    parts = {p.name: p for p in parts_of(model)}
    if len(parts) == 1:
        if part is not None:
            name = type(model).__name__
            raise ValueError(
                "part is for models of an encoder and a decoder, "
                f"got {checks.shown(part)} for {name}"
            )
        return Stack(model, recording, recording)
    part = "decoder" if part is None else checks.choice(part, "part", parts)
    _, stack, first, number = parts[part]
    layers = recording.layers[first : first + len(stack.layers)]
    lengths = None if recording.lengths is None else recording.lengths[number]
    own = Recording(recording.x[number], layers[-1].y, layers, lengths)
    return Stack(stack, own, recording, first, part)
