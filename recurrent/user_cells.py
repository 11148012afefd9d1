"""`recurrent.cell`: declares and checks user-defined cells."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import cells
from .gradcheck import GradientError, gradcheck
from .layers import layer_from_cell


def cell(
    name: str, gates: str, states: str, parameters: str = "", biases: int = 2
) -> Callable[[Callable], cells.Cell]:
    """Declare a cell by its equations for one unit, as a decorator.

    The new cell works like a built-in one and can be given by its name. Its equations are a
    function of

    * `x`, where `x.i` is row i of W_ih x + b_ih for this unit,
    * `h`, where `h.i` is row i of W_hh h + b_hh for this unit,
    * `previous`, where `previous.c` is this unit's state c of the previous time step,
    * `p` (only if there are `parameters`), where `p.w` is this unit's parameter w,

    which returns a dict of all gates and new states by name. It may use arithmetic, Python numbers
    and the functions of `recurrent.cells`; it cannot branch on values.

    The declaration runs a small layer forward and backward with the NumPy reference, to check that
    its output is finite and that its gradients are correct.

    Parameters
    ----------
    name : str
        Name of the cell.
    gates : str
        Names of the gates, separated by spaces; each has rows in W_ih and W_hh.
    states : str
        Names of the states, separated by spaces. The first is the hidden state: W_hh multiplies it,
        and the layer outputs it.
    parameters : str
        Names of the parameters that have one value per unit, separated by spaces.
    biases : int
        Number of bias vectors per gate: 2 (b_ih and b_hh, as in PyTorch), 1 (b_ih) or 0.

    Returns
    -------
    callable
        A decorator that takes the equations and returns the Cell.

    Raises
    ------
    TypeError
        If an argument or the equations are not of the form described above.
    AttributeError
        If the equations use a name that is not declared.
    ValueError
        If another cell has this name, if the equations do not return exactly the gates and states,
        or if the output is not finite.
    GradientError
        If a gradient is not the derivative, as happens at a jump or an infinite slope.

    Examples
    --------
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

    def declare(equations: Callable) -> cells.Cell:
        traced, known = trace(equations), cells.CELLS.get(name)
        if known is not None and (known.digest, known.gates) != (traced.digest, traced.gates):
            raise ValueError(
                f"cell {name}: a cell with this name and other equations exists already; "
                "choose another name"
            )
        _check(traced)
        return cells.register(traced)

    return declare


def _check(cell: cells.Cell) -> None:
    """Raise an error unless a small layer has finite outputs and correct gradients."""
    layer = layer_from_cell(cell, 2, 3)
    layer.initialise(0, "float64")
    layer.engine = layer.runner = layer.engine.reference
    x = np.random.default_rng(0).standard_normal((3, 2, 2))
    with np.errstate(all="ignore"):
        if not np.isfinite(layer.forward(x)[0]).all():
            raise ValueError(
                f"cell {cell.name}: the output is not finite for inputs of ordinary size; look for "
                "a division by 0, or an exp or sqrt out of range"
            )
        try:
            gradcheck(layer, x, entries=4)
        except GradientError as error:
            raise GradientError(f"cell {cell.name}: {error}") from None
