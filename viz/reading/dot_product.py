"""The dot product of one gate neuron, term by term."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import describe
from .direction import Direction
from .wiring import Neuron

ALL, KEPT = 32, 24  # up to ALL inputs each has a row; of more, the KEPT largest terms


class Term(NamedTuple):
    """A row of the sum; `index` is None for the rest of a group, `value` None without values."""

    group: str
    index: int | None
    count: int
    weight: float
    value: float | None
    term: float | None


class DotProduct(NamedTuple):
    """A dot product: its rows, its biases by name, and the pre-activation (None without values)."""

    neuron: Neuron
    terms: list[Term]
    biases: dict[str, float]
    total: float | None


def dot_product(
    way: Direction,
    j: int,
    neuron: Neuron,
    inputs: dict[str, np.ndarray] | None,
    k: int | None = None,
) -> DotProduct:
    """Return the dot product of a neuron of unit j, in float64.

    `inputs` are "x" (D,) and "h" (H,). The `k` largest terms have a row each; the other terms
    of a group share one.
    """
    cell, H = way.cell, way.hidden_size
    weights = {g: np.asarray(w, np.float64) for g, w in describe.weights(way, neuron, j).items()}
    terms = weights
    if inputs is not None:
        terms = {g: w * np.asarray(inputs[g], np.float64) for g, w in weights.items()}
    ranked = sorted((-abs(v), g, i) for g, a in terms.items() for i, v in enumerate(a))
    most = (ALL if len(ranked) <= ALL else KEPT) if k is None else k
    chosen, rows = {(g, i) for _, g, i in ranked[:most]}, []
    for g, w in weights.items():
        for i in (i for i in range(len(w)) if (g, i) in chosen):
            v, t = (None, None) if inputs is None else (float(inputs[g][i]), float(terms[g][i]))
            rows.append(Term(g, i, 1, float(w[i]), v, t))
        rest = [i for i in range(len(w)) if (g, i) not in chosen]
        if rest:
            t = None if inputs is None else float(terms[g][rest].sum())
            rows.append(Term(g, None, len(rest), float(np.linalg.norm(w[rest])), None, t))
    params = way.parameters
    sides = (("b_ih", "x", cell.x_gates), ("b_hh", "h", cell.h_gates))
    biases = {
        b: float(params[b][gates.index(neuron.gate) * H + j])
        for b, g, gates in sides
        if g in weights and b in params
    }
    total = None
    if inputs is not None:
        total = float(sum(a.sum() for a in terms.values()) + sum(biases.values()))
    return DotProduct(neuron, rows, biases, total)
