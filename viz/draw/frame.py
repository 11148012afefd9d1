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
    """Return width and height of an SVG element: its own, and the least with readable text.

    >>> sizes('<svg viewBox="0.00 0.00 200.00 90.00"><text font-size="8.00">x</text></svg>')
    ((200.0, 90.0), (275.0, 123.75))
    """
    found = re.search(r' viewBox="\S+ \S+ (\S+) (\S+)"', picture)
    width, height = map(float, found.groups())
    smallest = min(map(float, re.findall(r' font-size="([\d.]+)"', picture)), default=READABLE)
    scale = READABLE / smallest
    return (width, height), (width * scale, height * scale)


def framed(picture: str, name: str) -> str:
    """Return an SVG element in a frame that scrolls, by a keyboard too, where it is too wide.

    `CSS` has the rules that the page needs. `name` is read to those who cannot see the picture.
    """
    (width, height), (least, _) = sizes(picture)
    most = max(least, width * 4 / 3)
    style = f"width:100%;min-width:{math.ceil(least)}px;max-width:{math.ceil(most)}px;"
    style += f"height:auto;aspect-ratio:{width:g}/{height:g}"
    picture = picture.replace(_STYLE, f'style="{style}"', 1)
    return f'<figure tabindex="0" aria-label="{escape(name)}">{picture}</figure>'
