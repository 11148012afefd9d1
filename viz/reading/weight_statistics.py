"""Statistics of weights and gates: spectral radius, saturation, means of blocks."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from recurrent.layers.recording import Recording

from . import models, unit_values
from .direction import Direction
from .steps import padded_steps

MOST, LEAST = 40, 16  # squarings of the power iteration
SETTLED = 1e-8  # the change of log |λ| that ends it
# Beyond these values a sigmoid or tanh has little gradient.
CLOSED, OPEN, FLAT = 0.1, 0.9, 0.9


class Share(NamedTuple):
    """The share, 0 to 1, of a gate's recorded values that meet a condition, and the condition."""

    name: str
    share: float


def spectral_radius(block: np.ndarray) -> float:
    """Return the spectral radius of a square matrix, in float64; NaN if it is not finite.

    It is the limit of |A^m|^(1/m) (Gelfand), with m doubled by squaring until the result moves by
    less than 1e-8. For 512 units that takes a quarter of the time of all eigenvalues.

    >>> round(spectral_radius(np.array([[2.0, 1.0], [0.0, -3.0]])), 7)
    3.0
    >>> spectral_radius(np.zeros((2, 2))), spectral_radius(np.array([[0.0, 1], [0, 0]]))
    (0.0, 0.0)
    """
    power, log = np.asarray(block, np.float64), 0.0  # A^m = power exp(m log)
    if not np.isfinite(power).all():
        return math.nan
    for k in range(MOST):
        norm = float(np.linalg.norm(power))
        if norm == 0:  # nilpotent, or eigenvalues lost in rounding for a far from normal matrix
            return float(np.abs(np.linalg.eigvals(np.asarray(block, np.float64))).max())
        moved = math.log(norm) / 2**k
        log, power = log + moved, power / norm
        if k > LEAST and abs(moved) < SETTLED:
            break
        power = power @ power
    return math.exp(log)


def saturation(way: Direction, recording: Recording) -> dict[str, list[Share]]:
    """Return the shares of saturated values of each sigmoid, tanh or relu gate, without padding."""
    graph = way.cell.graph()
    k = unit_values.index_in(recording, way.layer)
    gates, out = recording.layers[k].gates, {}
    for g in way.cell.gates:
        if g + way.end not in gates:
            continue
        a = np.asarray(gates[g + way.end])
        a = a if a.ndim == 3 else a[:, None]
        valid = np.ones(a.shape[:2], bool)
        lengths = models.lengths_of(recording, way.owner, k)
        for n in range(a.shape[1] if lengths is not None else 0):
            valid[sorted(padded_steps(lengths, n, len(a))), n] = False
        v = a[valid].astype(np.float64)
        conditions = {
            "sigmoid": [(f"< {CLOSED}", v < CLOSED), (f"> {OPEN}", v > OPEN)],
            "tanh": [(f"< −{FLAT}", v < -FLAT), (f"> {FLAT}", v > FLAT)],
            "relu": [("= 0", v == 0)],
        }
        kind = graph.node(graph.values[g]).kind
        if kind in conditions and v.size:
            out[g] = [Share(name, float(met.mean())) for name, met in conditions[kind]]
    return out


def block_means(a: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return means of blocks, at most `most` rows and columns, and the borders of the blocks.

    >>> block_means(np.arange(8.0).reshape(2, 4), 2)
    (array([[0.5, 2.5],
           [4.5, 6.5]]), array([0, 1, 2]), array([0, 2, 4]))
    """
    if not a.size:
        return a, np.zeros(1, int), np.zeros(1, int)
    cuts = [np.linspace(0, n, min(n, most) + 1).round().astype(int) for n in a.shape]
    sums = np.add.reduceat(np.add.reduceat(a.astype(np.float64), cuts[0][:-1], 0), cuts[1][:-1], 1)
    return sums / np.outer(np.diff(cuts[0]), np.diff(cuts[1])), *cuts
