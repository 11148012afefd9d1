"""Expression graphs as nodes of ONNX: one table from operation to operator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ...equations.expressions import Expr, topological
from .builder import Builder


def _number(b: Builder, condition: str) -> str:
    """Return 1 where a condition holds, else 0."""
    return b.add("Cast", condition, to=b.float)


def _holds(b: Builder, value: str) -> str:
    return b.add("Cast", value, to=b.onnx.TensorProto.BOOL)


def _remainder(b: Builder, x: str, y: str) -> str:
    """Return the remainder with the sign of y: ONNX has that of x for floats."""
    rest = b.add("Mod", x, y, fmod=1)
    signs = b.add("Mul", b.add("Sign", rest), b.add("Sign", y))
    differ = b.add("Less", signs, b.constant(0))
    return b.add("Where", differ, b.add("Add", rest, y), rest)


def _softplus(b: Builder, x: str) -> str:
    """Return log(1 + exp(x)), which ONNX Runtime has in float32 alone."""
    if b.dtype == np.float32:
        return b.add("Softplus", x)
    rest = b.add("Exp", b.add("Neg", b.add("Abs", x)))
    return b.add("Add", b.add("Relu", x), b.add("Log", b.add("Add", rest, b.constant(1))))


def _plain(operator: str) -> Callable[..., str]:
    return lambda b, *args: b.add(operator, *args)


OPERATORS: dict[str, Callable[..., str]] = {
    "add": _plain("Add"),
    "sub": _plain("Sub"),
    "mul": _plain("Mul"),
    "div": _plain("Div"),
    "neg": _plain("Neg"),
    "tanh": _plain("Tanh"),
    "sigmoid": _plain("Sigmoid"),
    "exp": _plain("Exp"),
    "sqrt": _plain("Sqrt"),
    "max": _plain("Max"),
    "min": _plain("Min"),
    "log": _plain("Log"),
    "sin": _plain("Sin"),
    "cos": _plain("Cos"),
    "softplus": _softplus,
    "relu": _plain("Relu"),
    "remainder": _remainder,
    "greater": lambda b, x, y: _number(b, b.add("Greater", x, y)),
    "at_least": lambda b, x, y: _number(b, b.add("GreaterOrEqual", x, y)),
    "positive": lambda b, x: _number(b, b.add("Greater", x, b.constant(0))),
    "where": lambda b, c, x, y: b.add("Where", _holds(b, c), x, y),
}


def write(
    b: Builder,
    roots: Iterable[Expr],
    known: dict[Expr, str],
    across: Callable[[Expr, str], str] | None = None,
) -> dict[Expr, str]:
    """Add the nodes of expressions; return the names of all values by expression.

    Parameters
    ----------
    b : Builder
        The graph.
    roots : iterable of Expr
        The expressions.
    known : dict of Expr to str
        Names of the inputs.
    across : callable, optional
        Writes an operation that combines units, given its expression and the name of its argument.

    Returns
    -------
    dict of Expr to str
    """
    names: dict[Any, str] = dict(known)
    for e in topological(roots, names):
        if e in names:
            continue
        if e.op == "const":
            names[e] = b.constant(e.value)
        elif e.op in OPERATORS:
            names[e] = OPERATORS[e.op](b, *(names[a] for a in e.args))
        else:
            assert across is not None
            names[e] = across(e, names[e.args[0]])
    return names


def full(roots: Iterable[Expr], known: Iterable[Expr]) -> set[Expr]:
    """Return the expressions that have an entry for each sequence and unit, if `known` do."""
    found = set(known)
    for e in topological(roots):
        of_units = e.op != "mean" and any(a in found for a in e.args)
        if of_units or e.op in ("product", "projection"):
            found.add(e)
    return found
