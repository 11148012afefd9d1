"""A picture in a page: it follows the width of the window down to the size that can be read."""

from __future__ import annotations

import math
import re
from html import escape

SMALLEST = 11  # pixels: the height of the smallest text
CSS = "figure{margin:0;overflow-x:auto}figure>svg{display:block;margin:0 auto}"
_STYLE = 'style="max-width:100%;height:auto"'  # that of svg.polish


def framed(picture: str, name: str) -> str:
    """Return an SVG element in a frame that scrolls, by a keyboard too, where it is too wide.

    `CSS` has the rules that the page needs. `name` is read to those who cannot see the picture.
    """
    width, height = map(float, re.search(r'viewBox="\S+ \S+ (\S+) (\S+)"', picture).groups())
    sizes = map(float, re.findall(r' font-size="([\d.]+)"', picture))
    least = math.ceil(width * SMALLEST / min(sizes, default=SMALLEST))
    most = max(least, round(width * 4 / 3))
    style = f"width:100%;min-width:{least}px;max-width:{most}px;"
    style += f"height:auto;aspect-ratio:{width:g}/{height:g}"
    picture = picture.replace(_STYLE, f'style="{style}"', 1)
    return f'<figure tabindex="0" aria-label="{escape(name)}">{picture}</figure>'
