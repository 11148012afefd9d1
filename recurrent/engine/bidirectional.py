"""Bidirectional runs: one engine run forward and in reverse, and the ways to merge both outputs.

Schuster and Paliwal, "Bidirectional recurrent neural networks" (1997). Names of the second
direction end in `_reverse`, as in PyTorch. Params, states and tapes come as `Directions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from .footprint import Footprint
from .runner import DirectedRunner
from .sums import Sums
from .tape import Tape

REVERSE = "_reverse"  # the suffix of names of the second direction

# Two functions per merge: from y of both directions to y; and from dy and y of both directions to
# dy of each. Arrays are (..., H), but y of "concat" is (..., 2H).
MERGES: dict[str, tuple[Callable, Callable]] = {
    "concat": (
        lambda f, r: np.concatenate([f, r], axis=-1),
        lambda dy, f, r: (dy[..., : f.shape[-1]], dy[..., f.shape[-1] :]),
    ),
    "sum": (lambda f, r: f + r, lambda dy, f, r: (dy, dy)),
    "mul": (lambda f, r: f * r, lambda dy, f, r: (dy * r, dy * f)),
    "average": (
        lambda f, r: (f + r) * f.dtype.type(0.5),
        lambda dy, f, r: (dy * dy.dtype.type(0.5),) * 2,
    ),
}


class Directions(NamedTuple):
    """A pair of values, one for each direction of a bidirectional layer.

    Parameters
    ----------
    forward : Params, State, Tape or other
        The value of the forward direction.
    reverse : Params, State, Tape or other
        The value of the reverse direction.

    Examples
    --------
    >>> Directions("ahead", "back").reverse
    'back'
    """

    forward: Any
    reverse: Any

    @property
    def summary(self) -> np.ndarray:
        """The final h of both directions of a state, concatenated: shape (N, 2H) or (2H,).

        Each half depends on the whole sequence. y[-1] does not: its reverse half has read one
        step only.
        """
        return np.concatenate([self.forward[0], self.reverse[0]], axis=-1)


class DirectionTapes(NamedTuple):
    """The tapes of both directions; values of the reverse one have names that end in `_reverse`.

    All values are aligned with the time steps of the input.
    """

    forward: Tape
    reverse: Tape

    @property
    def gates(self) -> dict[str, np.ndarray]:
        """Each gate's value at every step, by name."""
        return named(self.forward.gates, self.reverse.gates)

    @property
    def states(self) -> dict[str, np.ndarray]:
        """Each state after every step, by name."""
        return named(self.forward.states, self.reverse.states)

    @property
    def initial(self) -> dict[str, np.ndarray]:
        """Each state before the first step of its direction, by name."""
        return named(self.forward.initial, self.reverse.initial)

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """The masks of dropout inside the layer, by name."""
        return named(self.forward.masks, self.reverse.masks)


def _check_dict(state_gradients: Any) -> None:
    if state_gradients is not None:
        checks.instance(state_gradients, dict, "state_gradients", "a dict to write to")


def named(forward: dict, reverse: dict) -> dict:
    """Return one dict of both directions, with `_reverse` added to the names of the second."""
    return {**forward, **{f"{name}{REVERSE}": a for name, a in reverse.items()}}


class Bidirectional:
    """Runs a cell in both directions: `forward` and `backward` of an engine on `Directions`.

    The reverse direction starts at each sequence's last valid step. Its output is aligned with the
    time steps of the input.
    """

    def __init__(self, engine: DirectedRunner, merge: str):
        if merge not in MERGES:
            raise ValueError(f"merge must be one of {', '.join(MERGES)}, got {merge!r}")
        self.engine, self.merge = engine, merge

    def forward(
        self, x, params, state=None, lengths=None, record=False
    ) -> tuple[np.ndarray, Directions, Any]:
        """Return y, (T, N, 2H) for "concat" or (T, N, H), the final state and the tapes."""
        initial = self._pair(state, "state")
        y, final, tape = self.engine.forward(
            x, params.forward, initial.forward, lengths, record=record
        )
        with checks.naming("reverse direction"):
            y_reverse, final_reverse, tape_reverse = self.engine.forward(
                x, params.reverse, initial.reverse, lengths, reverse=True, record=record
            )
        y = MERGES[self.merge][0](y, y_reverse)
        tapes = DirectionTapes(tape, tape_reverse) if record else None
        return y, Directions(final, final_reverse), tapes

    def backward(
        self, dy, tape, dstate=None, out=None, state_gradients=None, sums: Sums | None = None
    ) -> tuple[Any, Directions, Directions]:
        """Return dx and, as `Directions`, dparams and the gradient of the initial state.

        `sums` must be None: a run in both directions has no segments.
        """
        checks.tape(tape, DirectionTapes)
        _check_dict(state_gradients)
        dfinal, outs = self._pair(dstate, "dstate"), self._pair(out, "out")
        dys = Directions(None, None) if dy is None else Directions(*self._split(dy, tape))
        ahead, back = ({}, {}) if state_gradients is not None else (None, None)
        dx, dparams, d_initial = self.engine.backward(
            dys.forward, tape.forward, dfinal.forward, outs.forward, ahead
        )
        with checks.naming("reverse direction"):
            dx_reverse, dparams_reverse, d_initial_reverse = self.engine.backward(
                dys.reverse, tape.reverse, dfinal.reverse, outs.reverse, back
            )
        if state_gradients is not None:
            state_gradients.update(named(ahead or {}, back or {}))
        dparams = Directions(dparams, dparams_reverse)
        return dx + dx_reverse, dparams, Directions(d_initial, d_initial_reverse)

    def footprint(self, T, N, sizes, dtype, ragged, training, table=None) -> Footprint:
        """Estimate the memory of two runs, one after the other, and of merging their results."""
        ahead, back = (
            self.engine.footprint(T, N, sizes, dtype, ragged, training, reverse, table)
            for reverse in (False, True)
        )
        one = T * N * sizes.P * dtype.itemsize
        output = (2 if self.merge == "concat" else 1) * one
        parts = ahead.output + back.output  # y of each direction, freed when they are merged
        forward = max(back.forward - output + parts, parts)
        dys = {"concat": one, "average": one, "mul": 2 * one, "sum": 0}[self.merge]
        backward = dys + max(back.backward + ahead.dx, 2 * ahead.dx)
        return Footprint(ahead.kept + back.kept, output, forward, backward, ahead.dx)

    def _split(self, dy, tape):
        """Return dy of each direction."""
        y, y_reverse = tape.forward.h, tape.reverse.h
        dy = checks.array(dy, "dy", self.engine.dtypes)
        checks.same_dtype(dy, "dy", y.dtype, "x")
        *rows, H = y.shape
        letters, size = ("2H", 2 * H) if self.merge == "concat" else ("H", H)
        words = f"(T, N, {letters})" if len(rows) == 2 else f"(T, {letters})"
        checks.shape(dy, "dy", (*rows, size), words)
        return MERGES[self.merge][1](dy, y, y_reverse)

    def _pair(self, value, name):
        if value is None:
            return Directions(None, None)
        sequence = isinstance(value, (tuple, list))
        if not sequence or len(value) != 2:
            got = f"{len(value)} values" if sequence else type(value).__name__
            raise ValueError(
                f"{name} of a bidirectional layer must be (forward, reverse), got {got}"
            )
        return Directions(*value)
