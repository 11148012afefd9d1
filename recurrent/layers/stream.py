"""Streams: layers run one time step at a time; states are kept, weights are packed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class Stream:
    """Layers run one time step at a time; `stream()` of a layer or a model returns one.

    Outputs are bitwise equal to those of the same layers run over the whole sequence. A stream uses
    a snapshot of the weights taken when it is created; make a new one after changing them.

    Parameters
    ----------
    steppers : list of callable
        A function x_t -> y_t per layer, as `Layer.stepper` returns it.
    """

    def __init__(self, steppers: list[Callable]):
        self._steppers = steppers
        self._steps = 0  # that all layers have made since the initial states

    def step(self, x_t: np.ndarray | np.integer | int) -> np.ndarray:
        """Run one time step.

        If an error is raised or Ctrl-C is pressed, all states are those before the call.

        Parameters
        ----------
        x_t : ndarray, shape (N, D) or (D,), float32 or float64
            Input of the step, in the dtype of the weights. Ids, shape (N,) or a single one, where
            the first layer is an Embedding. N must not change before `reset`.

        Returns
        -------
        ndarray, shape (N, H) or (H,)
            Output of the last layer.

        Raises
        ------
        ValueError
            If the shape does not fit or N has changed.
        TypeError
            If the dtype does not fit.
        IndexError
            If an id is out of range.
        """
        y: Any = x_t
        try:
            for step in self._steppers:
                y = step(y)
        except BaseException:
            for step in self._steppers:
                if hasattr(step, "rewind"):
                    step.rewind(self._steps)
            raise
        self._steps += 1
        return y

    @property
    def state(self) -> list[Any]:
        """A copy of the state per layer: None for layers without one, and before the first step."""
        return [getattr(step, "state", None) for step in self._steppers]

    def reset(self) -> None:
        """Return to the initial states."""
        for step in self._steppers:
            if hasattr(step, "reset"):
                step.reset()
        self._steps = 0
