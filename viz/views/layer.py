"""A layer in detail: its units side by side, the vectors that they all read, and the output."""

from __future__ import annotations

from typing import Any, NamedTuple, Unpack

import numpy as np

from recurrent import checks

from ..draw import adapt, dot, legend, notation, palette
from ..draw.adapt import Look, adaptable
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing
from ..reading import describe, evaluate
from ..reading.direction import check_unit, direction_of
from .parts.elision import ALL, shown
from .parts.unit_boxes import VECTOR, Units

GAP, DOTS = 14, 40
NAMED = 72  # width of an element of a vector, for its name
MIXED = 64  # room for a projection above the units


class Place(NamedTuple):
    """A drawn element of a vector; `index` is None for the "…" of elided elements."""

    index: int | None
    x: float


class Vector(NamedTuple):
    """A vector below the units; `values` is None without a recording."""

    name: str
    letter: str
    indices: list[int]
    values: np.ndarray | None
    border: str
    colour: str
    caption: str


@adaptable
def layer(
    layer: Any,
    recording: Any = None,
    t: int | None = None,
    n: int = 0,
    unit: int | None = None,
    direction: str = "forward",
    folded: bool = True,
    **options: Unpack[Look],
) -> Drawing:
    """Draw the units of a recurrent layer side by side, inside the box that stands for all of them.

    More than 12 units or inputs are elided.

    Parameters
    ----------
    layer : recurrent.layers.Recurrent
        The layer to draw.
    recording : recurrent.Recording, optional
        A recorded run of the layer's model, whose values are shown.
    t : int, optional
        The time step of the values; the last one by default.
    n : int
        The sequence of the batch.
    unit : int, optional
        A unit to mark; it is never elided.
    direction : str
        "forward" or "reverse" of a bidirectional layer.
    folded : bool
        Whether to draw the layer as one box beside the open one.
    **options
        `title`, `labels`, `width`, `palette` and `dark`, which `viz.Look` explains.

    Returns
    -------
    Drawing

    Raises
    ------
    TypeError
        If the layer has no cell.
    IndexError
        If the unit, step or sequence does not exist.
    ValueError
        If the direction does not exist, or the recording is of another model.
    """
    way, folded = direction_of(layer, direction, "layer"), checks.flag(folded, "folded")
    if unit is not None:
        check_unit(unit, layer)
    step = None if recording is None else evaluate.step(recording, way, t, n)
    return _Picture(way, step, unit, folded).drawing()


class _Picture:
    """From the bottom up: the input vectors, the bus to every unit, the units, the new h."""

    def __init__(self, way, step, unit, folded):
        self.way, self.step, self.marked, self.folded = way, step, unit, folded
        self.cell, self.first = way.cell, way.cell.states[0]
        self.colour = palette.state(self.first, 0)
        self.D, self.H, self.P = way.input_size, way.hidden_size, way.output_size
        self.projected = way.cell.has_projection
        self.limits = self._limits()
        named = any(adapt.named(kind) for kind in ("inputs", "units"))
        self.vector = NAMED if named else VECTOR[0]
        self.canvas = Canvas()
        self.units = Units(self.canvas, way, step, self.limits)
        self.wide, self.tall, self.kept = self.units.wide, self.units.tall, self.units.kept
        # Symbols of the output now and one step earlier, and of a unit's output.
        self.now = notation.sub(self.first, "t")
        self.before = notation.sub(self.first, way.before)
        self.output = notation.sub(self.units.wiring.output, "t")
        self._each = "one from each unit" if self.H > 1 else "from the only unit"

    def _limits(self):
        if self.step is None:
            return {}
        both = self.step.before, self.step.after
        states = {s: _limit(s, [d[s] for d in both if s in d]) for s in self.cell.states}
        return {"x": _limit("x", [self.step.x])} | states

    def drawing(self):
        marked = [] if self.marked is None else [self.marked]
        self.places = _row(shown(self.H, marked), self.wide + GAP)
        left, right = -self.wide / 2, self.places[-1].x + self.wide / 2
        self.middle = (left + right) / 2
        self.box = (left - 18, -16, right + 18, self.tall + 18)
        self.bus, self.top = self.box[1] - 44, self.box[3] + 56 + MIXED * self.projected
        self.low = self.bus - 46
        self.canvas.group("layer", self.box, "", 10, palette.UNIT, penwidth=1.8)
        self._inputs()
        self._outputs(left, right)
        for k, p in enumerate(self.places):
            if p.index is None:
                self._dots("unit", k, (p.x, self.tall / 2), 16)
            else:
                self._unit(p)
        self._back()
        if self.folded:
            self._folded()
        self._text()
        kind = describe.kind(self.way.layer)
        units = notation.count(self.H, "unit")
        title = f"{kind} layer{describe.named(self.way, ' ')} opened: {units} side by side"
        title += self.way.suffix
        text = [
            describe.layer_summary(self.way.layer),
            f"every unit reads {self._all()} numbers; {self._stays()}",
            *self._hidden_units(),
        ]
        if self.step:
            text.append(f"values at step {self.step.t} of steps 0 to {self.step.T - 1}")
        return Drawing.from_items(
            f"{title}: {self.way!r}", f"{'; '.join(text)}.", self.canvas.items
        )

    def _hidden_units(self):
        """Return a sentence about the elided units, if there are any."""
        hidden = self.H - sum(p.index is not None for p in self.places)
        return [f"{hidden:,} of {self.H:,} units not drawn, wired in the same way"] * bool(hidden)

    def _stays(self):
        names = [s for s in self.kept if s != self.first]
        if names:
            return f"{' and '.join(names)} never leave{'s' * (len(names) == 1)} the unit"
        return f"there is no memory other than {self.first}"

    # Vectors

    def _inputs(self):
        """Draw x and h of all units below, with a bus to all units."""
        vectors = self._input_vectors()
        rows = [_row(v.indices, self.vector) for v in vectors]
        longs = [
            max(row[-1].x + self.vector, notation.width(v.caption, 10) * 1.12)
            for row, v in zip(rows, vectors, strict=True)
        ]
        at, taps = self.middle - (sum(longs) + 46 * (len(longs) - 1)) / 2, []
        for row, long, v in zip(rows, longs, vectors, strict=True):
            row = _shifted(row, at + long / 2 - row[-1].x / 2)
            self._vector(v.name, row, v.letter, v.values, v.border, self.low)
            self.canvas.text((at + long / 2, self.low - 26), v.caption, 10, v.colour)
            taps += [(f"{v.name}{p.index}", p.x, v.border) for p in row if p.index is not None]
            at += long + 46
        xs = [p.x for p in self.places] + [x for _, x, _ in taps]
        points = [(min(xs), self.bus), (max(xs), self.bus)]
        for name, point in zip(("bus", "bus:end"), points, strict=True):
            self.canvas.add(dot.anchor(name, point))
        bus = dict(arrow=False, color=palette.INK, penwidth=2.8)
        self.canvas.wire("bus", "bus:end", points, **bus)
        for name, x, border in taps:
            up = [(x, self.low + VECTOR[1] / 2), (x, self.bus)]
            self.canvas.wire(name, "bus", up, arrow=False, color=border, penwidth=1.1)
        self.canvas.text((min(xs) - 8, self.bus), self._all(), 9, palette.INK, anchor="end")

    def _input_vectors(self):
        vectors = []
        if self.cell.x_gates:
            caption = f"{notation.sub('x', 't')}: {notation.count(self.D, 'number')}"
            values, border = self.step and self.step.x, palette.X_GROUP[1]
            colour = palette.MUTED
            vectors.append(Vector("x", "x", shown(self.D), values, border, colour, caption))
        if self.cell.h_gates:
            step = "previous" if self.way.step > 0 else "next"
            whose = self._each
            if self.projected:
                whose = "W_hr times the outputs of all units"
            count = notation.count(self.P, "number")
            caption = f"{self.before}: {count}, {whose}, at the {step} step"
            marked = [] if self.marked is None or self.projected else [self.marked]
            values = self.step and self.step.before[self.first]
            indices = shown(self.P, marked)
            colours = (self.colour, self.colour)
            vectors.append(Vector("before", self.first, indices, values, *colours, caption))
        return vectors

    def _outputs(self, left, right):
        """Draw the new h above the units."""
        row, wide = self.places, self.wide
        if self.projected:
            row, wide = self._projection(left, right), self.vector
        values = self.step and self.step.after[self.first]
        self._vector("after", row, self.first, values, self.colour, self.top, wide)
        whose = "from all units" if self.projected else self._each
        count = notation.count(self.P, "number")
        caption = f"{self.now}: {count}, {whose}; shape ({self.P:,},)"
        self.canvas.text((self.middle, self.top + 27), caption, 10, self.colour)

    def _all(self):
        """Return the number of inputs of every unit, written as a sum."""
        parts = ((self.D, self.cell.x_gates), (self.P, self.cell.h_gates))
        sizes = [size for size, used in parts if used]
        total = f" = {sum(sizes):,}" if len(sizes) > 1 else ""
        return f"all {' + '.join(f'{size:,}' for size in sizes)}{total}"

    def _vector(self, name, places, letter, values, border, y, wide=None):
        """Draw numbers side by side, with "…" for elided ones."""
        for k, p in enumerate(places):
            if p.index is None:
                self._dots(name, k, (p.x, y), 12)
                continue
            v = None if values is None else float(values[p.index])
            own = self._own_name(name, letter, p.index)
            tip = own or f"{letter}{p.index}"
            tip += f" at {self.way.earlier}" if name == "before" else ""
            label = own or notation.sub(letter, p.index)
            label = notation.fit(label, 9, (wide or self.vector) - 4)
            if v is not None:
                tip, label = f"{tip} = {notation.exact(v)}", f"{label}\n{notation.signed(v)}"
            marked = p.index == self.marked and name != "x"
            look = dict(color=border, penwidth=2.4 if marked else 1)
            look |= dict(fontsize=10 if v is None else 9, tip=tip)
            look |= self.units.colours(v, "x" if name == "x" else self.first)
            size = (wide or self.vector, VECTOR[1])
            self.canvas.node(f"{name}{p.index}", (p.x, y), size, label, **look)

    def _own_name(self, vector, letter, k):
        """Return the name of an element of a vector, "" without names."""
        if vector == "x":
            return adapt.label("inputs", k, self.D, "")
        return "" if self.projected else adapt.label("units", k, self.H, "")

    def _dots(self, name, k, at, size):
        """Draw the dots for elided elements after the k-th place of a row."""
        self.canvas.text(at, "…", size, name=f"dots:{name}:{k}")

    def _unit(self, p):
        j, x, name = p.index, p.x, f"unit{p.index}:"
        self.units.draw(j, x, j == self.marked)
        self.canvas.wire("bus", name, [(x, self.bus), (x, 0)], color=palette.INK, penwidth=1.3)
        end, top = f"after{j}", self.top - VECTOR[1] / 2
        if self.projected:
            end, top = "projection", self.mixed - 15
        self.canvas.wire(name, end, [(x, self.tall), (x, top)], color=self.colour, penwidth=1.5)

    def _projection(self, left, right):
        """Draw the projection of all units' outputs to h as a bar; return the places of h."""
        self.mixed = self.box[3] + 46
        row = _row(shown(self.P), self.vector + GAP)
        row = _shifted(row, self.middle - row[-1].x / 2)
        label = f"W_hr {self.P:,} × {self.H:,}: {self.now} = W_hr {self.output}"
        long = row[-1].x - row[0].x + self.vector
        wide = max(right - left, long, notation.width(label, 10) * 1.1 + 24)
        fill, border = palette.LAYERS["Linear"]
        tip = f"W_hr ({self.P}, {self.H}), no bias: "
        tip += f"each number of {self.first} is a sum over all units"
        look = dict(style="rounded,filled", fill=fill, color=border, fontsize=10, penwidth=1.2)
        at = (self.middle, self.mixed)
        self.canvas.node("projection", at, (wide, 30), label, tip=tip, **look)
        at, note = (self.places[0].x - 8, self.box[3] + 16), "one number from each unit"
        self.canvas.text(at, f"{self.output}: {note}", 9, self.colour, anchor="end")
        for p in row:
            if p.index is not None:
                up = [(p.x, self.mixed + 15), (p.x, self.top - VECTOR[1] / 2)]
                look = dict(color=self.colour, penwidth=1.5)
                self.canvas.wire("projection", f"after{p.index}", up, **look)
        return row

    def _back(self):
        """Draw the wire of h, as a whole, to the next step."""
        if not self.cell.h_gates:
            return
        last, first = f"after{self.P - 1}", f"before{self.P - 1}"
        start, end = self.canvas.box[last][2], self.canvas.box[first][2]
        right = max(self.box[2], start, end) + 26
        points = [(start, self.top), (right, self.top), (right, self.low), (end, self.low)]
        self.canvas.wire(last, first, points, color=self.colour, style="dashed", penwidth=1.8)
        whose = "" if self.projected or self.H == 1 else " of all units"
        when = "next" if self.way.step > 0 else "previous"
        note = f"{self.now}{whose}\nis {self.before} at the\n{when} step"
        at = (right + 10, (self.top + self.low) / 2)
        self.canvas.text(at, note, 9, self.colour, anchor="start")

    # The layer as one box

    def _folded(self):
        """Draw the layer as one box, left of the open one."""
        name, size, y = describe.kind(self.way.layer), 14, self.tall / 2
        if own := describe.name(self.way):
            name, size = f"{name}\n{own}", 11
        fill, border = palette.LAYERS["recurrent"]
        wide = max(74, notation.width(name, size) + 26)
        x = self.box[0] - max(190, wide / 2 + self._loops_room() + 70)
        x = min(x, self.canvas.extent[0] - 42)  # left of a long row of inputs
        look = dict(style="rounded,filled", fill=fill, color=border, penwidth=1.8, fontsize=size)
        tip = f"all {notation.count(self.H, 'unit')}"
        half = max(30, 9 + 7 * len(self.cell.states))  # the loops of all states leave its side
        self.canvas.node("folded", (x, y), (wide, 2 * half), name, tip=tip, **look)
        self._folded_end("folded:x", "x", (x, self.low), palette.X_GROUP)
        points = [(x, self.low + 17), (x, y - half)]
        self.canvas.wire("folded:x", "folded", points, penwidth=1.6, color=palette.INK)
        self._beside(points, f"({self.D:,},)")
        self._folded_end("folded:h", self.first, (x, self.top), (palette.H_GROUP[0], self.colour))
        points = [(x, y + half), (x, self.top - 17)]
        self.canvas.wire("folded", "folded:h", points, penwidth=1.6, color=self.colour)
        self._beside(points, f"({self.P:,},)")
        self._folded_loops(x, y, wide)
        self.canvas.text((self.box[0] - 46, y), "=", 26, palette.MUTED)

    def _folded_end(self, name, letter, at, colours):
        fill, border = colours
        look = dict(shape="circle", fill=fill, color=border, penwidth=1.4, fontsize=12)
        self.canvas.node(name, at, (34, 34), notation.sub(letter, "t"), **look)

    def _beside(self, points, label):
        (x, y0), (_, y1) = points
        self.canvas.text((x + 8, (y0 + y1) / 2), label, 9, anchor="start")

    def _folded_loops(self, x, y, wide):
        """Draw a loop for each state."""
        side, states = self.way.step, self.cell.states
        edge = x + side * wide / 2
        for k, s in enumerate(states):
            out, half = x + side * (wide / 2 + 20 + 13 * k), 9 + 7 * k
            points = [(edge, y + half), (out, y + half), (out, y - half), (edge, y - half)]
            look = dict(radius=6, color=palette.state(s, k), penwidth=1.6)
            tip = f"{s} of step t goes to step {self.way.ahead}"
            self.canvas.wire("folded", "folded", points, tip=tip, **look)
        out = x + side * (wide / 2 + 20 + 13 * (len(states) - 1) + 8)
        self.canvas.text((out, y), self._carried(), 9, anchor="start" if side > 0 else "end")

    def _carried(self):
        """Return the names of the states that the layer hands on."""
        return ", ".join(notation.sub(s, "t") for s in self.cell.states)

    def _loops_room(self):
        """Return the room that the loops of the states and their names take on the right."""
        if self.way.step < 0:
            return 0
        return 28 + 13 * (len(self.cell.states) - 1) + notation.width(self._carried(), 9) * 1.12

    # Text

    def _text(self):
        top = self.top + 62
        if self.folded:
            at = (self.canvas.centre("folded")[0], top)
            self.canvas.text(at, "Drawn as one box", 12, palette.INK)
            many = f"{self.H:,} units side by side" if self.H > 1 else "its only unit"
            title = f"The same box opened: {many}{self.way.suffix}"
            title = adapt.heading(title)
            self.canvas.text(((self.box[0] + self.box[2]) / 2, top), title, 12, palette.INK)
        bottom = self.canvas.extent[1] - 22
        lines = self._lines()
        colours = {f"{s}:": palette.state(s, k) for k, s in enumerate(self.cell.states)}
        for k, line in enumerate(lines):
            colour = colours.get(line.partition(" ")[0], palette.MUTED)
            self.canvas.text((self.box[0], bottom - 15 * k), line, 10, colour, anchor="start")
        if self.step:
            self._keys(bottom - 15 * len(lines) - 12)

    def _lines(self):
        """Return the lines below the picture; those that begin with a state have its colour."""
        biases = describe.convention(self.cell)
        if self.cell.biases == 2:
            one = describe.one_bias(self.way)
            biases = f"two biases, as in PyTorch; with one bias per Σ: {one:,}"
        lines = [f"{describe.layer_summary(self.way.layer)} ({biases})"]
        for s in self.kept:
            if s in self.units.looping:
                own = "private to each unit, goes to no other unit"
                if s == self.first:
                    own = f"in addition, each unit uses its own {s} directly"
                lines.append(f"{s}: {own}")
        lines += self._hidden_units()
        if self.D > ALL:
            lines.append(f"{self.D - len(shown(self.D)):,} of {self.D:,} inputs not drawn")
        return lines

    def _keys(self, y):
        x, t = self.box[0], self.step.t
        end = legend.signed(self.canvas, "x", (x, y), f"x at t = {t}", self.limits["x"])
        when = "before" if self.way.step > 0 else "after"
        for s in self.cell.states:
            x = max(x + 200, end + 20)
            label = f"{s} at t = {t} and one step {when}"
            end = legend.signed(self.canvas, s, (x, y), label, self.limits[s])
        note = "gates: the fuller the colour, the larger the value"
        self.canvas.text((max(x + 200, end + 20), y - 14), note, 9, anchor="start")


def _limit(name, arrays):
    """Return the limit of a scale for the finite values of arrays."""
    return adapt.limit(name, max(float(np.abs(a[np.isfinite(a)]).max(initial=0)) for a in arrays))


def _row(indices, pitch):
    """Return the places of a row, with room for "…" where numbers are elided."""
    places, at = [], 0.0
    for k, j in enumerate(indices):
        if k:
            at += pitch
            if j > indices[k - 1] + 1:
                places.append(Place(None, at - pitch / 2 + DOTS / 2))
                at += DOTS
        places.append(Place(j, at))
    return places


def _shifted(row, shift):
    return [p._replace(x=p.x + shift) for p in row]
