"""The network unrolled: a grid of time (left to right) and depth (bottom to top)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Unpack

import numpy as np

from recurrent import checks

from ..draw import adapt, legend, notation, palette
from ..draw.adapt import Look, adaptable
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing
from ..reading import describe, unit_values
from ..reading.models import check_model, check_steps, checked
from ..reading.steps import chosen_steps, is_int, labelled, padded_steps
from .parts.time_grid import BOX, WIRE, initial_label, rows

BETWEEN, GAP, CUT = 32, 62, 50
LABEL = 16  # characters of a step's label
WIDER = 24  # extra room for the wires that pass the boxes of a bidirectional layer
_BEGINS = {
    "zero": "zero unless given",
    "learned": "a learned parameter unless given",
    "the encoder's": "the encoder's final state",
}


@adaptable
def unrolled(
    model: Any,
    steps: int | Sequence[int] = 4,
    window: int | None = None,
    recording: Any = None,
    lengths: Any = None,
    n: int = 0,
    inputs: Sequence[Any] | None = None,
    **options: Unpack[Look],
) -> Drawing:
    """Draw a model unrolled over time, with the same weights in every column.

    Parameters
    ----------
    model : recurrent.Sequential
        The model to draw; of a Seq2Seq, draw its encoder or its decoder.
    steps : int or sequence of int
        The number of time steps, of which more than 8 are elided, or the list of steps to show, of
        which more than 24 are elided.
    window : int, optional
        Steps of a window of truncated back-propagation through time. The state crosses the border
        of a window, the gradient does not.
    recording : recurrent.Recording, optional
        A recorded run of the model. With a loss, |dL/dh| is drawn in every recurrent cell; the
        values of a single unit are written into its cells.
    lengths : array_like, shape (N,) or (T, N), optional
        Lengths of the sequences or a mask; those of the recording by default. Padded steps are
        drawn as empty boxes that the state passes unchanged.
    n : int
        The sequence of the batch.
    inputs : sequence, optional
        Labels of all steps, such as the characters that the model reads.
    **options
        `title`, `labels`, `width`, `palette` and `dark`, which `viz.Look` explains.

    Returns
    -------
    Drawing

    Raises
    ------
    TypeError
        If `model` is not one stack of layers.
    ValueError
        If steps, window or recording do not fit the model, or the number of labels is wrong.
    IndexError
        If the sequence does not exist.
    """
    check_model(model, "unrolled")
    check_steps(model, "unrolled")
    if len(model.parts) > 1:
        raise TypeError(
            f"unrolled draws one stack of layers, got {type(model).__name__}: "
            "give model.encoder or model.decoder, or draw task('encoder-decoder')"
        )
    T, shown = chosen_steps(steps, window)
    if recording is not None:
        checked(model, recording, "unrolled")
        recorded = len(recording.x)  # y of a model that pools has no time axis
        if recorded < T:
            raise ValueError(f"steps must be within the {recorded} steps of the recording, got {T}")
    if window is not None and any(-1 in layer.state_delays.values() for layer in model.layers):
        raise ValueError(
            "window (truncated back-propagation) needs layers of one direction: "
            "a reverse direction starts at the end of the sequence"
        )
    lengths = recording.lengths if lengths is None and recording is not None else lengths
    if recording is not None:
        _check_sequence(recording, n)
        T, shown = _with_end(model, len(recording.x), T, shown, is_int(steps), lengths, n)
    labels = None if inputs is None else labelled(inputs, "inputs", T, shown, "x")
    padding = padded_steps(lengths, n, T)
    return _Grid(model, T, shown, window, recording, padding, labels, n).drawing()


def _check_sequence(recording, n):
    """Raise IndexError unless the recording has sequence n."""
    states = (a for layer in recording.layers for a in layer.states.values())
    sizes = {np.shape(a)[1] for a in states if np.ndim(a) == 3} or {1}
    if sizes != {0}:
        checks.index(n, "n", max(sizes), ", the sequences of the recording")


def _with_end(model, run, T, shown, counted, lengths, n):
    """Return the number of steps and those to show, with the last one that a model's pool reads.

    A model that pools makes its output from the whole recording, not from its first T steps.
    """
    if run == T or all("T" in node.shape for node in model.graph().nodes):
        return T, shown
    padding = padded_steps(lengths, n, run)
    last = next((t for t in reversed(range(run)) if t not in padding), run - 1)
    kept = shown[:-1] if counted else shown
    return run, sorted({*(t for t in kept if t <= last), last})


class _Grid:
    def __init__(self, model, T, shown, window, recording, padding, labels=None, n=0):
        self.model, self.T, self.shown, self.window = model, T, shown, window
        self.recording, self.padding, self.n = recording, padding, n
        self.read = {} if labels is None else dict(zip(shown, labels, strict=True))
        self.rows = rows(model)
        self.wide = max(r.size[0] for r in self.rows)
        self.named = {r.name: r for r in self.rows}
        self.both = any(r.around for r in self.rows)
        self.ways = {r.direction for r in self.rows if r.states}
        self.canvas = Canvas()
        self.x, at = {}, 0.0
        for before, t in zip([None, *shown[:-1]], shown, strict=True):
            if before is not None:
                at += self.wide + BETWEEN + WIDER * self.both
                at += (GAP if t > before + 1 else 0) + (CUT if self._cut(before, t) else 0)
            self.x[t] = at
        self.left = self.x[shown[0]] - self.wide / 2
        self.gradients = self._gradients()
        self.scale = adapt.decades(
            "g", (v for per in self.gradients.values() for v in per.values())
        )

    def drawing(self):
        for t in self.shown:
            self._column(t)
        for before, t in pairwise(self.shown):
            self._between(before, t)
        for r in self.rows:
            for s, colour, y in self._heights(r):
                self._ends(r, s, colour, y)
        self._windows()
        self._labels()
        self._legend()
        count = len(self.model.layers)
        what = notation.count(count, "layer") if count > 1 else self.rows[1].kind
        title = f"{what} unrolled over {notation.count(self.T, 'step')}"
        return Drawing.from_items(title, f"{'; '.join(self._sentences())}.", self.canvas.items)

    def _sentences(self):
        yield "Time from left to right, depth from bottom to top, the same weights at every step"
        if self.both:
            yield "a bidirectional layer reads in both directions and merges the outputs"
        if any(r.direction < 0 and not r.around for r in self.rows):
            yield "a layer with ← reads from the last step to the first"
        hidden = self.T - len(self.shown)
        if hidden:
            yield f"{hidden} of {self.T} steps not drawn"
        if self.padding:
            yield f"{notation.count(len(self.padding), 'padded step')} that the state skips"
        if self.window:
            yield f"back-propagation in windows of {self.window} steps"

    def _cut(self, before, t):
        return self.window is not None and before // self.window != t // self.window

    def _gradients(self):
        """Return |dL/dh|, the norm over batch and units, for each recurrent row and shown step."""
        out = {}
        if self.recording is None:
            return out
        for r in self.rows:
            gradients = self.recording.layers[r.layer].dstates if r.states else None
            if gradients:
                first = np.asarray(gradients[r.states[0]], np.float64)
                out[r.name] = {t: float(np.linalg.norm(first[t])) for t in self.shown}
        return out

    # Columns

    def _column(self, t):
        for r in self.rows:
            if not (r.steps or t == self.shown[-1]):
                continue
            if r.steps and t in self.padding:
                self._padded(r, t)
                continue
            label, look, tip = self._look(r, t)
            self.canvas.node(f"{r.name}@{t}", (self.x[t], r.y), r.size, label, tip=tip, **look)
            self._bar(r, t)
            self._inputs(r, t)
        label = notation.fit(adapt.label("steps", t, self._run(), f"t = {t}"), 9, self.wide + 20)
        self.canvas.text((self.x[t], -24), label, 9, name=f"step:{t}")
        if self.read:
            label = notation.short(f"'{self.read[t]}'", LABEL)
            self.canvas.text((self.x[t], -38), label, 10, palette.INK, name=f"read:{t}")

    def _look(self, r, t):
        """Return label, look and tooltip of a box."""
        fill, border = palette.layer(r.kind, bool(r.states))
        where, shape = f"t = {t}" if r.steps else "after the last step", notation.shape(r.shape)
        look = dict(fill=fill, color=border)
        if r.kind in ("input", "output"):
            label = notation.sub(r.label, t) if r.steps else r.label
            tip = f"{r.kind} at {where}, {shape}" if r.steps else f"{r.kind}, {shape}"
            return label, look | dict(shape="ellipse"), tip
        tip = f"layer {r.layer}, {r.words}, {where}"
        if not r.states:
            return r.label, look | dict(style="filled", fontsize=10), f"{tip}: {shape}"
        look |= dict(style="rounded,filled", penwidth=1.2)
        return self._valued(r, t, look, tip) if self.recording is not None else (r.label, look, tip)

    def _valued(self, r, t, look, tip):
        """Add a sequence's states to the tooltip, and to the box where a state is one number."""
        label, states = r.label, {}
        for s in r.states:
            a = np.asarray(self.recording.layers[r.layer].states[s])
            if not a.size:
                return label, look, tip
            states[s] = unit_values.sequence(a, self.n, a.ndim == 3)
            values, name = states[s][t], r.plain(s)
            if values.size == 1:
                tip += f", {name} = {notation.exact(values[0])}"
            else:
                tip += f", rms of {name} = {np.sqrt(np.mean(np.square(values, dtype=float))):.3g}"
        h = states[r.states[0]]
        if h.shape[-1] == 1:
            largest = float(np.abs(h[np.isfinite(h)]).max(initial=0))
            v, limit = float(h[t, 0]), adapt.limit(f"h:{r.name}", largest)
            label = f"{label}\n{notation.sub('h', t)} = {notation.signed(v)}"
            fill = palette.signed(v, limit)
            look |= dict(fill=fill, fontsize=9, fontcolor=palette.on(fill))
        return label, look, tip

    def _padded(self, r, t):
        """Draw an empty box, and the states that pass it unchanged."""
        name, x = f"{r.name}@{t}", self.x[t]
        look = dict(fill="#FFFFFF", color=palette.REST[1])
        if r.kind in ("input", "output"):
            look |= dict(shape="ellipse", style="filled,dashed", penwidth=0.8)
        elif r.states:
            look |= dict(style="rounded,filled,dashed", penwidth=0.8)
        else:
            look |= dict(style="filled,dashed", fontsize=10, penwidth=0.8)
        tip = f"padding at t = {t}: nothing is computed here"
        self.canvas.node(name, (x, r.y), r.size, "", tip=tip, **look)
        for s, colour, y in self._heights(r):
            points = [(x - self.wide / 2, y), (x + self.wide / 2, y)]
            look = dict(color=colour, penwidth=1.5, tip=f"{r.plain(s)} is unchanged at t = {t}")
            self.canvas.wire(name, name, points, arrow=False, **look)

    def _inputs(self, r, t):
        """Draw the wires into the box of a row at step t."""
        bottom = r.y - r.size[1] / 2
        for k, name in enumerate(r.below):
            below = self.named[name]
            top = below.y + below.size[1] / 2
            head = f"{r.name}@{t}"
            if r.steps or not below.steps:
                points = self._upward(r, k, self.x[t], top, bottom)
                self.canvas.wire(f"{name}@{t}", head, points)
                continue
            for source in self._pooled(r):
                start, end = self.x[source], self.x[t]
                points = [(start, top), (start, top + 16), (end, top + 16), (end, bottom)]
                self.canvas.wire(f"{name}@{source}", head, points)

    def _upward(self, r, k, x, top, bottom):
        """Return the points of a wire upwards; those of bidirectional layers pass other boxes."""
        half = BOX[0] / 2
        if r.around:  # into the reverse direction, past the forward one on the right
            out, y = x + half + 14, r.y - 14
            return [(x + 10, top), (x + 10, top + 14), (out, top + 14), (out, y), (x + half, y)]
        if k:  # out of the forward direction, past the reverse one on the left
            out, y = x - half - 14, r.y
            return [(x - 10, top), (x - 10, top + 14), (out, top + 14), (out, y), (x - half, y)]
        return [(x, top), (x, bottom)]

    def _pooled(self, r):
        """Return the shown steps that a pooling layer reads."""
        valid = [t for t in self.shown if t not in self.padding]
        if r.kind != "Last" or not valid:
            return valid
        layer = self.model[r.layer]
        ends = {valid[0] if layer.reverse else valid[-1]}
        return sorted(ends | {valid[0]} if layer.bidirectional else ends)

    def _bar(self, r, t):
        """Draw |dL/dh| of a recurrent row at step t as a coloured bar."""
        if r.name in self.gradients:
            v = self.gradients[r.name][t]
            colour = palette.magnitude(v, *self.scale)
            at, tip = (
                (self.x[t], r.y - r.size[1] / 2 + 6),
                f"|dL/dh| at t = {t}: {notation.exact(v)}",
            )
            look: dict[str, Any] = dict(fill=colour, color=colour, penwidth=0.5, tip=tip)
            self.canvas.node(f"gradient:{r.name}@{t}", at, (54, 5), **look)

    # States from step to step

    def _heights(self, r):
        """Return (state, colour, height of its wire) for each state, h lowest."""
        count = len(r.states)
        return [
            (
                s,
                palette.state(r.plain(s), k),
                r.y + WIRE / 2 * (2 * k - count + 1) + 2 * (count > 1),
            )
            for k, s in enumerate(r.states)
        ]

    def _between(self, before, t):
        left, right = self.x[before] + self.wide / 2, self.x[t] - self.wide / 2
        middle, gap = (left + right) / 2, t > before + 1
        cut = self._cut(before, t) and not gap
        for r in self.rows:
            if gap and r.steps:
                self.canvas.text((middle, r.y), "…", 14)
            for s, colour, y in self._heights(r):
                look = dict(color=colour, penwidth=1.5)
                if gap:
                    pieces = [((left, y), (middle - 12, y)), ((middle + 12, y), (right, y))]
                    steps = [(before, before + 1), (t - 1, t)]
                else:
                    pieces, steps = [((left, y), (right, y))], [(before, t)]
                    look = dict(style="dashed" if cut else "solid", **look)
                for points, ends in zip(pieces, steps, strict=True):
                    tail, head = (f"{r.name}@{before}", f"{r.name}@{t}")[:: r.direction]
                    start, end = ends[:: r.direction]
                    tip = f"{r.plain(s)} from t = {start} to t = {end}"
                    self.canvas.wire(tail, head, points[:: r.direction], tip=tip, **look)
            if cut and r.states:
                tip = f"no gradient flows back from t = {t} to t = {before}"
                look = dict(fill=palette.CUT, color=palette.CUT, tip=tip)
                tall = max(40, WIRE * (len(r.states) - 1) + 24)
                self.canvas.node(f"cut:{r.name}@{t}", (middle, r.y), (5, tall), **look)
        first = next((r for r in self.rows if r.states), None)
        if cut and first is not None:
            note = "state carried,\ngradient cut"
            self.canvas.text((middle, first.y + first.size[1] / 2 + 15), note, 8, palette.CUT)

    def _ends(self, r, s, colour, y):
        """Draw the wires of a state into the first shown step and out of the last."""
        name, first, last = r.plain(s), self.shown[0], self.shown[-1]
        look = dict(style="rounded,filled", fontsize=8.5, color=colour, fontcolor=colour)
        look |= dict(fill="#FFFFFF")
        wire = dict(color=colour, penwidth=1.5)
        sides = ((first, -1), (last, 1))[:: r.direction]
        (begin, left), (end, right) = sides
        half = self.wide / 2
        at = (self.x[begin] + left * (half + 62), y)
        very_first = begin == (0 if r.direction > 0 else self._run() - 1)
        start = notation.sub(name, begin - r.direction)
        start = initial_label(name, r.begins) if very_first else start
        node, tip = f"initial:{r.name}:{name}", f"initial {name}; {_BEGINS[r.begins]}"
        self.canvas.node(node, at, (34, 14), start, tip=tip, **look)
        points = [(at[0] - left * 17, y), (self.x[begin] + left * half, y)]
        self.canvas.wire(node, f"{r.name}@{begin}", points, **wire)
        at = (self.x[end] + right * (half + 62), y)
        valid = [t for t in range(first, last + 1) if t not in self.padding][:: -r.direction]
        stop = notation.sub(name, valid[0]) if valid else start
        node, tip = f"final:{r.name}:{name}", f"final {name}, returned"
        self.canvas.node(node, at, (34, 14), stop, tip=tip, **look)
        points = [(self.x[end] + right * half, y), (at[0] - right * 17, y)]
        self.canvas.wire(f"{r.name}@{end}", node, points, **wire)

    def _run(self):
        """Return the number of steps of the whole run."""
        return self.T if self.recording is None else len(self.recording.x)

    # Text

    def _windows(self):
        if self.window is None:
            return
        top, bottom = self.rows[-1].y + 48, -50 if self.read else -40
        for w in sorted({t // self.window for t in self.shown}):
            xs = [self.x[t] for t in self.shown if t // self.window == w]
            start, stop = w * self.window, min((w + 1) * self.window, self.T) - 1
            steps = f"steps {start} to {stop}" if stop > start else f"step {start}"
            label = f"window {w} · {steps}" if len(xs) > 1 else f"window {w}\n{steps}"
            box = (min(xs) - 46, bottom, max(xs) + 46, top + 14 * (len(xs) == 1))
            style = "rounded,filled,dashed"
            self.canvas.group(f"window{w}", box, label, 10, palette.WINDOWS[w % 2], style=style)

    def _labels(self):
        x = self.left - (62 + 17 + 14 if any(r.states for r in self.rows) else 40)
        ends = {"input": "input x", "output": "output y"}
        for r in self.rows:
            line = ends.get(r.kind, f"layer {r.layer}: {r.label}")
            if r.layer is not None:
                line += describe.named(self.model[r.layer], "\n")
            self.canvas.text((x, r.y), f"{line}\n{notation.shape(r.shape)}", 9, anchor="end")

    def _legend(self):
        """Draw the keys and notes from left to right, in as many lines as they need."""
        y, right = -74, max(self.canvas.extent[2], self.left + 560)
        x = self.left
        for wide, draw in self._keys():
            if x > self.left and x + wide > right:
                x, y = self.left, y - 18
            draw(x, y)
            x += wide + 24

    def _keys(self):
        """Yield the width of each key and the function that draws it at a place."""
        states = dict.fromkeys(r.plain(s) for r in self.rows for s in r.states)
        to = {1: "t + 1", -1: "t − 1"}[min(self.ways, default=1)]
        to = "t + 1 (→) or t − 1 (←)" if len(self.ways) > 1 else to
        for k, s in enumerate(states):
            words = f"{s}, to {to}"
            yield 36 + _long(words), partial(self._state_key, s, k, words)
        if self.padding:
            words = "padding: the state is unchanged"
            yield 26 + _long(words), partial(self._padding_key, words)
        if self.gradients:
            low, high = (notation.power(v) for v in self.scale)
            words = f"|∂L/∂h|  {low}"
            wide = _long(words) + 156 + _long(high)
            yield wide, partial(self._gradient_key, words, high)
            sizes = [v for per in self.gradients.values() for v in per.values()]
            if not all(map(math.isfinite, sizes)):
                yield 90, lambda x, y: legend.not_finite(self.canvas, (x, y))
        notes = {"": "same weights at every step"} if states else {}
        if hidden := self.T - len(self.shown):
            notes["left-out"] = f"{hidden} of {self.T} steps not drawn"
        if self.gradients and self.window is not None and self.window < self.T:
            notes["whole"] = "bars: gradient of the whole recording, not truncated"
        for name, words in notes.items():
            yield _long(words), partial(self._note, words, name)

    def _state_key(self, s, k, words, x, y):
        points = [(x, y), (x + 30, y)]
        ends = self.canvas.anchors(f"key:{s}", points)
        self.canvas.wire(*ends, points, color=palette.state(s, k), penwidth=1.5)
        self._note(words, "", x + 36, y)

    def _padding_key(self, words, x, y):
        look = dict(style="filled,dashed", fill="#FFFFFF", color=palette.REST[1], penwidth=0.8)
        self.canvas.node("key:padding", (x + 10, y), (20, 10), "", **look)
        self._note(words, "", x + 26, y)

    def _gradient_key(self, words, high, x, y):
        x = self._note(words, "key:gradient:low", x, y) + 6
        for k in range(24):
            colour = palette.ramp(palette.CIVIDIS, k / 23)
            look: dict[str, Any] = dict(fill=colour, color=colour, penwidth=0)
            self.canvas.node(f"key:g{k}", (x + 3 + 6 * k, y), (6, 9), **look)
        self._note(high, "key:gradient:high", x + 150, y)

    def _note(self, words, name, x, y):
        """Write a note and return the x after it."""
        return self.canvas.text((x, y), words, 9, anchor="start", name=name).box[2]


def _long(words):
    """Return the width of a note."""
    return notation.width(words, 9) + 2
