"""Where the gradient vanishes: |dL/dh| and |dL/dc| of every layer and step of a recorded backward pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dot, keys, palette, words
from ..drawing import Drawing
from ..sheet import Sheet

NUMBERS, MOST = 14, 60  # up to NUMBERS steps each tile bears its number; beyond MOST a tile is several steps
WIDTH, TILE, ROW_GAP = 900, 30, 46
FADES, GROWS = 1e-3, 1e3  # from the last step to the first, what people call vanishing and exploding


def gradients(model: Any, recording: Any) -> Drawing:
    """Norms of dL/dh and dL/dc over batch and units, a tile for each recurrent layer, state and step, on a log scale.

    The gradient flows from right to left: a row that turns dark towards the left is one that vanishes. `recording` is one
    made with targets and a loss. More than 60 steps share tiles, each the greatest norm of its steps.

    Raises ValueError for a recording of another model or without gradients, TypeError for what is no model.
    """
    if not hasattr(model, "layers"):
        raise TypeError(f"gradients draws a model of layers, got {type(model).__name__}")
    if len(recording.layers) != len(model.layers):
        raise ValueError(f"the recording has {len(recording.layers)} layers, the model {len(model.layers)}")
    if hasattr(model, "encoder"):
        other = "give model.encoder or model.decoder, recorded by itself"
        raise TypeError(f"gradients draws one stack of layers, got {type(model).__name__}: {other}")
    found = [(k, s, norms(a)) for k, layer in enumerate(recording.layers) for s, a in layer.dstates.items()]
    if not found:
        raise ValueError("no gradients in the recording: record(x, targets, loss) of a model with a recurrent layer has them")
    return _Picture(model, found).drawing()


def norms(gradient: np.ndarray) -> np.ndarray:
    """Of each step of (T, N, H) or (T, H), in float64: (T,)."""
    a = np.asarray(gradient, np.float64)
    return np.sqrt(np.square(a).reshape(len(a), -1).sum(axis=1))


def verdict(sizes: np.ndarray) -> str:
    """What becomes of a gradient on its way from the last step to the first.

    >>> verdict(np.array([1e-6, 1e-3, 1.0])), verdict(np.array([2.0, 1.0]))
    ('first / last = 1e-06: vanishes', 'first / last = 2')
    """
    first, last = float(sizes[0]), float(sizes[-1])
    if not np.isfinite(sizes).all():
        return "not finite: explodes"
    if last == 0:
        return "last step: 0"
    ratio = first / last
    fate = ": vanishes" if ratio < FADES else ": explodes" if ratio > GROWS else ""
    return f"first / last = {ratio:.3g}{fate}"


class _Picture:
    def __init__(self, model, found):
        self.model, self.found = model, found
        self.T = len(found[0][2])
        self.per = math.ceil(self.T / MOST)
        self.tiles = [(a, min(a + self.per, self.T)) for a in range(0, self.T, self.per)]
        self.pitch = min(62.0, WIDTH / len(self.tiles))
        self.low, self.high = palette.decades(np.concatenate([v for *_, v in found]))
        self.sheet = Sheet()

    def drawing(self):
        y, rows = 0.0, []
        for (k, s, v), above in zip(self.found, [None, *self.found[:-1]], strict=True):
            if above is not None:
                y += TILE + 6 if above[0] == k else TILE + ROW_GAP
            rows.append((y, k, s, v))
        for row in rows:
            self._row(*row)
        self._clusters(rows)
        right = self.pitch * len(self.tiles)
        top = rows[-1][0] + TILE / 2 + 30
        self.sheet.add(dot.text((right, top + 8), "back-propagation: from the last step to the first", 9, anchor="end"))
        self._anchored("back", [(right, top - 4), (0, top - 4)], color=palette.CUT, penwidth=1.6)
        self._steps()
        keys.magnitude(self.sheet, "g", (0, -86), "norm of the gradient over batch and units (log scale)", self.low, self.high)
        notes = []
        if self.per > 1:
            notes.append(f"{self.T} steps; each tile is the greatest of {self.per} steps")
        if any(float(v[v > 0].min(initial=math.inf)) < self.low for *_, v in self.found):
            notes.append(f"below {words.power(self.low)} all tiles are alike")
        for i, note in enumerate(notes):
            self.sheet.add(dot.text((240, -86 - 15 * i), note, 9, anchor="start"))
        said = "; ".join(f"layer {k}, |dL/d{s}|: {verdict(v)}" for k, s, v in self.found)
        return Drawing.of(f"Gradient through {words.count(self.T, 'step')}", f"{said}.", self.sheet.items)

    def _row(self, y, k, s, v):
        state = f"∂L/∂{s}"
        self.sheet.add(dot.text((-14, y), f"|{state}|", 10, palette.state(s, int(s != "h")), anchor="end"))
        for i, (a, b) in enumerate(self.tiles):
            part = v[a:b]
            size = float(part.max()) if np.isfinite(part).all() else math.inf
            colour = palette.magnitude(size, self.low, self.high)
            label = short(size) if len(self.tiles) <= NUMBERS else ""
            when = f"t = {a}" if b == a + 1 else f"t = {a} to {b - 1}"
            dark = size > 0 and math.log(size / self.low) > 0.6 * math.log(self.high / self.low)
            look = {"fill": colour, "color": "#FFFFFF", "penwidth": 0.6, "fontsize": 9}
            look |= {"fontcolor": palette.ON_DATA[dark], "tip": f"|dL/d{s}| of layer {k} at {when}: {words.exact(size)}"}
            self.sheet.node(f"{s}:layer{k}@{a}", ((i + 0.5) * self.pitch, y), (self.pitch, TILE), label, **look)
        text = verdict(v)
        right = self.pitch * len(self.tiles) + 12
        bad = palette.CUT if text.endswith("es") else palette.MUTED
        self.sheet.add(dot.text((right, y), text, 9, bad, anchor="start"))

    def _clusters(self, rows):
        fill, border = palette.LAYERS["recurrent"]
        right = self.pitch * len(self.tiles)
        for k in dict.fromkeys(row[1] for row in rows):
            ys = [row[0] for row in rows if row[1] == k]
            box = (-86, min(ys) - TILE / 2 - 6, right + 178, max(ys) + TILE / 2 + 22)
            self.sheet.group(f"layer{k}", box, f"layer {k}: {self.model.layers[k]!r}", 10, (fill, border))

    def _steps(self):
        every = max(1, round(40 / self.pitch))
        for i, (a, _) in enumerate(self.tiles):
            if i % every == 0 or i == len(self.tiles) - 1:
                if i == len(self.tiles) - 1 and 0 < i % every < every * 0.7:
                    continue
                self.sheet.add(dot.text(((i + 0.5) * self.pitch, -TILE / 2 - 18), f"t = {a}", 9))
        self.sheet.add(dot.text((self.pitch * len(self.tiles) / 2, -TILE / 2 - 36), "the same weights at every step", 9))

    def _anchored(self, name, points, **look):
        for k, p in enumerate((points[0], points[-1])):
            self.sheet.add(dot.anchor(f"{name}{k}", p))
        self.sheet.add(dot.wire(f"{name}0", f"{name}1", points, **look))


def short(v: float) -> str:
    """
    >>> short(0.0), short(0.034), short(3.4e-7)
    ('0', '0.034', '3e−7')
    """
    if v == 0 or 0.01 <= v < 1000:
        return f"{v:.2g}"
    if not math.isfinite(v):
        return "∞"
    mantissa, exponent = f"{v:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}".replace("-", "−")
