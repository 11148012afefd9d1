"""The wiring of one unit: its inputs, gate neurons with their weights, private memory, and the one number it puts out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..draw import dot, legend, notation, palette
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing
from ..reading import describe, evaluate, unit_values
from ..reading.direction import direction_of
from ..reading.wiring import unit_wiring
from .gate import neuron
from .parts.unit_inside import Inside

SHOWN, KEPT = 64, 48  # up to SHOWN inputs all are drawn, beyond that the KEPT of greatest weight
PITCH, GROUP, BOX = 26, 118, (190, 38)


class Input(NamedTuple):
    """A place in the input column: one number, or the rest of its group when `index` is None."""

    group: str
    index: int | None
    y: float

    @property
    def id(self) -> str:
        return f"in:{self.group}{'more' if self.index is None else self.index}"


def unit(
    layer: Any,
    j: int,
    recording: Any = None,
    t: int | None = None,
    n: int = 0,
    gate: str | None = None,
    k: int | None = None,
    direction: str = "forward",
) -> Drawing:
    """The wiring of unit j of an RNN, LSTM or GRU layer (or any layer of a cell), j from 0 to H - 1.

    Lines are coloured and widened by the layer's weights. With a `recording` of the layer's model, nodes show the values
    of step `t` (the last one if None) of sequence `n`: gates and states at t, h of all units and own memory one step before.

    `gate`: the name of one, opens its neuron as the dot product that it is. `k`: how many inputs to draw one by one, the
    strongest; by default all up to 64, else 48. `direction`: "forward" or "reverse" of a bidirectional layer.

    Raises TypeError for a layer without a cell, IndexError for a unit, step or sequence that is not there, ValueError
    for a gate or direction that is not there or a recording of another model.
    """
    way = direction_of(layer, direction, "unit")
    if isinstance(j, bool) or not isinstance(j, (int, np.integer)):
        raise TypeError(f"j must be an int, got {type(j).__name__}")
    if not 0 <= j < way.hidden_size:
        raise IndexError(f"j must be in 0..{way.hidden_size - 1}, the units of {layer!r}, got {j}")
    if k is not None and (isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1):
        raise ValueError(f"k must be an int of at least 1, got {k!r}")
    if gate is not None:
        return neuron(way, int(j), gate, recording, t, n, k)
    seen = None if recording is None else unit_values.read_unit(recording, way, j, t, n)
    if seen and way.cell.has_projection:
        out = evaluate.forward(way, evaluate.step(recording, way, t, n))[
            unit_wiring(way.cell).makers[way.cell.states[0]]
        ]
        seen.states[way.cell.states[0]] = float(out[j])
    return _Picture(way, int(j), seen, k).drawing()


class _Picture:
    """One picture, part by part: the unit at the origin, its inputs to the left, what it leads to on the right."""

    def __init__(self, layer, j, seen, k):
        self.layer, self.j, self.seen = layer, j, seen
        inputs = layer.input_size + layer.output_size
        self.drawn = min(inputs, (inputs if inputs <= SHOWN else KEPT) if k is None else k)
        self.first = layer.cell.states[0]
        self.sizes = {"x": layer.input_size, "h": layer.output_size}
        self.projected = layer.cell.has_projection
        self.wiring = unit_wiring(layer.cell)
        self.weights = {a.id: describe.weights(layer, a, j) for a in self.wiring.neurons}
        finite = [np.abs(w[np.isfinite(w)]) for ws in self.weights.values() for w in ws.values()]
        self.limit = palette.nice(max((float(a.max()) for a in finite if a.size), default=0))
        self.limits = (
            {"x": palette.nice(seen.largest_input), "h": palette.nice(seen.largest_state)}
            if seen
            else {}
        )
        self.canvas = Canvas()

    def drawing(self):
        layer, H = self.layer, self.layer.hidden_size
        inside = Inside(self.canvas, self.wiring, len({s for s, _ in self.wiring.loops}), layer)
        name = f"{describe.kind(layer.layer)} unit {self.j}   "
        name += (f"(one of {H:,}: 0 to {H - 1:,})" if H > 1 else "(the only one)") + layer.suffix
        left, bottom, right, top = inside.box
        self.box = (left, bottom, max(right, left + notation.width(name, 12) * 1.12 + 12), top)
        self.canvas.group("unit", self.box, name, 12, palette.UNIT, penwidth=1.6)
        self._inputs()
        own = {p: float(getattr(layer.params, p)[self.j]) for p in layer.cell.parameters}
        counts = {k: sum(map(len, ws.values())) for k, ws in self.weights.items()}
        inside.draw(self.seen, own, counts, lambda v: self._fill(v, "h"))
        self._outside()
        title = f"{describe.kind(layer.layer)} unit {self.j} of {layer!r}"
        said = f"{'; '.join(describe.unit_facts(layer))}."
        if self.seen:
            said += f" Values at step {self.seen.t} of steps 0 to {self.seen.T - 1}."
        return Drawing.from_items(title, said, self.canvas.items)

    def _inputs(self):
        """The column of inputs, x above h, centred on the unit; more of them stand further away."""
        self.shown = self._strongest()
        rows = {
            g: [*ks, *([None] if len(ks) < self.sizes[g] else [])] for g, ks in self.shown.items()
        }
        count = sum(map(len, rows.values()))
        self.pitch = PITCH if count <= 24 else max(16, PITCH * 24 / count)
        head, between, H = {"x": 28, "h": 38}, 14, self.layer.hidden_size
        total = count * self.pitch + sum(head.values()) + between
        y = (self.box[1] + self.box[3]) / 2 + total / 2
        self.edge = self.box[0] - max(130, 0.3 * total)
        before = notation.sub(self.first, self.layer.before)
        name = {
            "x": f"input {notation.sub('x', 't')}: {notation.count(self.sizes['x'], 'number')}",
            "h": f"{before} of all\n{H:,} units" if H > 1 else f"{before} of\nthe only unit",
        }
        if self.projected:
            name["h"] = f"{before}: {notation.count(self.sizes['h'], 'number')}\nmade by W_hr"
        places = []
        for g, ks in rows.items():
            height = head[g] + len(ks) * self.pitch + 4
            box = self.canvas.box[f"group:{g}"] = (self.edge - GROUP, y - height, self.edge, y)
            self.canvas.group(
                f"group:{g}", box, name[g], 10, palette.X_GROUP if g == "x" else palette.H_GROUP
            )
            places += [Input(g, k, y - head[g] - (i + 0.5) * self.pitch) for i, k in enumerate(ks)]
            y -= height + between
        for p in places:
            self._rest(p) if p.index is None else self._input(p)
        self._lines(places)

    def _strongest(self):
        """Indices of the inputs to draw, by group: those of greatest |w| into any neuron where there are many."""
        strength = {g: np.zeros(size) for g, size in self.sizes.items()}
        for ws in self.weights.values():
            for g, w in ws.items():
                strength[g] = np.fmax(strength[g], np.where(np.isnan(w), np.inf, np.abs(w)))
        ranked = [(-v, g, k) for g, a in strength.items() for k, v in enumerate(a)]
        if len(ranked) > self.drawn:
            ranked = sorted(ranked)[: self.drawn]
        return {g: sorted(k for _, group, k in ranked if group == g) for g in strength}

    def _input(self, p):
        x, tall = self.edge - 34, min(20, self.pitch - 3)
        size = min(10, 0.62 * tall)
        label = notation.sub(p.group if p.group == "x" else self.first, p.index)
        mine = p.group == "h" and p.index == self.j and not self.projected
        v = (
            None
            if self.seen is None
            else float((self.seen.x if p.group == "x" else self.seen.h)[p.index])
        )
        tip = f"{label}{f' at {self.layer.earlier}' if p.group == 'h' else ''}{', this unit itself' if mine else ''}"
        tip += "" if v is None else f" = {notation.exact(v)}"
        fill, ink = self._fill(v, p.group)
        look = {
            "shape": "ellipse",
            "fontsize": dot.number(size),
            "fontcolor": ink,
            "fill": fill,
            "tip": tip,
        }
        look |= (
            {"color": palette.state(self.first, 0), "penwidth": 2.2}
            if mine
            else {"color": palette.LINE, "penwidth": 0.8}
        )
        self.canvas.node(
            p.id, (x, p.y), (max(24, notation.width(label, size) + 10), tall), label, **look
        )
        if v is not None:
            self.canvas.add(
                dot.text((x - 44, p.y), notation.signed(v), min(8, size), name=f"value:{p.id}")
            )

    def _rest(self, p):
        """The inputs of a group that are not drawn one by one, as one grey box with the norm of their weights."""
        hidden = np.setdiff1d(np.arange(self.sizes[p.group]), self.shown[p.group])
        rows = [
            ws[p.group][hidden].astype(np.float64) for ws in self.weights.values() if p.group in ws
        ]
        label = f"{len(hidden):,} more, ‖w‖ = {notation.plain(np.linalg.norm(rows))}"
        look = {
            "style": "rounded,filled",
            "fontsize": 8,
            "fill": palette.REST[0],
            "color": palette.LINE,
            "penwidth": 0.8,
        }
        tip = f"{len(hidden)} inputs not drawn one by one, norm of their weights = {notation.exact(np.linalg.norm(rows))}"
        self.canvas.node(
            p.id,
            (self.edge - GROUP / 2, p.y),
            (GROUP - 10, min(20, self.pitch - 3)),
            label,
            tip=tip,
            **look,
        )

    def _lines(self, places):
        """One line from each input to each neuron that has a weight for it; thin ones first, strong ones on top."""
        lines = []
        for a in self.wiring.neurons:
            left, bottom, _, top = self.canvas.box[a.id]
            takes = [p for p in places if p.group in self.weights[a.id]]
            for k, p in enumerate(takes):
                start = (self.canvas.box[p.id][2], p.y)
                end = (left, top - 5 - (k + 0.5) / len(takes) * (top - bottom - 10))
                wide, look = (
                    1.2,
                    {
                        "color": "#9CA3AF",
                        "style": "dashed",
                        "tip": f"weights not drawn, into {a.name}",
                    },
                )
                if p.index is not None:
                    w = float(self.weights[a.id][p.group][p.index])
                    strong = min(abs(w) / self.limit, 1.0) if np.isfinite(w) else 1.0
                    wide = 0.25 + 3.25 * strong * self.pitch / PITCH
                    label = notation.sub(p.group if p.group == "x" else self.first, p.index)
                    look = {"color": palette.line(w, self.limit)}
                    look["tip"] = f"weight of {label} into {a.name} = {notation.exact(w)}"
                lines.append(
                    (wide, dot.curve(p.id, a.id, start, end, penwidth=dot.number(wide), **look))
                )
        self.canvas.front += [line for _, line in sorted(lines, key=lambda pair: pair[0])]

    def _outside(self):
        """Where h goes: to the layer above at this step, and to every gate of every unit at the next."""
        H, colour, state = (
            self.layer.hidden_size,
            palette.state(self.first, 0),
            f"state:{self.first}",
        )
        y, edge, source = self.canvas.centre(state)[1], self.box[2], state
        if self.projected:
            edge, source = self._projection(state, y, colour), "projection"
        left, fork = edge + 62, (edge + 26, y)
        gates = notation.count(len(self.layer.cell.h_gates), "gate")
        one_of, every = (
            self._taken(),
            f"all {H:,} units × {gates} at {self.layer.ahead}\n(this unit is one of them)",
        )
        if H == 1 and not self.projected:
            one_of, every = (
                one_of.replace("one of its 1 inputs", "its only input"),
                f"its own {gates} at {self.layer.ahead}\n(there is no other unit)",
            )
        self.canvas.node("fork", fork, (5, 5), shape="circle", fill=colour, color=colour)
        line = {"color": colour, "penwidth": 1.8}
        self.canvas.add(
            dot.wire(source, "fork", [(self.canvas.box[source][2], y), fork], arrow=False, **line)
        )
        above = ("above", y + 30, f"{self._above()} at step t\n({one_of})", palette.OTHER_LAYER)
        wide = max(BOX[0], notation.width(above[2], 9) * 1.1 + 16)
        for name, at, label, (fill, border) in (above, ("all", y - 30, every, palette.H_GROUP)):
            look = {"style": "rounded,filled", "fontsize": 9, "fill": fill, "color": border}
            self.canvas.node(name, (left + wide / 2, at), (wide, BOX[1]), label, **look)
            self.canvas.add(dot.wire("fork", name, [fork, (fork[0], at), (left, at)], **line))
        self._facts((left - 36, y + 30 + BOX[1] / 2 + 24))
        self._feedback(self._keys((left - 36, y - 30 - BOX[1] / 2 - 34)))

    def _projection(self, state, y, colour):
        """What all units put out becomes h, fewer numbers; returns its right edge."""
        H, P, m = self.layer.hidden_size, self.sizes["h"], self.wiring.output
        now, out = notation.sub(self.first, "t"), notation.sub(m, "t")
        label = f"{now} = W_hr {out}: {notation.count(P, 'number')}\nfrom {out} of all {notation.count(H, 'unit')}"
        wide, column = notation.width(label, 9) * 1.1 + 22, self.layer.params.W_hr[:, self.j]
        x = self.box[2] + 44
        fill, border = palette.LAYERS["Linear"]
        tip = (
            f"W_hr ({P}, {H}): of unit {self.j} the weights {', '.join(map(notation.exact, column[:8]))}"
            + ", …" * (P > 8)
        )
        look = {"style": "rounded,filled", "fontsize": 9, "fill": fill, "color": border, "tip": tip}
        self.canvas.node("projection", (x + wide / 2, y), (wide, BOX[1]), label, **look)
        points = [(self.canvas.box[state][2], y), (x, y)]
        self.canvas.add(dot.wire(state, "projection", points, color=colour, penwidth=1.8))
        return x + wide

    def _taken(self):
        """How the layer above takes this unit's h."""
        layer = self.layer.layer
        if self.projected:
            return f"all of its {layer.out_features:,} inputs depend on it"
        if not self.layer.both or layer.merge == "concat":
            return f"one of its {layer.out_features:,} inputs"
        return f"{layer.merge} of both directions, one of its {layer.out_features:,} inputs"

    def _above(self):
        layers = getattr(self.layer.owner, "layers", [])
        k = next((k for k, other in enumerate(layers) if other is self.layer.layer), len(layers))
        return next(
            (describe.short(other) for other in layers[k + 1 :] if other.out_features is not None),
            "what comes after the layer",
        )

    def _facts(self, corner):
        lines = describe.unit_facts(self.layer)
        w, h = max(notation.width(line, 9) for line in lines) * 1.12 + 20, 13.5 * len(lines) + 16
        fill, border = palette.FACTS
        at = (corner[0] + w / 2, max(corner[1], self.box[3] - h) + h / 2)
        look = {"style": "rounded,filled", "fontsize": 9, "fill": fill, "color": border}
        self.canvas.node(
            "facts", at, (w, h), dot.Left("\n".join(f"   {line}" for line in lines)), **look
        )

    def _keys(self, at):
        """Colour keys with their limits, and what was left out; returns the height below them."""
        rows = [("line: weight (wider = stronger)", self.limit, palette.SIGNED_LINE, "w")]
        notes = ["no recording given: weights only"] if self.seen is None else []
        if self.seen:
            t, names, last = self.seen.t, ", ".join(self.wiring.states), self.seen.last
            start = str(t - self.layer.step).replace("-", "−")
            when = (
                f"{start} (left: {unit_values.beginning(self.layer)})"
                if last is None
                else f"{last} (left)"
            )
            when += f" and {t} (right)"
            rows.append((f"fill of x at t = {t}", self.limits["x"], palette.SIGNED, "x"))
            rows.append((f"fill of {names} at t = {when}", self.limits["h"], palette.SIGNED, "h"))
        if sum(self.sizes.values()) > self.drawn:
            notes.append(
                f"{self.drawn} of {sum(self.sizes.values()):,} inputs drawn: those of greatest |w|"
            )
        x, y = at
        for label, limit, colours, name in rows:
            legend.signed(self.canvas, name, (x, y), label, limit, colours)
            y -= 50
        for note in notes:
            self.canvas.add(dot.text((x, y), note, 9, anchor="start"))
            y -= 16
        return y

    def _feedback(self, keys_end):
        """h of all units comes back as input of the next step: the one wire that leaves the unit and returns."""
        left, bottom, edge, _ = self.canvas.box["group:h"]
        right, y = self.canvas.box["all"][2], self.canvas.centre("all")[1]
        floor, x = min(bottom, self.box[1], keys_end + 10) - 22, (left + edge) / 2
        colour, H = palette.state(self.first, 0), self.layer.hidden_size
        points = [(right, y), (right + 18, y), (right + 18, floor), (x, floor), (x, bottom)]
        self.canvas.add(
            dot.wire("all", "group:h:", points, color=colour, style="dashed", penwidth=1.6)
        )
        now = notation.sub(self.first, "t") + (
            f" of all {H:,} units" if H > 1 and not self.projected else ""
        )
        after = "next" if self.layer.step > 0 else "earlier"
        label = f"{now} becomes {notation.sub(self.first, self.layer.before)} of the {after} step (1 step delay)"
        self.canvas.add(dot.text(((self.box[0] + self.box[2]) / 2, floor + 9), label, 9, colour))

    def _fill(self, v, group):
        if v is None:
            return "#FFFFFF", palette.INK
        return palette.signed(v, self.limits[group]), palette.on(v, self.limits[group])
