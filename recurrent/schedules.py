"""Learning-rate schedules: functions of the update, counted from 0.

Schedules are frozen dataclasses: they compare equal by value and can be stored in a checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any, cast

import numpy as np

from . import checks
from .checks.guided import explained, module_getattr

Schedule = Callable[[int], float]


def _convert(schedule: Any, check: Callable, name: str, *least: float, **limits: float) -> None:
    """Check an option of a schedule, and store it as a number of Python."""
    where = f"{type(schedule).__name__}: "
    value = check(getattr(schedule, name), name, *least, **limits, where=where)
    object.__setattr__(schedule, name, value)


@explained
@dataclass(frozen=True)
class Constant:
    """A constant learning rate.

    Parameters
    ----------
    lr : float
        The learning rate.

    Raises
    ------
    ValueError
        If it is negative.
    TypeError
        If it is not a number.
    """

    lr: float

    def __post_init__(self):
        _convert(self, checks.number, "lr", 0)

    def __call__(self, step: int) -> float:
        step = checks.integer(step, "step", 0)
        return self.lr


@explained
@dataclass(frozen=True)
class StepDecay:
    """Multiply the learning rate by a factor at regular intervals, as PyTorch's StepLR.

    Parameters
    ----------
    lr : float
        Initial learning rate.
    every : int
        Number of updates between two decays.
    factor : float
        The factor of each decay.
    first : int, optional
        Update of the first decay; `every` by default.

    Raises
    ------
    ValueError
        If `every` is below 1, `factor` not above 0, or another option negative.
    TypeError
        If an option is not a number.

    Examples
    --------
    >>> [StepDecay(1.0, every=2, factor=0.5)(step) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    >>> [StepDecay(1.0, every=2, factor=0.5, first=1)(step) for step in range(5)]
    [1.0, 0.5, 0.5, 0.25, 0.25]
    """

    lr: float
    every: int
    factor: float
    first: int | None = None

    def __post_init__(self):
        _convert(self, checks.number, "lr", 0)
        _convert(self, checks.integer, "every", 1)
        _convert(self, checks.number, "factor", above=0)
        if self.first is not None:
            _convert(self, checks.integer, "first", 0)

    def __call__(self, step: int) -> float:
        step = checks.integer(step, "step", 0)
        return self.lr * self.factor ** self.decays(step)

    def decays(self, step: int) -> int:
        """Count the decays up to and including an update.

        Parameters
        ----------
        step : int
            Index of the update, from 0.

        Returns
        -------
        int
        """
        step = checks.integer(step, "step", 0)
        first = self.every if self.first is None else self.first
        return max(0, (step - first) // self.every + 1)


@explained
@dataclass(frozen=True)
class Exponential:
    """Multiply the learning rate by a factor after each update, as PyTorch's ExponentialLR.

    Parameters
    ----------
    lr : float
        Initial learning rate.
    factor : float
        The factor of each decay.

    Raises
    ------
    ValueError
        If `factor` is not above 0 or `lr` negative.
    TypeError
        If an option is not a number.
    """

    lr: float
    factor: float

    def __post_init__(self):
        _convert(self, checks.number, "lr", 0)
        _convert(self, checks.number, "factor", above=0)

    def __call__(self, step: int) -> float:
        step = checks.integer(step, "step", 0)
        return self.lr * self.factor**step


@explained
@dataclass(frozen=True)
class Cosine:
    """Linear warm-up, then half a cosine down to a final rate, where it stays.

    Without warm-up this is PyTorch's CosineAnnealingLR. During warm-up the rate of update `step` is
    lr (step + 1) / warmup, so that no update has a rate of zero.

    Parameters
    ----------
    lr : float
        Highest learning rate.
    steps : int
        Update at which the final rate is reached.
    warmup : int
        Number of updates of the warm-up.
    final : float
        Final learning rate.

    Raises
    ------
    ValueError
        If `warmup` is negative or not below `steps`, or a rate is negative.
    TypeError
        If an option is not a number.

    Examples
    --------
    >>> [round(Cosine(1.0, steps=6, warmup=2)(step), 3) for step in range(8)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """

    lr: float
    steps: int
    warmup: int = 0
    final: float = 0.0

    def __post_init__(self):
        _convert(self, checks.number, "lr", 0)
        _convert(self, checks.number, "final", 0)
        _convert(self, checks.integer, "steps")
        _convert(self, checks.integer, "warmup")
        if not 0 <= self.warmup < self.steps:
            raise ValueError(
                "steps must be above warmup, and warmup at least 0,"
                f" got steps={self.steps} and warmup={self.warmup}"
            )

    def __call__(self, step: int) -> float:
        step = checks.integer(step, "step", 0)
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = min((step - self.warmup) / (self.steps - self.warmup), 1.0)
        return self.final + (self.lr - self.final) * 0.5 * (1 + math.cos(math.pi * done))


@explained
@dataclass(frozen=True)
class OneCycle:
    """Up to the highest rate and down to nearly 0, as PyTorch's OneCycleLR without momentum.

    The rate begins at lr / div_factor, is `lr` after the share `pct_start` of the updates, and ends
    at lr / div_factor / final_div_factor. With `three_phase` it comes down to where it began as
    fast as it went up, and falls from there to the end.

    Parameters
    ----------
    lr : float
        Highest learning rate.
    steps : int
        Number of updates.
    pct_start : float
        Share of the updates during which the rate rises.
    anneal : {"cos", "linear"}
        Whether the rate follows a cosine or a line.
    div_factor : float
        Highest rate divided by that of the first update.
    final_div_factor : float
        Rate of the first update divided by that of the last.
    three_phase : bool
        Whether there is a third phase.

    Raises
    ------
    ValueError
        If an option is out of its range.
    TypeError
        If an option has the wrong type.

    References
    ----------
    L. N. Smith and N. Topin, "Super-convergence: very fast training of neural networks using large
    learning rates" (2017).

    Examples
    --------
    >>> [round(OneCycle(1.0, steps=6, pct_start=0.5)(step), 3) for step in range(6)]
    [0.04, 0.52, 1.0, 0.75, 0.25, 0.0]
    """

    lr: float
    steps: int
    pct_start: float = 0.3
    anneal: str = "cos"
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    three_phase: bool = False

    def __post_init__(self):
        _convert(self, checks.number, "lr", 0)
        _convert(self, checks.integer, "steps", 1)
        _convert(self, checks.number, "pct_start", 0, most=1)
        checks.choice(self.anneal, "anneal", ("cos", "linear"), "OneCycle: ")
        _convert(self, checks.number, "div_factor", above=0)
        _convert(self, checks.number, "final_div_factor", above=0)
        _convert(self, checks.flag, "three_phase")

    def __call__(self, step: int) -> float:
        step = min(checks.integer(step, "step", 0), self.steps - 1)
        first, top = self.lr / self.div_factor, self.pct_start * self.steps - 1
        last = first / self.final_div_factor
        phases = [(top, self.lr), (self.steps - 1, last)]
        if self.three_phase:
            phases.insert(1, (2 * top, first))
        begin, rate = 0.0, first
        for k, (end, target) in enumerate(phases):
            if step <= end or k == len(phases) - 1:
                done = (step - begin) / (end - begin) if end > begin else 1.0
                if self.anneal == "linear":
                    return rate + (target - rate) * done
                return target + (rate - target) / 2 * (1 + math.cos(math.pi * done))
            begin, rate = end, target
        return rate


@explained
@dataclass(frozen=True)
class ReduceOnPlateau:
    """Multiply the learning rate by a factor when validations stop improving.

    The rules are those of PyTorch's ReduceLROnPlateau. `fit` computes the rate after each
    validation from the loss or metric that is its `monitor`, which also says whether higher values
    are better. The rate follows from the validations in the history alone, so that a resumed
    training goes on exactly. Outside of `fit`, `after` computes it.

    Parameters
    ----------
    lr : float
        Initial learning rate.
    factor : float
        The factor of each decay; below 1.
    patience : int
        Number of validations in a row without improvement after which the next one is the last
        before a decay.
    threshold : float
        Least improvement that counts.
    relative : bool
        Whether `threshold` is a share of the best value rather than a difference.
    cooldown : int
        Number of validations after a decay that do not count.
    min_lr : float
        Lowest learning rate.
    eps : float
        A decay by no more than this is left out.

    Raises
    ------
    ValueError
        If an option is out of its range.
    TypeError
        If an option has the wrong type.

    Examples
    --------
    >>> schedule = ReduceOnPlateau(1.0, factor=0.5, patience=1)
    >>> schedule.after([3.0, 2.0, 2.0]), schedule.after([3.0, 2.0, 2.0, 2.0])
    (1.0, 0.5)
    """

    lr: float
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    relative: bool = True
    cooldown: int = 0
    min_lr: float = 0.0
    eps: float = 1e-8

    def __post_init__(self):
        _convert(self, checks.number, "lr", 0)
        _convert(self, checks.number, "factor", 0, below=1)
        _convert(self, checks.integer, "patience", 0)
        _convert(self, checks.number, "threshold", 0)
        _convert(self, checks.flag, "relative")
        _convert(self, checks.integer, "cooldown", 0)
        _convert(self, checks.number, "min_lr", 0)
        _convert(self, checks.number, "eps", 0)

    def __call__(self, step: int) -> float:
        checks.integer(step, "step", 0)
        return self.lr

    def after(self, values: Sequence[float], higher_is_better: bool = False) -> float:
        """Return the learning rate after these validations.

        Parameters
        ----------
        values : sequence of float
            Value of each validation, from the first on.
        higher_is_better : bool
            Whether an improvement is a higher value rather than a lower one.

        Returns
        -------
        float
        """
        checks.iterable(values, "values", "a sequence of numbers")
        higher = checks.flag(higher_is_better, "higher_is_better")
        sign = 1 if higher else -1
        rate, best, bad, resting = self.lr, -sign * math.inf, 0, 0
        for value in values:
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
                raise TypeError(f"values must be numbers, got {checks.shown(value)}")
            step = sign * self.threshold
            bound = best * (1 + step) if self.relative else best + step
            better = value > bound if higher else value < bound
            best, bad = (value, 0) if better else (best, bad + 1)
            if resting:
                resting, bad = resting - 1, 0
            if bad > self.patience:
                lower = max(rate * self.factor, self.min_lr)
                rate = lower if rate - lower > self.eps else rate
                resting, bad = self.cooldown, 0
        return rate


def check_length(lr: float | Schedule, done: int, total: int) -> None:
    """Raise ValueError if a schedule has fallen to a rate of 0 before the last update.

    Parameters
    ----------
    lr : float or callable
        The learning rate. Of functions, only the schedules of this module are understood.
    done : int
        Number of updates made with it.
    total : int
        Number of updates to be made, including these.

    Raises
    ------
    ValueError
        If an update of the rest would not change the parameters, or a cycle is too short.

    Examples
    --------
    >>> check_length(Cosine(0.1, steps=500), 0, 500)
    """
    if isinstance(lr, Cosine) and lr.final == 0 < lr.lr and lr.steps < total > done:
        raise ValueError(
            f"the schedule {lr} ends after update {lr.steps}, so that the updates from there to"
            f" {total} would have a rate of 0: train to update {lr.steps}, or make the schedule"
            f" anew with steps={total} or a final rate above 0"
        )
    if isinstance(lr, OneCycle) and lr.steps < total > done:
        raise ValueError(
            f"the schedule {lr} has {lr.steps} updates, and training goes to update {total}: make"
            f" the schedule anew with steps={total}"
        )


KINDS = (Constant, StepDecay, Exponential, Cosine, OneCycle, ReduceOnPlateau)
SCHEDULES = {s.__name__: s for s in KINDS}


def describe(lr: float | Schedule) -> float | dict:
    """Describe a learning rate or schedule as plain data.

    Parameters
    ----------
    lr : float or callable
        A number or one of the schedules of this module.

    Returns
    -------
    float or dict
        A description from which `build` makes an equal learning rate.

    Raises
    ------
    TypeError
        If `lr` is any other function.
    """
    if type(lr) in SCHEDULES.values():
        return {"type": type(lr).__name__, "options": asdict(cast(Any, lr))}
    if callable(lr):
        raise TypeError(
            f"lr must be a number or one of {', '.join(SCHEDULES)} to be described, "
            f"got {checks.shown(lr)}"
        )
    return float(lr)


def build(description: float | dict) -> float | Schedule:
    """Build a learning rate or schedule from its description.

    Parameters
    ----------
    description : float or dict
        The result of `describe`.

    Returns
    -------
    float or callable

    Raises
    ------
    ValueError
        If the type of schedule is unknown.
    """
    if not isinstance(description, dict):
        return float(description)
    if description["type"] not in SCHEDULES:
        raise ValueError(
            f"unknown schedule {description['type']!r:.60}; known are {', '.join(SCHEDULES)}"
        )
    return SCHEDULES[description["type"]](**description["options"])


__getattr__ = module_getattr(__name__)
