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
        self.state: list[Any] = [None] * len(steppers)

    def step(self, x_t: np.ndarray) -> np.ndarray:
        """y_t from x_t: (N, D) to (N, H), (D,) to (H,); ids (N,) or a single id where the first layer is an Embedding.

        The batch size of the first step holds until `reset`; another raises ValueError.
        """
        y, new = x_t, []
        for step, before in zip(self._steppers, self.state, strict=True):
            y, after = step(y, before)
            new.append(after)
        self.state = new  # only once every layer has succeeded
        return y

    def reset(self) -> None:
        """Start again from zero states."""
        self.state = [None] * len(self._steppers)
