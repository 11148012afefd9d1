"""Colour keys, which let a colour be read as a number."""

from __future__ import annotations

import math

from . import adapt, dot, notation, palette
from .canvas import Canvas

WIDE, TALL = 160, 9


def ramp(
    canvas: Canvas,
    name: str,
    at: dot.Point,
    label: str,
    colours: tuple[str, ...],
    ticks: list[tuple[float, str]],
) -> float:
    """Draw a bar of colours below its label; return the x after it.

    `ticks` are places from 0 to 1 with their text.
    """
    x, y = at
    title = canvas.text((x, y), label, 9, anchor="start", name=f"key:{name}:title")
    parts, long = 20, WIDE / 20
    for k in range(parts + 1):
        colour, id = palette.stepped(colours, k / parts), f"key:{name}{k}"
        x0, x1, at = x + 4 + long * (k - 0.5), x + 4 + long * (k + 0.5), y - 14
        if colours == palette.SIGNED_LINE:  # lines, which a dark page turns
            ends = canvas.anchors(id, [(x0, at), (x1, at)])
            below = adapt.marks_sign() and k < parts / 2
            thick = dict(penwidth=2 if below else TALL, style="dashed" if below else "solid")
            canvas.wire(*ends, [(x0, at), (x1, at)], arrow=False, color=colour, **thick)
            continue
        shape = dict(fill=colour, color=colour, penwidth=0)
        canvas.node(id, ((x0 + x1) / 2, at), (long, TALL), **shape)
    for u, text in ticks:
        end = {0: "low", 1: "high"}.get(u, "middle")
        canvas.text((x + 4 + WIDE * u, y - 26), text, 9, name=f"key:{name}:{end}")
    return max(title.box[2], x + WIDE + 4)


def signed(
    canvas: Canvas,
    name: str,
    at: dot.Point,
    label: str,
    limit: float,
    colours: tuple[str, ...] = palette.SIGNED,
) -> float:
    """Draw the key of `palette.signed` from -limit to limit, or of the lines; as `ramp`."""
    if adapt.marks_sign():
        label += "; below zero: dashes" if colours == palette.SIGNED_LINE else "; below zero: −"
    ticks = [(0, f"−{limit:g}"), (0.5, "0"), (1, f"+{limit:g}")]
    return ramp(canvas, name, at, label, colours, ticks)


def magnitude(
    canvas: Canvas, name: str, at: dot.Point, label: str, low: float, high: float
) -> None:
    """Draw the key of `palette.magnitude` between two powers of ten, on a log axis."""
    middle = 10.0 ** round(math.log10(low * high) / 2)
    place = math.log(middle / low) / math.log(high / low)
    between = [(place, notation.power(middle))] if 0.2 < place < 0.8 else []
    ticks = [(0, notation.power(low)), *between, (1, notation.power(high))]
    ramp(canvas, name, at, label, palette.CIVIDIS, ticks)


def not_finite(canvas: Canvas, at: dot.Point) -> float:
    """Draw the key of NaN and infinite values; return the x after it."""
    x, y = at
    shape = dict(fill=palette.NOT_FINITE, color=palette.NOT_FINITE, penwidth=0)
    canvas.node("key:not-finite", (x + 5, y), (10, TALL), **shape)
    return canvas.text((x + 14, y), "NaN or infinite", 9, anchor="start").box[2]
