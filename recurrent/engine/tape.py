"""What a recorded forward pass leaves for backward, and shows by name."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..equations.cell import Cell


class Tape:
    """What a recorded forward pass leaves: buffers in packed order for backward, values by name for people.

    `tape.gates["i"]`, `tape.h`, `tape.c`: (T, N, H), without N where x had none; zeros past a length. They share the
    tape's memory where no lengths were given: read them, do not write.
    """

    learned = False  # whether the initial state is a layer's parameters

    def __init__(self, cell, layout, batched, params, x, ids, h, rest, saved, inputs=None):
        self.cell, self.layout, self.batched, self.params = cell, layout, batched, params
        self.x, self.h_rows, self.rest_rows, self.saved_rows = x, h, rest, saved
        self.inputs = inputs
        self.masks: dict[str, np.ndarray] = {}  # of dropout inside the layer, by name
        self.ids = ids  # of a Lookup: those that occur, whose rows x holds, and which of them each step has

    def public(self, packed: np.ndarray) -> np.ndarray:
        """(T, N, ...) or, for unbatched input, (T, ...) from packed rows."""
        a = self.layout.unpack(packed)
        return a if self.batched else a[:, 0]

    @property
    def states(self) -> dict[str, np.ndarray]:
        """Each state after every step, by name."""
        buffers = as_wide(self.cell, (self.h_rows, *self.rest_rows), self.h_rows.shape[1])
        return {
            s: self.public(b[self.layout.N :])
            for s, b in zip(self.cell.states, buffers, strict=True)
        }

    @property
    def initial(self) -> dict[str, np.ndarray]:
        """Each state before the first step, by name, (N, H)."""
        N, buffers = self.layout.N, (self.h_rows, *self.rest_rows)
        buffers = as_wide(self.cell, buffers, self.h_rows.shape[1])
        found = {
            s: self.layout.from_packed_order(b[:N])
            for s, b in zip(self.cell.states, buffers, strict=True)
        }
        return found if self.batched else {s: a[0] for s, a in found.items()}

    @property
    def gates(self) -> dict[str, np.ndarray]:
        """Each gate's value at every step, by name."""
        # By node, not by name: a gate may be a new state under another name.
        named = {self.cell.values[s]: a for s, a in self.states.items()}
        saved = {e: k for k, (_, e) in enumerate(self.cell.backward.saved)}
        nodes = {g: self.cell.values[g] for g in self.cell.gates}
        return {
            g: named[e] if e in named else self.public(self.saved_rows[:, saved[e]])
            for g, e in nodes.items()
        }

    def __getattr__(self, name):
        if "cell" not in self.__dict__:  # asked for something while it is copied
            raise AttributeError(name)
        if name in self.cell.states:
            return self.states[name]
        raise AttributeError(
            f"the tape of {self.cell.name} has gates, {', '.join(self.cell.states)}; not {name!r}"
        )


def as_wide(cell: Cell, states: Iterable[np.ndarray], P: int) -> list[np.ndarray]:
    """Arrays of states (..., H), each as wide as it is: of those with P numbers the first P columns."""
    return [
        a[..., :P] if projected else a
        for a, projected in zip(states, cell.projected_states, strict=True)
    ]
