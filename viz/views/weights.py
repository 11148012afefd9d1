"""The matrices of a layer by gate, as heat maps; how far each recurrent block stretches, how often each gate is saturated."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from recurrent.engine.bidirectional import REVERSE

from ..draw import dot, legend, notation, palette
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing
from ..reading import describe, unit_values
from ..reading.direction import direction_of
from .parts.steps import blanks

TILES = 1200  # of all matrices together; larger ones are drawn as means of blocks
DOUBLED, LEAST, SETTLED = (
    40,
    16,
    1e-8,
)  # squarings at most and at least, and the change of log |λ| that ends them
BLOCK, BAR, GAP = 168, (150, 10), 40
CLOSED, OPEN, FLAT = (
    0.1,
    0.9,
    0.9,
)  # a sigmoid below or above these, a tanh beyond ± FLAT, hardly moves any more


class Share(NamedTuple):
    """A share of a gate's recorded values: 0 to 1, with what it is a share of."""

    name: str
    share: float


def weights(layer: Any, recording: Any = None, direction: str = "forward") -> Drawing:
    """W_ih, W_hh, biases and own parameters of a layer as heat maps, a column for each gate, all on one scale.

    More than 1,200 weights are drawn as means of blocks. Below each recurrent block its spectral radius, the largest |λ|;
    with a `recording` of the layer's model the share of values, over all steps, sequences and units, at which the gate is
    saturated: below 0.1 and above 0.9 of a sigmoid, beyond ±0.9 of a tanh, at 0 of a relu. `direction`: "forward" or
    "reverse" of a bidirectional layer.

    Raises TypeError for a layer without a cell, ValueError for a direction that is not there or a recording of another
    model.
    """
    way = direction_of(layer, direction, "weights")
    shares = None
    if recording is not None:
        unit_values.read_unit(recording, way, 0, None, 0)  # says what does not fit
        shares = saturation(way, recording)
    return _Picture(way, shares).drawing()


def radius(block: np.ndarray) -> float:
    """Spectral radius of a square matrix, in float64; NaN where it is not finite.

    The limit of |A^m|^(1/m), m doubled by squaring until it moves by less than 1e-8 (Gelfand): of 512 units a
    quarter of the time that all eigenvalues take.

    >>> round(radius(np.array([[2.0, 1.0], [0.0, -3.0]])), 7), radius(np.zeros((2, 2))), radius(np.array([[0.0, 1], [0, 0]]))
    (3.0, 0.0, 0.0)
    """
    power, log = np.asarray(block, np.float64), 0.0  # A^m = power exp(m log)
    if not np.isfinite(power).all():
        return math.nan
    for k in range(DOUBLED):
        norm = float(np.linalg.norm(power))
        if (
            norm == 0
        ):  # nilpotent, or so far from normal that its eigenvalues were lost among what is larger
            return float(np.abs(np.linalg.eigvals(np.asarray(block, np.float64))).max())
        moved = math.log(norm) / 2**k
        log, power = log + moved, power / norm
        if k > LEAST and abs(moved) < SETTLED:
            break
        power = power @ power
    return math.exp(log)


def saturation(way: Any, recording: Any) -> dict[str, list[Share]]:
    """Of each gate that is a sigmoid, tanh or relu: the shares of its recorded values, blanks left out, that are saturated."""
    graph, mine = way.cell.graph(), recording.layers[unit_values.index_in(recording, way.layer)]
    out = {}
    for g in way.cell.gates:
        if g + way.end not in mine.gates:
            continue
        a = np.asarray(mine.gates[g + way.end])
        a = a if a.ndim == 3 else a[:, None]
        valid = np.ones(a.shape[:2], bool)
        for n in range(a.shape[1] if recording.lengths is not None else 0):
            valid[sorted(blanks(recording.lengths, n, len(a))), n] = False
        v = a[valid].astype(np.float64)
        kind = graph.node(graph.values[g]).kind
        found = {
            "sigmoid": [(f"< {CLOSED}", v < CLOSED), (f"> {OPEN}", v > OPEN)],
            "tanh": [(f"< −{FLAT}", v < -FLAT), (f"> {FLAT}", v > FLAT)],
            "relu": [("= 0", v == 0)],
        }
        if kind in found and v.size:
            out[g] = [Share(name, float(hit.mean())) for name, hit in found[kind]]
    return out


def means(a: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A matrix of at most `most` rows and columns, each entry the mean of a block; and where blocks begin, ends included.

    >>> means(np.arange(8.0).reshape(2, 4), 2)
    (array([[0.5, 2.5],
           [4.5, 6.5]]), array([0, 1, 2]), array([0, 2, 4]))
    """
    if not a.size:
        return a, np.zeros(1, int), np.zeros(1, int)
    cuts = [np.linspace(0, n, min(n, most) + 1).round().astype(int) for n in a.shape]
    sums = np.add.reduceat(np.add.reduceat(a.astype(np.float64), cuts[0][:-1], 0), cuts[1][:-1], 1)
    return sums / np.outer(np.diff(cuts[0]), np.diff(cuts[1])), *cuts


class _Picture:
    """Columns are gates; rows are W_ih with b_ih, W_hh with b_hh, and what is measured of them."""

    def __init__(self, way, shares):
        self.way, self.shares, self.cell = way, shares, way.cell
        self.D, self.H, self.P, self.canvas = (
            way.input_size,
            way.hidden_size,
            way.output_size,
            Canvas(),
        )
        p = way.params
        sides = (("ih", self.cell.x_gates, "x"), ("hh", self.cell.h_gates, "h"))
        self.blocks = {}  # (side, gate) -> weights (H, D or H) and biases (H, 1)
        for side, gates, _ in sides:
            bias = getattr(p, f"b_{side}", np.empty((len(gates) * self.H, 0)))
            for k, g in enumerate(gates):
                rows = slice(k * self.H, (k + 1) * self.H)
                self.blocks[side, g] = getattr(p, f"W_{side}")[rows], bias[rows, None]
        self.own = {q: getattr(p, q)[:, None] for q in self.cell.parameters}
        learned = getattr(way.layer, "initial", {})
        self.own |= {
            n: way.layer.parameters[n][:, None]
            for n, s in learned.items()
            if s.endswith(REVERSE) == bool(way.end)
        }
        count = sum(min(a.size, TILES) for a, _ in self.blocks.values())
        self.most = (
            max(self.D, self.H) if count <= TILES else max(4, math.isqrt(TILES // len(self.blocks)))
        )
        self.tiles = {
            k: (means(a, self.most), means(b, self.most)) for k, (a, b) in self.blocks.items()
        }
        self.own_tiles = {q: means(a, self.most) for q, a in self.own.items()}
        self.projection = (
            [means(p.W_hr.T, self.most)] if self.cell.has_projection else []
        )  # a row for each unit, too
        every = [m for pair in self.tiles.values() for m, *_ in pair] + [
            m for m, *_ in [*self.own_tiles.values(), *self.projection]
        ]
        self.limit = palette.nice(
            max(float(np.abs(m[np.isfinite(m)]).max(initial=0)) for m in every)
        )
        self.side = max(
            4,
            min(16, BLOCK // max(m.shape[1] for pair in self.tiles.values() for m, *_ in pair[:1])),
        )
        self.beyond = False  # whether any radius is greater than 1
        self.elided = any(a.size != self.tiles[k][0][0].size for k, (a, _) in self.blocks.items())

    def drawing(self):
        rows = min(self.H, self.most)
        columns = {
            s: max((self.tiles[k][0][0].shape[1] for k in self.tiles if k[0] == s), default=0)
            for s in ("ih", "hh")
        }
        pitch = max(max(columns.values()) * self.side + self.side + 6, BAR[0]) + GAP
        tall, y = rows * self.side, {}
        y["ih"], y["hh"] = 0.0, -(tall + 52)
        at = {g: k * pitch for k, g in enumerate(self.cell.gates)}
        for g, x in at.items():
            title, colour = palette.gate(g, self.cell.gates)
            label = g if title == g else f"{title} ({g})"
            look = {
                "style": "rounded,filled",
                "fill": colour,
                "color": palette.INK,
                "penwidth": 0.8,
                "fontsize": 10,
            }
            self.canvas.node(f"gate:{g}", (x + BAR[0] / 2, 44), (BAR[0], 20), label, **look)
        heading = f"{describe.short(self.way.layer)}: weights by gate{self.way.suffix}"
        self.canvas.add(dot.text((0, 72), heading, 12, palette.INK, anchor="start"))
        names = {
            "ih": ("W_ih", "x", "b_ih"),
            "hh": ("W_hh", notation.sub(self.cell.states[0], self.way.before), "b_hh"),
        }
        for (s, g), (matrix, bias) in self.tiles.items():
            name, inputs, b = names[s]
            x = at[g]
            self._matrix(f"{name}:{g}", (x, y[s]), matrix, f"{name} of gate {g}", inputs)
            if bias[0].size:
                self._matrix(
                    f"{b}:{g}",
                    (x + matrix[0].shape[1] * self.side + 6, y[s]),
                    bias,
                    f"{b} of gate {g}",
                    "",
                )
        for s, (name, inputs, b) in names.items():
            if columns[s]:
                size = self.D if s == "ih" else self.P
                which = f"{name}, {b}\nfrom {inputs if s == 'hh' else notation.sub('x', 't')}\n{self.H:,} × {size:,} a gate"
                self.canvas.add(
                    dot.text((-14, y[s] - tall / 2), which, 9, palette.INK, anchor="end")
                )
                self.canvas.add(
                    dot.text(
                        (at[next(g for t, g in self.tiles if t == s)], y[s] + 9),
                        "columns: inputs, bias; rows: units",
                        8,
                        anchor="start",
                    )
                )
        right = len(at) * pitch
        for tiles in self.projection:
            self._matrix("own:W_hr", (right, y["ih"]), tiles, "W_hr", "h")
            note = f"W_hr: to {self.P:,} numbers of h\ncolumns: h; rows: units"
            self.canvas.add(dot.text((right, y["ih"] + 15), note, 8, anchor="start"))
        for k, (q, tiles) in enumerate(self.own_tiles.items()):
            x = right + k * (self.side + 26)
            self._matrix(f"own:{q}", (x, y["hh"]), tiles, f"own parameter {q}", "")
            self.canvas.add(dot.text((x + self.side / 2, y["hh"] + 9), q, 8))
        low = y["hh"] - tall - 30
        said = self._radii(at, low)
        said += self._shares(at, low - 56)
        self._ends(-14, min(i.box[1] for i in self.canvas.items) - 26)
        kind = describe.kind(self.way.layer)
        title = f"Weights of {kind}{self.way.suffix}"
        said.insert(0, describe.layer_summary(self.way.layer))
        return Drawing.from_items(
            f"{title}: {self.way.layer!r}", f"{'; '.join(said)}.", self.canvas.items
        )

    def _matrix(self, id, corner, tiles, what, inputs):
        """Tiles from the upper left corner; a tooltip says which weights a tile is."""
        (x0, y0), (m, rows, columns) = corner, tiles
        for r, k in np.ndindex(m.shape):
            v = float(m[r, k])
            units = _range("unit", rows[r], rows[r + 1])
            where = f"{what}, {units}" + (
                f", {_range('input', columns[k], columns[k + 1])}" if inputs else ""
            )
            single = rows[r + 1] - rows[r] == columns[k + 1] - columns[k] == 1
            tip = (
                f"{where} = {notation.exact(v)}"
                if single
                else f"{where}: mean = {notation.exact(v)}"
            )
            at = (x0 + (k + 0.5) * self.side, y0 - (r + 0.5) * self.side)
            colour = palette.signed(v, self.limit)
            self.canvas.node(
                f"{id}:{r},{k}",
                at,
                (self.side, self.side),
                fill=colour,
                color=colour,
                penwidth=0,
                tip=tip,
            )
        left, bottom = x0, y0 - m.shape[0] * self.side
        box = (left - 1, bottom - 1, left + m.shape[1] * self.side + 1, y0 + 1)
        self.canvas.group(
            id, box, "", 8, ("#FFFFFF", palette.REST[1]), style="filled", penwidth=0.6
        )

    def _bar(self, id, x, y, parts):
        """A bar of coloured parts: (from, to, colour, tooltip), places from 0 to 1."""
        self.canvas.node(
            f"{id}:all",
            (x + BAR[0] / 2, y),
            BAR,
            fill=palette.REST[0],
            color=palette.REST[1],
            penwidth=0.5,
        )
        for k, (a, b, colour, tip) in enumerate(parts):
            wide = dot.whole((b - a) * BAR[0])
            middle = min(max(x + (a + b) / 2 * BAR[0], x + wide / 2), x + BAR[0] - wide / 2)
            self.canvas.node(
                f"{id}:{k}",
                (middle, y),
                (wide, BAR[1]),
                fill=colour,
                color=colour,
                penwidth=0,
                tip=tip,
            )

    def _radii(self, at, y):
        """Spectral radius of each gate's recurrent block; 1 is where a linear recurrence neither fades nor grows."""
        found, name = {g: self.blocks["hh", g][0] for g in self.cell.h_gates}, "W_hh"
        if self.cell.has_projection:  # what a unit puts out comes back through both
            found, name = {g: a @ self.way.params.W_hr for g, a in found.items()}, "W_hh W_hr"
        found = {g: radius(a) for g, a in found.items()}
        if not found:
            return []
        self.beyond = any(v > 1 for v in found.values())
        most = palette.nice(max([1.0, *(v for v in found.values() if math.isfinite(v))]))
        self.canvas.add(
            dot.text(
                (-14, y),
                f"spectral radius\nof {name}, bar to {most:g}",
                9,
                palette.INK,
                anchor="end",
            )
        )
        for g, v in found.items():
            text = "not finite" if math.isnan(v) else f"{v:.3g}"
            self.canvas.add(
                dot.text((at[g], y + 13), text, 10, palette.INK, anchor="start", name=f"radius:{g}")
            )
            if math.isfinite(v):
                tip = f"spectral radius of {name} of gate {g} = {v:.6g}"
                self._bar(f"radius:{g}:bar", at[g], y - 2, [(0.0, v / most, palette.MUTED, tip)])
                one = at[g] + BAR[0] / most
                if most > 1:
                    points = [(one, y - 10), (one, y + 6)]
                    for k, p in enumerate(points):
                        self.canvas.add(dot.anchor(f"one:{g}{k}", p))
                    self.canvas.add(
                        dot.wire(
                            f"one:{g}0",
                            f"one:{g}1",
                            points,
                            arrow=False,
                            color=palette.CUT,
                            penwidth=1.2,
                        )
                    )
        return [f"spectral radius of {name}, gate {g}: {v:.3g}" for g, v in found.items()]

    def _shares(self, at, y):
        if not self.shares:
            return []
        self.canvas.add(
            dot.text(
                (-14, y), "saturated: share of\nall recorded values", 9, palette.INK, anchor="end"
            )
        )
        said = []
        for g, shares in self.shares.items():
            label = ", ".join(f"{100 * s.share:.3g} % {s.name}" for s in shares)
            self.canvas.add(dot.text((at[g], y + 13), label, 9, palette.INK, anchor="start"))
            parts, ends = [], ((0.0, 1), (1.0, -1))
            for s, (start, step), colour in zip(
                shares, ends, (palette.SIGNED[0], palette.SIGNED[-1]), strict=False
            ):
                a, b = sorted((start, start + step * s.share))
                parts.append((a, b, colour, f"share of gate {g} {s.name} = {s.share:.6g}"))
            self._bar(f"share:{g}", at[g], y - 2, parts)
            said.append(f"gate {g}: {label}")
        return said

    def _ends(self, x, y):
        """The key, and what was left out."""
        legend.signed(self.canvas, "w", (x, y), "weights and biases, all on one scale", self.limit)
        notes = [f"{describe.layer_summary(self.way.layer)} ({describe.convention(self.cell)})"]
        if self.elided:
            largest = max(float(np.nanmax(np.abs(a))) for a, _ in self.blocks.values())
            notes.append(
                f"each tile is the mean of a block of weights; the largest single |w| is {largest:.3g}"
            )
        if self.beyond:
            notes.append("red: a radius of 1")
        for k, note in enumerate(notes):
            self.canvas.add(dot.text((x + 220, y - 15 * k), note, 9, anchor="start"))


def _range(thing, start, stop):
    return f"{thing} {start}" if stop - start == 1 else f"{thing}s {start} to {stop - 1}"
