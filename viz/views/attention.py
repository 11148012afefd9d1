"""Attention over saved states: how much of each goes into the mean that a step of the output is made from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..draw import dot, legend, notation, palette
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing
from ..reading import describe
from .parts.steps import blanks
from .text import visible

INPUTS, OUTPUTS = 40, 24  # more are left out, and the picture says so
NUMBERED, FAINT = (
    30,
    0.01,
)  # width of a column that has room for its number; lines below this share are not drawn
ROW, STATE = 20, 22


def attention(
    model: Any,
    recording: Any = None,
    n: int = 0,
    inputs: Sequence[Any] | None = None,
    outputs: Sequence[Any] | None = None,
    layer: int | None = None,
    step: int | None = None,
) -> Drawing:
    """Which saved states each step of the output looks at: a line as wide as its weight, and every weight as a number.

    `model` with an Attention layer and a `recording` of it, sequence `n` of that; or, in the place of both, weights
    (T_out, N, T_in) or (T_out, T_in), each row of which sums to 1. `inputs`, `outputs`: what stands for the steps read and
    written, words or characters; `layer`: which Attention, by its place in the model, where there are several. `step`: lines
    of this step of the output alone.

    Raises TypeError for what has no attention, ValueError for shapes and numbers of labels that do not fit, IndexError for
    a sequence or step that is not there.
    """
    if hasattr(model, "layers"):
        k, weights, skipped = recorded(model, recording, n, layer)
    else:
        if recording is not None:
            raise TypeError(f"a recording goes with its model, got {type(model).__name__}")
        k, weights, skipped = None, _of_sequence(model, n), (frozenset(), frozenset())
    rows = [t for t in range(weights.shape[0]) if t not in skipped[0]]
    columns = [s for s in range(weights.shape[1]) if s not in skipped[1]]
    if step is not None and step not in rows:
        raise IndexError(
            f"step must be one of the {notation.count(len(rows), 'output step')} of this sequence, got {step}"
        )
    a = weights[np.ix_(rows, columns)]
    if not a.size:
        raise ValueError(
            f"attention has nothing to draw: {len(rows)} steps look at {len(columns)} states"
        )
    if not (np.isfinite(a).all() and (a >= 0).all() and np.allclose(a.sum(axis=1), 1, atol=1e-3)):
        raise ValueError("weights must be shares: at least 0, and each row must sum to 1")
    texts = [
        _labels(given, name, len(weights if name == "outputs" else weights[0]), chosen, letter)
        for given, name, chosen, letter in (
            (outputs, "outputs", rows, "y"),
            (inputs, "inputs", columns, "x"),
        )
    ]
    return _Picture(
        a, *texts, _encoder(model, k), None if step is None else rows.index(step)
    ).drawing()


def columns_of(weights: np.ndarray) -> list[int]:
    """Which of the saved states of weights (T_out, T_in) are drawn: all, or those that any output looks at most."""
    if weights.shape[1] <= INPUTS:
        return list(range(weights.shape[1]))
    return sorted(np.argsort(-weights.max(axis=0), kind="stable")[:INPUTS].tolist())


def rows_of(count: int, step: int | None) -> list[int]:
    """Which outputs are drawn: all, or the first, or those around `step`."""
    first = 0 if step is None else min(max(step - OUTPUTS // 2, 0), max(count - OUTPUTS, 0))
    return list(range(first, min(first + OUTPUTS, count)))


def _of_sequence(weights, n):
    a = np.asarray(weights, np.float64)
    if a.ndim not in (2, 3):
        raise ValueError(f"weights must be (T_out, N, T_in) or (T_out, T_in), got {a.shape}")
    if a.ndim == 3 and not 0 <= n < a.shape[1]:
        raise IndexError(f"n must be in 0..{a.shape[1] - 1}, the sequences of the weights, got {n}")
    return a[:, n] if a.ndim == 3 else a


def pitch(inputs: Sequence[str]) -> int:
    """Points from one drawn state to the next: room for its label, more where there are few."""
    wide = max(notation.width(text, 10) * 1.15 for text in inputs) + 12
    found = min(max(34.0 if len(inputs) <= 24 else 28.0, wide), 110.0)
    return 2 * math.ceil(max(found, 62.0 if len(inputs) <= 8 else 0.0) / 2)


def recorded(
    model: Any, recording: Any, n: int, layer: int | None
) -> tuple[int, np.ndarray, tuple]:
    """The place of the attention layer, its weights, and the steps that the sequence does not have: written, read."""
    if recording is None:
        raise ValueError("attention draws a recorded run: give recording=model.record(...)")
    if len(recording.layers) != len(model.layers):
        raise ValueError(
            f"the recording has {len(recording.layers)} layers, the model {len(model.layers)}"
        )
    found = [k for k, r in enumerate(recording.layers) if r.weights is not None]
    if not found:
        raise TypeError(
            f"attention draws a model with an Attention layer, got {type(model).__name__} without one"
        )
    if layer is not None and layer not in found:
        raise IndexError(
            f"layer must be one of {', '.join(map(str, found))}, the Attention layers, got {layer}"
        )
    k = found[0] if layer is None else layer
    weights = _of_sequence(recording.layers[k].weights, n)
    pair = isinstance(
        recording.lengths, tuple
    )  # a model that reads one sequence and writes another has both lengths
    read, written = recording.lengths if pair else (recording.lengths, recording.lengths)
    return k, weights, (blanks(written, n, len(weights)), blanks(read, n, len(weights[0])))


def _labels(given, name, count, chosen, letter):
    if given is None:
        return [notation.sub(letter, t) for t in chosen]
    if len(given) != count:
        raise ValueError(
            f"{name} must have one label for each of {notation.count(count, 'step')}, got {len(given)}"
        )
    return ["".join(visible(c) or " " for c in str(given[t])) for t in chosen]


def _encoder(model, k):
    """The recurrent layer whose states are saved, if any."""
    layers = model.encoder.layers if hasattr(model, "encoder") else getattr(model, "layers", [])[:k]
    return next(
        (layer for layer in reversed(layers) if getattr(layer, "cell", None) is not None), None
    )


class _Picture:
    """From the bottom up: every weight as a number, what is read, the saved states, the lines, the means, what is written."""

    def __init__(self, weights, outputs, inputs, encoder, step):
        self.encoder, self.canvas, self.total = encoder, Canvas(), weights.shape
        self.columns, self.rows = columns_of(weights), rows_of(weights.shape[0], step)
        self.focus = None if step is None else self.rows.index(step)
        self.means = (
            range(len(self.rows)) if step is None else [self.focus]
        )  # outputs that have lines
        self.a = weights[np.ix_(self.rows, self.columns)]
        self.left_out = 1 - self.a.sum(axis=1)
        self.inputs, self.outputs = (
            [inputs[s] for s in self.columns],
            [outputs[t] for t in self.rows],
        )
        self.pitch = pitch(self.inputs)
        self.x = [k * self.pitch for k in range(len(self.columns))]
        out = max(notation.width(text, 10) * 1.15 for text in self.outputs) + 14
        room = (self.x[-1] + self.pitch) / len(self.rows)
        self.step = max(out, 40.0, min(room, 110.0))
        middle, shift = self.x[-1] / 2, (len(self.means) - 1) / 2
        self.at = {t: middle + (k - shift) * self.step for k, t in enumerate(self.means)}

    def drawing(self):
        self._read()
        self._matrix(-30)
        top = self._lines()
        self._written(top)
        left = min(i.box[0] for i in self.canvas.items)
        self._text(left)
        title = f"Attention of {notation.count(self.total[0], 'output step')} over {notation.count(self.total[1], 'saved state')}"
        best = self.a.argmax(axis=1)
        said = "; ".join(
            f"{o}: {self.inputs[s]} {self.a[t, s]:.2f}"
            for t, (o, s) in enumerate(zip(self.outputs, best, strict=True))
        )
        return Drawing.from_items(
            title, f"What each output looks at most: {said}.", self.canvas.items
        )

    def _read(self):
        """Inputs, the layer that reads them, and its saved states."""
        fill, border = palette.LAYERS["input"]
        both = self.encoder is not None and getattr(self.encoder, "bidirectional", False)
        directions = [] if self.encoder is None else ["→", "←"] if both else ["→"]
        self.rising = 46 * len(directions)
        self.saved = 44 + self.rising
        look = {"style": "rounded,filled", "fontsize": 10, "fill": fill, "color": border}
        for s, (x, text) in enumerate(zip(self.x, self.inputs, strict=True)):
            self.canvas.node(
                f"in{s}", (x, 0), (self.pitch - 6, 20), text, tip=f"input {self.columns[s]}", **look
            )
        kind = "" if self.encoder is None else describe.kind(self.encoder)
        small = min(self.pitch - 10, 40)
        arrowed = small >= 22
        for d, arrow in enumerate(directions):
            y, colour = 44 + 46 * d, palette.DIRECTIONS[d]
            for s, x in enumerate(self.x):
                look = {
                    "style": "rounded,filled",
                    "fill": "#FFFFFF",
                    "color": colour,
                    "fontsize": 10,
                    "penwidth": 1.2,
                }
                label = f"h{arrow}" if arrowed else "h"
                self.canvas.node(
                    f"enc{d}:{s}",
                    (x, y),
                    (small, 22),
                    label,
                    tip=f"{kind} {arrow} at input {self.columns[s]}",
                    **look,
                )
            for a, b in zip(range(len(self.x)), range(1, len(self.x)), strict=False):
                ends = [(self.x[a] + small / 2, y), (self.x[b] - small / 2, y)]
                tail, head = (f"enc{d}:{a}", f"enc{d}:{b}")[:: -1 if d else 1]
                self.canvas.add(
                    dot.wire(
                        tail,
                        head,
                        ends[:: -1 if d else 1],
                        color=colour,
                        penwidth=1.3,
                        arrowsize="0.4",
                    )
                )
            name = f"{('forward ' if not d else 'reverse ') if both else ''}{kind}"
            self.canvas.add(
                dot.text((self.x[0] - self.pitch / 2 - 10, y), name, 9, colour, anchor="end")
            )
        for s, x in enumerate(self.x):
            half = small / 2 if both else small
            for d in range(2 if both else 1):
                at = x - small / 4 + d * small / 2 if both else x
                tint = palette.ramp((palette.DIRECTIONS[d], "#FFFFFF"), 0.72)
                name = f"state{s}" if not d else f"state{s}:reverse"
                self.canvas.node(
                    name,
                    (at, self.saved),
                    (half, STATE - 6),
                    fill=tint,
                    color=palette.DIRECTIONS[d],
                    penwidth=1,
                    tip=f"saved state {self.columns[s]}",
                )
            self._rise(s, x, small, len(directions))
        self.canvas.add(
            dot.text((self.x[0] - self.pitch / 2 - 10, self.saved), "saved states", 9, anchor="end")
        )
        self.canvas.add(dot.text((self.x[0] - self.pitch / 2 - 10, 0), "read", 9, anchor="end"))

    def _rise(self, s, x, small, directions):
        """Wires of a column: into each direction that reads, and from each into its part of the saved state."""
        box, look = self.canvas.box, {"penwidth": 1, "arrowsize": "0.4", "radius": 4}
        at = x - small / 4 if directions == 2 else x
        way = [f"in{s}", *[f"enc0:{s}"] * (directions > 0)]
        if directions < 2:
            for tail, head in pairwise([*way, f"state{s}"]):
                self.canvas.add(
                    dot.wire(tail, head, [(at, box[tail][3]), (at, box[head][1])], **look)
                )
            return
        up, out, y = 6, small / 2 + 4, self.canvas.centre(f"enc1:{s}")[1]
        self.canvas.add(
            dot.wire(way[0], way[1], [(at, box[way[0]][3]), (at, box[way[1]][1])], **look)
        )
        start = box[way[0]][3]
        right = [
            (x + small / 4, start),
            (x + small / 4, start + up),
            (x + out, start + up),
            (x + out, y - 6),
            (x + small / 2, y - 6),
        ]
        self.canvas.add(dot.wire(way[0], f"enc1:{s}", right, **look))
        top = box[way[1]][3]
        left = [
            (at, top),
            (at, top + up),
            (x - out, top + up),
            (x - out, self.saved),
            (x - small / 2, self.saved),
        ]
        self.canvas.add(dot.wire(way[1], f"state{s}", left, **look))
        ends = [(x + small / 4, box[f"enc1:{s}"][3]), (x + small / 4, box[f"state{s}:reverse"][1])]
        self.canvas.add(dot.wire(f"enc1:{s}", f"state{s}:reverse", ends, **look))

    def _lines(self):
        """From every state to every mean, thin ones first; returns the height of the means."""
        bottom = self.saved + STATE / 2 - 3
        top = bottom + max(90.0, min(170.0, 0.3 * abs(self.x[-1] - self.x[0])))
        lines = []
        for (t, s), v in ((at, v) for at, v in np.ndenumerate(self.a) if at[0] in self.at):
            if v >= FAINT or self.focus is not None:
                tip = f"weight of {self.inputs[s]} for {self.outputs[t]} = {notation.exact(v)}"
                look = {
                    "color": palette.ramp(palette.ATTENTION, float(v)),
                    "penwidth": dot.number(0.4 + 5.2 * v),
                    "tip": tip,
                }
                lines.append(
                    (
                        v,
                        dot.curve(
                            f"state{s}",
                            f"mean{t}",
                            (self.x[s], bottom),
                            (self.at[t], top),
                            upright=True,
                            **look,
                        ),
                    )
                )
        self.canvas.front += [item for _, item in sorted(lines, key=lambda pair: pair[0])]
        return top

    def _written(self, top):
        fill, border = palette.LAYERS["recurrent"]
        label = "Σ α s" if self.step >= 44 else "Σ"
        for t, x in self.at.items():
            tip = f"output {self.rows[t]}: the mean of all saved states, each times its weight"
            look = {"shape": "ellipse", "fill": fill, "color": border, "fontsize": 10, "tip": tip}
            self.canvas.node(f"mean{t}", (x, top + 12), (min(self.step - 4, 48), 24), label, **look)
            inside, edge = palette.LAYERS["output"]
            look = {"style": "rounded,filled", "fill": inside, "color": edge, "fontsize": 10}
            look |= {"tip": f"output {self.rows[t]}"}
            self.canvas.node(f"out{t}", (x, top + 60), (self.step - 6, 20), self.outputs[t], **look)
            self.canvas.add(
                dot.wire(
                    f"mean{t}",
                    f"out{t}",
                    [(x, top + 24), (x, top + 50)],
                    penwidth=1.2,
                    arrowsize="0.5",
                )
            )
        left = min(min(self.at.values()) - self.step / 2, self.x[0] - self.pitch / 2) - 10
        self.canvas.add(dot.text((left, top + 60), "written", 9, anchor="end"))
        self.canvas.add(dot.text((left, top + 12), "weighted mean", 9, anchor="end"))
        self.top = top + 70

    def _matrix(self, y):
        """Every weight, below the state that it is of."""
        self.canvas.add(
            dot.text(
                (self.x[0] - self.pitch / 2 - 10, y + 4), "written ↓   weights α", 9, anchor="end"
            )
        )
        y -= 14
        for t, row in enumerate(self.a):
            at = y - t * ROW
            label, place = self.outputs[t], (self.x[0] - self.pitch / 2 - 10, at)
            self.canvas.add(dot.text(place, label, 10, palette.INK, anchor="end", name=f"row{t}"))
            for s, v in enumerate(row):
                label = (
                    f"{v:.2f}" if self.pitch >= NUMBERED else f"{100 * v:.0f}" if v >= 0.005 else ""
                )
                ink = "#ffffff" if v > 0.5 else palette.INK
                look = {
                    "fill": palette.ramp(("#FFFFFF", palette.ATTENTION[1]), float(v)),
                    "color": "#E5E7EB",
                    "penwidth": 0.5,
                }
                tip = f"weight of {self.inputs[s]} for {self.outputs[t]} = {notation.exact(v)}"
                self.canvas.node(
                    f"w{t},{s}",
                    (self.x[s], at),
                    (self.pitch, ROW),
                    label,
                    fontsize=8,
                    fontcolor=ink,
                    tip=tip,
                    **look,
                )
        if self.focus is not None:
            at, wide = (
                ((self.x[0] + self.x[-1]) / 2, y - self.focus * ROW),
                self.x[-1] - self.x[0] + self.pitch,
            )
            self.canvas.node(
                "now",
                at,
                (wide, ROW),
                shape="box",
                style="solid",
                color=palette.STATES["c"],
                penwidth=2.4,
            )
        self.low = y - len(self.a) * ROW

    def _text(self, left):
        title = "Attention: each output looks at all saved states at once"
        self.canvas.add(dot.text((left, self.top + 24), title, 12, palette.INK, anchor="start"))
        legend.ramp(
            self.canvas,
            "a",
            (left, self.low - 14),
            "weight α: line width and colour",
            palette.ATTENTION,
            [(0, "0"), (1, "1")],
        )
        unit = "" if self.pitch >= NUMBERED else ", in hundredths"
        lines = (
            f"weights below {FAINT} have no line"
            if self.focus is None
            else "lines: those of the framed row"
        )
        notes = [f"each row sums to 1{unit}; {lines}"]
        if self.total[1] > len(self.columns):
            rest = f"the others have {self.left_out.max():.2g} of a row at most"
            notes.append(
                f"{len(self.columns)} of {self.total[1]} inputs drawn, those of greatest weight; {rest}"
            )
        if self.total[0] > len(self.rows):
            which = "the first " if self.focus is None else ""
            notes.append(f"{which}{len(self.rows)} of {self.total[0]} outputs drawn")
        for k, note in enumerate(notes):
            self.canvas.add(dot.text((left + 200, self.low - 14 - 15 * k), note, 9, anchor="start"))
