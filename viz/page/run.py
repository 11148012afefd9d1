"""What a page knows of a run: of each recurrent layer the numbers of one sequence, and the weights its pictures draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..draw import palette
from ..reading import describe, unit_values
from ..reading.direction import direction_of
from ..reading.wiring import cell_wiring
from ..views.layer import LAST
from ..views.unit import KEPT, SHOWN
from . import equations


@dataclass(frozen=True)
class Quantity:
    """One number a unit has at each step: `kind` is gate, state or gradient; `a` (T, U) for the units that are kept."""

    key: str
    label: str
    kind: str
    a: np.ndarray


class LayerRun:
    """The part that a recurrent layer, or one direction of it, has in a recording, sequence n.

    Of its H units, U have every quantity in the page: `units` (U,).

    x (T, D), h (T, H). `slots[g]` (U, S): which inputs of group g the picture of a unit draws; `weights[neuron][g]` (U, S);
    `biases[neuron]` (U,); `rest[g]` (U,) the norm of the weights that are not drawn. `earlier` (T,): the step that each step
    takes its states from, -1 where they are the `initial` ones (H,) by name. `k`: the layer's number in its stack, which
    begins at `first_layer` of the recording. `budget`: bytes for the quantities.
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
        layer, end = way.layer, way.end
        place = unit_values.index_in(recording, layer)
        self.n, self.way, self.layer, self.place, self.k = n, way, layer, place, place - first_layer
        unit_values.read_unit(recording, way, 0, None, n)  # says what does not fit
        mine, batched = recording.layers[place], recording.layers[place].y.ndim == 3
        self.D, self.H, self.first = layer.input_size, layer.hidden_size, layer.cell.states[0]
        self.x = unit_values.sequence(
            unit_values.input_of(recording, layer.owner, place), n, batched
        )
        self.h = unit_values.sequence(mine.states[self.first + end], n, batched)
        self.T = len(self.h)
        found = [
            (g, palette.gate(g, layer.cell.gates)[0], "gate", mine.gates[g + end])
            for g in layer.cell.gates
        ]
        found = [f for f in found if f[0] not in layer.cell.states]
        found += [
            (s, "memory" if p else "output", "state", mine.states[s + end])
            for p, s in enumerate(layer.cell.states)
        ]
        given = {s: mine.dstates[s + end] for s in layer.cell.states if s + end in mine.dstates}
        found += [(f"∂L/∂{s}", f"gradient of {s}", "gradient", a) for s, a in given.items()]
        found = [(*f, unit_values.sequence(a, n, batched)) for *f, a in found]
        each = self.T * self.h.itemsize * (len(found) + len(equations.computed(layer.cell)))
        room = max(8, int(budget // max(1, each)))
        self.initial = unit_values.initial(recording, way, n)
        kept = {
            *range(min(self.H, room)),
            *range(max(0, self.H - LAST), self.H),
            *(int(j) for j in chosen if j < self.H),
        }
        self.units = np.array(sorted(kept))
        d = next((a for key, *_, a in found if key == f"∂L/∂{self.first}"), None)
        self.norms = (
            None if d is None else np.linalg.norm(d.astype(np.float64), axis=1)
        )  # (T,), over all H units
        self.quantities = [Quantity(*f, a[:, self.units]) for *f, a in found]
        states = (a for *_, kind, a in found if kind == "state")
        self.limits = {"x": _limit(self.x), "h": _limit(*self.initial.values(), *states)}
        self.scale = palette.decades(
            v for *_, kind, a in found if kind == "gradient" for v in np.abs(a).ravel().tolist()
        )
        self.inner = {
            k: a[:, self.units] for k, a in equations.inner(recording, way, n, self.h).items()
        }
        last = (unit_values.read_unit(recording, way, 0, t, n).last for t in range(self.T))
        self.earlier = np.array([-1 if s is None else s for s in last])
        self.wiring = cell_wiring(layer.cell)
        self._weigh()

    def _weigh(self):
        """The strongest inputs of each unit; how many of each group is the same for all, so that one picture serves them."""
        rows = {
            a.id: [describe.weights(self.way, a, int(j)) for j in self.units]
            for a in self.wiring.neurons
        }
        of = {a: {g: np.array([r[g] for r in per]) for g in per[0]} for a, per in rows.items()}
        sizes = {"x": self.D, "h": self.H}
        strength = {g: np.zeros((len(self.units), s)) for g, s in sizes.items()}
        for groups in of.values():
            for g, w in groups.items():
                strength[g] = np.fmax(
                    strength[g], np.nan_to_num(np.abs(w), nan=np.inf, posinf=np.inf)
                )
        self.limit = _limit(*strength.values())
        self.slots = {g: np.tile(np.arange(s), (len(self.units), 1)) for g, s in sizes.items()}
        self.elided = sum(sizes.values()) > SHOWN
        if self.elided:
            ranked = np.argsort(-np.hstack([s[0] for s in strength.values()]), kind="stable")[:KEPT]
            share = {"x": int((ranked < self.D).sum()), "h": int((ranked >= self.D).sum())}
            for g, s in strength.items():
                self.slots[g] = np.sort(
                    np.argsort(-s, axis=1, kind="stable")[:, : share[g]], axis=1
                )
        self.weights = {
            a: {g: np.take_along_axis(w, self.slots[g], 1) for g, w in ws.items()}
            for a, ws in of.items()
        }
        self.rest = {}
        for g in sizes:
            total, drawn = (
                sum(np.square(w[g], dtype=float).sum(1) for w in d.values() if g in w)
                for d in (of, self.weights)
            )
            self.rest[g] = np.sqrt(np.maximum(total - drawn, 0)) * np.ones(len(self.units))
        self.biases = {a.id: self._bias(a) for a in self.wiring.neurons}

    def _bias(self, neuron):
        cell, params, total = self.layer.cell, self.way.params, np.zeros(self.H)
        for name, gates, used in (
            ("b_ih", cell.x_gates, neuron.x),
            ("b_hh", cell.h_gates, neuron.h),
        ):
            if used and hasattr(params, name):
                total = total + getattr(params, name).reshape(-1, self.H)[gates.index(neuron.gate)]
        return total[self.units]

    @property
    def row(self) -> str:
        """The name of its row in the unrolled network."""
        return f"layer{self.k}{self.way.end}"

    @property
    def name(self) -> str:
        """Number and layer, and the direction where it has two."""
        return f"{self.k}{self.way.arrow}: {describe.short(self.layer)}"

    def before(self, t: int) -> np.ndarray:
        """h (H,) of all units as step t took it."""
        return self.h[self.earlier[t]] if self.earlier[t] >= 0 else self.initial[self.first]

    @property
    def shown(self) -> list[tuple[str, str]]:
        """Nodes of the picture of a unit that bear a gate's value, with its name."""
        states = self.layer.cell.states
        neurons = [
            (a.id, a.value) for a in self.wiring.neurons if a.value and a.value not in states
        ]
        return neurons + [(o.id, o.gate) for o in self.wiring.operations if o.gate]


def norm_scale(runs: Sequence[LayerRun]) -> tuple[float, float]:
    """Ends of the log axis of |dL/dh| of all layers."""
    return palette.decades(float(v) for r in runs if r.norms is not None for v in r.norms)


def _limit(*arrays):
    return palette.nice(max(float(np.max(np.abs(a[np.isfinite(a)]), initial=0)) for a in arrays))
