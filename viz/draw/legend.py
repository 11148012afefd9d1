"""Colour keys, which let a colour be read as a number."""

from __future__ import annotations

import math

from . import dot, notation, palette
from .canvas import Canvas

WIDE, TALL = 160, 9


def ramp(
    canvas: Canvas,
    name: str,
    at: dot.Point,
    label: str,
    colours: tuple[str, ...],
    ticks: list[tuple[float, str]],
) -> None:
    """Draw a bar of colours below its label; `ticks` are places from 0 to 1 with their text."""
    x, y = at
    canvas.text((x, y), label, 9, anchor="start", name=f"key:{name}:title")
    parts = 20
    for k in range(parts + 1):
        colour = palette.stepped(colours, k / parts)
        place = (x + 4 + WIDE / parts * k, y - 14)
        look = dict(fill=colour, color=colour, penwidth=0)
        canvas.node(f"key:{name}{k}", place, (WIDE / parts, TALL), **look)
    for u, text in ticks:
        end = {0: "low", 1: "high"}.get(u, "middle")
        canvas.text((x + 4 + WIDE * u, y - 26), text, 8, name=f"key:{name}:{end}")


def signed(
    canvas: Canvas,
    name: str,
    at: dot.Point,
    label: str,
    limit: float,
    colours: tuple[str, ...] = palette.SIGNED,
) -> None:
    """Draw the key of `palette.signed` from -limit to limit."""
    ticks = [(0, f"−{limit:g}"), (0.5, "0"), (1, f"+{limit:g}")]
    ramp(canvas, name, at, label, colours, ticks)


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
    look = dict(fill=palette.NOT_FINITE, color=palette.NOT_FINITE, penwidth=0)
    canvas.node("key:not-finite", (x + 5, y), (10, TALL), **look)
    return canvas.text((x + 14, y), "NaN or infinite", 9, anchor="start").box[2]
