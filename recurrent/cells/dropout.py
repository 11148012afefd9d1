"""Cells with masks in their equations: zoneout and recurrent (variational) dropout.

A mask is an input of a unit, like a per-unit parameter whose value depends on the step and the
sequence.

zoneout (Krueger et al., 2017): s_t = m_t s_{t-1} + (1 - m_t) new, where m_t is 1 with probability
    p, drawn anew for each step and unit. Evaluation uses the expected value,
    s_t = p s_{t-1} + (1 - p) new.
recurrent dropout (Gal and Ghahramani, 2016): W_hh multiplies m h_{t-1} instead of h_{t-1}. The
    masked state is a state of its own, "dropped", which comes first; the layer still outputs h.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from ..equations.cell import Cell
from ..equations.expressions import Expr

DROPPED = "dropped"


@lru_cache
def with_masks(cell: Cell, zoneout: tuple[str, ...], recurrent: bool) -> Cell:
    """Return the cell for training, with a mask `zoneout_s` for each state s in `zoneout`.

    If `recurrent` is true, the mask `dropout` comes last.
    """
    masks = {s: Expr("input", name=f"p.zoneout_{s}") for s in zoneout}
    names = [f"zoneout_{s}" for s in zoneout]
    inputs = list(masks.values())
    trained = _with_zoneout(cell, masks)
    if recurrent:
        mask, h = Expr("input", name="p.dropout"), trained.states[0]
        names.append("dropout")
        inputs.append(mask)
        trained = replace(
            trained,
            states=(DROPPED, *trained.states),
            previous=(Expr("input", name=f"previous.{DROPPED}"), *trained.previous),
            values={**trained.values, DROPPED: mask * trained.values[h]},
            output=1,
        )
    return replace(
        trained,
        name=f"{cell.name} with {' '.join(names)}",
        masks=tuple(names),
        parameter_inputs=(*cell.parameter_inputs, *inputs),
    )


@lru_cache
def with_expected_zoneout(cell: Cell, probabilities: tuple[tuple[str, float], ...]) -> Cell:
    """Return the cell for evaluation, with the expected value of each state under zoneout."""
    text = ", ".join(f"{s}={p:g}" for s, p in probabilities)
    return replace(_with_zoneout(cell, dict(probabilities)), name=f"{cell.name} zoneout({text})")


def _with_zoneout(cell, masks):
    """Return the cell with each state in `masks` interpolated between its old and new value."""
    previous = dict(zip(cell.states, cell.previous, strict=True))
    states = {s: m * previous[s] + (1 - m) * cell.values[s] for s, m in masks.items()}
    return replace(cell, values={**cell.values, **states})
