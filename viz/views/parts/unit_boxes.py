"""Units side by side, each a box with its gates, its own parameters, and its private memory."""

from __future__ import annotations

import numpy as np

from ...draw import adapt, notation, palette
from ...draw.canvas import Canvas
from ...reading import evaluate, gates
from ...reading.direction import Direction
from ...reading.wiring import unit_wiring

CHIP, CIRCLE, SLOT, OWN = 17, 26, 42, (21, 13)
VECTOR = (42, 30)  # an element of a vector: its name with its value below


class Units:
    """Draws units of a layer on a canvas, in boxes of size `wide` x `tall` that stand on y = 0.

    `kept` are the states that stay in their unit, `looping` those that the equations take from the
    previous step.
    """

    def __init__(
        self, canvas: Canvas, way: Direction, step: evaluate.Step | None, limits: dict[str, float]
    ):
        self.canvas, self.way, self.step, self.limits = canvas, way, step, limits
        self.cell, self.H, self.first = way.cell, way.hidden_size, way.cell.states[0]
        self.wiring = unit_wiring(way.cell)
        self.kept, self.looping = self.wiring.kept, {s for s, _ in self.wiring.loops}
        self.rows = [self.cell.gates[k : k + 4] for k in range(0, len(self.cell.gates), 4)]
        own = self.cell.parameters
        # Parameters with long names share one box that shows their number.
        self.named = all(notation.width(name, 8) <= OWN[0] for name in own)
        self.own = [own[k : k + 3] for k in range(0, len(own), 3)] if self.named else [own]
        side = max(
            max(map(len, self.rows), default=1) * (CHIP + 1),
            len(self.kept) * SLOT,
            3 * (OWN[0] + 1) * bool(own),
        )
        self.wide = max(side + 16, notation.width(f"unit {self.H - 1}", 9) + 14, VECTOR[0])
        self.tall = 26 + len(self.rows) * (CHIP + 5) + 16 * len(self.own) + (60 if self.kept else 0)

    def colours(self, v: float | None, name: str) -> dict:
        """Return the fill and the text colour of a value of x or of a state."""
        if v is None:
            return dict(fill="#FFFFFF", fontcolor=palette.INK)
        fill = palette.signed(v, self.limits[name])
        return dict(fill=fill, fontcolor=palette.on(fill))

    def draw(self, j: int, x: float, marked: bool) -> None:
        """Draw unit j centred on x."""
        name = f"unit{j}"
        box = (x - self.wide / 2, 0, x + self.wide / 2, self.tall)
        border = palette.LAYERS["recurrent"][1] if marked else palette.UNIT[1]
        look = dict(penwidth=3 if marked else 1.2, tooltip=name)
        self.canvas.group(name, box, "", 9, ("#FFFFFF", border), **look)
        y = self.tall - 13
        own = notation.fit(adapt.label("units", j, self.H, f"unit {j}"), 9, self.wide - 8)
        self.canvas.text((x, y), own, 9, palette.INK, name=f"name:{name}")
        y -= 12
        if self.kept:
            for k, s in enumerate(self.kept):
                self._memory(j, s, x + (k - (len(self.kept) - 1) / 2) * SLOT - 5, y - 28)
            y -= 60
        for row in self.rows:
            for i, g in enumerate(row):
                self._chip(j, g, x + (i - (len(row) - 1) / 2) * (CHIP + 1), y - CHIP / 2 - 2)
            y -= CHIP + 5
        for row in self.own:
            self._own(j, row, x, y - 7)
            y -= 16

    def _own(self, j, row, x, y):
        """Draw a unit's own parameters: a box each, or one box for all."""
        look = dict(fontsize=8, color=palette.LINE, penwidth=0.6, style="rounded,filled")
        value = {name: notation.exact(float(self.way.parameters[name][j])) for name in row}
        if not self.named:
            listed = ", ".join(f"{name} = {v}" for name, v in value.items())
            tip = f"own parameters of unit {j}: {listed}"
            label, size = f"{len(row)} parameters", (3 * OWN[0], OWN[1])
            self.canvas.node(f"unit{j}:own", (x, y), size, label, tip=tip, **look)
            return
        for i, name in enumerate(row):
            at = (x + (i - (len(row) - 1) / 2) * (OWN[0] + 1), y)
            tip = f"own parameter {name} of unit {j} = {value[name]}"
            self.canvas.node(f"unit{j}:{name}", at, OWN, name, tip=tip, **look)

    def _chip(self, j, g, x, y):
        """Draw a gate; the larger its value, the fuller its colour."""
        title, fill = gates.look(self.cell, g)
        fill = adapt.colour(fill)
        v = self._gate_value(g, j)
        if v is not None:
            share = 0.08 + 0.92 * min(abs(v), 1.0) if np.isfinite(v) else 1.0
            fill = palette.ramp(("#FFFFFF", fill), share)
        label = g
        if g in self.cell.states and len(self.cell.gates) == 1:
            label = next((a.short_label for a in self.wiring.neurons if a.gate == g), g)
        wide = max(CHIP, notation.width(label, 9) + 5)
        tip = f"{title} of unit {j}" + ("" if v is None else f", value {notation.exact(v)}")
        look = dict(fill=fill, color=palette.INK, penwidth=0.7, fontsize=9, tip=tip)
        self.canvas.node(f"unit{j}:{g}:gate", (x, y), (wide, CHIP), label, **look)

    def _gate_value(self, g, j):
        if self.step is None:
            return None
        source = self.step.gates if g in self.step.gates else self.step.after
        return float(source[g][j]) if g in source else None

    def _memory(self, j, s, x, y):
        """Draw a state that stays in its unit as a circle with its loop."""
        colour = palette.state(s, self.cell.states.index(s))
        v = None if self.step is None else float(self.step.after[s][j])
        label, name = notation.sub(s, j if self.H <= 100 else "t"), f"unit{j}:{s}"
        tip = f"{'output' if s == self.first else 'private memory'} {s} of unit {j}"
        tip += "" if v is None else f" = {notation.exact(v)}"
        look = dict(shape="circle", color=colour, penwidth=1.6, fontsize=9, tip=tip)
        self.canvas.node(name, (x, y), (CIRCLE, CIRCLE), label, **look, **self.colours(v, s))
        if s in self.looping:
            r = CIRCLE / 2
            up = [(x + 0.5 * r, y + 0.86 * r), (x + 0.5 * r, y + r + 6)]
            points = [*up, (x + r + 7, y + r + 6), (x + r + 7, y), (x + r, y)]
            tip = f"{s} of unit {j} at {self.way.earlier}, used by unit {j} alone"
            look = dict(radius=5, color=colour, penwidth=1.3, arrowsize="0.45", style="dashed")
            self.canvas.wire(name, name, points, tip=tip, **look)
        if v is not None:
            at = (x, y - CIRCLE / 2 - 7)
            self.canvas.text(at, notation.signed(v), 9, name=f"value:{name}")
