"""The inside of one unit: gate neurons, operations and states, laid out from the cell's wiring."""

from __future__ import annotations

from typing import Any

from ...draw import notation, palette
from ...draw.canvas import Canvas
from ...layout.layered import layout
from ...reading import nodes
from ...reading.direction import Direction
from ...reading.evaluate import node_names
from ...reading.unit_values import UnitValues
from ...reading.wiring import Wiring

NEURON, OPERATION, STATE, GATE, PARAMETER = (66, 42), 22, 36, (52, 34), (58, 18)
COLUMN_GAP, LABEL = 40, 15
# Heights that include the labels above and below.
NEURON_SLOT, SLOT, SLOT_GAP = NEURON[1] + LABEL + 18, 50, 14


class Inside:
    """Puts the nodes of a unit on a canvas; `box` is their region, `top` is where loops begin."""

    def __init__(self, canvas: Canvas, wiring: Wiring, loop_rows: int, way: Direction):
        self.canvas, self.wiring, self.way = canvas, wiring, way
        self.gates = {o.id for o in wiring.operations if o.gate}
        size = {a.id: NEURON for a in wiring.neurons} | dict.fromkeys(wiring.parameters, PARAMETER)
        for o in wiring.operations:
            wide = max(OPERATION, notation.width(o.label, 11) + 14)
            size[o.id] = GATE if o.gate else (wide, OPERATION)
        size |= {nodes.new(s): (STATE, STATE) for s in wiring.states}
        self._arrange(size)
        boxes = [canvas.box[k] for k in size]
        self.top = max(b[3] for b in boxes) + LABEL
        bottom, right = min(b[1] for b in boxes) - 30, max(b[2] for b in boxes) + 26
        self.box = (-24, bottom, right, self.top + 34 + 22 * loop_rows)

    def _arrange(self, size):
        wiring = self.wiring
        heights = dict.fromkeys(size, SLOT) | {a.id: NEURON_SLOT for a in wiring.neurons}
        sources = [a.id for a in wiring.neurons] + wiring.parameters
        rest = _after_inputs([k for k in size if k not in sources], wiring.wires)
        looped = {b for _, b in wiring.loops}
        self.plan = layout(sources, rest, wiring.wires, heights, looped, SLOT_GAP)
        self.level = {k: c for c, column in enumerate(self.plan.columns) for k in column}
        self.columns = []  # (left, right) of each
        left = 0.0
        for column in self.plan.columns:
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
        for (a, b), path in self.plan.path.items():
            self.canvas.wire(a, b, self._route(a, b, path), radius=8)
        self._loops(unit)

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
        left, _, right, _ = self.canvas.box[o.id]
        look = dict(fill=o.colour, color=palette.INK)
        look |= dict(style="rounded,filled") if o.dense else dict(shape="ellipse")
        look["tip"] = "dense layer within the step: a weight for each unit" if o.dense else None
        if o.fold:
            look["tip"] = o.fold.described(node_names(self.way.cell))
            look |= dict(style="filled", shape="box", fill="#FFFFFF")
        size = (right - left, OPERATION)
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

    def _channel(self, k, part=2):
        """Return the place for vertical lines left of a node's column."""
        return self.columns[self.level[k]][0] - COLUMN_GAP / part

    def _route(self, a, b, path):
        """Return the points of a wire, level along its path and upright between columns."""
        y_of, box = self.plan.y, self.canvas.box
        y = y_of[a]
        points = [(box[a][2], y)]
        for d in path[1:-1]:
            if abs(y_of[d] - y) > 0.5:
                points += [(self._channel(d), y), (self._channel(d), y_of[d])]
                y = y_of[d]
            points.append((self.columns[self.level[d]][1], y))
        left, bottom, _, top = box[b]
        x, target = self.canvas.centre(b)
        if abs(y - target) < 0.5:
            return [*points, (left, target)]
        near = abs(y - target) < (top - bottom) / 2 + 14  # no room for an upright arrow
        between = (y_of[k] for k in self.plan.columns[self.level[b]] if k != b and k in box)
        blocked = any(min(y, target) - 12 < other < max(y, target) + 12 for other in between)
        paths = self.plan.path.items()
        above = [p for (p, q), way in paths if q == b and y_of[way[-2]] > target + 2]
        looped = any(q == b for _, q in self.wiring.loops)
        taken = y > target and (looped or above.index(a) > 0)
        if near or blocked or taken or b in self.gates:
            return [*points, (self._channel(b), y), (self._channel(b), target), (left, target)]
        return [*points, (x, y), (x, top if y > target else bottom)]

    def _loops(self, unit):
        """Draw a dashed wire from each state to its own use one step later, inside the unit."""
        heights = {}
        for s, consumer in self.wiring.loops:
            first, state = s not in heights, nodes.new(s)
            colour = palette.state(s, self.wiring.states.index(s))
            y = heights.setdefault(s, self.top + 4 + 22 * len(heights))
            (sx, sy), (cx, cy) = self.canvas.centre(state), self.canvas.centre(consumer)
            start = [(sx, self.canvas.box[state][3]), (sx, y)]
            if self._covered(state):
                out, rim = self.columns[self.level[state]][1] + COLUMN_GAP / 3, 0.7 * STATE / 2
                start = [(sx + rim, sy + rim), (out, sy + rim), (out, y)]
            end = [(cx, y), (cx, self.canvas.box[consumer][3])]
            if self._covered(consumer) or consumer in self.gates:
                channel = self._channel(consumer, 3)
                end = [(channel, y), (channel, cy), (self.canvas.box[consumer][0], cy)]
            look = dict(style="dashed", color=colour, penwidth=1.6)
            self.canvas.wire(state, consumer, [*start, *end], **look)
            if first:
                v = "" if unit is None else f" = {notation.signed(unit.before[s])}"
                label = f"its own {notation.sub(s, self.way.before)}{v}, {self.way.delay}"
                at = ((start[-1][0] + end[0][0]) / 2, y + 8)
                self.canvas.text(at, label, 9, colour, name=f"value:before:{s}")

    def _covered(self, k):
        """Return whether another node of the same column lies above a node."""
        return any(
            o in self.canvas.box and self.plan.y[o] > self.plan.y[k]
            for o in self.plan.columns[self.level[k]]
        )


def _after_inputs(ids, wires):
    """Return ids in topological order: each follows the ids that wires connect to it."""
    order, waiting = [], list(ids)
    while waiting:
        ready = next(k for k in waiting if not any(b == k and a in waiting for a, b in wires))
        waiting.remove(ready)
        order.append(ready)
    return order
