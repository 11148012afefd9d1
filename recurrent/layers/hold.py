"""Hold: padding repeats the last valid step, as in Keras; without it, padding is zeros."""

from __future__ import annotations

import numpy as np

from .. import checks
from ..engine.footprint import WIDE, Footprint
from .base import Gradients, Layer


class Hold(Layer):
    """Fills padding with the values of the last valid step before it, or zeros where there is none.

    x has shape (T, N, K) with `lengths` (N,) or a mask (T, N); without them the layer is the
    identity. Values of x in the padding do not matter. In a stream every step counts as valid.

    After a recurrent layer, y equals the output of the Keras layer with
    `zero_output_for_mask=False`: y[-1] is the output at the last valid step of each sequence. There
    is one difference: before the first valid step Keras returns h of a given initial state, not
    zeros.
    """

    needs_sequence = True

    def __init__(self):
        super().__init__()

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        checks.modes(record, training)
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
        return not ragged  # y is then x itself

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None, sums=None):
        dy = checks.array(dy, "dy")
        if tape is None:
            return Gradients(dy, {}, None)
        checks.tape(tape, np.ndarray)
        checks.integers(tape, "tape")
        if tape.ndim != 2:
            raise ValueError(f"tape must be (T, N), got {tape.shape}")
        checks.shape(dy, "dy", (*tape.shape, *dy.shape[2:]), "the shape of y")
        dx, n = np.zeros_like(dy), np.arange(tape.shape[1])
        # A valid step gets the gradients of itself and of the padding that repeats it, in order.
        for d, steps in zip(dy, tape, strict=True):
            some = steps >= 0
            dx[steps[some], n[some]] += d[some]
        return Gradients(dx, {}, None)
