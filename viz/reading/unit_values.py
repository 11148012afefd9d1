"""The numbers that one unit of a recorded run had at one step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recurrent import checks
from recurrent.layers.recording import Recording
from recurrent.models.base import Model
from recurrent.models.seq2seq import Seq2Seq

from . import models
from .direction import Direction, direction_of
from .steps import padded_steps


@dataclass(frozen=True)
class UnitValues:
    """Values of a unit at step t: x (D,), the previous h (H,) or (P,), its own states and gates.

    `given` are the last columns of x, which the cell's inputs name; they are not in x.

    A state that a projection makes belongs to no single unit and is left out.
    """

    t: int
    T: int
    x: np.ndarray
    h: np.ndarray
    before: dict[str, float] = field(default_factory=dict)
    states: dict[str, float] = field(default_factory=dict)
    gates: dict[str, float] = field(default_factory=dict)
    last: int | None = None  # the step that `before` comes from; None for the initial states
    given: dict[str, float] = field(default_factory=dict)
    padded: bool = False  # whether step t is padding
    # The largest finite magnitude of "x" and of each state, of all units, now and before.
    sizes: dict[str, float] = field(default_factory=dict)


def _largest(*arrays):
    """Return the largest finite magnitude."""
    return max(float(np.abs(a[np.isfinite(a)]).max(initial=0)) for a in map(np.asarray, arrays))


def index_in(recording: Recording, layer: Any) -> int:
    """Return the index of a layer in a recording of its model; ValueError without a model."""
    model = layer.owner
    places = [k for k, other in enumerate(model.layers if model else ()) if other is layer]
    if not places:
        raise ValueError(
            f"a recording belongs to a model, but {layer!r} is part of none; "
            "put the layer in a Sequential and record that"
        )
    models.checked(model, recording, type(layer).__name__)
    return places[0]


def sequence(a: Any, n: int, batched: bool) -> np.ndarray:
    """Return sequence n of (T, N, ...), or the only one of (T, ...)."""
    a = np.asarray(a)
    return a[:, n] if batched else a


def origin(way: Direction) -> str:
    """Return the origin of the initial states: "zero", "learned" or "the encoder's"."""
    model = way.owner
    if isinstance(model, Seq2Seq):
        started = [k for _, k in model.pairs] + [model.first] * model.ends_in_vector
        if any(model.decoder[k] is way.layer for k in started):
            return "the encoder's"
    return "learned" if way.layer.initial else "zero"


def initial(recording: Recording, way: Direction, n: int) -> dict[str, np.ndarray]:
    """Return the initial states (H,) or (P,) of sequence n: zeros, learned, or the encoder's."""
    layer, states = way.layer, way.cell.states
    k = index_in(recording, layer)
    kept = recording.layers[k].initial
    if all(s + way.end in kept for s in states):
        arrays = {s: np.asarray(kept[s + way.end]) for s in states}
        return {s: a[n] if a.ndim == 2 else a for s, a in arrays.items()}
    if _decodes(way.owner, k):
        raise ValueError(
            "a decoder starts from its encoder's final states, which this recording did not keep"
        )
    names = {s: f"{s}0{way.end}" for s in states}
    return {
        s: layer.parameters[p] if p in layer.initial else np.zeros(layer.state_sizes[s])
        for s, p in names.items()
    }


def _decodes(model: Model, k: int) -> bool:
    """Return whether layer k belongs to a decoder."""
    return models.part_with(model, k).number > 0


def read_unit(recording: Recording, layer: Any, j: int, t: int | None, n: int) -> UnitValues:
    """Return the values of unit j of a layer or Direction at step t (None: the last) of sequence n.

    Raises ValueError for a recording of another model, IndexError for a missing step or sequence.
    """
    way = direction_of(layer)
    cell, end = way.cell, way.end
    models.check_recording(recording, "the view")
    k = index_in(recording, way.layer)
    recorded = recording.layers[k]
    _check(recorded, way.layer, k)
    batched = recorded.y.ndim == 3
    T, N = len(recorded.y), recorded.y.shape[1] if batched else 1
    t = T - 1 if t is None else checks.index(t, "t", T, ", the steps of the recording")
    n = checks.index(n, "n", N, ", the sequences of the recording")
    states = {s: sequence(recorded.states[s + end], n, batched) for s in cell.states}
    gates = {
        g: sequence(recorded.gates[g + end], n, batched)
        for g in cell.gates
        if g + end in recorded.gates
    }
    earlier = range(t - 1, -1, -1) if way.step > 0 else range(t + 1, T)
    padding = padded_steps(models.lengths_of(recording, way.owner, k), n, T)
    last = next((s for s in earlier if s not in padding), None)
    before = initial(recording, way, n) if last is None else {s: a[last] for s, a in states.items()}
    projected = dict(zip(cell.states, cell.projected_states, strict=True))
    own = [s for s in cell.states if not projected[s]]
    x = sequence(models.input_of(recording, way.owner, k), n, batched)[t]
    sizes = {s: _largest(before[s], a[t]) for s, a in states.items()}
    return UnitValues(
        t=t,
        T=T,
        x=x[: way.input_size],
        h=before[cell.states[0]],
        before={s: float(before[s][j]) for s in own},
        states={s: float(states[s][t, j]) for s in own},
        gates={g: float(a[t, j]) for g, a in gates.items()},
        last=last,
        given=dict(zip(cell.inputs, map(float, x[way.input_size :]), strict=True)),
        padded=t in padding,
        sizes={"x": _largest(x[: way.input_size])} | sizes,
    )


def _check(recorded, layer, k):
    """Raise ValueError if a layer's recording has no y, or the y of another layer."""
    if recorded.y is None:
        raise ValueError(f"layer {k} of the recording has no y: its keep= left it out")
    fits = recorded.y.ndim in (2, 3) and recorded.y.shape[-1] == layer.out_features
    if not fits or set(recorded.states) != set(layer.state_delays):
        raise ValueError(
            f"layer {k} of the recording has y {recorded.y.shape}; expected one of {layer!r}"
        )
