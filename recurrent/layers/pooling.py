"""Pooling layers: one vector per sequence, from its valid steps only (many-to-one).

x (T, N, K) gives y (N, K), and x (T, K) gives (K,). `lengths` (N,) or a mask (T, N) marks the valid
steps; a sequence without any gives zeros. Values of x in the padding do not matter.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..engine.footprint import WIDE, Footprint
from ..engine.stepping import StateStepper
from .base import Gradients, Layer


class Pool(Layer, abstract=True):
    """Base class of pooling layers; a subclass implements `pool` and `spread`."""

    needs_sequence, returns_sequence = True, False

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        checks.modes(record, training)
        x = checks.array(x, "x")
        if x.ndim not in (2, 3):
            raise ValueError(f"x must be (T, N, K) or (T, K), got {x.shape}")
        if state is not None:
            raise ValueError(
                f"state must be None: {type(self).__name__} continues in a stream only, see stream"
            )
        if x.ndim == 2 and lengths is not None:
            raise ValueError(f"lengths need a batch: x must be (T, N, K), got {x.shape}")
        batch = x if x.ndim == 3 else x[:, None]
        T, N = batch.shape[:2]
        if lengths is None:
            valid = np.ones((T, N), bool)
        else:
            valid = checks.inside(checks.valid_steps(lengths, T, N), T)
        y, saved = self.pool(batch, valid) if T else (np.zeros(batch.shape[1:], x.dtype), None)
        return y.reshape(x.shape[1:]), None, (x.shape, x.dtype, valid, saved) if record else None

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None, sums=None):
        checks.tape(tape, tuple, 4)
        shape, dtype, valid, saved = tape
        dy = checks.array(dy, "dy")
        checks.same_dtype(dy, "dy", dtype, "x")
        checks.shape(dy, "dy", shape[1:], "the shape of y")
        dx = np.zeros((*valid.shape, shape[-1]), dtype)
        if dx.size:
            self.spread(dy.reshape(dx.shape[1:]), valid, saved, dx)
        return Gradients(dx.reshape(shape), {}, None)

    def footprint(self, T, N, width, dtype, ragged, training, table=None):
        y = N * width * dtype.itemsize
        tape = T * N + self.saved_size(N, width, dtype) if training else 0
        return Footprint(tape, y, 2 * y + self.scratch_size(T, N, width, dtype), y, T * y)

    def saved_size(self, N: int, width: int, dtype: np.dtype) -> int:
        """Return the bytes of the arrays that `pool` saves for `spread`."""
        return 0

    def scratch_size(self, T: int, N: int, width: int, dtype: np.dtype) -> int:
        """Return the bytes of the largest temporaries of `pool`."""
        return 0

    def stepper(self):
        return PoolStepper(type(self))

    def pool(self, x: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, Any]:
        """Return y (N, K) and what `spread` needs, from x (T, N, K) and valid (T, N), T >= 1."""
        raise NotImplementedError

    def spread(self, dy: np.ndarray, valid: np.ndarray, saved: Any, dx: np.ndarray) -> None:
        """Write the gradient of x to dx (T, N, K), which is zeros, from dy (N, K)."""
        raise NotImplementedError

    @staticmethod
    def added(total: np.ndarray, new: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the total (N, K) after a step x; where `new` (N, 1) is true, it is the first."""
        raise NotImplementedError

    @staticmethod
    def answer(total: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Return y (N, K) after `steps` (N, 1) steps, at least one."""
        return total.copy()


class SelectPool(Pool, abstract=True):
    """Base class of pooling layers in which each entry of y is copied from one time step."""

    def pool(self, x, valid):
        index = np.broadcast_to(self.step(x, valid), x.shape[1:])[None]
        chosen = np.take_along_axis(x, index, axis=0)[0]
        return np.where(np.any(valid, axis=0)[:, None], chosen, x.dtype.type(0)), index

    def spread(self, dy, valid, saved, dx):
        dy = np.where(np.any(valid, axis=0)[:, None], dy, dy.dtype.type(0))
        np.put_along_axis(dx, saved, dy[None], axis=0)

    def step(self, x: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Return the chosen time step of each entry, (N, K), or of each sequence, (N, 1)."""
        raise NotImplementedError


class Last(SelectPool):
    """Takes the last valid time step of each sequence.

    Parameters
    ----------
    bidirectional : bool, default False
        For the output of a bidirectional layer with merge="concat". The reverse direction ends at
        the first time step, so the second half of the features is taken from the first valid step.
        y then equals `state.summary` of that layer.
    reverse : bool, default False
        For the output of a layer with reverse=True, which ends at the first time step: y is that of
        the first valid step, and equals h of the final state of that layer.

    Raises
    ------
    TypeError
        If bidirectional or reverse is not a bool.
    ValueError
        If both are true.
    """

    def __init__(self, bidirectional: bool = False, reverse: bool = False):
        flags = dict(bidirectional=bidirectional, reverse=reverse)
        chosen = {name: True for name, value in flags.items() if checks.flag(value, name)}
        if len(chosen) > 1:
            raise ValueError(
                "bidirectional=True is for both directions, reverse=True for a reverse one alone: "
                "leave one of them out"
            )
        super().__init__(**chosen)
        self.bidirectional, self.reverse = bidirectional, reverse

    def check_below(self, below):
        super().check_below(below)
        states = (layer.state_delays for layer in reversed(below) if layer.state_delays)
        delays = set(next(states, {}).values())
        if self.reverse != (delays == {-1}):
            raise ValueError(
                "Last(reverse=True) must follow a layer with reverse=True"
                if self.reverse
                else "a layer with reverse=True ends at the first time step: "
                "use Last(reverse=True), MeanPool or MaxPool"
            )
        if not self.bidirectional and delays == {1, -1}:
            raise ValueError(
                "at the last step the reverse direction has read a single step: "
                "use Last(bidirectional=True), MeanPool or MaxPool"
            )
        source = next((layer for layer in reversed(below) if layer.out_features is not None), None)
        if self.bidirectional and source is not None and getattr(source, "merge", None) != "concat":
            raise ValueError(
                "Last(bidirectional=True) must follow a bidirectional layer with merge='concat', "
                f"got {type(source).__name__}"
            )

    def step(self, x, valid):
        if self.reverse:
            return valid.argmax(axis=0)[:, None]
        last = (len(valid) - 1 - valid[::-1].argmax(axis=0))[:, None]
        if not self.bidirectional:
            return last
        if x.shape[-1] % 2:
            raise ValueError(
                f"x must have an even number of features, one half per direction, got {x.shape}"
            )
        reverse_half = np.arange(x.shape[-1]) >= x.shape[-1] // 2
        return np.where(reverse_half, valid.argmax(axis=0)[:, None], last)

    def saved_size(self, N, width, dtype):
        return N * width * WIDE if self.bidirectional else N * WIDE

    def stepper(self):
        if self.options:
            raise ValueError(
                f"{self!r} cannot run step by step: "
                "the reverse direction starts at the last time step"
            )
        return super().stepper()

    @staticmethod
    def added(total, new, x):
        return x.copy()


class MaxPool(SelectPool):
    """Takes the maximum of each feature over the valid time steps.

    If several steps share the maximum, the earliest receives the gradient.
    """

    def __init__(self):
        super().__init__()

    def step(self, x, valid):
        return np.where(valid[:, :, None], x, x.dtype.type(-np.inf)).argmax(axis=0)

    @staticmethod
    def added(total, new, x):
        # The earliest of equal values is kept, -0.0 and 0.0 too, and the first NaN, as by argmax.
        return np.where(new | (x > total) | (np.isnan(x) & ~np.isnan(total)), x, total)

    def saved_size(self, N, width, dtype):
        return N * width * WIDE

    def scratch_size(self, T, N, width, dtype):
        return 2 * T * N * width * dtype.itemsize  # NumPy's argmax over the first axis makes a copy


class MeanPool(Pool):
    """Takes the mean of each feature over the valid time steps."""

    def __init__(self):
        super().__init__()

    def pool(self, x, valid):
        # Not x.sum(axis=0), whose pairwise order depends on the shape: results must not.
        total = np.zeros(x.shape[1:], x.dtype)
        for x_t, valid_t in zip(x, valid, strict=True):
            np.add(total, x_t, out=total, where=valid_t[:, None])
        count = np.maximum(valid.sum(axis=0), 1).astype(x.dtype)[:, None]
        return total / count, count

    def spread(self, dy, valid, saved, dx):
        np.copyto(dx, dy / saved, where=valid[:, :, None])

    @staticmethod
    def added(total, new, x):
        return total + x

    @staticmethod
    def answer(total, steps):
        return total / steps.astype(total.dtype)


class PoolState(NamedTuple):
    """The state of a pooling layer in a stream.

    Parameters
    ----------
    total : ndarray, shape (N, K) or (K,)
        Sum, maximum or last value of the steps so far.
    steps : ndarray, shape (N,) or (), int64
        Number of steps so far.
    """

    total: Any
    steps: Any


class PoolStepper(StateStepper):
    """A pooling layer that returns its answer so far in each step.

    It equals that of `forward` for the steps so far, bit for bit.

    Parameters
    ----------
    pool : type
        The class of the layer.
    """

    _first, _buffers = (0, 0), ("_halves",)

    def __init__(self, pool: type[Pool]):
        self.pool = pool
        self.reset()

    def __call__(self, x_t: Any) -> np.ndarray:
        x_t = checks.array(x_t, "x_t")
        if self.shape is None or x_t.shape != self.shape or x_t.dtype != self._halves[0][0].dtype:
            self._begin(x_t)
        total, steps = self._arrays()
        x = x_t.reshape(total.shape)
        new = self.pool.added(total, steps[:, None] == 0, x), steps + 1
        self._halves[1 - (self.steps & 1)] = new
        self.steps += 1
        return self.pool.answer(new[0], new[1][:, None]).reshape(x_t.shape)

    def _begin(self, x_t):
        if x_t.ndim not in (1, 2):
            raise ValueError(f"x_t must be (N, K) or (K,), got {x_t.shape}")
        self._check_batch(x_t)
        if self.shape is not None or self._start is not None:
            before = self._halves[0][0] if self.shape is not None else self._start.total
            checks.same_dtype(x_t, "x_t", before.dtype, "the state")
            if x_t.shape[-1] != before.shape[-1]:
                raise ValueError(f"x_t must have {before.shape[-1]} features, got {x_t.shape}")
        batch = x_t.reshape(-1, x_t.shape[-1])
        self._halves = [(np.zeros_like(batch), np.zeros(len(batch), np.int64)), None]
        self._load(x_t)

    def _arrays(self):
        return self._halves[self.steps & 1]

    def _checked(self, value):
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise TypeError(f"state must be PoolState(total, steps), got {checks.shown(value)}")
        total = checks.array(value[0], "state.total")
        if total.ndim not in (1, 2):
            raise ValueError(f"state.total must be (N, K) or (K,), got {total.shape}")
        steps = checks.integers(value[1], "state.steps")
        checks.shape(steps, "state.steps", total.shape[:-1], "(N,)" if total.ndim == 2 else "()")
        if (steps < 0).any():
            raise ValueError(f"state.steps must be at least 0, got {steps.min()}")
        return total, steps.astype(np.int64)

    def _read_only(self, state):
        arrays = [np.array(a) for a in state]
        for a in arrays:
            a.flags.writeable = False
        return PoolState(*arrays)
