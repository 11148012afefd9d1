"""A recorded run as one self-contained page: clicks move between levels, a slider over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Unpack

from recurrent import checks
from recurrent.models import files

from ..draw import adapt, notation
from ..draw.adapt import Look, adaptable
from ..draw.drawing import Drawing
from ..reading.direction import directions_of
from ..reading.models import check_steps, checked
from ..views.network import network
from . import batch, tables
from .attention import attention_of
from .build import page
from .names import check_names
from .run import LayerRun
from .says import says_of
from .stack import stack_of

BUDGET = 1_200_000  # bytes of gates, states and gradients; beyond that a page has fewer units


@dataclass(frozen=True)
class Page:
    """A self-contained HTML page; a notebook displays it in a frame.

    Parameters
    ----------
    html : str
        The text of the page.
    picture : Drawing
        The network with the run's values, which replaces the page where only a picture fits.
    """

    html: str
    picture: Drawing

    @property
    def source(self) -> str:
        """The DOT text of the picture."""
        return self.picture.source

    def svg(self, engine: str | None = None) -> str:
        """Return the picture as an SVG element.

        Parameters
        ----------
        engine : str, optional
            The renderer, as for `Drawing.pipe`.

        Returns
        -------
        str
        """
        return self.picture.svg(engine)

    def save(self, path: str | Path) -> Path:
        """Write the page to an .html file, or the picture to a file of another format.

        Parameters
        ----------
        path : str or Path
            The file; suffixes other than .html and .htm are those of `Drawing.save`.

        Returns
        -------
        Path
            The path of the file.
        """
        path = checks.path(path)
        if path.suffix.lower() not in (".html", ".htm"):
            return self.picture.save(path)
        files.replace(path, self.html.encode())
        return path

    def _repr_html_(self) -> str:
        style = 'width="100%" height="760" style="border:0"'
        return f'<iframe srcdoc="{escape(self.html)}" {style}></iframe>'

    def __repr__(self):
        return f"<Page: {len(self.html):,} characters>"


@adaptable
def explore(
    model: Any,
    recording: Any,
    inputs: Sequence[Any] | None = None,
    units: Sequence[int] = (),
    t: int | None = None,
    sequence: int = 0,
    outputs: Sequence[Any] | None = None,
    part: str | None = None,
    **options: Unpack[Look],
) -> Page:
    """Make a page that shows a recorded run at every level and time step.

    The levels are the network, its unrolled form, cells, layers, units, gate neurons and attention.
    The page needs no network connection.

    Parameters
    ----------
    model : recurrent.Sequential or recurrent.Seq2Seq
        The model that was recorded, with at least one recurrent layer.
    recording : recurrent.Recording
        The run; with targets and a loss the page shows gradients too.
    inputs : sequence, optional
        Labels of the input steps, such as characters; of a Seq2Seq those of the encoder.
    units : sequence of int
        Units that must be in the page. Beyond 1.2 MB of values it has only the first units, the
        last two and these, and says so.
    t : int, optional
        The time step that is shown first, and in a browser without scripts; the last by default.
    sequence : int
        The sequence of the batch that is shown first. The page holds the others too, if the batch
        has at most 16 sequences, whose values take at most 300 kB.
    outputs : sequence, optional
        Labels of the output steps, for an Attention layer and for the steps of a decoder.
    part : str, optional
        "encoder" or "decoder" of a Seq2Seq; the decoder by default.
    **options
        `title`, `labels`, `width`, `palette` and `dark`, which `viz.Look` explains. With names of
        "classes" the page shows their probabilities, as it does for targets that are classes. Names
        of "inputs" are those of the first layer, names of "units" those of each layer with as many.

    Returns
    -------
    Page

    Raises
    ------
    TypeError
        If `model` is not a model or has no recurrent layer.
    ValueError
        If the recording is of another model, the number of labels is wrong, or a layer has a
        projection.
    IndexError
        If the step, sequence or unit does not exist.
    """
    checked(model, recording, "explore")
    check_steps(model, "explore")
    stack = stack_of(model, recording, part)
    layers = [layer for layer in stack.model.layers if layer.cell is not None]
    if not layers:
        raise TypeError(f"explore needs a model with a recurrent layer, got {model!r}")
    for layer in layers:
        if layer.cell.has_projection:
            raise ValueError(f"explore cannot draw layers with a projection, got {layer!r}")
    ways = [way for layer in layers for way in directions_of(layer)]
    largest = max(way.hidden_size for way in ways)
    checks.iterable(units, "units", "a sequence of int")
    units = [checks.index(j, "units", largest) for j in units]
    N = batch.count(stack, stack.first + stack.model.layers.index(layers[0]))
    n = batch.checked(sequence, N)

    def runs_of(k: int) -> list[LayerRun]:
        return [LayerRun(recording, way, k, units, BUDGET / len(ways), stack.first) for way in ways]

    runs = runs_of(n)
    T = runs[0].T
    t = T - 1 if t is None else checks.index(t, "t", T, ", the steps of the recording")
    named, name = (outputs, "outputs") if stack.labelled == "output" else (inputs, "inputs")
    if named is not None:
        checks.labels(named, name)
    if named is not None and len(named) != T:
        raise ValueError(f"{name} must have one label for each of {T} steps, got {len(named)}")
    steps = None if named is None else [tables.symbol(str(s)) for s in named]
    chosen = adapt.now()
    check_names(chosen.labels, runs)

    def read(k: int) -> batch.Shown:
        own = (inputs, outputs) if k == n else (None, None)
        return batch.Shown(
            k,
            runs if k == n else runs_of(k),
            says_of(stack, k),
            attention_of(model, stack, k, t, *own),
            batch.padding(stack, ways[0], k, T),
        )

    with adapt.using(adapt.page_of(chosen)):
        held = batch.held(read, n, N)
        notes = list(_notes(model, stack, held, n, N))
        html = page(model, stack, held, n, steps, t, notes, chosen)
    return Page(notation.legal(html), network(model, recording))


def _notes(model, stack, held, n, N):
    """Yield sentences about the parts of the run that the page leaves out."""
    shown = next(one for one in held if one.n == n)
    for run in shown.runs:
        if len(run.units) < run.H:
            count = f"{len(run.units):,} of {notation.count(run.H, 'unit')}"
            kept = "are on this page: the first ones, the last two, and those requested"
            yield f"Layer {run.k}{run.way.suffix}: {count} {kept}."
    if len(held) > 1:
        yield f"All {N} sequences of the batch are on this page; |∂L/∂h| is that of one sequence."
    elif N > 1:
        yield f"Sequence {n} of {N}; |∂L/∂h| is that of this sequence."
    if stack.part:
        other = next(name for name in model.parts if name != stack.part)
        yield f"This page shows the {stack.part}; part={other!r} shows the {other}."
    if shown.attention is not None and shown.attention.others:
        yield f"Only the first of {shown.attention.others + 1} Attention layers is shown."
