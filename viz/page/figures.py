"""Drawings as figures of a page, with short ids and dark colours in the page's own style."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from html import escape

from ..draw import frame, svg
from ..draw.drawing import Drawing

_IN_PAGE_CSS = (  # attributes that page.css sets for all figures
    ' xml:space="preserve"',
    ' style="max-width:100%;height:auto"',
    f' font-family="{svg.FONTS}"',
    ' class="node"',
    ' text-anchor="middle"',
)
_PLACES, _SIZES = r' (?:d|points|[cr]?[xy])="[^"]*"', r' (?:font-size|stroke-width)="[^"]*"'


def figure(drawing: Drawing, prefix: str) -> tuple[str, str]:
    """Return the SVG element of a drawing with ids `prefix-NAME`, and its style rules.

    It has no inline style, which the page's security policy forbids, and no attributes that
    page.css sets. Positions are rounded to a tenth of a point, and straight curves are lines. The
    width and height are the smallest at which all text is readable.
    """
    text = _readable(drawing.svg())
    old = re.search(r'id="(fig-[0-9a-f]+)-title"', text)[1]
    rules = "".join(re.findall(r"<style>(.*?)</style>", text, re.S))
    rules = rules.replace("&gt;", ">").replace("&lt;", "<").replace(old, prefix)
    text = re.sub(r"<style>.*?</style>|(?<=>)\n+(?=<)", "", text.replace(old, prefix), flags=re.S)
    text = re.sub(r"<[a-z][^>]*>", _short, text)
    text = re.sub(r'(class="edge">(?:<title>[^<]*</title>)?<path) fill="none"', r"\1", text)
    return text.replace('<g id="corner', '<g class="corner" id="corner').strip(), rules


def rules(styles: Iterable[str]) -> str:
    """Return the style rules of all figures for the page, without duplicates."""
    found = (rule for style in styles for rule in re.findall(r"[^{}]+\{[^{}]+\}", style))
    return "".join(sorted({re.sub(r"#[A-Za-z]\w*", "figure svg", rule, count=1) for rule in found}))


def framed(picture: str, name: str, look: str = "") -> str:
    """Return an SVG element in the frame that scrolls it; `look` is the frame's class.

    >>> framed("<svg/>", "The cell")
    '<figure tabindex="0" aria-label="The cell"><div class="sheet"><svg/></div></figure>'
    """
    look = look and f' class="{look}"'
    begin = f'<figure{look} tabindex="0" aria-label="{escape(name)}">'
    return f'{begin}<div class="sheet">{picture}</div></figure>'


def _readable(text):
    """Return an SVG element of the least size at which its text can be read."""
    for side, size in zip(("width", "height"), frame.sizes(text)[1], strict=True):
        text = re.sub(rf' {side}="[\d.]+"', f' {side}="{math.ceil(size)}"', text, count=1)
    return text


def _short(tag):
    """Return a tag without attributes of page.css and with rounded numbers."""
    text = tag[0]
    for attribute in _IN_PAGE_CSS:
        text = text.replace(attribute, "")
    text = re.sub(r' stroke="[^"]*" stroke-width="0"', "", text)
    text = re.sub(_PLACES, lambda a: _rounded(a[0], 1), text)
    text = re.sub(
        r' points="(\S+)([^"]*) \1"', r' points="\1\2"', text
    )  # polygons close themselves
    text = re.sub(r' d="M([^"C]+)C([^"]+)"', lambda a: f' d="{_path(*a.groups())}"', text)
    return re.sub(_SIZES, lambda a: _rounded(a[0], 2), text).replace(" />", "/>")


def _path(start, curves):
    """Return a path of Bézier curves with straight lines where they are level or upright.

    >>> _path("0,0", "1,0 2,0 3,0 3,1 4,1 4,2")
    'M0,0H3C3,1 4,1 4,2'
    """
    text, at, points = f"M{start}", start.split(","), [p.split(",") for p in curves.split()]
    for a, b, c in zip(points[::3], points[1::3], points[2::3], strict=True):
        if at[1] == a[1] == b[1] == c[1]:
            text += f"H{c[0]}"
        elif at[0] == a[0] == b[0] == c[0]:
            text += f"V{c[1]}"
        else:
            text += f"C{' '.join(map(','.join, (a, b, c)))}"
        at = c
    return text


def _rounded(text, digits):
    return re.sub(r"-?\d+\.\d+", lambda m: _number(m[0], digits), text)


def _number(text, digits):
    """Return a number with up to that many decimals.

    >>> _number("12.04", 1), _number("-0.04", 1), _number("1.45", 2)
    ('12', '0', '1.45')
    """
    return f"{round(float(text), digits) + 0.0:.8g}"
