"""Which layers a page moves through time: all of a model, or one of the two stacks of an encoder and a decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recurrent.layers.recording import Recording

PARTS = ("encoder", "decoder")


@dataclass(frozen=True)
class Stack:
    """Layers with one time axis: `model`, a Sequential, is the whole or a part of what was recorded in `whole`.

    `recording`: of these layers alone. `first`: the place of the first of them in the whole. `part`: "encoder", "decoder" or
    "".
    """

    model: Any
    recording: Recording
    whole: Recording
    first: int = 0
    part: str = ""

    @property
    def labelled(self) -> str:
        """Where the labels of the steps belong: a decoder's are what it writes."""
        return "output" if self.part == "decoder" else "input"


def stack_of(model: Any, recording: Recording, part: str | None = None) -> Stack:
    """The stack to show. Raises ValueError for a part that the model has not."""
    if not hasattr(model, "encoder"):
        if part is not None:
            raise ValueError(
                f"part is for models of an encoder and a decoder, got {part!r} for {type(model).__name__}"
            )
        return Stack(model, recording, recording)
    part = "decoder" if part is None else part
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, got {part!r}")
    k, cut = PARTS.index(part), len(model.encoder.layers)
    layers = recording.layers[cut:] if k else recording.layers[:cut]
    lengths = None if recording.lengths is None else recording.lengths[k]
    mine = Recording(recording.x[k], layers[-1].y, layers, lengths)
    return Stack(getattr(model, part), mine, recording, cut if k else 0, part)
