"""A small layered layout: columns by depth, few crossings, straight lines where possible.

It is meant for the inside of one unit (a dozen operations) and tries all orders of few sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise, permutations

Edge = tuple[str, str]
EVERY = 5  # up to this number of sources all orders are tried: 120


class Layout:
    """Places of nodes: `columns[k]` lists column k from the top, `y[node]` is a node's height.

    An edge across several columns passes dummies in them; `path[edge]` lists its nodes and dummies.
    """

    def __init__(self, columns, y, path):
        self.columns, self.y, self.path = columns, y, path


def layout(
    sources: Sequence[str],
    nodes: Sequence[str],
    edges: Sequence[Edge],
    heights: dict,
    top: set,
    gap: float,
) -> Layout:
    """Lay out `sources` in column 0 and `nodes`, sorted after their inputs, to their right.

    `heights` are those of the nodes in points, `gap` separates neighbours in a column. Nodes in
    `top` should have nothing above them.
    """
    inputs = {n: [a for a, b in edges if b == n] for n in nodes}
    level = dict.fromkeys(sources, 0)
    for n in nodes:
        level[n] = 1 + max((level[a] for a in inputs[n]), default=0)
    path = {}
    for a, b in edges:
        between = [f"{a}>{b}@{k}" for k in range(level[a] + 1, level[b])]
        level |= {d: level[a] + 1 + k for k, d in enumerate(between)}
        path[a, b] = (a, *between, b)
    steps = {(p, q) for chain in path.values() for p, q in pairwise(chain)}
    before = {n: sorted(p for p, q in steps if q == n) for n in level}

    def arranged(order):
        columns = _arrange(order, level, before, top)
        return _cost(columns, steps, top), columns

    if len(sources) <= EVERY:
        tried = (arranged(order) for order in permutations(sources))
        _, columns = min(tried, key=lambda found: found[0])
    else:
        columns = _swapped(list(sources), arranged)
    return Layout(columns, _heights(columns, before, heights, gap), path)


def _swapped(order, arranged):
    """Return the columns of an order that no exchange of two sources improves."""
    best, columns = arranged(order)
    improved = True
    while improved:
        improved = False
        for a, b in combinations(range(len(order)), 2):
            other = order.copy()
            other[a], other[b] = order[b], order[a]
            cost, found = arranged(other)
            if cost < best:
                best, columns, order, improved = cost, found, other, True
    return columns


def _arrange(order, level, before, top):
    """Return the columns for an order of the sources, each sorted by the mean place of inputs."""
    place = {n: k for k, n in enumerate(order)}
    columns = [list(order)]
    members = {}
    for n, k in level.items():
        members.setdefault(k, []).append(n)
    for k in range(1, max(level.values()) + 1):
        mean = {
            n: sum(place[p] for p in before[n]) / len(before[n]) if before[n] else -1
            for n in members[k]
        }
        column = sorted(members[k], key=lambda n: (mean[n], n not in top, members[k].index(n)))
        # Places keep the scale of the previous column, so that means stay comparable.
        for rank, n in enumerate(column):
            place[n] = mean[n] + rank * 1e-3
        columns.append(column)
    return columns


def _cost(columns, steps, top):
    """Return the number of crossings plus the number of nodes above those in `top`."""
    rank = {n: (k, r) for k, column in enumerate(columns) for r, n in enumerate(column)}
    pairs = [(rank[p], rank[q]) for p, q in steps]
    crossings = sum(
        a[0] == c[0] and a[1] < c[1] and b[1] > d[1] for a, b in pairs for c, d in pairs
    )
    return crossings + sum(rank[n][1] for n in top)


def _heights(columns, before, heights, gap):
    """Return the height of each node: near the mean of its inputs, without overlaps."""
    y, at = {}, 0.0
    for n in columns[0]:
        at -= heights[n] / 2
        y[n] = at
        at -= heights[n] / 2 + gap
    for column in columns[1:]:
        wish = [sum(y[p] for p in before[n]) / len(before[n]) if before[n] else 0.0 for n in column]
        apart = [0.0]
        for a, b in pairwise(column):
            apart.append(apart[-1] + heights.get(a, 0) / 2 + heights.get(b, 0) / 2 + gap)
        weights = [1.0 if n in heights else 4.0 for n in column]  # straight lines come first
        wishes = [w + o for w, o in zip(wish, apart, strict=True)]
        for n, v, offset in zip(column, _falling(wishes, weights), apart, strict=True):
            y[n] = v - offset
    return y


def _falling(wish, weights):
    """Return the falling sequence nearest to `wish` in weighted squares, by pooling violators.

    >>> _falling([3.0, 1.0, 2.0], [1.0, 1.0, 1.0])
    [3.0, 1.5, 1.5]
    """
    blocks = []
    for v, w in zip(wish, weights, strict=True):
        blocks.append([v, w, 1])
        while len(blocks) > 1 and blocks[-2][0] < blocks[-1][0]:
            (v1, w1, n1), (v2, w2, n2) = blocks[-2], blocks.pop()
            blocks[-1] = [(v1 * w1 + v2 * w2) / (w1 + w2), w1 + w2, n1 + n2]
    return [v for v, _, n in blocks for _ in range(n)]
