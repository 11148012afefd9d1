"""Hypothesis strategies: they draw sizes, a scale and a seed, which determines the arrays."""

from dataclasses import replace

from hypothesis import strategies as st
from numba import config

from recurrent.conformance.problem import Case, Problem, flat, named

SLOW = bool(config.DISABLE_JIT)

# Sizes around those of vector registers and tiles; 1 and odd sizes leave partial vectors.
WIDTHS = (
    [1, 2, 3, 5, 8, 15, 16, 17, 33]
    if SLOW
    else [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 50, 63, 64, 65]
)


def cases(dtype="float64", *, small=False, **fixed):
    """Return a strategy for cases; `small` ones where every entry of a gradient is checked."""
    width = st.sampled_from([1, 2, 3, 5] if small else WIDTHS)
    return st.builds(
        Case,
        **{
            "T": st.integers(1, 4 if small else 7),
            "N": st.integers(1, 3 if small else 14),
            "D": width,
            "H": width,
            "dtype": st.just(dtype),
            "seed": st.integers(0, 2**16),
            "scale": st.sampled_from([1.0, 0.1, 3.0]),
            "initial": st.booleans(),
            "ragged": st.booleans(),
            "reverse": st.booleans(),
            **{k: v if isinstance(v, st.SearchStrategy) else st.just(v) for k, v in fixed.items()},
        },
    )


__all__ = ["SLOW", "WIDTHS", "Case", "Problem", "cases", "flat", "named", "replace"]
