"""The vector view of a cell: gates as boxes, operations on vectors as circles, states as lanes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Unpack

import numpy as np

from recurrent import checks
from recurrent.cells import Cell, find
from recurrent.layers import Recurrent

from ..draw import adapt, dot, labels, notation, palette
from ..draw.adapt import Look, adaptable
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing
from ..layout.circuit import cell_circuit
from ..reading import describe, evaluate, gates, nodes
from ..reading.direction import NAMES, check_recurrent, check_unit, direction_of
from .parts.cell_grid import Grid

# Factors by which rows and columns move apart until every label has a place.
SPREADS = (1.0, 1.2, 1.45, 1.8, 2.3, 3.0)
# Of a backward picture wider than WIDE points, factors of more characters than these are numbered
# and written below it.
LONG, WIDE = (14, 6), 1050
TEXT = 8.5
MIXING = "W_hh transposed: gradients of all units mix here"
SIZES = 2, 3  # of a layer that stands for a cell; they are drawn as D and H
_BOX = dict(style="filled", fill="#FFFFFF", color=palette.INK, penwidth=1.2, fontsize=12)


@adaptable
def cell(
    layer: Any,
    recording: Any = None,
    t: int | None = None,
    n: int = 0,
    unit: int | None = None,
    backward: bool = False,
    direction: str | None = None,
    **options: Unpack[Look],
) -> Drawing:
    """Draw the equations of a recurrent layer as a circuit of vectors.

    The circuit is laid out from the cell's own expression graph, so that it shows any cell. Every
    wire bears its shape.

    Parameters
    ----------
    layer : recurrent.layers.Recurrent, Cell or str
        The layer to draw; or a cell, or the name of one, such as "lstm", with sizes as letters: D
        inputs, H units and P projected outputs.
    recording : recurrent.Recording, optional
        A recorded run of the layer's model, whose values are written on the wires.
    t : int, optional
        The time step of the values; the last one by default.
    n : int
        The sequence of the batch.
    unit : int, optional
        Show the values of this unit; by default the mean over all units.
    backward : bool
        Draw the backward pass: wires from the new states back, with the derivative that each
        operation multiplies the gradient by, and the gradients of a recording with a loss.
    direction : str, optional
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
        If a cell is unknown, or is given with values; if the recording is of another model or lacks
        the gradients asked for; or if the direction does not exist, or is missing for a recording
        of a bidirectional layer.
    """
    symbolic = isinstance(layer, (str, Cell))
    if symbolic:
        layer = _layer_of(layer, recording=recording, unit=unit, direction=direction)
    check_recurrent(layer, "cell")
    backward = checks.flag(backward, "backward")
    direction = None if direction is None else checks.choice(direction, "direction", NAMES)
    if unit is not None:
        check_unit(unit, layer)
    if recording is not None and direction is None and layer.bidirectional:
        raise ValueError(
            "cell shows the values of one direction: "
            f"give direction='forward' or 'reverse' of {layer!r}"
        )
    way = direction_of(layer, direction or "forward", "cell")
    step = None if recording is None else evaluate.step(recording, way, t, n)
    if step and backward and not step.gradients:
        raise ValueError(
            "the recording has no gradients: record it with model.record(x, targets=..., loss=...)"
        )
    suffix = way.suffix if direction else ""
    tried = []
    for long in (None, *LONG) if backward else (None,):
        for spread in SPREADS:
            picture = _Picture(way, suffix, step, unit, backward, spread, symbolic, long)
            drawing = picture.drawing()
            if not picture.unplaced:
                break
        tried.append((len(picture.unplaced), drawing.size[0], drawing))
        if not picture.unplaced and drawing.size[0] <= WIDE:
            break
    return min(tried, key=lambda one: one[:2])[2]


def _layer_of(cell, **given):
    """Return a small layer of a cell; raise ValueError for options that need a real one."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} is for a layer of a model: a cell alone has no values")
    cell = find(cell)
    projected: Any = dict(proj_size=1) if cell.has_projection else {}
    return Recurrent(cell, SIZES[0] + len(cell.inputs), SIZES[1], **projected)


class _Picture:
    def __init__(self, way, suffix, step, unit, backward, spread, symbolic=False, long=None):
        self.way, self.layer, self.cell = way, way.layer, way.cell
        self.suffix, self.step, self.unit, self.backward = suffix, step, unit, backward
        self.symbolic, self.circuit = symbolic, cell_circuit(self.cell)
        self.wiring = self.circuit.wiring
        self.grid = Grid(self.circuit, self.cell, spread)
        self.names = evaluate.node_names(self.cell, way.before)
        self.canvas, self.unplaced = Canvas(), []
        self.long = long  # factors of more characters may be numbered
        self.numbered: dict[str, int] = {}  # those that are written below
        self.mixing = ""  # a note for which the bus has no place
        self.numbers = self._numbers()
        self.projected, self.single = self._projected(), self._single()

    def _numbers(self):
        """Return the value, or the gradient, of every node."""
        if self.step is None:
            return {}
        values = evaluate.forward(self.way, self.step)
        if self.backward:
            return evaluate.backward(self.cell, values, self.step.gradients, self.way)
        before = {nodes.previous(s): a for s, a in self.step.before.items()}
        return values | {"x": self.step.x} | before

    def _projected(self):
        """Return the nodes whose values have the size of the projection."""
        after = {n.id for n in self.cell.graph().nodes if n.kind == "projection"}
        wires = [(a, b) for a, b, _ in self.circuit.routes]
        while more := {b for a, b in wires if a in after} - after:
            after |= more
        states = zip(self.cell.states, self.cell.projected_states, strict=True)
        return after | {nodes.previous(s) for s, projected in states if projected}

    def _single(self):
        """Return the nodes whose value is one number for all units."""
        names = {*self.cell.scalars, *self.cell.inputs}
        found = {p for p in self.wiring.parameters if nodes.parameter_name(p) in names}
        for o in self.wiring.operations:
            operands = self.wiring.arguments[o.id]
            if operands and not o.fold and set(operands) <= found:
                found.add(o.id)
        return found

    def drawing(self):
        frame = self.grid.frame
        self.canvas.group("cell", frame, "", 11, palette.UNIT, penwidth=1.6)
        self._gates()
        self._bars()
        self._operations()
        self._terminals()
        wires = [*self._wires(), *self._bus()]
        left, bottom, right, top = frame
        border = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
        boxes = [*self.canvas.box.values(), *self._signs()]
        self.places = labels.Places(boxes, [border, *(points for *_, points in wires)])
        for tail, head, points in wires:
            self._draw(tail, head, points, [p for *_, p in wires])
        self._write(wires)
        left, _, right, top = self.canvas.extent
        summary = describe.layer_summary(self.layer)
        title = f"{describe.kind(self.layer)} layer{describe.named(self.layer, ' ')}{self.suffix}"
        of = f": {self.layer!r}"
        if self.symbolic:
            summary, of = describe.cell_summary(self.cell), ""
            title = f"{self.cell.name} cell"
        title += ", backward" * self.backward
        heading = ((left + right) / 2, top + 20)
        self.canvas.text(heading, adapt.heading(f"{title} · {summary}"), 11, palette.HEADING)
        self._legend(left, right)
        text = f"{summary}; gates {', '.join(self.cell.gates)}; "
        text += f"states {', '.join(self.cell.states)}."
        if self.backward:
            text += " Wires show the gradient, from the new states back to x and the previous "
            text += "states."
        if self.step:
            last = self.step.T - 1
            text += f" Values at step {self.step.t} of steps 0 to {last}, {self._whose()}."
        return Drawing.from_items(f"{title}{of}", text, self.canvas.items)

    # Nodes

    def _number(self, k):
        """Return a node's value at this step: that of the chosen unit, or a mean over all units."""
        if k not in self.numbers:
            return None
        a = self.numbers[k]
        if self.unit is not None:
            shared = k == "x" or len(a) <= self.unit or k in self.projected
            return None if shared else float(a[self.unit])
        return float(np.sqrt(np.mean(a * a)) if self.backward else np.mean(a))

    def _whose(self):
        over = "root mean square over units" if self.backward else "mean over units"
        if self.unit is None:
            return over
        own = adapt.label("units", self.unit, self.way.hidden_size, "")
        return f"unit {self.unit}{f' ({own})' * bool(own)}"

    def _tip(self, text, k):
        v = self._number(k)
        what = "gradient" if self.backward else "value"
        return text if v is None else f"{text}, {what} {notation.exact(v)}"

    def _node(self, name, label, tip, **look):
        self.canvas.node(name, self.grid.at[name], self.grid.size[name], label, tip=tip, **look)

    def _gates(self):
        for a in self.wiring.neurons:
            takes = " and ".join(name for name, used in (("x", a.x), ("h", a.h)) if used)
            tip = self._tip(f"{a.name}: dense layer of {takes}", a.id)
            self._node(a.id, a.short_label, tip, **{**_BOX, "fill": a.colour})

    def _bars(self):
        """Draw composites of several neurons; their results leave from invisible points."""
        for bar, (at, size) in zip(self.wiring.bars, self.grid.bars, strict=True):
            fold: Any = next(o.fold for o in self.wiring.operations if o.id in bar)
            first = next(iter(bar))
            name = first if len(bar) == 1 else f"bar:{first}"
            tip = fold.described(self.names)
            self.canvas.node(name, at, size, fold.composite.name, tip=tip, **_BOX)
            for result in bar if len(bar) > 1 else ():
                self.canvas.add(dot.anchor(result, self.grid.at[result]))

    def _operations(self):
        for o in self.wiring.operations:
            if any(o.id in bar for bar in self.wiring.bars):
                continue
            look = dict(color=palette.INK, penwidth=1.2, fontsize=12, fill=o.colour)
            look |= dict(style="filled") if o.gate else dict(shape="ellipse")
            if o.dense or (o.fold and not o.gate):
                look |= dict(style="filled", shape="box", fill="#FFFFFF")
            text = o.fold.described(self.names) if o.fold else self.names[o.id]
            self._node(o.id, o.label, self._tip(text, o.id), **look)
        look = dict(fontsize=9, color=palette.LINE, fill="#FFFFFF", style="rounded,filled")
        for p in self.wiring.parameters:
            name, what = self.names[p], "own parameter of each unit"
            if name in self.cell.scalars:
                what = "parameter that all units share"
            elif name in self.cell.inputs:
                what = "column of x, the same for all units"
            self._node(p, name, self._tip(f"{name}: {what}", p), **look)

    def _terminals(self):
        first = self.cell.states[0]
        colours = (palette.H_GROUP[0], palette.state(first, 0))
        tip = f"output {first}: input of the next layer"
        self._terminal("above", notation.sub(first, "t"), tip, "circle", *colours)
        for k, s in enumerate(self.cell.states):
            colours = (palette.TERMINAL[0], palette.state(s, k))
            old, new = nodes.previous(s), nodes.new(s)
            if old in self.grid.at:
                tip = self._tip(f"{s} of the previous step", old)
                self._terminal(old, notation.sub(s, self.way.before), tip, "", *colours)
            if new in self.grid.at:
                tip = self._tip(f"new {s}, to the next step", self.wiring.makers[s])
                self._terminal(new, notation.sub(s, "t"), tip, "", *colours)
        if self.cell.x_gates:
            count = "D numbers"
            if not self.symbolic:
                count = notation.count(self.layer.input_size, "number")
            tip = f"input x, {count} per step"
            self._terminal("x", notation.sub("x", "t"), tip, "circle", *palette.X_GROUP)

    def _terminal(self, name, label, tip, shape, fill, border):
        outline = dict(shape=shape) if shape else dict(style="rounded,filled")
        look = dict(fill=fill, color=border, penwidth=1.4, fontsize=12)
        self._node(name, label, tip, **outline, **look)

    # Wires

    def _wires(self):
        """Return (tail, head, points) of every wire of the circuit, from border to border."""
        return [(a, b, self.grid.wire(a, b, places)) for a, b, places in self.circuit.routes]

    def _bus(self):
        """Return the wires of x and the previous h to every gate that has weights for them."""
        h = nodes.previous(self.cell.states[0])
        return [
            (source, a.id, self.grid.tap(source, a.id))
            for a in self.wiring.neurons
            for source, used in ((h, a.h), ("x", a.x))
            if used
        ]

    def _colour(self, tail, head):
        if self.backward:
            return palette.GRADIENT
        for k, s in enumerate(self.cell.states):
            lane = {nodes.previous(s), *self.circuit.spines.get(s, ())}
            on_lane = tail in lane and (head in lane or head == nodes.new(s))
            to_operation = self.grid.apart or head not in self.grid.neurons
            from_state = tail == nodes.previous(s) and to_operation
            if self.wiring.makers[s] == tail or on_lane or from_state:
                return palette.state(s, k)
        return palette.INK

    def _lane(self, s):
        """Return the wires along a state's lane; a lane without operations has none."""
        spine = self.circuit.spines[s]
        return list(pairwise([nodes.previous(s), *spine, nodes.new(s)])) if spine else []

    def _draw(self, tail, head, points, every):
        """Draw a wire with gaps where others cross it; a gradient's wire ends at the tail."""
        name = self.names.get(tail, notation.sub("x", "t") if tail == "x" else tail)
        look = dict(color=self._colour(tail, head), penwidth=1.6)
        look["tip"] = f"{name} {self._shape(tail)}"
        if self.backward:
            points, tail, head = points[::-1], head, tail
            look["tip"] = f"gradient of {name} {self._shape(head)}"
            lane = next((s for s in self.circuit.spines if (head, tail) in self._lane(s)), None)
            if lane:
                colour = palette.state(lane, self.cell.states.index(lane))
                look |= dict(penwidth=3.2, color=colour)
        pieces = self.grid.pieces(points, every)
        for k, piece in enumerate(pieces):
            self.canvas.wire(tail, head, piece, arrow=k == len(pieces) - 1, **look)

    def _shape(self, tail):
        if tail in self.single:
            return "(1,)"
        if self.symbolic:
            return f"({'D' if tail == 'x' else 'P' if tail in self.projected else 'H'},)"
        size = self.way.output_size if tail in self.projected else self.way.hidden_size
        return notation.shape((f"{self.way.input_size if tail == 'x' else size:,}",))

    # Text

    def _signs(self):
        """Mark the operands of operations whose order matters; return the boxes that take room."""
        boxes = []
        for o in self.wiring.operations:
            ends = [(a, places) for a, b, places in self.circuit.routes if b == o.id]
            for mark, a in zip(
                o.marks, self.wiring.arguments[o.id] if o.marks else (), strict=True
            ):
                # The same value may be both operands, so each wire is used up.
                _, places = ends.pop([tail for tail, _ in ends].index(a))
                at = self.grid.beside_end(o.id, places, notation.width(mark, 10) / 2)
                boxes.append(self.canvas.text(at, mark, 10, palette.INK).box)
        return boxes

    def _write(self, wires):
        """Write each value beside its wire, or in the backward picture each wire's factor."""
        texts = self._factors(wires) if self.backward else self._values(wires)
        for points, label, colour, name in texts:
            at = self.places.beside(points, label, TEXT)
            if at is None and self._is_long(label):
                label = self._number_of(label)
                at = self.places.beside(points, label, TEXT)
            if at is not None:
                self.canvas.text(at, label, TEXT, colour, name=name and f"value:{name}")
            elif label == MIXING:
                self.mixing = MIXING.replace("here", f"on their way to {self._previous()}")
            else:
                self.unplaced.append(label)

    def _is_long(self, label):
        """Return whether a text is a factor that may be written below the picture."""
        factor = label.partition("\n")[0]
        return factor[0] in "×t" and self.long is not None and len(factor) > self.long

    def _number_of(self, label):
        """Return a factor's number in place of the factor, which is written below the picture."""
        factor, _, value = label.partition("\n")
        k = self.numbered.setdefault(factor, len(self.numbered) + 1)
        return f"({k})\n{value}" if value else f"({k})"

    def _values(self, wires):
        """Yield (points, label, colour, name) for each value, once."""
        named = {*self.cell.graph().values.values(), *(a.id for a in self.wiring.neurons)}
        done = set()
        for tail, head, points in sorted(wires, key=lambda w: len(w[2])):
            if tail in done or head == "above":
                continue
            done.add(tail)
            state = nodes.previous_state(tail)
            if tail == "x" or (state and tail not in self.circuit.place):
                points = self.grid.entry(tail)
            label = self._shape(tail)
            if tail == "x":
                label = f"{notation.sub('x', 't')}  {label}"
            elif tail in named or state:
                name = self.names.get(tail, notation.sub(state, self.way.before))
                label = f"{name}  {label}"
            v = self._number(tail)
            if v is None:
                yield points, label, palette.MUTED, ""
            else:
                yield points, f"{label}\n{notation.signed(v)}", palette.MUTED, tail
        if self.cell.x_gates and self.cell.h_gates and not self.grid.apart:
            size = f"{self.way.input_size + self.way.output_size:,}"
            if self.symbolic:
                size = "D + P" if self.cell.has_projection else "D + H"
            first = notation.sub(self.cell.states[0], self.way.before)
            label = f"[{first} , {notation.sub('x', 't')}]  ({size},)"
            yield self.grid.bus_line(), label, palette.MUTED, ""

    def _factors(self, wires):
        """Yield (points, label, colour, name) for each wire that multiplies the gradient."""
        local = evaluate.local_derivatives(self.cell)
        sums = {n.id for n in self.cell.graph().nodes if n.kind == "sum"}
        operations = self.wiring.operations
        dense = {o.id: o.label if o.label == "W_hr" else "W_hh" for o in operations if o.dense}
        folded = {o.id: o.fold.composite.name for o in operations if o.fold}
        # A comparison and a condition pass no gradient on.
        plain = {o.id: "mean over units" if o.label == "mean" else "× 0" for o in operations}
        for tail, head, points in wires:
            derivatives = [e for a, e in local.get(head, []) if a == tail]
            inner = [(a, e) for a, e in local.get(head, []) if a in sums]
            if head in dense:
                yield points[-2:], f"× {dense[head]}, transposed", palette.GRADIENT, ""
            elif head in folded:
                text = self._with_number(f"through {folded[head]}", tail)
                yield points[-2:], text, palette.GRADIENT, self._named(tail)
            elif derivatives:
                yield points[-2:], f"× {self._spelled(derivatives[0])}", palette.GRADIENT, ""
            elif head in plain:
                yield points[-2:], plain[head], palette.GRADIENT, ""
            elif head in self.grid.neurons and inner and tail != "x":
                summed, e = inner[0]
                text = self._with_number(f"× {self._spelled(e)}", summed)
                yield points[-2:], text, palette.GRADIENT, self._named(summed)
            elif head == "above":
                yield points, "from the layer above", palette.MUTED, ""
            elif nodes.is_new(head):
                text = self._with_number(f"∂L/∂{self.names[tail]}", tail)
                yield points, text, palette.MUTED, head if self._named(tail) else ""
        if any(a.h for a in self.wiring.neurons):
            yield self.grid.bus_line(), MIXING, palette.MUTED, ""

    def _with_number(self, text, k):
        v = self._number(k)
        return text if v is None else f"{text}\n{notation.plain(v)}"

    def _named(self, k):
        return "" if self._number(k) is None else k

    def _spelled(self, e):
        text = evaluate.spell(e, self.names)
        return evaluate.bracketed(text, evaluate.ATOM) if " " in text else text

    def _legend(self, left, right):
        x, y = left, self.canvas.extent[1] - 22
        for name, size, look, label, meaning in self._keys():
            wide = size[0] + 8 + notation.width(meaning, 9) * 1.1 + 20
            if x > left and x + wide > max(right, left + 420):
                x, y = left, y - 20
            at = (x + size[0] / 2, y)
            self.canvas.node(f"key:{name}", at, size, label, color=palette.INK, penwidth=1, **look)
            if meaning:
                self.canvas.text((x + size[0] + 5, y), meaning, 9, anchor="start")
            x += wide
        for note, name in self._notes():
            y -= 17
            self.canvas.text((left, y), note, 9, anchor="start", name=name)

    def _keys(self):
        """Yield (name, size, look, label, meaning) of the keys."""
        box = dict(style="filled", fill="#FFFFFF")
        yield "dense", (22, 13), box, "", "dense layer + activation"
        circle = dict(shape="ellipse", fill=palette.OPERATION)
        yield "element", (15, 15), circle, "", "element-wise"
        dense = {o.gate for o in self.wiring.operations if o.dense}  # drawn in white
        for k, g in enumerate(g for g in self.cell.gates if g not in dense):
            name, colour = gates.look(self.cell, g)
            look = dict(style="filled", fill=colour, fontsize=9)
            yield f"gate{k}", (16, 14), look, g, "" if name == g else name
        found = (o.fold for o in self.wiring.operations if o.fold)
        # Among composites of one name, the last wins: the longest formula, which has all terms.
        formulas = {
            f.composite.name: f.formula for f in sorted(found, key=lambda f: len(f.formula))
        }
        for name, meaning in formulas.items():
            wide = max(26, dot.whole(notation.width(name, 9) * 1.12 + 8))
            yield f"composite:{name}", (wide, 14), {**box, "fontsize": 9}, name, meaning

    def _previous(self):
        return notation.sub(self.cell.states[0], self.way.before)

    def _notes(self):
        """Yield (text, name) of the lines below the keys."""
        if self.backward:
            note = "wires: the back-propagated gradient, multiplied by the factor beside each one"
            yield f"{note}; gradients add where wires meet", ""
            if self.mixing:
                yield self.mixing, ""
            for factor, k in self.numbered.items():
                yield f"({k})  {factor}", ""
            for s, spine in self.circuit.spines.items():
                if spine:
                    factors = " × ".join(self._along(s)) or "1"
                    yield f"thick: along {s} the gradient is multiplied by {factors} only", ""
        if self.step:
            yield f"values at t = {self.step.t}: {self._whose()}", "numbers"

    def _along(self, s):
        """Return the derivatives along a state's lane, without factors of one."""
        local = evaluate.local_derivatives(self.cell)
        chain, found = [nodes.previous(s), *self.circuit.spines[s]], []
        dense = {o.id: o.label for o in self.wiring.operations if o.dense}
        for a, b in pairwise(chain):
            if b in dense:
                found.append(f"{dense[b].removesuffix(' ·')}ᵀ")
                continue
            e = next((e for k, e in local[b] if k == a), None)
            if e is not None and not (e.op == "const" and e.value == 1):
                found.append(self._spelled(e))
        return found
