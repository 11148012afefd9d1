"""Cells of one's own: traced, checked and put where they are found by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import cells
from .gradcheck import GradientError, gradcheck
from .layers import layer_from_cell


def cell(
    name: str, gates: str, states: str, parameters: str = "", biases: int = 2
) -> Callable[[Callable], cells.Cell]:
    """Declare a cell by a function of one unit's scalars; from then on it is used like a built-in one, by its name too.

    Arguments and function are those of `recurrent.cells.trace_cell`. A small layer of it is run once on the interpreter, to
    see whether its values are finite and its gradients are its derivatives; `GradientError` says where they are not:
    equations that jump or have infinite slopes cannot be trained.
    Raises ValueError for a name that is taken by other equations, and for names that are missing; TypeError for
    what cannot be traced.

    >>> from recurrent import Recurrent
    >>> from recurrent.cells import sigmoid, tanh
    >>> @cell("janet", gates="f g", states="h")  # van der Westhuizen and Lasenby, 2018
    ... def janet(x, h, previous):
    ...     f, g = sigmoid(x.f + h.f), tanh(x.g + h.g)
    ...     return dict(f=f, g=g, h=f * previous.h + (1 - f) * g)
    >>> Recurrent("janet", 5, 10).cell is janet
    True
    """
    trace = cells.trace_cell(name, gates, states, parameters, biases, register=False)

    def declare(function: Callable) -> cells.Cell:
        traced, known = trace(function), cells.CELLS.get(name)
        if known is not None and (known.digest, known.gates) != (traced.digest, traced.gates):
            raise ValueError(f"cell {name}: the name is taken by other equations")
        _check(traced)
        return cells.register(traced)

    return declare


def _check(traced: cells.Cell) -> None:
    layer = layer_from_cell(traced, 2, 3).initialise(0, "float64")
    layer.engine = layer.runner = layer.engine.reference
    x = np.random.default_rng(0).standard_normal((3, 2, 2))
    with np.errstate(all="ignore"):
        if not np.isfinite(layer.forward(x)[0]).all():
            raise ValueError(
                f"cell {traced.name}: its output is not finite for ordinary numbers: a division by 0 or a root?"
            )
        try:
            gradcheck(layer, x, entries=4)
        except GradientError as error:
            raise GradientError(f"cell {traced.name}: {error}") from None
