"""Statistics of weights and gates: spectral radius, saturation, means of blocks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from recurrent.layers.recording import Recording

from . import models, unit_values
from .direction import Direction
from .steps import padded_steps

MOST, LEAST = 40, 12  # squarings of the power iteration
SETTLED = 1e-8  # the change of log |λ| that ends it
LARGE = 512  # units; of more, the radius is estimated
USUAL, OUTLYING = 0.99, 3  # entries that a scale shows, and how far beyond them outliers are
# Beyond these values a sigmoid or tanh has little gradient.
CLOSED, OPEN, FLAT = 0.1, 0.9, 0.9


class Share(NamedTuple):
    """The share, 0 to 1, of a gate's recorded values that meet a condition, and the condition."""

    name: str
    share: float


def spectral_radius(block: np.ndarray) -> float:
    """Return the spectral radius of a square matrix; NaN if it is not finite.

    It is the limit of |A^m|^(1/m) (Gelfand), with m doubled by squaring until the ratio of two
    norms, (|A^2m| / |A^m|)^(1/m), moves by less than 1e-8. Matrices of more than 512 rows are
    squared 12 times, in float32: three digits are right.

    >>> round(spectral_radius(np.array([[2.0, 1.0], [0.0, -3.0]])), 7)
    3.0
    >>> spectral_radius(np.zeros((2, 2))), spectral_radius(np.array([[0.0, 1], [0, 0]]))
    (0.0, 0.0)
    """
    large = len(block) > LARGE
    power = np.asarray(block, np.float32 if large else np.float64)
    if not np.isfinite(power).all():
        return math.nan
    log, found = 0.0, math.inf  # log |A^m| / m, and the estimate so far
    for k in range(LEAST + 1 if large else MOST):
        norm = float(np.linalg.norm(power))
        if norm == 0:  # nilpotent, or eigenvalues lost in rounding for a far from normal matrix
            return float(np.abs(np.linalg.eigvals(np.asarray(block, np.float64))).max())
        moved = math.log(norm) / 2**k
        log, before, found = log + moved, found, log + 2 * moved
        if k >= LEAST and abs(found - before) < SETTLED:
            break
        power = power / norm
        power = power @ power
    return math.exp(found)


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


def blocks(a: np.ndarray, most: int, sizes: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the numbers of tiles, at most `most` rows and columns, and the borders of the tiles.

    Of `sizes`, a number is the root mean square of its block: weights of both signs do not cancel.
    Otherwise each entry has its own tile.

    >>> blocks(np.array([[1.0, -1.0, 3.0, 4.0]]), 2, True)
    (array([[1.        , 3.53553391]]), array([0, 1]), array([0, 2, 4]))
    """
    if not a.size:
        return a, np.zeros(1, int), np.zeros(1, int)
    a = a.astype(np.float64)
    if not sizes:
        return a, *(np.arange(n + 1) for n in a.shape)
    cuts = [np.linspace(0, n, min(n, most) + 1).round().astype(int) for n in a.shape]
    sums = np.add.reduceat(np.add.reduceat(a * a, cuts[0][:-1], 0), cuts[1][:-1], 1)
    return np.sqrt(sums / np.outer(np.diff(cuts[0]), np.diff(cuts[1]))), *cuts


def limit_of(arrays: Iterable[np.ndarray]) -> float:
    """Return the limit of a scale for the finite entries of all arrays.

    It is the largest entry, unless a few outliers would leave no colour to all others.

    >>> limit_of([np.array([0.5, -0.7])]), limit_of([np.r_[np.ones(999), 50.0]])
    (0.7, 1.0)
    """
    every = np.concatenate([np.zeros(0), *(np.abs(a[np.isfinite(a)]).ravel() for a in arrays)])
    largest = float(every.max(initial=0.0))
    usual = float(np.quantile(every, USUAL)) if every.size else 0.0
    return usual if 0 < usual < largest / OUTLYING else largest
