"""Blanks that repeat what came before them, as Keras' recurrent layers have them, where ours are zeros."""

from __future__ import annotations

import numpy as np

from .. import checks
from ..engine.footprint import WIDE, Footprint
from .base import Gradients, Layer


class Hold(Layer):
    """Each blank step gets the values of the last valid step before it; zeros where there is none. Valid steps stay.

    x (T, N, K) with `lengths` (N,) or a mask (T, N); the identity without. After a recurrent layer it makes of our outputs
    Keras' (zero_output_for_mask=False): y[-1] is then that of each sequence's last valid step. Before the first valid step
    Keras puts out h of an initial state that was given, not zeros. What x holds in its blanks does not matter.
    It knows lengths only while they are given: in a stream every step is valid.
    """

    needs_sequence = True

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        """Returns y, None, tape. Raises ValueError for shapes and lengths that do not fit, TypeError for dtypes."""
        x = checks.array(x, "x")
        if lengths is None:
            return x, None, None
        if x.ndim != 3:
            raise ValueError(f"lengths need a batch: x must be (T, N, K), got {x.shape}")
        T, N = x.shape[:2]
        valid = checks.inside(checks.valid_steps(lengths, T, N), T)
        steps = np.maximum.accumulate(np.where(valid, np.arange(T)[:, None], -1), axis=0)
        y = np.where(
            (steps < 0)[:, :, None],
            x.dtype.type(0),
            np.take_along_axis(x, np.maximum(steps, 0)[:, :, None], axis=0),
        )
        return y, None, steps if record else None

    def footprint(self, T, N, width, dtype, ragged, training, table=None):
        if not ragged:
            return Footprint(0, 0, 0, 0, 0)
        size, steps = T * N * width * dtype.itemsize, T * N * WIDE
        return Footprint(steps if training else 0, size, size + 2 * steps, 0, size)

    def keeps_input(self, ragged):
        return not ragged  # it hands it on as it is

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None):
        """Returns Gradients: a valid step gets its own and those of the blanks that repeat it, in the order of time."""
        dy = checks.array(dy, "dy")
        if tape is None:
            return Gradients(dy, {}, None)
        checks.shape(dy, "dy", (*tape.shape, *dy.shape[2:]), "the shape of y")
        dx, n = np.zeros_like(dy), np.arange(tape.shape[1])
        for d, steps in zip(dy, tape, strict=True):
            some = steps >= 0
            dx[steps[some], n[some]] += d[some]
        return Gradients(dx, {}, None)
