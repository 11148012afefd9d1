"""Reading a recording: the numbers that one unit saw at one step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class UnitValues:
    """Values of a unit at step t: inputs (D,), h of all units at t - 1 (H,), own states at t - 1 and t, gates at t."""

    t: int
    T: int
    x: np.ndarray
    h: np.ndarray
    before: dict[str, float] = field(default_factory=dict)
    states: dict[str, float] = field(default_factory=dict)
    gates: dict[str, float] = field(default_factory=dict)

    @property
    def largest_input(self) -> float:
        return _largest(self.x)

    @property
    def largest_state(self) -> float:
        return _largest([*self.h, *self.before.values(), *self.states.values()])


def _largest(numbers):
    """The greatest finite magnitude."""
    return max((abs(float(v)) for v in numbers if np.isfinite(v)), default=0.0)


def index_in(recording: Any, layer: Any) -> int:
    """The place of a layer in a recording of its model. Raises ValueError where it has none."""
    k = next((k for k, other in enumerate(getattr(layer.owner, "layers", ())) if other is layer), None)
    if k is None:
        raise ValueError(f"a recording is of a model: {layer!r} is part of none; put it in a Sequential and record that")
    if len(recording.layers) != len(layer.owner.layers):
        raise ValueError(f"the recording has {len(recording.layers)} layers, the layer's model {len(layer.owner.layers)}")
    return k


def sequence(a: Any, n: int, batched: bool) -> np.ndarray:
    """Sequence n of (T, N, ...), or the only one of (T, ...)."""
    a = np.asarray(a)
    return a[:, n] if batched else a


def of_unit(recording: Any, layer: Any, j: int, t: int | None, n: int) -> UnitValues:
    """Values of unit j of a layer at step t (the last one if None) of sequence n.

    Raises ValueError for a recording of another model, IndexError for a step or sequence that it does not have.
    """
    k = index_in(recording, layer)
    mine = recording.layers[k]
    H = layer.hidden_size
    if mine.y.ndim not in (2, 3) or mine.y.shape[-1] != H or set(mine.states) != set(layer.cell.states):
        raise ValueError(f"layer {k} of the recording has y {mine.y.shape}; expected one of {layer!r}")
    batched = mine.y.ndim == 3
    T, N = len(mine.y), mine.y.shape[1] if batched else 1
    t = T - 1 if t is None else t
    if not 0 <= t < T:
        raise IndexError(f"t must be in 0..{T - 1}, the steps of the recording, got {t}")
    if not 0 <= n < N:
        raise IndexError(f"n must be in 0..{N - 1}, the sequences of the recording, got {n}")
    x = sequence(recording.layers[k - 1].y if k else recording.x, n, batched)[t]
    states = {s: sequence(a, n, batched) for s, a in mine.states.items()}
    zeros = np.zeros(H)  # a recording starts from zero states
    before = {s: a[t - 1] if t else zeros for s, a in states.items()}
    return UnitValues(
        t,
        T,
        x,
        before[layer.cell.states[0]],
        {s: float(a[j]) for s, a in before.items()},
        {s: float(a[t, j]) for s, a in states.items()},
        {g: float(sequence(a, n, batched)[t, j]) for g, a in mine.gates.items()},
    )
