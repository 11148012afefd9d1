"""Activation layers: a function of each entry, or the softmax of the last axis."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from .. import checks, kernels
from ..cells.activations import activation, canonical
from ..engine.footprint import Footprint
from ..equations.expressions import Expr, operation, sigmoid, topological
from ..equations.rules import Rule, trace
from .base import Gradients, Layer

BLOCK = 16384  # entries that a thread processes at a time
# Functions of layers alone; those of cells are ONNX's. 1.595... is 2 sqrt(2 / pi).
MORE: dict[str, Callable[[Expr], Expr]] = {
    "silu": lambda x: x * sigmoid(x),
    "gelutanh": lambda x: x * sigmoid(1.5957691216057308 * (x + 0.044715 * (x * x * x))),
}
ALIASES = {"swish": "silu"}


@cache
def rules(name: str) -> tuple[Rule, Rule]:
    """Return the rules of y = f(x), and of d = d f'(x), by the canonical name of f."""
    f = MORE.get(name) or activation(name)

    def backward(a, k):
        y = f(a.x)
        adjoint: dict[Expr, Expr] = {y: a.d}
        for e in reversed(topological([y])):
            if e in adjoint and e.args:
                gradients: Any = operation(e.op).gradients
                for arg, d in zip(e.args, gradients(e, e.args, adjoint[e]), strict=True):
                    adjoint[arg] = adjoint[arg] + d if arg in adjoint else d
        return dict(d=adjoint[a.x])

    forward = trace(f"{name} of x", lambda a, k: dict(y=f(a.x)), ("x", "y"), ())
    return forward, trace(f"{name} backward", backward, ("x", "d"), ())


class Activation(Layer):
    """Applies an activation function to each entry of x; y has the shape of x.

    The functions are those of recurrent cells, "silu" or "swish", x sigmoid(x), "gelu_tanh", the
    GELU by its tanh formula, and "softmax" over the last axis.
    `losses.softmax_cross_entropy` and `losses.binary_cross_entropy` take logits: with them a model
    ends in a Linear, without Softmax or Sigmoid.

    Parameters
    ----------
    name : str
        "softmax", "silu", "gelu_tanh" or a name in `recurrent.cells.ACTIVATIONS`, with its numbers
        in parentheses: "tanh", "leakyrelu(0.1)".

    Raises
    ------
    TypeError
        If name is not a str; in `forward`, if x is not float32 or float64.
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> Activation("leaky_relu").forward(np.array([-2.0, 3.0]))[0]
    array([-0.02,  3.  ])
    """

    runs_in_segments = True

    def __init__(self, name: str):
        plain = name.lower().replace("_", "") if isinstance(name, str) else ""
        plain = ALIASES.get(plain, plain)
        function = plain if plain == "softmax" or plain in MORE else canonical(name)
        super().__init__(name=function)
        self.function = function

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        checks.modes(record, training)
        x = checks.array(x, "x")
        if self.function == "softmax":
            y = _softmax(x)
            return y, None, y if record else None
        y = np.empty_like(x)
        _apply(rules(self.function)[0], x=x, y=y)
        return y, None, x if record else None

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None, sums=None):
        checks.tape(tape, np.ndarray)
        dy, tape = checks.array(dy, "dy"), checks.array(tape, "tape")
        checks.same_dtype(dy, "dy", tape.dtype, "x")
        checks.shape(dy, "dy", tape.shape, "the shape of y")
        dx = dy.copy()
        if self.function != "softmax":
            _apply(rules(self.function)[1], x=tape, d=dx)
        elif dx.size:
            rows = (1, -1, dx.shape[-1])
            kernels.backend.softmax_backward(tape.reshape(rows), dx.reshape(rows))
        return Gradients(dx, self._gradients(out), None)

    def stepper(self):
        return super().stepper() if self.function == "softmax" else ActivationStepper(self.function)

    def footprint(self, T, N, width, dtype, ragged, training, table=None):
        size = T * N * width * dtype.itemsize
        return Footprint(0, size, 0, 0, size)

    def keeps_input(self, ragged):
        return self.function != "softmax"


def _apply(rule, **arrays) -> None:
    """Apply a rule to all entries of arrays, in place."""
    flat = {name: a.reshape(-1) for name, a in arrays.items()}
    kernels.backend.apply_rule(rule, {}, flat, BLOCK)


def _softmax(x) -> np.ndarray:
    """Return the softmax of the last axis."""
    if not x.ndim:
        raise ValueError("x must have a last axis, (..., K), got a number")
    y = x.copy()
    if y.size:
        rows = y.reshape(1, -1, y.shape[-1])
        kernels.backend.softmax(rows, np.ones((1, y.shape[-1]), bool))
    return y


class ActivationStepper:
    """An activation function of each entry, as a step y_t = f(x_t).

    Parameters
    ----------
    function : str
        Its canonical name.
    """

    def __init__(self, function: str):
        self.function = function

    def __call__(self, x: Any) -> np.ndarray:
        x = checks.array(x, "x")
        y = np.empty_like(x)
        _apply(rules(self.function)[0], x=x, y=y)
        return y

    def begin(self, x: np.ndarray) -> tuple[int, ...]:
        """Return the shape of y, see `Chain`."""
        self._width, self._dtype = x.shape[-1] if x.ndim else 1, x.dtype
        return x.shape

    def link(self) -> tuple:
        """Return the rule as `Backend.chain` takes it."""
        return rules(self.function)[0], self._width, self._dtype


class ReLU(Activation):
    """Applies max(x, 0) to each entry of x; y has the shape of x."""

    def __init__(self):
        super().__init__("relu")
        self.options = {}


class Tanh(Activation):
    """Applies the hyperbolic tangent to each entry of x; y has the shape of x."""

    def __init__(self):
        super().__init__("tanh")
        self.options = {}


class Sigmoid(Activation):
    """Applies 1 / (1 + exp(-x)) to each entry of x; y has the shape of x.

    `losses.binary_cross_entropy` takes logits: leave this layer out below that loss.
    """

    def __init__(self):
        super().__init__("sigmoid")
        self.options = {}


class Softmax(Activation):
    """Turns the last axis of x into probabilities, exp(x) / sum(exp(x)); y has the shape of x.

    `losses.softmax_cross_entropy` takes logits: leave this layer out below that loss.
    """

    def __init__(self):
        super().__init__("softmax")
        self.options = {}
