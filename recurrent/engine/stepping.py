"""Packed weights for repeated calls, and a cell that runs one time step per call."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..equations.cell import Cell
from .params import Sizes, state_type, trim_states, with_biases


class PackedParams:
    """A snapshot of checked params, packed for the forward kernel: the result of `Engine.pack`."""

    def __init__(self, cell: Cell, kernels: Any, sizes: Sizes, params: Any):
        self.cell, self.kernels, self.sizes = cell, kernels, sizes
        self.dtype = params.W_ih.dtype
        self.weights = kernels.pack_forward(cell, with_biases(cell, params))


class Stepper:
    """A cell that runs one time step per call and holds its state: the result of `Engine.stepper`.

    The outputs equal those of `Engine.forward` over the sequence, bit for bit. The state before the
    last step is kept, so that `rewind` can take that step back.

    Parameters
    ----------
    packed : PackedParams
        The weights.
    dtypes : tuple of str
        Names of the dtypes that x_t may have.
    initial : State, optional
        The state that every sequence starts from, each array of shape (H,); zeros by default.
    """

    def __init__(self, packed: PackedParams, dtypes: tuple[str, ...], initial: Any = None):
        self.cell, self.sizes, self.dtype = packed.cell, packed.sizes, packed.dtype
        self.dtypes, self._weights, self._initial = dtypes, packed.weights, initial
        self._step = packed.kernels.step  # a function can be pickled, its module cannot
        self.reset()

    def reset(self) -> None:
        """Return to the initial state; the batch size may change afterwards."""
        self.shape: tuple[int, ...] | None = None  # shape of x_t, set by the first call
        self.steps = 0  # since the initial state; half steps % 2 of each array is the state

    def rewind(self, steps: int) -> None:
        """Return to the state after `steps` steps, which may be one fewer than there were.

        Parameters
        ----------
        steps : int
            How many steps since the initial state count.
        """
        if steps == 0:
            self.reset()
        self.steps = steps

    def __call__(self, x_t: np.ndarray) -> np.ndarray:
        """Run one time step.

        Parameters
        ----------
        x_t : ndarray, shape (N, D) or (D,), float32 or float64
            The input.

        Returns
        -------
        ndarray, shape (N, H) or (H,)
            The output.

        Raises
        ------
        ValueError
            If x_t has another shape than in the steps before.
        TypeError
            If x_t does not have the dtype of the params.
        """
        x_t = checks.array(x_t, "x_t", self.dtypes)
        if x_t.shape != self.shape or x_t.dtype != self.dtype:
            self._begin(x_t)
        y = np.empty(self._y_shape, self.dtype)
        x = x_t.reshape(self._N, self.sizes.D)
        self._step(self.cell, self._weights, x, self._h, self._states, self.steps & 1, y)
        self.steps += 1
        return y if x_t.ndim == 2 else y[0]

    def _begin(self, x_t):
        checks.same_dtype(x_t, "x_t", self.dtype, "params")
        D, H, P = self.sizes
        if x_t.ndim not in (1, 2) or x_t.shape[-1] != D:
            raise ValueError(f"x_t must be (N, D={D}) or (D={D},), got {x_t.shape}")
        if self.shape is not None:
            raise ValueError(
                f"x_t must be {self.shape} as in the steps before, got {x_t.shape}; "
                "call reset to change it"
            )
        self._N = N = x_t.shape[0] if x_t.ndim == 2 else 1
        self._y_shape = N, P
        self._h = np.zeros((2, N, P), self.dtype)
        self._states = np.zeros((2, len(self.cell.states) - 1, N, H), self.dtype)
        if self._initial is not None:
            self._h[0] = self._initial[0]
            for k, a in enumerate(self._initial[1:]):
                self._states[0, k, :, : a.shape[-1]] = a
        self.shape = x_t.shape  # last: with a shape, the arrays are there

    @property
    def state(self) -> Any:
        """The state after the last step, as `Engine.forward` returns it; None before the first."""
        if self.shape is None:
            return None
        now = self.steps & 1
        copies = self._h[now].copy(), *self._states[now].copy()
        arrays = trim_states(self.cell, copies, self.sizes.P)
        return state_type(self.cell.states)(*(a if len(self.shape) == 2 else a[0] for a in arrays))
