"""What goes in and what comes out at which step: the five shapes of tasks, with an example that people know."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..draw import dot, notation, palette
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing
from ..reading import describe

PITCH, BOX, TOKEN, RISE = 112, (82, 28), (86, 22), 62


class Story(NamedTuple):
    """An example: what is read and written at each step (None: nothing), and whether outputs are read at the step after.

    `cut`: the first step of the second network, where there are two.
    """

    example: str
    said: str
    inputs: tuple[str | None, ...]
    outputs: tuple[str | None, ...]
    fed: bool = False
    cut: int | None = None


_CAT = ("the", "cat", "sleeps")
STORIES = {
    "one-to-one": Story(
        "photo → what it shows",
        "one input, one output, no steps to go through",
        ("photo",),
        ("cat",),
    ),
    "one-to-many": Story(
        "photo → caption",
        "one input; every output is read at the step after it, until the end is written",
        ("photo", "a", "cat", "sleeps"),
        ("a", "cat", "sleeps", "(end)"),
        fed=True,
    ),
    "many-to-one": Story(
        "review → stars",
        "every word is read, one answer at the last",
        ("I", "loved", "this", "film"),
        (None, None, None, "5 stars"),
    ),
    "many-to-many": Story(
        "words → parts of speech",
        "an output at each step, as many as inputs",
        _CAT,
        ("article", "noun", "verb"),
    ),
    "encoder-decoder": Story(
        "translation",
        "one network reads it all, its final state starts another one that writes; lengths may differ",
        (*_CAT, "(start)", "die", "Katze", "schläft"),
        (None, None, None, "die", "Katze", "schläft", "(end)"),
        fed=True,
        cut=3,
    ),
}


class Row(NamedTuple):
    """One layer at every step of its network."""

    name: str
    label: str
    kind: str
    states: tuple[str, ...]
    both: bool
    said: str  # beside the row
    pools: str = ""  # what it makes one vector of all steps by


def task(kind: str, model: Any = None, recording: Any = None) -> Drawing:
    """One-to-one, one-to-many, many-to-one, many-to-many or encoder-decoder, as an example; with a `model`, its own layers.

    A model for encoder-decoder has an `encoder` and a `decoder`; one for many-to-one ends in one vector for a sequence.
    `recording`: a run of the model, whose mean absolute outputs |y| of the first steps then stand beside the boxes.

    Raises ValueError for another kind, a model that does another one or a recording of another model or none, TypeError
    for what is no model of layers.
    """
    if kind not in STORIES:
        raise ValueError(f"kind must be one of {', '.join(STORIES)}, got {kind!r}")
    story = STORIES[kind]
    if model is None:
        states = () if kind == "one-to-one" else ("h",)
        parts = [
            [Row(f"row0{part}", "hidden layer", "recurrent", states, False, "")]
            for part in ("", "d")[: 1 + bool(story.cut)]
        ]
    else:
        parts = _parts(kind, model, story)
    if recording is not None and (model is None or len(recording.layers) != len(model.layers)):
        raise ValueError(
            "task lays a recording over its model: give both, the recording of this model"
        )
    return _Picture(kind, story, parts, model, recording).drawing()


def _parts(kind, model, story):
    """Rows of each network of a model. Raises where it is not one for this kind of task."""
    if not hasattr(model, "layers"):
        raise TypeError(f"task draws a model of layers, got {type(model).__name__}")
    two = hasattr(model, "encoder") and hasattr(model, "decoder")
    if two != (story.cut is not None):
        raise ValueError(
            f"{kind} needs a model {'without' if two else 'of'} an encoder and a decoder, got {type(model).__name__}"
        )
    networks = [model.encoder.layers, model.decoder.layers] if two else [model.layers]
    parts = [
        [_row(layer, k, part) for k, layer in enumerate(layers)]
        for part, layers in zip(("", "d"), networks, strict=False)
    ]
    recurs = any(r.states for r in parts[0])
    pools = any(r.pools for r in parts[0])
    needs = {
        "one-to-one": (not recurs, "no recurrent layer"),
        "one-to-many": (recurs and not pools, "a recurrent layer, and an output at every step"),
        "many-to-one": (pools, "one output for a sequence: Last, MeanPool or MaxPool"),
        "many-to-many": (recurs and not pools, "a recurrent layer, and an output at every step"),
    }
    fits, needed = needs.get(kind, (True, ""))
    if not fits:
        raise ValueError(f"{kind} needs a model with {needed}; got {model!r}")
    return parts


def _row(layer, k, part):
    kind, count = (
        describe.kind(layer),
        notation.count(layer.size, "parameter") if layer.size else "no parameters",
    )
    states = tuple(layer.cell.states) if getattr(layer, "cell", None) is not None else ()
    both = bool(states) and bool(getattr(layer, "bidirectional", False))
    pools = "" if layer.returns_sequence else kind
    return Row(
        f"row{k}{part}", kind, kind, states, both, f"{describe.short(layer)}\n{count}", pools
    )


class _Picture:
    def __init__(self, kind, story, parts, model, recording):
        self.kind, self.story, self.parts, self.model, self.recording = (
            kind,
            story,
            parts,
            model,
            recording,
        )
        self.T, self.canvas = len(story.inputs), Canvas()
        self.x = [
            t * PITCH + (58 if story.cut is not None and t >= story.cut else 0)
            for t in range(self.T)
        ]
        self.height = max(map(len, parts))
        self.top = (self.height + 1) * RISE

    def _part(self, t):
        return int(self.story.cut is not None and t >= self.story.cut)

    def _columns(self, part):
        return [t for t in range(self.T) if self._part(t) == part]

    def _here(self, part, k, t):
        """Whether row k of a network has a box at step t: all that remember, and what leads from there to an output."""
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
        return Drawing.from_items(
            self._title(), f"{self.story.said}. Example: {self.story.example}.", self.canvas.items
        )

    def _title(self):
        name = "many-to-many, aligned" if self.kind == "many-to-many" else self.kind
        return f"{name}: {self.story.example}" + (
            "" if self.model is None else f", by {type(self.model).__name__}"
        )

    def _column(self, t):
        x, part = self.x[t], self._part(t)
        story, below = self.story, f"in{t}"
        fill, border = palette.LAYERS["input"]
        fed = story.fed and t > (story.cut or 0)
        look = {
            "style": f"rounded,filled{',dashed' * fed}",
            "fill": fill,
            "color": border,
            "fontsize": 11,
        }
        self.canvas.node(below, (x, 0), TOKEN, story.inputs[t], tip=f"input of step {t}", **look)
        for k, row in enumerate(self.parts[part]):
            if not self._here(part, k, t):
                continue
            name, y = f"{row.name}@{t}", (k + 1) * RISE
            fill, border = palette.layer(row.kind, bool(row.states) or row.kind == "recurrent")
            look = {
                "style": "rounded,filled" if row.states else "filled",
                "fill": fill,
                "color": border,
                "penwidth": 1.2,
                "fontsize": 10,
            }
            wide = max(BOX[0], notation.width(row.label, 10) * 1.12 + 8)
            self.canvas.node(
                name, (x, y), (wide, BOX[1]), row.label, tip=f"{row.label} at step {t}", **look
            )
            size = self._size(part, k, t)
            if size is not None:
                self.canvas.add(
                    dot.text(
                        (x + 4, y + BOX[1] / 2 + 6),
                        f"|y| {notation.plain(size)}",
                        8,
                        anchor="start",
                    )
                )
            if row.pools:
                self._pooled(part, k, t, name)
            else:
                self.canvas.add(
                    dot.wire(
                        below,
                        name,
                        [(x, self.canvas.box[below][3]), (x, y - BOX[1] / 2)],
                        penwidth=1.3,
                    )
                )
            below = name
        if story.outputs[t] is not None:
            fill, border = palette.LAYERS["output"]
            look = {"style": "rounded,filled", "fill": fill, "color": border, "fontsize": 11}
            self.canvas.node(
                f"out{t}", (x, self.top), TOKEN, story.outputs[t], tip=f"output of step {t}", **look
            )
            points = [(x, self.canvas.box[below][3]), (x, self.top - TOKEN[1] / 2)]
            self.canvas.add(dot.wire(below, f"out{t}", points, penwidth=1.3))

    def _size(self, part, k, t):
        """The mean absolute output of a layer at a step of the run, None where the run has none."""
        if self.recording is None:
            return None
        first, rows = self._columns(part)[0], self.parts[part]
        y = self.recording.layers[k + part * len(self.parts[0])].y
        if y is None or any(r.pools for r in rows[: k + 1]):  # of the whole sequence
            return None if y is None else np.abs(y).mean()
        return np.abs(y[t - first]).mean() if t - first < len(y) else None

    def _pooled(self, part, k, t, name):
        """What makes one vector of all steps takes it from each, or from the last."""
        row, layer = self.parts[part][k], self.model.layers[k]
        sources = self._columns(part)
        if row.pools == "Last":
            sources = sorted({sources[0], t}) if getattr(layer, "bidirectional", False) else [t]
        bottom = (k + 1) * RISE - BOX[1] / 2
        for s in sources:
            below = f"{self.parts[part][k - 1].name}@{s}" if k else f"in{s}"
            top = self.canvas.box[below][3]
            points = [
                (self.x[s], top),
                (self.x[s], top + 14),
                (self.x[t], top + 14),
                (self.x[t], bottom),
            ]
            self.canvas.add(dot.wire(below, name, points, penwidth=1.3))

    def _along(self, part, k, row):
        """The states that a row hands from step to step."""
        if not row.states:
            return
        y, columns = (k + 1) * RISE, self._columns(part)
        for a, b in pairwise(columns):
            tail, head = f"{row.name}@{a}", f"{row.name}@{b}"
            ways = [(1, s, i) for i, s in enumerate(row.states)] + [
                (-1, s, i) for i, s in enumerate(row.states) if row.both
            ]
            for place, (way, s, i) in enumerate(ways):
                at = y + 5 * (len(ways) - 1) / 2 - 5 * place if len(ways) > 1 else y
                ends = [(self.canvas.box[tail][2], at), (self.canvas.box[head][0], at)]
                tip = f"{s} of step {a if way > 0 else b} to step {b if way > 0 else a}"
                look = {
                    "color": palette.state(s, i),
                    "penwidth": 1.5,
                    "arrowsize": "0.5",
                    "tip": tip,
                }
                self.canvas.add(dot.wire(*(tail, head)[::way], ends[::way], **look))

    def _handed(self):
        """The final state of the network that reads is the initial one of the network that writes, from the top layer down."""
        found = [[(k, r) for k, r in enumerate(rows) if r.states] for rows in self.parts]
        a, b = self.story.cut - 1, self.story.cut
        for (i, one), (k, other) in zip(found[0][::-1], found[1][::-1], strict=False):
            tail, head = f"{one.name}@{a}", f"{other.name}@{b}"
            y0, y1 = (i + 1) * RISE, (k + 1) * RISE
            middle = (self.canvas.box[tail][2] + self.canvas.box[head][0]) / 2
            points = [
                (self.canvas.box[tail][2], y0),
                (middle, y0),
                (middle, y1),
                (self.canvas.box[head][0], y1),
            ]
            self.canvas.add(
                dot.wire(
                    tail,
                    head,
                    points,
                    color=palette.state(one.states[0], 0),
                    penwidth=2.6,
                    tip="the final state starts the other network",
                )
            )
        names = ("encoder", "decoder")
        for part, name in enumerate(names):
            columns = self._columns(part)
            box = (
                self.x[columns[0]] - 50,
                RISE - 24,
                self.x[columns[-1]] + 50,
                len(self.parts[part]) * RISE + 42,
            )
            self.canvas.group(name, box, "", 10, palette.WINDOWS[part])
            self.canvas.add(
                dot.text((box[0] + 4, box[3] - 9), name, 9, palette.INK, anchor="start")
            )

    def _fed(self):
        for t in range((self.story.cut or 0), self.T - 1):
            right, x = self.canvas.box[f"out{t}"][2], self.x[t] + PITCH / 2
            points = [
                (right, self.top),
                (x, self.top),
                (x, 0),
                (self.canvas.box[f"in{t + 1}"][0], 0),
            ]
            look = {
                "style": "dashed",
                "color": palette.MUTED,
                "penwidth": 1.1,
                "tip": f"what step {t} has written is read at step {t + 1}",
            }
            self.canvas.add(dot.wire(f"out{t}", f"in{t + 1}", points, **look))

    def _text(self):
        left = min(i.box[0] for i in self.canvas.items)
        self.canvas.add(
            dot.text((left, self.top + 42), self._title(), 12, palette.INK, anchor="start")
        )
        for part, rows in enumerate(self.parts):
            at, side = (
                (left - 14, "end")
                if not part
                else (max(i.box[2] for i in self.canvas.items) + 14, "start")
            )
            for k, row in enumerate(rows):
                if row.said:
                    self.canvas.add(
                        dot.text((at, (k + 1) * RISE), row.said, 9, palette.INK, anchor=side)
                    )
        for t, x in enumerate(self.x):
            self.canvas.add(
                dot.text((x, -24), f"t = {t - (self.story.cut if self._part(t) else 0)}", 9)
            )
        notes = [self.story.said]
        if self.T > 1:
            two = self.story.cut is not None
            notes.append(
                f"the same weights at every step{', two networks with weights of their own' * two}"
            )
        if self.recording is not None:
            notes.append("|y|: mean absolute output at this step of a run")
        if self.story.fed:
            notes.append("dashed: what was written is read at the next step")
        for k, note in enumerate(notes):
            self.canvas.add(dot.text((left, -46 - 15 * k), note, 9, anchor="start"))
