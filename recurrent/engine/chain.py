"""Steppers in a row that are run by one call of compiled code."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from .. import checks, kernels


class Chain:
    """Steppers in a row as one function x_t -> y_t; by one call of compiled code where possible.

    Parameters
    ----------
    steppers : sequence of callable
        Those that can be linked: `begin(x_t)` checks x_t, allocates what all steps need and returns
        the shape of y_t; `link()` returns the weights and the memory as `Backend.chain` takes them,
        or None if y_t is x_t.
    """

    def __init__(self, steppers: Sequence[Any]):
        self._steppers = steppers
        self._stateful = [s for s in steppers if hasattr(s, "steps")]
        self._shape: tuple[int, ...] | None = None
        self._y_shape: tuple[int, ...] = ()
        self._dtype = self._run = None

    def forget(self) -> None:
        """Let the next call begin with other memory: that of the states may have changed."""
        self._shape = self._run = None

    def __call__(self, x_t: Any) -> np.ndarray:
        """Run one time step of all steppers."""
        x_t = checks.array(x_t, "x_t")
        if x_t.shape != self._shape or x_t.dtype != self._dtype:
            self._begin(x_t)
        if self._run is None:
            for step in self._steppers:
                x_t = step(x_t)
            return x_t
        y = np.empty(self._y_shape, self._dtype)
        # All layers have made the same number of steps since their states were set.
        self._run(x_t, self._stateful[0].steps & 1 if self._stateful else 0, y)
        for stepper in self._stateful:
            stepper.steps += 1
        return y

    def _begin(self, x_t):
        self._shape, a = None, x_t
        for stepper in self._steppers:
            a = np.empty(stepper.begin(a), x_t.dtype)
        links = [link for s in self._steppers if (link := s.link()) is not None]
        N, self._run = prod(x_t.shape[:-1]), None
        if links and N and x_t.ndim in (1, 2):
            self._run = kernels.backend.chain(links, N, x_t.ndim)
        self._y_shape, self._dtype, self._shape = a.shape, x_t.dtype, x_t.shape
