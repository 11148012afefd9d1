"""How far two correct programs may differ: one function of dtype and of the number of terms that are summed."""

from __future__ import annotations

from typing import Any

import numpy as np


def require(true: bool, message: str) -> None:
    """Raise AssertionError unless `true`: what an assert statement does, under `python -O` too."""
    if not true:
        raise AssertionError(message)


def tolerance(dtype: Any, terms: float, scale: float = 1.0) -> float:
    """Largest difference allowed between two values that were each computed in `dtype` with `terms` rounded additions.

    A sum of n rounded terms is off by at most n u times the size of its partial sums; the roundings are as good as
    independent, so that lambda sqrt(n) u is exceeded with probability 2 exp(-lambda^2 / 2) only (Higham and Mary, "A new
    approach to probabilistic rounding error analysis", 2019). With u = eps / 2, two programs that err each, and
    lambda = 4, the sums may differ by 4 eps sqrt(n); 4 eps more are for what is not a sum: an activation function of a
    few ulp on either side. `scale`: the size of the partial sums, in the unit of the values that are compared.

    >>> tolerance(np.float64, 1) == 8 * 2.0**-52
    True
    >>> round(tolerance(np.float32, 100) / tolerance(np.float32, 1), 6)
    5.5
    """
    return float(np.finfo(dtype).eps) * (4 + 4 * float(np.sqrt(max(terms, 1)))) * float(scale)


def assert_close(
    actual: Any, expected: Any, terms: float, scale: float | None = None, what: str = ""
) -> None:
    """Equal shapes, NaN in the same places, and everywhere within `tolerance` of the coarser dtype of the two.

    `scale` is by default the largest magnitude in `expected`.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    require(
        actual.shape == expected.shape,
        f"{what}: shape {actual.shape} where {expected.shape} is expected",
    )
    dtype = max(actual.dtype, expected.dtype, key=lambda d: np.finfo(d).eps)
    if scale is None:
        finite = np.abs(expected[np.isfinite(expected)])
        scale = finite.max() if finite.size else 0.0
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=tolerance(dtype, terms, scale), err_msg=what
    )


def assert_same_bits(actual: Any, expected: Any, what: str = "") -> None:
    """Equal shapes, dtypes and bits; a NaN equals a NaN, and 0 equals -0."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    require(
        actual.dtype == expected.dtype, f"{what}: {actual.dtype} where {expected.dtype} is expected"
    )
    np.testing.assert_array_equal(actual, expected, err_msg=what, strict=True)
