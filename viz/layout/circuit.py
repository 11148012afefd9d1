"""The vector view of a cell as a circuit on a grid: states are lanes at the top, gates a row at the bottom.

Operations find their places one after the other, each where its wires are cheapest (`viz.maze`), so that any cell's
equations give a picture without overlaps. Left to right is the order of computing; a state's lane goes from its value of
the step before, through what is done to it directly, to its new value.
"""

from __future__ import annotations

import copy
from functools import lru_cache
from itertools import permutations

from recurrent.cells import Cell

from ..reading.wiring import cell_wiring
from . import layered, tracks
from .board import APART, BARS, BUS, GATES, Circuit
from .router import DOWN, RIGHT, UP, Maze

TRIES = 40  # places tried for an operation, cheapest first
PULL = 12  # for each column that an operation lies left of what it will be combined with
SIDES = (RIGHT, UP, DOWN)  # the directions in which an operation's inputs arrive


@lru_cache(maxsize=64)
def cell_circuit(cell: Cell) -> Circuit:
    """The circuit of a cell."""
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
        used = {
            a.removeprefix("previous:")
            for args in w.arguments.values()
            for a in args
            if a.startswith("previous:")
        }
        used |= {
            m.removeprefix("previous:") for m in w.makers.values() if m.startswith("previous:")
        }
        self.lanes = [
            s for s in (*cell.states[1:], self.first) if s in used
        ]  # from the top; h lowest: it goes to the bus too
        self._find_spines()
        self.order = self._ordered()
        self.room = room

    def build(self):
        """The circuit; raises _NoPlaceError where a wire finds no way."""
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
            self.maze.owners[row] = {f"previous:{s}", *self.circuit.spines[s]}
            if w.makers[s] in self.circuit.spines[s]:
                self.maze.owners[row].add(w.makers[s])
            self.maze.put(f"previous:{s}", (0, row))
        for row in range(self.maze.rows):  # what lies between the terminals on the left stays free
            self.maze.close((0, row), UP)
        for column in range(columns):  # the row of what the layer above sees is outside of the cell
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
        """The shortest way from a state's old value to its new one; an operation lies on one lane only."""
        w, taken = self.wiring, set()
        for s in self.lanes:
            ways, seen = [[f"previous:{s}"]], set()
            found = []
            while ways:
                way = ways.pop(0)
                if way[-1] == w.makers[s]:
                    found = way[1:]
                    break
                for o, args in w.arguments.items():
                    if way[-1] in args and o not in seen:
                        seen.add(o)
                        ways.append([*way, o])
            self.circuit.spines[s] = [] if taken & set(found) else found
            taken |= set(self.circuit.spines[s])

    def _ordered(self):
        """Neurons in the order in which the fewest wires cross."""
        w = self.wiring
        sources = [*(a.id for a in w.neurons), *w.parameters]
        edges = [
            (a, o)
            for o, args in w.arguments.items()
            for a in dict.fromkeys(args)
            if not a.startswith("previous:")
        ]
        plan = layered.layout(
            sources,
            list(w.arguments),
            edges,
            dict.fromkeys([*sources, *w.arguments], 0),
            {o for _, o in w.loops},
            0,
        )
        order = [n for n in plan.columns[0] if n not in w.parameters]
        bar = {a: k for k, bar in enumerate(self.bars) for a in bar.values()}
        place = {
            k: sum(map(order.index, bar.values())) / len(bar) for k, bar in enumerate(self.bars)
        }
        return sorted(
            order, key=lambda n: (place[bar[n]], bar[n]) if n in bar else (order.index(n), -1)
        )

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
        """Composites of neurons, each from above the first that it takes to above the last, and nothing through it."""
        for bar in self.bars:
            at = {r: (self.maze.place[a][0], BARS) for r, a in bar.items()}
            columns = [c for c, _ in at.values()]
            for r, a in bar.items():
                self.maze.put(r, at[r])
                self.circuit.routes.append((a, r, self.maze.lay(a, self.maze.search(a), at[r], UP)))
            alone = len(bar) == 1  # only then is it plain whose result leaves at the side
            for column in range(min(columns) - 1, max(columns) + 1 - alone):
                self.maze.close((column, BARS), RIGHT)
                if min(columns) < column and column not in columns:
                    self.maze.close((column, BARS), UP)
                    self.maze.close((column, BARS), DOWN)

    def _operation(self, name):
        """Put an operation where its wires are cheapest, and lay them."""
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
            done = self._lay_all(name, at, [*zip(placed, ways, strict=True), *taken.items()])
            if done:
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
        """(cost, place, direction of each placed input, direction of each source put beside it)."""
        maze, lane = self.maze, self.lane_of.get(name)
        rows = [self.circuit.lanes[lane]] if lane else self.middle
        before = self._on_spine(name, lane) if lane else None
        partners = self._partners(name)
        for column in range(1, self.last - 1):
            for row in rows:
                at = (column, row)
                if not maze.free(at) or not maze.open(at, RIGHT) or (column - 1, row) in maze.node:
                    continue  # between neighbours of a row a wire can still fork
                for ways in permutations(SIDES, len(placed) + len(late)):
                    mine, others = ways[: len(placed)], ways[len(placed) :]
                    if any(
                        (at, way) not in searches[a].cost
                        for a, way in zip(placed, mine, strict=True)
                    ):
                        continue
                    if before and (before, RIGHT) not in zip(placed, mine, strict=True):
                        continue
                    if any(not self._room(at, way) for way in others):
                        continue
                    cost = sum(
                        searches[a].cost[at, way] for a, way in zip(placed, mine, strict=True)
                    )
                    cost += (
                        sum(PULL * max(0, c - column) for c in partners)
                        + 3 * (UP in others)
                        + 6 * (RIGHT in others)
                    )
                    yield cost, at, mine, others

    def _room(self, at, way):
        """Whether a source can stand beside a place, so that its wire arrives in direction `way`."""
        beside = (at[0] - way[0], at[1] - way[1])
        return (
            self.maze.free(beside)
            and self.maze.open(at, (-way[0], -way[1]))
            and beside[1] in self.middle
        )

    def _on_spine(self, name, lane):
        spine = self.circuit.spines[lane]
        k = spine.index(name)
        return spine[k - 1] if k else f"previous:{lane}"

    def _partners(self, name):
        """Columns of what this operation's result will be combined with."""
        place = self.maze.place
        return [
            place[a][0]
            for o, args in self.wiring.arguments.items()
            if name in args
            for a in args
            if a != name and a in place and not a.startswith("previous:")
        ]

    def _ends(self):
        """New states leave on the right: on their lane, at the height of the h bus, or where the way is short."""
        for s in (*self.lanes, *(s for s in self.wiring.states if s not in self.lanes)):
            maker = self.wiring.makers[s]
            spine = self.circuit.spines.get(s)
            if maker not in self.maze.place:  # a parameter that nothing else uses
                column = self.last - 2
                row = next((r for r in self.middle if self.maze.free((column, r))), None)
                if row is None:
                    raise _NoPlaceError(f"no place for {maker}")
                self.maze.put(maker, (column, row))
            found = self.maze.search(maker)
            if spine or (s in self.lanes and maker == f"previous:{s}"):
                rows = [self.circuit.lanes[s]]
            else:
                rows = [BUS] if s == self.first else [*self.middle, BUS]
            ends = [
                (found.cost[(self.last, r), RIGHT], r)
                for r in rows
                if ((self.last, r), RIGHT) in found.cost
            ]
            if not ends:
                ends = [
                    (found.cost[(self.last, r), RIGHT], r)
                    for r in self.middle
                    if ((self.last, r), RIGHT) in found.cost
                ]
            if not ends:
                raise _NoPlaceError(f"no way out for {s}")
            at = (self.last, min(ends)[1])
            self.maze.put(f"state:{s}", at)
            self.circuit.routes.append(
                (maker, f"state:{s}", self.maze.lay(maker, found, at, RIGHT))
            )
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
