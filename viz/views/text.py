"""A text whose characters are coloured by what one unit held after reading them."""

from __future__ import annotations

import unicodedata
from html import escape
from typing import Any

import numpy as np

from ..draw import dot, legend, notation, palette
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing
from ..reading import describe, probing

COLUMNS, WIDE, TALL = 72, 11, 19


def text(
    model: Any,
    text: str,
    unit: int | None = None,
    value: str = "h",
    layer: int | None = None,
    max_nodes: int | None = 1200,
) -> Drawing:
    """Characters of a text coloured by one unit's h, c or gate, after each was read: blue below zero, orange above.

    `model`: a CharLM. `unit` of recurrent layer number `layer` of the model (the last if None); without a unit the one that
    varies most. The first `max_nodes` characters are drawn. Saved as .html it is text that can be selected, with the number of
    each character where the mouse is.

    Raises TypeError for another model, ValueError for an empty text, unknown characters and values, IndexError for a unit or
    layer that is not there.
    """
    found = probing.read(model, text, value)
    layer = max(found) if layer is None else layer
    if layer not in found:
        raise IndexError(
            f"layer must be one of {', '.join(map(str, found))}, which have {value}, got {layer}"
        )
    values = found[layer]
    if unit is None:
        unit = int(np.nan_to_num(values.std(axis=0)).argmax())
    if isinstance(unit, bool) or not isinstance(unit, (int, np.integer)):
        raise TypeError(f"unit must be an int, got {type(unit).__name__}")
    if not 0 <= unit < values.shape[1]:
        raise IndexError(
            f"unit must be in 0..{values.shape[1] - 1}, the units of layer {layer}, got {unit}"
        )
    mine = values[:, unit].astype(np.float64)
    finite = np.abs(mine[np.isfinite(mine)])
    limit = palette.nice(float(finite.max(initial=0)))
    who = f"{value} of {describe.kind(model.model.layers[layer])} unit {unit}, layer {layer}"
    shown = text if max_nodes is None else text[:max_nodes]
    left = len(text) - len(shown)
    said = f"Each character has the colour of {who}, after it was read; from −{limit:g} (blue) to +{limit:g} (orange)"
    said += f"; the first {len(shown):,} of {len(text):,} characters" if left else ""
    drawing = Drawing.from_items(
        f"{who[0].upper()}{who[1:]}, over a text", said + ".", _items(shown, mine, limit, who, left)
    )
    return drawing.with_page(_page(shown, mine, limit, f"{said}."))


def visible(c: str) -> str:
    """What stands for a character on a picture: signs for what cannot be seen.

    >>> visible("a"), visible(" "), visible(chr(10)), visible(chr(7))
    ('a', '', '¶', '□')
    """
    if c == "\n":
        return "¶"
    if c == "\t":
        return "→"
    if c.isspace():
        return ""
    return "□" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") else c


def named(c: str) -> str:
    """A character as a tooltip says it: control characters by their number."""
    return f"'{c}'" if c == visible(c) else f"U+{ord(c):04X}"


def _items(shown, values, limit, who, left):
    canvas = Canvas()
    row = column = 0
    for k, c in enumerate(shown):
        if column == COLUMNS:
            row, column = row + 1, 0
        v = float(values[k])
        look = {
            "fill": palette.signed(v, limit),
            "penwidth": 0,
            "fontsize": 11,
            "fontname": "Courier",
        }
        look |= {"fontcolor": palette.on(v, limit), "tip": f"{k}: {named(c)} = {notation.exact(v)}"}
        canvas.node(f"char{k}", (column * WIDE, -row * TALL), (WIDE, TALL - 3), visible(c), **look)
        column += 1
        if c == "\n":
            row, column = row + 1, 0
    canvas.add(
        dot.text(
            (-WIDE / 2, TALL + 6), f"{who}, after each character", 11, palette.INK, anchor="start"
        )
    )
    at = (-WIDE / 2, -(row + 1) * TALL - 16)
    legend.signed(canvas, "v", at, "value of the unit", limit)
    if left:
        note = f"the first {len(shown):,} characters; {left:,} more are not drawn"
        canvas.add(dot.text((at[0] + 220, at[1]), note, 9, anchor="start"))
    return canvas.items


def _page(shown, values, limit, said):
    """Spans of text: selectable, wrapped and ordered by the browser, right-to-left text too."""
    spans = []
    for c, v in zip(shown, values, strict=False):
        colours = f"background:{palette.signed(v, limit)};color:{palette.on(v, limit)}"
        sign = visible(c) if c != " " else " "
        seen = "¶\n" if c == "\n" else "→\t" if c == "\t" else sign or " "
        spans.append(
            f'<span style="{colours}" title="{escape(named(c))} = {notation.exact(v)}">{escape(seen)}</span>'
        )
    style = "font:16px/1.6 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere"
    return f'<p>{escape(said)}</p><div dir="auto" style="{style}">{"".join(spans)}</div>'
