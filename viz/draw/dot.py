r"""DOT text of pinned pictures, built by pure functions.

Positions are in points with y upwards; boxes are placed by their centre. Each function returns an
`Item` that knows the box it covers, and `digraph` turns items into text. `layout=nop2` makes every
Graphviz leave the positions alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from . import notation

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, bottom, right, top


class Item(NamedTuple):
    """A DOT statement of kind node, text, edge or cluster.

    `box` is the area it covers, in points. `reach` is a larger box that Graphviz needs as room.
    """

    kind: str
    name: str
    attributes: dict
    box: Box
    reach: Box | None = None


# The smallest node, 0.01 inch. Newer Graphviz enlarges smaller ones, which shifts the picture.
POINT = 0.72


class Text(str):
    """Centred text; `newline` is DOT's escape for the end of a line."""

    newline = ""


class Left(Text):
    """Text aligned with the left of its box."""

    newline = "\\l"


class Right(Text):
    """Text aligned with the right of its box."""

    newline = "\\r"


def quote(value) -> str:
    r"""Return a DOT string that Graphviz shows literally, without escapes, entities or HTML.

    >>> print(quote('say "hi"'))
    "say \"hi\""
    >>> print(quote("back\\slash, \\N, \\G, \\L"))
    "back\\slash, \\N, \\G, \\L"
    >>> print(quote("ends in \\"))
    "ends in \\"
    >>> print(quote("two\nlines"))
    "two\nlines"
    >>> print(quote("<b>bold</b> &amp; more"))
    "<b>bold</b> &amp;amp; more"
    >>> print(quote(""))
    ""
    """
    text = notation.legal(str(value)).replace("\r", "")
    text = text.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
    newline = value.newline if isinstance(value, Text) else ""
    return '"' + text.replace("\n", newline or "\\n") + newline + '"'


def number(v: float) -> str:
    """Return a number with up to two decimals.

    >>> number(2.0), number(-0.001), number(1 / 3)
    ('2', '0', '0.33')
    """
    text = f"{v:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def node(name: str, at: Point, size: Point, label: str = "", **attributes) -> Item:
    """Return a node of fixed size in points, with `fill`, `color`, `tip` and any DOT attribute.

    Sizes are whole points because Graphviz 2.43 rounds them.
    """
    (x, y), (w, h) = at, (whole(v) if v > POINT else POINT for v in size)
    fill, tip = attributes.pop("fill", None), attributes.pop("tip", None)
    a = {
        "label": label,
        "pos": f"{number(x)},{number(y)}",
        "width": f"{w / 72:.4f}",
        "height": f"{h / 72:.4f}",
        **attributes,
    }
    a |= {"fillcolor": fill, "tooltip": _tip(tip)}
    return Item("node", name, a, (x - w / 2, y - h / 2, x + w / 2, y + h / 2))


def whole(size: float) -> int:
    """Return a size in whole points, at least one.

    >>> whole(0.3), whole(22.5), whole(22.49)
    (1, 23, 22)
    """
    return max(1, math.floor(size + 0.5))


def text(
    at: Point,
    label: str,
    size: float = 9,
    color: str = "#526070",
    anchor: str = "middle",
    name: str = "",
    **attributes,
) -> Item:
    """Return lines of text; `anchor` says which point of them is `at`: middle, start or end.

    Text that changes from step to step has a `name`, such as `value:NODE`, by which a page finds
    it. Aligned text gets extra room on its other side, because Graphviz shifts text that is wider
    than its node.
    """
    w = math.ceil(notation.width(label, size) + 2)
    h = math.ceil(1.25 * size * (label.count("\n") + 1))
    room = w if anchor == "middle" else whole(1.3 * w + 0.5 * size * sum(c > "~" for c in label))
    (x, y), side = at, {"middle": 0, "start": 1, "end": -1}[anchor]
    a = {
        "shape": "plaintext",
        "style": "solid",
        "fontsize": number(size),
        "fontcolor": color,
        **attributes,
    }
    item = node(name, (x + side * room / 2, y), (room, h), (str, Left, Right)[side](label), **a)
    left, bottom, right, top = item.box
    box = (left, bottom, left + w, top) if side > 0 else (right - w, bottom, right, top)
    return item._replace(kind="text", box=box, reach=item.box)


def anchor(name: str, at: Point) -> Item:
    """Return an invisible point at which a line begins or ends."""
    return node(name, at, (POINT, POINT), shape="point", style="invis")


def polyline(tail: str, head: str, points: Sequence[Point], **attributes) -> Item:
    """Return an edge of straight lines through all points, without an arrow."""
    controls = [points[0]]
    for p, q in pairwise(points):
        controls += [
            ((2 * p[0] + q[0]) / 3, (2 * p[1] + q[1]) / 3),
            ((p[0] + 2 * q[0]) / 3, (p[1] + 2 * q[1]) / 3),
            q,
        ]
    return _edge(tail, head, controls, points[-1], False, attributes)


def cluster(name: str, box: Box, label: str = "", size: float = 11, **attributes) -> Item:
    """Return a rounded region behind other items, with its label inside at the top."""
    left, _, right, top = box
    lines = label.count("\n") + 1
    a = {
        "bb": ",".join(map(number, box)),
        "label": label,
        "fontsize": number(size),
        "style": "rounded,filled",
        **attributes,
    }
    if label:
        a["lp"] = f"{number((left + right) / 2)},{number(top - 4 - 0.6 * size * lines)}"
    a["fillcolor"] = a.pop("fill", None)
    return Item("cluster", name, a, box)


def wire(
    tail: str,
    head: str,
    points: Sequence[Point],
    arrow: bool = True,
    radius: float = 9,
    **attributes,
) -> Item:
    """Return a line along `points` with rounded corners; its arrow ends at the last point."""
    controls = _rounded(_shortened(points, 6) if arrow else points, radius)
    return _edge(tail, head, controls, points[-1], arrow, attributes)


def curve(
    tail: str,
    head: str,
    start: Point,
    end: Point,
    arrow: bool = False,
    upright: bool = False,
    **attributes,
) -> Item:
    """Return a cubic curve that leaves and arrives horizontally, or vertically if `upright`."""
    dx, dy = (0.0, 0.5 * (end[1] - start[1])) if upright else (0.5 * (end[0] - start[0]), 0.0)
    controls = [start, (start[0] + dx, start[1] + dy), (end[0] - dx, end[1] - dy), end]
    return _edge(tail, head, controls, end, arrow, attributes)


def moved(item: Item, dx: float, dy: float, prefix: str) -> Item:
    """Return an item at another place, with a prefix to the names of its nodes.

    >>> moved(node("a", (1, 2), (10, 10)), 5, -2, "0:").attributes["pos"]
    '6,0'
    >>> moved(wire("a", "b", [(0, 0), (10, 0)], arrow=False), 1, 1, "0:").name
    '"0:a" -> "0:b"'
    """
    name, attributes = item.name, dict(item.attributes)
    if item.kind == "edge":
        tail, _, head = name.partition('" -> "')
        name = f'"{prefix}{tail[1:]}" -> "{prefix}{head}'
    elif name:
        name = prefix + name
    for key in {"pos", "bb", "lp"} & set(attributes):
        attributes[key] = re.sub(
            r"(-?[\d.]+),(-?[\d.]+)",
            lambda m: f"{number(float(m[1]) + dx)},{number(float(m[2]) + dy)}",
            attributes[key],
        )

    def shifted(box):
        return None if box is None else (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy)

    return Item(item.kind, name, attributes, shifted(item.box), shifted(item.reach))


def digraph(
    name: str,
    items: Iterable[Item],
    margin: float = 8,
    wide: float | None = None,
    colours: tuple[str, str, str] = ("white", "", "#1f2937"),
) -> tuple[str, Point]:
    """Return the DOT text and the picture's size in points; invisible points pin its corners.

    `wide` points, if given, is the width to which the picture is scaled. `colours` are those of the
    page, of text and borders, and of lines.
    """
    items = list(items)
    lefts, bottoms, rights, tops = zip(*(i.reach or i.box for i in items), strict=True)
    corners = (
        (min(lefts) - margin, min(bottoms) - margin),
        (max(rights) + margin, max(tops) + margin),
    )
    (left, bottom), (right, top) = corners
    size, scaled = (right - left, top - bottom), ""
    if wide is not None:
        size = (wide, size[1] * wide / size[0])
        scaled = f' size="{size[0] / 72:.4f},1000!"'  # the width decides, whatever the height
    page, ink, line = colours
    page = page if page.isalpha() else quote(page)
    text = f" fontcolor={quote(ink)}" if ink else ""
    border = f" color={quote(ink)}" if ink else ""
    lines = [
        f"digraph {quote(name)} {{",
        f'  graph [layout=nop2 outputorder=nodesfirst bgcolor={page} fontname="Helvetica"{text}'
        f" pad=0{scaled}];",
        f'  node [fontname="Helvetica" fontsize=11 shape=box style=filled fillcolor={page}{text}'
        f"{border} fixedsize=true margin=0];",
        f"  edge [color={quote(line)} penwidth=1.4 arrowsize=0.6];",
    ]
    count = 0
    for item in items:
        attributes = " ".join(
            f"{k}={quote(v)}" for k, v in item.attributes.items() if v is not None
        )
        count += item.kind == "text"
        if item.kind == "cluster":
            left, bottom, right, top = item.box
            inside = _pin(item.name + ":", "", (left + right) / 2, (bottom + top) / 2)
            lines.append(
                f"  subgraph {quote('cluster_' + item.name)} {{ graph [{attributes}]; {inside} }}"
            )
        elif item.kind == "edge":
            lines.append(f"  {item.name} [{attributes}];")
        else:
            lines.append(f"  {quote(item.name or f'text{count}')} [{attributes}];")
    lines += [f"  {_pin(f'corner{k}', _NO_LABEL, x, y)}" for k, (x, y) in enumerate(corners)]
    return "\n".join([*lines, "}", ""]), size


_NO_LABEL = 'label="" '


def _pin(name, label, x, y):
    """Return an invisible point as a DOT statement."""
    at = quote(f"{number(x)},{number(y)}")
    return f"{quote(name)} [{label}shape=point style=invis width=0.01 height=0.01 pos={at}];"


def _tip(text):
    """Escape a tooltip once more: Graphviz expands its escapes twice."""
    return text if text is None else text.replace("\\", "\\\\")


def _edge(tail, head, controls, tip, arrow, attributes):
    spline = " ".join(f"{number(x)},{number(y)}" for x, y in controls)
    if arrow:
        spline = f"e,{number(tip[0])},{number(tip[1])} {spline}"
    else:
        attributes = {"arrowhead": "none", **attributes}
    attributes["tooltip"] = _tip(attributes.pop("tip", None))
    xs, ys = zip(*controls, tip, strict=True)
    box = (min(xs), min(ys), max(xs), max(ys))
    return Item("edge", f"{quote(tail)} -> {quote(head)}", {"pos": spline, **attributes}, box)


def _toward(p, q, distance):
    """Return the point at `distance` from p towards q, and the length of the line from p to q."""
    length = max(((q[0] - p[0]) ** 2 + (q[1] - p[1]) ** 2) ** 0.5, 1e-9)
    u = distance / length
    return (p[0] + (q[0] - p[0]) * u, p[1] + (q[1] - p[1]) * u), length


def _shortened(points, gap):
    """Return the points with the last one moved back by `gap`, to make room for the arrow head."""
    end, _ = _toward(points[-1], points[-2], gap)
    return [*points[:-1], end]


def _rounded(points, radius):
    """Return the control points of cubic pieces along a polyline with rounded corners."""
    points = [p for k, p in enumerate(points) if k == 0 or _toward(points[k - 1], p, 0)[1] > 0.01]
    controls, here = [points[0]], points[0]

    def straight(to):
        controls.extend([_toward(here, to, d * _toward(here, to, 0)[1])[0] for d in (1 / 3, 2 / 3)])
        controls.append(to)

    for corner, after in pairwise(points[1:]):
        r = min(radius, _toward(corner, here, 0)[1] / 2, _toward(corner, after, 0)[1] / 2)
        enter, leave = _toward(corner, here, r)[0], _toward(corner, after, r)[0]
        straight(enter)
        controls.extend(
            [_toward(enter, corner, 0.55 * r)[0], _toward(leave, corner, 0.55 * r)[0], leave]
        )
        here = leave
    straight(points[-1])
    return controls
