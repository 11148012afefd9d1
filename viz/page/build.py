"""The file: template, style, script, figures and numbers as one text, with a policy under which no request can leave it."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from ..draw import notation, svg
from ..reading import describe
from ..reading.unit_values import beginning
from ..views import cell, network, unit, unrolled
from ..views.parts import time_grid
from . import attention, equations, tables
from . import layer as opened
from .figures import figure, rules
from .packed import Blob
from .run import LayerRun, norm_scale
from .stack import Stack

WIDTH = 7  # columns of the unrolled network; they follow the slider
SCRIPTS = ("numbers.js", "cell.js", "layer.js", "attention.js", "page.js")


def page(
    model: Any,
    stack: Stack,
    runs: list[LayerRun],
    labels: list[str] | None,
    t: int,
    notes: list[str],
    looks: attention.Looks | None = None,
) -> str:
    """The HTML text. `labels`: what is read, or of a decoder written, at each step; `t`: the step that is shown first."""
    room, T, recording = files(__package__), runs[0].T, stack.whole
    first = min(max(t - WIDTH // 2, 0), max(T - WIDTH, 0))
    width, blob = min(T, WIDTH), Blob()
    columns = unrolled.unrolled(
        stack.model, list(range(first, first + width)), recording=stack.recording, n=runs[0].n
    )
    parts = [
        _section("network", None, "Network: layers from bottom to top", network.network(model), "n")
    ]
    hint = "<p class='note' id='window'></p>"
    head = f"{stack.part.title()} unrolled" if stack.part else "Unrolled"
    parts.append(
        _section(
            "unrolled", None, f"{head} in time: the same weights at every step", columns, "r", hint
        )
    )
    for n, run in enumerate(runs):
        u, name = (
            0,
            f"{stack.part} layer {run.k}, {describe.short(run.layer)}{run.way.suffix}".lstrip(),
        )
        parts.append(_cell(n, run, recording, name, t))
        head = f"Layer {run.k} opened{run.way.suffix}: {notation.count(run.H, f'{describe.kind(run.layer)} unit')} side by side"
        says = f"<p>Every unit reads all {run.D:,} + {run.H:,} = {run.D + run.H:,} numbers (input, everybody's {run.first} at "
        says += (
            f"{run.way.earlier}) and puts out one number. What else it remembers is its own.</p>"
        )
        after = (
            f"{tables.tiles(run, t)}<details open><summary>The same numbers as a table</summary>"
        )
        after += f'<div class="scroll" tabindex="0" role="region" aria-label="numbers">{tables.table(run, t)}</div></details>'
        parts.append(
            _section("units", n, head, opened.drawing(run, recording, t), f"l{n}", says, after)
        )
        drawing = unit.unit(
            run.layer, int(run.units[u]), recording=recording, t=t, n=run.n, direction=run.way.name
        )
        more = _elided(run) if run.elided else ""
        parts.append(_section("unit", n, f"One unit of {name}", drawing, f"u{n}", more))
        dots = "".join(tables.neuron(run, a, u, t) for a in run.wiring.neurons)
        parts.append(
            _section("neuron", n, f"A gate neuron of {name}: a dot product", None, "", more + dots)
        )
    if looks is not None:
        says = "<p>The wider a line, the more of that saved state goes into the output of this step. Rows: all outputs.</p>"
        drawing = attention.drawing(model, stack, runs[0].n, looks)
        parts.append(
            _section("attention", None, "Attention: what an output looks at", drawing, "a", says)
        )
    known = {
        "T": T, "t": t, "bins": tables.BINS, "labels": labels, "labelled": stack.labelled, "colours": tables.colours(),
        "layers": [_layer(run, blob) for run in runs],
        "unrolled": {"first": first, "width": width, "rows": _rows(stack.model), "scale": norm_scale(runs)},
        "attention": attention.known(looks, blob),
    }  # fmt: skip
    style = (
        room.joinpath("page.css").read_text(encoding="utf-8")
        + tables.style()
        + rules(text for _, text in parts)
    )
    script = "".join(room.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS)
    stacks = [model.encoder, model.decoder] if stack.part else [model]
    what = " ⇒ ".join(" → ".join(describe.short(layer) for layer in s.layers) for s in stacks)
    options = "".join(
        f'<option value="{n}">{escape(run.name)}</option>' for n, run in enumerate(runs)
    )
    return Template(room.joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title=escape(what),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        no_gradient=""
        if any(q.kind == "gradient" for run in runs for q in run.quantities)
        else " hidden",
        t=t,
        last=T - 1,
        strip=tables.strip(labels, T, t, stack.labelled),
        layers=options,
        sections="".join(text for text, _ in parts),
        notes="".join(f'<p class="note">{escape(note)}</p>' for note in notes),
        facts=json.dumps(known).replace("<", "\\u003c"),
        blob=blob.text(),
    )


def _cell(n, run, recording, name, t):
    """The equations with the numbers of the first unit, and where there are gradients their way back."""
    shown = dict(recording=recording, t=t, n=run.n, unit=int(run.units[0]), direction=run.way.name)
    says = "<p>One layer at one step. On the wires are the numbers of one unit, so that they add up.</p>"
    ways = [("ahead", f"c{n}", cell.cell(run.layer, **shown))]
    if any(q.kind == "gradient" for q in run.quantities):
        ways.append(("back", f"b{n}", cell.cell(run.layer, **shown, backward=True)))
    drawn = [(way, *figure(drawing, prefix)) for way, prefix, drawing in ways]
    body = says + "".join(f'<figure class="wide {way}">{text}</figure>' for way, text, _ in drawn)
    text, _ = _section("cell", n, f"The cell of {name}: its equations as a circuit", None, "", body)
    return text, "".join(style for *_, style in drawn)


def _section(level, n, heading, drawing, prefix, body="", after=""):
    """A level of the page, text before and after its figure, and the style of that."""
    text, style = figure(drawing, prefix) if drawing else ("", "")
    wide = ' class="wide"' if drawing and drawing.size[0] > 600 else ""
    layer = "" if n is None else f' data-layer="{n}"'
    picture = f"<figure{wide}>{text}</figure>" if drawing else ""
    return (
        f'<section data-level="{level}"{layer}><h2>{escape(heading)}</h2>{body}{picture}{after}</section>',
        style,
    )


def _elided(run):
    x, h = (run.slots[g].shape[1] for g in "xh")
    return f'<p class="note">Drawn are the {x} of {run.D:,} inputs and {h} of {run.H:,} units whose weights are strongest.</p>'


def _rows(model):
    out = []
    for r in time_grid.rows(model):
        name = r.label if r.layer is None else f"layer {r.layer}, {r.words}"
        out.append({"id": r.name, "kind": r.kind, "label": r.label, "name": name, "steps": r.steps})
    return out


def _layer(run, blob):
    """A layer's numbers and names for the script."""
    drawn = {g: [f"in:{g}{k}" for k in run.slots[g][0]] for g in "xh"}
    count = sum(map(len, drawn.values())) + 2 * run.elided
    pitch = 1 if count <= 24 else max(16 / 26, 24 / count)
    norms, way = run.norms, run.way
    return {
        "k": run.k, "place": run.place, "kind": describe.kind(run.layer), "row": run.row, "name": run.name, "suffix": way.suffix,
        "begins": beginning(way), "starts": {s: unrolled.beginning(s, beginning(way)) for s in run.layer.cell.states},
        "initial": {s: blob.put(a) for s, a in run.initial.items() if a.any()}, "picture": opened.known(run, blob),
        "step": way.step, "before": way.before, "at": way.earlier, "delay": way.delay, "earlier": blob.put(run.earlier + 1),
        "D": run.D, "H": run.H, "size": {"x": run.D, "h": run.H},
        "states": run.layer.cell.states, "units": blob.put(run.units), "x": blob.put(run.x), "h": blob.put(run.h),
        "norms": None if norms is None else blob.put(norms), "scale": run.scale, "limits": run.limits, "limit": run.limit,
        "quantities": [{"key": q.key, "label": q.label, "kind": q.kind, "a": blob.put(q.a)} for q in run.quantities],
        "equations": equations.table(run, blob.put), "drawn": drawn, "slots": {g: blob.put(a) for g, a in run.slots.items()},
        "rest": {g: blob.put(a) for g, a in run.rest.items()}, "thick": 3.25 * pitch, "shown": run.shown,
        "neurons": [
            {"name": a.name, "slug": svg.slug(a.id), "value": a.value, "bias": blob.put(run.biases[a.id]),
             "weights": {g: blob.put(w) for g, w in run.weights[a.id].items()}}
            for a in run.wiring.neurons
        ],
    }  # fmt: skip


def _hash(text):
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
