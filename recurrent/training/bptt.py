"""Truncated back-propagation through time as an object: what state is carried, how far gradients go, where they were cut.

BPTT(h; h') of Williams and Peng, "An efficient gradient-based algorithm for on-line training of recurrent network
trajectories" (1990): after every h' = k1 new steps their loss is propagated back through the last h = k2 steps.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import checks
from ..losses import Loss
from ..models.base import Model


class TruncatedBPTT:
    """One run of a model over a long sequence that comes in pieces of k1 steps.

    `look_back` k2: how many steps a gradient goes back, the new ones counted; by default no further than the piece itself.
    Steps before the new ones are computed again from the state that was carried to them, with the weights of now and new
    masks of dropout; that costs k2 / k1 times the work. `state`: after the last step, for the next; give one to go on from.
    `past`: steps that the next gradient goes back through, which start at the `state` that is given; `resumption` has both of
    a run, to be given to another one that goes on to the same bits. `steps`: how many have been read since the state was
    zero, or since `state` and `past`. `cuts`: of each call the step before which its gradient was cut, where that is not the
    beginning.

    >>> from recurrent import RNN, Sequential
    >>> from recurrent.losses import mean_squared_error
    >>> model, x = Sequential(RNN(1, 1)), np.ones((2, 1, 1), np.float32)
    >>> run = TruncatedBPTT(model, look_back=5)
    >>> for _ in range(4):
    ...     value, gradient, y = run.gradient(x, x, mean_squared_error)
    >>> run.steps, run.cuts
    (8, [1, 3])
    """

    def __init__(
        self,
        model: Model,
        look_back: int | None = None,
        state: Any = None,
        past: np.ndarray | None = None,
    ):
        self.model = model
        self.look_back = None if look_back is None else checks.size(look_back, "look_back")
        self.reset()
        self.state = self._begin = state
        self._past, self.steps = past, 0 if past is None else len(past)

    @property
    def resumption(self) -> tuple[Any, np.ndarray | None]:
        """`state` and `past` of a run that goes on from here."""
        return self._begin, self._past

    def reset(self) -> None:
        """Forget what was read: the next piece starts from zero."""
        self.state = self._begin = None
        self._past: np.ndarray | None = (
            None  # the steps that the next gradient goes back through, which start at `_begin`
        )
        self.steps, self.cuts = 0, []

    def gradient(
        self, x: Any, targets: Any, loss: Loss, lengths: Any = None, out: np.ndarray | None = None
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """Read a piece: its loss, the gradient in a vector like `model.flat`, in `out` if given, and y of the piece.

        Where the loss is not finite the gradient is NaN.

        x (k1, N, ...) and targets as the model and the loss take them. Raises ValueError where a look-back has less room than
        the piece, or goes over sequences with lengths, besides what model and loss raise.
        """
        if self.look_back is not None:
            x = np.asarray(x)
            if lengths is not None:
                raise ValueError(
                    "a look-back needs sequences without lengths: each piece goes on from the one before"
                )
            if len(x) > self.look_back:
                raise ValueError(
                    f"look_back must be at least the {len(x)} steps of a piece, got {self.look_back}"
                )
        window = x if self._past is None else np.concatenate([self._past, x])
        before = 0 if self._past is None else len(self._past)
        y, after, tape = self.model.forward(window, self._begin, lengths, record=True)
        value, dy = loss(
            y[before:] if before else y, targets, lengths=self.model.output_lengths(lengths)
        )
        if before:
            dy = np.concatenate([np.zeros_like(y[:before]), dy])
        out = np.empty_like(self.model.flat) if out is None else out
        if math.isfinite(value):
            self.model.backward(dy, tape, out=out)
        else:
            out[:] = np.nan
        del tape, dy
        self._go_on(window, before, after)
        return value, out, y[before:] if before else y

    def _go_on(self, window, before, after):
        new = len(window) - before
        if self.steps > before:
            self.cuts.append(self.steps - before)
        self.steps += new
        kept = 0 if self.look_back is None else min(self.look_back - new, len(window))
        passed = len(window) - kept
        if kept == 0:
            self._begin, self._past = after, None
        else:
            self._begin = (
                self.model.forward(window[:passed], self._begin)[1] if passed else self._begin
            )
            self._past = window[passed:]
        self.state = after
