"""A canvas collects the items of a picture and remembers the box of each node for its wires."""

from __future__ import annotations

from collections.abc import Sequence

from . import dot


class Canvas:
    """The items of a picture; `box[name]` is (left, bottom, right, top) of a node."""

    def __init__(self):
        self.behind: list[dot.Item] = []
        self.front: list[dot.Item] = []
        self.box: dict[str, dot.Box] = {}

    @property
    def items(self) -> list[dot.Item]:
        return [*self.behind, *self.front]

    @property
    def extent(self) -> dot.Box:
        """The box around all items."""
        lefts, bottoms, rights, tops = zip(*(i.box for i in self.items), strict=True)
        return min(lefts), min(bottoms), max(rights), max(tops)

    def add(self, item: dot.Item) -> None:
        self.front.append(item)

    def node(self, name: str, at: dot.Point, size: dot.Point, label: str = "", **look) -> None:
        item = dot.node(name, at, size, label, **look)
        self.front.append(item)
        self.box[name] = item.box

    def text(self, at: dot.Point, label: str, size: float = 9, *colour: str, **look) -> dot.Item:
        """Add text; `colour` and the keywords are those of `dot.text`."""
        item = dot.text(at, label, size, *colour, **look)
        self.front.append(item)
        return item

    def wire(self, tail: str, head: str, points: Sequence[dot.Point], **look) -> None:
        """Add a line along points with rounded corners, by default with an arrow at its end."""
        self.front.append(dot.wire(tail, head, points, **look))

    def anchors(self, name: str, points: Sequence[dot.Point]) -> tuple[str, str]:
        """Add invisible nodes at both ends of a line and return their names."""
        ends = f"{name}0", f"{name}1"
        for end, point in zip(ends, (points[0], points[-1]), strict=True):
            self.front.append(dot.anchor(end, point))
        return ends

    def group(
        self, name: str, box: dot.Box, label: str, size: float, colours: tuple[str, str], **look
    ) -> None:
        """Add a region behind everything else; `colours` are its fill and its border."""
        fill, border = colours
        self.behind.append(dot.cluster(name, box, label, size, fill=fill, color=border, **look))

    def centre(self, name: str) -> dot.Point:
        left, bottom, right, top = self.box[name]
        return (left + right) / 2, (bottom + top) / 2
