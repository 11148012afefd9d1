"""Layer normalisation within a step (Ba, Kiros and Hinton, 2016, "Layer normalization", supplementary material).

LN(a) = (a - mean) / sqrt(variance + 1e-5) over all units of the gates that are normalised together, then a gain per unit and
gate. What comes from x and what comes from h are normalised apart; a gate's one bias is added to their sum.
"""

from functools import reduce
from operator import add
from types import SimpleNamespace

from .expressions import Expr, mean, sqrt


def gains(gates: str) -> dict[str, float]:
    """Per-unit parameters of gates, and their initial values: gains of 1, biases of 0."""
    named = gates.split()
    return {f"gain_{s}_{g}": 1.0 for s in "xh" for g in named} | {f"bias_{g}": 0.0 for g in named}


def normal(vectors: list[Expr]) -> list[Expr]:
    """Vectors of all units with their common mean taken away, divided by their common deviation: by one division a row."""
    share = 1 / len(vectors)
    center = mean(share * reduce(add, vectors))
    centered = [v - center for v in vectors]
    factor = 1 / sqrt(mean(share * reduce(add, [d * d for d in centered])) + 1e-5)
    return [d * factor for d in centered]


def normalised(x, h, p, *groups: str):
    """(x, h) with every gate's scalar normalised, scaled and, that of x, moved; each group of gates together."""
    out = SimpleNamespace(), SimpleNamespace()
    for gates in map(str.split, groups):
        for space, given, new in zip("xh", (x, h), out, strict=True):
            for g, v in zip(gates, normal([getattr(given, g) for g in gates]), strict=True):
                scaled = getattr(p, f"gain_{space}_{g}") * v
                setattr(new, g, scaled + getattr(p, f"bias_{g}") if space == "x" else scaled)
    return out
