"""The page's numbers as HTML: unit tiles, tables and the strip of time steps.

Each number stands in an element that the script can find.
"""

from __future__ import annotations

import unicodedata
from html import escape

import numpy as np

from ..draw import adapt, notation, palette
from ..views.parts.elision import shown
from .names import names_of
from .run import LayerRun

BINS = palette.STEPS + 1  # colours of a scale; values that are not finite have one more
STRIP = 600  # steps that have a button each
SIGNS = {" ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍"}

HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs")  # Unicode categories without a glyph


def colours() -> dict[str, list[str]]:
    """Return the scales as lists of colours, and those of text on the scales that fill.

    The scales are of signed values, of lines, of magnitudes and of the weights of attention.
    """
    at = [k / (BINS - 1) for k in range(BINS)]
    line, shade, signed, size = (
        [*map(adapt.colour, (*(palette.ramp(colours, u) for u in at), palette.NOT_FINITE))]
        for colours in (palette.SIGNED_LINE, palette.ATTENTION, palette.SIGNED, palette.CIVIDIS)
    )
    turned = [palette.dark(c) for c in shade]
    return {
        "signed": signed,
        "signedInk": [palette.on(c) for c in signed],
        "line": _both(line, [palette.dark(c) for c in line]),
        "size": size,
        "sizeInk": [palette.on(c) for c in size],
        "shade": _both(shade, turned),
        "shadeInk": _both([palette.on(c) for c in shade], [palette.on(c) for c in turned]),
    }


def _both(light: list[str], dark: list[str]) -> list[str]:
    """Return colours of CSS that follow the colour scheme of the page."""
    return [f"light-dark({a},{b})" for a, b in zip(light, dark, strict=True)]


def style() -> str:
    """Return CSS with a class for each colour of the scales, and for bars of either sign."""
    c = colours()
    line = c["line"]
    bars = f".plus{{fill:{line[BINS - 1]}}}.minus{{fill:{line[0]}}}"
    rules = bars + "".join(
        f".{kind[0]}{k}{{background:{c[scale][k]};color:{c[f'{scale}Ink'][k]}}}"
        for kind, scale in (("s", "signed"), ("m", "size"))
        for k in range(BINS + 1)
    )
    if adapt.marks_sign():
        below = ",".join(f".s{k}" for k in range(BINS // 2))
        rules += f"{below}{{text-decoration:underline dashed}}"
    return rules


def bin_of(v: float, limit: float) -> int:
    """Return the index of a value's colour in the scale from -limit to limit."""
    if not np.isfinite(v):
        return BINS
    return int(min(max(0.5 + 0.5 * v / limit, 0.0), 1.0) * (BINS - 1) + 0.5)


def symbol(text: str) -> str:
    """Return a label with visible signs for white space and control characters."""
    if text in SIGNS:
        return SIGNS[text]
    if len(text) == 1 and ord(text) < 32:
        return chr(0x2400 + ord(text))
    if len(text) == 1 and unicodedata.category(text) in HIDDEN:
        return f"U+{ord(text):04X}"
    return notation.legal(text)


def strip(labels: list[str] | None, T: int, t: int, labelled: str = "input") -> str:
    """Return a button for each step, labelled with its input or output if there are labels."""
    if T > STRIP:
        return f'<p class="note">{T:,} steps: the slider and the arrow keys reach each of them.</p>'
    buttons = []
    for s in range(T):
        text = str(s) if labels is None else labels[s]
        here = ' aria-current="step"' if s == t else ""
        spoken = f"step {s}" + ("" if labels is None else f", {labelled} {text}")
        look = f'data-t="{s}" tabindex="-1" aria-label="{escape(spoken)}"{here}'
        buttons.append(f"<button {look}><bdi>{escape(text)}</bdi></button>")
    kind = "strip text" if labels else "strip"
    return f'<div class="{kind}" role="group" aria-label="steps">{"".join(buttons)}</div>'


def tiles(run: LayerRun, t: int) -> str:
    """Return a tile for each unit, coloured by its h; nothing if the picture shows all units."""
    if len(shown(run.H)) == run.H:
        return ""
    h = next(q for q in run.quantities if q.key == run.first)
    fields = []
    for u, j in enumerate(run.units):
        colour = bin_of(float(h.a[t, u]), run.limits[run.first])
        fields.append(f'<button class="tile s{colour}">{j}</button>')
    note = f'<p class="note">Every unit, coloured by its {escape(run.first)}:</p>'
    return f'{note}<div class="tiles">{"".join(fields)}</div>'


def table(run: LayerRun, t: int) -> str:
    """Return a table of every quantity of every unit at one step."""
    names = names_of(run).get("units")
    head = "".join(
        f'<th scope="col" title="{escape(q.label)}">{escape(q.key)}</th>' for q in run.quantities
    )
    rows = "".join(
        f'<tr><th scope="row">{escape(names[j]) if names else j}</th>'
        + "".join(f"<td>{notation.exact(q.a[t, u])}</td>" for q in run.quantities)
        + "</tr>"
        for u, j in enumerate(run.units)
    )
    return (
        f'<table class="numbers"><caption>Layer {run.k}{run.way.suffix}, every unit at step '
        f'<span class="now">{t}</span></caption>'
        f'<thead><tr><th scope="col">unit</th>{head}</tr></thead><tbody>{rows}</tbody></table>'
    )


def caption(run: LayerRun, name: str, u: int, t: int, label: str) -> str:
    """Return a line with the name of a unit's neuron, the unit and the step."""
    return (
        f'<p class="note">{escape(name)} of unit <span class="unit">{run.units[u]}</span> '
        f'at step <span class="now">{t}</span>: {escape(label)}</p>'
    )
