"""Vanishing gradients: |dL/dh| and |dL/dc| of every layer and time step."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Unpack

import numpy as np

from recurrent.engine.bidirectional import REVERSE

from ..draw import adapt, legend, notation, palette
from ..draw.adapt import Look, adaptable
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing
from ..reading import describe
from ..reading.gradient_norms import norms, verdict
from ..reading.models import check_steps, checked, parts_of

NUMBERS = 14  # up to this number of steps each tile shows its value
MOST = 60  # of more steps, several share a tile
WIDTH, TILE, ROW_GAP = 900, 30, 46
NAMES, VERDICT = 86, 190  # room left of the tiles and right of them


@adaptable
def gradients(model: Any, recording: Any, **options: Unpack[Look]) -> Drawing:
    """Draw the norms of dL/dh and dL/dc over time on a log scale, a row for each layer and state.

    The gradient flows from right to left, so a row that turns dark towards the left vanishes; in
    the units that read in reverse it flows from left to right, and their rows say so. The encoder
    and the decoder of a Seq2Seq are drawn side by side on one scale.

    Parameters
    ----------
    model : recurrent.Sequential or recurrent.Seq2Seq
        The model that was recorded.
    recording : recurrent.Recording
        A run with targets and a loss. More than 60 steps share tiles that show the greatest norm.
    **options
        `title`, `labels`, `width`, `palette` and `dark`, which `viz.Look` explains.

    Returns
    -------
    Drawing

    Raises
    ------
    TypeError
        If `model` is not a model.
    ValueError
        If the recording is of another model or has no gradients.
    """
    checked(model, recording, "gradients")
    check_steps(model, "gradients")
    parts = []
    for part in parts_of(model):
        layers = recording.layers[part.first : part.first + len(part.model.layers)]
        rows = [
            _Row(k, s, norms(a), s.endswith(REVERSE) or getattr(model[k], "reverse", False))
            for k, layer in enumerate(layers, part.first)
            for s, a in layer.dstates.items()
        ]
        if rows:
            parts.append(_Part(part.name, rows))
    if not parts:
        raise ValueError(
            "the recording has no gradients of states: "
            "record(x, targets, loss) of a model with a recurrent layer has them"
        )
    return _Picture(model, parts).drawing()


class _Row(NamedTuple):
    """The norms of one state's gradients, of units that read forward or in reverse."""

    layer: int
    state: str
    norms: np.ndarray
    reverse: bool

    @property
    def verdict(self) -> str:
        """Say whether the gradient vanishes on its way from the step read last to the first."""
        if self.reverse:
            return verdict(self.norms[::-1], "read first / read last")
        return verdict(self.norms)

    @property
    def label(self) -> str:
        """The state, with an arrow if its units read in reverse."""
        return f"|∂L/∂{self.state.removesuffix(REVERSE)}|" + " ←" * self.reverse


class _Part:
    """A stack of layers over time: rows of tiles that begin at `left`."""

    def __init__(self, name, rows):
        self.name, self.rows, self.left, self.pitch = name, rows, 0.0, 0.0
        self.T = len(rows[0].norms)
        self.per = math.ceil(self.T / MOST)  # steps of a tile
        self.tiles = [(a, min(a + self.per, self.T)) for a in range(0, self.T, self.per)]

    def x(self, i):
        return self.left + i * self.pitch

    @property
    def right(self):
        return self.x(len(self.tiles))


class _Picture:
    def __init__(self, model, parts):
        self.model, self.parts, self.canvas = model, parts, Canvas()
        pitch, left = min(62.0, WIDTH / sum(len(p.tiles) for p in parts)), 0.0
        for p in parts:
            p.left, p.pitch = left, pitch
            left = p.right + VERDICT + NAMES + 30
        self.low, self.high = adapt.decades("g", np.concatenate([r.norms for r in self._rows()]))

    def _rows(self):
        return [row for part in self.parts for row in part.rows]

    def drawing(self):
        for part in self.parts:
            self._part(part)
        label = "norm of the gradient over batch and units (log scale)"
        legend.magnitude(self.canvas, "g", (0, -86), label, self.low, self.high)
        for i, note in enumerate(self._notes()):
            self.canvas.text((240, -86 - 15 * i), note, 9, anchor="start")
        if not all(np.isfinite(r.norms).all() for r in self._rows()):
            legend.not_finite(self.canvas, (240, -112))
        text = "; ".join(f"layer {r.layer}, |dL/d{r.state}|: {r.verdict}" for r in self._rows())
        steps = " and ".join(
            notation.count(p.T, "step") + f" of the {p.name}" * bool(p.name) for p in self.parts
        )
        return Drawing.from_items(f"Gradient through {steps}", f"{text}.", self.canvas.items)

    def _notes(self):
        for p in self.parts:
            if p.per > 1:
                name = f"{p.name}: " if p.name else ""
                yield f"{name}{p.T} steps; each tile shows the largest of {p.per} steps"
        smallest = min(float(r.norms[r.norms > 0].min(initial=math.inf)) for r in self._rows())
        if smallest < self.low:
            yield f"below {notation.power(self.low)} all tiles have the same colour"

    def _part(self, part):
        y, heights = 0.0, []
        for row, above in zip(part.rows, [None, *part.rows[:-1]], strict=True):
            if above is not None:
                y += TILE + 6 if above.layer == row.layer else TILE + ROW_GAP
            heights.append(y)
        for y, row in zip(heights, part.rows, strict=True):
            self._row(part, y, row)
        self._clusters(part, heights)
        top = heights[-1] + TILE / 2 + 30
        ways = sorted({row.reverse for row in part.rows}, reverse=True)
        for reverse in ways:
            self._way(part, top, reverse, len(ways) > 1)
            top += 26
        self._steps(part)

    def _way(self, part, y, reverse, named):
        """Draw an arrow along the gradient's way through the steps, and say which way it is."""
        name = part.name or "back-propagation"
        name += (", reverse units" if reverse else ", forward units") * named
        back = "from the first step to the last" if reverse else "from the last step to the first"
        points = [(part.right, y - 4), (part.left, y - 4)][:: -1 if reverse else 1]
        self.canvas.text((part.right, y + 8), f"{name}: {back}", 9, anchor="end")
        ends = self.canvas.anchors(f"back{part.name}{'reverse' * reverse}", points)
        self.canvas.wire(*ends, points, color=palette.CUT, penwidth=1.6)

    def _row(self, part, y, row):
        k, s, v = row.layer, row.state, row.norms
        colour = palette.state(s.removesuffix(REVERSE), int(s != "h"))
        self.canvas.text((part.left - 14, y), row.label, 10, colour, anchor="end")
        numbered = len(part.tiles) <= NUMBERS and part.pitch >= 30
        for i, (a, b) in enumerate(part.tiles):
            size = float(v[a:b].max())  # NaN if one of them is
            label = _short(size) if numbered else ""
            when = f"t = {a}" if b == a + 1 else f"t = {a} to {b - 1}"
            fill = palette.magnitude(size, self.low, self.high)
            look = dict(fill=fill, color="#FFFFFF", penwidth=0.6, fontsize=9)
            look |= dict(fontcolor=palette.on(fill))
            tip = f"|dL/d{s}| of layer {k} at {when}: {notation.exact(size)}"
            at, name = (part.x(i + 0.5), y), f"{s}:layer{k}@{a}"
            self.canvas.node(name, at, (part.pitch, TILE), label, tip=tip, **look)
        text = row.verdict
        colour = palette.CUT if text.endswith("es") else palette.MUTED
        self.canvas.text((part.right + 12, y), text, 9, colour, anchor="start")

    def _clusters(self, part, heights):
        for k in dict.fromkeys(row.layer for row in part.rows):
            ys = [y for y, row in zip(heights, part.rows, strict=True) if row.layer == k]
            bottom, top = min(ys) - TILE / 2 - 6, max(ys) + TILE / 2 + 22
            box = (part.left - NAMES, bottom, part.right + VERDICT, top)
            layer = self.model.layers[k]
            label = f"layer {k}{describe.named(layer, ', ')}: {layer!r}"
            self.canvas.group(f"layer{k}", box, label, 10, palette.LAYERS["recurrent"])

    def _steps(self, part):
        every, last = max(1, round(40 / part.pitch)), len(part.tiles) - 1
        for i, (a, _) in enumerate(part.tiles):
            crowded = i == last and 0 < i % every < every * 0.7
            if (i % every == 0 or i == last) and not crowded:
                label = adapt.label("steps", a, part.T, f"t = {a}")
                label = notation.fit(label, 9, every * part.pitch)
                self.canvas.text((part.x(i + 0.5), -TILE / 2 - 18), label, 9)
        at = ((part.left + part.right) / 2, -TILE / 2 - 36)
        self.canvas.text(at, "the same weights at every step", 9)


def _short(v: float) -> str:
    """Return a magnitude in two digits or less.

    >>> _short(0.0), _short(0.034), _short(3.4e-7), _short(math.nan)
    ('0', '0.034', '3e−7', 'NaN')
    """
    if v == 0 or 0.01 <= v < 1000:
        return f"{v:.2g}"
    if not math.isfinite(v):
        return "NaN" if math.isnan(v) else "∞"
    mantissa, exponent = f"{v:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}".replace("-", "−")
