"""The layer level of a page: the picture of `viz.layer` and the data that update it."""

from __future__ import annotations

from typing import Any

from ..draw import adapt
from ..draw.drawing import Drawing
from ..reading import gates
from ..views.layer import layer as draw_layer
from ..views.parts import elision
from .packed import Blob
from .run import LayerRun


def free(run: LayerRun) -> int | None:
    """Return the unit drawn between the fixed ones at first; None if all units are drawn."""
    if len(elision.shown(run.H)) == run.H:
        return None
    between = [int(j) for j in run.units if elision.FIRST < j < run.H - elision.LAST - 1]
    return between[len(between) // 2]


def drawing(run: LayerRun, recording: Any, t: int) -> Drawing:
    """Return the picture at the step that is shown first."""
    shown = dict(t=t, n=run.n, unit=free(run), direction=run.way.name, folded=False)
    return draw_layer(run.layer, recording, **shown)


def known(run: LayerRun, blob: Blob) -> dict:
    """Return the drawn units and inputs, and the names and colours of what changes over time."""
    cell, other = run.layer.cell, free(run)
    names = ((g, gates.look(cell, g)) for g in cell.gates)
    own = {name: run.way.parameters[name][run.units] for name in cell.parameters}
    return {
        "units": elision.shown(run.H, [] if other is None else [other]),
        "free": other,
        "first": elision.FIRST,
        "last": elision.LAST,
        "x": elision.shown(run.D) if cell.x_gates else [],
        "before": bool(cell.h_gates),
        "gates": [
            {"key": g, "name": name, "colour": adapt.colour(colour)} for g, (name, colour) in names
        ],
        "kept": run.wiring.kept,
        "own": {name: blob.put(a) for name, a in own.items()},
    }
