"""Text beside wires: the first place along a wire where nothing else is."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from . import notation
from .dot import Box, Point

GAP = 3  # between a wire and what is written beside it


class Places:
    """What is taken already: boxes, and wires as thin boxes along their polylines."""

    def __init__(self, boxes: Iterable[Box], wires: Iterable[list[Point]]):
        self.taken = list(boxes)
        for points in wires:
            for (ax, ay), (bx, by) in pairwise(points):
                self.taken.append(
                    (min(ax, bx) - 1, min(ay, by) - 1, max(ax, bx) + 1, max(ay, by) + 1)
                )

    def beside(self, points: list[Point], label: str, size: float) -> Point | None:
        """The centre for a label of lines along a polyline, or None where there is no room; takes the place."""
        w, h = notation.width(label, size) * 1.12 + 2, 1.25 * size * (label.count("\n") + 1)
        for x, y in _along(points, w, h):
            box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
            if not any(
                a[0] < box[2] and box[0] < a[2] and a[1] < box[3] and box[1] < a[3]
                for a in self.taken
            ):
                self.taken.append(box)
                return x, y
        return None


def _along(points, w, h):
    """Places beside the middle of each stretch, then nearer its ends; long stretches first."""
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
