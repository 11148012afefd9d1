"""The inside of one unit: gate neurons, operations and states, laid out from the cell's wiring."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from ...draw import notation, palette
from ...draw.canvas import Canvas
from ...layout.channels import MARKED, TRACK, Routes
from ...layout.layered import layout
from ...reading import nodes
from ...reading.direction import Direction
from ...reading.evaluate import node_names
from ...reading.unit_values import UnitValues
from ...reading.wiring import Wiring

NEURON, OPERATION, STATE, GATE, PARAMETER = (66, 42), 22, 36, (52, 34), (58, 18)
CHOICE = 44  # height of an operation with three operands
COLUMN_GAP, LABEL = 40, 15
# Heights that include the labels above and below.
NEURON_SLOT, SLOT, SLOT_GAP = NEURON[1] + LABEL + 18, 50, 14


class Inside:
    """Puts the nodes of a unit on a canvas; `box` is their region, `top` is where loops begin."""

    def __init__(self, canvas: Canvas, wiring: Wiring, loop_rows: int, way: Direction):
        self.canvas, self.wiring, self.way = canvas, wiring, way
        self.gates = {o.id for o in wiring.operations if o.gate}
        self.boxes = {o.id for o in wiring.operations if o.dense or o.fold}
        size = {a.id: NEURON for a in wiring.neurons} | dict.fromkeys(wiring.parameters, PARAMETER)
        for o in wiring.operations:
            wide = max(OPERATION, notation.width(o.label, 11) + 14)
            size[o.id] = GATE if o.gate else (wide, CHOICE if len(o.marks) > 2 else OPERATION)
        self.marks = {o.id: _marks(wiring, o) for o in wiring.operations if o.marks}
        size |= {nodes.new(s): (STATE, STATE) for s in wiring.states}
        self._arrange(size)
        boxes = [canvas.box[k] for k in size]
        self.top = max(b[3] for b in boxes) + LABEL
        bottom, right = min(b[1] for b in boxes) - 30, max(b[2] for b in boxes) + 26
        self.box = (-24, bottom, right, self.top + 34 + 22 * loop_rows)

    def _arrange(self, size):
        wiring = self.wiring
        heights = dict.fromkeys(size, SLOT) | {a.id: NEURON_SLOT for a in wiring.neurons}
        heights |= {k: SLOT + MARKED * (len(m) - 1) for k, m in self.marks.items()}
        sources = [a.id for a in wiring.neurons] + wiring.parameters
        rest = _after_inputs([k for k in size if k not in sources], wiring.wires)
        looped = {b for _, b in wiring.loops}
        self.plan = layout(sources, rest, wiring.wires, heights, looped, SLOT_GAP)
        self.level = {k: c for c, column in enumerate(self.plan.columns) for k in column}
        self.routes = Routes(self.plan, self.level, size, wiring.loops, self.gates, set(self.marks))
        self.columns = []  # (left, right) of each
        left = 0.0
        for c, column in enumerate(self.plan.columns):
            left += self.routes.extra(c)
            wide = max((size[k][0] for k in column if k in size), default=0)
            self.columns.append((left, left + wide))
            for k in set(column) & set(size):
                x, y, (w, h) = left + wide / 2, self.plan.y[k], size[k]
                self.canvas.box[k] = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
            left += wide + COLUMN_GAP

    def draw(
        self, unit: UnitValues | None, own: dict[str, float], counts: dict[str, int], fill: Any
    ) -> None:
        """Draw the unit.

        `own` are the values of its own parameters, `counts` the number of weights of each neuron,
        and `fill(state, v)` returns the colours of a state.
        """
        w = self.wiring
        for a in w.neurons:
            v = unit.gates[a.value] if unit and a.value and a.value not in w.states else None
            title = a.name if len(w.neurons) > 1 else ""
            tip = f"{a.name}: {notation.count(counts[a.id], 'weight')}"
            self._gate(a.id, NEURON, a.label, title, a.colour, v, tip)
        for p in w.parameters:
            self._parameter(p, own, unit)
        for o in w.operations:
            if o.gate:
                v = unit.gates[o.gate] if unit else None
                self._gate(o.id, GATE, o.label, o.name, o.colour, v, o.name)
            else:
                self._operation(o)
        for k, s in enumerate(w.states):
            v = unit.states[s] if unit else None
            self._state(k, s, v, *fill(s, v))
        for a, b in self.plan.path:
            points = self._points(a, b)
            self.canvas.wire(a, b, points, radius=5)
            self._mark(a, b, points)
        self._loops(unit)

    def _mark(self, a, b, points):
        """Write what a wire is to an operation whose operands have an order."""
        mark = self.marks.get(b, {}).get(a)
        if mark is None:
            return
        (_, py), (x, y) = points[-2:]
        half = notation.width(mark, 7.5) / 2
        at = (
            (x - 7 - half, y + 8.5)
            if abs(y - py) < 0.5
            else (x + 6 + half, y + (12 if py > y else -12))
        )
        self.canvas.text(at, mark, 7.5, palette.INK)

    def _parameter(self, p, own, unit):
        name = nodes.parameter_name(p)
        look = dict(fontsize=8, color=palette.LINE)
        if name in self.way.cell.inputs:
            label, tip = name, f"{name}, a column of x, the same for all units"
            if unit:
                label += f" {notation.signed(unit.given[name])}"
                tip += f", value {notation.exact(unit.given[name])}"
            self.canvas.node(p, self.canvas.centre(p), PARAMETER, label, tip=tip, **look)
            return
        shared = name in self.way.cell.scalars
        tip = f"{'shared' if shared else 'own'} parameter {name} = {notation.exact(own[name])}"
        label = f"{name} {notation.signed(own[name])}"
        self.canvas.node(p, self.canvas.centre(p), PARAMETER, label, tip=tip, **look)

    def _operation(self, o):
        left, bottom, right, top = self.canvas.box[o.id]
        look = dict(fill=o.colour, color=palette.INK)
        look |= dict(style="rounded,filled") if o.dense else dict(shape="ellipse")
        look["tip"] = "dense layer within the step: a weight for each unit" if o.dense else None
        if o.fold:
            look["tip"] = o.fold.described(node_names(self.way.cell))
            look |= dict(style="filled", shape="box", fill="#FFFFFF")
        size = (right - left, top - bottom)
        self.canvas.node(o.id, self.canvas.centre(o.id), size, o.label, **look)

    def _gate(self, name, size, label, title, colour, v, tip):
        look = dict(style="rounded,filled", fill=colour, color=palette.INK, penwidth=1.2)
        if v is not None:
            label, tip = f"{label}\n{notation.plain(v)}", f"{tip}, value {notation.exact(v)}"
        self.canvas.node(name, self.canvas.centre(name), size, label, tip=tip, **look)
        left, _, _, top = self.canvas.box[name]
        if title:
            self.canvas.text((left, top + 8), title, 9, anchor="start")

    def _state(self, k, s, v, fill, ink):
        name = nodes.new(s)
        x, y = self.canvas.centre(name)
        look = dict(shape="doublecircle", penwidth=1.4) if k else dict(shape="circle", penwidth=2)
        look |= dict(fontsize=12, fontcolor=ink, fill=fill, color=palette.state(s, k))
        letter = s if k else self.wiring.output
        tip = f"{'private memory' if k else 'output'} {letter}"
        tip += "" if v is None else f" = {notation.exact(v)}"
        self.canvas.node(name, (x, y), (STATE, STATE), notation.sub(letter, "t"), tip=tip, **look)
        if v is not None:
            self.canvas.text((x, y - STATE / 2 - 10), notation.signed(v), 9, name=f"value:{name}")

    def _channel(self, level, net):
        """Return the place of a net's upright line left of a column."""
        left = self.columns[level][0] if level < len(self.columns) else self.columns[-1][1]
        gap, k, count = COLUMN_GAP + self.routes.extra(level), *self.routes.track(level, net)
        if level == len(self.columns):
            return left + COLUMN_GAP / 3 + k * TRACK
        margin = self.routes.margin(level)
        left, gap = left - margin, gap - margin
        return left - gap * (k + 1) / (count + 1)

    def _points(self, a, b):
        """Return the points of a wire, level along its path and upright between columns."""
        box, route = self.canvas.box, self.routes.found[a, b]
        y = self.plan.y[a]
        points = [(box[a][2], y)]
        for level, after in route.turns:
            x = self._channel(level, a)
            points += [(x, y), (x, after)]
            y = after
        left, bottom, right, top = box[b]
        if route.middle is not None:
            x = (left + right) / 2
            return [*points, (x, y), (x, top if route.middle > 0 else bottom)]
        return [*points, (self._rim(b, y), y)]

    def _rim(self, k, y):
        """Return where the left rim of a node is at a height; round ones recede from the middle."""
        left, bottom, right, top = self.canvas.box[k]
        if k in self.gates or k in self.boxes:
            return left
        off = min(abs(2 * y - top - bottom) / (top - bottom), 1.0)
        return left + (1 - (1 - off * off) ** 0.5) * (right - left) / 2

    def _loops(self, unit):
        """Draw a dashed wire from each state to its own use one step later, inside the unit."""
        heights = {s: self.top + 4 + 22 * k for k, s in enumerate(self._shortest_first())}
        ways, labels = [], {}
        for s, consumer in self.wiring.loops:
            state, y = nodes.new(s), heights[s]
            (sx, sy), (cx, cy) = self.canvas.centre(state), self.canvas.centre(consumer)
            start = [(sx, self.canvas.box[state][3]), (sx, y)]
            if self.routes.covered(state):
                rim = 0.7 * STATE / 2
                out = self._channel(self.level[state] + 1, f"from:{s}")
                start = [(sx + rim, sy + rim), (out, sy + rim), (out, y)]
            end = [(cx, y), (cx, self.canvas.box[consumer][3])]
            if self.routes.sideways(consumer):
                channel = self._channel(self.level[consumer], f"loop:{s}")
                cy = self.routes.entry(None, consumer)
                end = [(channel, y), (channel, cy), (self._rim(consumer, cy), cy)]
            colour = palette.state(s, self.wiring.states.index(s))
            look = dict(style="dashed", color=colour, penwidth=1.6)
            self.canvas.wire(state, consumer, [*start, *end], **look)
            self._mark(nodes.previous(s), consumer, end)
            ways.append((s, y, start[-1][0], end[0][0]))
            v = "" if unit is None else f" = {notation.signed(unit.before[s])}"
            labels[s] = f"its own {notation.sub(s, self.way.before)}{v}", colour
        for s, (label, colour) in labels.items():
            full = f"{label}, {self.way.delay}"
            tried = [(text, self._beside(s, _wide(text), ways)) for text in (full, label)]
            label, (y, x, _) = next((one for one in tried if one[1][2]), tried[1])
            self.canvas.text((x, y + 8), label, 9, colour, name=f"value:before:{s}")

    def _shortest_first(self):
        """Return the looping states, that with the shortest way first: it runs below the others."""
        ways = {}
        for s, consumer in self.wiring.loops:
            ends = self.canvas.centre(nodes.new(s))[0], self.canvas.centre(consumer)[0]
            ways[s] = max(ways.get(s, 0.0), abs(ends[0] - ends[1]))
        return sorted(ways, key=lambda s: ways[s])

    def _beside(self, s, wide, ways):
        """Return the height of a state's loop, a place for a label there, and whether it is free.

        A free place is above the loop and inside the unit, and no other loop crosses it.
        """
        own = [(y, min(a, b), max(a, b)) for t, y, a, b in ways if t == s]
        y, left, right = own[0][0], min(a for _, a, _ in own), max(b for *_, b in own)
        crossing = {x for t, high, a, b in ways if t != s and high > y for x in (a, b)}
        start, _, stop, _ = self.box
        inside = sorted(x for x in crossing if start < x < stop)
        parts = list(pairwise([start, *inside, stop]))

        def fits(part):
            a, b = part
            return b - a >= wide + 8, min(b, right) - max(a, left)

        a, b = max(parts, key=fits)
        middle = (max(a, left) + min(b, right)) / 2
        free = b - a >= wide + 8 and min(b, right) > max(a, left)
        return y, max(min(middle, b - wide / 2 - 4), a + wide / 2 + 4), free


def _wide(label):
    return notation.width(label, 9) * 1.12


def _marks(wiring, o):
    """Return the marks of an operation's operands by the tail of the wire."""
    circle = {maker: nodes.new(s) for s, maker in wiring.makers.items()}
    pairs = zip(wiring.arguments[o.id], o.marks, strict=True)
    return {circle.get(a, a): mark for a, mark in pairs}


def _after_inputs(ids, wires):
    """Return ids in topological order: each follows the ids that wires connect to it."""
    order, waiting = [], list(ids)
    while waiting:
        ready = next(k for k in waiting if not any(b == k and a in waiting for a, b in wires))
        waiting.remove(ready)
        order.append(ready)
    return order
