"""One gate neuron opened: inputs times weights, their sum, the biases, and what the equations make of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from recurrent.equations.expressions import OPS, Expr

from ..draw import dot, legend, notation, palette
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing
from ..reading import describe, evaluate, unit_values
from ..reading.direction import Direction
from ..reading.folding import KIND, folded
from ..reading.wiring import ACTIVATIONS, Neuron, cell_wiring

ALL, KEPT = 32, 24  # up to ALL inputs each has a row, beyond that the KEPT that count most
ROW, WIDE, BAR = 21, 384, 60
PLOT = (170, 96)


class Term(NamedTuple):
    """A row of the sum: weight times value; `index` None for the rest of a group. Without a recording value is None."""

    group: str
    index: int | None
    count: int
    weight: float
    value: float | None
    term: float | None


class Product(NamedTuple):
    """One dot product: its rows, its biases by name, and the pre-activation that they add up to (None without values)."""

    neuron: Neuron
    terms: list[Term]
    biases: dict[str, float]
    total: float | None


def product(
    way: Direction,
    j: int,
    neuron: Neuron,
    inputs: dict[str, np.ndarray] | None,
    k: int | None = None,
) -> Product:
    """The dot product of a neuron of unit j in float64; `inputs` "x" (D,) and "h" (H,). `k` rows, those that count most."""
    cell, H, params = way.cell, way.hidden_size, way.params
    weights = {g: np.asarray(w, np.float64) for g, w in describe.weights(way, neuron, j).items()}
    terms = {
        g: w if inputs is None else w * np.asarray(inputs[g], np.float64)
        for g, w in weights.items()
    }
    ranked = sorted((-abs(v), g, i) for g, a in terms.items() for i, v in enumerate(a))
    most = (ALL if len(ranked) <= ALL else KEPT) if k is None else k
    chosen, rows = {(g, i) for _, g, i in ranked[:most]}, []
    for g, w in weights.items():
        for i in (i for i in range(len(w)) if (g, i) in chosen):
            v, t = (None, None) if inputs is None else (float(inputs[g][i]), float(terms[g][i]))
            rows.append(Term(g, i, 1, float(w[i]), v, t))
        rest = [i for i in range(len(w)) if (g, i) not in chosen]
        if rest:
            t = None if inputs is None else float(terms[g][rest].sum())
            rows.append(Term(g, None, len(rest), float(np.linalg.norm(w[rest])), None, t))
    sides = (("b_ih", "x", cell.x_gates), ("b_hh", "h", cell.h_gates))
    biases = {
        b: float(getattr(params, b)[gates.index(neuron.gate) * H + j])
        for b, g, gates in sides
        if g in weights and hasattr(params, b)
    }
    total = (
        None
        if inputs is None
        else float(sum(a.sum() for a in terms.values()) + sum(biases.values()))
    )
    return Product(neuron, rows, biases, total)


def neuron(
    way: Direction, j: int, gate: str, recording: Any, t: int | None, n: int, k: int | None
) -> Drawing:
    """The picture of `viz.unit(..., gate=)`. Raises ValueError for a gate that the cell has not, or a blank step."""
    if gate not in way.cell.gates:
        raise ValueError(
            f"gate must be one of {', '.join(way.cell.gates)}, the gates of {way.layer!r}, got {gate!r}"
        )
    seen = None if recording is None else unit_values.read_unit(recording, way, j, t, n)
    if seen and seen.blank:
        raise ValueError(f"t = {seen.t} is a blank of sequence {n}: nothing is computed there")
    numbers = {} if seen is None else evaluate.forward(way, evaluate.step(recording, way, t, n))
    own = {key: float(a[j]) for key, a in numbers.items() if len(a) == way.hidden_size}
    return _Picture(way, j, gate, seen, own, k).drawing()


class _Picture:
    def __init__(self, way, j, gate, seen, numbers, k):
        self.way, self.j, self.gate, self.seen, self.numbers = way, j, gate, seen, numbers
        self.cell, self.graph = way.cell, folded(way.cell.graph())
        self.node, self.first = self.graph.values[gate], way.cell.states[0]
        self.title, self.colour = palette.gate(gate, way.cell.gates)
        inputs = {"x": seen.x, "h": seen.h} if seen else None
        neurons = [a for a in cell_wiring(way.cell).neurons if a.gate == gate]
        self.products = [product(way, j, a, inputs, k) for a in neurons]
        sizes = [abs(r.weight) for p in self.products for r in p.terms if r.index is not None]
        self.limit = palette.nice(max((v for v in sizes if np.isfinite(v)), default=0))
        numbers = [b for p in self.products for b in p.biases.values()]
        numbers += [
            r.weight if r.term is None else r.term
            for p in self.products
            for r in p.terms
            if r.index is not None
        ]
        numbers += [
            r.term for p in self.products for r in p.terms if r.index is None and r.term is not None
        ]
        self.longest = max((abs(v) for v in numbers if np.isfinite(v)), default=1.0) or 1.0
        self.limits = (
            {"x": palette.nice(seen.largest_input), "h": palette.nice(seen.largest_state)}
            if seen
            else {}
        )
        self.canvas = Canvas()

    def drawing(self):
        kind, said = describe.kind(self.way.layer), []
        for k, p in enumerate(self.products):
            self._table(p, k * (WIDE + 26))
            said.append(self._sentence(p))
        right = len(self.products) * (WIDE + 26) + 20
        self._equations(right)
        left, bottom, top = (
            -12,
            min(i.box[1] for i in self.canvas.items),
            max(i.box[3] for i in self.canvas.items),
        )
        opened = (
            "opened: a dot product, then an activation" if len(self.products) == 1 else "opened"
        )
        title = f"{self.title} ({self.gate}) of {kind} unit {self.j}{self.way.suffix}"
        when = "" if self.seen is None else f", t = {self.seen.t}"
        self.canvas.add(
            dot.text((left, top + 16), f"{title}, {opened}{when}", 12, palette.INK, anchor="start")
        )
        self._keys(left, bottom - 20)
        said += [f"{a} = {b}" for a, b in self._steps()]
        return Drawing.from_items(
            f"{title} of {self.way!r}{when}", f"{'; '.join(said)}.", self.canvas.items
        )

    def _name(self, row):
        return notation.sub(row.group if row.group == "x" else self.first, row.index)

    def _sum(self, p):
        """What the equations call this sum."""
        sides = {f"vector:{side}" for side, used in (("x", p.neuron.x), ("h", p.neuron.h)) if used}
        sums = (n.id for n in self.graph.nodes if n.kind == "sum" and n.label == self.gate)
        found = next(k for k in sums if {e.source for e in self.graph.inputs(k)} == sides)
        return evaluate.names(self.cell)[found]

    def _sentence(self, p):
        count = sum(r.count for r in p.terms)
        total = "" if p.total is None else f" = {notation.plain(p.total)}"
        return f"{p.neuron.name}: {notation.count(count, 'weight')} + {len(p.biases)} bias{'es' * (len(p.biases) != 1)}{total}"

    def _table(self, p, x):
        y = 0.0
        heads = (
            [(30, "input"), (92, "value"), (160, "weight"), (226, "weight × value")]
            if self.seen
            else [(30, "input"), (160, "weight")]
        )
        for at, label in heads:
            self.canvas.add(dot.text((x + at, y + 20), label, 8))
        axis = x + WIDE - BAR - 4
        for draw, row in [(self._row, term) for term in p.terms] + [
            (self._bias, bias) for bias in p.biases.items()
        ]:
            draw(p, row, x, y, axis)
            y -= ROW
        ends = [(axis, ROW / 2 - 2), (axis, y + ROW / 2 + 2)]
        for k, at in enumerate(ends):
            self.canvas.add(dot.anchor(f"axis:{p.neuron.id}{k}", at))
        self.canvas.front.insert(
            0,
            dot.wire(
                f"axis:{p.neuron.id}0",
                f"axis:{p.neuron.id}1",
                ends,
                arrow=False,
                color=palette.LINE,
                penwidth=0.6,
            ),
        )
        name = self._sum(p)
        label = f"Σ   {name}" if p.total is None else f"Σ   {name} = {notation.signed(p.total)}"
        tip = f"sum of the rows above, {name}" + (
            "" if p.total is None else f" = {notation.exact(p.total)}"
        )
        look = {
            "style": "rounded,filled",
            "fill": self.colour,
            "color": palette.INK,
            "penwidth": 1.2,
            "fontsize": 11,
            "tip": tip,
        }
        self.canvas.node(
            f"sum:{p.neuron.id}", (x + WIDE / 2, y - 12), (WIDE - 8, 26), label, **look
        )
        fill, border = palette.UNIT
        box = (x - 12, y - 34, x + WIDE + 10, 52)
        title = f"{p.neuron.name}: Σ w x{' + b' if p.biases else ''}"
        self.canvas.group(f"product:{p.neuron.id}", box, title, 10, (fill, border))

    def _row(self, p, row, x, y, axis):
        name, key = (
            ("", f"{row.group}more")
            if row.index is None
            else (self._name(row), f"{row.group}{row.index}")
        )
        id = f"{p.neuron.id}:{key}"
        if row.index is None:
            group = (
                notation.sub("x", "t")
                if row.group == "x"
                else notation.sub(self.first, self.way.before)
            )
            label = f"{row.count:,} more inputs of {group}"
            tip = f"{row.count} inputs not drawn one by one, norm of their weights = {notation.exact(row.weight)}"
            look = {
                "style": "rounded,filled",
                "fontsize": 8,
                "fill": palette.REST[0],
                "color": palette.LINE,
                "penwidth": 0.8,
            }
            label += f", ‖w‖ = {notation.plain(row.weight)}" if self.seen is None else ""
            self.canvas.node(f"in:{id}", (x + 95, y), (176, 16), label, tip=tip, **look)
        else:
            fill, ink = self._fill(row.value, row.group)
            group = palette.X_GROUP if row.group == "x" else palette.H_GROUP
            wide = max(30, notation.width(name, 9) + 12)
            tip = name + ("" if row.value is None else f" = {notation.exact(row.value)}")
            look = {"shape": "ellipse", "fontsize": 9, "color": group[1], "tip": tip}
            self.canvas.node(
                f"in:{id}", (x + 30, y), (wide, 17), name, fill=fill, fontcolor=ink, **look
            )
            if row.value is not None:
                self.canvas.add(dot.text((x + 92, y), notation.signed(row.value), 9))
                self.canvas.add(dot.text((x + 124, y), "×", 9))
            self._weight(
                f"w:{id}", (x + 160, y), row.weight, f"weight of {name} into {p.neuron.name}"
            )
        if row.term is not None:
            self.canvas.add(dot.text((x + 196, y), "=", 9))
            self._term(f"term:{id}", x, y, axis, row.term, f"{name or 'their'} × weight")
        elif row.index is not None:
            self._drawn_bar(f"bar:{id}", axis, y, row.weight)

    def _bias(self, p, row, x, y, axis):
        name, b = row
        id = f"{p.neuron.id}:{name}"
        look = {
            "style": "rounded,filled",
            "fontsize": 9,
            "fill": palette.TERMINAL[0],
            "color": palette.TERMINAL[1],
        }
        self.canvas.node(
            f"in:{id}", (x + 38, y), (46, 17), name, tip=f"bias {name}, added as it is", **look
        )
        self._weight(f"w:{id}", (x + 160, y), b, f"bias {name} of {p.neuron.name}")
        if self.seen:
            self.canvas.add(dot.text((x + 196, y), "=", 9))
            self._term(f"term:{id}", x, y, axis, b, name)
        else:
            self._drawn_bar(f"bar:{id}", axis, y, b)

    def _weight(self, id, at, v, what):
        look = {
            "fill": palette.signed(v, self.limit),
            "color": palette.LINE,
            "penwidth": 0.6,
            "fontsize": 9,
        }
        self.canvas.node(
            id,
            at,
            (46, 17),
            notation.signed(v),
            fontcolor=palette.on(v, self.limit),
            tip=f"{what} = {notation.exact(v)}",
            **look,
        )

    def _term(self, id, x, y, axis, v, what):
        self.canvas.add(dot.text((x + 226, y), notation.signed(v), 9, palette.INK))
        self._drawn_bar(id, axis, y, v, f"{what} = {notation.exact(v)}")

    def _drawn_bar(self, id, axis, y, v, tip=None):
        """From the axis to the right for what adds, to the left for what takes away."""
        long = BAR * min(abs(v) / self.longest, 1.0) if np.isfinite(v) else BAR
        long = dot.whole(long)
        side = 1 if v > 0 else -1
        colour = palette.SIGNED_LINE[-1 if v > 0 else 0]
        self.canvas.node(
            id,
            (axis + side * long / 2, y),
            (long, 9),
            fill=colour,
            color=colour,
            penwidth=0,
            tip=tip or notation.exact(v),
        )

    def _fill(self, v, group):
        if v is None:
            return "#FFFFFF", palette.INK
        return palette.signed(v, self.limits[group]), palette.on(v, self.limits[group])

    # What becomes of the sums

    def _steps(self):
        """(what, how it is made of names, and of numbers) of each operation between the sums and the gate's value."""
        names, out = evaluate.names(self.cell), []
        ends = {k for g, k in self.graph.values.items() if k != self.node}
        wanted, stack = set(), [self.node]
        while stack:
            k = stack.pop()
            if k not in wanted and k not in ends and self.graph.node(k).kind in (*OPS, KIND):
                wanted.add(k)
                stack += [e.source for e in self.graph.inputs(k) if not e.delay]
        for node in (n for n in self.graph.nodes if n.id in wanted):
            if node.kind == KIND:
                out += (
                    [(names[node.id], notation.signed(self.numbers[node.id]))]
                    if self.numbers
                    else []
                )
                continue
            sources = [e.source for e in self.graph.inputs(node.id) if not e.delay]
            made = Expr(node.kind, *(Expr("input", name=s) for s in sources))
            constant = {
                s: self.graph.node(s).label for s in sources if self.graph.node(s).kind == "const"
            }
            name = notation.sub(self.gate, "t") if node.id == self.node else names[node.id]
            said = (
                evaluate.spell(made, {s: constant.get(s, names[s]) for s in sources})
                if node.id == self.node
                else ""
            )
            if self.numbers:
                shown = {
                    s: constant.get(s) or _number(self.numbers[s], len(sources) > 1)
                    for s in sources
                }
                said += f"{' = ' if said else ''}{evaluate.spell(made, shown)} = {notation.signed(self.numbers[node.id])}"
            if said:
                out.append((name, said))
        return out

    def _equations(self, x):
        """The activation as a curve with the point where this neuron is, and the way from the sums to it in numbers."""
        top, steps = 30.0, self._steps()
        lines = [f"{name} = {said}" for name, said in steps]
        # Graphviz takes every byte that is not ASCII for a space when it looks for the left end of a line.
        wide = (
            max(
                [
                    PLOT[0] + 64,
                    *(
                        notation.width(line, 10) * 1.12 + 5 * sum(c > "~" for c in line)
                        for line in lines
                    ),
                ]
            )
            + 24
        )
        box_top, y = top + 22, top - 14
        source = next((e.source for e in self.graph.inputs(self.node)), None)
        kind = self.graph.node(self.node).kind
        if kind in ACTIVATIONS:
            self._plot(
                kind,
                (x + 34, y - PLOT[1] - 6),
                self.numbers.get(source),
                self.numbers.get(self.node),
            )
            y -= PLOT[1] + 40
        look = {"shape": "plaintext", "style": "solid", "fontsize": 10, "fontcolor": palette.INK}
        for k, line in enumerate(lines):
            self.canvas.node(f"step{k}", (x + wide / 2, y), (wide - 24, 16), dot.Left(line), **look)
            y -= 19
        if self.seen:
            v = self.seen.gates.get(self.gate, self.seen.states.get(self.gate))
            look = {
                "style": "rounded,filled",
                "fill": self.colour,
                "color": palette.INK,
                "penwidth": 1.2,
                "fontsize": 11,
            }
            label = (
                f"{notation.sub(self.gate, 't')} = {notation.plain(v)}, as the engine recorded it"
            )
            self.canvas.node(
                "gate",
                (x + wide / 2, y - 12),
                (wide - 24, 26),
                label,
                tip=f"{self.title}, value {notation.exact(v)}",
                **look,
            )
            y -= 36
        self.canvas.group(
            "after",
            (x, y - 4, x + wide, box_top),
            "what the equations make of it",
            10,
            palette.OTHER_LAYER,
        )

    def _plot(self, kind, corner, at, value):
        f = {
            "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
            "tanh": np.tanh,
            "relu": lambda v: np.maximum(v, 0),
        }[kind]
        reach = max(4.0, 1.15 * abs(at)) if at is not None and np.isfinite(at) else 4.0
        low, high = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, reach)}[kind]
        x0, y0 = corner

        def place(a, v):
            x = x0 + (a + reach) / (2 * reach) * PLOT[0]
            return x, y0 + (v - low) / (high - low) * PLOT[1]

        lines = [
            ("low", [place(-reach, low), place(reach, low)], "#CBD5E1"),
            ("high", [place(-reach, high), place(reach, high)], "#CBD5E1"),
        ]
        lines += [("zero", [place(0, low), place(0, high)], "#CBD5E1")]
        lines += [
            ("curve", [place(a, float(f(a))) for a in np.linspace(-reach, reach, 41)], palette.INK)
        ]
        for name, points, colour in lines:
            for k, p in enumerate((points[0], points[-1])):
                self.canvas.add(dot.anchor(f"plot:{name}{k}", p))
            wide = 1.6 if name == "curve" else 0.7
            self.canvas.add(
                dot.polyline(f"plot:{name}0", f"plot:{name}1", points, color=colour, penwidth=wide)
            )
        for v in (low, high):
            self.canvas.add(
                dot.text((x0 - 6, place(0, v)[1]), f"{v:.3g}".replace("-", "−"), 8, anchor="end")
            )
        for a in (-reach, 0, reach):
            self.canvas.add(dot.text((place(a, low)[0], y0 - 10), f"{a:.3g}".replace("-", "−"), 8))
        self.canvas.add(
            dot.text(
                (x0 + PLOT[0] + 14, y0 + PLOT[1] - 4),
                notation.operation(kind),
                10,
                palette.INK,
                anchor="start",
            )
        )
        if at is not None and np.isfinite(at) and np.isfinite(value):
            look = {"shape": "circle", "fill": self.colour, "color": palette.INK, "penwidth": 1.2}
            tip = f"{notation.operation(kind)} of {notation.exact(at)} = {notation.exact(value)}"
            self.canvas.node("plot:point", place(at, value), (9, 9), tip=tip, **look)

    def _keys(self, x, y):
        shown = [("w", "weights", self.limit)]
        shown += [
            (
                g,
                f"fill of {notation.sub(g if g == 'x' else self.first, 't' if g == 'x' else self.way.before)}",
                v,
            )
            for g, v in self.limits.items()
        ]
        for k, (name, label, limit) in enumerate(shown):
            legend.signed(self.canvas, name, (x + 200 * k, y), label, limit)
        rest = sum(r.count for p in self.products for r in p.terms if r.index is None)
        if rest:
            by = "weight × value" if self.seen else "weight"
            note = f"{notation.count(rest, 'input')} not drawn one by one: those of least |{by}|; their sum is in their row"
            self.canvas.add(
                dot.text(
                    (x, y - 44), note if self.seen else note.partition(";")[0], 9, anchor="start"
                )
            )


def _number(v, bracketed):
    text = notation.signed(v).removeprefix("+")
    return f"({text})" if bracketed and text.startswith("−") else text
