"""The tolerance between two correct programs, from the dtype and the number of summed terms."""

from __future__ import annotations

from typing import Any

import numpy as np


def require(true: bool, message: str) -> None:
    """Raise AssertionError unless `true`, like an assert statement but under `python -O` too."""
    if not true:
        raise AssertionError(message)


def tolerance(dtype: Any, terms: float, scale: float = 1.0) -> float:
    """Return the largest difference allowed between two values that should be equal.

    Each value was computed in `dtype` with `terms` rounded additions. The error of a sum of n
    rounded terms is at most n u times the size of its partial sums, where u = eps / 2. Since the
    rounding errors are nearly independent, it exceeds lambda sqrt(n) u only with probability
    2 exp(-lambda^2 / 2) [1]_. Two programs and lambda = 4 give 4 eps sqrt(n). A further 4 eps are
    for activation functions, which are off by a few ulp on either side.

    Parameters
    ----------
    dtype : dtype
        The dtype of both computations.
    terms : float
        The number of rounded additions.
    scale : float, default 1.0
        The size of the partial sums, in the unit of the compared values.

    Returns
    -------
    float
        The tolerance, absolute.

    References
    ----------
    .. [1] Higham and Mary, "A new approach to probabilistic rounding error analysis", 2019.

    Examples
    --------
    >>> tolerance(np.float64, 1) == 8 * 2.0**-52
    True
    >>> round(tolerance(np.float32, 100) / tolerance(np.float32, 1), 6)
    5.5
    """
    return float(np.finfo(dtype).eps) * (4 + 4 * float(np.sqrt(max(terms, 1)))) * float(scale)


def assert_close(
    actual: Any, expected: Any, terms: float, scale: float | None = None, what: str = ""
) -> None:
    """Raise AssertionError unless two arrays are equal within `tolerance` of the coarser dtype.

    Shapes and the places of NaN must be equal. `scale` defaults to the largest magnitude in
    `expected`.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    require(
        actual.shape == expected.shape,
        f"{what}: expected shape {expected.shape}, got {actual.shape}",
    )
    dtype = max(actual.dtype, expected.dtype, key=lambda d: np.finfo(d).eps)
    if scale is None:
        finite = np.abs(expected[np.isfinite(expected)])
        scale = float(finite.max()) if finite.size else 0.0
    atol = tolerance(dtype, terms, scale)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol, err_msg=what)


def assert_same_bits(actual: Any, expected: Any, what: str = "") -> None:
    """Raise AssertionError unless shapes, dtypes and values are equal; NaN is NaN and 0 is -0."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    require(
        actual.dtype == expected.dtype, f"{what}: expected {expected.dtype}, got {actual.dtype}"
    )
    np.testing.assert_array_equal(actual, expected, err_msg=what, strict=True)
