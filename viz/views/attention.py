"""Attention over saved states: the weight of each in the mean that an output is made from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Unpack

import numpy as np

from recurrent import checks
from recurrent.models.base import Model

from ..draw import adapt, dot, legend, notation, palette
from ..draw.adapt import Look, adaptable
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing
from ..reading import describe
from ..reading.attention_weights import AttentionWeights, one_sequence, recorded_weights
from ..reading.steps import labelled
from .parts.attention_grid import FAINT, NUMBERED, ROW, STATE, columns_of, pitch, rows_of


@adaptable
def attention(
    model: Any,
    recording: Any = None,
    n: int = 0,
    inputs: Sequence[Any] | None = None,
    outputs: Sequence[Any] | None = None,
    layer: int | None = None,
    step: int | None = None,
    **options: Unpack[Look],
) -> Drawing:
    """Draw the attention of each output step: lines as wide as their weights, and all weights.

    Parameters
    ----------
    model : recurrent.Sequential, recurrent.Seq2Seq or array_like
        A model with an Attention layer; or attention weights, shape (T_out, N, T_in) or
        (T_out, T_in), each row of which sums to 1.
    recording : recurrent.Recording, optional
        A recorded run of the model; required with a model.
    n : int
        The sequence of the batch.
    inputs, outputs : sequence, optional
        Labels of the input and output steps, such as words or characters.
    layer : int, optional
        The place of the Attention layer in the model; the first one by default.
    step : int, optional
        Draw only the lines of this output step.
    **options
        `title`, `labels`, `width`, `palette` and `dark`, which `viz.Look` explains.

    Returns
    -------
    Drawing

    Raises
    ------
    TypeError
        If the model has no Attention layer.
    ValueError
        If shapes or numbers of labels do not fit.
    IndexError
        If the sequence, layer or step does not exist.
    """
    if isinstance(model, Model):
        found = recorded_weights(model, recording, n, layer)
    elif recording is not None:
        raise TypeError(f"attention with a recording needs its model, got {type(model).__name__}")
    else:
        found = AttentionWeights(-1, one_sequence(model, n), frozenset(), frozenset())
    weights = found.weights
    T_out, T_in = weights.shape
    rows = [t for t in range(T_out) if t not in found.padded_outputs]
    columns = [s for s in range(T_in) if s not in found.padded_inputs]
    step = None if step is None else checks.integer(step, "step")
    if step is not None and step not in rows:
        steps = notation.count(len(rows), "output step")
        raise IndexError(f"step must be one of the {steps} of this sequence, got {step}")
    a = weights[np.ix_(rows, columns)]
    if not a.size:
        raise ValueError(
            "attention needs at least one output step and one saved state, "
            f"got {len(rows)} and {len(columns)}"
        )
    if not (np.isfinite(a).all() and (a >= 0).all() and np.allclose(a.sum(axis=1), 1, atol=1e-3)):
        sums = a.sum(axis=1)
        raise ValueError(
            "weights must be at least 0 and each row must sum to 1, "
            f"got a minimum of {a.min():.3g} and sums of {sums.min():.3g} to {sums.max():.3g}"
        )
    written = labelled(outputs, "outputs", T_out, rows, "y")
    read = [
        adapt.label("steps", s, T_in, text) if inputs is None else text
        for s, text in zip(columns, labelled(inputs, "inputs", T_in, columns, "x"), strict=True)
    ]
    focus = None if step is None else rows.index(step)
    return _Picture(a, written, read, _encoder(model, found.layer), focus).drawing()


def _encoder(model, k):
    """Return the recurrent layer whose states the attention reads, or None."""
    if not isinstance(model, Model):
        return None
    first, *others = model.parts.values()
    layers = first.layers if others else first.layers[:k]
    return next((layer for layer in reversed(layers) if layer.cell is not None), None)


class _Picture:
    """From the bottom up: all weights, the inputs, the saved states, lines, means, outputs."""

    def __init__(self, weights, outputs, inputs, encoder, step):
        self.encoder, self.canvas, self.total = encoder, Canvas(), weights.shape
        self.both = encoder is not None and encoder.bidirectional
        self.columns, self.rows = columns_of(weights), rows_of(weights.shape[0], step)
        self.focus = None if step is None else self.rows.index(step)
        # The outputs that have lines.
        self.means = range(len(self.rows)) if step is None else [self.focus]
        self.a = weights[np.ix_(self.rows, self.columns)]
        self.left_out = 1 - self.a.sum(axis=1)
        self.inputs = [inputs[s] for s in self.columns]
        self.outputs = [outputs[t] for t in self.rows]
        self.pitch = pitch(self.inputs)
        self.x = [k * self.pitch for k in range(len(self.columns))]
        self.left = -self.pitch / 2 - 10  # where the labels of rows end
        out = max(notation.width(text, 10) * 1.15 for text in self.outputs) + 14
        room = (self.x[-1] + self.pitch) / len(self.rows)
        self.step = max(out, 40.0, min(room, 110.0))
        middle, shift = self.x[-1] / 2, (len(self.means) - 1) / 2
        self.at: dict[Any, float] = {
            t: middle + (k - shift) * self.step for k, t in enumerate(self.means)
        }

    def drawing(self):
        self._read()
        self._matrix(-30)
        top = self._lines()
        self._written(top)
        self._text(self.canvas.extent[0])
        steps = notation.count(self.total[0], "output step")
        title = f"Attention of {steps} over {notation.count(self.total[1], 'saved state')}"
        best = zip(range(len(self.a)), self.outputs, self.a.argmax(axis=1), strict=True)
        text = "; ".join(f"{out}: {self.inputs[s]} {self.a[t, s]:.2f}" for t, out, s in best)
        text = f"The state that each output attends to most: {text}."
        return Drawing.from_items(title, text, self.canvas.items)

    def _weight_tip(self, t, s):
        value = notation.exact(self.a[t, s])
        return f"weight of {self.inputs[s]} for {self.outputs[t]} = {value}"

    # Inputs and saved states

    def _read(self):
        """Draw the inputs, the layer that reads them, and its saved states."""
        directions = self._arrows()
        self.saved = 44 + 46 * len(directions)
        fill, border = palette.LAYERS["input"]
        look = dict(style="rounded,filled", fontsize=10, fill=fill, color=border)
        for s, (x, text) in enumerate(zip(self.x, self.inputs, strict=True)):
            tip = f"input {self.columns[s]}"
            self.canvas.node(f"in{s}", (x, 0), (self.pitch - 6, 20), text, tip=tip, **look)
        small = min(self.pitch - 10, 40)
        for d, arrow in enumerate(directions):
            self._direction(d, arrow, 44 + 46 * d, small)
        for s, x in enumerate(self.x):
            self._saved_state(s, x, small)
            self._rise(s, x, small, len(directions))
        self.canvas.text((self.left, self.saved), "saved states", 9, anchor="end")
        self.canvas.text((self.left, 0), "input", 9, anchor="end")

    def _arrows(self):
        """Return an arrow for each direction of the layer that reads the inputs."""
        if self.encoder is None:
            return []
        if self.both:
            return ["→", "←"]
        return ["←" if self.encoder.reverse else "→"]

    def _direction(self, d, arrow, y, small):
        """Draw one direction of the layer that reads the inputs."""
        kind, colour = describe.kind(self.encoder), palette.DIRECTIONS[d]
        label = f"h{arrow}" if small >= 22 else "h"
        look = dict(style="rounded,filled", fill="#FFFFFF", color=colour, fontsize=10, penwidth=1.2)
        for s, x in enumerate(self.x):
            tip = f"{kind} {arrow} at input {self.columns[s]}"
            self.canvas.node(f"enc{d}:{s}", (x, y), (small, 22), label, tip=tip, **look)
        step = -1 if arrow == "←" else 1
        look = dict(color=colour, penwidth=1.3, arrowsize="0.4")
        for a, b in pairwise(range(len(self.x))):
            ends = [(self.x[a] + small / 2, y), (self.x[b] - small / 2, y)]
            tail, head = (f"enc{d}:{a}", f"enc{d}:{b}")[::step]
            self.canvas.wire(tail, head, ends[::step], **look)
        name = f"{'reverse' if d else 'forward'} {kind}" if self.both else kind
        self.canvas.text((self.left, y), name, 9, colour, anchor="end")

    def _saved_state(self, s, x, small):
        """Draw a saved state, with a half for each direction of the layer."""
        wide = small / 2 if self.both else small
        for d in range(1 + self.both):
            at = x - small / 4 + d * small / 2 if self.both else x
            colour = palette.DIRECTIONS[d]
            look: dict[str, Any] = dict(
                fill=palette.ramp((adapt.colour(colour, fill=False), "#FFFFFF"), 0.72),
                color=colour,
                penwidth=1,
            )
            name, tip = f"state{s}{':reverse' * d}", f"saved state {self.columns[s]}"
            self.canvas.node(name, (at, self.saved), (wide, STATE - 6), tip=tip, **look)

    def _rise(self, s, x, small, directions):
        """Draw the wires of a column, from the input up to the saved state."""
        read, forward, reverse, saved = f"in{s}", f"enc0:{s}", f"enc1:{s}", f"state{s}"
        at = x - small / 4 if directions == 2 else x
        if directions < 2:
            for tail, head in pairwise([read, *[forward] * directions, saved]):
                self._upward(tail, head, at)
            return
        box, y = self.canvas.box, self.canvas.centre(reverse)[1]
        up, out, side = 6, small / 2 + 4, x + small / 4
        self._upward(read, forward, at)
        start = box[read][3]
        points = [(side, start), (side, start + up), (x + out, start + up)]
        self._thin(read, reverse, [*points, (x + out, y - 6), (x + small / 2, y - 6)])
        top, edge = box[forward][3], x - small / 2
        points = [(at, top), (at, top + up), (x - out, top + up)]
        self._thin(forward, saved, [*points, (x - out, self.saved), (edge, self.saved)])
        self._upward(reverse, f"{saved}:reverse", side)

    def _upward(self, tail, head, x):
        self._thin(tail, head, [(x, self.canvas.box[tail][3]), (x, self.canvas.box[head][1])])

    def _thin(self, tail, head, points):
        self.canvas.wire(tail, head, points, radius=4, penwidth=1, arrowsize="0.4")

    # Lines and outputs

    def _lines(self):
        """Draw lines from states to means, thin ones first; return the height of the means."""
        bottom = self.saved + STATE / 2 - 3
        top = bottom + max(90.0, min(170.0, 0.3 * abs(self.x[-1] - self.x[0])))
        lines = []
        for (t, s), v in np.ndenumerate(self.a):
            if t in self.at and (v >= FAINT or self.focus is not None):
                look: dict[str, Any] = dict(color=palette.attention(float(v)))
                look |= dict(penwidth=dot.number(0.4 + 5.2 * v), tip=self._weight_tip(t, s))
                ends = (self.x[s], bottom), (self.at[t], top)
                lines.append((v, dot.curve(f"state{s}", f"mean{t}", *ends, upright=True, **look)))
        self.canvas.front += [item for _, item in sorted(lines, key=lambda pair: pair[0])]
        return top

    def _written(self, top):
        """Draw the weighted means of the saved states, and the outputs made from them."""
        label = "Σ α s" if self.step >= 44 else "Σ"
        fill, border = palette.LAYERS["recurrent"]
        mean = dict(shape="ellipse", fill=fill, color=border, fontsize=10)
        fill, border = palette.LAYERS["output"]
        output = dict(style="rounded,filled", fill=fill, color=border, fontsize=10)
        for t, x in self.at.items():
            tip = f"output {self.rows[t]}"
            size = (min(self.step - 4, 48), 24)
            mean["tip"] = f"{tip}: the weighted mean of all saved states"
            self.canvas.node(f"mean{t}", (x, top + 12), size, label, **mean)
            at, size = (x, top + 60), (self.step - 6, 20)
            self.canvas.node(f"out{t}", at, size, self.outputs[t], tip=tip, **output)
            points = [(x, top + 24), (x, top + 50)]
            self.canvas.wire(f"mean{t}", f"out{t}", points, penwidth=1.2, arrowsize="0.5")
        left = min(min(self.at.values()) - self.step / 2, self.x[0] - self.pitch / 2) - 10
        self.canvas.text((left, top + 60), "output", 9, anchor="end")
        self.canvas.text((left, top + 12), "weighted mean", 9, anchor="end")
        self.top = top + 70

    def _matrix(self, y):
        """Draw the attention weights as a matrix of numbers, each below its saved state."""
        self.canvas.text((self.left, y + 4), "output ↓   weights α", 9, anchor="end")
        y -= 14
        for t, row in enumerate(self.a):
            at = y - t * ROW
            look = dict(anchor="end", name=f"row{t}")
            self.canvas.text((self.left, at), self.outputs[t], 10, palette.INK, **look)
            for s, v in enumerate(row):
                label = f"{100 * v:.0f}" if v >= 0.005 else ""
                label = f"{v:.2f}" if self.pitch >= NUMBERED else label
                fill = palette.attention(float(v))
                look = dict(fontsize=8, fontcolor=palette.on(fill))
                look |= dict(fill=fill, color="#E5E7EB", penwidth=0.5, tip=self._weight_tip(t, s))
                self.canvas.node(f"w{t},{s}", (self.x[s], at), (self.pitch, ROW), label, **look)
        if self.focus is not None:
            at = ((self.x[0] + self.x[-1]) / 2, y - self.focus * ROW)
            size = (self.x[-1] - self.x[0] + self.pitch, ROW)
            look: dict[str, Any] = dict(
                shape="box", style="solid", color=palette.STATES["c"], penwidth=2.4
            )
            self.canvas.node("now", at, size, **look)
        self.low = y - len(self.a) * ROW

    def _text(self, left):
        title = "Attention: each output attends to all saved states at once"
        self.canvas.text(
            (left, self.top + 24), adapt.heading(title), 12, palette.INK, anchor="start"
        )
        at, label = (left, self.low - 14), "weight α: line width and colour"
        legend.ramp(self.canvas, "a", at, label, palette.ATTENTION, [(0, "0"), (1, "1")])
        for k, note in enumerate(self._notes()):
            self.canvas.text((left + 200, self.low - 14 - 15 * k), note, 9, anchor="start")

    def _notes(self):
        unit = "" if self.pitch >= NUMBERED else ", in percent"
        lines = "lines: the framed row"
        if self.focus is None:
            lines = f"weights below {FAINT} have no line"
        yield f"each row sums to 1{unit}; {lines}"
        if self.total[1] > len(self.columns):
            drawn = f"{len(self.columns)} of {self.total[1]} inputs drawn"
            rest = f"the others add up to at most {self.left_out.max():.2g} of a row"
            yield f"{drawn}, those with the largest weights; {rest}"
        if self.total[0] > len(self.rows):
            which = "the first " if self.focus is None else ""
            yield f"{which}{len(self.rows)} of {self.total[0]} outputs drawn"
