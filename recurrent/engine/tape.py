"""The tape of a recorded forward pass, which `backward` reads: gates and states by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from .params import trim_states


class Tape:
    """The record of a forward pass: packed buffers for `backward`, and values by name for users.

    `tape.gates["i"]`, `tape.h` and `tape.c` have shape (T, N, H), or (T, H) for unbatched input;
    they are zero at padded steps. They may share memory with the tape: do not write to them.

    Attributes
    ----------
    gates : dict of str to ndarray, shape (T, N, H)
        The value of each gate at every step.
    states : dict of str to ndarray, shape (T, N, H)
        Each state after every step.
    initial : dict of str to ndarray, shape (N, H)
        Each state before the first step.
    masks : dict of str to ndarray
        The masks of dropout inside the layer.
    """

    # Whether the initial state consists of a layer's parameters; of episodes which (E,), bool.
    learned: Any = False
    episodes: Any = None  # if the sequences were cut into episodes
    list_lengths: np.ndarray | None = None  # (N,) the lengths of sequences that came as a list

    def __init__(
        self, cell, layout, batched, params, x, ids, h_rows, state_rows, saved_rows, unit_masks
    ):
        self.cell, self.layout, self.batched, self.params = cell, layout, batched, params
        self.x = x  # (S, D) in packed order; of a Lookup the rows of the table that occur
        self.ids = ids  # of a Lookup: the ids that occur, and which of them each step has
        self.h_rows = h_rows  # (N + S, P): the first state, initial and after each step
        self.state_rows = state_rows  # (states - 1, N + S, H): the other states, likewise
        self.saved_rows = saved_rows  # (S, saved, H): further values that `backward` needs
        self.unit_masks = unit_masks  # (S, M, H) or None: the masks that the units took
        self.masks: dict[str, np.ndarray] = {}
        self.samples = [a.item(a.size // 2) if a.size else None for a in params]

    def check_params(self) -> None:
        """Raise ValueError if the parameters have changed since the forward pass, by a sample.

        An entry in the middle of each array is compared: an update changes all entries that have a
        gradient. A change of a few other entries is not seen.
        """
        for a, name, before in zip(self.params, self.params._fields, self.samples, strict=True):
            now = a.item(a.size // 2) if a.size else None
            if now != before and (now == now or before == before):
                raise ValueError(
                    f"the parameters changed between forward and backward ({name}): call forward "
                    "again, or backward before the update"
                )

    def public(self, packed: np.ndarray) -> np.ndarray:
        """Return packed rows as (T, N, ...), or as (T, ...) for unbatched input."""
        a = self.layout.unpack(packed)
        return a if self.batched else a[:, 0]

    def _buffers(self) -> list[np.ndarray]:
        buffers = self.h_rows, *self.state_rows
        return trim_states(self.cell, buffers, self.h_rows.shape[1])

    @property
    def states(self) -> dict[str, np.ndarray]:
        """Each state after every step, by name."""
        N = self.layout.N
        return {
            s: self.public(b[N:]) for s, b in zip(self.cell.states, self._buffers(), strict=True)
        }

    @property
    def initial(self) -> dict[str, np.ndarray]:
        """Each state before the first step, by name, (N, H)."""
        first = (self.layout.from_packed_order(b[: self.layout.N]) for b in self._buffers())
        states = dict(zip(self.cell.states, first, strict=True))
        return states if self.batched else {s: a[0] for s, a in states.items()}

    @property
    def gates(self) -> dict[str, np.ndarray]:
        """Each gate's value at every step, by name."""
        # By node, not by name: a gate may be a new state under another name.
        states = {self.cell.values[s]: a for s, a in self.states.items()}
        saved = {e: k for k, (_, e) in enumerate(self.cell.backward.saved)}
        nodes = {g: self.cell.values[g] for g in self.cell.gates}
        return {
            g: states[e] if e in states else self.public(self.saved_rows[:, saved[e]])
            for g, e in nodes.items()
        }

    def __getattr__(self, name):
        if "cell" not in self.__dict__:  # while it is being copied
            raise AttributeError(name)
        if name in self.cell.states:
            return self.states[name]
        raise AttributeError(
            f"the tape of {self.cell.name} has gates, {', '.join(self.cell.states)}; not {name!r}"
        )
