"""The weights of a layer by gate as heat maps, their spectral radii, and saturation of gates."""

from __future__ import annotations

import math
from typing import Any, Unpack

import numpy as np

from recurrent.engine.bidirectional import REVERSE
from recurrent.equations.expressions import CROSS_UNIT

from ..draw import adapt, dot, legend, notation, palette
from ..draw.adapt import Look, adaptable
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing
from ..reading import describe, evaluate, gates, unit_values
from ..reading.direction import direction_of
from ..reading.weight_statistics import LARGE, blocks, limit_of, saturation, spectral_radius

TILES = 1200  # of all matrices together; larger ones are drawn as means of blocks
LISTED = 12  # inputs whose names are listed
BLOCK, BAR, GAP = 168, (150, 10), 40
MANY, NARROW = 6, (92, 24)  # gates, and room of each and between them if there are more


@adaptable
def weights(
    layer: Any, recording: Any = None, direction: str = "forward", **options: Unpack[Look]
) -> Drawing:
    """Draw W_ih, W_hh, biases and own parameters of a layer as heat maps, one column per gate.

    Weights have one scale, biases and own parameters another; a scale that a few outliers would
    make useless ends before them, and the picture says so. More than 1,200 weights are drawn as
    root mean squares of blocks. Below each recurrent block stands its spectral radius, the largest
    |λ|, an estimate for more than 512 units.

    Parameters
    ----------
    layer : recurrent.layers.Recurrent
        The layer to draw.
    recording : recurrent.Recording, optional
        A recorded run of the layer's model. It adds, over all steps, sequences and units, the share
        of saturated values of each gate: below 0.1 and above 0.9 for a sigmoid, beyond ±0.9 for a
        tanh, 0 for a relu.
    direction : str
        "forward" or "reverse" of a bidirectional layer.
    **options
        `title`, `labels`, `width`, `palette` and `dark`, which `viz.Look` explains.

    Returns
    -------
    Drawing

    Raises
    ------
    TypeError
        If the layer has no cell.
    ValueError
        If the direction does not exist, or the recording is of another model.
    """
    way = direction_of(layer, direction, "weights")
    shares = {}
    if recording is not None:
        unit_values.read_unit(recording, way, 0, None, 0)  # raises the errors
        shares = saturation(way, recording)
    return _Picture(way, shares).drawing()


class _Picture:
    """Columns are gates; rows are W_ih with b_ih, W_hh with b_hh, and statistics of them."""

    def __init__(self, way, shares):
        self.way, self.shares, self.cell = way, shares, way.cell
        self.D, self.H, self.P = way.input_size, way.hidden_size, way.output_size
        self.canvas = Canvas()
        self.blocks = self._blocks()
        count = sum(min(a.size, TILES) for a, _ in self.blocks.values())
        self.most, self.elided = max(self.D, self.H), count > TILES
        if self.elided:
            self.most = max(4, math.isqrt(TILES // len(self.blocks)))
        self.tiles = {k: (self._tiled(a), self._tiled(b)) for k, (a, b) in self.blocks.items()}
        self.own = {name: self._tiled(a) for name, a in self._own().items()}
        self.projection = []
        if self.cell.has_projection:  # transposed, so that its rows are units too
            self.projection = [self._tiled(way.params.W_hr.T)]
        matrices = [m for pair in self.tiles.values() for m, *_ in pair[:1]]
        columns = [m for pair in self.tiles.values() for m, *_ in pair[1:]]
        parts = {
            "w": matrices + [m for m, *_ in self.projection],
            "b": columns + [m for m, *_ in self.own.values()],
        }
        self.limits = {name: adapt.limit(name, limit_of(arrays)) for name, arrays in parts.items()}
        self.clipped = sum(
            int((np.abs(a) > self.limits[name] * (1 + 1e-9)).sum())
            for name, arrays in parts.items()
            for a in arrays
        )
        widest = max(m.shape[1] for m in matrices)
        self.side = max(4, min(16, BLOCK // widest))
        self.beyond = False  # whether the bars of the radii go beyond 1

    def _tiled(self, a):
        return blocks(a, self.most, self.elided)

    def _blocks(self):
        """Return weights (H, D) or (H, P) and biases (H, 1) by side, "ih" or "hh", and gate."""
        params, H, found = self.way.parameters, self.H, {}
        for side, names in (("ih", self.cell.x_gates), ("hh", self.cell.h_gates)):
            bias = params.get(f"b_{side}", np.empty((len(names) * H, 0)))
            for k, g in enumerate(names):
                rows = slice(k * H, (k + 1) * H)
                found[side, g] = params[f"W_{side}"][rows], bias[rows, None]
        return found

    def _own(self):
        """Return the own parameters of the units and learned initial states, as columns."""
        layer = self.way.layer
        own = {name: self.way.parameters[name] for name in self.cell.parameters}
        for name, state in layer.initial.items():
            if state.endswith(REVERSE) == bool(self.way.end):
                own[name] = layer.parameters[name]
        return {name: a[:, None] for name, a in own.items()}

    def drawing(self):
        tall = min(self.H, self.most) * self.side
        self.y = {"ih": 0.0, "hh": -(tall + 52)}
        columns = dict.fromkeys(self.y, 0)
        for (side, _), ((m, *_), _) in self.tiles.items():
            columns[side] = max(columns[side], m.shape[1])
        self.long, gap = (BAR[0], GAP) if len(self.cell.gates) <= MANY else NARROW
        pitch = max(max(columns.values()) * self.side + self.side + 6, self.long) + gap
        self.at = {g: k * pitch for k, g in enumerate(self.cell.gates)}
        self._gates()
        heading = (
            f"{describe.short(self.way.layer)}{describe.named(self.way, ', ')}: weights by gate"
        )
        heading += self.way.suffix
        heading = adapt.heading(heading)
        self.canvas.text((0, 72), heading, 12, palette.INK, anchor="start")
        h = notation.sub(self.cell.states[0], self.way.before)
        products = dict(self._products("hh"))
        for (side, g), tiles in self.tiles.items():
            self._block(side, g, *tiles, "x" if side == "ih" else products.get(g, h))
        if columns["ih"]:
            self._row_label("ih", notation.sub("x", "t"), self.D, tall)
        if columns["hh"]:
            whose = h if len(dict(self._products("hh"))) < len(self.cell.h_gates) else "all units"
            self._row_label("hh", whose, self.P, tall)
        self._others(len(self.at) * pitch)
        low = self.y["hh"] - tall - 30
        text = [describe.layer_summary(self.way.layer), *self._radii(low), *self._shares(low - 56)]
        self._ends(-14, self.canvas.extent[1] - 26)
        title = f"Weights of {describe.kind(self.way.layer)}{self.way.suffix}"
        title += f": {self.way.layer!r}{describe.named(self.way, ', ')}"
        return Drawing.from_items(title, f"{'; '.join(text)}.", self.canvas.items)

    def _gates(self):
        for g, x in self.at.items():
            title, colour = gates.look(self.cell, g)
            label = g if title == g else f"{title} ({g})"
            look = dict(style="rounded,filled", fill=colour, color=palette.INK)
            look |= dict(penwidth=0.8, fontsize=10)
            self.canvas.node(f"gate:{g}", (x + self.long / 2, 44), (self.long, 20), label, **look)

    def _block(self, side, g, matrix, bias, inputs):
        """Draw the weights of a gate with its biases as a column beside them."""
        x, y, W, b = self.at[g], self.y[side], f"W_{side}", f"b_{side}"
        self._matrix(f"{W}:{g}", (x, y), matrix, f"{W} of gate {g}", inputs)
        if bias[0].size:
            x += matrix[0].shape[1] * self.side + 6
            self._matrix(f"{b}:{g}", (x, y), bias, f"{b} of gate {g}", "")

    def _row_label(self, side, inputs, size, tall):
        y = self.y[side]
        first = next(g for s, g in self.tiles if s == side)
        biased = bool(self.tiles[side, first][1][0].size)
        label = f"W_{side}{f', b_{side}' * biased}\nfrom {inputs}\n{self.H:,} × {size:,} per gate"
        at = (-14 - self._names(side), y - tall / 2)
        self.canvas.text(at, label, 9, palette.INK, anchor="end")
        notes = {first: f"columns: inputs{', bias' * biased}; rows: units"}
        notes |= {g: f"of {v}, in this step" for g, v in self._products(side)}
        for g, text in notes.items():
            self.canvas.text((self.at[g], y + 9), text, 9, anchor="start")

    def _products(self, side):
        """Yield each gate whose W_hh multiplies a vector of this step, and the vector."""
        if side == "ih":
            return
        graph, names = self.cell.graph(), evaluate.node_names(self.cell, self.way.before)
        crossing = (n.id for n in graph.nodes if n.kind in CROSS_UNIT)
        for e, id in zip(self.cell.cross_unit_ops, crossing, strict=True):
            if e.op == "product" and e.name:
                (source,) = (a.source for a in graph.inputs(id))
                yield e.name, names[source]

    def _others(self, x):
        """Draw the projection and the units' own parameters, right of the gates.

        Own parameters stand in the place of W_hh in a cell without it.
        """
        for tiles in self.projection:
            self._matrix("own:W_hr", (x, self.y["ih"]), tiles, "W_hr", "h")
            note = f"W_hr: projects to {self.P:,}\ncolumns: h; rows: units"
            self.canvas.text((x, self.y["ih"] + 15), note, 9, anchor="start")
        if self.own and not self.cell.h_gates:
            x, middle = 0, self.y["hh"] - min(self.H, self.most) * self.side / 2
            at = (-14 - self._names("hh"), middle)
            self.canvas.text(at, "own parameters\nof each unit", 9, palette.INK, anchor="end")
        for name, tiles in self.own.items():
            self._matrix(f"own:{name}", (x, self.y["hh"]), tiles, f"own parameter {name}", "")
            self.canvas.text((x + self.side / 2, self.y["hh"] + 9), name, 8)
            x += self.side + 26

    def _matrix(self, id, corner, tiles, what, inputs):
        """Draw tiles from the upper left corner, each with a tooltip."""
        (x0, y0), (m, rows, columns), side = corner, tiles, self.side
        for r, k in np.ndindex(m.shape):
            v = float(m[r, k])
            where = f"{what}, {self._range('unit', rows[r], rows[r + 1], 'units')}"
            if inputs:
                own = "inputs" if inputs == "x" else "units" if id.startswith("W_hh") else ""
                where += f", {self._range('input', columns[k], columns[k + 1], own)}"
            single = rows[r + 1] - rows[r] == columns[k + 1] - columns[k] == 1
            tip = f"{where}{'' if single else ': root mean square'} = {notation.exact(v)}"
            at = (x0 + (k + 0.5) * side, y0 - (r + 0.5) * side)
            colour = self._colour(v, "w" if inputs else "b")
            look: dict[str, Any] = dict(fill=colour, color=colour, penwidth=0, tip=tip)
            sign = ""
            if v < 0 and adapt.marks_sign() and not self.elided:
                sign = "−"
                look |= dict(fontsize=dot.number(side), fontcolor=palette.on(colour))
            self.canvas.node(f"{id}:{r},{k}", at, (side, side), sign, **look)
        box = (x0 - 1, y0 - m.shape[0] * side - 1, x0 + m.shape[1] * side + 1, y0 + 1)
        colours = ("#FFFFFF", palette.REST[1])
        self.canvas.group(id, box, "", 8, colours, style="filled", penwidth=0.6)

    def _range(self, thing, start, stop, kind):
        """Return words for a row or column of tiles, with the name of a single one."""
        if stop - start > 1:
            return f"{thing}s {start} to {stop - 1}"
        size = {"inputs": self.D, "units": self.H}.get(kind)
        own = adapt.label(kind, start, size, "") if size and not self.projection else ""
        return f"{thing} {start}{f' ({own})' * bool(own)}"

    def _names(self, side):
        """Write the names of the units beside their rows; return the room they take."""
        size = min(9, 0.9 * self.side)
        if not adapt.named("units") or self.elided or size < 7:
            return 0
        names = [notation.fit(adapt.label("units", j, self.H, ""), size, 90) for j in range(self.H)]
        for j, name in enumerate(names):
            at = (-8, self.y[side] - (j + 0.5) * self.side)
            self.canvas.text(at, name, size, palette.INK, anchor="end")
        return max(notation.width(name, size) for name in names) * 1.12 + 8

    def _colour(self, v, scale):
        limit = self.limits[scale]
        return palette.size(v, limit) if self.elided else palette.signed(v, limit)

    def _bar(self, id, x, y, parts):
        """Draw a bar with coloured parts (from, to, colour, tooltip), places from 0 to 1."""
        fill, border = palette.REST
        look: dict[str, Any] = dict(fill=fill, color=border, penwidth=0.5)
        self.canvas.node(f"{id}:all", (x + self.long / 2, y), (self.long, BAR[1]), **look)
        for k, (a, b, colour, tip) in enumerate(parts):
            wide = dot.whole((b - a) * self.long)
            middle = min(max(x + (a + b) / 2 * self.long, x + wide / 2), x + self.long - wide / 2)
            look: dict[str, Any] = dict(fill=colour, color=colour, penwidth=0, tip=tip)
            self.canvas.node(f"{id}:{k}", (middle, y), (wide, BAR[1]), **look)

    def _radii(self, y):
        """Draw the spectral radius of each recurrent block; return sentences about them.

        At a radius of 1 a linear recurrence neither decays nor grows.
        """
        blocks, name = {g: self.blocks["hh", g][0] for g in self.cell.h_gates}, "W_hh"
        if self.cell.has_projection:  # the output of a unit returns through both matrices
            blocks = {g: a @ self.way.params.W_hr for g, a in blocks.items()}
            name = "W_hh W_hr"
        radii = {g: spectral_radius(a) for g, a in blocks.items()}
        if not radii:
            return []
        most = adapt.limit("radius", max([1.0, *(v for v in radii.values() if math.isfinite(v))]))
        self.beyond = most > 1
        rough = "≈ " * (self.H > LARGE)
        label = f"spectral radius\nof {name}, bar to {most:g}"
        self.canvas.text((-14, y), label, 9, palette.INK, anchor="end")
        for g, v in radii.items():
            x, text = self.at[g], "not finite" if math.isnan(v) else f"{rough}{v:.3g}"
            look = dict(anchor="start", name=f"radius:{g}")
            self.canvas.text((x, y + 13), text, 10, palette.INK, **look)
            if math.isfinite(v):
                tip = f"spectral radius of {name} of gate {g} = {rough}{v:.6g}"
                self._bar(f"radius:{g}:bar", x, y - 2, [(0.0, v / most, palette.MUTED, tip)])
                if most > 1:
                    one = x + self.long / most
                    points = [(one, y - 10), (one, y + 6)]
                    ends = self.canvas.anchors(f"one:{g}", points)
                    look = dict(arrow=False, color=palette.CUT, penwidth=1.2)
                    self.canvas.wire(*ends, points, **look)
        return [f"spectral radius of {name}, gate {g}: {v:.3g}" for g, v in radii.items()]

    def _shares(self, y):
        """Draw the share of saturated values of each gate; return sentences about them."""
        if not self.shares:
            return []
        label = "saturated: share of\nall recorded values"
        self.canvas.text((-14, y), label, 9, palette.INK, anchor="end")
        ends = ((0.0, 1, palette.SIGNED[0]), (1.0, -1, palette.SIGNED[-1]))
        text = []
        for g, shares in self.shares.items():
            x, label = self.at[g], ", ".join(f"{100 * s.share:.3g} % {s.name}" for s in shares)
            self.canvas.text((x, y + 13), label, 9, palette.INK, anchor="start")
            parts = []
            for s, (start, step, colour) in zip(shares, ends, strict=False):
                a, b = sorted((start, start + step * s.share))
                parts.append((a, b, colour, f"share of gate {g} {s.name} = {s.share:.6g}"))
            self._bar(f"share:{g}", x, y - 2, parts)
            text.append(f"gate {g}: {label}")
        return text

    def _ends(self, x, y):
        """Draw the keys and the notes."""
        keys = [("w", "weights")]
        if any(b[0].size for _, b in self.tiles.values()) or self.own:
            keys.append(("b", "biases" + " and own parameters" * bool(self.own)))
        for name, what in keys:
            if self.elided:
                label = f"{what}: root mean square of a block"
                ticks = [(0.0, "0"), (1.0, f"{self.limits[name]:g}")]
                end = legend.ramp(self.canvas, name, (x, y), label, palette.SIZE, ticks)
            else:
                end = legend.signed(self.canvas, name, (x, y), what, self.limits[name])
            x = max(x + 220, end + 24)
        summary = describe.layer_summary(self.way.layer)
        notes = [f"{summary} ({describe.convention(self.cell)})"]
        every = [*(a for pair in self.blocks.values() for a in pair), *self._own().values()]
        largest = max((float(np.nanmax(np.abs(a))) for a in every if a.size), default=0.0)
        if self.clipped:
            tiles = notation.count(self.clipped, "tile")
            notes.append(f"beyond the scales: {tiles}, the largest weight or bias is {largest:.3g}")
        elif self.elided:
            notes.append(f"the largest weight or bias is {largest:.3g}")
        if adapt.named("inputs") and self.cell.x_gates and self.D <= LISTED:
            names = [adapt.label("inputs", k, self.D, "") for k in range(self.D)]
            notes.append(f"columns of W_ih: {', '.join(names)}")
        if self.beyond:
            notes.append("mark across a bar: a radius of 1")
        for k, note in enumerate(notes):
            self.canvas.text((x, y - 15 * k), note, 9, anchor="start")
