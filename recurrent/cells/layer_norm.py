"""Layer normalisation within a step (Ba, Kiros and Hinton, 2016, "Layer normalization", supplementary material).

LN(a) = (a - mean) / sqrt(variance + 1e-5) over all units of the gates that are normalised together, then a gain per unit and
gate. What comes from x and what comes from h are normalised apart; a gate's one bias is added to their sum.
"""

from functools import reduce
from operator import add
from types import SimpleNamespace

from ..equations.expressions import Composite, Expr, composed, mean, sqrt

EPSILON = 1e-5


def gains(gates: str) -> dict[str, float]:
    """Per-unit parameters of gates, and their initial values: gains of 1, biases of 0."""
    named = gates.split()
    return {f"gain_{s}_{g}": 1.0 for s in "xh" for g in named} | {f"bias_{g}": 0.0 for g in named}


def normal(vectors: list[Expr], gains: list[Expr], biases: list[Expr] | None = None) -> list[Expr]:
    """Vectors of all units without their common mean, over their common deviation (one division a row); gains, biases."""
    share = 1 / len(vectors)
    center = mean(share * reduce(add, vectors))
    centered = [v - center for v in vectors]
    factor = 1 / sqrt(mean(share * reduce(add, [d * d for d in centered])) + EPSILON)
    out = [gain * (d * factor) for gain, d in zip(gains, centered, strict=True)]
    formula = f"gain × (a − mean) / √(variance + {EPSILON:g})"
    if biases:
        out = [v + bias for v, bias in zip(out, biases, strict=True)]
        formula += " + bias"
    return composed(Composite("LN", formula), vectors, out)


def normalised(x, h, p, *groups: str):
    """(x, h) with every gate's scalar normalised, scaled and, that of x, moved; each group of gates together."""
    out = SimpleNamespace(), SimpleNamespace()
    for gates in map(str.split, groups):
        biases = [getattr(p, f"bias_{g}") for g in gates]
        for space, given, new, moved in zip("xh", (x, h), out, (biases, None), strict=True):
            scale = [getattr(p, f"gain_{space}_{g}") for g in gates]
            for g, v in zip(
                gates, normal([getattr(given, g) for g in gates], scale, moved), strict=True
            ):
                setattr(new, g, v)
    return out
