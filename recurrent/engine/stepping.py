"""Packed weights for repeated calls, and what runs one time step per call and holds a state."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import checks
from ..equations.cell import Cell
from ..kernels import memory
from ..kernels.quantized import Quantized, dequantized
from .params import Sizes, check_state, kernel_params, state_type, trim_states


class PackedParams:
    """A snapshot of checked params, packed for the forward kernel: the result of `Engine.pack`.

    The matrices of `params` may be quantised.
    """

    def __init__(self, cell: Cell, kernels: Any, sizes: Sizes, params: Any):
        self.cell, self.kernels, self.sizes = cell, kernels, sizes
        self.dtype = params.W_ih.dtype
        self._quantized = params if isinstance(params.W_ih, Quantized) else None
        self.weights = kernels.pack_forward(cell, kernel_params(cell, params))

    def dequantized(self) -> Any:
        """Return Params of the rounded weights, float32, which give the same bits.

        Returns
        -------
        Params

        Raises
        ------
        ValueError
            If the weights are not quantised.
        """
        if self._quantized is None:
            raise ValueError('the weights are not quantised; pack(params, weights="int8") does it')
        return dequantized(self._quantized)


class StateStepper:
    """Base class of what runs one time step per call and holds its state.

    The state before the last step is kept, so that `rewind` can take that step back. A subclass
    calls `_load` in its first step, and then writes the state after each step beside the one
    before it. It implements `_checked`, which returns a copy of a state that fits, and `_arrays`,
    which returns the arrays (N, ...) of the present state.

    Attributes
    ----------
    steps : int
        Number of steps since the state was set.
    shape : tuple of int or None
        Shape of x_t, as the first step sets it.
    """

    _first: Sequence[Any]  # the initial state of each sequence, one entry for each of `_arrays`
    _buffers: tuple[str, ...]  # names of the attributes that steps write to
    _start: Any = None  # the state that was set, arrays (N, ...) or (...)

    def reset(self, rows: Any = None) -> None:
        """Return to the initial state.

        Parameters
        ----------
        rows : sequence of int, or array of bool, shape (N,), optional
            The sequences of the batch that return; the others keep their state. All by default;
            then N may change.

        Raises
        ------
        ValueError
            If there is a single sequence, or `rows` has another shape.
        TypeError
            If `rows` are no ints.
        IndexError
            If there is no such row.
        """
        if rows is None:
            self._start = None
            self.rewind(0)
            return
        rows = _checked_rows(rows, self.rows)
        if self.shape is not None:
            _set_rows(self._arrays(), rows, self._first)
        elif self._start is not None:
            arrays = [a.copy() for a in self._start]
            _set_rows(arrays, rows, self._first)
            self._start = self._read_only(arrays)

    def rewind(self, steps: int) -> None:
        """Return to the state after `steps` steps, which may be one fewer than there were.

        Parameters
        ----------
        steps : int
            How many steps count since the state was set.
        """
        if steps == 0:
            self.shape: tuple[int, ...] | None = None
        self.steps = steps

    @property
    def rows(self) -> tuple[int, ...] | None:
        """Shape of the batch, (N,), or () for one sequence; None while any fits."""
        if self.shape is not None:
            return self.shape[:-1]
        return None if self._start is None else self._start[0].shape[:-1]

    @property
    def state(self) -> Any:
        """The state after the last step, as `forward` returns it; None in the initial state.

        It is a copy, whose arrays cannot be written. Assigning sets the state; None stands for the
        initial one.
        """
        if self.shape is None:
            return self._start
        arrays = self._arrays()
        return self._read_only(arrays if len(self.shape) == 2 else [a[0] for a in arrays])

    @state.setter
    def state(self, value: Any) -> None:
        start = None if value is None else self._read_only(self._checked(value))
        self.reset()
        self._start = start

    def copy(self) -> Any:
        """Return a stepper that goes on from the same state; the weights are shared.

        Returns
        -------
        Stepper
            Neither stepper changes the other one.
        """
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        for name in self._buffers:
            setattr(new, name, copy.deepcopy(getattr(self, name, None)))
        return new

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def _load(self, x_t) -> None:
        """Write the state to start from to `_arrays`, once `steps` is 0 and they fit x_t."""
        for a, first in zip(self._arrays(), self._start or self._first, strict=True):
            a[...] = first
        self.shape = x_t.shape  # last: with a shape, the arrays are there

    def _check_batch(self, x_t) -> None:
        """Raise ValueError unless x_t has the batch of the steps before, or of the state."""
        if self.rows not in (None, x_t.shape[:-1]):
            before = "as in the steps before" if self.shape is not None else "as the state has"
            raise ValueError(
                f"x_t must be {(*self.rows, x_t.shape[-1])} {before}, got {x_t.shape}; "
                "call reset to change it"
            )

    def _checked(self, value) -> Any:
        raise NotImplementedError

    def _arrays(self) -> Sequence[np.ndarray]:
        raise NotImplementedError

    def _read_only(self, state: Any) -> Any:
        """Return a copy of a state that cannot be written."""
        raise NotImplementedError


def _set_rows(arrays: Sequence[np.ndarray], rows: np.ndarray, values: Sequence[Any]) -> None:
    for a, value in zip(arrays, values, strict=True):
        a[rows] = value


def _checked_rows(rows: Any, batch: tuple[int, ...] | None) -> np.ndarray:
    """Return the rows of a batch as ints; raise an error unless they are such."""
    chosen = checks.as_array(rows, "rows")
    if batch == ():
        raise ValueError("rows needs a batch, but x_t is a single sequence: call reset()")
    if chosen.dtype == bool:
        if batch is not None:
            checks.shape(chosen, "rows as a mask", batch, "(N,)")
        return np.flatnonzero(chosen)
    chosen = checks.integers(chosen if chosen.size else chosen.astype(np.int64), "rows")
    if chosen.ndim != 1:
        raise ValueError(f"rows must be a sequence of ints, such as [3], got {checks.shown(rows)}")
    for row in chosen:
        if row < 0 or (batch is not None and row >= batch[0]):
            last = "" if batch is None else batch[0] - 1
            raise IndexError(f"rows must be in 0..{last}, got {row}")
    return chosen


class Stepper(StateStepper):
    """A cell that runs one time step per call and holds its state: the result of `Engine.stepper`.

    The outputs equal those of `Engine.forward` over the sequence, bit for bit. The state before the
    last step is kept, so that `rewind` can take that step back. A stepper can be copied and
    pickled.

    Parameters
    ----------
    packed : PackedParams
        The weights.
    dtypes : tuple of str
        Names of the dtypes that x_t may have.
    initial : State, optional
        The state that every sequence starts from, each array of shape (H,); zeros by default.
    """

    _buffers = "_h", "_states"

    def __init__(self, packed: PackedParams, dtypes: tuple[str, ...], initial: Any = None):
        self.cell, self.sizes, self.dtype = packed.cell, packed.sizes, packed.dtype
        self.dtypes, self._weights = dtypes, packed.weights
        self._first = (0,) * len(self.cell.states) if initial is None else initial
        self._step = packed.kernels.step  # a function can be pickled, its module cannot
        self.reset()

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
            self.begin(x_t)
        y = np.empty(self._y_shape, self.dtype)
        x = x_t.reshape(self._N, self.sizes.D)
        self._step(self.cell, self._weights, x, self._h, self._states, self.steps & 1, y)
        self.steps += 1
        return y if x_t.ndim == 2 else y[0]

    def begin(self, x_t: np.ndarray) -> tuple[int, ...]:
        """Check x_t and allocate what all steps need, if that is not done, see `Chain`.

        Parameters
        ----------
        x_t : ndarray, shape (N, D) or (D,), float32 or float64
            The input.

        Returns
        -------
        tuple of int
            Shape of the output.

        Raises
        ------
        ValueError
            If x_t has another shape than in the steps before.
        TypeError
            If x_t does not have the dtype of the params.
        """
        if x_t.shape != self.shape or x_t.dtype != self.dtype:
            self._begin(x_t)
        return (*x_t.shape[:-1], self.sizes.P)

    def link(self) -> tuple:
        """Return the weights and the memory of the states, as `Backend.chain` takes them.

        Returns
        -------
        tuple
            The packed weights, h and the other states.
        """
        return self._weights, self._h, self._states

    def _begin(self, x_t):
        checks.same_dtype(x_t, "x_t", self.dtype, "params")
        D, H, P = self.sizes
        if x_t.ndim not in (1, 2) or x_t.shape[-1] != D:
            raise ValueError(f"x_t must be (N, D={D}) or (D={D},), got {x_t.shape}")
        self._check_batch(x_t)
        self._N = N = x_t.shape[0] if x_t.ndim == 2 else 1
        self._y_shape = N, P
        self._h = memory.zeros((2, N, P), self.dtype)
        self._states = memory.zeros((2, len(self.cell.states) - 1, N, H), self.dtype)
        self._load(x_t)

    def _arrays(self):
        now = self.steps & 1
        return trim_states(self.cell, [self._h[now], *self._states[now]], self.sizes.P)

    def _checked(self, value):
        rows = np.shape(value[0])[:-1] if isinstance(value, (tuple, list)) and value else ()
        rows = rows if len(rows) == 1 else ()
        return check_state(
            self.cell, value, "state", rows, self.sizes, self.dtype, self.dtypes, "the weights"
        )

    def _read_only(self, state):
        arrays = [a.copy() for a in state]
        for a in arrays:
            a.flags.writeable = False
        return state_type(self.cell.states)(*arrays)
