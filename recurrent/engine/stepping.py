"""Weights laid out once for many calls, and a cell that is stepped with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks
from .tape import as_wide

if TYPE_CHECKING:
    from .engine import Engine


class PackedParams:
    """Weights of one moment, checked and laid out for the forward kernel: what `Engine.pack` returns."""

    def __init__(self, engine: Engine, params: Any):
        self.cell, self.kernels, self.dtype = engine.cell, engine.kernels, params.W_ih.dtype
        self.sizes = engine.sizes(params)
        self.weights = engine.kernels.pack_forward(engine.cell, engine.with_biases(params))


class Stepper:
    """One cell, one time step a call; the state stays here. Bitwise equal to `forward` over the sequence."""

    def __init__(self, engine: Engine, params: Any, initial: Any = None):
        self.engine, packed, self._initial = engine, engine.pack(params), initial
        self.dtype, self.sizes, self._weights = packed.dtype, packed.sizes, packed.weights
        self.reset()

    def reset(self) -> None:
        """Start again from the beginning; the next call may bring another batch size."""
        self.shape: tuple[int, ...] | None = None  # of x_t, from the first call on

    def __call__(self, x_t: np.ndarray) -> np.ndarray:
        """y_t (N, H) from x_t (N, D), or (H,) from (D,). Raises ValueError for another shape than before, TypeError."""
        x_t = checks.array(x_t, "x_t", self.engine.dtypes)
        if x_t.shape != self.shape or x_t.dtype != self.dtype:
            self._begin(x_t)
        y = np.empty(self._y_shape, self.dtype)
        self.engine.kernels.step(
            self.engine.cell,
            self._weights,
            x_t.reshape(self._N, self.sizes.D),
            self._h,
            self._rest,
            y,
        )
        return y if len(self.shape) == 2 else y[0]

    def _begin(self, x_t):
        checks.same_dtype(x_t, "x_t", self.dtype, "params")
        D, H, P = self.sizes
        if x_t.ndim not in (1, 2) or x_t.shape[-1] != D:
            raise ValueError(f"x_t must be (N, D={D}) or (D={D},), got {x_t.shape}")
        if self.shape is not None:
            raise ValueError(
                f"x_t must be {self.shape} as in the steps before, got {x_t.shape}; reset to change it"
            )
        self.shape, self._N = x_t.shape, x_t.shape[0] if x_t.ndim == 2 else 1
        self._y_shape = self._N, P
        self._h = np.zeros((2 * self._N, P), self.dtype)
        self._rest = np.zeros((len(self.engine.cell.states) - 1, self._N, H), self.dtype)
        if self._initial is not None:
            self._h[: self._N] = self._initial[0]
            for k, a in enumerate(self._initial[1:]):
                self._rest[k, :, : a.shape[-1]] = a

    @property
    def state(self) -> Any:
        """The state after the last step, as `forward` returns it; None before the first."""
        if self.shape is None:
            return None
        arrays = as_wide(
            self.engine.cell, (self._h[: self._N].copy(), *self._rest.copy()), self.sizes.P
        )
        return self.engine.State(*(arrays if len(self.shape) == 2 else (a[0] for a in arrays)))
