"""Where the gradient vanishes: |dL/dh| and |dL/dc| of every layer and step of a recorded backward pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..draw import dot, legend, notation, palette
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing

NUMBERS, MOST = (
    14,
    60,
)  # up to NUMBERS steps each tile bears its number; beyond MOST a tile is several steps
WIDTH, TILE, ROW_GAP = 900, 30, 46
NAMES, VERDICT = 86, 178  # room left of the tiles and right of them
FADES, GROWS = (
    1e-3,
    1e3,
)  # from the last step to the first, what people call vanishing and exploding


def gradients(model: Any, recording: Any) -> Drawing:
    """Norms of dL/dh and dL/dc over batch and units, a tile for each recurrent layer, state and step, on a log scale.

    The gradient flows from right to left: a row that turns dark towards the left is one that vanishes. `recording` is one
    made with targets and a loss. More than 60 steps share tiles, each the greatest norm of its steps. Of a model of an encoder
    and a decoder both are drawn, side by side as they follow each other in time, on one scale.

    Raises ValueError for a recording of another model or without gradients, TypeError for what is no model.
    """
    if not hasattr(model, "layers"):
        raise TypeError(f"gradients draws a model of layers, got {type(model).__name__}")
    if len(recording.layers) != len(model.layers):
        raise ValueError(
            f"the recording has {len(recording.layers)} layers, the model {len(model.layers)}"
        )
    found = [
        (k, s, norms(a))
        for k, layer in enumerate(recording.layers)
        for s, a in layer.dstates.items()
    ]
    if not found:
        raise ValueError(
            "no gradients in the recording: record(x, targets, loss) of a model with a recurrent layer has them"
        )
    first = len(model.encoder.layers) if hasattr(model, "encoder") else None
    if first is None:
        return _Picture(model, [("", found)]).drawing()
    parts = (
        ("encoder", [f for f in found if f[0] < first]),
        ("decoder", [f for f in found if f[0] >= first]),
    )
    return _Picture(model, [(name, rows) for name, rows in parts if rows]).drawing()


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


class _Part:
    """One stack over its steps: rows of tiles that begin at `left`."""

    def __init__(self, name, found):
        self.name, self.found, self.left, self.pitch = name, found, 0.0, 0.0
        self.T = len(found[0][2])
        self.per = math.ceil(self.T / MOST)
        self.tiles = [(a, min(a + self.per, self.T)) for a in range(0, self.T, self.per)]

    def x(self, i):
        return self.left + i * self.pitch

    @property
    def right(self):
        return self.x(len(self.tiles))


class _Picture:
    def __init__(self, model, parts):
        self.model, self.parts = model, [_Part(*p) for p in parts]
        pitch, left = min(62.0, WIDTH / sum(len(p.tiles) for p in self.parts)), 0.0
        for p in self.parts:
            p.left, p.pitch = left, pitch
            left = p.right + VERDICT + NAMES + 30
        self.low, self.high = palette.decades(
            np.concatenate([v for p in self.parts for *_, v in p.found])
        )
        self.canvas = Canvas()

    def drawing(self):
        for part in self.parts:
            self._part(part)
        legend.magnitude(
            self.canvas,
            "g",
            (0, -86),
            "norm of the gradient over batch and units (log scale)",
            self.low,
            self.high,
        )
        notes = []
        for p in self.parts:
            if p.per > 1:
                notes.append(
                    f"{f'{p.name}: ' * bool(p.name)}{p.T} steps; each tile is the greatest of {p.per} steps"
                )
        if any(
            float(v[v > 0].min(initial=math.inf)) < self.low
            for p in self.parts
            for *_, v in p.found
        ):
            notes.append(f"below {notation.power(self.low)} all tiles are alike")
        for i, note in enumerate(notes):
            self.canvas.add(dot.text((240, -86 - 15 * i), note, 9, anchor="start"))
        said = "; ".join(
            f"layer {k}, |dL/d{s}|: {verdict(v)}" for p in self.parts for k, s, v in p.found
        )
        steps = " and ".join(
            notation.count(p.T, "step") + f" of the {p.name}" * bool(p.name) for p in self.parts
        )
        return Drawing.from_items(f"Gradient through {steps}", f"{said}.", self.canvas.items)

    def _part(self, part):
        y, rows = 0.0, []
        for (k, s, v), above in zip(part.found, [None, *part.found[:-1]], strict=True):
            if above is not None:
                y += TILE + 6 if above[0] == k else TILE + ROW_GAP
            rows.append((y, k, s, v))
        for row in rows:
            self._row(part, *row)
        self._clusters(part, rows)
        right, top = part.right, rows[-1][0] + TILE / 2 + 30
        back = "back-propagation: from the last step to the first"
        back = f"{part.name}: from its last step to its first" if part.name else back
        self.canvas.add(dot.text((right, top + 8), back, 9, anchor="end"))
        self._anchored(
            f"back{part.name}",
            [(right, top - 4), (part.left, top - 4)],
            color=palette.CUT,
            penwidth=1.6,
        )
        self._steps(part)

    def _row(self, part, y, k, s, v):
        state = f"∂L/∂{s}"
        self.canvas.add(
            dot.text(
                (part.left - 14, y), f"|{state}|", 10, palette.state(s, int(s != "h")), anchor="end"
            )
        )
        for i, (a, b) in enumerate(part.tiles):
            values = v[a:b]
            size = float(values.max()) if np.isfinite(values).all() else math.inf
            colour = palette.magnitude(size, self.low, self.high)
            label = short(size) if len(part.tiles) <= NUMBERS and part.pitch >= 30 else ""
            when = f"t = {a}" if b == a + 1 else f"t = {a} to {b - 1}"
            dark = size > 0 and math.log(size / self.low) > 0.6 * math.log(self.high / self.low)
            look = {"fill": colour, "color": "#FFFFFF", "penwidth": 0.6, "fontsize": 9}
            look |= {
                "fontcolor": palette.ON_DATA[dark],
                "tip": f"|dL/d{s}| of layer {k} at {when}: {notation.exact(size)}",
            }
            self.canvas.node(
                f"{s}:layer{k}@{a}", (part.x(i + 0.5), y), (part.pitch, TILE), label, **look
            )
        text = verdict(v)
        bad = palette.CUT if text.endswith("es") else palette.MUTED
        self.canvas.add(dot.text((part.right + 12, y), text, 9, bad, anchor="start"))

    def _clusters(self, part, rows):
        fill, border = palette.LAYERS["recurrent"]
        for k in dict.fromkeys(row[1] for row in rows):
            ys = [row[0] for row in rows if row[1] == k]
            box = (
                part.left - NAMES,
                min(ys) - TILE / 2 - 6,
                part.right + VERDICT,
                max(ys) + TILE / 2 + 22,
            )
            self.canvas.group(
                f"layer{k}", box, f"layer {k}: {self.model.layers[k]!r}", 10, (fill, border)
            )

    def _steps(self, part):
        every = max(1, round(40 / part.pitch))
        for i, (a, _) in enumerate(part.tiles):
            if i % every == 0 or i == len(part.tiles) - 1:
                if i == len(part.tiles) - 1 and 0 < i % every < every * 0.7:
                    continue
                self.canvas.add(dot.text((part.x(i + 0.5), -TILE / 2 - 18), f"t = {a}", 9))
        middle = (part.left + part.right) / 2
        self.canvas.add(dot.text((middle, -TILE / 2 - 36), "the same weights at every step", 9))

    def _anchored(self, name, points, **look):
        for k, p in enumerate((points[0], points[-1])):
            self.canvas.add(dot.anchor(f"{name}{k}", p))
        self.canvas.add(dot.wire(f"{name}0", f"{name}1", points, **look))


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
