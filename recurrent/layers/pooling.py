"""Layers that make one vector of a sequence, from its valid steps only: many-to-one.

x (T, N, K) gives y (N, K), and x (T, K) gives (K,). `lengths` (N,) or a mask (T, N) says which steps are valid; a
sequence without any gives zeros. What x holds in its blanks does not matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..engine.footprint import WIDE, Footprint
from .base import Gradients, Layer


class Pool(Layer, abstract=True):
    """What these layers have in common: a subclass has `pool` and `spread`."""

    needs_sequence, returns_sequence = True, False

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        """Returns y, None, tape. Raises ValueError for shapes and lengths that do not fit, TypeError for dtypes."""
        x = checks.array(x, "x")
        if x.ndim not in (2, 3):
            raise ValueError(f"x must be (T, N, K) or (T, K), got {x.shape}")
        if x.ndim == 2 and lengths is not None:
            raise ValueError(f"lengths need a batch: x must be (T, N, K), got {x.shape}")
        wide = x if x.ndim == 3 else x[:, None]
        T, N = wide.shape[:2]
        valid = (
            np.ones((T, N), bool)
            if lengths is None
            else checks.inside(checks.valid_steps(lengths, T, N), T)
        )
        y, kept = self.pool(wide, valid) if T else (np.zeros(wide.shape[1:], x.dtype), None)
        return y.reshape(x.shape[1:]), None, (x.shape, x.dtype, valid, kept) if record else None

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None):
        """Returns Gradients; blanks get none."""
        shape, dtype, valid, kept = tape
        dy = checks.array(dy, "dy")
        checks.same_dtype(dy, "dy", dtype, "x")
        checks.shape(dy, "dy", shape[1:], "the shape of y")
        dx = np.zeros((*valid.shape, shape[-1]), dtype)
        if dx.size:
            self.spread(dy.reshape(dx.shape[1:]), valid, kept, dx)
        return Gradients(dx.reshape(shape), {}, None)

    def footprint(self, T, N, width, dtype, ragged, training, table=None):
        y, kept = N * width * dtype.itemsize, T * N + self.kept(N, width, dtype) if training else 0
        return Footprint(kept, y, 2 * y + self.scratch(T, N, width, dtype), y, T * y)

    def kept(self, N: int, width: int, dtype: np.dtype) -> int:
        """Bytes of what `spread` needs to know."""
        return 0

    def scratch(self, T: int, N: int, width: int, dtype: np.dtype) -> int:
        """Bytes that `pool` takes besides, by far the most of them."""
        return 0

    def stepper(self):
        raise ValueError(
            f"{type(self).__name__} cannot run step by step: it needs the whole sequence"
        )

    def pool(self, x: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, Any]:
        """y (N, K) of x (T, N, K) and valid (T, N), T at least 1; and what `spread` needs to know."""
        raise NotImplementedError

    def spread(self, dy: np.ndarray, valid: np.ndarray, kept: Any, dx: np.ndarray) -> None:
        """Write the gradient (T, N, K) to dx, which is zeros, from dy (N, K)."""
        raise NotImplementedError


class SelectPool(Pool, abstract=True):
    """Each entry of y is that of one step; `step` says which, (N, K) or less."""

    def pool(self, x, valid):
        index = np.broadcast_to(self.step(x, valid), x.shape[1:])[None]
        return np.where(
            valid.any(axis=0)[:, None], np.take_along_axis(x, index, axis=0)[0], x.dtype.type(0)
        ), index

    def spread(self, dy, valid, kept, dx):
        np.put_along_axis(
            dx, kept, np.where(valid.any(axis=0)[:, None], dy, dy.dtype.type(0))[None], axis=0
        )

    def step(self, x: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """The step that is taken."""
        raise NotImplementedError


class Last(SelectPool):
    """The last valid step.

    `bidirectional`: for y of a bidirectional layer merged by concat, whose reverse half is finished at the first step: the
    first half of the features from the last valid step, the second from the first one, as in `state.summary`.
    """

    def __init__(self, bidirectional: bool = False):
        if not isinstance(bidirectional, bool):
            raise TypeError(f"bidirectional must be True or False, got {bidirectional!r}")
        super().__init__(**({"bidirectional": True} if bidirectional else {}))
        self.bidirectional = bidirectional

    def check_below(self, below):
        super().check_below(below)
        loops = next((layer.state_delays for layer in reversed(below) if layer.state_delays), {})
        if not self.bidirectional and -1 in loops.values():
            raise ValueError(
                "at the last step the reverse direction has only begun: use Last(bidirectional=True), or pool"
            )
        giver = next((layer for layer in reversed(below) if layer.out_features is not None), None)
        if self.bidirectional and giver is not None and getattr(giver, "merge", None) != "concat":
            raise ValueError(
                "Last(bidirectional=True) needs a bidirectional layer merged by concat right below it"
            )

    def step(self, x, valid):
        last = (len(valid) - 1 - valid[::-1].argmax(axis=0))[:, None]
        if not self.bidirectional:
            return last
        if x.shape[-1] % 2:
            raise ValueError(
                f"x must have two halves of features, one for each direction, got {x.shape}"
            )
        reverse_half = np.arange(x.shape[-1]) >= x.shape[-1] // 2
        return np.where(reverse_half, valid.argmax(axis=0)[:, None], last)

    def kept(self, N, width, dtype):
        return N * width * WIDE if self.bidirectional else N * WIDE


class MaxPool(SelectPool):
    """The largest value of each feature over the valid steps; of equal ones the earliest gets the gradient."""

    def step(self, x, valid):
        return np.where(valid[:, :, None], x, x.dtype.type(-np.inf)).argmax(axis=0)

    def kept(self, N, width, dtype):
        return N * width * WIDE

    def scratch(self, T, N, width, dtype):
        return 2 * T * N * width * dtype.itemsize  # NumPy's argmax over the first axis makes a copy


class MeanPool(Pool):
    """The mean of each feature over the valid steps."""

    def pool(self, x, valid):
        # Step after step, never pairwise: the order of the sum may not depend on T, N or K.
        total = np.zeros(x.shape[1:], x.dtype)
        for x_t, valid_t in zip(x, valid, strict=True):
            np.add(total, x_t, out=total, where=valid_t[:, None])
        count = np.maximum(valid.sum(axis=0), 1).astype(x.dtype)[:, None]
        return total / count, count

    def spread(self, dy, valid, kept, dx):
        np.copyto(dx, dy / kept, where=valid[:, :, None])
