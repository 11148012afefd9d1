"""Training curves: losses, validations and metrics; and tests of the learning rate."""

from __future__ import annotations

import math
from typing import Any, Unpack

import numpy as np

from recurrent.training.range_test import RangeTest

from ..draw import adapt, dot, notation, palette
from ..draw.adapt import Look, adaptable
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing
from ..reading.training_curve import POINTS, running_mean, runs_of, thinned

WIDTH, HEIGHT = 620, 300
PANEL, GAP = 90, 34  # height of the panel of a metric, and the space above it
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#7A5195", "#8C6D00", "#B03A6F")


@adaptable
def curve(history: Any, **options: Unpack[Look]) -> Drawing:
    """Draw the loss against the number of updates.

    Thin lines show the loss of each update, thick ones its running mean, dots validation losses.
    Each metric has a panel of its own below. A learning-rate range test is drawn as the loss
    against the rate.

    Parameters
    ----------
    history : recurrent.training.history.History, RangeTest or dict
        A history, its `to_dict()`, or a dict of up to six of them by name, to compare; or the
        result of `recurrent.training.range_test.lr_range_test`.
    **options
        `title`, `labels`, `width`, `palette` and `dark`, which `viz.Look` explains.

    Returns
    -------
    Drawing

    Raises
    ------
    TypeError
        If `history` is anything else.
    ValueError
        If there are no histories or more than six, or one has no finite loss.
    """
    if isinstance(history, RangeTest):
        if not np.isfinite(history.losses).any():
            raise ValueError("history: the range test has no finite loss to draw")
        return _RangeChart(history).drawing()
    runs = runs_of(history)
    if not 1 <= len(runs) <= len(COLOURS):
        raise ValueError(f"curve draws 1 to {len(COLOURS)} histories, got {len(runs)}")
    for name, run in runs.items():
        if not np.isfinite(run.losses).any():
            raise ValueError(f"history{f' {name!r}' * bool(name)}: no finite loss to draw")
    return _Chart(runs).drawing()


class _Chart:
    def __init__(self, runs):
        self.runs, self.canvas = runs, Canvas()
        self.last = max(max(r.start + len(r.losses) for r in runs.values()), 1)
        self.first = min(r.start for r in runs.values())
        values = np.concatenate([np.r_[r.losses, r.validation[:, 1]] for r in runs.values()])
        values = values[np.isfinite(values)]
        low, high = float(values.min()), float(values.max())
        margin = 0.06 * (high - low) or 0.5
        self.low = max(0.0, low - margin) if low >= 0 else low - margin
        self.high = high + margin

    def at(self, update, loss):
        x = (update - self.first) / max(self.last - self.first, 1) * WIDTH
        return x, (min(max(loss, self.low), self.high) - self.low) / (self.high - self.low) * HEIGHT

    def drawing(self):
        self._axes()
        self._metrics()
        text, row = [], 0
        for colour, (name, run) in zip(COLOURS, self.runs.items(), strict=False):
            self._curves(name, run, colour)
            text.append(_sentence(name, run))
            row = self._legend(name, run, colour, row)
        title = f"Training curve of {notation.count(self.last, 'update')}"
        return Drawing.from_items(title, f"{'; '.join(text)}.", self.canvas.items)

    def _line(self, name, points, **look):
        ends = self.canvas.anchors(f"{name}:", points)
        self.canvas.add(dot.polyline(*ends, points, **look))

    def _axes(self):
        for v in _ticks(self.low, self.high):
            y = self.at(self.first, v)[1]
            self._line(f"y:{v:g}", [(0, y), (WIDTH, y)], color="#E5E7EB", penwidth=0.7)
            self.canvas.text((-8, y), f"{v:g}", 9, anchor="end")
        for v in _ticks(self.first, max(self.last, self.first + 1)):
            if v == int(v):
                x = self.at(v, self.low)[0]
                self._line(f"x:{v:g}", [(x, 0), (x, -4)], color=palette.LINE, penwidth=0.8)
                self.canvas.text((x, -14), f"{int(v):,}", 9)
        self._line("axis", [(0, 0), (WIDTH, 0)], color=palette.LINE, penwidth=1)
        self.canvas.text((WIDTH / 2, -32), "updates", 10)
        self.canvas.text((-8, HEIGHT + 16), "loss", 10)

    def _curves(self, name, run, colour):
        losses, count = run.losses, len(run.losses)
        updates = run.start + 1 + np.arange(count)
        finite = np.isfinite(losses)
        raw = [self.at(u, v) for u, v in thinned(updates[finite], losses[finite])]
        mean = running_mean(losses)
        chosen = np.unique(np.linspace(0, count - 1, min(count, POINTS)).astype(int))
        smooth = [self.at(updates[k], mean[k]) for k in chosen if math.isfinite(mean[k])]
        if len(raw) > 1:
            tip = f"{name} loss of each update".strip()
            self._line(f"raw:{name}", raw, color=_pale(colour), penwidth=0.6, tip=tip)
        if len(smooth) > 1:
            tip = f"{name} running mean of the loss".strip()
            line = dict(color=colour, penwidth=2, tip=tip) | _dash(colour)
            self._line(f"mean:{name}", smooth, **line)
        for u, v in run.validation:
            if math.isfinite(v):
                tip = f"{name} validation after update {u:g}: {notation.exact(v)}"
                self._dot(f"held:{name}@{u:g}", self.at(u, v), colour, tip)

    def _metrics(self):
        """Draw each metric in a panel of its own, from top to bottom."""
        names = list(dict.fromkeys(name for run in self.runs.values() for name in run.metrics))
        for k, metric in enumerate(names):
            bottom = -50 - (k + 1) * (PANEL + GAP) + GAP / 2
            values = np.concatenate(
                [r.metrics[metric][:, 1] for r in self.runs.values() if metric in r.metrics]
            )
            values = values[np.isfinite(values)]
            if not values.size:
                continue
            low, high = float(values.min()), float(values.max())
            margin = 0.06 * (high - low) or 0.1 * abs(high) or 0.5
            low, high = low - margin, high + margin

            def at(update, value, bottom=bottom, low=low, high=high):
                return self.at(update, self.low)[0], bottom + (value - low) / (high - low) * PANEL

            for v in _ticks(low, high, 3):
                ends = [at(self.first, v), at(self.last, v)]
                self._line(f"y:{metric}:{v:g}", ends, color="#E5E7EB", penwidth=0.7)
                self.canvas.text((-8, ends[0][1]), f"{v:g}", 9, anchor="end")
            ends = [(0, bottom), (WIDTH, bottom)]
            self._line(f"axis:{metric}", ends, color=palette.LINE, penwidth=1)
            words = metric.replace("_", " ")
            self.canvas.text((0, bottom + PANEL + 8), words, 10, anchor="start")
            for colour, (name, run) in zip(COLOURS, self.runs.items(), strict=False):
                pairs = run.metrics.get(metric, np.empty((0, 2)))
                pairs = pairs[np.isfinite(pairs[:, 1])]
                points = [at(u, v) for u, v in pairs]
                if len(points) > 1:
                    line = dict(color=colour, penwidth=1.4, tip=f"{name} {words}".strip())
                    line |= _dash(colour)
                    self._line(f"{metric}:{name}", points, **line)
                for (u, v), point in zip(pairs, points, strict=True):
                    tip = f"{name} {words} after update {u:g}: {notation.exact(v)}"
                    self._dot(f"{metric}:{name}@{u:g}", point, colour, tip)

    def _dot(self, id, at, colour, tip):
        look: dict[str, Any] = dict(
            shape="circle", fill=colour, color="#FFFFFF", penwidth=1, tip=tip.strip()
        )
        self.canvas.node(id, at, (7, 7), **look)

    def _legend(self, name, run, colour, row):
        """Draw the key of a run from a row on; return the row after it."""
        x = WIDTH + 24

        def height():
            return HEIGHT - 10 - 16 * row

        if name:
            self.canvas.text((x, height()), name, 10, colour, anchor="start")
            row += 1
        for label, look in (
            ("running mean of the loss", dict(penwidth=2.0, color=colour) | _dash(colour)),
            ("each update", dict(penwidth=0.6, color=_pale(colour))),
        ):
            y = height()
            self._line(f"key:{name}:{label}", [(x, y), (x + 22, y)], **look)
            self.canvas.text((x + 28, y), label, 9, anchor="start")
            row += 1
        if len(run.validation):
            y, label = height(), "validation"
            self._dot(f"key:{name}:held", (x + 11, y), colour, label)
            if run.best:
                label += f"; best {_of(run)}{run.best[1]:.4g} after {run.best[0]:,}"
            self.canvas.text((x + 28, y), label, 9, anchor="start")
            row += 1
        return row + 0.5


def _sentence(name, run):
    """Return the first and last loss and the best validation in words."""
    first, last = run.losses[np.isfinite(run.losses)][0], running_mean(run.losses)[-1]
    text = f"{name}: " if name else ""
    text += f"loss {first:.4g} at first, {last:.4g} at last"
    if run.best:
        update, loss = run.best
        text += f", best validation {_of(run)}{loss:.4g} after update {update:,}"
    return text


def _of(run):
    """Return the name of the metric that the best validation is the best of, with a space."""
    return "" if run.monitor == "loss" else f"{run.monitor.replace('_', ' ')} "


class _RangeChart(_Chart):
    """The losses of a learning-rate range test against the rates, on a logarithmic axis."""

    def __init__(self, test):
        self.test, self.canvas = test, Canvas()
        losses = np.array(test.losses)
        finite = losses[np.isfinite(losses)]
        low, high = float(finite.min()), float(min(finite.max(), 1.5 * abs(finite[0]) + 1e-12))
        high = max(high, low)
        margin = 0.06 * (high - low) or 0.5
        self.low, self.high = low - margin, high + margin
        self.first, self.last = (math.log10(test.rates[k]) for k in (0, -1))

    def at(self, update, loss):
        x = (update - self.first) / ((self.last - self.first) or 1.0) * WIDTH
        return x, (min(max(loss, self.low), self.high) - self.low) / (self.high - self.low) * HEIGHT

    def drawing(self):
        test, colour = self.test, COLOURS[0]
        self._axes()
        for label, values, tone, width in (
            ("each update", test.losses, _pale(colour), 0.6),
            ("smoothed loss", test.smoothed, colour, 2.0),
        ):
            pairs = [(math.log10(r), v) for r, v in zip(test.rates, values, strict=True)]
            points = [self.at(*pair) for pair in pairs if math.isfinite(pair[1])]
            if len(points) > 1:
                self._line(label, points, color=tone, penwidth=width, tip=label)
        best = test.suggestion
        if math.isfinite(best):
            x = self.at(math.log10(best), self.low)[0]
            self._line("steepest", [(x, 0), (x, HEIGHT)], color=COLOURS[1], penwidth=1)
            words = f"steepest fall at {best:.2g}"
            self.canvas.text((x + 5, HEIGHT - 8), words, 9, COLOURS[1], anchor="start")
        return Drawing.from_items("Learning-rate range test", f"{test}.", self.canvas.items)

    def _axes(self):
        for v in _ticks(self.low, self.high):
            y = self.at(self.first, v)[1]
            self._line(f"y:{v:g}", [(0, y), (WIDTH, y)], color="#E5E7EB", penwidth=0.7)
            self.canvas.text((-8, y), f"{v:g}", 9, anchor="end")
        for k in range(math.ceil(self.first - 1e-9), math.floor(self.last + 1e-9) + 1):
            x = self.at(k, self.low)[0]
            self._line(f"x:{k}", [(x, 0), (x, -4)], color=palette.LINE, penwidth=0.8)
            self.canvas.text((x, -14), f"1e{k}", 9)
        self._line("axis", [(0, 0), (WIDTH, 0)], color=palette.LINE, penwidth=1)
        self.canvas.text((WIDTH / 2, -32), "learning rate", 10)
        self.canvas.text((-8, HEIGHT + 16), "loss", 10)


def _dash(colour):
    """Return the dashes and the width that tell the lines of runs apart in print."""
    if not adapt.marks_sign():
        return {}
    bold, k = divmod(COLOURS.index(colour), 3)
    return dict(style=("solid", "dashed", "dotted")[k], penwidth=3.4 if bold else 1.6)


def _pale(colour):
    return palette.ramp((adapt.colour(colour, fill=False), "#FFFFFF"), 0.62)


def _ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers from low to high.

    >>> _ticks(0, 1000), _ticks(1.2, 4.4)
    ([0.0, 200.0, 400.0, 600.0, 800.0, 1000.0], [2.0, 3.0, 4.0])
    """
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step *= next(m for m in (1, 2, 5, 10, 20) if (high - low) / (m * step) <= most)
    first = math.ceil(low / step - 1e-9)
    return [float(f"{k * step:.10g}") for k in range(first, math.floor(high / step + 1e-9) + 1)]
