"""Wires between the columns of a layered layout: each net has an upright line of its own.

A net is the wires from one node. Between two columns it turns in a track that no other net uses, so
that nets only cross, at right angles.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import NamedTuple

from .layered import Layout

TRACK = 11  # room of a track
ENTRY = 6  # between two wires that enter a node from the left
MARKED, MARGIN = 17, 22  # the same if their ends have marks, and room of the marks


class Route(NamedTuple):
    """A wire: the levels before which it turns, with its height after each turn.

    `middle` is 1 or -1 if it enters the node from above or from below, None for the left.
    """

    turns: list[tuple[int, float]]
    middle: int | None


class Routes:
    """The routes of all wires of a layout, and the tracks of their turns.

    `loops` are pairs of a state and the node that uses it one step later; `boxes` are nodes that no
    wire enters from above or below; the ends of wires into `marked` nodes have marks.
    """

    def __init__(
        self,
        plan: Layout,
        level: dict[str, int],
        size: dict[str, tuple[float, float]],
        loops: Iterable[tuple[str, str]],
        boxes: set[str],
        marked: Set[str] = frozenset(),
    ):
        self.plan, self.level, self.size, self.boxes = plan, level, size, boxes
        self.marked = marked
        self.looped = {b for _, b in loops}
        self.middles: dict[str, list[int]] = {}  # the sides from which wires enter a node
        self.uprights: dict[int, list[tuple[str, float, float]]] = {}  # through columns' middles
        self.entering: dict[str, list[tuple[float, str]]] = {}  # from the left, with their heights
        middle = {}
        for a, b in sorted(plan.path, key=lambda e: abs(self._last(*e) - plan.y[e[1]])):
            y = self._last(a, b)
            middle[a, b] = self._middle(a, b, y)
            if middle[a, b] is None:
                self.entering.setdefault(b, []).append((-y, a))
        self.found = {}
        self.nets: dict[int, dict[str, list[tuple[float, float]]]] = {}  # by level: net -> moves
        for a, b in plan.path:
            self.found[a, b] = self._route(a, b, middle[a, b])
        for s, consumer in loops:
            state = f"state:{s}"
            if self.covered(state):
                self.nets.setdefault(level[state] + 1, {}).setdefault(f"from:{s}", [])
            if self.sideways(consumer):
                self.nets.setdefault(level[consumer], {}).setdefault(f"loop:{s}", [])
        self.order = {k: _ordered(nets) for k, nets in self.nets.items()}

    def extra(self, level: int) -> float:
        """Return the room that the tracks before a column need beyond that of two."""
        return max(0, len(self.order.get(level, ())) - 2) * TRACK + self.margin(level)

    def margin(self, level: int) -> int:
        """Return the room between the tracks before a column and the column."""
        columns = self.plan.columns
        marked = level < len(columns) and self.marked & set(columns[level])
        return MARGIN if marked else 0

    def track(self, level: int, net: str) -> tuple[int, int]:
        """Return the number of a net's track before a column, from the right, and their count."""
        order = self.order[level]
        return len(order) - 1 - order.index(net), len(order)

    def covered(self, k: str) -> bool:
        """Return whether another node of the same column lies above a node."""
        y = self.plan.y
        return any(o in self.size and y[o] > y[k] for o in self.plan.columns[self.level[k]])

    def sideways(self, consumer: str) -> bool:
        """Return whether a loop enters a node from the left."""
        return self.covered(consumer) or consumer in self.boxes

    def _last(self, a, b):
        """Return the height at which a wire reaches the column of its end."""
        return self.plan.y[self.plan.path[a, b][-2]]

    def _middle(self, a, b, y):
        """Return 1 or -1 if a wire can enter a node from above or below, else None."""
        target, tall = self.plan.y[b], self.size[b][1]
        if b in self.boxes or abs(y - target) < tall / 2 + 14:  # no room for an upright arrow
            return None
        side = 1 if y > target else -1
        if side in self.middles.get(b, ()) or (side > 0 and b in self.looped):
            return None
        low, high = sorted((y, target))
        column = self.level[b]
        others = (self.plan.y[k] for k in self.plan.columns[column] if k != b and k in self.size)
        if any(low - 12 < other < high + 12 for other in others):
            return None
        uprights = self.uprights.setdefault(column, [])
        if any(net != a and low < p and q < high for net, q, p in uprights):
            return None
        uprights.append((a, low, high))
        self.middles.setdefault(b, []).append(side)
        return side

    def _route(self, a, b, middle):
        y_of, path = self.plan.y, self.plan.path[a, b]
        y, turns = y_of[a], []
        for d in path[1:-1]:
            if abs(y_of[d] - y) > 0.5:
                self._turn(turns, a, self.level[d], y, y_of[d])
                y = y_of[d]
        if middle is None:
            end = self.entry(a, b)
            if abs(end - y) > 0.5:
                self._turn(turns, a, self.level[b], y, end)
        return Route(turns, middle)

    def _turn(self, turns, net, level, before, after):
        turns.append((level, after))
        self.nets.setdefault(level, {}).setdefault(net, []).append((before, after))

    def entry(self, a: str | None, b: str) -> float:
        """Return the height at which a wire from `a`, or a loop, enters a node from the left."""
        loop = b in self.looped and self.sideways(b)  # it comes from above
        names = [None] * loop + [name for _, name in sorted(self.entering.get(b, []))]
        apart = MARKED if b in self.marked else ENTRY
        return self.plan.y[b] - apart * (names.index(a) - (len(names) - 1) / 2)


def _ordered(nets):
    """Return nets from left to right, so that no level stretch of one lies on that of another.

    Where a net arrives at the height that another one leaves, the other one turns first.
    """
    left, order = dict(nets), []
    while left:
        free = [
            net
            for net, moves in left.items()
            if not any(
                abs(after - before) < 2
                for _, after in moves
                for other, theirs in left.items()
                if other != net
                for before, _ in theirs
            )
        ]
        chosen = max(free or left, key=lambda net: _reach(left[net]))
        order.append(chosen)
        del left[chosen]
    return order


def _reach(moves):
    """Return how far a net moves down; loops, which come from above, are last."""
    return max((before - after for before, after in moves), default=-1e9)
