"""The base class of the workloads that engines run side by side."""

from __future__ import annotations

from typing import Any

import numpy as np


class Work:
    """A workload; subclasses are frozen dataclasses.

    name, group, cell, task: fields of the workload's row.
    per: the unit of work that a time refers to: a call, a step, a character, ...
    flops, bytes: per unit of work; None if not counted.
    compared: number of calls whose results must agree before anything is timed.
    tolerance: the largest difference allowed, relative to the larger of 1 and the largest result.
    weights: the kind of weights, if not of the dtype: int8. Results are then compared with those of
        `exact`.
    """

    name: str
    group: str
    cell: str
    task: str
    dtype = "float32"
    flops: float
    bytes: float | None = None
    per = "call"
    compared = 1
    tolerance: float
    weights = ""

    @property
    def method(self) -> str:
        """Name of the engine's method that runs the workload."""
        return self.task

    def facts(self) -> dict:
        """Return the fields of a row that describe the workload."""
        names = ("name", "group", "cell", "task", "dtype", "flops", "bytes", "per")
        return {n: getattr(self, n) for n in names}

    def data(self) -> object:
        """Return the input and weights, the same for every engine."""
        raise NotImplementedError

    def exact(self, data: Any, weights: str) -> list[list[np.ndarray]]:
        """Return the results of the compared calls, computed in float64.

        The weights are rounded as int8 or bfloat16 are, or stay as they are (float32). Workloads
        of quantised weights have this method.
        """
        raise NotImplementedError

    def count(self, calls: int) -> int:
        """Return the number of units (`per`) in `calls` calls."""
        return calls
