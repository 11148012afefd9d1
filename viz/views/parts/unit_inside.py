"""The inside of one unit: gate neurons, operations and states, laid out from the cell's own wiring."""

from __future__ import annotations

from typing import Any

from ...draw import dot, notation, palette
from ...draw.canvas import Canvas
from ...layout.layered import layout
from ...reading.direction import Direction
from ...reading.evaluate import names
from ...reading.unit_values import UnitValues
from ...reading.wiring import Wiring

NEURON, OPERATION, STATE, GATE, PARAMETER = (66, 42), 22, 36, (52, 34), (58, 18)
COLUMN_GAP, LABEL = 40, 15
NEURON_SLOT, SLOT, SLOT_GAP = (
    NEURON[1] + LABEL + 18,
    50,
    14,
)  # heights with what is written above and below


class Inside:
    """Puts the nodes of a unit on a canvas; `box` is the region they take, `top` where loops begin."""

    def __init__(self, canvas: Canvas, wiring: Wiring, loop_rows: int, way: Direction):
        self.canvas, self.wiring, self.way = canvas, wiring, way
        self.gates = {o.id for o in wiring.operations if o.gate}
        size = {a.id: NEURON for a in wiring.neurons} | dict.fromkeys(wiring.parameters, PARAMETER)
        for o in wiring.operations:
            size[o.id] = (
                GATE if o.gate else (max(OPERATION, notation.width(o.label, 11) + 14), OPERATION)
            )
        size |= {f"state:{s}": (STATE, STATE) for s in wiring.states}
        self._arrange(size)
        boxes = [canvas.box[k] for k in size]
        self.top = max(b[3] for b in boxes) + LABEL
        self.box = (
            -24,
            min(b[1] for b in boxes) - 30,
            max(b[2] for b in boxes) + 26,
            self.top + 34 + 22 * loop_rows,
        )

    def _arrange(self, size):
        w = self.wiring
        heights = dict.fromkeys(size, SLOT) | {a.id: NEURON_SLOT for a in w.neurons}
        sources = [a.id for a in w.neurons] + w.parameters
        rest = _after_inputs([k for k in size if k not in sources], w.wires)
        self.plan = layout(sources, rest, w.wires, heights, {b for _, b in w.loops}, SLOT_GAP)
        self.level = {k: c for c, column in enumerate(self.plan.columns) for k in column}
        self.columns = []  # (left, right) of each
        left = 0.0
        for column in self.plan.columns:
            wide = max((size[k][0] for k in column if k in size), default=0)
            self.columns.append((left, left + wide))
            for k in set(column) & set(size):
                x, y = left + wide / 2, self.plan.y[k]
                self.canvas.box[k] = (
                    x - size[k][0] / 2,
                    y - size[k][1] / 2,
                    x + size[k][0] / 2,
                    y + size[k][1] / 2,
                )
            left += wide + COLUMN_GAP

    def draw(
        self, seen: UnitValues | None, own: dict[str, float], counts: dict[str, int], fill: Any
    ) -> None:
        """`own`: values of the unit's own parameters; `counts`: weights of each neuron; `fill(v)`: colours of a state."""
        w = self.wiring
        for a in w.neurons:
            v = seen.gates[a.value] if seen and a.value and a.value not in w.states else None
            name = a.name if len(w.neurons) > 1 else ""
            self._gate(
                a.id,
                NEURON,
                a.label,
                name,
                a.colour,
                v,
                f"{a.name}: {notation.count(counts[a.id], 'weight')}",
            )
        for p in w.parameters:
            name = p.partition(":")[2]
            look = {
                "fontsize": 8,
                "color": palette.LINE,
                "tip": f"own parameter {name} = {notation.exact(own[name])}",
            }
            self.canvas.node(
                p, self.canvas.centre(p), PARAMETER, f"{name} {notation.signed(own[name])}", **look
            )
        for o in w.operations:
            if o.gate:
                self._gate(
                    o.id,
                    GATE,
                    o.label,
                    o.name,
                    o.colour,
                    seen.gates[o.gate] if seen else None,
                    o.name,
                )
            else:
                left, _, right, _ = self.canvas.box[o.id]
                look = {"fill": o.colour, "color": palette.INK} | (
                    {"style": "rounded,filled"} if o.dense else {"shape": "ellipse"}
                )
                look["tip"] = (
                    "dense layer within the step: a weight for each unit" if o.dense else None
                )
                if o.fold:
                    look |= {
                        "tip": o.fold.said(names(self.way.cell)),
                        "style": "filled",
                        "shape": "box",
                        "fill": "#FFFFFF",
                    }
                self.canvas.node(
                    o.id, self.canvas.centre(o.id), (right - left, OPERATION), o.label, **look
                )
        for k, s in enumerate(w.states):
            v = seen.states[s] if seen else None
            self._state(k, s, v, *fill(v))
        for (a, b), path in self.plan.path.items():
            self.canvas.add(dot.wire(a, b, self._route(a, b, path), radius=8))
        self._loops(seen)

    def _gate(self, name, size, label, title, colour, v, tip):
        look = {"style": "rounded,filled", "fill": colour, "color": palette.INK, "penwidth": 1.2}
        if v is not None:
            label, tip = f"{label}\n{notation.plain(v)}", f"{tip}, value {notation.exact(v)}"
        self.canvas.node(name, self.canvas.centre(name), size, label, tip=tip, **look)
        left, _, _, top = self.canvas.box[name]
        if title:
            self.canvas.add(dot.text((left, top + 8), title, 9, anchor="start"))

    def _state(self, k, s, v, fill, ink):
        name, (x, y) = f"state:{s}", self.canvas.centre(f"state:{s}")
        look = (
            {"shape": "doublecircle", "penwidth": 1.4} if k else {"shape": "circle", "penwidth": 2}
        )
        look |= {"fontsize": 12, "fontcolor": ink, "fill": fill, "color": palette.state(s, k)}
        letter = s if k else self.wiring.output
        tip = f"{'private memory' if k else 'output'} {letter}" + (
            "" if v is None else f" = {notation.exact(v)}"
        )
        self.canvas.node(name, (x, y), (STATE, STATE), notation.sub(letter, "t"), tip=tip, **look)
        if v is not None:
            self.canvas.add(
                dot.text((x, y - STATE / 2 - 10), notation.signed(v), 9, name=f"value:{name}")
            )

    def _channel(self, k, part=2):
        """A place for vertical lines, left of a node's column."""
        return self.columns[self.level[k]][0] - COLUMN_GAP / part

    def _route(self, a, b, path):
        """Level along the heights of the path; up and down left of a column, or straight into the target's top or bottom."""
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
        near = abs(y - target) < (top - bottom) / 2 + 14  # no room for an arrow into top or bottom
        between = (y_of[k] for k in self.plan.columns[self.level[b]] if k != b and k in box)
        blocked = any(min(y, target) - 12 < other < max(y, target) + 12 for other in between)
        above = [
            p for (p, q), way in self.plan.path.items() if q == b and y_of[way[-2]] > target + 2
        ]
        taken = y > target and (any(q == b for _, q in self.wiring.loops) or above.index(a) > 0)
        if near or blocked or taken or b in self.gates:
            return [*points, (self._channel(b), y), (self._channel(b), target), (left, target)]
        return [*points, (x, y), (x, top if y > target else bottom)]

    def _loops(self, seen):
        """Dashed: a state to its own use one step later. Nobody else sees it along this way."""
        heights = {}
        for s, consumer in self.wiring.loops:
            first, state = s not in heights, f"state:{s}"
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
            self.canvas.add(
                dot.wire(
                    state, consumer, [*start, *end], style="dashed", color=colour, penwidth=1.6
                )
            )
            if first:
                v = "" if seen is None else f" = {notation.signed(seen.before[s])}"
                label = f"its own {notation.sub(s, self.way.before)}{v}, {self.way.delay}"
                self.canvas.add(
                    dot.text(
                        ((start[-1][0] + end[0][0]) / 2, y + 8),
                        label,
                        9,
                        colour,
                        name=f"value:before:{s}",
                    )
                )

    def _covered(self, k):
        return any(
            o in self.canvas.box and self.plan.y[o] > self.plan.y[k]
            for o in self.plan.columns[self.level[k]]
        )


def _after_inputs(ids, wires):
    """Ids sorted so that each comes after those that lead to it."""
    order, waiting = [], list(ids)
    while waiting:
        ready = next(k for k in waiting if not any(b == k and a in waiting for a, b in wires))
        waiting.remove(ready)
        order.append(ready)
    return order
