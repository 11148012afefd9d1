"""The numbers of a run for a page: values of one sequence in each layer, and the drawn weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..draw import palette
from ..reading import describe, gates, models, unit_values
from ..reading.direction import direction_of
from ..reading.wiring import cell_wiring
from ..views.parts.elision import LAST
from ..views.unit import KEPT, SHOWN
from . import equations


@dataclass(frozen=True)
class Quantity:
    """The values `a` (T, U) of one gate, state or gradient; `kind` says which of the three."""

    key: str
    label: str
    kind: str
    a: np.ndarray


class LayerRun:
    """One direction of a recurrent layer in sequence n of a recording.

    The page has every quantity of U of its H units: `units` (U,). `x` is (T, D), `h` is (T, H).

    For group g, "x" or "h", `slots[g]` (U, S) lists the inputs that the picture of a unit draws,
    `weights[neuron][g]` (U, S) their weights, and `rest[g]` (U,) the norm of the other weights.
    `biases[neuron]` is (U,). `given[name]` (T,) are the columns of x that the cell names.
    `earlier` (T,) is the step that each step takes its states from, -1 for the `initial` ones. `k`
    is the layer's place in its stack, which begins at `first_layer` of the recording. `budget`
    limits the bytes of the quantities.
    """

    def __init__(
        self,
        recording: Any,
        layer: Any,
        n: int,
        chosen: Sequence[int],
        budget: float,
        first_layer: int = 0,
    ):
        way = direction_of(layer)
        layer = way.layer
        place = unit_values.index_in(recording, layer)
        self.n, self.way, self.layer, self.place, self.k = n, way, layer, place, place - first_layer
        unit_values.read_unit(recording, way, 0, None, n)  # raises the errors
        recorded = recording.layers[place]
        self.D, self.H, self.first = way.input_size, layer.hidden_size, layer.cell.states[0]
        batched = recorded.y.ndim == 3
        x = models.input_of(recording, layer.owner, place)
        columns = unit_values.sequence(x, n, batched)
        self.x, given = columns[:, : way.input_size], columns[:, way.input_size :]
        self.given = dict(zip(layer.cell.inputs, given.T, strict=True))
        self.h = unit_values.sequence(recorded.states[self.first + way.end], n, batched)
        self.T = len(self.h)
        found = [
            (key, label, kind, unit_values.sequence(a, n, batched))
            for key, label, kind, a in _quantities(recorded, layer.cell, way.end)
        ]
        self.initial = unit_values.initial(recording, way, n)
        each = self.T * self.h.itemsize * (len(found) + len(equations.computed(layer.cell)))
        room = max(8, int(budget // max(1, each)))
        first, last = range(min(self.H, room)), range(max(0, self.H - LAST), self.H)
        self.units = np.array(sorted({*first, *last, *(int(j) for j in chosen if j < self.H)}))
        gradient = next((a for key, *_, a in found if key == f"∂L/∂{self.first}"), None)
        self.norms = None  # (T,), over all H units
        if gradient is not None:
            self.norms = np.linalg.norm(gradient.astype(np.float64), axis=1)
        self.quantities = [Quantity(*f, a[:, self.units]) for *f, a in found]
        states = {key: a for key, _, kind, a in found if kind == "state"}
        self.limits = {"x": _limit(self.x)}
        self.limits |= {s: _limit(self.initial[s], a) for s, a in states.items()}
        inner = equations.inner(recording, way, n, self.h)
        self.inner = {k: a[:, self.units] for k, a in inner.items()}
        sources = (unit_values.read_unit(recording, way, 0, t, n).last for t in range(self.T))
        self.earlier = np.array([-1 if s is None else s for s in sources])
        self.wiring = cell_wiring(layer.cell)
        self._weigh()

    def _weigh(self):
        """Choose the strongest inputs of each unit, as many of each group for all units.

        The same picture then serves all units.
        """
        weights = {}
        for a in self.wiring.neurons:
            rows = [describe.weights(self.way, a, int(j)) for j in self.units]
            weights[a.id] = {g: np.array([row[g] for row in rows]) for g in rows[0]}
        sizes = {"x": self.D, "h": self.H}
        strength = {g: np.zeros((len(self.units), size)) for g, size in sizes.items()}
        for groups in weights.values():
            for g, w in groups.items():
                finite = np.nan_to_num(np.abs(w), nan=np.inf, posinf=np.inf)
                strength[g] = np.fmax(strength[g], finite)
        self.limit = _limit(*strength.values())
        self.slots = {g: np.tile(np.arange(s), (len(self.units), 1)) for g, s in sizes.items()}
        self.elided = sum(sizes.values()) > SHOWN
        if self.elided:
            ranked = np.argsort(-np.hstack([s[0] for s in strength.values()]), kind="stable")[:KEPT]
            share = {"x": int((ranked < self.D).sum()), "h": int((ranked >= self.D).sum())}
            for g, s in strength.items():
                strongest = np.argsort(-s, axis=1, kind="stable")[:, : share[g]]
                self.slots[g] = np.sort(strongest, axis=1)
        self.weights = {
            a: {g: np.take_along_axis(w, self.slots[g], 1) for g, w in groups.items()}
            for a, groups in weights.items()
        }
        self.rest = {}
        for g in sizes:
            total, drawn = (
                sum(
                    np.square(groups[g], dtype=float).sum(1) for groups in d.values() if g in groups
                )
                for d in (weights, self.weights)
            )
            self.rest[g] = np.sqrt(np.maximum(total - drawn, 0)) * np.ones(len(self.units))
        self.biases = {a.id: self._bias(a) for a in self.wiring.neurons}

    def _bias(self, neuron):
        cell, params, total = self.layer.cell, self.way.parameters, np.zeros(self.H)
        for name, names, used in (
            ("b_ih", cell.x_gates, neuron.x),
            ("b_hh", cell.h_gates, neuron.h),
        ):
            if used and name in params:
                total = total + params[name].reshape(-1, self.H)[names.index(neuron.gate)]
        return total[self.units]

    @property
    def nbytes(self) -> int:
        """The bytes of the values of this sequence."""
        arrays = [self.x, self.h, *(q.a for q in self.quantities), *self.inner.values()]
        return sum(a.nbytes for a in arrays)

    @property
    def row(self) -> str:
        """The name of this layer's row in the unrolled network."""
        return f"layer{self.k}{self.way.end}"

    @property
    def name(self) -> str:
        """The layer's number and short name, with the direction if the layer is bidirectional."""
        return f"{self.k}{self.way.arrow}: {describe.short(self.layer)}"

    def before(self, t: int) -> np.ndarray:
        """Return the previous h (H,) of all units at step t."""
        return self.h[self.earlier[t]] if self.earlier[t] >= 0 else self.initial[self.first]

    @property
    def shown(self) -> list[tuple[str, str]]:
        """Pairs (node, gate) of the nodes in a unit's picture that show the value of a gate."""
        states = self.layer.cell.states
        neurons = [
            (a.id, a.value) for a in self.wiring.neurons if a.value and a.value not in states
        ]
        return neurons + [(o.id, o.gate) for o in self.wiring.operations if o.gate]


def _quantities(recorded, cell, end):
    """Yield key, label, kind and array of gates, states and gradients of one direction."""
    for g in cell.gates:
        if g not in cell.states:
            yield g, gates.look(cell, g)[0], "gate", recorded.gates[g + end]
    for k, s in enumerate(cell.states):
        yield s, "memory" if k else "output", "state", recorded.states[s + end]
    for s in cell.states:
        if s + end in recorded.dstates:
            yield f"∂L/∂{s}", f"gradient of {s}", "gradient", recorded.dstates[s + end]


def gradient_scale(runs: Iterable[LayerRun]) -> tuple[float, float]:
    """Return the limits of the log axis of gradients, and of their norms, that a page shares.

    The smallest fiftieth of the gradients lies below it.
    """
    runs = list(runs)
    found = [q.a.ravel() for r in runs for q in r.quantities if q.kind == "gradient"]
    found += [r.norms for r in runs if r.norms is not None]
    sizes = np.abs(np.concatenate([np.zeros(0), *found]))
    sizes = np.sort(sizes[np.isfinite(sizes) & (sizes > 0)])
    return palette.decades(sizes[len(sizes) // 50 :][[0, -1]].tolist() if sizes.size else [])


def _limit(*arrays):
    return palette.nice(max(float(np.max(np.abs(a[np.isfinite(a)]), initial=0)) for a in arrays))
