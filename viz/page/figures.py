"""The views as parts of a page: short ids, one font, colours of the dark page in the page's own style."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..draw import svg
from ..draw.drawing import Drawing

_SAID_BY_STYLE = (
    ' xml:space="preserve"',
    ' style="max-width:100%;height:auto"',
    f' font-family="{svg.FONTS}"',
)
_SAID_BY_STYLE += (' class="node"', ' text-anchor="middle"')
_PLACES, _SIZES = r' (?:d|points|[cr]?[xy])="[^"]*"', r' (?:font-size|stroke-width)="[^"]*"'


def figure(drawing: Drawing, prefix: str) -> tuple[str, str]:
    """The SVG element of a drawing with ids `prefix-NAME`, and the style rules that belong to it.

    Nothing in it needs an inline style, which the page's security policy forbids; what page.css says for all is left out,
    and places are to a tenth of a point.
    """
    text = drawing.svg()
    old = re.search(r'id="(fig-[0-9a-f]+)-title"', text)[1]
    rules = (
        "".join(re.findall(r"<style>(.*?)</style>", text, re.S))
        .replace("&gt;", ">")
        .replace("&lt;", "<")
    )
    text = re.sub(r"<style>.*?</style>|(?<=>)\n+(?=<)", "", text.replace(old, prefix), flags=re.S)
    text = re.sub(r"<[a-z][^>]*>", _short, text)
    text = re.sub(r'(class="edge">(?:<title>[^<]*</title>)?<path) fill="none"', r"\1", text)
    return text.replace('<g id="corner', '<g class="corner" id="corner').strip(), rules.replace(
        old, prefix
    )


def rules(styles: Iterable[str]) -> str:
    """The style rules of all figures as rules of the page: what a colour becomes in the dark is the same in each."""
    found = (rule for style in styles for rule in re.findall(r"[^{}]+\{[^{}]+\}", style))
    return "".join(sorted({re.sub(r"#[A-Za-z]\w*", "figure>svg", rule, count=1) for rule in found}))


def _short(tag):
    text = tag[0]
    for said in _SAID_BY_STYLE:
        text = text.replace(said, "")
    text = re.sub(_PLACES, lambda a: re.sub(r"-?\d+\.\d+", lambda m: _number(m[0], 1), a[0]), text)
    return re.sub(
        _SIZES, lambda a: re.sub(r"\d+\.\d+", lambda m: _number(m[0], 2), a[0]), text
    ).replace(" />", "/>")


def _number(text, digits):
    """
    >>> _number("12.04", 1), _number("-0.04", 1), _number("1.45", 2)
    ('12', '0', '1.45')
    """
    return f"{round(float(text), digits) + 0.0:.8g}"
