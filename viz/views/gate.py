"""One gate of a unit in detail: its dot products term by term, and the equations that follow."""

from __future__ import annotations

from typing import Any

import numpy as np

from recurrent import checks
from recurrent.equations.expressions import OPS, Expr

from ..draw import adapt, dot, legend, notation, palette
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing
from ..reading import describe, evaluate, gates, nodes, unit_values
from ..reading.direction import Direction
from ..reading.dot_product import dot_product
from ..reading.folding import KIND, folded
from ..reading.wiring import ACTIVATIONS, cell_wiring

ROW, WIDE, BAR = 21, 384, 60
PLOT = (170, 96)
FUNCTIONS = {  # each with the range of its values; None is the greatest input
    "sigmoid": (lambda v: 1 / (1 + np.exp(-v)), 0.0, 1.0),
    "tanh": (np.tanh, -1.0, 1.0),
    "relu": (lambda v: np.maximum(v, 0), 0.0, None),
}


def gate(
    way: Direction, j: int, name: str, recording: Any, t: int | None, n: int, k: int | None
) -> Drawing:
    """Draw a gate of unit j, as `viz.unit(..., gate=name)` does.

    Raises ValueError for a gate that the cell does not have, and for a padded step.
    """
    if not isinstance(name, str) or name not in way.cell.gates:
        gates = ", ".join(way.cell.gates)
        raise ValueError(
            f"gate must be one of {gates}, the gates of {way.layer!r}, got {checks.shown(name)}"
        )
    unit = None if recording is None else unit_values.read_unit(recording, way, j, t, n)
    if unit and unit.padded:
        raise ValueError(f"t = {unit.t} is padding in sequence {n}: nothing is computed there")
    numbers = {}
    if unit and recording is not None:
        values = evaluate.forward(way, evaluate.step(recording, way, t, n))
        numbers = {key: float(a[j]) for key, a in values.items() if len(a) == way.hidden_size}
    return _Picture(way, j, name, unit, numbers, k).drawing()


class _Picture:
    """A table for each dot product, and beside them the equations that lead to the gate's value."""

    def __init__(self, way, j, gate, unit, numbers, k):
        self.way, self.j, self.gate, self.unit, self.numbers = way, j, gate, unit, numbers
        self.cell, self.graph = way.cell, folded(way.cell.graph())
        self.node, self.first = self.graph.values[gate], way.cell.states[0]
        self.title, self.colour = gates.look(way.cell, gate)
        self.names = evaluate.node_names(self.cell)
        inputs = {"x": unit.x, "h": unit.h} if unit else None
        neurons = [a for a in cell_wiring(way.cell).neurons if a.gate == gate]
        self.products = [dot_product(way, j, a, inputs, k) for a in neurons]
        rows = [r for p in self.products for r in p.terms]
        self.limit = adapt.limit("w", _largest(abs(r.weight) for r in rows if r.index is not None))
        bars = [b for p in self.products for b in p.biases.values()]
        bars += [r.weight if r.term is None else r.term for r in rows if r.index is not None]
        bars += [r.term for r in rows if r.index is None and r.term is not None]
        self.longest = adapt.shared("bars", _largest(map(abs, bars), 1.0)) or 1.0
        self.limits = {}
        if unit:
            sizes = {"x": unit.sizes["x"], "h": unit.sizes[way.cell.states[0]]}
            sizes = {g: v for g, v in sizes.items() if any(r.group == g for r in rows)}
            self.limits = {g: adapt.limit(g, v) for g, v in sizes.items()}
        self.canvas = Canvas()

    def drawing(self):
        text = []
        for k, p in enumerate(self.products):
            self._table(p, k * (WIDE + 26))
            text.append(self._sentence(p))
        self._equations(len(self.products) * (WIDE + 26) + 20)
        _, bottom, _, top = self.canvas.extent
        left = -12
        alone = len(self.products) == 1
        plain = alone and len(self._steps()) == 1
        opened = "opened: a dot product, then an activation" if plain else "opened"
        kind = describe.kind(self.way.layer)
        title = f"{self.title} ({self.gate}) of {kind} unit {self.j}{describe.named(self.way)}"
        title += self.way.suffix
        when = "" if self.unit is None else f", t = {self.unit.t}"
        heading = f"{title}, {opened}{when}"
        heading = adapt.heading(heading)
        self.canvas.text((left, top + 16), heading, 12, palette.INK, anchor="start")
        self._keys(left, bottom - 20)
        text += [f"{a} = {b}" for a, b in self._steps()]
        title = f"{title} of {self.way!r}{when}"
        return Drawing.from_items(title, f"{'; '.join(text)}.", self.canvas.items)

    def _name(self, row):
        name = notation.sub(row.group if row.group == "x" else self.first, row.index)
        if row.group == "x":
            return adapt.label("inputs", row.index, self.way.input_size, name)
        if self.cell.has_projection:
            return name
        return adapt.label("units", row.index, self.way.hidden_size, name)

    def _group(self, group):
        """Return the name of the vector that a group of inputs belongs to."""
        return notation.sub("x", "t") if group == "x" else notation.sub(self.first, self.way.before)

    def _sum(self, p):
        """Return the name of a sum in the equations."""
        sides = {
            nodes.vector(side) for side, used in (("x", p.neuron.x), ("h", p.neuron.h)) if used
        }
        sums = (n.id for n in self.graph.nodes if n.kind == "sum" and n.label == self.gate)
        return self.names[next(k for k in sums if set(self._sources(k)) == sides)]

    def _sources(self, node):
        return [e.source for e in self.graph.inputs(node) if not e.delay]

    def _sentence(self, p):
        weights = notation.count(sum(r.count for r in p.terms), "weight")
        biases = f"{len(p.biases)} bias{'es' * (len(p.biases) != 1)}"
        total = "" if p.total is None else f" = {notation.plain(p.total)}"
        return f"{p.neuron.name}: {weights} + {biases}{total}"

    # The table of a dot product

    def _table(self, p, x):
        heads = [(30, "input"), (160, "weight")]
        if self.unit:
            heads = [(30, "input"), (92, "value"), (160, "weight"), (226, "weight × value")]
        for at, label in heads:
            self.canvas.text((x + at, 20), label, 8)
        y, axis = 0.0, x + WIDE - BAR - 4
        for row in p.terms:
            self._row(p, row, x, y, axis)
            y -= ROW
        for name, b in p.biases.items():
            self._bias(p, name, b, x, y, axis)
            y -= ROW
        self._axis(p, [(axis, ROW / 2 - 2), (axis, y + ROW / 2 + 2)])
        name = self._sum(p)
        label, tip = f"Σ   {name}", f"sum of the rows above, {name}"
        if p.total is not None:
            label += f" = {notation.signed(p.total)}"
            tip += f" = {notation.exact(p.total)}"
        look = dict(style="rounded,filled", fill=self.colour, color=palette.INK, penwidth=1.2)
        at, size = (x + WIDE / 2, y - 12), (WIDE - 8, 26)
        self.canvas.node(f"sum:{p.neuron.id}", at, size, label, **look, fontsize=11, tip=tip)
        box = (x - 12, y - 34, x + WIDE + 10, 52)
        title = f"{p.neuron.name}: Σ w x{' + b' if p.biases else ''}"
        self.canvas.group(f"product:{p.neuron.id}", box, title, 10, palette.UNIT)

    def _axis(self, p, points):
        """Draw the zero axis of the bars, behind all other items."""
        ends = self.canvas.anchors(f"axis:{p.neuron.id}", points)
        look: dict[str, Any] = dict(color=palette.LINE, penwidth=0.6)
        self.canvas.front.insert(0, dot.wire(*ends, points, arrow=False, **look))

    def _row(self, p, row, x, y, axis):
        if row.index is None:
            self._rest(p, row, x, y, axis)
            return
        name, id = self._name(row), f"{p.neuron.id}:{row.group}{row.index}"
        fill, ink = self._fill(row.value, row.group)
        border = (palette.X_GROUP if row.group == "x" else palette.H_GROUP)[1]
        label = notation.fit(name, 9, 68)
        wide = max(30, notation.width(label, 9) + 12)
        tip = name + ("" if row.value is None else f" = {notation.exact(row.value)}")
        look = dict(fill=fill, fontcolor=ink, shape="ellipse", fontsize=9, color=border, tip=tip)
        self.canvas.node(f"in:{id}", (x + 30, y), (wide, 17), label, **look)
        if row.value is not None:
            self.canvas.text((x + 92, y), notation.signed(row.value), 9)
            self.canvas.text((x + 124, y), "×", 9)
        what = f"weight of {name} into {p.neuron.name}"
        self._weight(f"w:{id}", (x + 160, y), row.weight, what)
        if row.term is not None:
            self._term(f"term:{id}", x, y, axis, row.term, f"{name} × weight")
        else:
            self._drawn_bar(f"bar:{id}", axis, y, row.weight)

    def _rest(self, p, row, x, y, axis):
        """Draw one box for all inputs of a group without a row of their own."""
        id, group = f"{p.neuron.id}:{row.group}more", self._group(row.group)
        label = f"{row.count:,} more inputs of {group}"
        if self.unit is None:
            label += f", ‖w‖ = {notation.plain(row.weight)}"
        norm = notation.exact(row.weight)
        tip = f"{row.count} inputs not drawn individually, norm of their weights = {norm}"
        look = dict(style="rounded,filled", fontsize=8, fill=palette.REST[0], color=palette.LINE)
        self.canvas.node(f"in:{id}", (x + 95, y), (176, 16), label, **look, penwidth=0.8, tip=tip)
        if row.term is not None:
            self._term(f"term:{id}", x, y, axis, row.term, "sum of their terms")

    def _bias(self, p, name, b, x, y, axis):
        id, (fill, border) = f"{p.neuron.id}:{name}", palette.TERMINAL
        tip = f"bias {name}"
        look = dict(style="rounded,filled", fontsize=9, fill=fill, color=border, tip=tip)
        self.canvas.node(f"in:{id}", (x + 38, y), (46, 17), name, **look)
        self._weight(f"w:{id}", (x + 160, y), b, f"bias {name} of {p.neuron.name}")
        if self.unit:
            self._term(f"term:{id}", x, y, axis, b, name)
        else:
            self._drawn_bar(f"bar:{id}", axis, y, b)

    def _weight(self, id, at, v, what):
        fill = palette.signed(v, self.limit)
        look = dict(fontcolor=palette.on(fill), fill=fill)
        look |= dict(
            color=palette.LINE, penwidth=0.6, fontsize=9, tip=f"{what} = {notation.exact(v)}"
        )
        self.canvas.node(id, at, (46, 17), notation.signed(v), **look)

    def _term(self, id, x, y, axis, v, what):
        self.canvas.text((x + 196, y), "=", 9)
        self.canvas.text((x + 226, y), notation.signed(v), 9, palette.INK)
        self._drawn_bar(id, axis, y, v, f"{what} = {notation.exact(v)}")

    def _drawn_bar(self, id, axis, y, v, tip=None):
        """Draw the bar of a term: right of the axis if positive, left of it if negative."""
        long = dot.whole(BAR * min(abs(v) / self.longest, 1.0) if np.isfinite(v) else BAR)
        side = 1 if v > 0 else -1
        colour = palette.SIGNED_LINE[-1 if v > 0 else 0]
        look: dict[str, Any] = dict(
            fill=colour, color=colour, penwidth=0, tip=tip or notation.exact(v)
        )
        self.canvas.node(id, (axis + side * long / 2, y), (long, 9), **look)

    def _fill(self, v, group):
        if v is None:
            return "#FFFFFF", palette.INK
        fill = palette.signed(v, self.limits[group])
        return fill, palette.on(fill)

    # From the sums to the gate's value

    def _steps(self):
        """Return pairs (name, formula with numbers) of the operations from the sums to the gate."""
        out = []
        ends = {k for g, k in self.graph.values.items() if k != self.node}
        wanted, stack = set(), [self.node]
        while stack:
            k = stack.pop()
            if k not in wanted and k not in ends and self.graph.node(k).kind in (*OPS, KIND):
                wanted.add(k)
                stack += self._sources(k)
        for node in (n for n in self.graph.nodes if n.id in wanted):
            if node.kind != KIND:
                name, text = self._step(node)
            else:
                name = self.names[node.id]
                text = notation.signed(self.numbers[node.id]) if self.numbers else ""
            if text:
                out.append((name, text))
        return out

    def _step(self, node):
        """Return the name of an operation, and its formula for the gate's own, with the numbers."""
        sources = self._sources(node.id)
        made = Expr(node.kind, *(Expr("input", name=s) for s in sources))
        inputs = [self.graph.node(s) for s in sources]
        constant = {n.id: n.label for n in inputs if n.kind == "const"}
        name, text = self.names[node.id], []
        if node.id == self.node:
            name = notation.sub(self.gate, "t")
            text.append(evaluate.spell(made, {s: constant.get(s, self.names[s]) for s in sources}))
        if self.numbers:
            several = len(sources) > 1 or node.kind == "neg"
            shown = {s: constant.get(s) or _number(self.numbers[s], several) for s in sources}
            text += [evaluate.spell(made, shown), notation.signed(self.numbers[node.id])]
        return name, " = ".join(dict.fromkeys(text))

    def _equations(self, x):
        """Draw the activation's curve with this neuron's point, and the equations in numbers."""
        top, lines = 30.0, [f"{name} = {text}" for name, text in self._steps()]
        wide = max([PLOT[0] + 64, *map(_line_width, lines)]) + 24
        box_top, y = top + 22, top - 14
        kind = self.graph.node(self.node).kind
        if kind in ACTIVATIONS:
            source = next((e.source for e in self.graph.inputs(self.node)), None)
            point = self.numbers.get(source), self.numbers.get(self.node)
            self._plot(kind, (x + 34, y - PLOT[1] - 6), *point)
            y -= PLOT[1] + 40
        look = dict(shape="plaintext", style="solid", fontsize=10, fontcolor=palette.INK)
        for k, line in enumerate(lines):
            self.canvas.node(f"step{k}", (x + wide / 2, y), (wide - 24, 16), dot.Left(line), **look)
            y -= 19
        if self.unit:
            v = self.unit.gates.get(self.gate, self.unit.states.get(self.gate))
            value = f"{notation.sub(self.gate, 't')} = {notation.plain(v)}"
            tip = f"{self.title}, value {notation.exact(v)}"
            look = dict(style="rounded,filled", fill=self.colour, color=palette.INK, penwidth=1.2)
            at, label = (x + wide / 2, y - 12), f"{value}, recorded by the engine"
            self.canvas.node("gate", at, (wide - 24, 26), label, **look, fontsize=11, tip=tip)
            y -= 36
        box, title = (x, y - 4, x + wide, box_top), "from the sum to the gate's value"
        self.canvas.group("after", box, title, 10, palette.OTHER_LAYER)

    def _plot(self, kind, corner, at, value):
        """Plot an activation function and, if there are values, mark this neuron's point on it."""
        function, low, high = FUNCTIONS[kind]
        reach = max(4.0, 1.15 * abs(at)) if at is not None and np.isfinite(at) else 4.0
        high = reach if high is None else high
        x0, y0 = corner

        def place(a, v):
            x = x0 + (a + reach) / (2 * reach) * PLOT[0]
            return x, y0 + (v - low) / (high - low) * PLOT[1]

        grey, curve = "#CBD5E1", np.linspace(-reach, reach, 41)
        lines = [
            ("low", [place(-reach, low), place(reach, low)], grey),
            ("high", [place(-reach, high), place(reach, high)], grey),
            ("zero", [place(0, low), place(0, high)], grey),
            ("curve", [place(a, float(function(a))) for a in curve], palette.INK),
        ]
        for name, points, colour in lines:
            ends = self.canvas.anchors(f"plot:{name}", points)
            wide = 1.6 if name == "curve" else 0.7
            self.canvas.add(dot.polyline(*ends, points, color=colour, penwidth=wide))
        for v in (low, high):
            self.canvas.text((x0 - 6, place(0, v)[1]), notation.plain(v), 9, anchor="end")
        for a in (-reach, 0, reach):
            self.canvas.text((place(a, low)[0], y0 - 12), notation.plain(a), 9)
        at_top = (x0 + PLOT[0] + 14, y0 + PLOT[1] - 4)
        self.canvas.text(at_top, notation.operation(kind), 10, palette.INK, anchor="start")
        if at is not None and np.isfinite(at) and np.isfinite(value):
            tip = f"{notation.operation(kind)} of {notation.exact(at)} = {notation.exact(value)}"
            look: dict[str, Any] = dict(
                shape="circle", fill=self.colour, color=palette.INK, penwidth=1.2, tip=tip
            )
            self.canvas.node("plot:point", place(at, value), (9, 9), **look)

    def _keys(self, x, y):
        keys = [("w", "weights", self.limit)]
        keys += [(g, f"fill: {self._group(g)}", limit) for g, limit in self.limits.items()]
        for k, (name, label, limit) in enumerate(keys):
            legend.signed(self.canvas, name, (x + 200 * k, y), label, limit)
        rest = sum(r.count for p in self.products for r in p.terms if r.index is None)
        if rest:
            by = "weight × value" if self.unit else "weight"
            note = f"{notation.count(rest, 'input')} not drawn individually"
            note += f", those with the smallest |{by}|"
            note += "; one row is their sum" if self.unit else ""
            self.canvas.text((x, y - 44), note, 9, anchor="start")


def _largest(numbers, default: float = 0):
    """Return the largest finite number."""
    return max((v for v in numbers if np.isfinite(v)), default=default)


def _line_width(line):
    """Return the room for a line: Graphviz shifts it for each byte that is not ASCII."""
    return notation.width(line, 10) * 1.12 + 5 * sum(c > "~" for c in line)


def _number(v, bracketed):
    text = notation.signed(v).removeprefix("+")
    return f"({text})" if bracketed and text.startswith("−") else text
