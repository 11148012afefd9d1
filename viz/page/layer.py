"""The layer level of a page: `viz.layer`'s picture, whose numbers a script moves, and what it must know to do so."""

from __future__ import annotations

from typing import Any

from ..draw import palette
from ..draw.drawing import Drawing
from ..views import layer as view
from .packed import Blob
from .run import LayerRun


def free(run: LayerRun) -> int | None:
    """The unit that stands between those always drawn until another is chosen; None where all of them are drawn."""
    if len(view.shown(run.H)) == run.H:
        return None
    between = [int(j) for j in run.units if view.FIRST < j < run.H - view.LAST - 1]
    return between[len(between) // 2]


def drawing(run: LayerRun, recording: Any, t: int) -> Drawing:
    """The picture at the step that is shown first."""
    return view.layer(
        run.layer, recording, t=t, n=run.n, unit=free(run), direction=run.way.name, folded=False
    )


def known(run: LayerRun, blob: Blob) -> dict:
    """Units and inputs that are drawn, and how the picture names and colours what changes from step to step."""
    cell, other = run.layer.cell, free(run)
    names = ((g, palette.gate(g, cell.gates)) for g in cell.gates)
    return {
        "units": view.shown(run.H, [] if other is None else [other]), "free": other, "first": view.FIRST, "last": view.LAST,
        "x": view.shown(run.D) if cell.x_gates else [], "before": bool(cell.h_gates),
        "gates": [{"key": g, "name": name, "colour": colour} for g, (name, colour) in names],
        "kept": run.wiring.kept,
        "own": {q: blob.put(getattr(run.way.params, q)[run.units]) for q in cell.parameters},
    }  # fmt: skip
