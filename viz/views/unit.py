"""The wiring of one unit: every input, its gate neurons with their weights, its private memory, the one number it puts out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import dot, palette, values, wiring, words
from ..drawing import Drawing
from ..layered import layout

SHOWN, KEPT = 64, 48  # up to SHOWN inputs all are drawn, beyond that the KEPT of greatest weight
NEURON, OPERATION, STATE, GATE = (66, 42), 22, 36, (52, 34)
COLUMN_GAP, LABEL = 40, 15


class Input(NamedTuple):
    """A place in the input column: one number, or the rest of its group when `index` is None."""

    group: str
    index: int | None
    y: float


def unit(layer: Any, j: int, recording: Any = None, t: int | None = None, n: int = 0) -> Drawing:
    """The wiring of unit j of an RNN, LSTM or GRU layer (or any layer of a cell), j from 0 to H - 1.

    Lines are coloured and widened by the layer's weights. With a `recording` of the layer's model, nodes show the values
    of step `t` (the last one if None) of sequence `n`: gates and states at t, h of all units and own memory at t - 1.

    Raises TypeError for a layer without a cell, IndexError for a unit, step or sequence that is not there.
    """
    if getattr(layer, "cell", None) is None:
        raise TypeError(f"unit draws a recurrent layer, got {type(layer).__name__}")
    if isinstance(j, bool) or not isinstance(j, (int, np.integer)):
        raise TypeError(f"j must be an int, got {type(j).__name__}")
    if not 0 <= j < layer.hidden_size:
        raise IndexError(f"j must be in 0..{layer.hidden_size - 1}, the units of {layer!r}, got {j}")
    seen = None if recording is None else values.of_unit(recording, layer, j, t, n)
    return _Picture(layer, int(j), seen).drawing()


def facts(layer: Any) -> list[str]:
    """What a unit of this layer is, in sentences with numbers: inputs, parameters by both conventions, outputs."""
    cell, D, H = layer.cell, layer.input_size, layer.hidden_size
    X, R, P, A = len(cell.x_gates), len(cell.h_gates), len(cell.parameters), len(cell.accumulators)
    weights, size = X * D + R * H, layer.size // H
    memories = [words.sub(s, "t") for s in cell.states[1:]]
    gates = f"{A} dot product{'s' * (A > 1)} (Σ)" if A != len(cell.gates) else f"{A} neuron{'s' * (A > 1)}"
    own = f" + its own memory {' and '.join(memories)}" if memories else ""
    kinds = {(a.x, a.h) for a in cell.accumulators}
    if kinds == {(True, True)}:
        per = f"each neuron: {D} + {H} = {D + H} inputs, 2 biases (b_ih, b_hh)"
    else:
        per = f"each gate: {D} + {H} = {D + H} inputs, 2 biases (b_ih, b_hh)"
    more = f" + {P}" if P else ""
    count = f"{X} × ({D} + {H} + 2){more}" if X == R else f"{weights} + {X + R} biases{more}"
    return [
        f"One {_kind(layer)} unit = {gates}{own}",
        per,
        f"parameters: {count} = {size:,}",
        f"with one bias per Σ: {weights} + {A}{more} = {weights + A + P:,}",
        f"layer: {H:,} units × {size:,} = {layer.size:,} (one bias: {H * (weights + A + P):,})",
        f"out of the unit: ONE number {words.sub(cell.states[0], 't')}" + (f" (kept inside: {', '.join(memories)})" if memories else ""),
        f"out of the layer: {words.sub(cell.states[0], 't')} of all {H:,} units, (N, {H})",
    ]


def _kind(layer):
    return type(layer).__name__


def neuron_weights(layer: Any, neuron: wiring.Neuron, j: int) -> dict[str, np.ndarray]:
    """Weights of a neuron of unit j: "x" (D,) and "h" (H,), where it has them."""
    cell, H, params = layer.cell, layer.hidden_size, layer.params
    out = {}
    if neuron.x:
        out["x"] = params.W_ih[cell.x_gates.index(neuron.gate) * H + j]
    if neuron.h:
        out["h"] = params.W_hh[cell.h_gates.index(neuron.gate) * H + j]
    return out


class _Picture:
    """Collects the items of one picture, part by part from left to right."""

    def __init__(self, layer, j, seen):
        self.layer, self.j, self.seen, self.cell = layer, j, seen, layer.cell
        self.wiring = wiring.of(layer.cell)
        self.weights = {a.id: neuron_weights(layer, a, j) for a in self.wiring.neurons}
        finite = [np.abs(w[np.isfinite(w)]) for ws in self.weights.values() for w in ws.values()]
        self.limit = palette.nice(max((float(a.max()) for a in finite if a.size), default=0))
        self.value_limit = palette.nice(seen.largest()) if seen else 1.0
        self.items, self.behind = [], []
        self.box = {}  # id -> (left, bottom, right, top) of what wires lead to
        self.sizes = {
            **{a.id: NEURON for a in self.wiring.neurons},
            **{p: (54, 18) for p in self.wiring.parameters},
            **{o.id: GATE if o.gate else (_op_width(o.label), OPERATION) for o in self.wiring.operations},
            **{f"state:{s}": (STATE, STATE) for s in self.wiring.states},
        }

    def drawing(self):
        self._place()
        inputs = self._inputs()
        self._lines(inputs)
        self._inside()
        self._outside()
        title = f"{_kind(self.layer)} unit {self.j} of {self.layer!r}"
        said = f"{title}: {'; '.join(facts(self.layer))}."
        if self.seen:
            said += f" Values at step {self.seen.t} of {self.seen.T}."
        return Drawing.of(title, said, [*self.behind, *self.items])

    # The inside of the unit decides the heights, the number of inputs how far away they stand.
    def _place(self):
        w = self.wiring
        heights = {k: size[1] for k, size in self.sizes.items()}
        heights |= {a.id: NEURON[1] + LABEL for a in w.neurons}
        heights |= {o.id: GATE[1] + LABEL for o in w.operations if o.gate}
        heights |= {f"state:{s}": STATE + 14 for s in w.states}
        sources = [a.id for a in w.neurons] + w.parameters
        rest = _after_inputs([o.id for o in w.operations] + [f"state:{s}" for s in w.states], w.wires)
        self.plan = layout(sources, rest, w.wires, heights, {b for _, b in w.loops}, gap=26)
        self.columns = []  # (left, right) of each
        left = 0.0
        for column in self.plan.columns:
            wide = max((self.sizes[k][0] for k in column if k in self.sizes), default=0)
            self.columns.append((left, left + wide))
            for k in column:
                if k in self.sizes:
                    (cw, ch), cx, cy = self.sizes[k], left + wide / 2, self.plan.y[k]
                    self.box[k] = (cx - cw / 2, cy - ch / 2, cx + cw / 2, cy + ch / 2)
            left += wide + COLUMN_GAP
        states = len({s for s, _ in w.loops})
        self.top = max(b[3] for b in self.box.values()) + LABEL
        self.ceiling = self.top + 6 + 22 * states
        self.unit_box = (-24, min(b[1] for b in self.box.values()) - 30, left - COLUMN_GAP + 26, self.ceiling + 28)

    def _inputs(self):
        """Which inputs are shown, and where: x above h, centred on the unit."""
        D, H = self.layer.input_size, self.layer.hidden_size
        strength = {"x": np.zeros(D), "h": np.zeros(H)}
        for ws in self.weights.values():
            for group, row in ws.items():
                strength[group] = np.maximum(strength[group], np.nan_to_num(np.abs(row.astype(np.float64)), nan=np.inf))
        ranked = [(-v, g, k) for g, a in strength.items() for k, v in enumerate(a)]
        if len(ranked) > SHOWN:
            ranked = sorted(ranked)[:KEPT]
        shown = {g: sorted(k for _, group, k in ranked if group == g) for g in strength}
        rows = [(g, [*ks, *([None] if len(ks) < len(strength[g]) else [])]) for g, ks in shown.items()]
        count = sum(len(ks) for _, ks in rows)
        self.pitch = 26 if count <= 24 else max(16, 26 * 24 / count)
        head, between = 42, 14
        total = count * self.pitch + 2 * head + between
        y = (self.unit_box[1] + self.unit_box[3]) / 2 + total / 2
        self.right_of_inputs = self.unit_box[0] - max(130, 0.3 * total)
        places = []
        name = {"x": f"input {words.sub('x', 't')}: {D:,} number{'s' * (D > 1)}", "h": f"{words.sub('h', 't-1')} of all\n{H:,} units"}
        self.group_box = {}
        for g, ks in rows:
            height = head + len(ks) * self.pitch
            left, right = self.right_of_inputs - 118, self.right_of_inputs
            self.group_box[g] = (left, y - height, right, y)
            fill, border = palette.X_GROUP if g == "x" else palette.H_GROUP
            self.behind.append(dot.cluster(f"group:{g}", self.group_box[g], name[g], 10, fill=fill, color=border))
            first = y - head + 4
            places += [Input(g, k, first - (i + 0.5) * self.pitch) for i, k in enumerate(ks)]
            y -= height + between
        self.shown = shown
        for p in places:
            self._input(p)
        return places

    def _input(self, p):
        x, tall = self.right_of_inputs - 34, min(20, self.pitch - 3)
        size = min(10, 0.62 * tall)
        if p.index is None:
            left_out = self._rest(p.group)
            label = f"{left_out[0]:,} more, ‖w‖ = {words.plain(left_out[1])}"
            at = (self.right_of_inputs - 57, p.y)
            look = {"fill": "#E5E7EB", "color": palette.LINE, "penwidth": 0.8, "fontsize": 8, "style": "rounded,filled"}
            self._node(self._input_id(p), at, (102, tall), label, tip=f"{label}: not drawn one by one", **look)
            return
        v = None if self.seen is None else float((self.seen.x if p.group == "x" else self.seen.h)[p.index])
        mine = p.group == "h" and p.index == self.j
        label = words.sub(p.group, p.index)
        look = {"color": palette.STATES["h"] if mine else palette.LINE, "penwidth": 2.2 if mine else 0.8}
        said = f"{label}{' at t - 1' if p.group == 'h' else ''}{', this unit itself' if mine else ''}"
        fill, ink = self._fill(v)
        self._node(
            self._input_id(p), (x, p.y), (max(24, words.width(label, size) + 10), tall), label, shape="ellipse",
            fontsize=dot.number(size), fontcolor=ink, fill=fill, tip=said + ("" if v is None else f" = {words.exact(v)}"), **look,
        )  # fmt: skip
        if v is not None:
            self.items.append(dot.text((x - 44, p.y), words.signed(v), min(8, size)))

    def _rest(self, group):
        """How many inputs of a group are not shown, and the norm of their weights."""
        total = self.layer.input_size if group == "x" else self.layer.hidden_size
        hidden = np.setdiff1d(np.arange(total), self.shown[group])
        squares = [float(np.sum(np.square(ws[group][hidden], dtype=np.float64))) for ws in self.weights.values() if group in ws]
        return len(hidden), sum(squares) ** 0.5

    def _lines(self, places):
        """One line from each input to each neuron that has a weight for it; thin ones first, strong ones on top."""
        lines = []
        for a in self.wiring.neurons:
            left, bottom, _, top = self.box[a.id]
            takes = [p for p in places if p.group in self.weights[a.id]]
            for k, p in enumerate(takes):
                end = (left, top - 5 - (k + 0.5) / len(takes) * (top - bottom - 10))
                start = (self.box[self._input_id(p)][2], p.y)
                tail = self._input_id(p)
                if p.index is None:
                    width, look, tip = 1.2, {"color": "#9CA3AF", "style": "dashed"}, f"the weights not drawn, into {a.name}"
                else:
                    w = float(self.weights[a.id][p.group][p.index])
                    part = min(abs(w) / self.limit, 1.0) if np.isfinite(w) else 1.0
                    width, look = 0.25 + 3.25 * part, {"color": palette.signed(w, self.limit, palette.SIGNED_LINE)}
                    tip = f"weight of {words.sub(p.group, p.index)} into {a.name} = {words.exact(w)}"
                lines.append((width, len(lines), dot.curve(tail, a.id, start, end, penwidth=dot.number(width), tip=tip, **look)))
        self.items += [line for *_, line in sorted(lines, key=lambda x: x[:2])]

    def _inside(self):
        w, seen = self.wiring, self.seen
        fill, border = palette.UNIT
        title = f"{_kind(self.layer)} unit {self.j}   (one of {self.layer.hidden_size:,}: 0 to {self.layer.hidden_size - 1:,})"
        if self.layer.hidden_size == 1:
            title = f"{_kind(self.layer)} unit 0   (the only one)"
        self.behind.append(dot.cluster("unit", self.unit_box, title, 12, fill=fill, color=border, penwidth=1.6))
        for a in w.neurons:
            v = seen.gates.get(a.value) if seen and a.value else None
            label = a.label + ("" if v is None or a.value in w.states else f"\n{words.plain(v)}")
            inputs = sum(len(x) for x in self.weights[a.id].values())
            tip = f"{a.name}: {inputs} weights" + ("" if v is None else f", value {words.exact(v)}")
            self._gate(a.id, NEURON, label, a.name if len(w.neurons) > 1 or a.name != "the neuron" else "", a.colour, tip)
        for p in w.parameters:
            name = p.partition(":")[2]
            v = float(getattr(self.layer.params, name)[self.j])
            label = f"{name} {words.signed(v)}"
            self._own(p, self.sizes[p], label, fontsize=8, color=palette.LINE, tip=f"own parameter {name} = {words.exact(v)}")
        for o in w.operations:
            if o.gate:
                v = seen.gates[o.gate] if seen else None
                label = o.label + ("" if v is None else f"\n{words.plain(v)}")
                tip = o.name + ("" if v is None else f", value {words.exact(v)}")
                self._gate(o.id, GATE, label, o.name, o.colour, tip)
            else:
                self._own(o.id, self.sizes[o.id], o.label, shape="ellipse", fontsize=11, fill=o.colour, color=palette.INK)
        for k, s in enumerate(w.states):
            v = seen.states[s] if seen else None
            fill, ink = self._fill(v)
            self._own(
                f"state:{s}", (STATE, STATE), words.sub(s, "t"), shape="circle" if k == 0 else "doublecircle", fontsize=12,
                fontcolor=ink, fill=fill, color=palette.state(s, k), penwidth=2 if k == 0 else 1.4,
                tip=f"{'output' if k == 0 else 'private memory'} {s}" + ("" if v is None else f" = {words.exact(v)}"),
            )  # fmt: skip
            if v is not None:
                x, y = self._centre(f"state:{s}")
                self.items.append(dot.text((x, y - STATE / 2 - 10), words.signed(v), 9))
        self._wires()
        self._loops()

    def _wires(self):
        for (a, b), path in self.plan.path.items():
            points = self._route(a, b, path)
            self.items.append(dot.wire(a, b, points, radius=8))

    def _route(self, a, b, path):
        """Horizontal along the path's heights; height changes in the channel left of a column, or straight into top or bottom."""
        x, y = self.box[a][2], self._centre(a)[1]
        points = [(x, y)]
        level = {k: c for c, column in enumerate(self.plan.columns) for k in column}
        for d in path[1:-1]:
            if abs(self.plan.y[d] - y) > 0.5:
                channel = self.columns[level[d]][0] - COLUMN_GAP / 2
                points += [(channel, y), (channel, self.plan.y[d])]
                y = self.plan.y[d]
            points.append((self.columns[level[d]][1], y))
        left, bottom, right, top = self.box[b]
        cx, cy = self._centre(b)
        if abs(y - cy) < 2:
            return [*points, (left, cy)]
        blocked = any(
            k != b and k in self.box and min(y, cy) - 12 < self.plan.y[k] < max(y, cy) + 12 for k in self.plan.columns[level[b]]
        )
        above = [p for p, q in self.plan.path if q == b and self._arrives(p, q) > cy + 2]
        reserved = y > cy and (any(q == b for _, q in self.wiring.loops) or above.index(a) > 0 or b in self._labelled())
        if blocked or reserved or right - left > 40 and b in self._labelled():
            channel = self.columns[level[b]][0] - COLUMN_GAP / 2
            return [*points, (channel, y), (channel, cy), (left, cy)]
        return [*points, (cx, y), (cx, top if y > cy else bottom)]

    def _arrives(self, a, b):
        """The height at which a wire comes to the column of its target."""
        path = self.plan.path[a, b]
        return self.plan.y[path[-2]]

    def _labelled(self):
        return {o.id for o in self.wiring.operations if o.gate}

    def _loops(self):
        """Dashed: a state to its own use one step later. Nobody else sees it along this way."""
        heights = {}
        for s, consumer in self.wiring.loops:
            colour = palette.state(s, self.wiring.states.index(s))
            y = heights.setdefault(s, self.top + 4 + 22 * len(heights))
            level = {k: c for c, column in enumerate(self.plan.columns) for k in column}
            (sx, sy), (cx, cy) = self._centre(f"state:{s}"), self._centre(consumer)
            start = [(sx, self.box[f"state:{s}"][3]), (sx, y)]
            if self._covered(f"state:{s}", level):
                out = self.columns[level[f"state:{s}"]][1] + COLUMN_GAP / 3
                start = [(sx + 0.7 * STATE / 2, sy + 0.7 * STATE / 2), (out, sy + 0.7 * STATE / 2), (out, y)]
            end = [(cx, y), (cx, self.box[consumer][3])]
            if self._covered(consumer, level) or consumer in self._labelled():
                channel = self.columns[level[consumer]][0] - COLUMN_GAP / 3
                end = [(channel, y), (channel, cy), (self.box[consumer][0], cy)]
            self.items.append(dot.wire(f"state:{s}", consumer, [*start, *end], style="dashed", color=colour, penwidth=1.6))
            if sum(1 for other, _ in self.wiring.loops[: self.wiring.loops.index((s, consumer))] if other == s) == 0:
                v = "" if not self.seen else f" = {words.signed(self.seen.before[s])}"
                label = f"its own {words.sub(s, 't-1')}{v}, 1 step later"
                self.items.append(dot.text(((start[-1][0] + end[0][0]) / 2, y + 8), label, 9, colour))

    def _covered(self, k, level):
        return any(other in self.box and self.plan.y[other] > self.plan.y[k] for other in self.plan.columns[level[k]])

    def _outside(self):
        """Where h goes: to the layer above at this step, and to every gate of every unit at the next."""
        first, H = self.wiring.states[0], self.layer.hidden_size
        colour = palette.state(first, 0)
        h = f"state:{first}"
        x, y = self._centre(h)
        left = self.unit_box[2] + 62
        junction = (self.unit_box[2] + 26, y)
        wide = 190
        gates = len(self.cell.h_gates)
        every = f"all {H:,} units × {gates} gate{'s' * (gates > 1)} at t + 1" if H > 1 else f"its own {gates} gate{'s' * (gates > 1)} at t + 1"
        note = "(this unit is one of them)" if H > 1 else "(there is no other unit)"
        targets = (("above", 30, f"{self._above()} at step t\n(one of its {H:,} inputs)", palette.OTHER_LAYER),
                   ("all", -30, f"{every}\n{note}", palette.H_GROUP))  # fmt: skip
        self._node("fork", junction, (5, 5), shape="circle", fill=colour, color=colour)
        self.items.append(dot.wire(h, "fork", [(self.box[h][2], y), junction], arrow=False, color=colour, penwidth=1.8))
        for name, dy, label, (fill, border) in targets:
            at = (left + wide / 2, y + dy)
            self._node(name, at, (wide, 38), label, style="rounded,filled", fontsize=9, fill=fill, color=border)
            points = [junction, (junction[0], at[1]), (left, at[1])]
            self.items.append(dot.wire("fork", name, points, color=colour, penwidth=1.8))
        lines = facts(self.layer)
        size = (max(words.width(line, 9) for line in lines) * 1.12 + 20, 13.5 * len(lines) + 16)
        bottom = max(y + 30 + 19 + 24, self.unit_box[3] - size[1])
        at = (left - 36 + size[0] / 2, bottom + size[1] / 2)
        fill, border = palette.FACTS
        look = {"style": "rounded,filled", "fontsize": 9, "fill": fill, "color": border}
        self._node("facts", at, size, dot.Left("\n".join(lines)), **look)
        end = self._keys((left - 36, y - 30 - 19 - 34))
        self._feedback(colour, left + wide, y - 30, end)

    def _above(self):
        layers = getattr(self.layer.owner, "layers", [])
        k = next((k for k, other in enumerate(layers) if other is self.layer), None)
        follows = [other for other in layers[k + 1 :] if other.outputs is not None] if k is not None else []
        return repr(follows[0]).replace("input_size=", "").replace("hidden_size=", "").replace("in_features=", "").replace(
            "out_features=", "") if follows else "what comes after the layer"  # fmt: skip

    def _keys(self, at):
        """Colour keys with their limits; returns the lowest height used."""
        rows = [("line: weight (wider = stronger)", self.limit, palette.SIGNED_LINE, "w")]
        if self.seen:
            rows.append((f"fill: value at t = {self.seen.t} (h, c before: t − 1)", self.value_limit, palette.SIGNED, "v"))
        x, y = at
        for label, limit, colours, name in rows:
            self.items.append(dot.text((x, y), label, 9, anchor="start"))
            for k in range(21):
                colour = palette.ramp(colours, k / 20)
                cell = (x + 4 + 8 * k, y - 14)
                self._node(f"key:{name}{k}", cell, (8, 9), fill=colour, color=colour, penwidth=0)
            for u, v in ((0, -limit), (0.5, 0.0), (1, limit)):
                text = f"{v:+g}".replace("-", "−") if v else "0"
                self.items.append(dot.text((x + 4 + 160 * u, y - 26), text, 8))
            y -= 50
        if self.seen is None:
            self.items.append(dot.text((x, y), "no recording given: weights only", 9, anchor="start"))
            y -= 20
        return y

    def _feedback(self, colour, right, y, keys_end):
        """h of all units comes back as input of the next step: the one wire that leaves the unit and returns."""
        left, bottom, edge, _ = self.group_box["h"]
        floor = min(bottom, self.unit_box[1], keys_end + 10) - 22
        x = (left + edge) / 2
        points = [(right, y), (right + 18, y), (right + 18, floor), (x, floor), (x, bottom)]
        self.items.append(dot.wire("all", "group:h:", points, color=colour, style="dashed", penwidth=1.6))
        H = self.layer.hidden_size
        label = f"{words.sub('h', 't')} of all {H:,} units becomes {words.sub('h', 't-1')} of the next step (1 step delay)"
        if H == 1:
            label = f"{words.sub('h', 't')} becomes {words.sub('h', 't-1')} of the next step (1 step delay)"
        self.items.append(dot.text(((self.unit_box[0] + self.unit_box[2]) / 2, floor + 9), label, 9, colour))

    def _node(self, name, at, size, label="", **look):
        item = dot.node(name, at, size, label, **look)
        self.items.append(item)
        self.box[name] = item.box

    def _own(self, name, size, label, **look):
        self._node(name, self._centre(name), size, label, **look)

    def _gate(self, name, size, label, title, colour, tip):
        look = {"style": "rounded,filled", "fontsize": 11, "color": palette.INK, "penwidth": 1.2}
        self._own(name, size, label, fill=colour, tip=tip, **look)
        left, _, _, top = self.box[name]
        if title:
            self.items.append(dot.text((left, top + 8), title, 9, anchor="start"))

    def _fill(self, v):
        if v is None:
            return "#FFFFFF", palette.INK
        return palette.signed(v, self.value_limit), palette.on(v, self.value_limit)

    def _centre(self, name):
        left, bottom, right, top = self.box[name]
        return (left + right) / 2, (bottom + top) / 2

    @staticmethod
    def _input_id(p):
        return f"in:{p.group}{'more' if p.index is None else p.index}"


def _op_width(label):
    return max(OPERATION, words.width(label, 11) + 14)


def _after_inputs(ids, wires):
    """Ids sorted so that each comes after those that lead to it."""
    order, waiting = [], list(ids)
    while waiting:
        ready = next(k for k in waiting if not any(b == k and a in waiting for a, b in wires))
        waiting.remove(ready)
        order.append(ready)
    return order
