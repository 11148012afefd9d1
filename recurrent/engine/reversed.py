"""Runs in reverse alone: each sequence from its last valid step to its first."""

from __future__ import annotations

from typing import Any

import numpy as np

from .footprint import Footprint
from .runner import DirectedRunner
from .sums import Sums


class Reversed:
    """Runs a cell in reverse: the `forward` and `backward` of an engine, y aligned with x."""

    def __init__(self, engine: DirectedRunner):
        self.engine = engine

    def forward(
        self, x, params, state=None, lengths=None, record=False
    ) -> tuple[np.ndarray, Any, Any]:
        """Return y, the state after the first step, and the tape."""
        return self.engine.forward(x, params, state, lengths, reverse=True, record=record)

    def backward(
        self, dy, tape, dstate=None, out=None, state_gradients=None, sums: Sums | None = None
    ) -> tuple[Any, Any, Any]:
        """Run `Engine.backward`: the tape knows the order of the steps."""
        return self.engine.backward(dy, tape, dstate, out, state_gradients, sums)

    def footprint(self, T, N, sizes, dtype, ragged, training, table=None) -> Footprint:
        """Estimate the memory of a run in reverse."""
        return self.engine.footprint(T, N, sizes, dtype, ragged, training, True, table)
