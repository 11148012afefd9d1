"""Reading a recording: the numbers that one unit saw at one step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..views.parts.steps import blanks
from .direction import direction_of


@dataclass(frozen=True)
class UnitValues:
    """Values of a unit at step t: inputs (D,), h before (H,) or (P,), own states before and at t, gates at t.

    What a projection made is no unit's own.
    """

    t: int
    T: int
    x: np.ndarray
    h: np.ndarray
    before: dict[str, float] = field(default_factory=dict)
    states: dict[str, float] = field(default_factory=dict)
    gates: dict[str, float] = field(default_factory=dict)
    last: int | None = (
        None  # the step that the states before come from; None where they are the initial ones
    )
    blank: bool = False  # whether the sequence does not have step t

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
    k = next(
        (k for k, other in enumerate(getattr(layer.owner, "layers", ())) if other is layer), None
    )
    if k is None:
        raise ValueError(
            f"a recording is of a model: {layer!r} is part of none; put it in a Sequential and record that"
        )
    if len(recording.layers) != len(layer.owner.layers):
        raise ValueError(
            f"the recording has {len(recording.layers)} layers, the layer's model {len(layer.owner.layers)}"
        )
    return k


def sequence(a: Any, n: int, batched: bool) -> np.ndarray:
    """Sequence n of (T, N, ...), or the only one of (T, ...)."""
    a = np.asarray(a)
    return a[:, n] if batched else a


def _writes(owner, k):
    """Whether a layer belongs to the second network of a model that reads one sequence and writes another."""
    return hasattr(owner, "encoder") and k >= len(owner.encoder.layers)


def input_of(recording: Any, owner: Any, k: int) -> np.ndarray:
    """What layer k of the recorded model read, (T, N, D)."""
    if not hasattr(owner, "encoder"):
        return recording.layers[k - 1].y if k else recording.x
    first = len(owner.encoder.layers) if _writes(owner, k) else 0
    return recording.layers[k - 1].y if k > first else recording.x[int(_writes(owner, k))]


def _lengths(recording, owner, k):
    return (
        recording.lengths[int(_writes(owner, k))]
        if hasattr(owner, "encoder") and recording.lengths
        else recording.lengths
    )


def beginning(way: Any) -> str:
    """Where the states of its first step come from, in a word or two."""
    handed = [k for _, k in getattr(way.owner, "pairs", ())]
    handed += [way.owner.first] if getattr(way.owner, "ends_in_vector", False) else []
    if any(way.owner.decoder[k] is way.layer for k in handed):
        return "the encoder's"
    return "learned" if getattr(way.layer, "initial", {}) else "zero"


def initial(recording: Any, way: Any, n: int) -> dict[str, np.ndarray]:
    """The states, each as wide as it is, by name that sequence n started from: zeros, learned ones, or what an encoder left."""
    k = index_in(recording, way.layer)
    kept = recording.layers[k].initial
    if all(s + way.end in kept for s in way.cell.states):
        return {
            s: a[n] if a.ndim == 2 else a
            for s, a in ((s, np.asarray(kept[s + way.end])) for s in way.cell.states)
        }
    if _writes(way.owner, k):
        raise ValueError(
            "a decoder starts from what its encoder leaves, which this recording has not kept"
        )
    learned = getattr(way.layer, "initial", {})
    names = {s: f"{s}0{way.end}" for s in way.cell.states}
    return {
        s: way.layer.parameters[p] if p in learned else np.zeros(way.layer.state_sizes[s])
        for s, p in names.items()
    }


def read_unit(recording: Any, layer: Any, j: int, t: int | None, n: int) -> UnitValues:
    """Values of unit j of a layer, or of one `Direction` of it, at step t (the last one if None) of sequence n.

    Raises ValueError for a recording of another model, IndexError for a step or sequence that it does not have.
    """
    way = direction_of(layer)
    k = index_in(recording, way.layer)
    mine = recording.layers[k]
    if mine.y is None:
        raise ValueError(f"layer {k} of the recording has no y: its keep left it out")
    if (
        mine.y.ndim not in (2, 3)
        or mine.y.shape[-1] != way.layer.out_features
        or set(mine.states) != set(way.layer.state_delays)
    ):
        raise ValueError(
            f"layer {k} of the recording has y {mine.y.shape}; expected one of {way.layer!r}"
        )
    batched = mine.y.ndim == 3
    T, N = len(mine.y), mine.y.shape[1] if batched else 1
    t = T - 1 if t is None else t
    if not 0 <= t < T:
        raise IndexError(f"t must be in 0..{T - 1}, the steps of the recording, got {t}")
    if not 0 <= n < N:
        raise IndexError(f"n must be in 0..{N - 1}, the sequences of the recording, got {n}")
    x = sequence(input_of(recording, way.owner, k), n, batched)[t]
    states = {s: sequence(mine.states[s + way.end], n, batched) for s in way.cell.states}
    gates = {
        g: sequence(mine.gates[g + way.end], n, batched)
        for g in way.cell.gates
        if g + way.end in mine.gates
    }
    ahead = range(t - 1, -1, -1) if way.step > 0 else range(t + 1, T)
    skipped = blanks(_lengths(recording, way.owner, k), n, T)
    last = next((s for s in ahead if s not in skipped), None)
    before = (
        {s: a[last] for s, a in states.items()} if last is not None else initial(recording, way, n)
    )
    own = [
        s
        for s, projected in zip(way.cell.states, way.cell.projected_states, strict=True)
        if not projected
    ]
    return UnitValues(
        t,
        T,
        x,
        before[way.cell.states[0]],
        {s: float(before[s][j]) for s in own},
        {s: float(states[s][t, j]) for s in own},
        {g: float(a[t, j]) for g, a in gates.items()},
        last,
        t in skipped,
    )
