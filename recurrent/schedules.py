"""Learning rates as functions of the step, counted from 0. Frozen data: equal schedules are equal, and can be described."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields

from .training import spec

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class Constant:
    """Always `lr`."""

    lr: float

    def __call__(self, step: int) -> float:
        return self.lr


@dataclass(frozen=True)
class StepDecay:
    """`lr`, multiplied by `factor` at step `first` and after every `every` steps from there: torch's StepLR, and char-rnn's.

    `first`: `every` if None.

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
        if self.every < 1:
            raise ValueError(f"every must be at least 1, got {self.every}")
        if self.first is not None and self.first < 0:
            raise ValueError(f"first must be at least 0, got {self.first}")

    def __call__(self, step: int) -> float:
        return self.lr * self.factor ** self._decays(step)

    def since(self, step: int) -> int:
        """The step from which on the rate has been that of `step`."""
        decays = self._decays(step)
        return self._first + (decays - 1) * self.every if decays else 0

    @property
    def _first(self) -> int:
        return self.every if self.first is None else self.first

    def _decays(self, step) -> int:
        return max(0, (step - self._first) // self.every + 1)


@dataclass(frozen=True)
class Exponential:
    """`lr`, multiplied by `factor` after each step: torch's ExponentialLR."""

    lr: float
    factor: float

    def __call__(self, step: int) -> float:
        return self.lr * self.factor**step


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from `lr` down to `final` at step `steps`, where it stays; before it `warmup` steps up in a line.

    Without warm-up this is torch's CosineAnnealingLR. Step `warmup` is the first at the full rate but one:
    the line is lr (step + 1) / warmup, so that no step is lost to a rate of zero.

    >>> [round(Cosine(1.0, steps=6, warmup=2)(step), 3) for step in range(8)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """

    lr: float
    steps: int
    warmup: int = 0
    final: float = 0.0

    def __post_init__(self):
        if not 0 <= self.warmup < self.steps:
            raise ValueError(
                f"steps must be above warmup, and warmup at least 0, got {self.steps} and {self.warmup}"
            )

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = min((step - self.warmup) / (self.steps - self.warmup), 1.0)
        return self.final + (self.lr - self.final) * 0.5 * (1 + math.cos(math.pi * done))


SCHEDULES = {s.__name__: s for s in (Constant, StepDecay, Exponential, Cosine)}


def parse(text: str, lr: float, steps: int, epoch: int | None = None) -> Schedule:
    """A schedule from "name" or "name:option=number,...", in any case.

    `lr` and `steps` are what it begins with and how long it lasts, where the text does not say so. Steps may be said in passes
    over the data where it is known how many steps an `epoch` has: "4epochs-1". Raises ValueError that names what is unknown,
    missing or no number.

    >>> parse("cosine:warmup=10", 0.1, 500)
    Cosine(lr=0.1, steps=500, warmup=10, final=0.0)
    >>> parse("stepdecay:every=2epochs,factor=0.5", 0.1, 500, epoch=50)
    StepDecay(lr=0.1, every=100, factor=0.5, first=None)
    """
    found, options = spec.read(
        text, "schedule", SCHEDULES, lambda made: {f.name: f.type for f in fields(made)}, epoch
    )
    names = {f.name for f in fields(found)}
    options = {k: v for k, v in {"lr": lr, "steps": steps}.items() if k in names} | options
    missing = [f.name for f in fields(found) if f.default is MISSING and f.name not in options]
    if missing:
        name = text.partition(":")[0]
        raise ValueError(f"schedule {name} needs {', '.join(missing)}: {name}:{missing[0]}=...")
    return found(**options)


def describe(lr: float | Schedule) -> float | dict:
    """A learning rate as plain data. Raises TypeError for a function that is none of the schedules here."""
    if type(lr) in SCHEDULES.values():
        return {"type": type(lr).__name__, "options": asdict(lr)}
    if callable(lr):
        raise TypeError(
            f"lr must be a number or one of {', '.join(SCHEDULES)} to be described, got {lr!r}"
        )
    return float(lr)


def build(description: float | dict) -> float | Schedule:
    """The learning rate that `describe` described. Raises ValueError for a schedule that is not known."""
    if not isinstance(description, dict):
        return float(description)
    if description["type"] not in SCHEDULES:
        raise ValueError(
            f"unknown schedule {description['type']!r}; known are {', '.join(SCHEDULES)}"
        )
    return SCHEDULES[description["type"]](**description["options"])
