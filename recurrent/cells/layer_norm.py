"""Layer normalisation within a step (Ba, Kiros and Hinton, 2016, "Layer normalization").

    LN(a) = gain (a - mean) / sqrt(variance + 1e-5)

The mean and the variance are over all units of the gates that are normalised together; each unit
and gate has a gain. As in the paper's supplementary material, the terms from x and from h are
normalised separately. Each gate has one bias, which is added to their sum.
"""

from functools import reduce
from operator import add
from types import SimpleNamespace

from ..equations.expressions import Composite, Expr, composed, mean, sqrt

EPSILON = 1e-5


def gains(gates: str) -> dict[str, float]:
    """Return the per-unit parameters of the gates with their initial values."""
    names = gates.split()
    return {f"gain_{s}_{g}": 1.0 for s in "xh" for g in names} | {f"bias_{g}": 0.0 for g in names}


def normalise(
    vectors: list[Expr], gains: list[Expr], biases: list[Expr] | None = None
) -> list[Expr]:
    """Return LN of vectors that are normalised together, with an optional bias for each."""
    share = 1 / len(vectors)
    center = mean(share * reduce(add, vectors))
    centered = [v - center for v in vectors]
    # Divide once per row; each unit then multiplies by the quotient.
    factor = 1 / sqrt(mean(share * reduce(add, [d * d for d in centered])) + EPSILON)
    results = [gain * (d * factor) for gain, d in zip(gains, centered, strict=True)]
    formula = f"gain × (a − mean) / √(variance + {EPSILON:g})"
    if biases:
        results = [v + bias for v, bias in zip(results, biases, strict=True)]
        formula += " + bias"
    return composed(Composite("LN", formula), vectors, results)


def normalise_gates(x, h, p, gates: str) -> tuple[SimpleNamespace, SimpleNamespace]:
    """Return x and h with the scalars of these gates normalised together; biases are added to x."""
    names = gates.split()
    biases = [getattr(p, f"bias_{g}") for g in names]

    def normalised(name, scalars, biases):
        gains = [getattr(p, f"gain_{name}_{g}") for g in names]
        results = normalise([getattr(scalars, g) for g in names], gains, biases)
        return SimpleNamespace(**dict(zip(names, results, strict=True)))

    return normalised("x", x, biases), normalised("h", h, None)
