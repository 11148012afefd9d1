"""The base class of the adaptors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..workloads.base import Work
from ..workloads.catalogue import CELLS


class Engine:
    """An engine.

    A subclass defines those methods of workloads that it supports: forward, train, step,
    step_model, update, attend, translate, decode. Each takes a workload and its data and returns a
    function without arguments, or None if the engine cannot do it. `__init__` raises ImportError if
    the package is not installed.
    """

    name: str
    package: str  # name of the distribution
    module: str  # name of the module to import
    cells: tuple[str, ...] = CELLS  # supported cells and attention scores
    weights: tuple[str, ...] = ("",)  # supported kinds of weights, "" for those of the dtype

    def __init__(self, threads: int):
        self.threads = threads

    def prepare(self, workload: Work, data: Any) -> Callable | None:
        """Return a function that does the work, or None if the engine cannot do it."""
        supported = workload.cell in self.cells and workload.weights in self.weights
        method = getattr(self, workload.method, None) if supported else None
        return method(workload, data) if method else None
