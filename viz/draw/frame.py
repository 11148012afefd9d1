"""A picture in a page: it follows the width of the window down to the size that can be read."""

from __future__ import annotations

import math
import re
from html import escape

from . import dot

READABLE = 11  # pixels of the smallest text
CSS = "figure{margin:0;overflow-x:auto}figure>svg{display:block;margin:0 auto}"
_STYLE = 'style="max-width:100%;height:auto"'  # that of svg.polish


def sizes(picture: str) -> tuple[dot.Point, dot.Point]:
    """Return width and height of an SVG element: those it has, and the least with readable text.

    >>> sizes('<svg width="266" height="120" viewBox="0 0 200 90"><text font-size="8"/></svg>')
    ((266.0, 120.0), (275.0, 123.75))
    """
    own = [float(re.search(rf' {side}="([\d.]+)"', picture)[1]) for side in ("width", "height")]
    box = map(float, re.search(r' viewBox="\S+ \S+ (\S+) (\S+)"', picture).groups())
    smallest = min(map(float, re.findall(r' font-size="([\d.]+)"', picture)), default=READABLE)
    if scaled := re.search(r'<g [^>]*transform="scale\(([\d.]+)', picture):
        smallest *= float(scaled[1])
    return tuple(own), tuple(side * READABLE / smallest for side in box)


def framed(picture: str, name: str) -> str:
    """Return an SVG element in a frame that scrolls, by a keyboard too, where it is too wide.

    `CSS` has the rules that the page needs. `name` is read to those who cannot see the picture.
    """
    (own, _), (width, height) = sizes(picture)
    style = f"width:100%;min-width:{math.ceil(width)}px;max-width:{math.ceil(max(own, width))}px;"
    style += f"height:auto;aspect-ratio:{width:g}/{height:g}"
    picture = picture.replace(_STYLE, f'style="{style}"', 1)
    return f'<figure tabindex="0" aria-label="{escape(name)}">{picture}</figure>'
