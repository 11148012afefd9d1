"""The network unrolled: a grid of time (left to right) and depth (bottom to top), the same weights in every column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dot, palette, words
from ..drawing import Drawing

ALL, FIRST, LAST = 8, 3, 2  # up to ALL steps each has a column; beyond that the first, the last, and those asked for
STEP, GAP, CUT = 100, 62, 50
CELL, BOX, DOT = (68, 42), (68, 26), (38, 26)


def unrolled(model: Any, steps: int | Sequence[int] = 4, window: int | None = None, recording: Any = None) -> Drawing:
    """The model over `steps` time steps: a count, or a list of the steps to show.

    More than 8 steps are elided with "…". `window`: steps of a window of truncated back-propagation; state crosses its
    border, gradient does not. A `recording` with a loss puts |dL/dh| of every step below its cell; one of a single unit
    its values into the cells.

    Raises TypeError or ValueError for steps, windows and recordings that do not fit.
    """
    if not hasattr(model, "layers") or not hasattr(model, "graph"):
        raise TypeError(f"unrolled draws a model of layers, got {type(model).__name__}")
    T, shown = _steps(steps, window)
    if recording is not None:
        if len(recording.layers) != len(model.layers):
            raise ValueError(f"the recording has {len(recording.layers)} layers, the model {len(model.layers)}")
        if len(recording.y) < T:
            raise ValueError(f"steps must be within the {len(recording.y)} steps of the recording, got {T}")
    return _Grid(model, T, shown, window, recording).drawing()


def _steps(steps, window):
    """The number of steps and which of them to show."""
    if window is not None and (isinstance(window, bool) or not isinstance(window, (int, np.integer)) or window < 1):
        raise ValueError(f"window must be an int of at least 1, got {window!r}")
    if isinstance(steps, (int, np.integer)) and not isinstance(steps, bool):
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        return int(steps), visible(int(steps), window)
    asked = list(steps) if isinstance(steps, (Sequence, range, np.ndarray)) and not isinstance(steps, str) else None
    if not asked or any(isinstance(t, bool) or not isinstance(t, (int, np.integer)) or t < 0 for t in asked):
        raise ValueError(f"steps must be a count or a list of steps from 0, got {steps!r}")
    return int(max(asked)) + 1, sorted({int(t) for t in asked})


def visible(T: int, window: int | None) -> list[int]:
    """Steps to show of T: all of a few, else the ends, and both sides of the cuts that are shown.

    >>> visible(5, None), visible(100, None), visible(40, 20)
    ([0, 1, 2, 3, 4], [0, 1, 2, 98, 99], [0, 1, 2, 19, 20, 21, 38, 39])
    >>> visible(1000, 50)
    [0, 1, 2, 49, 50, 51, 99, 998, 999]
    """
    if T <= ALL:
        return list(range(T))
    wanted = {*range(FIRST), *range(T - LAST, T)}
    if window is not None and window < T:
        wanted |= {t for t in (window - 1, window, window + 1, 2 * window - 1) if t < T}
    return sorted(wanted)


class _Grid:
    def __init__(self, model, T, shown, window, recording):
        self.model, self.T, self.shown, self.window, self.recording = model, T, shown, window, recording
        self.graph = model.graph()
        self.rows = self.graph.nodes
        self.loops = {n.id: [e.label for e in self.graph.edges if e.delay and e.source == n.id] for n in self.rows}
        self.items, self.behind = [], []
        self.x, self.y = {}, {}
        at = 0.0
        for below, n in zip([None, *self.rows[:-1]], self.rows, strict=True):
            if below is not None:
                at += self._size(below)[1] / 2 + 32 + self._size(n)[1] / 2
            self.y[n.id] = at
        at = 0.0
        for before, t in zip([None, *shown[:-1]], shown, strict=True):
            if before is not None:
                at += STEP + (GAP if t > before + 1 else 0) + (CUT if self._cut(before, t) else 0)
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
        what = words.count(len(self.model.layers), "layer") if len(self.model.layers) > 1 else self.rows[1].kind
        title = f"{what} unrolled over {words.count(self.T, 'step')}"
        hidden = self.T - len(self.shown)
        said = "Time from left to right, depth from bottom to top, the same weights at every step"
        said += f"; {hidden} of {self.T} steps left out" if hidden else ""
        said += f"; back-propagation in windows of {self.window} steps" if self.window else ""
        return Drawing.of(title, said + ".", [*self.behind, *self.items])

    def _size(self, n):
        return DOT if n.kind in ("input", "output") else CELL if self.loops[n.id] else BOX

    def _cut(self, before, t):
        return self.window is not None and before // self.window != t // self.window

    def _layer(self, n):
        return int(n.id.removeprefix("layer"))

    def _gradients(self):
        """|dL/dh| of every shown step for each recurrent layer, norm over batch and units."""
        out = {}
        for n in self.rows:
            if self.recording is not None and self.loops[n.id]:
                totals = self.recording.layers[self._layer(n)].dstates
                if totals:
                    first = np.asarray(totals[self.loops[n.id][0]], np.float64)
                    out[n.id] = {t: float(np.linalg.norm(first[t])) for t in self.shown}
        return out

    def _scale(self):
        return palette.decades(v for per in self.gradients.values() for v in per.values())

    def _column(self, t):
        x = self.x[t]
        for below, n in zip([None, *self.rows[:-1]], self.rows, strict=True):
            y, size = self.y[n.id], self._size(n)
            fill, border = palette.layer(n.kind, bool(self.loops[n.id]))
            if n.kind in ("input", "output"):
                look = {"shape": "ellipse"}
                label = words.sub(n.label, t)
                tip = f"{n.kind} at t = {t}, {words.shape(n.shape[1:])}"
            elif self.loops[n.id]:
                look = {"style": "rounded,filled", "penwidth": 1.2}
                label, tip = n.kind, f"layer {self._layer(n)}, {n.label}, t = {t}"
                label, fill, look, tip = self._valued(n, t, label, fill, look, tip)
            else:
                look = {"style": "filled", "fontsize": 10}
                label, tip = n.kind, f"layer {self._layer(n)}, {n.label}, t = {t}: {words.shape(n.shape[1:])}"
            self.items.append(dot.node(f"{n.id}@{t}", (x, y), size, label, fill=fill, color=border, tip=tip, **look))
            self._bar(n, t, x, y)
            if below is not None:
                start, end = self.y[below.id] + self._size(below)[1] / 2, y - size[1] / 2
                self.items.append(dot.wire(f"{below.id}@{t}", f"{n.id}@{t}", [(x, start), (x, end)]))
        self.items.append(dot.text((x, -24), f"t = {t}", 9, name=f"step:{t}"))

    def _valued(self, n, t, label, fill, look, tip):
        """States of a recording: in the tooltip, and in the cell where it is one number."""
        if self.recording is None:
            return label, fill, look, tip
        states = self.recording.layers[self._layer(n)].states
        for s in self.loops[n.id]:
            a = np.asarray(states[s])[t]
            size = float(np.sqrt(np.mean(np.square(a, dtype=np.float64)))) if a.size else 0.0
            tip += f", {s} = {words.exact(a.reshape(-1)[0])}" if a.size == 1 else f", rms of {s} = {size:.3g}"
        h = np.asarray(states[self.loops[n.id][0]])
        if h.shape[-1] == 1 and h[t].size:
            v, limit = float(h[t].reshape(-1)[0]), palette.nice(np.nanmax(np.abs(h)))
            label = f"{label}\n{words.sub('h', t)} = {words.signed(v)}"
            fill, look = palette.signed(v, limit), {**look, "fontsize": 9, "fontcolor": palette.on(v, limit)}
        return label, fill, look, tip

    def _bar(self, n, t, x, y):
        if n.id in self.gradients:
            v = self.gradients[n.id][t]
            colour = palette.magnitude(v, *self._scale())
            tip = f"|dL/dh| at t = {t}: {words.exact(v)}"
            at = (x, y - CELL[1] / 2 + 6)
            self.items.append(dot.node(f"gradient:{n.id}@{t}", at, (54, 5), fill=colour, color=colour, penwidth=0.5, tip=tip))

    def _heights(self, n):
        """Each state's wire has its own height, h lowest."""
        names = self.loops[n.id]
        return [
            (s, palette.state(s, k), self.y[n.id] + 8 * (2 * k - len(names) + 1) + 2 * (len(names) > 1))
            for k, s in enumerate(names)
        ]

    def _between(self, before, t):
        left, right = self.x[before] + CELL[0] / 2, self.x[t] - CELL[0] / 2
        gap, cut = t > before + 1, self._cut(before, t)
        middle = (left + right) / 2
        for n in self.rows:
            if gap:
                self.items.append(dot.text((middle, self.y[n.id]), "…", 14))
            for s, colour, y in self._heights(n):
                look = {"color": colour, "penwidth": 1.5, "tip": f"{s} of t = {before} to t = {before + 1}"}
                a, b = f"{n.id}@{before}", f"{n.id}@{t}"
                if gap:
                    self.items.append(dot.wire(a, b, [(left, y), (middle - 12, y)], **look))
                    look["tip"] = f"{s} of t = {t - 1} to t = {t}"
                    self.items.append(dot.wire(a, b, [(middle + 12, y), (right, y)], **look))
                else:
                    style = "dashed" if cut else "solid"
                    self.items.append(dot.wire(a, b, [(left, y), (right, y)], style=style, **look))
            if cut and not gap and self.loops[n.id]:
                at = (middle, self.y[n.id])
                tip = f"no gradient flows back from t = {t} to t = {before}"
                self.items.append(dot.node(f"cut:{n.id}@{t}", at, (5, 40), fill=palette.CUT, color=palette.CUT, tip=tip))
        if cut and not gap:
            first = next((n for n in self.rows if self.loops[n.id]), None)
            if first is not None:
                at = (middle, self.y[first.id] + 36)
                self.items.append(dot.text(at, "state carried,\ngradient cut", 8, palette.CUT))

    def _ends(self):
        first, last = self.shown[0], self.shown[-1]
        for n in self.rows:
            for s, colour, y in self._heights(n):
                at = (self.x[first] - CELL[0] / 2 - 62, y)
                start = f"{s} = 0" if first == 0 else f"{words.sub(s, first - 1)}"
                look = {"style": "rounded,filled", "fontsize": 8.5, "color": colour, "fontcolor": colour, "fill": "#FFFFFF"}
                name = f"initial:{n.id}:{s}"
                self.items.append(dot.node(name, at, (34, 14), start, tip=f"initial {s}; zero unless given", **look))
                points = [(at[0] + 17, y), (self.x[first] - CELL[0] / 2, y)]
                self.items.append(dot.wire(name, f"{n.id}@{first}", points, color=colour, penwidth=1.5))
                at = (self.x[last] + CELL[0] / 2 + 62, y)
                name = f"final:{n.id}:{s}"
                self.items.append(dot.node(name, at, (34, 14), words.sub(s, last), tip=f"final {s}, returned", **look))
                points = [(self.x[last] + CELL[0] / 2, y), (at[0] - 17, y)]
                self.items.append(dot.wire(f"{n.id}@{last}", name, points, color=colour, penwidth=1.5))

    def _windows(self):
        if self.window is None:
            return
        top, bottom = self.y[self.rows[-1].id] + 48, -40
        for w in sorted({t // self.window for t in self.shown}):
            mine = [self.x[t] for t in self.shown if t // self.window == w]
            start, stop = w * self.window, min((w + 1) * self.window, self.T) - 1
            fill, border = palette.WINDOWS[w % 2]
            steps = f"steps {start} to {stop}" if stop > start else f"step {start}"
            label = f"window {w} · {steps}" if len(mine) > 1 else f"window {w}\n{steps}"
            box = (min(mine) - 46, bottom, max(mine) + 46, top + 14 * (len(mine) == 1))
            self.behind.append(
                dot.cluster(f"window{w}", box, label, 10, fill=fill, color=border, style="rounded,filled,dashed")
            )

    def _labels(self):
        x = self.x[self.shown[0]] - CELL[0] / 2 - (62 + 17 + 14 if any(self.loops.values()) else 40)
        for n in self.rows:
            lines = {"input": "input x", "output": "output y"}.get(n.kind, f"layer {n.id.removeprefix('layer')}: {n.kind}")
            self.items.append(dot.text((x, self.y[n.id]), f"{lines}\n{words.shape(n.shape[1:])}", 9, anchor="end"))

    def _legend(self):
        x, y = self.x[self.shown[0]] - CELL[0] / 2, -74
        seen = list(dict.fromkeys(s for names in self.loops.values() for s in names))
        for k, s in enumerate(seen):
            colour = palette.state(s, k)
            a, b = f"key:{s}0", f"key:{s}1"
            for name, at in ((a, x), (b, x + 30)):
                self.items.append(dot.node(name, (at, y), (0.1, 0.1), shape="point", style="invis"))
            self.items.append(dot.wire(a, b, [(x, y), (x + 30, y)], color=colour, penwidth=1.5))
            x = self._note(x + 36, y, f"{s}, to t + 1")
        if self.gradients:
            low, high = self._scale()
            x = self._note(x, y, f"|∂L/∂h|  {words.power(low)}", 6, "key:gradient:low")
            for k in range(24):
                colour = palette.ramp(palette.CIVIDIS, k / 23)
                self.items.append(dot.node(f"key:g{k}", (x + 3 + 6 * k, y), (6, 9), fill=colour, color=colour, penwidth=0))
            x = self._note(x + 150, y, words.power(high), name="key:gradient:high")
            if self.window is not None and self.window < self.T:
                self._note(self.x[self.shown[0]] - CELL[0] / 2, y - 18, "bars: gradient of the whole recording, before any cut")
        weights = "same weights at every step"
        x = self._note(x, y, weights) if any(self.loops.values()) else x
        if len(self.shown) < self.T:
            self._note(x, y, f"{self.T - len(self.shown)} of {self.T} steps left out", name="left-out")

    def _note(self, x, y, label, space=24, name=""):
        item = dot.text((x, y), label, 9, anchor="start", name=name)
        self.items.append(item)
        return item.box[2] + space
