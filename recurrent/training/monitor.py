"""The monitor finds the best validation and counts those in a row that were not better."""

from __future__ import annotations

import math
from typing import Any

from .. import checks
from ..metrics import Metric, direction_of
from .evaluation import LOSS
from .history import History


def direction(name: str, metrics: dict[str, Metric]) -> bool:
    """Return whether higher values of the loss or metric of this name are better."""
    checks.choice(name, "monitor", [LOSS, *metrics])
    if name == LOSS:
        return False
    higher = direction_of(metrics[name])
    if higher is None:
        raise ValueError(
            f"monitor must be a metric that says which values are better: set"
            f" higher_is_better = True or False of {name}, or of the function that computes it"
        )
    return checks.flag(higher, f"higher_is_better of {name}")


class Monitor:
    """Follows the loss or a metric of the validations of a history.

    Parameters
    ----------
    history : History
        The history, whose `best` and `monitor` are set.
    name : str
        "loss", or the name of a metric.
    higher : bool
        Whether higher values are better.

    Attributes
    ----------
    worse : int
        Number of validations since the best one.
    """

    def __init__(self, history: History, name: str, higher: bool):
        self.history, self.name, self.sign = history, name, -1 if higher else 1
        history.monitor = name
        finite = [v for v in self.values if not math.isnan(v[1])]
        history.best = min(finite, key=lambda v: self.sign * v[1], default=None)
        best = 0 if history.best is None else history.best[0]
        self.worse = sum(update > best for update, _ in self.values)

    @property
    def values(self) -> list[tuple[int, float]]:
        """Number of updates and value of each validation."""
        if self.name == LOSS:
            return self.history.validation
        return self.history.metrics.get(self.name, [])

    def add(self, update: int, values: dict[str, Any]) -> bool:
        """Add a validation to the history; return whether it is the best."""
        self.history.validation.append((update, values[LOSS]))
        for name, value in values.items():
            if name != LOSS:
                self.history.metrics.setdefault(name, []).append((update, value))
        value, best = values[self.name], self.history.best
        self.worse += 1
        if math.isnan(value) or (best is not None and self.sign * value >= self.sign * best[1]):
            return False
        self.history.best, self.worse = (update, value), 0
        return True
