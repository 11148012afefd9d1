"""Activation functions by name: the list of the ONNX operators, https://onnx.ai/onnx/operators/onnx__LSTM.html.

A name is ONNX's in any case, "_" allowed ("leaky_relu"); its numbers, alpha and beta, come in parentheses:
"HardSigmoid(0.2, 0.5)".
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..equations.expressions import (
    Expr,
    exp,
    maximum,
    minimum,
    positive,
    relu,
    sigmoid,
    softplus,
    tanh,
)

# Name -> function of x and its numbers, and the numbers' values where none are given; None where they must be.
ACTIVATIONS: dict[str, tuple[Callable[..., Expr], tuple[float | None, ...]]] = {
    "relu": (relu, ()),
    "tanh": (tanh, ()),
    "sigmoid": (sigmoid, ()),
    "affine": (lambda x, alpha, beta: alpha * x + beta, (None, None)),
    "leakyrelu": (lambda x, alpha: relu(x) - alpha * relu(-x), (0.01,)),
    "thresholdedrelu": (lambda x, alpha: maximum(x, alpha) * positive(x - alpha), (1.0,)),
    "scaledtanh": (lambda x, alpha, beta: alpha * tanh(beta * x), (None, None)),
    "hardsigmoid": (lambda x, alpha, beta: minimum(maximum(alpha * x + beta, 0), 1), (0.2, 0.5)),
    "elu": (lambda x, alpha: relu(x) + alpha * (exp(-relu(-x)) - 1), (1.0,)),
    "softsign": (lambda x: x / (1 + maximum(x, -x)), ()),
    "softplus": (softplus, ()),
}


def canonical(text: str) -> str:
    """The one spelling of an activation: lower case, all numbers given.

    >>> canonical("Leaky_Relu"), canonical("HardSigmoid(0.25,0.5)")
    ('leakyrelu(0.01)', 'hardsigmoid(0.25, 0.5)')

    Raises TypeError for what is no text, ValueError for an unknown name and for numbers that are missing or too many.
    """
    name, numbers = _parse(text)
    return f"{name}({', '.join(map(repr, numbers))})" if numbers else name


def activation(text: str) -> Callable[[Expr], Expr]:
    """The function of a name. Raises as `canonical` does."""
    name, numbers = _parse(text)
    function = ACTIVATIONS[name][0]
    return lambda x: function(x, *numbers)


def _parse(text):
    if not isinstance(text, str):
        raise TypeError(f"an activation is a name like 'tanh' or 'leakyrelu(0.01)', got {text!r}")
    found = re.fullmatch(r"\s*(\w+)\s*(?:\(([^()]*)\))?\s*", text)
    name = found[1].lower().replace("_", "") if found else text
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {text!r}; known are {', '.join(ACTIVATIONS)}")
    defaults = ACTIVATIONS[name][1]
    try:
        given = (
            tuple(float(v) for v in found[2].split(",")) if found[2] and found[2].strip() else ()
        )
    except ValueError:
        raise ValueError(
            f"the numbers of activation {text!r} must be numbers with commas between"
        ) from None
    numbers = given + defaults[len(given) :]
    if len(given) > len(defaults) or None in numbers:
        raise ValueError(
            f"activation {name} takes {len(defaults)} numbers, got {len(given)} in {text!r}"
        )
    return name, numbers
