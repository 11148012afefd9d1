"""Training curves: the loss of every update, validations, and the best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..draw import dot, notation, palette
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing

WIDTH, HEIGHT, POINTS = 620, 300, 300
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#7A5195", "#8C6D00", "#B03A6F")


def curve(history: Any) -> Drawing:
    """Loss (nats) against updates: thin the loss of each update, thick its running mean, dots the validations.

    `history`: a `recurrent.training.history.History`, its `to_dict()`, or a dict of up to six of them by name, to compare.

    Raises TypeError for anything else, ValueError for a history without a finite loss.
    """
    runs = (
        {str(name): _plain(h) for name, h in history.items()}
        if _several(history)
        else {"": _plain(history)}
    )
    if not 1 <= len(runs) <= len(COLOURS):
        raise ValueError(f"curve draws 1 to {len(COLOURS)} histories, got {len(runs)}")
    for name, run in runs.items():
        if not np.isfinite(run["losses"]).any():
            raise ValueError(f"history{f' {name!r}' * bool(name)}: no finite loss to draw")
    return _Chart(runs).drawing()


def _several(history):
    return isinstance(history, Mapping) and "losses" not in history


def _plain(history):
    values = history.to_dict() if hasattr(history, "to_dict") else history
    if not isinstance(values, Mapping) or "losses" not in values:
        raise TypeError(f"curve draws a History or its to_dict(), got {type(history).__name__}")
    losses = np.asarray(values["losses"], np.float64)
    held = np.asarray(values.get("validation") or np.empty((0, 2)), np.float64).reshape(-1, 2)
    return {
        "losses": losses,
        "start": int(values.get("start") or 0),
        "held": held,
        "best": values.get("best"),
    }


def running_mean(losses: np.ndarray) -> np.ndarray:
    """Exponential mean over a fiftieth of the curve, unbiased at its beginning; what is not finite counts nothing."""
    keep = 1 - 1 / max(1.0, len(losses) / 50)
    total = weight = 0.0
    out = np.empty(len(losses))
    for k, v in enumerate(losses):
        if math.isfinite(v):
            total, weight = keep * total + v, keep * weight + 1
        out[k] = total / weight if weight else math.nan
    return out


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from low to high.

    >>> ticks(0, 1000), ticks(1.2, 4.4)
    ([0.0, 200.0, 400.0, 600.0, 800.0, 1000.0], [2.0, 3.0, 4.0])
    """
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step *= next(m for m in (1, 2, 5, 10, 20) if (high - low) / (m * step) <= most)
    first = math.ceil(low / step - 1e-9)
    return [float(f"{k * step:.10g}") for k in range(first, math.floor(high / step + 1e-9) + 1)]


class _Chart:
    def __init__(self, runs):
        self.runs, self.canvas = runs, Canvas()
        self.last = max(max(r["start"] + len(r["losses"]) for r in runs.values()), 1)
        self.first = min(r["start"] for r in runs.values())
        values = np.concatenate([np.r_[r["losses"], r["held"][:, 1]] for r in runs.values()])
        values = values[np.isfinite(values)]
        low, high = float(values.min()), float(values.max())
        margin = 0.06 * (high - low) or 0.5
        self.low, self.high = max(0.0, low - margin) if low >= 0 else low - margin, high + margin

    def at(self, update, loss):
        x = (update - self.first) / max(self.last - self.first, 1) * WIDTH
        return x, (min(max(loss, self.low), self.high) - self.low) / (self.high - self.low) * HEIGHT

    def drawing(self):
        self._axes()
        said, entry = [], 0
        for colour, (name, run) in zip(COLOURS, self.runs.items(), strict=False):
            said.append(self._run(name, run, colour))
            entry = self._legend(name, run, colour, entry)
        what = notation.count(self.last, "update")
        return Drawing.from_items(
            f"Training curve of {what}", "; ".join(said) + ".", self.canvas.items
        )

    def _line(self, name, points, **look):
        for k, p in enumerate((points[0], points[-1])):
            self.canvas.add(dot.anchor(f"{name}:{k}", p))
        self.canvas.add(dot.polyline(f"{name}:0", f"{name}:1", points, **look))

    def _axes(self):
        for v in ticks(self.low, self.high):
            y = self.at(self.first, v)[1]
            self._line(f"y:{v:g}", [(0, y), (WIDTH, y)], color="#E5E7EB", penwidth=0.7)
            self.canvas.add(dot.text((-8, y), f"{v:g}", 9, anchor="end"))
        for v in ticks(self.first, max(self.last, self.first + 1)):
            if v == int(v):
                x = self.at(v, self.low)[0]
                self._line(f"x:{v:g}", [(x, 0), (x, -4)], color=palette.LINE, penwidth=0.8)
                self.canvas.add(dot.text((x, -14), f"{int(v):,}", 9))
        self._line("axis", [(0, 0), (WIDTH, 0)], color=palette.LINE, penwidth=1)
        self.canvas.add(dot.text((WIDTH / 2, -32), "updates", 10))
        self.canvas.add(dot.text((-8, HEIGHT + 16), "loss, nats", 10))

    def _run(self, name, run, colour):
        losses, start = run["losses"], run["start"]
        updates = start + 1 + np.arange(len(losses))
        finite = np.isfinite(losses)
        raw = [self.at(u, v) for u, v in thinned(updates[finite], losses[finite])]
        mean = running_mean(losses)
        chosen = np.unique(np.linspace(0, len(losses) - 1, min(len(losses), POINTS)).astype(int))
        smooth = [self.at(updates[k], mean[k]) for k in chosen if math.isfinite(mean[k])]
        if len(raw) > 1:
            tint = palette.ramp((colour, "#FFFFFF"), 0.62)
            self._line(
                f"raw:{name}",
                raw,
                color=tint,
                penwidth=0.6,
                tip=f"{name} loss of each update".strip(),
            )
        if len(smooth) > 1:
            self._line(
                f"mean:{name}",
                smooth,
                color=colour,
                penwidth=2,
                tip=f"{name} running mean of the loss".strip(),
            )
        for u, v in run["held"]:
            if math.isfinite(v):
                self._dot(
                    f"held:{name}@{u:g}",
                    self.at(u, v),
                    colour,
                    f"{name} validation after update {u:g}: {notation.exact(v)}",
                )
        text = f"{name}: " if name else ""
        text += f"loss {losses[finite][0]:.4g} at first, {mean[-1]:.4g} at last"
        if run["best"]:
            u, v = run["best"]
            text += f", best validation {v:.4g} after update {u:,}"
        return text

    def _dot(self, id, at, colour, tip):
        self.canvas.node(
            id,
            at,
            (7, 7),
            shape="circle",
            fill=colour,
            color="#FFFFFF",
            penwidth=1,
            tip=tip.strip(),
        )

    def _legend(self, name, run, colour, row):
        x, y = WIDTH + 24, HEIGHT - 10 - 16 * row
        if name:
            self.canvas.add(dot.text((x, y), name, 10, colour, anchor="start"))
            row += 1
        kinds = [
            ("running mean of the loss", 2.0, colour),
            ("each update", 0.6, palette.ramp((colour, "#FFFFFF"), 0.62)),
        ]
        for label, width, tone in kinds:
            y = HEIGHT - 10 - 16 * row
            self._line(f"key:{name}:{label}", [(x, y), (x + 22, y)], color=tone, penwidth=width)
            self.canvas.add(dot.text((x + 28, y), label, 9, anchor="start"))
            row += 1
        if len(run["held"]):
            y = HEIGHT - 10 - 16 * row
            self._dot(f"key:{name}:held", (x + 11, y), colour, "validation")
            best = run["best"]
            label = f"validation; best {best[1]:.4g} after {best[0]:,}" if best else "validation"
            self.canvas.add(dot.text((x + 28, y), label, 9, anchor="start"))
            row += 1
        return row + 0.5


def thinned(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
    """At most 2 POINTS points that keep every peak: the least and the greatest of each part of a long curve."""
    if len(x) <= 2 * POINTS:
        return list(zip(x.tolist(), y.tolist(), strict=True))
    chosen = []
    for part in np.array_split(np.arange(len(x)), POINTS):
        chosen += sorted({part[y[part].argmin()], part[y[part].argmax()]})
    return [(float(x[k]), float(y[k])) for k in chosen]
