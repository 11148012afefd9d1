"""What all adaptors have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..workloads import CELLS, CharModel, Workload


class Engine:
    """One engine. A subclass has a method for each task it can do: forward, train, step, update.

    Each takes a workload and its data and returns a function without arguments, or None where the engine has no such
    thing. `__init__` raises ImportError where the package is not installed.
    """

    name: str
    package: str  # the distribution
    module: str  # what is imported
    cells: tuple[str, ...] = CELLS  # those it has

    def __init__(self, threads: int):
        self.threads = threads

    def prepare(self, workload: Workload | CharModel, data: Any) -> Callable | None:
        """The function that does the work, or None."""
        task = getattr(self, workload.task, None) if workload.cell in self.cells else None
        return task(workload, data) if task else None
