"""A reader of the DOT text of pinned pictures."""

import re
from dataclasses import dataclass

from viz.draw.notation import width

_ATTRIBUTE = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_STATEMENT = re.compile(r'^  ("(?:[^"\\]|\\.)*")(?: -> ("(?:[^"\\]|\\.)*"))? \[(.*)\];$')


@dataclass
class Node:
    name: str
    attributes: dict
    box: tuple  # left, bottom, right, top

    @property
    def is_text(self):
        return self.attributes.get("shape") == "plaintext"


@dataclass
class Edge:
    tail: str
    head: str
    attributes: dict

    def points(self, per_piece=12):
        """Yield points along the spline."""
        numbers = [
            tuple(map(float, p.split(",")))
            for p in self.attributes["pos"].split()
            if not p.startswith("e,")
        ]
        for a, b, c, d in zip(
            numbers[0::3], numbers[1::3], numbers[2::3], numbers[3::3], strict=False
        ):
            for k in range(per_piece + 1):
                u = k / per_piece
                v = 1 - u
                w = (v**3, 3 * v * v * u, 3 * v * u * u, u**3)
                yield tuple(
                    sum(f * p[i] for f, p in zip(w, (a, b, c, d), strict=True)) for i in (0, 1)
                )


def unescape(text):
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] in "nlr" else m[1], text).replace("&amp;", "&")


def beside(box, attributes, side):
    """The box of aligned text, whose node has room for wider fonts."""
    left, bottom, right, top = box
    wide = min(right - left, width(attributes["label"], float(attributes.get("fontsize", 11))) + 2)
    return (left, bottom, left + wide, top) if side == "l" else (right - wide, bottom, right, top)


def read(source):
    """Return nodes by name, edges, and boxes of clusters by name."""
    nodes, edges, clusters = {}, [], {}
    for line in source.splitlines():
        if found := _STATEMENT.match(line):
            tail, head, rest = found.groups()
            attributes = {k: unescape(v).removesuffix("\n") for k, v in _ATTRIBUTE.findall(rest)}
            if head:
                edges.append(Edge(unescape(tail[1:-1]), unescape(head[1:-1]), attributes))
            else:
                x, y = map(float, attributes["pos"].split(","))
                w, h = (72 * float(attributes.get(k, 0)) / 2 for k in ("width", "height"))
                name, box = unescape(tail[1:-1]), (x - w, y - h, x + w, y + h)
                if attributes.get("shape") == "plaintext" and (
                    side := re.search(r'label="(?:[^"\\]|\\.)*\\([lr])"', rest)
                ):
                    box = beside(box, attributes, side[1])
                nodes[name] = Node(name, attributes, box)
        elif found := re.match(r'^  subgraph "cluster_([^"]*)" .*\bbb="([^"]*)"', line):
            clusters[found[1]] = tuple(map(float, found[2].split(",")))
    return nodes, edges, clusters


def overlap(a, b, slack=0.0):
    """Whether two boxes share more than an edge."""
    return (
        a[0] + slack < b[2] and b[0] + slack < a[2] and a[1] + slack < b[3] and b[1] + slack < a[3]
    )
