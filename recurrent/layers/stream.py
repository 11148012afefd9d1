"""One time step at a time: the state is kept between calls, the weights stay packed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class Stream:
    """Layers run step by step: made by `stream()` of a layer or a model from their `stepper()`s.

    Bitwise equal to the same layers run over the whole sequence. The weights are those of the moment the stream is made;
    make a new one after changing them.
    """

    def __init__(self, steppers: list[Callable]):
        self._steppers = steppers

    def step(self, x_t: np.ndarray) -> np.ndarray:
        """y_t from x_t: (N, D) to (N, H), (D,) to (H,); ids (N,) or a single id where the first layer is an Embedding.

        The batch size of the first step holds until `reset`. Raises ValueError for another, and TypeError, ValueError or
        IndexError as the layers do; the states are then those before the call.
        """
        y = x_t
        for step in self._steppers:
            y = step(y)
        return y

    @property
    def state(self) -> list[Any]:
        """A copy of the state, one entry a layer: None for layers without one, and before the first step."""
        return [getattr(step, "state", None) for step in self._steppers]

    def reset(self) -> None:
        """Start again from zero states."""
        for step in self._steppers:
            if hasattr(step, "reset"):
                step.reset()
