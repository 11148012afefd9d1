"""The HTML file: template, style, script, figures and numbers in one text.

Its content security policy allows no requests.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

from ..draw import adapt, notation, svg
from ..reading import describe, nodes
from ..reading.unit_values import origin
from ..views.cell import cell
from ..views.network import network
from ..views.parts import time_grid
from ..views.unit import unit
from ..views.unrolled import unrolled
from . import attention as attention_level
from . import equations, gate, says, tables
from . import layer as layer_level
from .batch import Shown
from .figures import figure, framed, rules
from .names import names_of, short_names
from .packed import Blob
from .run import gradient_scale
from .stack import Stack

WIDTH = 7  # columns of the unrolled network, which follow the slider
SCRIPTS = ("numbers", "zoom", "cell", "layer", "gate", "says", "attention", "play", "page")


def page(
    model: Any,
    stack: Stack,
    batch: list[Shown],
    n: int,
    labels: list[str] | None,
    t: int,
    notes: list[str],
    chosen: adapt.Chosen,
) -> str:
    """Return the HTML text.

    `batch` are the sequences of the page, of which n is shown first. `labels` are those of its
    steps: a decoder's outputs, else the inputs. `t` is the step that is shown first. `chosen` are
    the options of the page, whose pictures have those of now.
    """
    shown = next(one for one in batch if one.n == n)
    runs, attention, blob = shown.runs, shown.attention, Blob()
    T = runs[0].T
    first, width = min(max(t - WIDTH // 2, 0), max(T - WIDTH, 0)), min(T, WIDTH)
    sections = [
        _section("network", None, "Network: layers from bottom to top", network(model), "n"),
        _unrolled(stack, shown, range(first, first + width), t),
    ]
    for number, run in enumerate(runs):
        with adapt.using(adapt.with_labels(names_of(run))):
            sections += _layer_sections(number, run, stack, t)
    if attention is not None:
        text = "<p>The wider a line, the larger the weight of that saved state in the output of "
        text += "this time step. Rows: all outputs.</p>"
        drawing = attention_level.drawing(model, stack, n, attention)
        title = "Attention: the states that an output attends to"
        sections.append(_section("attention", None, title, drawing, "a", text))
    facts = {
        "T": T,
        "t": t,
        "bins": tables.BINS,
        "labels": labels,
        "steps": adapt.now().labels.get("steps"),
        "marks": adapt.marks_sign(),
        "labelled": stack.labelled,
        "colours": tables.colours(),
        "scale": gradient_scale(run for one in batch for run in one.runs),
        "sequences": [one.n for one in batch],
        "n": batch.index(shown),
        "padded": [one.padded for one in batch],
        "layers": [_layer(run, [one.runs[k] for one in batch], blob) for k, run in enumerate(runs)],
        "unrolled": {
            "first": first,
            "width": width,
            "rows": _rows(stack.model),
        },
        "attention": attention_level.known(attention, [one.attention for one in batch], blob),
        "says": says.known([one.said for one in batch], blob),
    }
    wide = "" if chosen.width is None else f"body{{max-width:{chosen.width:g}px}}"
    style = _file("page.css") + wide + tables.style() + rules(text for _, text in sections)
    script = "".join(_file(f"{name}.js") for name in SCRIPTS)
    options = [f'<option value="{k}">{escape(run.name)}</option>' for k, run in enumerate(runs)]
    return Template(_file("page.html")).substitute(
        title=escape(chosen.title or _title(model)),
        theme=_theme(chosen),
        fixed=" hidden" if chosen.palette == "print" else "",
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        no_gradient="" if any(map(_has_gradients, runs)) else " hidden",
        t=t,
        last=T - 1,
        strip=tables.strip(labels, T, t, stack.labelled),
        layers="".join(options),
        sequences="".join(f'<option value="{k}">{one.n}</option>' for k, one in enumerate(batch)),
        alone=" hidden" if len(batch) == 1 else "",
        sections="".join(text for text, _ in sections),
        notes="".join(f'<p class="note">{escape(note)}</p>' for note in notes),
        facts=json.dumps(facts).replace("<", "\\u003c"),
        blob=blob.text(),
    )


def _file(name):
    """Return a file of this folder without indentation, and without comments on their own line."""
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return re.sub(r"^\s+|^//.*\n", "", text, flags=re.M)


def _theme(chosen):
    """Return the attribute of a page that is dark or light for every reader."""
    if chosen.dark is None:
        return ""
    return f' data-theme="{"dark" if chosen.dark else "light"}"'


def _title(model):
    stacks = (" → ".join(map(describe.short, part.layers)) for part in model.parts.values())
    return " ⇒ ".join(stacks)


def _has_gradients(run):
    return any(q.kind == "gradient" for q in run.quantities)


def _unrolled(stack, shown, steps, t):
    """Return the section of the unrolled network, with what the model says above its steps.

    Columns of padding have a class, which the script moves with the window.
    """
    N, said = shown.n + 1, shown.said
    whole = dict(recording=stack.recording, n=shown.n, lengths=np.full(N, shown.runs[0].T))
    picture, style = figure(unrolled(stack.model, list(steps), **whole), "r")
    for s in set(steps) & set(shown.padded):
        picture = re.sub(rf'<g (id="r-\w+-{s}")', r'<g class="padded" \1', picture)
    head = f"{stack.part.title()} unrolled" if stack.part else "Unrolled"
    title = f"{head} in time: the same weights at every step"
    above, after = "", ""
    if said is not None:
        above, after = says.columns(said, steps), says.everything(said, t)
        style += says.rules(picture, steps)
    text = "<p class='note' id='window'></p>" + framed(above + picture, title)
    section, _ = _section("unrolled", None, title, None, "", text, after)
    return section, style


def _layer_sections(number, run, stack, t):
    """Return the sections of one layer: cell, layer, unit and gate neurons."""
    name = f"{stack.part} layer {run.k}{describe.named(run.layer, ', ')}, ".lstrip()
    name += f"{describe.short(run.layer)}{run.way.suffix}"
    recording, j = stack.whole, int(run.units[0])
    units = notation.count(run.H, f"{describe.kind(run.layer)} unit")
    title = f"Layer {run.k}{describe.named(run.layer, ', ')} opened{run.way.suffix}: "
    title += f"{units} side by side"
    text = (
        f"<p>Every unit reads all {run.D:,} + {run.H:,} = {run.D + run.H:,} inputs "
        f"(x, and {run.first} of all units at {run.way.earlier}) and outputs one number. "
        "Its own memory goes to no other unit.</p>"
    )
    after = (
        f"{tables.tiles(run, t)}<details open><summary>The same numbers as a table</summary>"
        '<div class="scroll" tabindex="0" role="region" aria-label="numbers">'
        f"{tables.table(run, t)}</div></details>"
    )
    layer_drawing = layer_level.drawing(run, recording, t)
    shown = dict(recording=recording, t=t, n=run.n, direction=run.way.name)
    unit_drawing = unit(run.layer, j, **shown)
    elided = _elided(run) if run.elided else ""
    neurons = "".join(gate.neuron(run, a, 0, t) for a in run.wiring.neurons)
    dot_product = f"A gate neuron of {name}: a dot product"
    return [
        _cell(number, run, name, dict(shown, unit=j)),
        _section("units", number, title, layer_drawing, f"l{number}", text, after),
        _section("unit", number, f"One unit of {name}", unit_drawing, f"u{number}", elided),
        _section("neuron", number, dot_product, None, "", elided + neurons),
    ]


def _cell(number, run, name, shown):
    """Return the section of the equations with the numbers of one unit, and of its gradients."""
    text = "<p>One layer at one time step. The wires show the values of one unit, so that they "
    text += "add up.</p>"
    ways = [("ahead", f"c{number}", cell(run.layer, **shown))]
    if _has_gradients(run):
        ways.append(("back", f"b{number}", cell(run.layer, **shown, backward=True)))
    title, styles = f"The cell of {name}: its equations as a circuit", []
    for way, prefix, drawing in ways:
        picture, style = figure(drawing, prefix)
        text += framed(picture, title, way)
        styles.append(style)
    section, _ = _section("cell", number, title, None, "", text)
    return section, "".join(styles)


def _section(level, number, title, drawing, prefix, before="", after=""):
    """Return a level of the page, with text before and after its figure, and the figure's style."""
    picture, style = "", ""
    if drawing:
        text, style = figure(drawing, prefix)
        picture = framed(text, title)
    layer = "" if number is None else f' data-layer="{number}"'
    section = (
        f'<section data-level="{level}"{layer}><h2>{escape(title)}</h2>'
        f"{before}{picture}{after}</section>"
    )
    return section, style


def _elided(run):
    x, h = (run.slots[g].shape[1] for g in "xh")
    inputs = f"{x} of {run.D:,} inputs and {h} of {run.H:,} units"
    return f'<p class="note">Only the {inputs} with the largest weights are drawn.</p>'


def _rows(model):
    out = []
    for r in time_grid.rows(model):
        name = r.label if r.layer is None else f"layer {r.layer}, {r.words}"
        out.append({"id": r.name, "kind": r.kind, "label": r.label, "name": name, "steps": r.steps})
    return out


def _layer(run, batch, blob):
    """Return a layer's numbers and names for the script; `batch` are its runs of all sequences."""
    way, states, begins = run.way, run.layer.cell.states, origin(run.way)
    drawn = {g: [f"in:{g}{k}" for k in run.slots[g][0]] for g in "xh"}
    count = sum(map(len, drawn.values())) + 2 * run.elided
    pitch = 1 if count <= 24 else max(16 / 26, 24 / count)
    return {
        "k": run.k,
        "place": run.place,
        "link": f"{run.k}{run.way.end}",
        "kind": describe.kind(run.layer),
        "row": run.row,
        "name": run.name,
        "suffix": way.suffix,
        "begins": begins,
        "starts": {s: time_grid.initial_label(s, begins) for s in states},
        "picture": layer_level.known(run, blob),
        "step": way.step,
        "before": way.before,
        "at": way.earlier,
        "delay": way.delay,
        "D": run.D,
        "H": run.H,
        "size": {"x": run.D, "h": run.H},
        "states": states,
        "units": blob.put(run.units),
        "names": short_names(run),
        "runs": [_run(one, blob) for one in batch],
        "limits": run.limits,
        "limit": run.limit,
        "quantities": [{"key": q.key, "label": q.label, "kind": q.kind} for q in run.quantities],
        "equations": equations.table(run, blob.put),
        "drawn": drawn,
        "slots": {g: blob.put(a) for g, a in run.slots.items()},
        "rest": {g: blob.put(a) for g, a in run.rest.items()},
        "thick": 3.25 * pitch,
        "shown": run.shown,
        "parameters": _parameters(run),
        "neurons": [
            {
                "name": a.name,
                "slug": svg.slug(a.id),
                "value": a.value,
                "operation": a.operation,
                "rows": gate.rows_of(run, a),
                "missing": gate.missing(run, a),
                "bias": blob.put(run.biases[a.id]),
                "weights": {g: blob.put(w) for g, w in run.weights[a.id].items()},
            }
            for a in run.wiring.neurons
        ],
    }


def _parameters(run):
    """Return the parameters in a unit's picture, and whether they are columns of x."""
    cell, names = run.layer.cell, ((p, nodes.parameter_name(p)) for p in run.wiring.parameters)
    return [
        {"id": svg.slug(p), "name": name, "given": name in cell.inputs}
        for p, name in names
        if name not in cell.scalars
    ]


def _run(run, blob):
    """Return the numbers of a layer in one sequence."""
    return {
        "x": blob.put(run.x),
        "h": blob.put(run.h),
        "norms": None if run.norms is None else blob.put(run.norms),
        "given": {name: blob.put(a) for name, a in run.given.items()},
        "earlier": blob.put(run.earlier + 1),
        "initial": {s: blob.put(a) for s, a in run.initial.items() if a.any()},
        "inner": {k: blob.put(a) for k, a in run.inner.items()},
        "quantities": [blob.put(q.a) for q in run.quantities],
    }


def _hash(text):
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
