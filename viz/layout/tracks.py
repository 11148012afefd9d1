"""A circuit that always fits: every value has a track, a stretch of a row of its own, and every operation two columns.

Where `viz.circuit` finds no way for a wire, this needs none: a wire goes up or down in the columns of the operation that it
leads to, where nothing else turns, so all it can meet are level tracks, which it crosses. Wider than the maze's picture.
"""

from __future__ import annotations

from itertools import count, pairwise

from ..reading.wiring import Wiring
from .board import APART, BARS, GATES, Circuit
from .router import Place

SKY = 1000  # rows of the states' lanes while the number of rows below them is not known


def lay_out(
    wiring: Wiring, lanes: list[str], spines: dict[str, list[str]], order: list[str]
) -> Circuit:
    """The circuit of a cell. `lanes`: states whose old value is used directly, from the top; `order` of the gates."""
    tracks = _Tracks(wiring, lanes, order)
    return Circuit(
        wiring,
        tracks.place,
        tracks.routes,
        {s: tracks.place[f"previous:{s}"][1] for s in lanes},
        spines,
        tracks.last + 1,
        tracks.top + 1,
    )


class _Tracks:
    def __init__(self, wiring, lanes, order):
        self.wiring, self.above = (
            wiring,
            {r: a for bar in wiring.bars for r, a in bar.items()},
        )  # results of bars
        self.floor = BARS + 1 if self.above else GATES + 1
        self.column = {f"previous:{s}": 0 for s in lanes} | {
            g: 2 + APART * k for k, g in enumerate(order)
        }
        self._columns()
        self._rows(lanes, order)
        self._routes(order)
        self._pack()

    def _columns(self):
        """The first two free columns after an operation's inputs; a parameter stands as close to its first use as it can."""
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
        self.forks = {}  # where a second state leaves the track of the value that makes both
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
        """Rows of tracks that do not touch; an operation goes on along the track of an input that ends with it."""
        self.row, self.used, self.straight = {}, {}, {}
        for k, s in enumerate(lanes):
            self._take(f"previous:{s}", SKY - k, 0)
        over = {a: r for r, a in self.above.items()}
        for g in (over.get(g, g) for g in order):
            self._take(g, self._free(self.column[g], self.end[g], []), self.column[g])
        nodes = [
            *self.wiring.parameters,
            *(o.id for o in self.wiring.operations if o.id not in self.above),
        ]
        for k in sorted(nodes, key=self.column.get):
            args, start, end = self.wiring.arguments.get(k, []), self.column[k] - 1, self.end[k]
            ending = [a for a in args if self.end[a] == self.column[k] and args.count(a) == 1]
            on = next(
                (
                    a
                    for a in sorted(ending, key=lambda a: -self.row[a])
                    if self._fits(self.row[a], start, end, a)
                ),
                None,
            )
            self.straight[k] = on
            self._take(
                k,
                self._free(start, end, [self.row[a] for a in args]) if on is None else self.row[on],
                start,
            )
        for s, c in self.forks.items():
            self.row[f"state:{s}"] = row = self._free(
                c, self.last, [self.row[self.wiring.makers[s]]]
            )
            self.used.setdefault(row, []).append((c, self.last, s))

    def _take(self, k, row, start):
        self.row[k] = row
        self.used.setdefault(row, []).append((start, self.end[k], k))

    def _fits(self, row, start, end, but=None):
        return all(b < start or end < a or k == but for a, b, k in self.used.get(row, []))

    def _free(self, start, end, near):
        """The row nearest to those of the inputs where a track fits."""
        below = [r for r in near if r < SKY - 100] or [self.floor]
        rows = range(self.floor, SKY - 100)
        return min(
            (r for r in rows if self._fits(r, start, end)),
            key=lambda r: (sum(abs(r - other) for other in below), r),
        )

    def _routes(self, order):
        w = self.wiring
        fixed = dict.fromkeys(order, GATES) | dict.fromkeys(self.above, BARS)
        self.place = {
            k: (c, fixed[k] if k in fixed else self.row[k]) for k, c in self.column.items()
        }
        self.top, self.routes = (
            SKY + 1,
            [(a, r, [self.place[a], self.place[r]]) for r, a in self.above.items()],
        )
        for o, args in ((o, args) for o, args in w.arguments.items() if o not in self.above):
            here, taken = self.place[o], set()
            for a in sorted(
                args, key=lambda a: (a != self.straight[o], -abs(self.row[a] - here[1]))
            ):
                side = (
                    0
                    if a == self.straight[o]
                    else (self.row[a] > here[1]) - (self.row[a] < here[1])
                )
                column = (
                    here[0] if side not in taken else here[0] - 1
                )  # the second from one side comes in from the left
                taken.add(side)
                self.routes.append(
                    (a, o, [*self._stem(a), (column, self.row[a]), (column, here[1]), here])
                )
        for s in w.states:
            maker, way = w.makers[s], self._stem(w.makers[s])
            row = self.row.get(f"state:{s}", self.row[maker])
            fork = (
                [(self.forks[s], self.row[maker]), (self.forks[s], row)] if s in self.forks else []
            )
            self.place[f"state:{s}"] = (self.last, row)
            self.routes.append((maker, f"state:{s}", [*way, *fork, (self.last, row)]))
        maker = w.makers[self.first]
        self.place["above"] = (self.up, self.top)
        self.routes.append(
            (maker, "above", [*self._stem(maker), (self.up, self.row[maker]), (self.up, self.top)])
        )

    def _stem(self, k):
        """From a node to its track."""
        return [self.place[k], (self.place[k][0], self.row[k])]

    def _pack(self):
        """Rows in use, one after the other."""
        used = sorted(
            {r for *_, way in self.routes for _, r in way}
            | {r for _, r in self.place.values()}
            | {0, GATES}
        )
        row = {r: k for k, r in enumerate(used)}
        self.place = {k: (c, row[r]) for k, (c, r) in self.place.items()}
        self.routes = [(a, b, _stepped([(c, row[r]) for c, r in way])) for a, b, way in self.routes]
        self.top = row[self.top]


def _stepped(corners: list[Place]) -> list[Place]:
    """Every place along a way of level and upright stretches.

    >>> _stepped([(0, 0), (0, 0), (2, 0), (2, 1)])
    [(0, 0), (1, 0), (2, 0), (2, 1)]
    """
    out = [corners[0]]
    for (ax, ay), (bx, by) in pairwise(corners):
        n = abs(bx - ax) + abs(by - ay)
        out += [(ax + (bx - ax) * k // n, ay + (by - ay) * k // n) for k in range(1, n + 1)]
    return out
