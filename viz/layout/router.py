"""Routing of wires on a grid: each takes the cheapest way around nodes and across other wires.

A place is (column, row) with rows upwards. A net is named after the node it starts from and grows
to a tree; nets cross only at right angles. Costs are integers, so that pictures are the same
everywhere.
"""

from __future__ import annotations

import heapq
from itertools import pairwise

Place = tuple[int, int]
RIGHT, LEFT, UP, DOWN = (1, 0), (-1, 0), (0, 1), (0, -1)
WAYS = (RIGHT, UP, DOWN, LEFT)
STEP, BACK, BEND, CROSS, BRANCH = 10, 60, 18, 30, 4
OUT = {RIGHT: 0, UP: 0, DOWN: 6, LEFT: 80}  # cost of leaving a node on a side


class Search:
    """Routes of one net; `cost[place, way]` is the cost to arrive at a place in a direction."""

    def __init__(self):
        self.cost: dict[tuple[Place, Place], int] = {}
        self.before: dict[tuple[Place, Place], tuple[Place, Place] | Place] = {}


class Maze:
    """A grid of columns and rows with nodes and the wires laid so far."""

    def __init__(self, columns: int, rows: int):
        self.columns, self.rows = columns, rows
        self.node: dict[Place, str] = {}
        self.place: dict[str, Place] = {}
        # The net on each piece of the grid in use.
        self.net: dict[tuple[Place, Place], str] = {}
        # The net that passes a place, by whether it is upright.
        self.straight: dict[tuple[Place, bool], str] = {}
        # The net that turns, forks or ends at a place.
        self.bent: dict[Place, str] = {}
        # For each net: the next place on the way back to its node.
        self.parent: dict[str, dict[Place, Place | None]] = {}
        self.closed: set[tuple[Place, Place]] = set()
        # The nets that may run along a row; all nets for rows without an entry.
        self.owners: dict[int, set[str]] = {}

    def put(self, name: str, at: Place) -> None:
        """Put a node at a place and start its net."""
        self.node[at], self.place[name], self.parent[name] = name, at, {at: None}

    def close(self, at: Place, way: Place) -> None:
        """Bar all wires from this side of a place."""
        self.closed.add(_piece(at, way))

    def free(self, at: Place) -> bool:
        """Return whether a place is empty."""
        return self.inside(at) and not (at in self.node or at in self.bent or self._others(at, ""))

    def open(self, at: Place, way: Place) -> bool:
        """Return whether a wire could leave a place on this side."""
        after = _moved(at, way)
        return (
            self.inside(after)
            and after not in self.node
            and after not in self.bent
            and _piece(at, way) not in self.net
            and _piece(at, way) not in self.closed
        )

    def inside(self, at: Place) -> bool:
        return 0 <= at[0] < self.columns and 0 <= at[1] < self.rows

    def search(self, name: str) -> Search:
        """Return the cheapest routes of a net, by Dijkstra over places and directions."""
        found, queue = Search(), []

        def reach(cost, at, way, before):
            if cost < found.cost.get((at, way), cost + 1):
                found.cost[at, way], found.before[at, way] = cost, before
                heapq.heappush(queue, (cost, at, way))

        for at in self.parent[name]:
            source = at == self.place[name]
            if source or (at not in self.node and not self._others(at, name)):
                for way in WAYS:
                    cost = self._step(name, at, way)
                    if cost is not None:
                        reach(cost + (OUT[way] if source else BRANCH), _moved(at, way), way, at)
        while queue:
            cost, at, way = heapq.heappop(queue)
            if cost > found.cost[at, way] or at in self.node:
                continue
            crossing = self._others(at, name)
            for turn in WAYS if not crossing else (way,):
                if turn != (-way[0], -way[1]):
                    more = self._step(name, at, turn)
                    if more is not None:
                        reach(cost + more + BEND * (turn != way), _moved(at, turn), turn, (at, way))
        return found

    def lay(self, name: str, found: Search, at: Place, way: Place) -> list[Place]:
        """Lay the cheapest wire that arrives `at` a node in direction `way`; return its places."""
        places, state = [at], found.before[at, way]
        while isinstance(state[0], tuple):
            places.append(state[0])
            state = found.before[state]
        places.append(state)
        places.reverse()
        for a, b in pairwise(places):
            self.net[_ordered(a, b)] = name
            self.parent[name].setdefault(b, a)
        for a, b, c in zip(places, places[1:], places[2:], strict=False):
            if (b[0] - a[0], b[1] - a[1]) == (c[0] - b[0], c[1] - b[1]):
                self.straight[b, a[0] == b[0]] = name
            else:
                self.bent[b] = name
        if places[0] not in self.node:
            self.bent[places[0]] = name
        return self._trunk(name, places[0])[:-1] + places

    def _trunk(self, name, at):
        places = [at]
        while (at := self.parent[name][at]) is not None:
            places.append(at)
        return places[::-1]

    def _others(self, at, name):
        """Return whether another net passes a place."""
        passing = self.straight.get
        return passing((at, True), name) != name or passing((at, False), name) != name

    def _step(self, name, at, way):
        """Return the cost of one step, None if it is barred."""
        after = _moved(at, way)
        own = after in self.parent[name] and after not in self.node
        if not self.inside(after) or after in self.bent or own:
            return None
        piece = _ordered(at, after)
        if piece in self.net or piece in self.closed:
            return None
        if way[1] == 0 and name not in self.owners.get(at[1], (name,)):
            return None
        crossing = CROSS if self._others(after, name) else 0
        return (BACK if way == LEFT else STEP) + crossing


def _moved(at, way):
    return at[0] + way[0], at[1] + way[1]


def _ordered(a, b):
    return (a, b) if a < b else (b, a)


def _piece(at, way):
    return _ordered(at, _moved(at, way))
