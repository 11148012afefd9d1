"""The views as parts of a page: short ids, one font, colours of the dark page in the page's own style."""

from __future__ import annotations

import re

from .. import svg
from ..drawing import Drawing


def figure(drawing: Drawing, prefix: str) -> tuple[str, str]:
    """The SVG element of a drawing with ids `prefix-NAME`, and the style rules that belong to it.

    Nothing in it needs an inline style, which the page's security policy forbids.
    """
    text = drawing.svg()
    old = re.search(r'id="(fig-[0-9a-f]+)-title"', text)[1]
    text = text.replace(old, prefix)
    rules = "".join(re.findall(r"<style>(.*?)</style>", text, re.S)).replace("&gt;", ">").replace("&lt;", "<")
    text = re.sub(r"<style>.*?</style>|\n(?=\n)| xml:space=\"preserve\"", "", text, flags=re.S)
    text = text.replace(' style="max-width:100%;height:auto"', "").replace(f' font-family="{svg.FONTS}"', "")
    return text.replace('<g id="corner', '<g class="corner" id="corner').strip(), rules
