"""The box opened: a layer is H units side by side; x and h of all go to every unit, a memory stays in its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..draw import dot, legend, notation, palette
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing
from ..reading import describe, evaluate
from ..reading.direction import direction_of
from .parts.unit_boxes import VECTOR, Units

ALL, FIRST, LAST = (
    12,
    4,
    2,
)  # up to ALL units each is drawn; beyond that the first, the last, and one that is asked for
GAP, DOTS = 14, 40
MIXED = 64  # room for a projection above the units


class Place(NamedTuple):
    """One number of a vector, or "…" for those between when `index` is None."""

    index: int | None
    x: float


def layer(
    layer: Any,
    recording: Any = None,
    t: int | None = None,
    n: int = 0,
    unit: int | None = None,
    direction: str = "forward",
    folded: bool = True,
) -> Drawing:
    """The units of a recurrent layer, side by side in the box that is usually drawn for all of them.

    With a `recording` of the layer's model: the values of step `t` (the last one if None) of sequence `n`. More than 12
    units, or inputs, are elided with "…"; `unit` is drawn in any case, and marked. `direction`: "forward" or "reverse" of
    a bidirectional layer. `folded`: whether the layer as one box stands beside.

    Raises TypeError for a layer without a cell, IndexError for a unit, step or sequence that is not there, ValueError for
    a direction that is not there or a recording of another model.
    """
    way = direction_of(layer, direction, "layer")
    if unit is not None and (isinstance(unit, bool) or not isinstance(unit, (int, np.integer))):
        raise TypeError(f"unit must be an int, got {type(unit).__name__}")
    if unit is not None and not 0 <= unit < way.hidden_size:
        raise IndexError(
            f"unit must be in 0..{way.hidden_size - 1}, the units of {layer!r}, got {unit}"
        )
    seen = None if recording is None else evaluate.step(recording, way, t, n)
    return _Picture(way, seen, unit, folded).drawing()


def shown(count: int, asked: Sequence[int] = ()) -> list[int]:
    """Which of so many are drawn.

    >>> shown(5), shown(512, [100])
    ([0, 1, 2, 3, 4], [0, 1, 2, 3, 100, 510, 511])
    """
    return (
        list(range(count))
        if count <= ALL
        else sorted({*range(FIRST), *range(count - LAST, count), *asked})
    )


class _Picture:
    """From the bottom up: the vectors that go in, the bus that takes them to every unit, the units, the vector h."""

    def __init__(self, way, seen, unit, folded):
        self.way, self.seen, self.marked, self.folded = way, seen, unit, folded
        self.cell, self.first = way.cell, way.cell.states[0]
        self.D, self.H, self.P, self.projected = (
            way.input_size,
            way.hidden_size,
            way.output_size,
            way.cell.has_projection,
        )
        self.limits = self._limits()
        self.canvas = Canvas()
        self.units = Units(self.canvas, way, seen, self.limits)
        self.wide, self.tall, self.kept = self.units.wide, self.units.tall, self.units.kept

    def _limits(self):
        if self.seen is None:
            return {}
        numbers = [a for d in (self.seen.before, self.seen.after) for a in d.values()]
        largest = (
            max((float(np.abs(v[np.isfinite(v)]).max(initial=0)) for v in a), default=0)
            for a in ([self.seen.x], numbers)
        )
        return dict(zip("xh", map(palette.nice, largest), strict=True))

    def drawing(self):
        asked = [] if self.marked is None else [self.marked]
        pitch = self.wide + GAP
        self.places = _row(shown(self.H, asked), pitch, 0.0)
        left, right = -self.wide / 2, self.places[-1].x + self.wide / 2
        bottom = 0.0
        self.box = (left - 18, bottom - 16, right + 18, bottom + self.tall + 18)
        self.bus, self.top = self.box[1] - 44, self.box[3] + 56 + MIXED * self.projected
        self.canvas.group("layer", self.box, "", 10, palette.UNIT, penwidth=1.8)
        self._vectors(left, right)
        for k, p in enumerate(self.places):
            self._unit(p) if p.index is not None else self._dots(
                "unit", k, (p.x, self.tall / 2), 16
            )
        self._back()
        if self.folded:
            self._folded()
        self._text()
        title = f"{describe.kind(self.way.layer)} layer opened: {notation.count(self.H, 'unit')} side by side{self.way.suffix}"
        hidden = self.H - sum(p.index is not None for p in self.places)
        said = [
            describe.layer_summary(self.way.layer),
            f"every unit reads {self._all()} numbers; {self._stays()}",
        ]
        said += [f"{hidden:,} of {self.H:,} units not drawn, wired in the same way"] * bool(hidden)
        if self.seen:
            said.append(f"values at step {self.seen.t} of steps 0 to {self.seen.T - 1}")
        return Drawing.from_items(
            f"{title}: {self.way!r}", f"{'; '.join(said)}.", self.canvas.items
        )

    def _stays(self):
        names = [s for s in self.kept if s != self.first]
        if names:
            return f"{' and '.join(names)} never leave{'s' * (len(names) == 1)} its unit"
        return (
            "there is no memory besides h"
            if self.first == "h"
            else f"there is no memory besides {self.first}"
        )

    # Vectors

    def _vectors(self, left, right):
        """x and h of all units below, on one bus; the new h above."""
        colour, count, seen = (
            palette.state(self.first, 0),
            notation.count(self.P, "number"),
            self.seen,
        )
        asked = [] if self.marked is None or self.projected else [self.marked]
        self.low = self.bus - 46
        step = "before" if self.way.step > 0 else "after"
        whose = (
            "made of all units' outputs by W_hr at" if self.projected else "one of each unit, of"
        )
        said = f"{notation.sub(self.first, self.way.before)}: {count}, {whose} the step {step}"
        below = []  # name, letter, indices, values, border, caption
        if self.cell.x_gates:
            text = f"{notation.sub('x', 't')}: {notation.count(self.D, 'number')}"
            below.append(("x", "x", shown(self.D), seen and seen.x, palette.X_GROUP[1], text))
        if self.cell.h_gates:
            below.append(
                (
                    "before",
                    self.first,
                    shown(self.P, asked),
                    seen and seen.before[self.first],
                    colour,
                    said,
                )
            )
        rows = [_row(indices, VECTOR[0], 0.0) for _, _, indices, *_ in below]
        longs = [
            max(r[-1].x + VECTOR[0], notation.width(b[-1], 10) * 1.12)
            for r, b in zip(rows, below, strict=True)
        ]
        at, taps = (left + right) / 2 - (sum(longs) + 46 * (len(longs) - 1)) / 2, []
        for row, long, (name, letter, _, v, border, text) in zip(rows, longs, below, strict=True):
            shift = at + long / 2 - row[-1].x / 2
            row = [p._replace(x=p.x + shift) for p in row]
            self._vector(name, row, letter, v, border, self.low)
            self.canvas.add(
                dot.text(
                    (at + long / 2, self.low - 26),
                    text,
                    10,
                    colour if name == "before" else palette.MUTED,
                )
            )
            taps += [(f"{name}{p.index}", p.x, border) for p in row if p.index is not None]
            at += long + 46
        ends = [p.x for p in self.places] + [x for _, x, _ in taps]
        points = [(min(ends), self.bus), (max(ends), self.bus)]
        for name, point in zip(("bus", "bus:end"), points, strict=True):
            self.canvas.add(dot.anchor(name, point))
        self.canvas.add(
            dot.wire("bus", "bus:end", points, arrow=False, color=palette.INK, penwidth=2.8)
        )
        for name, x, border in taps:
            up = [(x, self.low + VECTOR[1] / 2), (x, self.bus)]
            self.canvas.add(dot.wire(name, "bus", up, arrow=False, color=border, penwidth=1.1))
        self.canvas.add(
            dot.text((points[0][0] - 8, self.bus), self._all(), 9, palette.INK, anchor="end")
        )
        row, wide = self.places, self.wide
        if self.projected:
            row, wide = self._projection(left, right, colour), VECTOR[0]
        self._vector(
            "after", row, self.first, seen and seen.after[self.first], colour, self.top, wide
        )
        whose = "from all units" if self.projected else "one from each unit"
        text = f"{notation.sub(self.first, 't')}: {count}, {whose}; shape ({self.P:,},)"
        self.canvas.add(dot.text(((left + right) / 2, self.top + 27), text, 10, colour))

    def _all(self):
        sizes = [
            s for s, used in ((self.D, self.cell.x_gates), (self.P, self.cell.h_gates)) if used
        ]
        return f"all {' + '.join(f'{s:,}' for s in sizes)}" + (
            f" = {sum(sizes):,}" if len(sizes) > 1 else ""
        )

    def _vector(self, name, places, letter, values, border, y, wide=VECTOR[0]):
        """Numbers side by side; "…" where some are left out."""
        for k, p in enumerate(places):
            if p.index is None:
                self._dots(name, k, (p.x, y), 12)
                continue
            v = None if values is None else float(values[p.index])
            tip = f"{letter}{p.index}{f' at {self.way.earlier}' if name == 'before' else ''}"
            look = {
                "color": border,
                "penwidth": 2.4 if p.index == self.marked and name != "x" else 1,
            }
            look |= {
                "fontsize": 10 if v is None else 9,
                "tip": tip + ("" if v is None else f" = {notation.exact(v)}"),
            }
            label = notation.sub(letter, p.index) + ("" if v is None else f"\n{notation.signed(v)}")
            look |= self.units.colours(v, "x" if name == "x" else "h")
            self.canvas.node(f"{name}{p.index}", (p.x, y), (wide, VECTOR[1]), label, **look)

    def _dots(self, name, k, at, size):
        """What stands for those that are left out, after the k-th place of a row."""
        self.canvas.add(dot.text(at, "…", size, name=f"dots:{name}:{k}"))

    def _unit(self, p):
        j, x, name = p.index, p.x, f"unit{p.index}:"
        self.units.draw(j, x, j == self.marked)
        colour = palette.state(self.first, 0)
        self.canvas.add(
            dot.wire("bus", name, [(x, self.bus), (x, 0)], color=palette.INK, penwidth=1.3)
        )
        end, top = (
            ("projection", self.mixed - 15)
            if self.projected
            else (f"after{j}", self.top - VECTOR[1] / 2)
        )
        self.canvas.add(dot.wire(name, end, [(x, self.tall), (x, top)], color=colour, penwidth=1.5))

    def _projection(self, left, right, colour):
        """The matrix that makes h of what all units put out, as a bar above them; returns the places of h."""
        self.mixed = self.box[3] + 46
        row = _row(shown(self.P), VECTOR[0] + GAP, 0.0)
        shift = (left + right) / 2 - row[-1].x / 2
        row = [p._replace(x=p.x + shift) for p in row]
        m, now = notation.sub(self.units.wiring.output, "t"), notation.sub(self.first, "t")
        label = f"W_hr {self.P:,} × {self.H:,}: {now} = W_hr {m}"
        ends = [p.x for p in row]
        wide = max(
            right - left, ends[-1] - ends[0] + VECTOR[0], notation.width(label, 10) * 1.1 + 24
        )
        fill, border = palette.LAYERS["Linear"]
        look = {
            "style": "rounded,filled",
            "fill": fill,
            "color": border,
            "fontsize": 10,
            "penwidth": 1.2,
        }
        tip = f"W_hr ({self.P}, {self.H}), no bias: each number of {self.first} is a sum over all units"
        self.canvas.node(
            "projection", ((left + right) / 2, self.mixed), (wide, 30), label, tip=tip, **look
        )
        note = (self.places[0].x - 8, self.box[3] + 16)
        self.canvas.add(dot.text(note, f"{m}: one number from each unit", 9, colour, anchor="end"))
        for p in row:
            if p.index is not None:
                up = [(p.x, self.mixed + 15), (p.x, self.top - VECTOR[1] / 2)]
                self.canvas.add(
                    dot.wire("projection", f"after{p.index}", up, color=colour, penwidth=1.5)
                )
        return row

    def _back(self):
        """The vector h, whole, is an input of the next step."""
        if not self.cell.h_gates:
            return
        right = (
            max(
                self.box[2],
                self.canvas.box[f"after{self.P - 1}"][2],
                self.canvas.box[f"before{self.P - 1}"][2],
            )
            + 26
        )
        last, first = f"after{self.P - 1}", f"before{self.P - 1}"
        points = [
            (self.canvas.box[last][2], self.top),
            (right, self.top),
            (right, self.low),
            (self.canvas.box[first][2], self.low),
        ]
        colour = palette.state(self.first, 0)
        self.canvas.add(dot.wire(last, first, points, color=colour, style="dashed", penwidth=1.8))
        now, before = notation.sub(self.first, "t"), notation.sub(self.first, self.way.before)
        whose, when = (
            "" if self.projected else " of all units",
            "next" if self.way.step > 0 else "earlier",
        )
        note = f"{now}{whose}\nis {before} of the\n{when} step"
        self.canvas.add(
            dot.text((right + 10, (self.top + self.low) / 2), note, 9, colour, anchor="start")
        )

    # The same as one box

    def _folded(self):
        """The layer as one box, left of the open one."""
        x, y = self.box[0] - 190, self.tall / 2
        name = describe.kind(self.way.layer)
        fill, border = palette.LAYERS["recurrent"]
        wide = max(74, notation.width(name, 14) + 26)
        look = {
            "style": "rounded,filled",
            "fill": fill,
            "color": border,
            "penwidth": 1.8,
            "fontsize": 14,
        }
        self.canvas.node(
            "folded", (x, y), (wide, 60), name, tip=f"all {notation.count(self.H, 'unit')}", **look
        )
        first = palette.state(self.first, 0)
        ends = (
            ("folded:x", "x", self.low, palette.X_GROUP, f"({self.D:,},)"),
            ("folded:h", self.first, self.top, (palette.H_GROUP[0], first), f"({self.P:,},)"),
        )
        for id, letter, at, (inside, border), shape in ends:
            look = {
                "shape": "circle",
                "fill": inside,
                "color": border,
                "penwidth": 1.4,
                "fontsize": 12,
            }
            self.canvas.node(id, (x, at), (34, 34), notation.sub(letter, "t"), **look)
            up = letter == self.first and id.endswith("h")
            points = [(x, y + 30), (x, at - 17)] if up else [(x, at + 17), (x, y - 30)]
            self.canvas.add(
                dot.wire(
                    "folded" if up else id,
                    id if up else "folded",
                    points,
                    penwidth=1.6,
                    color=first if up else palette.INK,
                )
            )
            self.canvas.add(
                dot.text((x + 8, (points[0][1] + points[1][1]) / 2), shape, 9, anchor="start")
            )
        for k, s in enumerate(self.cell.states):
            out, half = x + self.way.step * (wide / 2 + 20 + 13 * k), 9 + 7 * k
            edge = x + self.way.step * wide / 2
            points = [(edge, y + half), (out, y + half), (out, y - half), (edge, y - half)]
            tip = f"{s} of step t goes to step {self.way.ahead}"
            self.canvas.add(
                dot.wire(
                    "folded",
                    "folded",
                    points,
                    radius=6,
                    color=palette.state(s, k),
                    penwidth=1.6,
                    tip=tip,
                )
            )
        out = x + self.way.step * (wide / 2 + 20 + 13 * (len(self.cell.states) - 1) + 8)
        note = f"{', '.join(notation.sub(s, 't') for s in self.cell.states)}"
        self.canvas.add(dot.text((out, y), note, 9, anchor="start" if self.way.step > 0 else "end"))
        self.canvas.add(dot.text((self.box[0] - 46, y), "=", 26, palette.MUTED))

    def _text(self):
        top = self.top + 62
        if self.folded:
            self.canvas.add(
                dot.text(
                    (self.canvas.centre("folded")[0], top), "Drawn as one box", 12, palette.INK
                )
            )
            many = f"{self.H:,} units side by side" if self.H > 1 else "its only unit"
            title = f"The same box opened: {many}{self.way.suffix}"
            self.canvas.add(
                dot.text(((self.box[0] + self.box[2]) / 2, top), title, 12, palette.INK)
            )
        bottom = min(i.box[1] for i in self.canvas.items) - 22
        said = describe.convention(self.cell)
        if self.cell.biases == 2:
            said = (
                f"two biases, as in PyTorch; with one bias per Σ: {describe.one_bias(self.way):,}"
            )
        lines = [f"{describe.layer_summary(self.way.layer)} ({said})"]
        for s in self.kept:
            if s in self.units.looping:
                straight = f"besides, each unit's own {s} goes straight to itself"
                lines.append(
                    f"{s}: {straight if s == self.first else 'its own in each unit, goes to no other unit'}"
                )
        hidden = self.H - sum(p.index is not None for p in self.places)
        if hidden:
            lines.append(f"{hidden:,} of {self.H:,} units not drawn, wired in the same way")
        if self.D > ALL:
            lines.append(f"{self.D - len(shown(self.D)):,} of {self.D:,} inputs not drawn")
        colours = {f"{s}:": palette.state(s, k) for k, s in enumerate(self.cell.states)}
        for k, line in enumerate(lines):
            colour = colours.get(line.partition(" ")[0], palette.MUTED)
            self.canvas.add(
                dot.text((self.box[0], bottom - 15 * k), line, 10, colour, anchor="start")
            )
        bottom -= 15 * len(lines) + 12
        if self.seen:
            t = self.seen.t
            legend.signed(
                self.canvas, "x", (self.box[0], bottom), f"x at t = {t}", self.limits["x"]
            )
            label = f"{', '.join(self.cell.states)} at t = {t} and one step {'before' if self.way.step > 0 else 'after'}"
            legend.signed(self.canvas, "h", (self.box[0] + 200, bottom), label, self.limits["h"])
            note = "gates: the fuller the colour, the larger the value"
            self.canvas.add(dot.text((self.box[0] + 400, bottom - 14), note, 9, anchor="start"))


def _row(indices, pitch, start):
    """Places of a row with room for "…" wherever numbers are left out."""
    places, at = [], start
    for k, j in enumerate(indices):
        if k:
            at += pitch
            if j > indices[k - 1] + 1:
                places.append(Place(None, at - pitch / 2 + DOTS / 2))
                at += DOTS
        places.append(Place(j, at))
    return places
