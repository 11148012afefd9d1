"""Cells with masks in their equations: zoneout, and dropout of the state that goes back.

A mask is an input of a unit at every step, like a per-unit parameter that changes from step to step and row to row.

zoneout (Krueger et al., 2017): s_t = m_t s_{t-1} + (1 - m_t) new, m_t 1 with probability p, afresh for each step and unit;
    in evaluation the expected value, s_t = p s_{t-1} + (1 - p) new.
recurrent dropout (Gal and Ghahramani, 2016): W_hh multiplies m h_{t-1} where it would multiply h_{t-1}. The product is then
    a state of its own, "dropped", which comes first; h is put out as it is.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from ..equations.cell import Cell
from ..equations.expressions import Expr

DROPPED = "dropped"


@lru_cache
def with_masks(cell: Cell, zoneout: tuple[str, ...], recurrent: bool) -> Cell:
    """The cell as it is trained: inputs "zoneout_<state>" for these states and, if `recurrent`, "dropout"."""
    masks = {s: Expr("input", name=f"p.zoneout_{s}") for s in zoneout}
    names = [f"zoneout_{s}" for s in zoneout]
    trained = _zoned(cell, masks)
    inputs = list(masks.values())
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
def with_expected_zoneout(cell: Cell, rates: tuple[tuple[str, float], ...]) -> Cell:
    """The cell as it is evaluated: each state between what it was and what it would become, by its probability."""
    named = ", ".join(f"{s}={p:g}" for s, p in rates)
    return replace(_zoned(cell, dict(rates)), name=f"{cell.name} zoneout({named})")


def _zoned(cell, masks):
    previous = dict(zip(cell.states, cell.previous, strict=True))
    zoned = {s: m * previous[s] + (1 - m) * cell.values[s] for s, m in masks.items()}
    return replace(cell, values={**cell.values, **zoned})
