"""Missing values: NaN in data, which no model computes with."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks


def fill_missing(x: Any, value: Any = 0.0) -> tuple[Any, Any]:
    """Replace each NaN by a number, and say where values are present.

    Parameters
    ----------
    x : ndarray, shape (T, ...), float, or list of such arrays
        Data with NaN for each missing value; the first axis is the time.
    value : float or "previous"
        What takes the place of a missing value; "previous" repeats the last one that is present,
        or 0 where none is.

    Returns
    -------
    filled : ndarray, shape of x, or list
        A copy without NaN.
    present : ndarray, shape of x, bool, or list
        Whether a value was present. `present.all(-1)` are the steps without a missing value: the
        mask that `lengths=` takes. `np.concatenate([filled, present], -1)` tells a model of them.

    Raises
    ------
    TypeError, ValueError
        If x is not an array of floats, or `value` is neither finite nor "previous".

    Examples
    --------
    >>> x = np.array([[1.0], [np.nan], [3.0]])
    >>> [a.T.tolist() for a in fill_missing(x)]
    [[[1.0, 0.0, 3.0]], [[True, False, True]]]
    >>> fill_missing(x, "previous")[0].T
    array([[1., 1., 3.]])
    """
    if isinstance(value, str):
        checks.choice(value, "value", ("previous",), also=" or a number")
    else:
        value = checks.number(value, "value")
    if isinstance(x, (list, tuple)):
        if not x:
            raise ValueError("x must be an array or a list of arrays, got an empty list")
        parts = [_fill(a, value, f"x[{n}]") for n, a in enumerate(x)]
        return [filled for filled, _ in parts], [present for _, present in parts]
    return _fill(x, value, "x")


def _fill(x: Any, value: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a filled copy of an array (T, ...), and where values are present."""
    a = checks.as_array(x, name)
    if a.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be numbers, got {a.dtype.name}")
    if a.ndim == 0:
        raise ValueError(f"{name} must be an array (T, ...), got {checks.shown(x)}")
    present = ~np.isnan(a)
    if value != "previous":
        return np.where(present, a, a.dtype.type(value) if a.dtype.kind == "f" else a), present
    steps = np.arange(len(a)).reshape(-1, *[1] * (a.ndim - 1))
    last = np.maximum.accumulate(np.where(present, steps, 0), axis=0)
    filled = np.take_along_axis(a, last, axis=0)
    return np.where(np.isnan(filled), a.dtype.type(0), filled), present
