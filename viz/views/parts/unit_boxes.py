"""Units side by side: each a box with its gates, its own parameters, and what it keeps for itself with its loop."""

from __future__ import annotations

import numpy as np

from ...draw import dot, notation, palette
from ...draw.canvas import Canvas
from ...reading import evaluate
from ...reading.direction import Direction
from ...reading.wiring import unit_wiring

CHIP, CIRCLE, SLOT, OWN = 17, 26, 42, (21, 13)
VECTOR = (42, 30)  # a place of a vector: its name, and its value below


class Units:
    """Draws units of a layer on a canvas, their boxes `wide` and `tall` from y = 0 up.

    `kept`: states that stay in their unit; `looping`: those that the equations take from the step before.
    """

    def __init__(
        self, canvas: Canvas, way: Direction, seen: evaluate.Step | None, limits: dict[str, float]
    ):
        self.canvas, self.way, self.seen, self.limits = canvas, way, seen, limits
        self.cell, self.H, self.first = way.cell, way.hidden_size, way.cell.states[0]
        self.wiring = unit_wiring(way.cell)
        self.kept, self.looping = self.wiring.kept, {s for s, _ in self.wiring.loops}
        self.rows = [self.cell.gates[k : k + 4] for k in range(0, len(self.cell.gates), 4)]
        own = self.cell.parameters
        self.named = all(
            notation.width(q, 8) <= OWN[0] for q in own
        )  # else there is room for their number alone
        self.own = [own[k : k + 3] for k in range(0, len(own), 3)] if self.named else [own]
        side = max(
            max(map(len, self.rows), default=1) * (CHIP + 1),
            len(self.kept) * SLOT,
            3 * (OWN[0] + 1) * bool(own),
        )
        self.wide = max(side + 16, notation.width(f"unit {self.H - 1}", 9) + 14, VECTOR[0])
        self.tall = 26 + len(self.rows) * (CHIP + 5) + 16 * len(self.own) + (60 if self.kept else 0)

    def colours(self, v: float | None, group: str) -> dict:
        """Fill and ink of a value."""
        if v is None:
            return {"fill": "#FFFFFF", "fontcolor": palette.INK}
        return {
            "fill": palette.signed(v, self.limits[group]),
            "fontcolor": palette.on(v, self.limits[group]),
        }

    def draw(self, j: int, x: float, mine: bool) -> None:
        """Unit j above x; `mine`: the one that was asked for."""
        name = f"unit{j}"
        box = (x - self.wide / 2, 0, x + self.wide / 2, self.tall)
        border = palette.LAYERS["recurrent"][1] if mine else palette.UNIT[1]
        self.canvas.group(
            name, box, "", 9, ("#FFFFFF", border), penwidth=3 if mine else 1.2, tooltip=name
        )
        y = self.tall - 13
        self.canvas.add(dot.text((x, y), f"unit {j}", 9, palette.INK, name=f"name:{name}"))
        y -= 12
        if self.kept:
            self._memories(j, x, y - 28)
            y -= 60
        for row in self.rows:
            for i, g in enumerate(row):
                self._chip(j, g, x + (i - (len(row) - 1) / 2) * (CHIP + 1), y - CHIP / 2 - 2)
            y -= CHIP + 5
        for row in self.own:
            self._own(j, row, x, y - 7)
            y -= 16

    def _own(self, j, row, x, y):
        """A unit's own parameters: each a box, or where their names are long one box for all."""
        look = {"fontsize": 8, "color": palette.LINE, "penwidth": 0.6, "style": "rounded,filled"}
        value = {q: notation.exact(float(getattr(self.way.params, q)[j])) for q in row}
        if not self.named:
            tip = f"own parameters of unit {j}: {', '.join(f'{q} = {v}' for q, v in value.items())}"
            self.canvas.node(
                f"unit{j}:own",
                (x, y),
                (3 * OWN[0], OWN[1]),
                f"{len(row)} of its own",
                tip=tip,
                **look,
            )
            return
        for i, q in enumerate(row):
            at = (x + (i - (len(row) - 1) / 2) * (OWN[0] + 1), y)
            self.canvas.node(
                f"unit{j}:{q}",
                at,
                OWN,
                q,
                tip=f"own parameter {q} of unit {j} = {value[q]}",
                **look,
            )

    def _chip(self, j, g, x, y):
        """A gate: the colour is the fuller, the larger its value."""
        title, colour = palette.gate(g, self.cell.gates)
        v = self._gate_value(g, j)
        fill = (
            colour
            if v is None
            else palette.ramp(
                ("#FFFFFF", colour), 0.08 + 0.92 * min(abs(v), 1.0) if np.isfinite(v) else 1.0
            )
        )
        label = g
        if g in self.cell.states:
            label = next(
                (a.label.removeprefix("Σ → ") for a in self.wiring.neurons if a.gate == g), g
            )
        wide = max(CHIP, notation.width(label, 9) + 5)
        tip = f"{title} of unit {j}" + ("" if v is None else f", value {notation.exact(v)}")
        self.canvas.node(
            f"unit{j}:{g}:gate",
            (x, y),
            (wide, CHIP),
            label,
            fill=fill,
            color=palette.INK,
            penwidth=0.7,
            fontsize=9,
            tip=tip,
        )

    def _gate_value(self, g, j):
        if self.seen is None:
            return None
        source = self.seen.gates if g in self.seen.gates else self.seen.after
        return float(source[g][j]) if g in source else None

    def _memories(self, j, x, y):
        """What a unit keeps for itself: each a circle with its loop, inside the unit."""
        for k, s in enumerate(self.kept):
            at = x + (k - (len(self.kept) - 1) / 2) * SLOT - 5
            colour, v = (
                palette.state(s, self.cell.states.index(s)),
                None if self.seen is None else float(self.seen.after[s][j]),
            )
            label, id = notation.sub(s, j if self.H <= 100 else "t"), f"unit{j}:{s}"
            tip = f"{'output' if s == self.first else 'private memory'} {s} of unit {j}" + (
                "" if v is None else f" = {notation.exact(v)}"
            )
            self.canvas.node(
                id,
                (at, y),
                (CIRCLE, CIRCLE),
                label,
                shape="circle",
                color=colour,
                penwidth=1.6,
                fontsize=9,
                tip=tip,
                **self.colours(v, "h"),
            )
            if s in self.looping:
                r = CIRCLE / 2
                points = [
                    (at + 0.5 * r, y + 0.86 * r),
                    (at + 0.5 * r, y + r + 6),
                    (at + r + 7, y + r + 6),
                    (at + r + 7, y),
                    (at + r, y),
                ]
                said = f"{s} of unit {j} at {self.way.earlier}: to unit {j} alone"
                self.canvas.add(
                    dot.wire(
                        id,
                        id,
                        points,
                        radius=5,
                        color=colour,
                        penwidth=1.3,
                        arrowsize="0.45",
                        style="dashed",
                        tip=said,
                    )
                )
            if v is not None:
                self.canvas.add(
                    dot.text((at, y - CIRCLE / 2 - 7), notation.signed(v), 8, name=f"value:{id}")
                )
