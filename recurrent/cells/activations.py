"""The activation functions of ONNX's LSTM by name.

Names are those of https://onnx.ai/onnx/operators/onnx__LSTM.html; case and underscores do not
matter ("leaky_relu"). The numbers alpha and beta follow in parentheses: "HardSigmoid(0.2, 0.5)".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from .. import checks
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

# Name -> function of x, alpha and beta, and the default values of alpha and beta (None: required).
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
    """Return the canonical spelling of an activation: lower case, with all its numbers.

    >>> canonical("Leaky_Relu"), canonical("HardSigmoid(0.25,0.5)")
    ('leakyrelu(0.01)', 'hardsigmoid(0.25, 0.5)')

    Raises TypeError if `text` is not a str, ValueError for an unknown name and for too many or too
    few numbers.
    """
    name, numbers = _parse(text)
    return f"{name}({', '.join(map(repr, numbers))})" if numbers else name


def activation(text: str) -> Callable[[Expr], Expr]:
    """Return the activation function with this name; raises the errors of `canonical`."""
    name, numbers = _parse(text)
    function = ACTIVATIONS[name][0]
    return lambda x: function(x, *numbers)


def _parse(text):
    if not isinstance(text, str):
        raise TypeError(
            "an activation must be given by name, such as 'tanh' or 'leakyrelu(0.01)', "
            f"got {checks.shown(text)}"
        )
    match = re.fullmatch(r"\s*(\w+)\s*(?:\(([^()]*)\))?\s*", text)
    name, inside = match.groups() if match else (text, None)
    name, inside = name.lower().replace("_", ""), (inside or "").strip()
    if name not in ACTIVATIONS:
        raise ValueError(
            f"unknown activation {checks.shown(text)}; known activations are "
            f"{', '.join(ACTIVATIONS)}{checks.guess(text, ACTIVATIONS)}"
        )
    try:
        numbers = tuple(float(v) for v in inside.split(",")) if inside else ()
        if not all(map(math.isfinite, numbers)):
            raise ValueError
    except ValueError:
        raise ValueError(
            f"the parentheses of activation {checks.shown(text)} must contain numbers "
            "separated by commas"
        ) from None
    defaults = ACTIVATIONS[name][1]
    values = numbers + defaults[len(numbers) :]
    if len(numbers) > len(defaults) or None in values:
        count = f"{len(defaults)} number{'s' * (len(defaults) != 1)}"
        raise ValueError(
            f"activation {name} takes {count}, got {len(numbers)} in {checks.shown(text)}"
        )
    return name, values
