"""Layer normalisation between layers. Normalisation within a step is an option of LSTM and GRU."""

from __future__ import annotations

import numpy as np

from .. import checks, kernels
from ..engine.footprint import Footprint
from .base import Gradients, Layer


class LayerNorm(Layer):
    """Layer normalisation over the last axis, as `torch.nn.LayerNorm`.

    y = (x - mean) / sqrt(variance + eps) * weight + bias, with x and y of shape
    (..., normalized_shape). Mean and variance are those of each time step alone. `weight` and
    `bias`, shape (normalized_shape,), start as ones and zeros.

    Parameters
    ----------
    normalized_shape : int
        Size of the last axis.
    eps : float, default 1e-5
        Constant added to the variance; finite and at least 0.

    Raises
    ------
    TypeError
        If normalized_shape is not an int or eps not a number.
    ValueError
        If normalized_shape is below 1 or eps is out of range.

    References
    ----------
    Ba, Kiros and Hinton, "Layer normalization" (2016).
    """

    runs_in_segments = True
    in_features: int

    def __init__(self, normalized_shape: int, eps: float = 1e-5):
        size = checks.size(normalized_shape, "normalized_shape")
        eps = checks.number(eps, "eps", least=0)
        super().__init__(normalized_shape=size, **({} if eps == 1e-5 else {"eps": eps}))
        self.in_features = self.out_features = size
        self.shapes = {"weight": (size,), "bias": (size,)}
        self.eps = eps

    def reset_parameters(self, rng):
        self.parameters["weight"][:] = 1
        self.parameters["bias"][:] = 0

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        checks.modes(record, training)
        x = checks.array(x, "x")
        checks.same_dtype(x, "x", self.dtype, "weight")
        if x.ndim < 1 or x.shape[-1] != self.in_features:
            raise ValueError(f"x must be (..., {self.in_features}), got {x.shape}")
        normal = x - x.mean(axis=-1, keepdims=True)
        scale = 1 / np.sqrt(np.square(normal).mean(axis=-1, keepdims=True) + x.dtype.type(self.eps))
        normal *= scale
        y = normal * self.parameters["weight"]
        y += self.parameters["bias"]
        return y, None, (normal, scale) if record else None

    def stepper(self):
        frozen = LayerNorm(self.in_features, self.eps)
        frozen.bind({name: a.copy() for name, a in self.parameters.items()})
        return super(LayerNorm, frozen).stepper()

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None, sums=None):
        checks.tape(tape, tuple, 2)
        (normal, scale), dy = tape, checks.array(dy, "dy")
        checks.same_dtype(dy, "dy", normal.dtype, "weight")
        checks.shape(dy, "dy", normal.shape, "the shape of y")
        grads = self._sums(out, sums, dy=dy)
        for a, total in ((dy * normal, grads["weight"]), (dy, grads["bias"])):
            kernels.backend.column_sums(a.reshape(-1, self.in_features), total)
        dx = dy * self.parameters["weight"]
        # Neither scaling x nor shifting it changes y: remove both components from the gradient.
        along = (dx * normal).mean(axis=-1, keepdims=True)
        dx -= dx.mean(axis=-1, keepdims=True)
        dx -= normal * along
        dx *= scale
        return Gradients(dx, grads, None)

    def footprint(self, T, N, width, dtype, ragged, training, table=None):
        rows, size = T * N * dtype.itemsize, T * N * self.in_features * dtype.itemsize
        kept = size + rows if training else 0
        return Footprint(kept, size, 0 if training else size, size, size)
