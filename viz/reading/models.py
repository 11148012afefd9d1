"""The parts of a model, and the checks that every view makes of a model and its recording."""

from __future__ import annotations

from typing import Any, NamedTuple

from recurrent import Graph, checks
from recurrent.interchange.onnx import Network
from recurrent.layers.recording import Recording
from recurrent.layers.stack import lengths_above
from recurrent.models.base import Model

from ..draw import notation

IN_A_ROW = ("unrolled", "task", "explore")  # views of layers that each read the one before


class Parts(NamedTuple):
    """Recurrent layers by name of a file whose layers form no model, and why they form none."""

    layers: dict[str, Any]
    why: str


class Part(NamedTuple):
    """One stack of layers: the whole model (`name` is ""), its encoder or its decoder.

    `first` is the place of its first layer among all layers, `number` its place among the parts.
    """

    name: str
    model: Any
    first: int
    number: int


def parts_of(model: Model) -> list[Part]:
    """Return the parts of a model: the whole, or the encoder and the decoder."""
    parts, first = [], 0
    for number, (name, stack) in enumerate(model.parts.items()):
        parts.append(Part(name, stack, first, number))
        first += len(stack.layers)
    return parts


def part_with(model: Model, k: int) -> Part:
    """Return the part that holds layer k."""
    return next(part for part in reversed(parts_of(model)) if k >= part.first)


def check_model(model: Any, view: str) -> None:
    """Raise TypeError for anything but a model, ValueError for branches that a view cannot draw."""
    if isinstance(model, (Network, Parts)):
        raise ValueError(f"{view} draws a model of layers: {no_model(model)}")
    if not isinstance(model, Model):
        raise TypeError(f"{view} draws a model of layers, got {type(model).__name__}")
    if view in IN_A_ROW and isinstance(model, Graph) and not model.is_chain:
        raise ValueError(
            f"{view} draws layers one after the other, but this Graph has branches: "
            "write viz.network(model), or viz.cell(model[name]) for one layer"
        )


def no_model(model: Network | Parts) -> str:
    """Return words that say why these are layers but no model, and how to draw them."""
    layers = ", ".join(f"{name!r}" for name in list(model.layers)[:3])
    more = ", ..." if len(model.layers) > 3 else ""
    drawn = "it has no recurrent layers of constant weights to draw either"
    if layers:
        drawn = f"draw its recurrent layers ({layers}{more}) by unit, layer, cell or weights"
    return f"this file holds none ({model.why}); {drawn}"


def named_layers(model: Any) -> list[tuple[str, Any]]:
    """Return the layers of a model in order, each with the name by which its user knows it.

    That is the name of a node of a Graph or a Network or of a part, else the layer's origin.
    """
    if isinstance(model, (Network, Parts)):
        return list(model.layers.items())
    if isinstance(model, Graph):
        return list(zip(model.names, model.layers, strict=True))
    return [(layer.origin, layer) for layer in model.layers]


def check_steps(model: Model, view: str) -> None:
    """Raise ValueError for a layer whose output has another number of time steps than its input."""
    for k, layer in enumerate(model.layers):
        if not layer.keeps_steps:
            raise ValueError(
                f"{view} draws an output of each layer for each time step, and {model.where(k)} "
                "has another number of them: draw viz.network(model)"
            )


def check_recording(recording: Any, view: str) -> None:
    """Raise TypeError for anything but a recording."""
    checks.instance(recording, Recording, "recording", f"a Recording for {view}: model.record(...)")


def checked(model: Any, recording: Recording, view: str) -> Recording:
    """Return the recording; raise TypeError or ValueError unless it has the layers of the model."""
    check_model(model, view)
    check_recording(recording, view)
    recorded = len(recording.layers)
    if recorded != len(model.layers):
        raise ValueError(
            f"{view} needs a recording of this model, which has "
            f"{notation.count(len(model.layers), 'layer')}; the recording has {recorded}; "
            "record the outermost model of the layers"
        )
    return recording


def input_of(recording: Recording, model: Model, k: int) -> Any:
    """Return the input (T, N, D) of layer k in a recorded run."""
    if isinstance(model, Graph):
        return model.input_of(k, [recording.x, *(layer.y for layer in recording.layers)])
    part = part_with(model, k)
    if k > part.first:
        return recording.layers[k - 1].y
    return recording.x[part.number] if part.name else recording.x


def lengths_of(recording: Recording, model: Model, k: int) -> Any:
    """Return the lengths or mask of the sequences that layer k reads, or None."""
    if isinstance(model, Graph):
        return model.lengths_of(k, recording.lengths)
    part, lengths = part_with(model, k), recording.lengths
    lengths = lengths[part.number] if part.name and lengths is not None else lengths
    return lengths_above(part.model.layers[: k - part.first], lengths)
