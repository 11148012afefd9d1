"""The interface shared by everything that runs a cell over sequences."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from .footprint import Footprint
from .params import Sizes
from .sums import Sums


class Runner(Protocol):
    """Runs a recurrent layer over sequences: an `Engine`, a `DropoutRunner` or a `Bidirectional`.

    Params, state and tape are those of one cell, or `Directions` of them.
    """

    def forward(
        self, x: Any, params: Any, state: Any = None, lengths: Any = None, *, record: bool = False
    ) -> tuple[np.ndarray, Any, Any]:
        """Return y, the final state and the tape, which is None unless `record`."""
        ...

    def backward(
        self,
        dy: np.ndarray | None,
        tape: Any,
        dstate: Any = None,
        out: Any = None,
        state_gradients: dict | None = None,
        sums: Sums | None = None,
    ) -> tuple[Any, Any, Any]:
        """Return dx, dparams and the gradient with respect to the initial state."""
        ...

    def footprint(
        self,
        T: int,
        N: int,
        sizes: Sizes,
        dtype: np.dtype,
        ragged: bool,
        training: bool,
        *,
        table: int | None = None,
    ) -> Footprint:
        """Estimate the memory that `forward` and `backward` take."""
        ...


class DirectedRunner(Runner, Protocol):
    """Runs one cell in either direction: an `Engine` or a `DropoutRunner`."""

    dtypes: tuple[str, ...]

    def forward(
        self,
        x: Any,
        params: Any,
        state: Any = None,
        lengths: Any = None,
        reverse: bool = False,
        record: bool = False,
    ) -> tuple[np.ndarray, Any, Any]:
        """Run like `Runner.forward`; `reverse` starts each sequence at its last valid step."""
        ...

    def footprint(
        self,
        T: int,
        N: int,
        sizes: Sizes,
        dtype: np.dtype,
        ragged: bool,
        training: bool,
        reverse: bool = False,
        table: int | None = None,
    ) -> Footprint:
        """Estimate memory like `Runner.footprint`; `reverse` as in `forward`."""
        ...
