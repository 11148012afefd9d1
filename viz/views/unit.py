"""The wiring of one unit: its inputs, its gate neurons, its private memory, and its output."""

from __future__ import annotations

from typing import Any, NamedTuple, Unpack

import numpy as np

from recurrent import checks

from ..draw import adapt, dot, legend, notation, palette
from ..draw.adapt import Look, adaptable
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing
from ..reading import describe, evaluate, nodes, unit_values
from ..reading.direction import check_unit, direction_of
from ..reading.wiring import unit_wiring
from .gate import gate as draw_gate
from .parts.unit_inside import Inside

SHOWN, KEPT = 64, 48  # up to SHOWN inputs all are drawn; of more, the KEPT with the largest weights
NAMED = 4  # weights that are written in words
PITCH, GROUP, BOX = 26, 118, (190, 38)
ROOM = 84  # for the name of an input
HEAD, BETWEEN = {"x": 28, "h": 38}, 14  # heights of a group's title, and between the groups


class Input(NamedTuple):
    """An item of the input column; `index` is None for the box of a group's remaining inputs."""

    group: str
    index: int | None
    y: float

    @property
    def id(self) -> str:
        return f"in:{self.group}{'more' if self.index is None else self.index}"


@adaptable
def unit(
    layer: Any,
    j: int,
    recording: Any = None,
    t: int | None = None,
    n: int = 0,
    gate: str | None = None,
    k: int | None = None,
    direction: str = "forward",
    **options: Unpack[Look],
) -> Drawing:
    """Draw the wiring of one unit of a recurrent layer.

    The colour and width of a line show the weight of an input.

    Parameters
    ----------
    layer : recurrent.layers.Recurrent
        An RNN, LSTM or GRU layer, or a layer of any other cell.
    j : int
        The number of the unit, 0 to H - 1.
    recording : recurrent.Recording, optional
        A recorded run of the layer's model. Nodes then show gates and states at time step `t`, and
        h of all units and the unit's memory one step earlier.
    t : int, optional
        The time step of the values; the last one by default.
    n : int
        The sequence of the batch.
    gate : str, optional
        The name of a gate to open as its dot product instead.
    k : int, optional
        The number of inputs to draw one by one, those with the largest weights; by default all up
        to 64, else 48.
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
    IndexError
        If the unit, step or sequence does not exist.
    ValueError
        If the gate or direction does not exist, or the recording is of another model.
    """
    way = direction_of(layer, direction, "unit")
    check_unit(j, layer, "j")
    k = None if k is None else checks.size(k, "k")
    if gate is not None:
        return draw_gate(way, int(j), gate, recording, t, n, k)
    values = None if recording is None else unit_values.read_unit(recording, way, j, t, n)
    if (
        values and recording is not None and way.cell.has_projection
    ):  # the unit's output is not its state
        first = way.cell.states[0]
        numbers = evaluate.forward(way, evaluate.step(recording, way, t, n))
        values.states[first] = float(numbers[unit_wiring(way.cell).makers[first]][j])
    return _Picture(way, int(j), values, k).drawing()


class _Picture:
    """Draws the unit at the origin, its inputs on the left, and the targets of h on the right."""

    def __init__(self, way, j, values, k):
        self.way, self.j, self.values = way, j, values
        self.wiring = unit_wiring(way.cell)
        self.H, self.sizes = way.hidden_size, {"x": way.input_size}
        if any(a.h for a in self.wiring.neurons):
            self.sizes["h"] = way.output_size
        count = sum(self.sizes.values())
        most = k if k is not None else count if count <= SHOWN else KEPT
        self.drawn = min(count, most)
        self.first, self.projected = way.cell.states[0], way.cell.has_projection
        self.colour = palette.state(self.first, 0)
        self.now, self.before = notation.sub(self.first, "t"), notation.sub(self.first, way.before)
        self.weights = {a.id: describe.weights(way, a, j) for a in self.wiring.neurons}
        finite = [np.abs(w[np.isfinite(w)]) for ws in self.weights.values() for w in ws.values()]
        self.limit = adapt.limit("w", max((float(a.max()) for a in finite if a.size), default=0))
        self.limits = {}
        if values:
            self.limits = {name: adapt.limit(name, v) for name, v in values.sizes.items()}
        self.canvas = Canvas()

    def drawing(self):
        way, j, H = self.way, self.j, self.H
        inside = Inside(self.canvas, self.wiring, len({s for s, _ in self.wiring.loops}), way)
        kind = describe.kind(way.layer)
        which = f"(one of {H:,}: 0 to {H - 1:,})" if H > 1 else "(the only one)"
        own = adapt.label("units", j, H, "")
        own = f": {notation.fit(own, 12, 150)}" if own else ""
        name = f"{kind} unit {j}{own}{describe.named(way)}   {which}{way.suffix}"
        name = adapt.heading(name)
        left, bottom, right, top = inside.box
        self.box = (left, bottom, max(right, left + notation.width(name, 12) * 1.12 + 12), top)
        self.canvas.group("unit", self.box, name, 12, palette.UNIT, penwidth=1.6)
        self._inputs()
        own = {p: float(way.parameters[p][j]) for p in way.cell.parameters}
        counts = {k: sum(map(len, ws.values())) for k, ws in self.weights.items()}
        inside.draw(self.values, own, counts, self._fill)
        self._outside()
        text = f"{'; '.join(describe.unit_facts(way))}."
        text += f" Largest weights: {'; '.join(self._largest())}."
        if self.values:
            text += f" Values at step {self.values.t} of steps 0 to {self.values.T - 1}."
        title = f"{kind} unit {j} of {way!r}{describe.named(way, ', ')}"
        return Drawing.from_items(title, text, self.canvas.items)

    # Inputs

    def _inputs(self):
        """Draw the column of inputs, x above h, centred on the unit; a long column stands apart."""
        self.shown = self._strongest()
        rows = {g: ks + [None] * (len(ks) < self.sizes[g]) for g, ks in self.shown.items()}
        count = sum(map(len, rows.values()))
        self.pitch = PITCH if count <= 24 else max(16, PITCH * 24 / count)
        total = count * self.pitch + sum(HEAD[g] for g in rows) + BETWEEN * (len(rows) - 1)
        y = (self.box[1] + self.box[3]) / 2 + total / 2
        self.edge = self.box[0] - max(130, 0.3 * total)
        named = any(adapt.named(kind) for kind in ("inputs", "units"))
        self.wider = ROOM - 24 if named else 0  # of the inputs, for their names
        wide = GROUP + self.wider
        titles, places = self._titles(), []
        for g, ks in rows.items():
            height = HEAD[g] + len(ks) * self.pitch + 4
            box = self.canvas.box[f"group:{g}"] = (self.edge - wide, y - height, self.edge, y)
            colours = palette.X_GROUP if g == "x" else palette.H_GROUP
            self.canvas.group(f"group:{g}", box, titles[g], 10, colours)
            places += [Input(g, k, y - HEAD[g] - (i + 0.5) * self.pitch) for i, k in enumerate(ks)]
            y -= height + BETWEEN
        for p in places:
            self._rest(p) if p.index is None else self._input(p)
        self._lines(places)

    def _titles(self):
        """Return the titles of the groups of inputs, x and h."""
        x = f"input {notation.sub('x', 't')}: {notation.count(self.sizes['x'], 'number')}"
        if "h" not in self.sizes:
            return {"x": x}
        if self.projected:
            h = f"{self.before}: {notation.count(self.sizes['h'], 'number')}\nfrom W_hr"
        elif self.H > 1:
            h = f"{self.before} of all\n{self.H:,} units"
        else:
            h = f"{self.before} of\nthe only unit"
        return {"x": x, "h": h}

    def _strongest(self):
        """Return the indices of the inputs to draw, by group: those with the largest weights."""
        strength = {g: np.zeros(size) for g, size in self.sizes.items()}
        for ws in self.weights.values():
            for g, w in ws.items():
                strength[g] = np.fmax(strength[g], np.where(np.isnan(w), np.inf, np.abs(w)))
        ranked = [(-v, g, k) for g, a in strength.items() for k, v in enumerate(a)]
        if len(ranked) > self.drawn:
            ranked = sorted(ranked)[: self.drawn]
        return {g: sorted(k for _, group, k in ranked if group == g) for g in strength}

    def _largest(self):
        """Return words for the largest weights of the unit, each with its input and its gate."""
        found = [
            (-abs(v) if np.isfinite(v) else -np.inf, self._name(Input(g, k, 0.0)), a.name, v)
            for a in self.wiring.neurons
            for g, w in self.weights[a.id].items()
            for k, v in enumerate(map(float, w))
        ]
        found.sort(key=lambda one: one[0])
        return [f"{name} into {gate}: {notation.signed(v)}" for _, name, gate, v in found[:NAMED]]

    def _name(self, p):
        name = notation.sub(p.group if p.group == "x" else self.first, p.index)
        if p.group == "h" and self.projected:
            return name
        kind = "inputs" if p.group == "x" else "units"
        return adapt.label(kind, p.index, self.sizes[p.group], name)

    def _input(self, p):
        x, tall = self.edge - 34 - self.wider / 2, min(20, self.pitch - 3)
        size = min(10, 0.62 * tall)
        name = self._name(p)
        label = notation.fit(name, size, ROOM)
        itself = p.group == "h" and p.index == self.j and not self.projected
        tip = f"{name}{f' at {self.way.earlier}' if p.group == 'h' else ''}"
        tip += ", this unit itself" if itself else ""
        v = None
        if self.values:
            v = float((self.values.x if p.group == "x" else self.values.h)[p.index])
            tip += f" = {notation.exact(v)}"
        fill, ink = self._fill("x" if p.group == "x" else self.first, v)
        look = dict(shape="ellipse", fontsize=dot.number(size), fontcolor=ink, fill=fill, tip=tip)
        if itself:
            look |= dict(color=self.colour, penwidth=2.2)
        else:
            look |= dict(color=palette.LINE, penwidth=0.8)
        wide = max(24, notation.width(label, size) + 10)
        self.canvas.node(p.id, (x, p.y), (wide, tall), label, **look)
        if v is not None:
            name = f"value:{p.id}"
            self.canvas.text(
                (x - 44 - self.wider / 2, p.y), notation.signed(v), min(9, size), name=name
            )

    def _rest(self, p):
        """Draw the remaining inputs of a group as one grey box with the norm of their weights."""
        hidden = np.setdiff1d(np.arange(self.sizes[p.group]), self.shown[p.group])
        own = (ws[p.group] for ws in self.weights.values() if p.group in ws)
        norm = float(np.linalg.norm([w[hidden].astype(np.float64) for w in own]))
        label = f"{len(hidden):,} more, ‖w‖ = {notation.plain(norm)}"
        tip = f"{len(hidden)} inputs not drawn individually, "
        tip += f"norm of their weights = {notation.exact(norm)}"
        look: dict[str, Any] = dict(
            style="rounded,filled", fontsize=8, fill=palette.REST[0], color=palette.LINE
        )
        wide = GROUP + self.wider
        at, size = (self.edge - wide / 2, p.y), (wide - 10, min(20, self.pitch - 3))
        self.canvas.node(p.id, at, size, label, tip=tip, **look, penwidth=0.8)

    def _lines(self, places):
        """Draw a line from each input to each neuron with a weight for it, strong ones on top."""
        lines = []
        for a in self.wiring.neurons:
            left, bottom, _, top = self.canvas.box[a.id]
            takes = [p for p in places if p.group in self.weights[a.id]]
            for k, p in enumerate(takes):
                start = (self.canvas.box[p.id][2], p.y)
                end = (left, top - 5 - (k + 0.5) / len(takes) * (top - bottom - 10))
                wide, look = self._line(a, p)
                line = dot.curve(p.id, a.id, start, end, penwidth=dot.number(wide), **look)
                lines.append((wide, line))
        self.canvas.front += [line for _, line in sorted(lines, key=lambda pair: pair[0])]

    def _line(self, a, p) -> tuple[float, dict[str, Any]]:
        """Return the width and look of the line from an input to a neuron."""
        if p.index is None:
            tip = f"weights not drawn, into {a.name}"
            return 1.2, dict(color="#9CA3AF", style="dashed", tip=tip)
        w = float(self.weights[a.id][p.group][p.index])
        strong = min(abs(w) / self.limit, 1.0) if np.isfinite(w) else 1.0
        tip = f"weight of {self._name(p)} into {a.name} = {notation.exact(w)}"
        look = dict(color=palette.line(w, self.limit), tip=tip)
        if w < 0 and adapt.marks_sign():
            look["style"] = "dashed"
        return 0.25 + 3.25 * strong * self.pitch / PITCH, look

    # Output

    def _outside(self):
        """Draw the targets of h: the next layer now, and every gate at the next step."""
        state, edge = nodes.new(self.first), self.box[2]
        y, source = self.canvas.centre(state)[1], state
        if self.projected:
            edge, source = self._projection(state, y), "projection"
        left, fork = edge + 62, (edge + 26, y)
        look = dict(fill=self.colour, color=self.colour)
        self.canvas.node("fork", fork, (5, 5), shape="circle", **look)
        line = dict(color=self.colour, penwidth=1.8)
        points = [(self.canvas.box[source][2], y), fork]
        self.canvas.wire(source, "fork", points, arrow=False, **line)
        above, everywhere = self._targets()
        wide = max(BOX[0], notation.width(above, 9) * 1.1 + 16)
        targets: list[tuple[str, float, str, tuple[str, str]]] = [
            ("above", y + 30, above, palette.OTHER_LAYER)
        ]
        if "h" in self.sizes:
            targets.append(("all", y - 30, everywhere, palette.H_GROUP))
        for name, at, label, (fill, border) in targets:
            look = dict(style="rounded,filled", fontsize=9, fill=fill, color=border)
            self.canvas.node(name, (left + wide / 2, at), (wide, BOX[1]), label, **look)
            self.canvas.wire("fork", name, [fork, (fork[0], at), (left, at)], **line)
        self._facts((left - 36, y + 30 + BOX[1] / 2 + 24))
        keys_end = self._keys((left - 36, y - 30 - BOX[1] / 2 - 34))
        if "h" in self.sizes:
            self._feedback(keys_end)
        else:
            note = describe.apart(self.way)
            self.canvas.text((left, y - 24), note, 9, anchor="start")

    def _targets(self):
        """Return the labels of the next layer and of the gates at the next step."""
        H, ahead = self.H, self.way.ahead
        gates = notation.count(len({a.gate for a in self.wiring.neurons if a.h}), "gate")
        taken = self._taken()
        everywhere = f"all {H:,} units × {gates} at {ahead}\n(this unit is one of them)"
        if H == 1 and not self.projected:
            taken = taken.replace("one of its 1 inputs", "its only input")
            everywhere = f"its own {gates} at {ahead}\n(there is no other unit)"
        return f"{self._above()} at step t\n({taken})", everywhere

    def _projection(self, state, y):
        """Draw the projection of all units' outputs to h; return its right edge."""
        P, out = self.sizes["h"], notation.sub(self.wiring.output, "t")
        label = f"{self.now} = W_hr {out}: {notation.count(P, 'number')}\n"
        label += f"from {out} of all {notation.count(self.H, 'unit')}"
        wide, column = notation.width(label, 9) * 1.1 + 22, self.way.params.W_hr[:, self.j]
        x = self.box[2] + 44
        fill, border = palette.LAYERS["Linear"]
        listed = ", ".join(map(notation.exact, column[:8])) + ", …" * (P > 8)
        tip = f"W_hr ({P}, {self.H}): of unit {self.j} the weights {listed}"
        look = dict(style="rounded,filled", fontsize=9, fill=fill, color=border, tip=tip)
        self.canvas.node("projection", (x + wide / 2, y), (wide, BOX[1]), label, **look)
        points = [(self.canvas.box[state][2], y), (x, y)]
        self.canvas.wire(state, "projection", points, color=self.colour, penwidth=1.8)
        return x + wide

    def _taken(self):
        """Return a phrase that says how the next layer uses this unit's h."""
        layer = self.way.layer
        inputs = f"{layer.out_features:,} inputs"
        if self.projected:
            return f"all of its {inputs} depend on it"
        if not self.way.both or layer.merge == "concat":
            return f"one of its {inputs}"
        return f"{layer.merge} of both directions, one of its {inputs}"

    def _above(self):
        """Return the short name of the next layer, "the next layer" if there is none."""
        model, layer = self.way.owner, self.way.layer
        layers = model.layers if model else []
        k = next((k for k, other in enumerate(layers) if other is layer), len(layers))
        sized = (other for other in layers[k + 1 :] if other.out_features is not None)
        return next(map(describe.short, sized), "the next layer")

    # Text

    def _facts(self, corner):
        lines = describe.unit_facts(self.way)
        w, h = max(notation.width(line, 9) for line in lines) * 1.12 + 20, 13.5 * len(lines) + 16
        fill, border = palette.FACTS
        at = (corner[0] + w / 2, max(corner[1], self.box[3] - h) + h / 2)
        look = dict(style="rounded,filled", fontsize=9, fill=fill, color=border)
        text = dot.Left("\n".join(f"   {line}" for line in lines))
        self.canvas.node("facts", at, (w, h), text, **look)

    def _keys(self, at):
        """Draw the colour keys and notes; return the height below them."""
        rows: list[tuple] = [
            ("line: weight (wider = stronger)", self.limit, palette.SIGNED_LINE, "w")
        ]
        notes = ["no recording given: weights only"] if self.values is None else []
        if self.values:
            t = self.values.t
            rows.append((f"fill: x at t = {t}", self.limits["x"], palette.SIGNED, "x"))
            for s in self.wiring.states:
                when = f"fill: {s} at t = {self._left()} and {t} (right)"
                rows.append((when, self.limits[s], palette.SIGNED, s))
        if products := [o for o in self.wiring.operations if o.dense]:
            notes.append(
                f"{products[0].label}  a weight for each of {notation.count(self.H, 'unit')}"
            )
        notes += ["largest weights:", *(f"    {words}" for words in self._largest())]
        inputs = sum(self.sizes.values())
        if inputs > self.drawn:
            notes.append(f"{self.drawn} of {inputs:,} inputs drawn, those with the largest |w|")
        x, y = at
        for label, limit, colours, name in rows:
            legend.signed(self.canvas, name, (x, y), label, limit, colours)
            y -= 50
        for note in notes:
            self.canvas.text((x, y), note, 9, anchor="start")
            y -= 16
        return y

    def _left(self):
        """Return the step that the states on the left come from."""
        if self.values.last is not None:
            return f"{self.values.last} (left)"
        start = str(self.values.t - self.way.step).replace("-", "−")
        return f"{start} (left: {unit_values.origin(self.way)})"

    def _feedback(self, keys_end):
        """Draw h of all units as input of the next step, the one wire that returns to the unit."""
        left, bottom, edge, _ = self.canvas.box["group:h"]
        right, y = self.canvas.box["all"][2], self.canvas.centre("all")[1]
        floor, x = min(bottom, self.box[1], keys_end + 10) - 22, (left + edge) / 2
        points = [(right, y), (right + 18, y), (right + 18, floor), (x, floor), (x, bottom)]
        look = dict(color=self.colour, style="dashed", penwidth=1.6)
        self.canvas.wire("all", "group:h:", points, **look)
        whose = f" of all {self.H:,} units" if self.H > 1 and not self.projected else ""
        when = "next" if self.way.step > 0 else "previous"
        label = f"{self.now}{whose} becomes {self.before} at the {when} step (1 step delay)"
        at = ((self.box[0] + self.box[2]) / 2, floor + 9)
        self.canvas.text(at, label, 9, self.colour)

    def _fill(self, name, v):
        """Return the fill of a value of x or of a state, and the colour of text on it."""
        if v is None:
            return "#FFFFFF", palette.INK
        fill = palette.signed(v, self.limits[name])
        return fill, palette.on(fill)
