"""The learning-rate range test: which rates make the loss fall, and from which on it grows."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import checks, optim, schedules
from ..data import Batch
from ..layers.quantized import refuse_quantized
from ..losses import Loss
from ..models.base import Model
from ..optim import Optimizer
from .evaluation import check_model
from .fit import fit
from .history import History


@dataclass
class RangeTest:
    """The losses of a learning-rate range test. `viz.curve` draws it.

    Parameters
    ----------
    rates : list of float
        Learning rate of each update.
    losses : list of float
        Loss of each update, before its parameters change.
    smooth : float
        Smoothing factor of `smoothed`.
    """

    rates: list[float] = field(default_factory=list, repr=False)
    losses: list[float] = field(default_factory=list, repr=False)
    smooth: float = 0.8

    @property
    def smoothed(self) -> list[float]:
        """Exponential mean of the losses, unbiased at the beginning."""
        total, weight, means = 0.0, 0.0, []
        for loss in self.losses:
            total = self.smooth * total + loss
            weight = self.smooth * weight + 1
            means.append(total / weight)
        return means

    @property
    def suggestion(self) -> float:
        """The rate at which the smoothed loss falls most steeply, before its lowest point.

        NaN if it does not fall.
        """
        means = np.array(self.smoothed)
        stop = int(means.argmin()) + 1 if means.size else 0
        if stop < 3:
            return math.nan
        slopes = np.gradient(means[:stop])
        return self.rates[int(slopes.argmin())]

    def __str__(self) -> str:
        tried = f"{self.rates[0]:.3g} to {self.rates[-1]:.3g}" if self.rates else "none"
        return f"rates {tried}; the loss falls most steeply at {self.suggestion:.3g}"


def lr_range_test(
    model: Model,
    batches: Iterable[Batch],
    loss: Loss,
    optimizer: Optimizer | None = None,
    *,
    lowest: float = 1e-6,
    highest: float = 1.0,
    updates: int = 100,
    stop_at: float = 4.0,
    clip_norm: float | None = None,
) -> RangeTest:
    """Train a copy of a model while the learning rate grows, and record the losses.

    Good rates lie where the loss falls steeply, well below the rate at which it begins to grow.
    The model, the optimiser and the cursor of the batches stay as they are.

    Parameters
    ----------
    model : Model
        The model; a copy is trained.
    batches : sized iterable of Batch
        Training data, as `fit` takes them.
    loss : callable
        `loss(y, targets, lengths=...)` returns the value and the gradient with respect to y.
    optimizer : Optimizer, optional
        The kind of optimiser and its options; `optim.Adam()` by default. Its own rate is not used.
    lowest : float
        Learning rate of the first update.
    highest : float
        Learning rate of the last update.
    updates : int
        Number of updates, at least 2.
    stop_at : float
        End the test once the smoothed loss is this many times its lowest; above 1.
    clip_norm : float, optional
        Clip the norm of the gradient to this limit.

    Returns
    -------
    RangeTest

    Raises
    ------
    ValueError
        If an option is out of range.
    TypeError
        If an argument has the wrong type.

    References
    ----------
    L. N. Smith, "Cyclical learning rates for training neural networks", WACV 2017.

    Examples
    --------
    >>> from recurrent import LSTM, Linear, Sequential
    >>> from recurrent.losses import mean_squared_error
    >>> x = np.sin(0.3 * np.arange(101, dtype=np.float32)).reshape(-1, 1, 1)
    >>> model = Sequential(LSTM(1, 8), Linear(8, 1), rng=0)
    >>> test = lr_range_test(model, [(x[:-1], x[1:])], mean_squared_error, updates=50)
    >>> 1e-3 < test.suggestion < 1
    True
    """
    check_model(model, loss)
    refuse_quantized(model.parameters, "lr_range_test trains")
    lowest = checks.number(lowest, "lowest", above=0)
    highest = checks.number(highest, "highest", above=lowest)
    updates = checks.integer(updates, "updates", 2)
    stop_at = checks.number(stop_at, "stop_at", above=1)
    rule = optim.Adam() if optimizer is None else optimizer
    checks.instance(rule, Optimizer, "optimizer", "an Optimizer such as optim.Adam()")
    rule = copy.deepcopy(rule)
    rule.steps, rule.arrays = 0, {}
    rule.lr = schedules.Exponential(lowest, (highest / lowest) ** (1 / (updates - 1)))
    test, best = RangeTest(), math.inf

    def follow(update: int, history: History) -> bool:
        nonlocal best
        test.rates.append(rule.lr(update - 1))  # type: ignore[operator]
        test.losses.append(history.losses[-1])
        smoothed = test.smoothed[-1]
        best = min(best, smoothed)
        return smoothed > stop_at * best

    cursor: Any = getattr(batches, "cursor", None)
    try:
        fit(
            copy.deepcopy(model),
            batches,
            loss,
            rule,
            updates=updates,
            clip_norm=clip_norm,
            callback=follow,
            progress=False,
        )
    except FloatingPointError:
        if not test.losses:
            raise
    finally:
        if cursor is not None:
            batches.cursor = cursor  # type: ignore[attr-defined]
    return test
