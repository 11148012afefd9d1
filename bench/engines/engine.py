"""What all adaptors have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..workloads.base import Work
from ..workloads.catalogue import CELLS


class Engine:
    """An engine. A subclass has a method for each that workloads name: forward, train, step, update, attend, translate, decode.

    Each takes a workload and its data and returns a function without arguments, or None where the engine has no such
    thing. `__init__` raises ImportError where the package is not installed.
    """

    name: str
    package: str  # the distribution
    module: str  # what is imported
    cells: tuple[str, ...] = CELLS  # those it has, and scores of attention

    def __init__(self, threads: int):
        self.threads = threads

    def prepare(self, workload: Work, data: Any) -> Callable | None:
        """The function that does the work, or None."""
        method = getattr(self, workload.method, None) if workload.cell in self.cells else None
        return method(workload, data) if method else None
