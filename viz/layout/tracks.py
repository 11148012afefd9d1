"""A circuit layout that always succeeds: a track for every value, two columns for every operation.

It is used where `circuit` finds no route for a wire. A track is a stretch of a row. A wire goes up
or down in the columns of the operation it leads to, where no other wire turns, so that it can only
cross level tracks. The result is wider than the routed picture.
"""

from __future__ import annotations

from itertools import count, pairwise

from ..reading import nodes
from ..reading.wiring import Wiring
from .board import APART, BARS, GATES, Circuit
from .router import Place

SKY = 1000  # row of the state lanes until the number of rows below them is known
STRIDE = 4  # rows from one track to the next, until those without a track are left out


def lay_out(
    wiring: Wiring, lanes: list[str], spines: dict[str, list[str]], order: list[str]
) -> Circuit:
    """Return the circuit of a cell.

    `lanes` are the states whose previous value is used directly, from the top; `order` is that of
    the gates.
    """
    tracks = _Tracks(wiring, lanes, order)
    rows = {s: tracks.place[nodes.previous(s)][1] for s in lanes}
    return Circuit(
        wiring, tracks.place, tracks.routes, rows, spines, tracks.last + 1, tracks.top + 1
    )


class _Tracks:
    def __init__(self, wiring, lanes, order):
        self.wiring = wiring
        self.above = {r: a for bar in wiring.bars for r, a in bar.items()}  # results of bars
        self.floor = BARS + 1 if self.above else GATES + 1
        self.column = {nodes.previous(s): 0 for s in lanes}
        self.column |= {g: 2 + APART * k for k, g in enumerate(order)}
        self._columns()
        self._rows(lanes, order)
        self._routes(order)
        self._pack()
        self._draw_together()
        self._draw_together()

    def _columns(self):
        """Give each operation the first two free columns after its inputs."""
        w, taken = self.wiring, {0, 1, *self.column.values()}

        def free(after):
            c = next(c for c in count(after + 1) if not {c - 1, c} & taken and c - 1 > after)
            taken.update((c - 1, c))
            return c

        for p in w.parameters:
            self.column[p] = free(0)
        self.column |= {r: self.column[a] for r, a in self.above.items()}
        for o in (o for o in w.operations if o.id not in self.above):
            self.column[o.id] = free(max((self.column[a] for a in w.arguments[o.id]), default=0))
        first = self.first = w.states[0]
        self.forks = {}  # column where a second state leaves the track of a shared value
        makers, right = [], max(taken) + 1
        for s in w.states:
            if w.makers[s] in makers:
                self.forks[s] = right
                right += 1
            makers.append(w.makers[s])
        self.up, self.last = right, right + 1
        self.end = dict(self.column)
        for o, args in w.arguments.items():
            for a in args:
                self.end[a] = max(self.end[a], self.column[o])
        self.end |= dict.fromkeys(makers, self.last) | {w.makers[first]: self.last}

    def _rows(self, lanes, order):
        """Give each value a row; an operation continues the track of an input that ends there."""
        self.row, self.used, self.straight = {}, {}, {}
        for k, s in enumerate(lanes):
            self._take(nodes.previous(s), SKY - k, 0)
        over = {a: r for r, a in self.above.items()}
        for g in (over.get(g, g) for g in order):
            self._take(g, self._free(self.column[g], self.end[g], []), self.column[g])
        operations = [o.id for o in self.wiring.operations if o.id not in self.above]
        for k in sorted([*self.wiring.parameters, *operations], key=self.column.get):
            args = self.wiring.arguments.get(k, [])
            start, end = self.column[k] - 1, self.end[k]
            ending = [a for a in args if self.end[a] == self.column[k] and args.count(a) == 1]
            highest_first = sorted(ending, key=lambda a: -self.row[a])
            near = [self.row[a] for a in args]
            if len(near) > 2:  # one enters from above, one from below and one from the left
                self.straight[k] = None
                self._take(k, self._free(start, end, near, (min(near), max(near))), start)
                continue
            fitting = (a for a in highest_first if self._fits(self.row[a], start, end, a))
            on = self.straight[k] = next(fitting, None)
            self._take(k, self._free(start, end, near) if on is None else self.row[on], start)
        for s, c in self.forks.items():
            row = self._free(c, self.last, [self.row[self.wiring.makers[s]]])
            self.row[nodes.new(s)] = row
            self.used.setdefault(row, []).append((c, self.last, s))

    def _take(self, k, row, start):
        self.row[k] = row
        self.used.setdefault(row, []).append((start, self.end[k], k))

    def _fits(self, row, start, end, but=None):
        return all(b < start or end < a or k == but for a, b, k in self.used.get(row, []))

    def _free(self, start, end, near, between=None):
        """Return the row nearest to those of the inputs in which a track fits.

        `between` are rows that it must lie between. Rows of other tracks have gaps for it.
        """
        below = [r for r in near if r < SKY - 100] or [self.floor]
        rows = range(self.floor, SKY - 100, STRIDE)
        if between:
            rows = range(between[0] + 1, min(between[1], SKY - 100))
        return min(
            (r for r in rows if self._fits(r, start, end)),
            key=lambda r: (sum(abs(r - other) for other in below), r),
        )

    def _routes(self, order):
        w = self.wiring
        fixed = dict.fromkeys(order, GATES) | dict.fromkeys(self.above, BARS)
        self.place = {k: (c, fixed.get(k, self.row.get(k))) for k, c in self.column.items()}
        self.top = SKY + 1
        self.routes = [(a, r, [self.place[a], self.place[r]]) for r, a in self.above.items()]
        for o, args in w.arguments.items():
            if o not in self.above:
                self._routes_into(o, args)
        for s in w.states:
            maker, end = w.makers[s], nodes.new(s)
            row = self.row.get(end, self.row[maker])
            way = self._stem(maker)
            if s in self.forks:
                way += [(self.forks[s], self.row[maker]), (self.forks[s], row)]
            self.place[end] = (self.last, row)
            self.routes.append((maker, end, [*way, (self.last, row)]))
        maker = w.makers[self.first]
        self.place["above"] = (self.up, self.top)
        up = [(self.up, self.row[maker]), (self.up, self.top)]
        self.routes.append((maker, "above", [*self._stem(maker), *up]))

    def _routes_into(self, o, args):
        """Route the arguments of an operation.

        Of two arguments from the same side, the second enters from the left.
        """
        here, taken, straight = self.place[o], set(), self.straight[o]
        for a in sorted(args, key=lambda a: (a != straight, -abs(self.row[a] - here[1]))):
            row = self.row[a]
            side = 0 if a == straight else (row > here[1]) - (row < here[1])
            column = here[0] if side not in taken else here[0] - 1
            taken.add(side)
            self.routes.append((a, o, [*self._stem(a), (column, row), (column, here[1]), here]))

    def _stem(self, k):
        """Return the path from a node to its track."""
        return [self.place[k], (self.place[k][0], self.row[k])]

    def _pack(self):
        """Number the rows in use one after the other."""
        used = sorted(
            {r for *_, way in self.routes for _, r in way}
            | {r for _, r in self.place.values()}
            | {0, GATES}
        )
        row = {r: k for k, r in enumerate(used)}
        self.place = {k: (c, row[r]) for k, (c, r) in self.place.items()}
        self.routes = [(a, b, _stepped([(c, row[r]) for c, r in way])) for a, b, way in self.routes]
        self.top = row[self.top]

    def _draw_together(self):
        """Move columns left as far as the order of nodes, corners and crossings in a row allows.

        Columns that have no row in common may become one.
        """
        rows = {c: {r for at, r in self.place.values() if at == c} for c, _ in self.place.values()}
        for *_, way in self.routes:
            for (a, r), (b, q) in pairwise(way):
                if a == b:
                    rows.setdefault(a, set()).update((r, q))
        rows |= {c: {0, self.top} for c in (0, self.up, self.last)}  # the ends of the rows
        at: dict[int, int] = {}
        for c in sorted(rows):
            low, high = min(rows[c]), max(rows[c])
            before = (k for k in at if min(rows[k]) <= high and low <= max(rows[k]))
            at[c] = 1 + max((at[k] for k in before), default=-1)
        self.place = {k: (at[c], r) for k, (c, r) in self.place.items()}
        self.routes = [
            (a, b, _stepped([(at[c], r) for c, r in _turns(way)])) for a, b, way in self.routes
        ]
        self.last = at[self.last]


def _turns(way: list[Place]) -> list[Place]:
    """Return the first and last place of a path, and those where it turns.

    >>> _turns([(0, 0), (1, 0), (2, 0), (2, 1)])
    [(0, 0), (2, 0), (2, 1)]
    """
    pairs = zip(way, way[1:], way[2:], strict=False)
    return [way[0], *(b for a, b, c in pairs if (a[0] == b[0]) != (b[0] == c[0])), way[-1]]


def _stepped(corners: list[Place]) -> list[Place]:
    """Return every place along a path of horizontal and vertical segments.

    >>> _stepped([(0, 0), (0, 0), (2, 0), (2, 1)])
    [(0, 0), (1, 0), (2, 0), (2, 1)]
    """
    out = [corners[0]]
    for (ax, ay), (bx, by) in pairwise(corners):
        n = abs(bx - ax) + abs(by - ay)
        out += [(ax + (bx - ax) * k // n, ay + (by - ay) * k // n) for k in range(1, n + 1)]
    return out
