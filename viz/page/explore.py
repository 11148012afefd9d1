"""A run as one self-contained page: network, time, layer, unit and gate neuron, linked by clicks and moved by a slider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from ..draw import notation
from ..draw.drawing import Drawing
from ..reading.direction import directions_of
from ..views.network import network
from . import attention, stack, tables
from .build import page
from .run import LayerRun

BUDGET = 1_200_000  # bytes of gates, states and gradients; beyond that a page has fewer units, and says which


@dataclass(frozen=True)
class Page:
    """An HTML file that needs no network: `html`, `save`; a notebook shows it in a frame.

    `picture`: what stands for the page where only a picture can be, the network with the run's numbers; its `source` and
    `svg` are the page's.
    """

    html: str
    picture: Drawing

    @property
    def source(self) -> str:
        """DOT text of the picture."""
        return self.picture.source

    def svg(self, engine: str | None = None) -> str:
        """The picture as an SVG element."""
        return self.picture.svg(engine)

    def save(self, path: str | Path) -> Path:
        """Write the page to a name that ends in .html, the picture to another that `Drawing.save` knows. Returns the path."""
        path = Path(path)
        if path.suffix.lower() not in (".html", ".htm"):
            return self.picture.save(path)
        path.write_text(self.html, encoding="utf-8")
        return path

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self.html)}" width="100%" height="760" style="border:0"></iframe>'

    def __repr__(self):
        return f"<Page: {len(self.html):,} characters>"


def explore(
    model: Any,
    recording: Any,
    inputs: Sequence[Any] | None = None,
    units: Sequence[int] = (),
    t: int | None = None,
    n: int = 0,
    outputs: Sequence[Any] | None = None,
    part: str | None = None,
) -> Page:
    """The page of sequence `n` of a recording of the model; with gradients where it was recorded with targets.

    `inputs`: what stands for the input of each step, characters for instance. `t`: the step that is shown first and in a
    browser without scripts, by default the last. `units`: units that must be in the page however many there are: beyond
    1.2 MB of values the first, the last two and these are kept, and the page says so. `outputs`: what stands for the output
    of each step, in the picture of an Attention layer. Of a model of an encoder and a decoder the page shows one `part`,
    "decoder" if None, over the steps that it reads or writes: `inputs` and `outputs` name the encoder's and the decoder's.

    Raises TypeError for what is no model or has no recurrent layer, ValueError for a recording of another model or the
    wrong number of inputs, IndexError for a step, sequence or unit that is not there.
    """
    layers = getattr(model, "layers", None)
    if layers is None or not hasattr(model, "graph"):
        raise TypeError(f"explore draws a model of layers, got {type(model).__name__}")
    if len(recording.layers) != len(layers):
        raise ValueError(
            f"the recording has {len(recording.layers)} layers, the model {len(layers)}"
        )
    shown = stack.stack_of(model, recording, part)
    cells = [layer for layer in shown.model.layers if getattr(layer, "cell", None) is not None]
    if not cells:
        raise TypeError(f"explore opens recurrent layers, got {model!r}")
    for layer in cells:
        if layer.cell.has_projection:
            raise ValueError(
                f"explore draws layers each of whose units puts out a number of h, got {layer!r}"
            )
    ways = [way for layer in cells for way in directions_of(layer)]
    largest = max(way.hidden_size for way in ways)
    for j in units:
        if not 0 <= j < largest:
            raise IndexError(f"units must be in 0..{largest - 1}, got {j}")
    runs = [LayerRun(recording, way, n, units, BUDGET / len(ways), shown.first) for way in ways]
    T = runs[0].T
    t = T - 1 if t is None else t
    if not 0 <= t < T:
        raise IndexError(f"t must be in 0..{T - 1}, the steps of the recording, got {t}")
    named, name = (outputs, "outputs") if shown.labelled == "output" else (inputs, "inputs")
    if named is not None and len(named) != T:
        raise ValueError(f"{name} must have one label for each of {T} steps, got {len(named)}")
    labels = None if named is None else [tables.symbol(str(s)) for s in named]
    looks = attention.attention_of(model, shown, n, t, inputs, outputs)
    html = page(model, shown, runs, labels, t, _notes(shown, runs, looks, n), looks)
    return Page(notation.legal(html), network(model, recording))


def _notes(shown, runs, looks, n):
    """What the page leaves out."""
    cut = [r for r in runs if len(r.units) < r.H]
    kept = "are in this page: the first, the last two, and those asked for"
    notes = [
        f"Layer {r.k}{r.way.suffix}: {len(r.units):,} of {notation.count(r.H, 'unit')} {kept}."
        for r in cut
    ]
    if shown.recording.y.ndim == 3 and shown.recording.y.shape[1] > 1:
        notes.append(
            f"Sequence {n} of {shown.recording.y.shape[1]}; |∂L/∂h| is that of this sequence."
        )
    if shown.part:
        other = next(p for p in stack.PARTS if p != shown.part)
        notes.append(
            f"Of the two stacks this page opens the {shown.part}; part={other!r} opens the {other}."
        )
    if looks is not None and looks.others:
        notes.append(f"Of {looks.others + 1} Attention layers the first one is shown.")
    return notes
