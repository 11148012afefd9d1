"""Positions of a circuit in points: sizes of nodes, distances between them, corners of wires."""

from __future__ import annotations

from itertools import pairwise

from recurrent.cells import Cell

from ...draw import notation
from ...draw.dot import Point
from ...layout.board import BUS, GATES, Circuit
from ...reading import nodes

GATE, ACTIVATION, TERMINAL, ROUND = (64, 34), (50, 28), (46, 27), (38, 38)
OPERATION, PARAMETER = 25, 20  # heights
BESIDE, BETWEEN = 30, 28  # room beside and between nodes
STEM, BORDER = 58, 14  # room left of the first gate, and around the border


class Grid:
    """`at[name]` and `size[name]` of each node, and `frame`, the cell's border.

    If `apart`, x and h have separate buses.
    """

    def __init__(self, circuit: Circuit, cell: Cell, spread: float):
        self.circuit, self.spread = circuit, spread
        w = circuit.wiring
        self.neurons = {a.id for a in w.neurons}
        self.first = cell.states[0]
        self.apart = not all(a.x and a.h for a in w.neurons)
        self.size = {a.id: GATE for a in w.neurons}
        for o in w.operations:
            wide = max(OPERATION, notation.width(o.label, 12) * 1.1 + 14)
            tall = ACTIVATION[1] if o.dense else OPERATION
            self.size[o.id] = ACTIVATION if o.gate else (wide, tall)
        self.size |= {r: (GATE[0], OPERATION) for bar in w.bars for r in bar}
        self.size |= {p: (notation.width(p, 9) * 1.1 + 6, PARAMETER) for p in w.parameters}
        self.size |= {end(s): TERMINAL for s in cell.states for end in (nodes.previous, nodes.new)}
        self.size |= {"above": ROUND, "x": ROUND}
        self.columns, self.rows = self._used(cell)
        self.x = self._spaced(self.columns, 0, BESIDE)
        self.y = self._spaced(self.rows, 1, BETWEEN)
        self.at = {k: (self.x[c], self.y[r]) for k, (c, r) in self._places(cell).items()}
        self.bars = [self._bar(list(bar)) for bar in w.bars]
        self._outside(cell)

    def _bar(self, results):
        """Return the centre and size of a bar, which is as wide as the neurons below it."""
        xs, y = [self.at[r][0] for r in results], self.at[results[0]][1]
        wide, tall = GATE[0] + max(xs) - min(xs), self.size[results[0]][1]
        return (sum((min(xs), max(xs))) / 2, y), (wide, tall)

    def _places(self, cell):
        places = dict(self.circuit.place)
        if cell.h_gates:
            places.setdefault(nodes.previous(self.first), (0, BUS))
        return places

    def _used(self, cell):
        """Return the columns and rows with nodes or corners; the others take no room."""
        corners = [p for *_, places in self.circuit.routes for p in _corners(places)]
        places = [*self._places(cell).values(), *corners, (0, BUS)]
        return sorted({c for c, _ in places} | {0}), sorted({r for _, r in places})

    def _spaced(self, used, axis, room):
        """Return the position of each used column or row."""
        half = dict.fromkeys(used, 0.0)
        for k, p in self.circuit.place.items():
            if p[axis] in half:
                half[p[axis]] = max(half[p[axis]], self.size[k][axis] / 2)
        at, out = 0.0, {}
        for before, k in zip([None, *used[:-1]], used, strict=True):
            if before is not None:
                at += max(half[before] + half[k] + room * self.spread, 22)
                if axis == 0 and before == 0:
                    at += STEM
                if axis == 0 and k == used[-1]:
                    at += 30
                if axis == 1 and k == used[-1]:
                    at += BORDER
                if axis == 1 and k == GATES and self.apart:
                    at += 10
            out[k] = at
        return out

    def _outside(self, cell):
        """Place the border, x below it, and the buses."""
        inside = [k for k in self.at if not nodes.is_terminal(k) and k != "above"]
        left = self.x[self.columns[0]] + TERMINAL[0] / 2 + 16
        right = self.x[self.columns[-1]] - TERMINAL[0] / 2 - 16
        bottom, top = self.y[BUS], self.at["above"][1] - ROUND[1] / 2 - 24
        self.h_bus = bottom
        self.x_bus = bottom - 22 if self.apart and cell.h_gates else bottom
        self.frame = (left, self.x_bus - 30, right, top)
        gate = min(self.at[k][0] for k in inside)
        self.stem = left + 16
        x = min(gate, *(self.at[k][0] for k in self.neurons)) - GATE[0] / 2 - 8
        self.at["x"] = (x, self.frame[1] - 30 - ROUND[1] / 2)

    def wire(self, a: str, b: str, places: list) -> list[Point]:
        """Return the points of a wire from the border of a to the border of b."""
        points = [(self.x[c], self.y[r]) for c, r in _corners(places)]
        start = self._border(a, points[0], points[1])
        end = self._border(b, points[-1], points[-2])
        return [start, *points[1:-1], end]

    def tap(self, source: str, gate: str) -> list[Point]:
        """Return the points of the wire of x or h, along its bus into the bottom of a gate."""
        x, y = self.at[gate]
        bottom = y - self.size[gate][1] / 2
        if source == "x":
            shift = 12 if self.apart else 0
            sx, sy = self.at["x"]
            up = [(sx, sy + ROUND[1] / 2), (sx, self.x_bus)]
            return [*up, (x + shift, self.x_bus), (x + shift, bottom)]
        sx, sy = self.at[source]
        shift = -12 if self.apart else 0
        start = [(sx + self.size[source][0] / 2, sy)]
        if abs(sy - self.h_bus) > 1:
            start += [(self.stem, sy), (self.stem, self.h_bus)]
        return [*start, (x + shift, self.h_bus), (x + shift, bottom)]

    def entry(self, source: str) -> list[Point]:
        """Return the part of the bus that belongs to x or h alone."""
        if source == "x":
            (x, y), bottom = self.at["x"], self.frame[1]
            return [(x, y + ROUND[1] / 2), (x, bottom)]
        return [(self.frame[0], self.h_bus), (self.at["x"][0] - 9, self.h_bus)]

    def bus_line(self) -> list[Point]:
        """Return the segment of the bus of h below the gates."""
        xs = sorted(self.at[k][0] for k in self.neurons)
        return [(self.at["x"][0] + 12, self.h_bus), (max(xs[-1], xs[0] + 60), self.h_bus)]

    def beside_end(self, name: str, places: list, half: float) -> Point:
        """Return the centre of a text of half a width beside the tip of a wire into a node."""
        (c, r), (pc, pr) = places[-1], places[-2]
        x, y = self.at[name]
        w, h = self.size[name]
        if pr == r:
            side = -1 if pc < c else 1
            return x + side * (w / 2 + 4 + half), y + 8
        return x + 6 + half, y + (-1 if pr < r else 1) * (h / 2 + 8)

    def pieces(
        self, points: list[Point], every: list[list[Point]], gap: float = 4.5
    ) -> list[list[Point]]:
        """Cut a wire where a vertical segment of another one crosses a horizontal segment of it."""
        upright = [s for other in every for s in pairwise(other) if s[0][0] == s[1][0]]
        corners = set(points)
        out, piece = [], [points[0]]
        for (ax, ay), (bx, by) in pairwise(points):
            if ay == by:
                low, high = min(ax, bx), max(ax, bx)
                cuts = {
                    x
                    for (x, p), (_, q) in upright
                    if low + 1 < x < high - 1
                    and min(p, q) + 1 < ay < max(p, q) - 1
                    and (x, ay) not in corners
                }
                for x in sorted(cuts, reverse=bx < ax):
                    side = gap if bx > ax else -gap
                    out.append([*piece, (x - side, ay)])
                    piece = [(x + side, ay)]
            piece.append((bx, by))
        return [*out, piece]

    def _border(self, name, centre, toward):
        """Return the point of a node's border that faces another point."""
        w, h = self.size[name]
        (x, y), (tx, ty) = centre, toward
        if abs(ty - y) < 0.01:
            return (x + (w / 2 if tx > x else -w / 2), y)
        return (x, y + (h / 2 if ty > y else -h / 2))


def _corners(places):
    """Return the first place of a path, those where it turns, and the last."""
    inner = [
        b
        for a, b, c in zip(places, places[1:], places[2:], strict=False)
        if (b[0] - a[0], b[1] - a[1]) != (c[0] - b[0], c[1] - b[1])
    ]
    return [places[0], *inner, places[-1]]
