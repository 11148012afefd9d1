"""The vector view of a cell: gates as boxes, operations on whole vectors as circles, states as lanes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from ..draw import dot, labels, notation, palette
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing
from ..layout.circuit import cell_circuit
from ..reading import describe, evaluate
from ..reading.direction import check_recurrent, direction_of
from .parts.cell_grid import Grid

SPREADS = (
    1.0,
    1.2,
    1.45,
    1.8,
    2.3,
    3.0,
)  # how far apart rows and columns go until every label has its place
TEXT = 8.5


def cell(
    layer: Any,
    recording: Any = None,
    t: int | None = None,
    n: int = 0,
    unit: int | None = None,
    backward: bool = False,
    direction: str | None = None,
) -> Drawing:
    """The equations of a recurrent layer as a circuit of vectors, drawn from the cell's own expression graph.

    Every wire bears its shape. With a `recording` of the layer's model, wires show the mean over all units of what they
    carry at step `t` (the last one if None) of sequence `n`, or the value of one `unit`. `backward=True` draws the way of
    the gradient: from the new states back, with the derivative that each operation multiplies it by; with a recording that
    had a loss, the sizes of these gradients. `direction`: "forward" or "reverse" of a bidirectional layer.

    Raises TypeError for a layer without a cell, IndexError for a unit, step or sequence that is not there, ValueError for a
    recording of another model or one without gradients where they are asked for, and for a direction that is not there or
    that a recording of both leaves open.
    """
    check_recurrent(layer, "cell")
    if unit is not None and (isinstance(unit, bool) or not isinstance(unit, (int, np.integer))):
        raise TypeError(f"unit must be an int, got {type(unit).__name__}")
    if unit is not None and not 0 <= unit < layer.hidden_size:
        raise IndexError(
            f"unit must be in 0..{layer.hidden_size - 1}, the units of {layer!r}, got {unit}"
        )
    if recording is not None and direction is None and getattr(layer, "bidirectional", False):
        raise ValueError(
            f"cell shows numbers of layers of one direction: say direction='forward' or 'reverse' of {layer!r}"
        )
    way = direction_of(layer, direction or "forward", "cell")
    seen = None if recording is None else evaluate.step(recording, way, t, n)
    if seen and backward and not seen.gradients:
        raise ValueError(
            "a recording shows gradients if it had a loss: model.record(x, targets=..., loss=...)"
        )
    for spread in SPREADS:
        picture = _Picture(way, way.suffix if direction else "", seen, unit, backward, spread)
        drawing = picture.drawing()
        if not picture.homeless:
            break
    return drawing


class _Picture:
    def __init__(self, way, suffix, seen, unit, backward, spread):
        self.layer, self.suffix, self.seen, self.unit, self.backward = (
            way.layer,
            suffix,
            seen,
            unit,
            backward,
        )
        self.cell, layer = way.cell, way
        self.circuit = cell_circuit(layer.cell)
        self.wiring = self.circuit.wiring
        self.grid = Grid(self.circuit, layer.cell, spread)
        self.before = way.before
        self.names = evaluate.names(self.cell, self.before)
        self.canvas, self.homeless = Canvas(), []
        self.numbers = evaluate.forward(layer, seen) if seen else {}
        if seen and backward:
            self.numbers = evaluate.backward(self.cell, self.numbers, seen.gradients, layer)
        elif seen:
            self.numbers |= {"x": seen.x} | {f"previous:{s}": a for s, a in seen.before.items()}
        self.vector, self.projected_shape = (
            f"({layer.hidden_size:,},)",
            notation.shape((f"{layer.output_size:,}",)),
        )
        projected = dict(zip(self.cell.states, self.cell.projected_states, strict=True))
        after = {n.id for n in self.cell.graph().nodes if n.kind == "projection"}
        wires = [(a, b) for a, b, _ in self.circuit.routes]
        while more := {b for a, b in wires if a in after} - after:
            after |= more
        self.projected = after | {f"previous:{s}" for s, yes in projected.items() if yes}

    def drawing(self):
        grid, kind = self.grid, describe.kind(self.layer)
        self.canvas.group("cell", grid.frame, "", 11, palette.UNIT, penwidth=1.6)
        self._gates()
        self._bars()
        self._operations()
        self._terminals()
        wires = [*self._wires(), *self._bus()]
        left, bottom, right, top = grid.frame
        border = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
        self.places = labels.Places(
            [*self.canvas.box.values(), *self._signs()], [border, *(points for *_, points in wires)]
        )
        for tail, head, points in wires:
            self._draw(tail, head, points, [p for *_, p in wires])
        self._write(wires)
        left, _, right, top = self._extent()
        title = f"{kind} layer{self.suffix}{', backward' if self.backward else ''}"
        lines = f"{title} · {describe.layer_summary(self.layer)}"
        self.canvas.add(dot.text(((left + right) / 2, top + 20), lines, 11, palette.HEADING))
        self._legend(left, right)
        said = f"{describe.layer_summary(self.layer)}; gates {', '.join(self.cell.gates)}; states {', '.join(self.cell.states)}."
        if self.backward:
            said += " The gradient's way: wires run from the new states back to x and the states of the step before."
        if self.seen:
            said += (
                f" Values at step {self.seen.t} of steps 0 to {self.seen.T - 1}, {self._whose()}."
            )
        return Drawing.from_items(f"{title}: {self.layer!r}", said, self.canvas.items)

    def _extent(self):
        boxes = [i.box for i in self.canvas.items]
        return (
            min(b[0] for b in boxes),
            min(b[1] for b in boxes),
            max(b[2] for b in boxes),
            max(b[3] for b in boxes),
        )

    # Nodes

    def _number(self, k):
        """What a node's value is at this step: of one unit, or over all."""
        if k not in self.numbers:
            return None
        a = self.numbers[k]
        if self.unit is not None:
            return (
                None
                if k == "x" or len(a) <= self.unit or k in self.projected
                else float(a[self.unit])
            )
        return float(np.sqrt(np.mean(a * a)) if self.backward else np.mean(a))

    def _whose(self):
        over = "root mean square over units" if self.backward else "mean over units"
        return over if self.unit is None else f"unit {self.unit}"

    def _tip(self, text, k):
        v = self._number(k)
        what = "gradient" if self.backward else "value"
        return text if v is None else f"{text}, {what} {notation.exact(v)}"

    def _gates(self):
        for a in self.wiring.neurons:
            label = a.label.removeprefix("Σ → ")
            look = {
                "style": "filled",
                "fill": a.colour,
                "color": palette.INK,
                "penwidth": 1.2,
                "fontsize": 12,
            }
            takes = " and ".join(name for name, used in (("x", a.x), ("h", a.h)) if used)
            tip = self._tip(f"{a.name}: dense layer of {takes}", a.id)
            self.canvas.node(a.id, self.grid.at[a.id], self.grid.size[a.id], label, tip=tip, **look)

    def _bars(self):
        """Composites over several neurons; the points that their results leave from are not drawn."""
        for bar, (at, size) in zip(self.wiring.bars, self.grid.bars, strict=True):
            fold = next(o.fold for o in self.wiring.operations if o.id in bar)
            look = {
                "style": "filled",
                "fill": "#FFFFFF",
                "color": palette.INK,
                "penwidth": 1.2,
                "fontsize": 12,
            }
            first = next(iter(bar))
            name = first if len(bar) == 1 else f"bar:{first}"
            self.canvas.node(name, at, size, fold.composite.name, tip=fold.said(self.names), **look)
            for r in bar if len(bar) > 1 else ():
                self.canvas.add(dot.anchor(r, self.grid.at[r]))

    def _operations(self):
        for o in self.wiring.operations:
            if any(o.id in bar for bar in self.wiring.bars):
                continue
            look = {"color": palette.INK, "penwidth": 1.2, "fontsize": 12, "fill": o.colour}
            look |= {"style": "filled"} if o.gate else {"shape": "ellipse"}
            if o.dense or (o.fold and not o.gate):
                look = {**look, "style": "filled", "shape": "box", "fill": "#FFFFFF"}
            tip = self._tip(o.fold.said(self.names) if o.fold else self.names[o.id], o.id)
            self.canvas.node(
                o.id, self.grid.at[o.id], self.grid.size[o.id], o.label, tip=tip, **look
            )
        for p in self.wiring.parameters:
            look = {
                "fontsize": 9,
                "color": palette.LINE,
                "fill": "#FFFFFF",
                "style": "rounded,filled",
            }
            tip = self._tip(f"{self.names[p]}: own parameter of each unit", p)
            self.canvas.node(p, self.grid.at[p], self.grid.size[p], self.names[p], tip=tip, **look)

    def _terminals(self):
        first = self.cell.states[0]
        look = {
            "shape": "circle",
            "fill": palette.H_GROUP[0],
            "color": palette.state(first, 0),
            "penwidth": 1.4,
            "fontsize": 12,
        }
        tip = f"output {first}: what the layer above sees"
        self.canvas.node(
            "above",
            self.grid.at["above"],
            self.grid.size["above"],
            notation.sub(first, "t"),
            tip=tip,
            **look,
        )
        fill, _ = palette.TERMINAL
        for k, s in enumerate(self.cell.states):
            colour = palette.state(s, k)
            for end, when in (("previous", self.before), ("state", "t")):
                name = f"{end}:{s}"
                if name in self.grid.at:
                    look = {
                        "style": "rounded,filled",
                        "fill": fill,
                        "color": colour,
                        "penwidth": 1.4,
                        "fontsize": 12,
                    }
                    said = (
                        f"{s} of the step before"
                        if end == "previous"
                        else f"new {s}, to the next step"
                    )
                    tip = self._tip(
                        said, f"previous:{s}" if end == "previous" else self.wiring.makers[s]
                    )
                    self.canvas.node(
                        name,
                        self.grid.at[name],
                        self.grid.size[name],
                        notation.sub(s, when),
                        tip=tip,
                        **look,
                    )
        if self.cell.x_gates:
            fill, border = palette.X_GROUP
            look = {
                "shape": "circle",
                "fill": fill,
                "color": border,
                "penwidth": 1.4,
                "fontsize": 12,
            }
            tip = f"input x, {notation.count(self.layer.input_size, 'number')} a step"
            self.canvas.node(
                "x", self.grid.at["x"], self.grid.size["x"], notation.sub("x", "t"), tip=tip, **look
            )

    # Wires

    def _wires(self):
        """(tail, head, points) of every wire of the circuit, from border to border."""
        return [(a, b, self.grid.wire(a, b, places)) for a, b, places in self.circuit.routes]

    def _bus(self):
        """x and h of the step before, to every gate that has weights for them."""
        previous, out = f"previous:{self.cell.states[0]}", []
        for a in self.wiring.neurons:
            out += [
                (s, a.id, self.grid.tap(s, a.id))
                for s, used in ((previous, a.h), ("x", a.x))
                if used
            ]
        return out

    def _colour(self, tail, head):
        if self.backward:
            return palette.GRADIENT
        for k, s in enumerate(self.cell.states):
            lane = {f"previous:{s}", *self.circuit.spines.get(s, ())}
            if self.wiring.makers[s] == tail or (
                tail in lane and (head in lane or head == f"state:{s}")
            ):
                return palette.state(s, k)
            if tail == f"previous:{s}" and (self.grid.apart or head not in self.grid.neurons):
                return palette.state(s, k)
        return palette.INK

    def _lane(self, s):
        """The wires of a state's lane, none where it has no operation."""
        spine = self.circuit.spines[s]
        return list(pairwise([f"previous:{s}", *spine, f"state:{s}"])) if spine else []

    def _draw(self, tail, head, points, every):
        """A wire in pieces, with gaps where others cross it; the gradient's way ends at the tail."""
        name = self.names.get(tail, notation.sub("x", "t") if tail == "x" else tail)
        look = {
            "color": self._colour(tail, head),
            "penwidth": 1.6,
            "tip": f"{name} {self._shape(tail)}",
        }
        if self.backward:
            points = points[::-1]
            tail, head = head, tail
            look |= {"tip": f"gradient of {name} {self._shape(head)}"}
            lane = next((s for s in self.circuit.spines if (head, tail) in self._lane(s)), None)
            if lane:
                look |= {
                    "penwidth": 3.2,
                    "color": palette.state(lane, self.cell.states.index(lane)),
                }
        pieces = self.grid.pieces(points, every)
        for k, piece in enumerate(pieces):
            self.canvas.add(dot.wire(tail, head, piece, arrow=k == len(pieces) - 1, **look))

    def _shape(self, tail):
        if tail == "x":
            return notation.shape((f"{self.layer.input_size:,}",))
        return self.projected_shape if tail in self.projected else self.vector

    # Text

    def _signs(self):
        """+ and − where a difference takes its two sides; returns the boxes they take."""
        boxes = []
        for o in self.wiring.operations:
            if o.label == "−" and len(self.wiring.arguments[o.id]) == 2:
                ends = [(a, places) for a, b, places in self.circuit.routes if b == o.id]
                for sign, a in zip("+−", self.wiring.arguments[o.id], strict=True):
                    way = ends.pop([tail for tail, _ in ends].index(a))[
                        1
                    ]  # the same value may come twice
                    item = dot.text(self.grid.beside_end(o.id, way), sign, 10, palette.INK)
                    self.canvas.add(item)
                    boxes.append(item.box)
        return boxes

    def _write(self, wires):
        """What each wire carries, beside it: once for each value, or for each way back the factor it brings."""
        for points, label, colour, name in (
            self._factors(wires) if self.backward else self._values(wires)
        ):
            at = self.places.beside(points, label, TEXT)
            if at is None:
                self.homeless.append(label)
            else:
                self.canvas.add(dot.text(at, label, TEXT, colour, name=name and f"value:{name}"))

    def _values(self, wires):
        done, named = (
            set(),
            {*self.cell.graph().values.values(), *(a.id for a in self.wiring.neurons)},
        )
        for tail, head, points in sorted(wires, key=lambda w: len(w[2])):
            if tail in done or head == "above":
                continue
            done.add(tail)
            alone = tail.startswith("previous:") and tail not in self.circuit.place
            if tail == "x" or alone:
                points = self.grid.entry(tail)
            said = tail in named or tail.startswith("previous:")
            name = (
                notation.sub("x", "t")
                if tail == "x"
                else self.names.get(tail, notation.sub(tail.partition(":")[2], self.before))
            )
            label = f"{name}  {self._shape(tail)}" if said or tail == "x" else self._shape(tail)
            v = self._number(tail)
            yield (
                points,
                label if v is None else f"{label}\n{notation.signed(v)}",
                palette.MUTED,
                "" if v is None else tail,
            )
        if self.cell.x_gates and self.cell.h_gates and not self.grid.apart:
            D, H = self.layer.input_size, self.layer.sizes.P
            first = notation.sub(self.cell.states[0], self.before)
            yield (
                self.grid.bus_line(),
                f"[{first} , {notation.sub('x', 't')}]  ({D + H:,},)",
                palette.MUTED,
                "",
            )

    def _factors(self, wires):
        local = evaluate.local_derivatives(self.cell)
        sums = {n.id for n in self.cell.graph().nodes if n.kind == "sum"}
        dense = {
            o.id: o.label if o.label == "W_hr" else "W_hh"
            for o in self.wiring.operations
            if o.dense
        }
        folded = {o.id: o.fold.composite.name for o in self.wiring.operations if o.fold}
        for tail, head, points in wires:
            found = [e for a, e in local.get(head, []) if a == tail]
            inner = (
                [e for a, e in local.get(head, []) if a in sums]
                if head in self.grid.neurons
                else []
            )
            if head in dense:
                yield points[-2:], f"× {dense[head]}, transposed", palette.GRADIENT, ""
            elif head in folded:
                v = self._number(tail)
                label = f"through {folded[head]}" + ("" if v is None else f"\n{notation.plain(v)}")
                yield points[-2:], label, palette.GRADIENT, "" if v is None else tail
            elif found:
                yield points[-2:], f"× {self._spelled(found.pop(0))}", palette.GRADIENT, ""
            elif inner and tail != "x":
                sum_of = next(a for a, _ in local[head] if a in sums)
                v = self._number(sum_of)
                label = f"× {self._spelled(inner[0])}" + (
                    "" if v is None else f"\n{notation.plain(v)}"
                )
                yield points[-2:], label, palette.GRADIENT, "" if v is None else sum_of
            elif head.startswith("state:") or head == "above":
                v = self._number(tail) if head != "above" else None
                label = f"∂L/∂{self.names[tail]}" + ("" if v is None else f"\n{notation.plain(v)}")
                if head == "above":
                    label = "from the layer above"
                yield points, label, palette.MUTED, "" if v is None else head
        if self.cell.h_gates:
            yield (
                self.grid.bus_line(),
                "W_hh transposed: gradients of all units mix here",
                palette.MUTED,
                "",
            )

    def _spelled(self, e):
        text = evaluate.spell(e, self.names)
        return f"({text})" if " " in text and not text.endswith(")") else text

    def _legend(self, left, right):
        rows = [
            (
                "dense",
                (22, 13),
                {"style": "filled", "fill": "#FFFFFF"},
                "",
                "dense layer + activation",
            )
        ]
        look = {"shape": "ellipse", "fill": palette.OPERATION}
        rows.append(("element", (15, 15), look, "", "element by element"))
        for k, g in enumerate(self.cell.gates):
            name, colour = palette.gate(g, self.cell.gates)
            rows.append(
                (
                    f"gate{k}",
                    (16, 14),
                    {"style": "filled", "fill": colour, "fontsize": 9},
                    g,
                    "" if name == g else name,
                )
            )
        formulas = {}
        for composite in sorted(
            (o.fold.composite for o in self.wiring.operations if o.fold),
            key=lambda c: len(c.formula),
        ):
            formulas[composite.name] = composite.formula  # the one that has everything
        for name, formula in formulas.items():
            look = {"style": "filled", "fill": "#FFFFFF", "fontsize": 9}
            meaning = f"{formula}, over all units of everything that goes in"
            rows.append((f"composite:{name}", (26, 14), look, name, meaning))
        x, y = left, self._extent()[1] - 22
        for name, size, look, label, meaning in rows:
            wide = size[0] + 8 + notation.width(meaning, 9) * 1.1 + 20
            if x > left and x + wide > max(right, left + 420):
                x, y = left, y - 20
            self.canvas.node(
                f"key:{name}",
                (x + size[0] / 2, y),
                size,
                label,
                color=palette.INK,
                penwidth=1,
                **look,
            )
            if meaning:
                self.canvas.add(dot.text((x + size[0] + 5, y), meaning, 9, anchor="start"))
            x += wide
        notes = []
        if self.backward:
            notes.append(
                "violet: the gradient's way back, times what is written; where ways meet, gradients add"
            )
            notes += [
                f"thick: along {s} only × {' × '.join(self._along(s)) or '1'}, no weights"
                for s, spine in self.circuit.spines.items()
                if spine
            ]
        named = [(note, "") for note in notes]
        if self.seen:
            named.append((f"numbers at t = {self.seen.t}: {self._whose()}", "numbers"))
        for note, name in named:
            y -= 17
            self.canvas.add(dot.text((left, y), note, 9, anchor="start", name=name))

    def _along(self, s):
        local = evaluate.local_derivatives(self.cell)
        chain = [f"previous:{s}", *self.circuit.spines[s]]
        found = [next(e for k, e in local[b] if k == a) for a, b in pairwise(chain)]
        return [self._spelled(e) for e in found if not (e.op == "const" and e.value == 1)]
