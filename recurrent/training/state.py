"""The training state: with the model and the data, all that `fit` needs to resume."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..models.base import Model
from ..optim import Optimizer
from .history import History


@dataclass(eq=False)
class TrainingState:
    """The training state: with the model and the data, `fit` resumes from it bit for bit.

    `fit(..., resume=state)` continues from a state and updates it after each update, so that a
    callback can write it to a checkpoint. An empty state starts a new training run.

    Parameters
    ----------
    optimizer : Optimizer, optional
        The optimiser, with its own state.
    history : History
        Losses and validations so far.
    cursor : int, optional
        How many batches have been read, over all epochs: the `cursor` of the batches, if they have
        one. None leaves that of the batches alone.
    carried : tuple, optional
        Model state from which the next batch continues, if it carries the state: one entry per
        layer, arrays of shape (N, H).
    past : ndarray, shape (P, N) or (P, N, D), optional
        With a look-back: the inputs after `carried` through which the next gradient goes back.
    latest : ndarray, shape (size,), float32 or float64, optional
        Parameters after the last update, like `model.flat`, if the model holds the best or the
        averaged ones instead.
    average : ndarray, shape (size,), float32 or float64, optional
        Averaged parameters, of a training with `ema`.
    shards : int, optional
        Number of shards of a batch, once training has begun.
    seed : int, optional
        Seed of the dropout masks of the shards, if there are several.

    Examples
    --------
    >>> from recurrent import LSTM, Linear, Sequential, fit
    >>> from recurrent.data import Windows
    >>> from recurrent.losses import mean_squared_error
    >>> from recurrent.optim import Adam
    >>> x = np.sin(0.3 * np.arange(101, dtype=np.float32)).reshape(-1, 1, 1)
    >>> model = Sequential(LSTM(1, 8), Linear(8, 1), rng=0)
    >>> windows, state = Windows(x[:-1], x[1:], 20), TrainingState(Adam(1e-2))
    >>> fit(model, windows, mean_squared_error, updates=3, resume=state, progress=False).updates
    3
    >>> fit(model, windows, mean_squared_error, updates=9, resume=state, progress=False).updates
    9
    """

    optimizer: Optimizer | None = None
    history: History = field(default_factory=History)
    cursor: int | None = None
    carried: Any = field(default=None, repr=False)
    past: np.ndarray | None = field(default=None, repr=False)
    latest: np.ndarray | None = field(default=None, repr=False)
    average: np.ndarray | None = field(default=None, repr=False)
    shards: int | None = None
    seed: int | None = field(default=None, repr=False)
    # While training runs the model holds the latest parameters, and the best ones are here.
    best: np.ndarray | None = field(default=None, init=False, repr=False)

    def best_is_lost(self, model: Model, update: int | None) -> bool:
        """Return whether the best parameters are neither in the model nor here.

        So it is after training without `keep_best`, or without validation after training with it.

        Parameters
        ----------
        model : Model
            The model, as training has left it.
        update : int or None
            The update after which the parameters were best.

        Returns
        -------
        bool
        """
        if update is None or update == self.history.updates:
            return False
        if self.latest is None or self.history.best is None or self.history.best[0] != update:
            return True
        return self.average is not None and np.array_equal(model.flat, self.average)

    def restore_latest(self, model: Model) -> None:
        """Put the latest parameters back into the model, and keep the best ones in `best`.

        Parameters
        ----------
        model : Model
        """
        self.best = None if self.history.best is None else model.flat.copy()
        if self.latest is not None:
            model.flat[:] = self.latest
            self.latest = None

    def restore_best(self, model: Model) -> None:
        """Put the best parameters into the model, and keep the latest ones in `latest`.

        Without best ones the averaged parameters take their place, if there are any.

        Parameters
        ----------
        model : Model
        """
        best, update = self.best, (self.history.best or (None,))[0]
        if self.average is not None:
            best = self.average if best is None else best
        elif update == self.history.updates:
            best = None  # the latest ones are the best
        if best is not None:
            self.latest = model.flat.copy()
            model.flat[:] = best
        self.best = None
