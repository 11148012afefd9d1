"""`stream()` of an estimator: a prediction after every time step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import checks
from ..data import Scaler
from ..layers.stream import Stream


class PredictionStream:
    """Predicts after every step of a sequence, in constant time, with the bits of the whole call.

    `stream()` of an estimator makes one. It has a snapshot of the weights.

    Parameters
    ----------
    network : Stream
        The network, step by step.
    scaler : Scaler or None
        The scaling of x.
    width : int
        Number of features, D.
    answer : callable
        Turns the outputs of the network, (N, K), into predictions, an array or a list of arrays.
    """

    def __init__(
        self, network: Stream, scaler: Scaler | None, width: int, answer: Callable[[Any], Any]
    ):
        self.network, self.scaler, self.width, self.answer = network, scaler, width, answer

    def step(self, x_t: Any) -> Any:
        """Read one time step.

        Parameters
        ----------
        x_t : ndarray, shape (D,) or (N, D), or a number
            The step, in the units of X in `fit`; of N sequences at once (N, D); of a univariate
            series a number is enough.

        Returns
        -------
        Any
            What the estimator's method returns for the steps so far: for (N, D) of N sequences,
            for (D,) or a number of the one sequence.
        """
        a = checks.as_array(x_t, "x_t")
        if a.dtype.kind not in "fiub":
            raise TypeError(f"x_t must be numbers, got {a.dtype.name}")
        a = a.reshape(1) if a.ndim == 0 and self.width == 1 else a
        if a.ndim not in (1, 2) or a.shape[-1] != self.width:
            raise ValueError(f"x_t must be (D,) or (N, D) with D = {self.width}, got {a.shape}")
        if not np.isfinite(a).all():
            raise ValueError("x_t must be finite, got NaN or infinity")
        if self.scaler is not None:
            a = self.scaler.transform(a)
        with np.errstate(over="ignore"):
            read = a.astype(np.float32)
        if not np.isfinite(read).all():
            raise ValueError("x_t is too large for float32, as X of predict would be")
        y = self.network.step(read)
        found = self.answer(y.reshape(-1, y.shape[-1]))
        if a.ndim == 2:
            return found
        return [part[0] for part in found] if isinstance(found, list) else found[0]

    def reset(self, rows: Any = None) -> None:
        """Begin a new sequence.

        Parameters
        ----------
        rows : sequence of int, or array of bool, shape (N,), optional
            Those of N sequences that begin again; all by default.
        """
        self.network.reset(rows)

    @property
    def state(self) -> Any:
        """The state of the network, as `recurrent.Sequential.stream` has it; can be assigned."""
        return self.network.state

    @state.setter
    def state(self, value: Any) -> None:
        self.network.state = value

    def copy(self) -> PredictionStream:
        """Return a stream that goes on from here; neither changes the other one.

        Returns
        -------
        PredictionStream
        """
        return type(self)(self.network.copy(), self.scaler, self.width, self.answer)

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def __repr__(self):
        return f"<PredictionStream of {self.network!r}>"
