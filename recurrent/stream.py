"""One time step at a time: the state is kept between calls, the weights stay packed."""

from __future__ import annotations

from typing import Any

import numpy as np

from .layers import Layer, Recurrent


class Stream:
    """Layers run step by step. Bitwise equal to the same layers run over the whole sequence.

    The weights are those of the moment the stream is made; make a new one after changing them.
    """

    def __init__(self, layers: list[Layer]):
        self.layers = layers
        self._run = [self._stepper(layer) for layer in layers]
        self.state: list[Any] = [None] * len(layers)

    @staticmethod
    def _stepper(layer):
        if not isinstance(layer, Recurrent):
            return lambda x, state: layer.forward(x)[:2]
        engine, params = layer.engine, layer.engine.check_params(layer.params)
        packed = engine.kernels.pack_forward(layer.cell, params)

        def step(x, state):
            x = np.asarray(x)
            if x.ndim not in (1, 2):
                raise ValueError(f"x_t must be (N, {layer.inputs}) or ({layer.inputs},), got {x.shape}")
            after = engine.run(x[None], params, packed, state)[1]
            return after[0], after

        return step

    def step(self, x_t: np.ndarray) -> np.ndarray:
        """y_t from x_t: (N, D) to (N, H), (D,) to (H,); ids (N,) or a single id where the first layer is an Embedding.

        The batch size of the first step holds until `reset`; another raises ValueError.
        """
        y = x_t
        new = []
        for run, before in zip(self._run, self.state, strict=True):
            y, after = run(y, before)
            new.append(after)
        self.state = new  # only once every layer has succeeded
        return y

    def reset(self) -> None:
        """Start again from zero states."""
        self.state = [None] * len(self.layers)
