"""Where a view collects its items, and remembers the box of each node so that wires can find it."""

from __future__ import annotations

from . import dot


class Canvas:
    """`box[name]`: (left, bottom, right, top) of what wires lead to."""

    def __init__(self):
        self.behind: list[dot.Item] = []
        self.front: list[dot.Item] = []
        self.box: dict[str, dot.Box] = {}

    @property
    def items(self) -> list[dot.Item]:
        return [*self.behind, *self.front]

    def add(self, item: dot.Item) -> None:
        self.front.append(item)

    def node(self, name: str, at: dot.Point, size: dot.Point, label: str = "", **look) -> None:
        item = dot.node(name, at, size, label, **look)
        self.front.append(item)
        self.box[name] = item.box

    def group(
        self, name: str, box: dot.Box, label: str, size: float, colours: tuple[str, str], **look
    ) -> None:
        """A region behind everything else; `colours` of its inside and its border."""
        self.behind.append(
            dot.cluster(name, box, label, size, fill=colours[0], color=colours[1], **look)
        )

    def centre(self, name: str) -> dot.Point:
        left, bottom, right, top = self.box[name]
        return (left + right) / 2, (bottom + top) / 2
