"""The vector view of a cell as a circuit on a grid, with state lanes at the top and gates below.

Operations are placed one after the other, each where its wires are cheapest (`router`), so that any
cell's equations give a picture without overlaps. Values flow from left to right. A state's lane
runs from its previous value through the operations on it to its new value.
"""

from __future__ import annotations

import copy
from functools import lru_cache
from itertools import permutations

from recurrent.cells import Cell

from ..reading import nodes
from ..reading.wiring import cell_wiring
from . import layered, tracks
from .board import APART, BARS, BUS, GATES, Circuit
from .router import DOWN, RIGHT, UP, Maze

TRIES = 40  # places tried for an operation, cheapest first
PULL = 12  # cost of each column between an operation and the partners to its right
SIDES = (RIGHT, UP, DOWN)  # the directions in which an operation's inputs arrive


@lru_cache(maxsize=64)
def cell_circuit(cell: Cell) -> Circuit:
    """Return the circuit of a cell."""
    for room in (1, 2):
        builder = _Builder(cell, room)
        try:
            return builder.build()
        except _NoPlaceError:
            continue
    return tracks.lay_out(builder.wiring, builder.lanes, builder.circuit.spines, builder.order)


class _NoPlaceError(Exception):
    """The grid is too small."""


class _Builder:
    def __init__(self, cell, room):
        self.wiring = w = cell_wiring(cell)
        self.bars = w.bars
        self.first = cell.states[0]
        self.circuit = Circuit(w)
        sources = [*(a for args in w.arguments.values() for a in args), *w.makers.values()]
        used = {nodes.previous_state(a) for a in sources}
        # From the top; h is the lowest because it also leads to the bus.
        self.lanes = [s for s in (*cell.states[1:], self.first) if s in used]
        self._find_spines()
        self.order = self._ordered()
        self.room = room

    def build(self):
        """Return the circuit; _NoPlaceError if a wire finds no route."""
        w, depth = self.wiring, {}
        for o, args in w.arguments.items():
            depth[o] = 1 + max((depth.get(a, 0) for a in args), default=0)
        middle = self.room * (max(depth.values(), default=0) + 3)
        floor = BARS if self.bars else GATES
        top = floor + middle + len(self.lanes)
        columns = 2 + APART * len(w.neurons) + middle + 1
        self.maze = Maze(columns, top + 2)
        self.last = columns - 1
        for k, s in enumerate(self.lanes):
            row = self.circuit.lanes[s] = top - k
            self.maze.owners[row] = {nodes.previous(s), *self.circuit.spines[s]}
            if w.makers[s] in self.circuit.spines[s]:
                self.maze.owners[row].add(w.makers[s])
            self.maze.put(nodes.previous(s), (0, row))
        for row in range(self.maze.rows):  # no wires between the terminals on the left
            self.maze.close((0, row), UP)
        for column in range(columns):  # the row of the layer's output is outside the cell
            self.maze.close((column, top + 1), RIGHT)
        self.middle = range(floor + 1, top - len(self.lanes) + 1)
        self.lane_of = {k: s for s, spine in self.circuit.spines.items() for k in spine}
        self._gates()
        self._bars()
        for o in w.operations:
            if o.id not in self.maze.place:
                self._operation(o.id)
        self._ends()
        self.circuit.place = self.maze.place
        self.circuit.columns, self.circuit.rows = columns, self.maze.rows
        return self.circuit

    def _find_spines(self):
        """Find the shortest path from each state's old value to its new one, on one lane each."""
        w, taken = self.wiring, set()
        for s in self.lanes:
            paths, visited = [[nodes.previous(s)]], set()
            spine = []
            while paths:
                path = paths.pop(0)
                if path[-1] == w.makers[s]:
                    spine = path[1:]
                    break
                for o, args in w.arguments.items():
                    if path[-1] in args and o not in visited:
                        visited.add(o)
                        paths.append([*path, o])
            self.circuit.spines[s] = [] if taken & set(spine) else spine
            taken |= set(self.circuit.spines[s])

    def _ordered(self):
        """Return the neurons in the order with the fewest crossings of wires."""
        w = self.wiring
        sources = [*(a.id for a in w.neurons), *w.parameters]
        edges = [
            (a, o)
            for o, args in w.arguments.items()
            for a in dict.fromkeys(args)
            if not nodes.previous_state(a)
        ]
        heights = dict.fromkeys([*sources, *w.arguments], 0)
        top = {o for _, o in w.loops}
        plan = layered.layout(sources, list(w.arguments), edges, heights, top, 0)
        order = [n for n in plan.columns[0] if n not in w.parameters]
        bar = {a: k for k, bar in enumerate(self.bars) for a in bar.values()}
        place = [sum(map(order.index, bar.values())) / len(bar) for bar in self.bars]

        def key(n):
            return (place[bar[n]], bar[n]) if n in bar else (order.index(n), -1)

        return sorted(order, key=key)

    def _gates(self):
        for k, name in enumerate(self.order):
            at = (1 + APART * k + 1, GATES)
            self.maze.put(name, at)
            self.maze.close(at, DOWN)
        right = 1 + APART * len(self.order)
        for column in range(right + 1):  # the bus
            self.maze.close((column, BUS), UP)
            self.maze.close((column, BUS), RIGHT)
        self.bus_end = right

    def _bars(self):
        """Place each composite of neurons above its neurons, and bar other wires from it."""
        for bar in self.bars:
            at = {r: (self.maze.place[a][0], BARS) for r, a in bar.items()}
            columns = [c for c, _ in at.values()]
            for r, a in bar.items():
                self.maze.put(r, at[r])
                self.circuit.routes.append((a, r, self.maze.lay(a, self.maze.search(a), at[r], UP)))
            alone = len(bar) == 1  # only then is it clear whose result leaves at the side
            for column in range(min(columns) - 1, max(columns) + 1 - alone):
                self.maze.close((column, BARS), RIGHT)
                if min(columns) < column and column not in columns:
                    self.maze.close((column, BARS), UP)
                    self.maze.close((column, BARS), DOWN)

    def _operation(self, name):
        """Place an operation where its wires are cheapest, and lay those wires."""
        arguments = self.wiring.arguments[name]
        placed = [a for a in arguments if a in self.maze.place]
        late = [a for a in dict.fromkeys(arguments) if a not in self.maze.place]
        searches = {a: self.maze.search(a) for a in placed}
        for _, at, ways, sources in sorted(self._candidates(name, placed, late, searches))[:TRIES]:
            maze, routes = copy.deepcopy(self.maze), list(self.circuit.routes)
            self.maze.put(name, at)
            taken = dict(zip(late, sources, strict=True))
            for a, way in taken.items():
                self.maze.put(a, (at[0] - way[0], at[1] - way[1]))
            if self._lay_all(name, at, [*zip(placed, ways, strict=True), *taken.items()]):
                return
            self.maze, self.circuit.routes = maze, routes
        raise _NoPlaceError(f"no place for {name}")

    def _lay_all(self, name, at, inputs):
        for a, way in inputs:
            found = self.maze.search(a)
            if (at, way) not in found.cost:
                return False
            self.circuit.routes.append((a, name, self.maze.lay(a, found, at, way)))
        return True

    def _candidates(self, name, placed, late, searches):
        """Yield (cost, place, directions of placed inputs, directions of sources put beside it)."""
        maze, lane = self.maze, self.lane_of.get(name)
        rows = [self.circuit.lanes[lane]] if lane else self.middle
        before = self._on_spine(name, lane) if lane else None
        partners = self._partners(name)
        for column in range(1, self.last - 1):
            for row in rows:
                at = (column, row)
                if not maze.free(at) or not maze.open(at, RIGHT) or (column - 1, row) in maze.node:
                    continue  # keep a gap in which a wire can fork
                for ways in permutations(SIDES, len(placed) + len(late)):
                    mine, others = ways[: len(placed)], ways[len(placed) :]
                    arrivals = list(zip(placed, mine, strict=True))
                    if any((at, way) not in searches[a].cost for a, way in arrivals):
                        continue
                    if before and (before, RIGHT) not in arrivals:
                        continue
                    if any(not self._room(at, way) for way in others):
                        continue
                    cost = sum(searches[a].cost[at, way] for a, way in arrivals)
                    cost += sum(PULL * max(0, c - column) for c in partners)
                    cost += 3 * (UP in others) + 6 * (RIGHT in others)
                    yield cost, at, mine, others

    def _room(self, at, way):
        """Return whether a source fits beside a place so that its wire runs in direction `way`."""
        beside = (at[0] - way[0], at[1] - way[1])
        return (
            self.maze.free(beside)
            and self.maze.open(at, (-way[0], -way[1]))
            and beside[1] in self.middle
        )

    def _on_spine(self, name, lane):
        spine = self.circuit.spines[lane]
        k = spine.index(name)
        return spine[k - 1] if k else nodes.previous(lane)

    def _partners(self, name):
        """Return the columns of the values that this operation's result will be combined with."""
        place = self.maze.place
        return [
            place[a][0]
            for o, args in self.wiring.arguments.items()
            if name in args
            for a in args
            if a != name and a in place and not nodes.previous_state(a)
        ]

    def _ends(self):
        """Route each new state to the right border: on its lane, the bus of h, or the best row."""
        for s in (*self.lanes, *(s for s in self.wiring.states if s not in self.lanes)):
            maker = self.wiring.makers[s]
            if maker not in self.maze.place:  # a parameter without another use
                column = self.last - 2
                row = next((r for r in self.middle if self.maze.free((column, r))), None)
                if row is None:
                    raise _NoPlaceError(f"no place for {maker}")
                self.maze.put(maker, (column, row))
            found = self.maze.search(maker)
            ends = self._exits(found, self._rows_out(s)) or self._exits(found, self.middle)
            if not ends:
                raise _NoPlaceError(f"no way out for {s}")
            at, end = (self.last, min(ends)[1]), nodes.new(s)
            self.maze.put(end, at)
            self.circuit.routes.append((maker, end, self.maze.lay(maker, found, at, RIGHT)))
        self._above()

    def _rows_out(self, s):
        """Return the rows in which the wire of a new state may reach the right border."""
        direct = s in self.lanes and self.wiring.makers[s] == nodes.previous(s)
        if self.circuit.spines.get(s) or direct:
            return [self.circuit.lanes[s]]
        return [BUS] if s == self.first else [*self.middle, BUS]

    def _exits(self, found, rows):
        """Return (cost, row) for each of `rows` that a search reaches at the right border."""
        arrivals = [(((self.last, r), RIGHT), r) for r in rows]
        return [(found.cost[key], r) for key, r in arrivals if key in found.cost]

    def _above(self):
        """Route the output up to the next layer."""
        maker = self.wiring.makers[self.first]
        found, top = self.maze.search(maker), self.maze.rows - 1
        ways = [
            (found.cost[(c, top), UP] + self.last - c, c)
            for c in range(self.last)
            if ((c, top), UP) in found.cost
        ]
        if not ways:
            raise _NoPlaceError(f"no way up for {self.first}")
        column = min(ways)[1]
        self.maze.put("above", (column, top))
        self.circuit.routes.append((maker, "above", self.maze.lay(maker, found, (column, top), UP)))
