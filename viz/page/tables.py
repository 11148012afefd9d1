"""The page's numbers as HTML: unit tiles, tables, the strip of steps. Each number stands in an element the script can find."""

from __future__ import annotations

import unicodedata
from html import escape

import numpy as np

from ..draw import notation, palette
from ..reading.wiring import Neuron
from ..views.layer import shown
from .run import LayerRun

BINS = palette.LINE_STEPS + 1  # colours of a scale; the numbers themselves are exact
STRIP = 600  # steps that have a button each
SPOKEN = {" ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍"}


def colours() -> dict[str, list[str]]:
    """The scales as lists of colours: fill and text of signed values, lines, sizes."""
    at = [k / (BINS - 1) for k in range(BINS)]
    line = [palette.ramp(palette.SIGNED_LINE, u) for u in at]
    return {
        "signed": [palette.ramp(palette.SIGNED, u) for u in at],
        "ink": [palette.on(2 * u - 1, 1) for u in at],
        "line": [f"light-dark({c},{palette.dark(c)})" for c in line],
        "size": [palette.ramp(palette.CIVIDIS, u) for u in at],
    }


def style() -> str:
    """A class for each colour of the scales."""
    c = colours()
    rules = [f".s{k}{{background:{c['signed'][k]};color:{c['ink'][k]}}}" for k in range(BINS)]
    rules += [
        f".m{k}{{background:{c['size'][k]};color:{'#fff' if k < BINS / 2 else '#000'}}}"
        for k in range(BINS)
    ]
    return "".join(rules)


def bin_of(v: float, limit: float) -> int:
    """The colour of a value on a scale from -limit to limit."""
    u = 0.5 if np.isnan(v) else min(max(0.5 + 0.5 * v / limit, 0.0), 1.0)
    return int(u * (BINS - 1) + 0.5)


def symbol(text: str) -> str:
    """An input as one visible sign: blanks and control characters by their pictures."""
    if text in SPOKEN:
        return SPOKEN[text]
    if len(text) == 1 and ord(text) < 32:
        return chr(0x2400 + ord(text))
    hidden = any(
        unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs") for c in text
    )
    return (
        " ".join(f"U+{ord(c):04X}" for c in text)
        if hidden and len(text) == 1
        else notation.legal(text)
    )


def strip(labels: list[str] | None, T: int, t: int, labelled: str = "input") -> str:
    """A button for each step, with its label where there are any: of its input, or its output."""
    if T > STRIP:
        return f'<p class="note">{T:,} steps: the slider and the arrow keys reach each of them.</p>'
    buttons = []
    for s in range(T):
        text = str(s) if labels is None else labels[s]
        here = ' aria-current="step"' if s == t else ""
        spoken = escape(
            f"step {s}" + ("" if labels is None else f", {labelled} {text}"), quote=True
        )
        look = f'type="button" data-t="{s}" tabindex="-1" aria-label="{spoken}"{here}'
        buttons.append(f"<button {look}><bdi>{escape(text)}</bdi></button>")
    return f'<div class="strip{" text" if labels else ""}" role="group" aria-label="steps">{"".join(buttons)}</div>'


def tiles(run: LayerRun, t: int) -> str:
    """A field for each unit that is in the page, coloured by what it puts out; nothing where the picture has them all."""
    if len(shown(run.H)) == run.H:
        return ""
    h = next(q for q in run.quantities if q.key == run.first)
    fields = (
        f'<button type="button" class="tile s{bin_of(float(h.a[t, u]), run.limits["h"])}" data-u="{u}">{j}</button>'
        for u, j in enumerate(run.units)
    )
    says = f'<p class="note">Every unit, coloured by its {escape(run.first)}:</p>'
    return f'{says}<div class="tiles">{"".join(fields)}</div>'


def table(run: LayerRun, t: int) -> str:
    """Every quantity of every unit at one step."""
    head = "".join(
        f'<th scope="col" title="{escape(q.label)}">{escape(q.key)}</th>' for q in run.quantities
    )
    rows = "".join(
        f'<tr><th scope="row">{j}</th>'
        + "".join(f"<td>{notation.exact(q.a[t, u])}</td>" for q in run.quantities)
        + "</tr>"
        for u, j in enumerate(run.units)
    )
    return (
        f'<table class="numbers"><caption>Layer {run.k}{run.way.suffix}, every unit at step '
        f'<span class="now">{t}</span></caption>'
        f'<thead><tr><th scope="col">unit</th>{head}</tr></thead><tbody>{rows}</tbody></table>'
    )


def neuron(run: LayerRun, a: Neuron, u: int, t: int) -> str:
    """One gate neuron as its dot product: a row for each input that the picture of the unit draws."""
    rows, total = [], float(run.biases[a.id][u])
    for g, source in (("x", run.x[t]), ("h", run.before(t))):
        for s, k in enumerate(run.slots[g][u] if g in run.weights[a.id] else ()):
            w, v = float(run.weights[a.id][g][u, s]), float(source[k])
            total += w * v
            name = notation.sub(g if g == "x" else run.first, k)
            cells = "".join(f"<td>{notation.exact(n)}</td>" for n in (w, v, w * v))
            rows.append(f'<tr data-g="{g}" data-s="{s}"><th scope="row">{name}</th>{cells}</tr>')
    bias = notation.exact(run.biases[a.id][u])
    what = "sum of the inputs drawn" if run.elided else "pre-activation"
    value = next(
        (notation.exact(q.a[t, u]) for q in run.quantities if q.key == (a.value or None)), ""
    )
    how = escape(a.label.partition(" → ")[2] or "out")
    after = f'<tr><th scope="row">{how}</th><td></td><td></td><td class="out">{value}</td></tr>'
    return (
        f'<table class="dot" data-neuron="{escape(a.id)}"><caption>{escape(a.name)} of unit '
        f'<span class="unit">{run.units[u]}</span>'
        f' at step <span class="now">{t}</span>: {escape(a.label)}</caption>'
        '<thead><tr><th scope="col">input</th><th scope="col">weight</th><th scope="col">value</th>'
        f'<th scope="col">weight × value</th></tr></thead><tbody>{"".join(rows)}</tbody><tfoot>'
        f'<tr><th scope="row">bias</th><td></td><td></td><td class="bias">{bias}</td></tr>'
        f'<tr><th scope="row">{what}</th><td></td><td></td><td class="sum">{notation.exact(total)}</td></tr>'
        f"{after if value else ''}</tfoot></table>"
    )
