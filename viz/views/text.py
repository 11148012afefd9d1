"""A text in which each character has the colour of one unit's value after it."""

from __future__ import annotations

from html import escape
from typing import Any, Unpack

import numpy as np

from recurrent import checks

from ..draw import adapt, legend, notation, palette
from ..draw.adapt import Look, adaptable
from ..draw.canvas import Canvas
from ..draw.drawing import Drawing
from ..reading import describe, probing

COLUMNS, WIDE, TALL = 72, 11, 19


@adaptable
def text(
    model: Any,
    text: str,
    unit: int | None = None,
    value: str = "h",
    layer: int | None = None,
    max_nodes: int | None = 1200,
    **options: Unpack[Look],
) -> Drawing:
    """Draw a text coloured by one unit's h, c or gate after each character.

    Blue is below zero, orange above; in print, a dashed border is below zero. Saved as .html, the
    text can be selected, and the value of each character appears under the mouse.

    Parameters
    ----------
    model : recurrent.CharLM
        The model that reads the text.
    text : str
        The text.
    unit : int, optional
        The number of the unit; by default the one that varies most.
    value : str
        "h", "c" or the name of a gate.
    layer : int, optional
        The place of the recurrent layer in the model; the last one by default.
    max_nodes : int, optional
        The number of characters to draw; None for all.
    **options
        `title`, `labels`, `width`, `palette` and `dark`, which `viz.Look` explains.

    Returns
    -------
    Drawing

    Raises
    ------
    TypeError
        If `model` is not a CharLM.
    ValueError
        If the text is empty or has unknown characters, or no layer has `value`.
    IndexError
        If the unit or layer does not exist.
    """
    found = probing.read(model, text, value)
    layer = max(found) if layer is None else checks.integer(layer, "layer")
    max_nodes = None if max_nodes is None else checks.size(max_nodes, "max_nodes")
    if layer not in found:
        listed = ", ".join(map(str, found))
        raise IndexError(f"layer must be one of {listed}, the layers with {value}, got {layer}")
    units = found[layer]
    if unit is None:
        unit = int(np.nan_to_num(units.std(axis=0)).argmax())
    unit = checks.index(unit, "unit", units.shape[1], f", the units of layer {layer}")
    values = units[:, unit].astype(np.float64)
    finite = np.abs(values[np.isfinite(values)])
    limit = adapt.limit("v", float(finite.max(initial=0)))
    kind = describe.kind(model.model.layers[layer])
    own = adapt.label("units", unit, units.shape[1], "")
    name = f"{value} of {kind} unit {unit}{f' ({own})' * bool(own)}, layer {layer}"
    shown = text if max_nodes is None else text[:max_nodes]
    hidden = len(text) - len(shown)
    sentence = f"Each character has the colour of {name}, after it was read; "
    below = "dashed border" if adapt.marks_sign() else "blue"
    sentence += f"from −{limit:g} to +{limit:g}, below zero: {below}"
    sentence += f"; the first {len(shown):,} of {len(text):,} characters" if hidden else ""
    sentence += "."
    title = f"{name}, over a text"
    drawing = Drawing.from_items(title, sentence, _items(shown, values, limit, name, hidden))
    return drawing.with_page(_page(shown, values, limit, sentence))


def _items(shown, values, limit, name, hidden):
    canvas = Canvas()
    row = column = 0
    for k, c in enumerate(shown):
        if column == COLUMNS:
            row, column = row + 1, 0
        v = float(values[k])
        fill = palette.signed(v, limit)
        look = dict(fill=fill, penwidth=0, fontsize=11, fontname="Courier")
        look |= dict(fontcolor=palette.on(fill))
        look |= dict(tip=f"{k}: {notation.character(c)} = {notation.exact(v)}")
        at = (column * WIDE, -row * TALL)
        if v < 0 and adapt.marks_sign():
            look |= dict(penwidth=1, color=palette.INK, style="filled,dashed")
        canvas.node(f"char{k}", at, (WIDE, TALL - 3), notation.visible(c), **look)
        column += 1
        if c == "\n":
            row, column = row + 1, 0
    heading = adapt.heading(f"{name}, after each character")
    canvas.text((-WIDE / 2, TALL + 6), heading, 11, palette.INK, anchor="start")
    x, y = -WIDE / 2, -(row + 1) * TALL - 16
    legend.signed(canvas, "v", (x, y), "value of the unit", limit)
    if hidden:
        note = f"the first {len(shown):,} characters; {hidden:,} more are not drawn"
        canvas.text((x + 220, y), note, 9, anchor="start")
    return canvas.items


def _page(shown, values, limit, sentence):
    """Return the text as HTML, which the browser wraps and orders, right-to-left text too."""
    spans = []
    for c, v in zip(shown, values, strict=False):
        fill = adapt.colour(palette.signed(v, limit))
        colours = f"background:{fill};color:{palette.on(fill)}"
        if v < 0 and adapt.marks_sign():
            colours += ";outline:1px dashed;outline-offset:-1px"
        sign = notation.visible(c) or " "
        sign += {"\n": "\n", "\t": "\t"}.get(c, "")
        tip = f"{escape(notation.character(c))} = {notation.exact(v)}"
        spans.append(f'<span style="{colours}" title="{tip}">{escape(sign)}</span>')
    style = "font:16px/1.6 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere"
    return f'<p>{escape(sentence)}</p><div dir="auto" style="{style}">{"".join(spans)}</div>'
