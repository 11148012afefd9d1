"""Both directions of a sequence: two calls of one engine, forward and reverse, and the ways to merge their outputs.

Schuster and Paliwal, "Bidirectional recurrent neural networks" (1997). Names end in `_reverse` for the second
direction, as PyTorch's do; what comes in pairs (parameters, state, tape) is a `Directions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from .engine import Engine
from .footprint import Footprint
from .tape import Tape

REVERSE = "_reverse"  # what the names of the second direction end in

# y of both directions -> y; dy and y of both directions -> dy of each. All are (..., H), but y of concat is (..., 2H).
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
    """The same thing of either direction."""

    forward: Any
    reverse: Any

    @property
    def summary(self) -> np.ndarray:
        """Of a final state: h after the last valid step of each direction side by side, (N, 2H) or (2H,).

        It has seen the whole sequence from both sides. y[-1] has not: its reverse half has seen one step only.
        """
        return np.concatenate([self.forward[0], self.reverse[0]], axis=-1)


class DirectionTapes(NamedTuple):
    """DirectionTapes of both directions; `gates` and `states` by name, in the input's time, those of the second end in `_reverse`."""

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
        """Masks of dropout inside the layer, by name."""
        return named(self.forward.masks, self.reverse.masks)


def named(forward: dict, reverse: dict) -> dict:
    """One dict of both directions."""
    return {**forward, **{f"{name}{REVERSE}": a for name, a in reverse.items()}}


class Bidirectional:
    """An engine's `forward` and `backward` with a `Directions` where that has one: of Params, of State, of tapes.

    The reverse direction starts at each sequence's last valid step; its output is aligned with the input's time.
    """

    def __init__(self, engine: Engine, merge: str):
        if merge not in MERGES:
            raise ValueError(f"merge must be one of {', '.join(MERGES)}, got {merge!r}")
        self.engine, self.merge = engine, merge

    def forward(
        self, x, params, state=None, lengths=None, record=False
    ) -> tuple[np.ndarray, Directions, DirectionTapes | None]:
        """y (T, N, 2H), or (T, N, H) where merged otherwise than by concat; state Directions(forward, reverse); tapes if `record`."""
        before = self._pair(state, "state")
        y, after, tape = self.engine.forward(
            x, params.forward, before.forward, lengths, record=record
        )
        with checks.naming("reverse direction"):
            back = self.engine.forward(
                x, params.reverse, before.reverse, lengths, reverse=True, record=record
            )
        merged = MERGES[self.merge][0](y, back[0])
        return merged, Directions(after, back[1]), DirectionTapes(tape, back[2]) if record else None

    def backward(
        self, dy, tape, dstate=None, out=None, state_gradients=None
    ) -> tuple[np.ndarray, Directions, Directions]:
        """dx and, as `Directions`, dparams and the gradient of the initial state; arguments as `Engine.backward` has them."""
        if tape is None:
            raise ValueError("backward needs a tape: call forward with record=True")
        after, outs = self._pair(dstate, "dstate"), self._pair(out, "out")
        halves = Directions(None, None) if dy is None else Directions(*self._split(dy, tape))
        found = [{} if state_gradients is not None else None for _ in tape]
        dx, *ahead = self.engine.backward(
            halves.forward, tape.forward, after.forward, outs.forward, found[0]
        )
        with checks.naming("reverse direction"):
            dx_back, *back = self.engine.backward(
                halves.reverse, tape.reverse, after.reverse, outs.reverse, found[1]
            )
        if state_gradients is not None:
            state_gradients.update(named(*found))
        return dx + dx_back, *(Directions(*pair) for pair in zip(ahead, back, strict=True))

    def footprint(self, T, N, sizes, dtype, ragged, training, table=None) -> Footprint:
        """Bytes, as `Engine.footprint` has them: of two runs, one after the other, and of what their results are merged in."""
        ahead, back = (
            self.engine.footprint(T, N, sizes, dtype, ragged, training, reverse, table)
            for reverse in (False, True)
        )
        one = T * N * sizes.P * dtype.itemsize
        output = (2 if self.merge == "concat" else 1) * one
        kept = ahead.kept + back.kept
        second = ahead.output + back.output  # what of either direction goes when the two are merged
        forward = max(back.forward - output + second, second)
        halves = (
            one if self.merge in ("concat", "average") else 2 * one if self.merge == "mul" else 0
        )
        return Footprint(
            kept, output, forward, halves + max(back.backward + ahead.dx, 2 * ahead.dx), ahead.dx
        )

    def _split(self, dy, tape):
        """dy of each direction."""
        ys = tape.forward.h, tape.reverse.h
        dy = checks.array(dy, "dy", self.engine.dtypes)
        checks.same_dtype(dy, "dy", ys[0].dtype, "x")
        *rows, H = ys[0].shape
        words = "(T, N, {})" if len(rows) == 2 else "(T, {})"
        width = ("2H", 2 * H) if self.merge == "concat" else ("H", H)
        checks.shape(dy, "dy", (*rows, width[1]), words.format(width[0]))
        return MERGES[self.merge][1](dy, *ys)

    def _pair(self, value, name):
        if value is None:
            return Directions(None, None)
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise ValueError(
                f"{name} of a bidirectional layer must be (forward, reverse), one for each direction"
            )
        return Directions(*value)
