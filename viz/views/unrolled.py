"""The network unrolled: a grid of time (left to right) and depth (bottom to top), the same weights in every column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..draw import dot, notation, palette
from ..draw.drawing import Drawing
from .parts.steps import asked, blanks
from .parts.time_grid import BOX, CELL, rows

STEP, GAP, CUT, WIDER = (
    100,
    62,
    50,
    24,
)  # WIDER: wires of a bidirectional layer pass its boxes on either side


def unrolled(
    model: Any,
    steps: int | Sequence[int] = 4,
    window: int | None = None,
    recording: Any = None,
    lengths: Any = None,
    n: int = 0,
) -> Drawing:
    """The model over `steps` time steps: a count, or a list of the steps to show.

    More than 8 steps are elided with "…", of a list those in the middle of more than 24.
    `window`: steps of a window of truncated back-propagation; state crosses its
    border, gradient does not. A `recording` with a loss puts |dL/dh| of every step below its cell; one of a single unit
    its values into the cells. `lengths` (N,) or a mask (T, N), by default that of the recording: the steps that sequence
    `n` does not have are drawn as blanks, which the state passes by.

    Raises TypeError or ValueError for steps, windows and recordings that do not fit.
    """
    if not hasattr(model, "layers") or not hasattr(model, "graph"):
        raise TypeError(f"unrolled draws a model of layers, got {type(model).__name__}")
    if hasattr(model, "encoder"):
        other = "give model.encoder or model.decoder, or draw task('encoder-decoder')"
        raise TypeError(f"unrolled draws one stack of layers, got {type(model).__name__}: {other}")
    T, shown = asked(steps, window)
    if recording is not None:
        if len(recording.layers) != len(model.layers):
            raise ValueError(
                f"the recording has {len(recording.layers)} layers, the model {len(model.layers)}"
            )
        if len(recording.y) < T:
            raise ValueError(
                f"steps must be within the {len(recording.y)} steps of the recording, got {T}"
            )
    if window is not None and any(-1 in layer.state_delays.values() for layer in model.layers):
        raise ValueError(
            "windows of truncated back-propagation need layers of one direction: the reverse one starts at the end"
        )
    lengths = recording.lengths if lengths is None and recording is not None else lengths
    return _Grid(model, T, shown, window, recording, blanks(lengths, n, T)).drawing()


_BEGINS = {
    "zero": "zero unless given",
    "learned": "a parameter, learned, unless given",
    "the encoder's": "what the encoder has left",
}


def beginning(name: str, begins: str) -> str:
    """The label of a state before the first step: its value, or the name of what it is.

    >>> beginning("h", "zero"), beginning("c", "learned"), beginning("h", "the encoder's")
    ('h = 0', 'c0', 'h enc.')
    """
    return {"zero": f"{name} = 0", "learned": f"{name}0"}.get(begins, f"{name} enc.")


class _Grid:
    def __init__(self, model, T, shown, window, recording, blanks):
        self.model, self.T, self.shown, self.window, self.recording = (
            model,
            T,
            shown,
            window,
            recording,
        )
        self.blanks = blanks
        self.rows = rows(model)
        self.named = {r.name: r for r in self.rows}
        self.both = any(r.direction < 0 for r in self.rows)
        self.items, self.behind = [], []
        self.x = {}
        at = 0.0
        for before, t in zip([None, *shown[:-1]], shown, strict=True):
            if before is not None:
                at += STEP + WIDER * self.both
                at += (GAP if t > before + 1 else 0) + (CUT if self._cut(before, t) else 0)
            self.x[t] = at
        self.gradients = self._gradients()

    def drawing(self):
        for t in self.shown:
            self._column(t)
        for before, t in zip(self.shown, self.shown[1:], strict=False):
            self._between(before, t)
        self._ends()
        self._windows()
        self._labels()
        self._legend()
        what = (
            notation.count(len(self.model.layers), "layer")
            if len(self.model.layers) > 1
            else self.rows[1].kind
        )
        title = f"{what} unrolled over {notation.count(self.T, 'step')}"
        hidden = self.T - len(self.shown)
        said = "Time from left to right, depth from bottom to top, the same weights at every step"
        said += (
            "; a bidirectional layer reads in both directions and merges what it found"
            if self.both
            else ""
        )
        said += f"; {hidden} of {self.T} steps left out" if hidden else ""
        said += (
            f"; {notation.count(len(self.blanks), 'blank')} that the state passes by"
            if self.blanks
            else ""
        )
        said += f"; back-propagation in windows of {self.window} steps" if self.window else ""
        return Drawing.from_items(title, said + ".", [*self.behind, *self.items])

    def _cut(self, before, t):
        return self.window is not None and before // self.window != t // self.window

    def _gradients(self):
        """|dL/dh| of every shown step for each row of recurrent units, norm over batch and units."""
        out = {}
        for r in self.rows:
            totals = (
                self.recording.layers[r.layer].dstates
                if self.recording is not None and r.states
                else None
            )
            if totals:
                first = np.asarray(totals[r.states[0]], np.float64)
                out[r.name] = {t: float(np.linalg.norm(first[t])) for t in self.shown}
        return out

    def _scale(self):
        return palette.decades(v for per in self.gradients.values() for v in per.values())

    def _column(self, t):
        x = self.x[t]
        for r in self.rows:
            if not (r.steps or t == self.shown[-1]):
                continue
            fill, border = palette.layer(r.kind, bool(r.states))
            blank = r.steps and t in self.blanks
            where = f"t = {t}" if r.steps else "after the last step"
            if r.kind in ("input", "output"):
                look = {"shape": "ellipse"}
                label = notation.sub(r.label, t) if r.steps else r.label
                tip = (
                    f"{r.kind} at {where}, {notation.shape(r.shape)}"
                    if r.steps
                    else f"{r.kind}, {notation.shape(r.shape)}"
                )
            elif r.states:
                look = {"style": "rounded,filled", "penwidth": 1.2}
                label, tip = r.label, f"layer {r.layer}, {r.words}, {where}"
                if not blank:
                    label, fill, look, tip = self._valued(r, t, label, fill, look, tip)
            else:
                look = {"style": "filled", "fontsize": 10}
                label, tip = (
                    r.label,
                    f"layer {r.layer}, {r.words}, {where}: {notation.shape(r.shape)}",
                )
            if blank:
                look = {**look, "style": look.get("style", "filled") + ",dashed", "penwidth": 0.8}
                label, fill, border, tip = (
                    "",
                    "#FFFFFF",
                    palette.REST[1],
                    f"blank at {where}: nothing is computed here",
                )
            self.items.append(
                dot.node(
                    f"{r.name}@{t}",
                    (x, r.y),
                    r.size,
                    label,
                    fill=fill,
                    color=border,
                    tip=tip,
                    **look,
                )
            )
            if not blank:
                self._bar(r, t, x)
                self._inputs(r, t)
            elif r.states:
                for s, colour, y in self._heights(r):
                    points = [(x - CELL[0] / 2, y), (x + CELL[0] / 2, y)]
                    same = f"{r.plain(s)} stays as it is at t = {t}"
                    name = f"{r.name}@{t}"
                    self.items.append(
                        dot.wire(
                            name, name, points, arrow=False, color=colour, penwidth=1.5, tip=same
                        )
                    )
        self.items.append(dot.text((x, -24), f"t = {t}", 9, name=f"step:{t}"))

    def _inputs(self, r, t):
        """Wires into the node of a row at step t."""
        bottom, half = r.y - r.size[1] / 2, BOX[0] / 2
        for k, name in enumerate(r.below):
            below = self.named[name]
            top = below.y + below.size[1] / 2
            if r.steps or not below.steps:
                x = self.x[t]
                points = [(x, top), (x, bottom)]
                if r.around:  # past the units of the other direction, at their right
                    points = [
                        (x + 10, top),
                        (x + 10, top + 14),
                        (x + half + 14, top + 14),
                        (x + half + 14, r.y - 14),
                    ]
                    points.append((x + half, r.y - 14))
                elif k:  # out of the forward direction, past the reverse one, at its left
                    points = [
                        (x - 10, top),
                        (x - 10, top + 14),
                        (x - half - 14, top + 14),
                        (x - half - 14, r.y),
                        (x - half, r.y),
                    ]
                self.items.append(dot.wire(f"{name}@{t}", f"{r.name}@{t}", points))
                continue
            for source in self._pooled(r):
                points = [
                    (self.x[source], top),
                    (self.x[source], top + 16),
                    (self.x[t], top + 16),
                    (self.x[t], bottom),
                ]
                self.items.append(dot.wire(f"{name}@{source}", f"{r.name}@{t}", points))

    def _pooled(self, r):
        """Shown steps that a row without steps of its own looks at."""
        valid = [t for t in self.shown if t not in self.blanks]
        if r.kind != "Last":
            return valid
        return (
            sorted({valid[0], valid[-1]} if self.model[r.layer].bidirectional else {valid[-1]})
            if valid
            else []
        )

    def _valued(self, r, t, label, fill, look, tip):
        """States of a recording: in the tooltip, and in the cell where it is one number."""
        if self.recording is None:
            return label, fill, look, tip
        states = self.recording.layers[r.layer].states
        for s in r.states:
            a, name = np.asarray(states[s])[t], r.plain(s)
            size = float(np.sqrt(np.mean(np.square(a, dtype=np.float64)))) if a.size else 0.0
            tip += (
                f", {name} = {notation.exact(a.reshape(-1)[0])}"
                if a.size == 1
                else f", rms of {name} = {size:.3g}"
            )
        h = np.asarray(states[r.states[0]])
        if h.shape[-1] == 1 and h[t].size:
            v, limit = float(h[t].reshape(-1)[0]), palette.nice(np.nanmax(np.abs(h)))
            label = f"{label}\n{notation.sub('h', t)} = {notation.signed(v)}"
            fill, look = (
                palette.signed(v, limit),
                {**look, "fontsize": 9, "fontcolor": palette.on(v, limit)},
            )
        return label, fill, look, tip

    def _bar(self, r, t, x):
        if r.name in self.gradients:
            v = self.gradients[r.name][t]
            colour = palette.magnitude(v, *self._scale())
            tip = f"|dL/dh| at t = {t}: {notation.exact(v)}"
            at, name = (x, r.y - CELL[1] / 2 + 6), f"gradient:{r.name}@{t}"
            self.items.append(
                dot.node(name, at, (54, 5), fill=colour, color=colour, penwidth=0.5, tip=tip)
            )

    def _heights(self, r):
        """Each state's wire has its own height, h lowest."""
        count = len(r.states)
        return [
            (s, palette.state(r.plain(s), k), r.y + 8 * (2 * k - count + 1) + 2 * (count > 1))
            for k, s in enumerate(r.states)
        ]

    def _between(self, before, t):
        left, right = self.x[before] + CELL[0] / 2, self.x[t] - CELL[0] / 2
        gap, cut = t > before + 1, self._cut(before, t)
        middle = (left + right) / 2
        for r in self.rows:
            if gap and r.steps:
                self.items.append(dot.text((middle, r.y), "…", 14))
            for s, colour, y in self._heights(r):
                name, ahead = r.plain(s), r.direction > 0
                pieces = (
                    [((left, y), (middle - 12, y)), ((middle + 12, y), (right, y))]
                    if gap
                    else [((left, y), (right, y))]
                )
                ends = [(before, before + 1), (t - 1, t)] if gap else [(before, t)]
                style = "dashed" if cut and not gap else "solid"
                for points, (a, b) in zip(pieces, ends, strict=True):
                    tail, head = (f"{r.name}@{before}", f"{r.name}@{t}")[:: r.direction]
                    start, end = (a, b)[:: r.direction]
                    look = {} if gap else {"style": style}
                    look |= {
                        "color": colour,
                        "penwidth": 1.5,
                        "tip": f"{name} of t = {start} to t = {end}",
                    }
                    self.items.append(
                        dot.wire(tail, head, points if ahead else points[::-1], **look)
                    )
            if cut and not gap and r.states:
                at = (middle, r.y)
                tip = f"no gradient flows back from t = {t} to t = {before}"
                self.items.append(
                    dot.node(
                        f"cut:{r.name}@{t}",
                        at,
                        (5, 40),
                        fill=palette.CUT,
                        color=palette.CUT,
                        tip=tip,
                    )
                )
        if cut and not gap:
            first = next((r for r in self.rows if r.states), None)
            if first is not None:
                self.items.append(
                    dot.text((middle, first.y + 36), "state carried,\ngradient cut", 8, palette.CUT)
                )

    def _ends(self):
        first, last = self.shown[0], self.shown[-1]
        for r in self.rows:
            for s, colour, y in self._heights(r):
                name = r.plain(s)
                look = {
                    "style": "rounded,filled",
                    "fontsize": 8.5,
                    "color": colour,
                    "fontcolor": colour,
                    "fill": "#FFFFFF",
                }
                sides = (first, -1), (last, 1)
                (begin, left), (end, right) = sides if r.direction > 0 else sides[::-1]
                at = (self.x[begin] + left * (CELL[0] / 2 + 62), y)
                first_of_all = begin == (0 if r.direction > 0 else self._run() - 1)
                start = (
                    beginning(name, r.begins)
                    if first_of_all
                    else notation.sub(name, begin - r.direction)
                )
                node = f"initial:{r.name}:{name}"
                self.items.append(
                    dot.node(
                        node,
                        at,
                        (34, 14),
                        start,
                        tip=f"initial {name}; {_BEGINS[r.begins]}",
                        **look,
                    )
                )
                points = [(at[0] - left * 17, y), (self.x[begin] + left * CELL[0] / 2, y)]
                self.items.append(
                    dot.wire(node, f"{r.name}@{begin}", points, color=colour, penwidth=1.5)
                )
                at = (self.x[end] + right * (CELL[0] / 2 + 62), y)
                node = f"final:{r.name}:{name}"
                valid = [t for t in range(first, last + 1) if t not in self.blanks][:: -r.direction]
                stop = notation.sub(name, valid[0]) if valid else start
                self.items.append(
                    dot.node(node, at, (34, 14), stop, tip=f"final {name}, returned", **look)
                )
                points = [(self.x[end] + right * CELL[0] / 2, y), (at[0] - right * 17, y)]
                self.items.append(
                    dot.wire(f"{r.name}@{end}", node, points, color=colour, penwidth=1.5)
                )

    def _run(self):
        """Steps of the whole run."""
        return self.T if self.recording is None else len(self.recording.x)

    def _windows(self):
        if self.window is None:
            return
        top, bottom = self.rows[-1].y + 48, -40
        for w in sorted({t // self.window for t in self.shown}):
            mine = [self.x[t] for t in self.shown if t // self.window == w]
            start, stop = w * self.window, min((w + 1) * self.window, self.T) - 1
            fill, border = palette.WINDOWS[w % 2]
            steps = f"steps {start} to {stop}" if stop > start else f"step {start}"
            label = f"window {w} · {steps}" if len(mine) > 1 else f"window {w}\n{steps}"
            box = (min(mine) - 46, bottom, max(mine) + 46, top + 14 * (len(mine) == 1))
            self.behind.append(
                dot.cluster(
                    f"window{w}",
                    box,
                    label,
                    10,
                    fill=fill,
                    color=border,
                    style="rounded,filled,dashed",
                )
            )

    def _labels(self):
        x = (
            self.x[self.shown[0]]
            - CELL[0] / 2
            - (62 + 17 + 14 if any(r.states for r in self.rows) else 40)
        )
        for r in self.rows:
            line = {"input": "input x", "output": "output y"}.get(
                r.kind, f"layer {r.layer}: {r.label}"
            )
            self.items.append(
                dot.text((x, r.y), f"{line}\n{notation.shape(r.shape)}", 9, anchor="end")
            )

    def _legend(self):
        x, y = self.x[self.shown[0]] - CELL[0] / 2, -74
        seen = list(dict.fromkeys(r.plain(s) for r in self.rows for s in r.states))
        for k, s in enumerate(seen):
            colour = palette.state(s, k)
            a, b = f"key:{s}0", f"key:{s}1"
            for name, at in ((a, x), (b, x + 30)):
                self.items.append(dot.anchor(name, (at, y)))
            self.items.append(dot.wire(a, b, [(x, y), (x + 30, y)], color=colour, penwidth=1.5))
            x = self._note(x + 36, y, f"{s}, to t + 1" + (" (→) or t − 1 (←)" if self.both else ""))
        if self.blanks:
            style = dict(style="filled,dashed", fill="#FFFFFF", color=palette.REST[1], penwidth=0.8)
            self.items.append(dot.node("key:blank", (x + 10, y), (20, 10), "", **style))
            x = self._note(x + 26, y, "blank: the state passes by")
        if self.gradients:
            low, high = self._scale()
            x = self._note(x, y, f"|∂L/∂h|  {notation.power(low)}", 6, "key:gradient:low")
            for k in range(24):
                colour = palette.ramp(palette.CIVIDIS, k / 23)
                self.items.append(
                    dot.node(
                        f"key:g{k}",
                        (x + 3 + 6 * k, y),
                        (6, 9),
                        fill=colour,
                        color=colour,
                        penwidth=0,
                    )
                )
            x = self._note(x + 150, y, notation.power(high), name="key:gradient:high")
            if self.window is not None and self.window < self.T:
                self._note(
                    self.x[self.shown[0]] - CELL[0] / 2,
                    y - 18,
                    "bars: gradient of the whole recording, before any cut",
                )
        weights = "same weights at every step"
        x = self._note(x, y, weights) if any(r.states for r in self.rows) else x
        if len(self.shown) < self.T:
            self._note(
                x, y, f"{self.T - len(self.shown)} of {self.T} steps left out", name="left-out"
            )

    def _note(self, x, y, label, space=24, name=""):
        item = dot.text((x, y), label, 9, anchor="start", name=name)
        self.items.append(item)
        return item.box[2] + space
