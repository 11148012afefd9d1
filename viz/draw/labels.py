"""Labels beside wires: each takes the first free place along its wire."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from . import notation
from .dot import Box, Point

GAP = 3  # between a wire and its label


class Places:
    """The places already taken by boxes, and by wires as thin boxes along their polylines."""

    def __init__(self, boxes: Iterable[Box], wires: Iterable[list[Point]]):
        self.taken = list(boxes)
        for points in wires:
            for (ax, ay), (bx, by) in pairwise(points):
                self.taken.append(
                    (min(ax, bx) - 1, min(ay, by) - 1, max(ax, bx) + 1, max(ay, by) + 1)
                )

    def beside(self, points: list[Point], label: str, size: float) -> Point | None:
        """Take a free place beside a polyline; return its centre, or None without room."""
        w, h = notation.width(label, size) * 1.12 + 2, 1.25 * size * (label.count("\n") + 1)
        for x, y in _along(points, w, h):
            box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
            if not any(_overlap(a, box) for a in self.taken):
                self.taken.append(box)
                return x, y
        return None


def _overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _along(points, w, h):
    """Yield places beside each segment, from its middle to its ends; long segments come first."""
    stretches = sorted(
        pairwise(points), key=lambda s: -abs(s[1][0] - s[0][0]) - abs(s[1][1] - s[0][1])
    )
    for u in (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8, 0.12, 0.88):
        for (ax, ay), (bx, by) in stretches:
            x, y = ax + u * (bx - ax), ay + u * (by - ay)
            if ay == by:
                yield x, y + h / 2 + GAP
                yield x, y - h / 2 - GAP
            else:
                yield x + w / 2 + GAP + 1, y
                yield x - w / 2 - GAP - 1, y
