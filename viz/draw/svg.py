"""SVG for web pages: tooltips, unique ids, dark mode, and descriptions for screen readers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from . import palette

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
FONTS = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"


def parse(raw: bytes) -> ET.Element:
    """Return the root of Graphviz's SVG; ParseError or ValueError if it is something else."""
    if b"<!ENTITY" in raw:
        raise ValueError("an SVG with entities")  # Graphviz writes none, and they can expand
    root = ET.fromstring(raw.decode())
    if root.tag != SVG + "svg":
        raise ValueError(f"{root.tag!r} is not an SVG")
    for side in ("width", "height"):
        float(root.get(side, "").removesuffix("pt"))
    return root


def polish(
    raw: bytes,
    prefix: str,
    title: str,
    description: str,
    dark: bool | None = None,
    size: tuple[float, float] | None = None,
) -> str:
    """Return Graphviz's SVG as an element for a page.

    Each `<title>` holds the tooltip instead of the name in the DOT text. Ids are `prefix-name`, so
    that figures do not collide in one page. The width follows the page up to the natural size. The
    element has `role="img"`, a title and a description. Colours without a meaning follow
    `color-scheme`: the reader's, or the one that a page sets for the element. If `dark` is given,
    the colours are those of a dark or a light page for every reader. `size` in points, if given, is
    the size that Graphviz rounded.
    """
    ET.register_namespace("", SVG[1:-1])
    root = parse(raw)
    used: set[str] = set()
    for group in list(root.iter(SVG + "g")):
        kind = group.get("class")
        if kind in ("node", "edge", "cluster"):
            heading = group.find(SVG + "title")
            name = "" if heading is None else heading.text or ""
            if heading is not None:
                group.remove(heading)
            _unlink(group)
            group.set("id", _unique(f"{prefix}-{slug(name)}", used))
        elif kind == "graph":
            group.set("id", f"{prefix}-graph")
            for heading in group.findall(SVG + "title"):
                group.remove(heading)
    for e in root.iter(SVG + "text"):
        e.set("font-family", FONTS)
    if dark is None:
        style = _style(root, prefix)
    else:
        style = f":where(#{prefix}){{color-scheme:{'dark' if dark else 'light'}}}"
    rounded = [float(root.attrib.pop(k).removesuffix("pt")) for k in ("width", "height")]
    width, height = rounded if size is None else size
    # CSS pixels are 3/4 of a point; figures shrink with the page.
    root.set("width", f"{width * 4 / 3:.0f}")
    root.set("height", f"{height * 4 / 3:.0f}")
    root.set("style", "max-width:100%;height:auto")
    root.set("id", prefix)
    root.set("role", "img")
    root.set("aria-labelledby", f"{prefix}-title {prefix}-desc")
    for position, (tag, words) in enumerate((("title", title), ("desc", description))):
        e = ET.Element(SVG + tag, {"id": f"{prefix}-{tag}"})
        e.text = words
        root.insert(position, e)
    css = ET.Element(SVG + "style")
    css.text = style
    root.insert(2, css)
    return ET.tostring(root, encoding="unicode") + "\n"


def _style(root, prefix):
    """Return the style rules for dark pages, based on `light-dark()`.

    Text on a fill that has a meaning gets the class "on" and keeps its colour.
    """
    # `:where` has no specificity, so that a page can override it.
    rules = {f":where(#{prefix})": "color-scheme:light dark"}
    for group in root.iter(SVG + "g"):
        edge, over = group.get("class") == "edge", "#ffffff"
        for e in group:
            text = e.tag == SVG + "text"
            for attribute in {"fill", "stroke"} & set(e.attrib):
                colour = e.get(attribute)
                colour = {"white": "#ffffff", "black": "#000000"}.get(colour, colour).lower()
                e.set(attribute, colour)
                if not colour.startswith("#"):
                    continue
                fill = attribute == "fill"
                other = palette.turned(colour, fill, over if text else None, edge)
                if text and over in palette.SHADES:
                    e.set("class", f"on{over[1:]}")
                    selector = f"#{prefix} text.on{over[1:]}:not(.on)"
                else:
                    inside = ".edge " if edge and not palette.is_frame(colour, fill) else ""
                    selector = f'#{prefix} {inside}[{attribute}="{colour}"]:not(.on)'
                if fill and not text:
                    over = colour
                if other is not None:
                    rules[selector] = f"{attribute}:light-dark({colour},{other})"
            if text:
                if not palette.is_frame(over, fill=True):
                    e.set("class", "on")
                elif e.get("fill") is None:
                    rules[f"#{prefix} text:not([fill]):not(.on)"] = (
                        f"fill:light-dark(#000000,{palette.dark('#000000')})"
                    )
    return "".join(f"{selector}{{{rule}}}" for selector, rule in sorted(rules.items()))


def slug(name: str) -> str:
    """Return the name of a node or edge in a form that can end an id.

    >>> slug("layer1@0"), slug("in:x3->i")
    ('layer1-0', 'in:x3--i')
    """
    return re.sub(r"[^A-Za-z0-9_.:-]+", "-", name)


def _unlink(group):
    """Unwrap items from the link that Graphviz adds for a tooltip; give the group a `<title>`."""
    for holder in list(group):
        link = holder.find(SVG + "a") if holder.tag == SVG + "g" else None
        if link is not None:
            place = list(group).index(holder)
            group.remove(holder)
            for k, child in enumerate(list(link)):
                group.insert(place + k, child)
            heading = ET.Element(SVG + "title")
            heading.text = link.get(XLINK + "title")
            group.insert(0, heading)


def _unique(id, used):
    k, candidate = 1, id
    while candidate in used:
        k += 1
        candidate = f"{id}-{k}"
    used.add(candidate)
    return candidate
