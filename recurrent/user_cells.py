"""`recurrent.cell`: declares and checks user-defined cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import cells
from .gradcheck import GradientError, gradcheck
from .layers import layer_from_cell


def cell(
    name: str,
    gates: str,
    states: str,
    parameters: str = "",
    biases: int = 2,
    *,
    inputs: str = "",
    scalars: str = "",
    initial: dict[str, Any] | None = None,
) -> Callable[[Callable], cells.Cell]:
    """Declare a cell by its equations for one unit, as a decorator.

    The new cell works like a built-in one and can be given by its name. Its equations are a
    function of

    * `x`, where `x.i` is row i of W_ih x + b_ih for this unit,
    * `h`, where `h.i` is row i of W_hh h + b_hh for this unit,
    * `previous`, where `previous.c` is this unit's state c of the previous time step,
    * `p` (only if there are `parameters` or `scalars`), where `p.w` is this unit's parameter w,
    * keyword-only arguments with defaults (`*, leak=0.5`), which are hyper-parameters,

    which returns a dict of all gates and new states by name. It may use what
    `help(recurrent.cells)` lists: arithmetic, comparisons, Python numbers and functions; it cannot
    branch on values.

    The declaration runs a small layer forward and backward with the NumPy reference, to check that
    its output is finite and that its gradients are correct.

    The cell can be declared again under its name, with other equations too, as in a notebook:
    layers made before keep the old equations. The names of built-in cells are taken, except those
    of `recurrent.cells.PAPERS`.

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
    inputs : str
        Names of the last columns of x, separated by spaces, such as "dt" for the time since the
        last step. `x.dt` is that number, the same for all units; W_ih does not multiply it. A layer
        of this cell counts these columns in `input_size`.
    scalars : str
        Names of the parameters that have one value for all units of a layer; `p.w` is that value.
    initial : dict, optional
        Initial values by name: of a parameter, of W_ih, W_hh, W_hr, b_ih or b_hh, or of a gate's
        bias by the gate's name. A value is a number, or the ends (low, high) of a uniform
        distribution. All others are drawn from +-1/sqrt(H).

    Returns
    -------
    callable
        A decorator that takes the equations and returns the Cell. Calling the cell with
        hyper-parameters, `leaky(leak=0.3)`, gives it with those constants; layers take them too:
        `Recurrent("leaky", 5, 10, leak=0.3)`.

    Raises
    ------
    TypeError
        If an argument or the equations are not of the form described above.
    AttributeError
        If the equations use a name that is not declared.
    ValueError
        If a built-in cell has this name, if the equations do not return exactly the gates and
        states, or if the output is not finite.
    GradientError
        If a gradient is not the derivative, as happens at a jump or an infinite slope.

    Examples
    --------
    >>> from recurrent import Recurrent
    >>> from recurrent.cells import exp, sigmoid, tanh
    >>> @cell("forgetful", gates="f g", states="h")
    ... def forgetful(x, h, previous):
    ...     f, g = sigmoid(x.f + h.f), tanh(x.g + h.g)
    ...     return dict(f=f, g=g, h=f * previous.h + (1 - f) * g)
    >>> Recurrent("forgetful", 5, 10).cell is forgetful
    True

    A cell that decays with the time since the last step, which is the last column of x:

    >>> @cell("decaying", gates="g", states="h", inputs="dt", scalars="rate", initial={"rate": 1.0})
    ... def decaying(x, h, previous, p, *, gain=1.0):
    ...     g = tanh(x.g + h.g)
    ...     return dict(g=g, h=exp(-p.rate * x.dt) * previous.h + gain * g)
    >>> Recurrent("decaying", 5, 10, gain=0.5).cell is decaying(gain=0.5)
    True
    """
    trace = cells.trace_cell(
        name, gates, states, parameters, biases, initial, False, inputs, scalars
    )

    def declare(equations: Callable) -> cells.Cell:
        traced, known = trace(equations), cells.BUILT_IN.get(name)
        if known is not None and (known.digest, known.gates) != (traced.digest, traced.gates):
            raise ValueError(f"cell {name}: the built-in cell has this name; choose another name")
        _check(traced)
        return cells.register(traced)

    return declare


def _check(cell: cells.Cell) -> None:
    """Raise an error unless a small layer has finite outputs and correct gradients."""
    layer = layer_from_cell(cell, 2 + len(cell.inputs), 3)
    layer.initialise(0, "float64")
    layer.engine = layer.runner = layer.engine.reference
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 2, 2))
    # Named inputs are times or gaps: positive, and away from the jumps of a remainder.
    x = np.concatenate([x, rng.uniform(0.5, 1.5, (3, 2, len(cell.inputs)))], axis=2)
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
