"""The shapes of sequence tasks: the inputs and outputs of each time step, with an example."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple, Unpack

import numpy as np

from recurrent import checks

from ..draw import adapt, notation, palette
from ..draw.adapt import Look, adaptable
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing
from ..reading import describe
from ..reading.models import check_model, check_steps, checked

PITCH, BOX, TOKEN, RISE = 112, (82, 28), (86, 22), 62


class Story(NamedTuple):
    """An example: the inputs and outputs of each step, None where there is no output.

    `fed` says whether outputs are read at the next step. `cut` is the first step of the second
    network, if there are two.
    """

    example: str
    summary: str
    inputs: tuple[str | None, ...]
    outputs: tuple[str | None, ...]
    fed: bool = False
    cut: int | None = None


_CAT = ("the", "cat", "sleeps")
STORIES = {
    "one-to-one": Story(
        "photo → object",
        "one input, one output, no time steps",
        ("photo",),
        ("cat",),
    ),
    "one-to-many": Story(
        "photo → caption",
        "one input; each output is the input of the next step, until the end token",
        ("photo", "a", "cat", "sleeps"),
        ("a", "cat", "sleeps", "(end)"),
        fed=True,
    ),
    "many-to-one": Story(
        "review → stars",
        "every word is read, one output after the last",
        ("I", "loved", "this", "film"),
        (None, None, None, "5 stars"),
    ),
    "many-to-many": Story(
        "words → parts of speech",
        "one output for each input, at the same step",
        _CAT,
        ("article", "noun", "verb"),
    ),
    "encoder-decoder": Story(
        "translation",
        "the encoder's final state is the decoder's initial state; lengths may differ",
        (*_CAT, "(start)", "die", "Katze", "schläft"),
        (None, None, None, "die", "Katze", "schläft", "(end)"),
        fed=True,
        cut=3,
    ),
}


class Row(NamedTuple):
    """One layer at every step of its network, drawn as a row of boxes."""

    name: str
    label: str
    kind: str
    states: tuple[str, ...]
    ways: tuple[int, ...]  # of its states: 1 to the next step, -1 to the previous one
    text: str  # beside the row
    pools: str = ""  # the kind of a layer that pools all steps


@adaptable
def task(kind: str, model: Any = None, recording: Any = None, **options: Unpack[Look]) -> Drawing:
    """Draw what goes in and out at each time step of a kind of task, as an example.

    Parameters
    ----------
    kind : str
        "one-to-one", "one-to-many", "many-to-one", "many-to-many" or "encoder-decoder".
    model : recurrent.Sequential or recurrent.Seq2Seq, optional
        A model for this kind of task, whose layers are drawn: a Seq2Seq for "encoder-decoder", a
        model with a pooling layer for "many-to-one".
    recording : recurrent.Recording, optional
        A recorded run of the model, whose mean absolute outputs are written beside the boxes.
    **options
        `title`, `labels`, `width`, `palette` and `dark`, which `viz.Look` explains.

    Returns
    -------
    Drawing

    Raises
    ------
    ValueError
        If the kind is unknown, the model does not fit it, or the recording is of another model.
    TypeError
        If `model` is not a model.
    """
    checks.choice(kind, "kind", STORIES)
    story = STORIES[kind]
    if model is None:
        states = () if kind == "one-to-one" else ("h",)
        names = ["row0", "row0d"] if story.cut else ["row0"]
        parts = [[Row(name, "hidden layer", "recurrent", states, (1,), "")] for name in names]
    else:
        parts = _parts(kind, model, story)
    if recording is not None:
        if model is None:
            raise ValueError("task needs the model of a recording: give both model= and recording=")
        checked(model, recording, "task")
    return _Picture(kind, story, parts, model, recording).drawing()


def _parts(kind, model, story):
    """Return the rows of each network of a model; raise if it does not fit the kind of task."""
    check_model(model, "task")
    check_steps(model, "task")
    networks = list(model.parts.values())
    two, name = len(networks) > 1, type(model).__name__
    if two != (story.cut is not None):
        which = "without" if two else "of"
        raise ValueError(f"{kind} needs a model {which} an encoder and a decoder, got {name}")
    parts = [
        [_row(layer, k, suffix) for k, layer in enumerate(network.layers)]
        for suffix, network in zip(("", "d"), networks, strict=False)
    ]
    recurs = any(r.states for r in parts[0])
    pools = any(r.pools for r in parts[0])
    sequence = (recurs and not pools, "a recurrent layer, and an output at every step")
    needs = {
        "one-to-one": (not recurs, "no recurrent layer"),
        "one-to-many": sequence,
        "many-to-one": (pools, "one output for a sequence: Last, MeanPool or MaxPool"),
        "many-to-many": sequence,
    }
    fits, needed = needs.get(kind, (True, ""))
    if not fits:
        raise ValueError(f"{kind} needs a model with {needed}; got {model!r}")
    return parts


def _row(layer, k, suffix):
    kind = describe.kind(layer)
    count = notation.count(layer.size, "parameter") if layer.size else "no parameters"
    states = () if layer.cell is None else tuple(layer.cell.states)
    ways = (1, -1) if layer.bidirectional else (-1 if layer.reverse else 1,)
    pools = "" if layer.returns_sequence else kind
    text = f"{describe.short(layer)}\n{count}"
    return Row(f"row{k}{suffix}", kind, kind, states, ways, text, pools)


class _Picture:
    def __init__(self, kind, story, parts, model, recording):
        self.kind, self.story, self.parts = kind, story, parts
        self.model, self.recording = model, recording
        self.T, self.canvas = len(story.inputs), Canvas()
        self.x = [t * PITCH + 58 * self._part(t) for t in range(self.T)]
        self.top = (max(map(len, parts)) + 1) * RISE

    def _part(self, t):
        """Return the index of the network that runs at step t: 0 or, after the cut, 1."""
        return int(self.story.cut is not None and t >= self.story.cut)

    def _columns(self, part):
        return [t for t in range(self.T) if self._part(t) == part]

    def _here(self, part, k, t):
        """Return whether row k of a network has a box at step t.

        Rows with a state have one at every step, the rows above only at steps with an output.
        """
        rows, last = self.parts[part], self._columns(part)[-1]
        pool = next((i for i, r in enumerate(rows) if r.pools), len(rows))
        if k >= pool:
            return t == last
        deepest = max((i for i, r in enumerate(rows) if r.states), default=-1)
        return k <= deepest or pool < len(rows) or self.story.outputs[t] is not None

    def drawing(self):
        for t in range(self.T):
            self._column(t)
        for part, rows in enumerate(self.parts):
            for k, row in enumerate(rows):
                self._along(part, k, row)
        if self.story.cut is not None:
            self._handed()
        if self.story.fed:
            self._fed()
        self._text()
        text = f"{self.story.summary}. Example: {self.story.example}."
        return Drawing.from_items(self._title(), text, self.canvas.items)

    def _title(self):
        name = "many-to-many, aligned" if self.kind == "many-to-many" else self.kind
        by = "" if self.model is None else f", by {type(self.model).__name__}"
        return f"{name}: {self.story.example}{by}"

    def _column(self, t):
        x, part, story, below = self.x[t], self._part(t), self.story, f"in{t}"
        fill, border = palette.LAYERS["input"]
        fed = story.fed and t > (story.cut or 0)
        look = dict(style=f"rounded,filled{',dashed' * fed}", fill=fill, color=border, fontsize=11)
        self.canvas.node(below, (x, 0), TOKEN, story.inputs[t], tip=f"input of step {t}", **look)
        for k, row in enumerate(self.parts[part]):
            if self._here(part, k, t):
                self._box(part, k, row, t, below)
                below = f"{row.name}@{t}"
        if story.outputs[t] is not None:
            fill, border = palette.LAYERS["output"]
            look = dict(style="rounded,filled", fill=fill, color=border, fontsize=11)
            at, name, tip = (x, self.top), f"out{t}", f"output of step {t}"
            self.canvas.node(name, at, TOKEN, story.outputs[t], tip=tip, **look)
            points = [(x, self.canvas.box[below][3]), (x, self.top - TOKEN[1] / 2)]
            self.canvas.wire(below, name, points, penwidth=1.3)

    def _box(self, part, k, row, t, below):
        """Draw the box of a layer at step t and the wire into it."""
        x, y, name = self.x[t], (k + 1) * RISE, f"{row.name}@{t}"
        fill, border = palette.layer(row.kind, bool(row.states) or row.kind == "recurrent")
        style = "rounded,filled" if row.states else "filled"
        look = dict(style=style, fill=fill, color=border, penwidth=1.2, fontsize=10)
        wide = max(BOX[0], notation.width(row.label, 10) * 1.12 + 8)
        tip = f"{row.label} at step {t}"
        self.canvas.node(name, (x, y), (wide, BOX[1]), row.label, tip=tip, **look)
        size = self._mean(part, k, t)
        if size is not None:
            at, label = (x + 4, y + BOX[1] / 2 + 6), f"|y| {notation.plain(size)}"
            self.canvas.text(at, label, 8, anchor="start")
        if row.pools:
            self._pooled(part, k, t, name)
        else:
            points = [(x, self.canvas.box[below][3]), (x, y - BOX[1] / 2)]
            self.canvas.wire(below, name, points, penwidth=1.3)

    def _mean(self, part, k, t):
        """Return the mean absolute output of a layer at a step of the run, None without one."""
        if self.recording is None:
            return None
        first, rows = self._columns(part)[0], self.parts[part]
        y = self.recording.layers[k + part * len(self.parts[0])].y
        if y is None:
            return None
        if any(r.pools for r in rows[: k + 1]):  # y is that of the whole sequence
            return np.abs(y).mean()
        return np.abs(y[t - first]).mean() if t - first < len(y) else None

    def _pooled(self, part, k, t, name):
        """Draw the wires from all steps, or from the last, to a layer that pools them."""
        row, layer = self.parts[part][k], self.model.layers[k]
        sources = self._columns(part)
        if row.pools == "Last":
            first, last = sources[0], t
            sources = sorted({first, last}) if layer.bidirectional else [last]
            sources = [first] if layer.reverse else sources
        bottom = (k + 1) * RISE - BOX[1] / 2
        for s in sources:
            below = f"{self.parts[part][k - 1].name}@{s}" if k else f"in{s}"
            top, start, end = self.canvas.box[below][3], self.x[s], self.x[t]
            points = [(start, top), (start, top + 14), (end, top + 14), (end, bottom)]
            self.canvas.wire(below, name, points, penwidth=1.3)

    def _along(self, part, k, row):
        """Draw the states that a row passes from step to step."""
        states = list(enumerate(row.states))
        ways = [(way, i, s) for way in row.ways for i, s in states]
        for a, b in pairwise(self._columns(part)):
            tail, head = f"{row.name}@{a}", f"{row.name}@{b}"
            for place, (way, i, s) in enumerate(ways):
                y = (k + 1) * RISE
                if len(ways) > 1:
                    y = y + 5 * (len(ways) - 1) / 2 - 5 * place
                ends = [(self.canvas.box[tail][2], y), (self.canvas.box[head][0], y)]
                tip = f"{s} of step {a if way > 0 else b} to step {b if way > 0 else a}"
                look = dict(color=palette.state(s, i), penwidth=1.5, arrowsize="0.5", tip=tip)
                pair = (tail, head) if way > 0 else (head, tail)
                self.canvas.wire(*pair, ends[::way], **look)

    def _handed(self):
        """Draw the final states of the encoder as initial states of the decoder."""
        recurrent = [[(k, r) for k, r in enumerate(rows) if r.states] for rows in self.parts]
        a, b = self.story.cut - 1, self.story.cut
        # Layers are paired from the top down.
        for (i, one), (k, other) in zip(recurrent[0][::-1], recurrent[1][::-1], strict=False):
            tail, head = f"{one.name}@{a}", f"{other.name}@{b}"
            y0, y1 = (i + 1) * RISE, (k + 1) * RISE
            start, end = self.canvas.box[tail][2], self.canvas.box[head][0]
            middle = (start + end) / 2
            points = [(start, y0), (middle, y0), (middle, y1), (end, y1)]
            tip = "final state of the encoder, initial state of the decoder"
            look = dict(color=palette.state(one.states[0], 0), penwidth=2.6, tip=tip)
            self.canvas.wire(tail, head, points, **look)
        for part, name in enumerate(("encoder", "decoder")):
            columns, top = self._columns(part), len(self.parts[part]) * RISE + 42
            left, right = self.x[columns[0]] - 50, self.x[columns[-1]] + 50
            self.canvas.group(name, (left, RISE - 24, right, top), "", 10, palette.WINDOWS[part])
            self.canvas.text((left + 4, top - 9), name, 9, palette.INK, anchor="start")

    def _fed(self):
        """Draw the wire of each output that is the input of the next step."""
        for t in range((self.story.cut or 0), self.T - 1):
            tail, head = f"out{t}", f"in{t + 1}"
            start, end = self.canvas.box[tail][2], self.canvas.box[head][0]
            x = self.x[t] + PITCH / 2
            points = [(start, self.top), (x, self.top), (x, 0), (end, 0)]
            tip = f"output of step {t}, input of step {t + 1}"
            look = dict(style="dashed", color=palette.MUTED, penwidth=1.1, tip=tip)
            self.canvas.wire(tail, head, points, **look)

    def _text(self):
        left = self.canvas.extent[0]
        self.canvas.text(
            (left, self.top + 42), adapt.heading(self._title()), 12, palette.INK, anchor="start"
        )
        for part, rows in enumerate(self.parts):
            at, side = (self.canvas.extent[2] + 14, "start") if part else (left - 14, "end")
            for k, row in enumerate(rows):
                if row.text:
                    self.canvas.text((at, (k + 1) * RISE), row.text, 9, palette.INK, anchor=side)
        for t, x in enumerate(self.x):
            step = t - (self.story.cut if self._part(t) else 0)
            label = adapt.label("steps", t, self.T, f"t = {step}")
            self.canvas.text((x, -24), notation.fit(label, 9, PITCH - 8), 9)
        for k, note in enumerate(self._notes()):
            self.canvas.text((left, -46 - 15 * k), note, 9, anchor="start")

    def _notes(self):
        yield self.story.summary
        if self.T > 1:
            two = ", each network has its own" * (self.story.cut is not None)
            yield f"the same weights at every step{two}"
        if self.recording is not None:
            yield "|y|: mean absolute output at this step of a run"
        if self.story.fed:
            yield "dashed: each output is the input of the next step"
