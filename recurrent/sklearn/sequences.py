"""X as people have it, in one form: an array (n, T, D), or a list of arrays (T_i, D)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, validate_data

from .. import checks

LAYOUTS = ("ntd", "ndt")
FLOATS = (np.float64, np.float32)


@contextmanager
def named(name: str) -> Iterator[None]:
    """Shorten an error of scikit-learn about an argument to its first line, and name that."""
    try:
        yield
    except (TypeError, ValueError) as error:
        line = str(error).strip().partition("\n")[0][:300]
        kind = type(error) if type(error) in (TypeError, ValueError) else ValueError
    else:
        return
    raise kind(line if name in line.split() else f"{name}: {line}")


def is_list(X: Any) -> bool:
    """Return whether X is a list of sequences rather than an array or a table."""
    if isinstance(X, np.ndarray) or hasattr(X, "iloc"):  # a Series of pandas
        objects = X.ndim == 1 and X.dtype == object and len(X) > 0
        return objects and all(np.ndim(a) for a in X)
    if not isinstance(X, (list, tuple)) or not X:
        return False
    if any(len(getattr(a, "shape", ())) for a in X):
        return True
    nested = [a for a in X if isinstance(a, (list, tuple))]
    return len(nested) == len(X) and len({len(a) for a in nested}) > 1


def sequences(estimator: Any, X: Any, lengths: Any, reset: bool) -> Any:
    """Return X as an array (n, T, D), or as a list of arrays (T_i, D) if lengths differ.

    `reset` says whether the estimator learns the number of features, or compares it.
    """
    layout = checks.choice(estimator.layout, "layout", LAYOUTS)
    if is_list(X):
        if lengths is not None:
            raise ValueError("lengths must be None if X is a list, whose sequences have their own")
        found: Any = [sequence(a, f"X[{n}]", layout) for n, a in enumerate(X)]
        widths = [a.shape[-1] for a in found]
        for n, width in enumerate(widths):
            if width != widths[0]:
                raise ValueError(
                    f"X[{n}] must have {widths[0]} features as X[0], got {width}"
                    f"{_advice(layout, found[n].shape[0] == found[0].shape[0])}"
                )
        _features(estimator, (), widths[0], reset)
        return found
    if len(_shape(X)) == 3:
        a = _numbers(X, "X")
        a = a.swapaxes(1, 2) if layout == "ndt" else a
        if 0 in a.shape:
            raise ValueError(f"X must have samples, steps and features, got {_shape(X)}")
        _features(estimator, _shape(X), a.shape[2], reset)
        if lengths is None:
            _check_finite(a, "X", True)
    else:
        a = _table(estimator, X, lengths is not None, reset)[:, :, None]
    if lengths is None:
        return a
    steps = np.asarray(checks.as_array(lengths, "lengths"))
    if steps.dtype.kind not in "iu":
        raise TypeError(f"lengths must be integers, got {steps.dtype.name}")
    checks.shape(steps, "lengths", (len(a),), "(n,)")
    for n in np.flatnonzero((steps < 1) | (steps > a.shape[1]))[:1]:
        raise ValueError(
            f"lengths must be between 1 and T = {a.shape[1]}, got {steps[n]} for sample {n}"
        )
    found = [row[:count] for row, count in zip(a, steps, strict=True)]
    for n, row in enumerate(found):
        _check_finite(row, f"X[{n}]")
    return found


def _shape(X: Any) -> tuple[int, ...]:
    """Return the shape of an array, a table or nested lists."""
    return tuple(getattr(X, "shape", ())) or np.asarray(X).shape


def _table(estimator: Any, X: Any, padded: bool, reset: bool) -> np.ndarray:
    """Return a 2-D X, one univariate series a row, checked as scikit-learn does."""
    shape = _shape(X)
    if len(shape) != 2:
        numbers = 0 not in shape and np.asarray(X).dtype.kind in "fiub"
        got = shape if numbers and shape else checks.shown(X)
        advice = "; Reshape your data: X[None] is one sequence, X[:, None] has one step each"
        raise ValueError(
            f"X must be (n, T, D), a table (n, T) or a list of (T_i, D), got {got}"
            f"{advice if numbers and len(shape) == 1 else ''}"
        )
    if hasattr(X, "iloc") and 0 not in shape and np.ndim(X.iloc[0, 0]):
        raise ValueError(
            "X must have numbers in its cells, got arrays: a column of sequences is a list of them,"
            " X[column].tolist()"
        )
    if not hasattr(X, "columns") and not hasattr(X, "tocsr"):  # no table of pandas or SciPy
        X = checks.as_array(X, "X")
    options: dict[str, Any] = dict(dtype=list(FLOATS), ensure_all_finite=not padded)
    if reset or estimator._from_table:
        with named("X"):
            a: Any = validate_data(estimator, X, reset=reset, **options)
        if reset:
            estimator._from_table = True
        return a
    if estimator.n_features_in_ != 1:
        one = shape[LAYOUTS.index(estimator.layout) - 1] == estimator.n_features_in_
        raise ValueError(
            f"X must be (n, T, D) with D = {estimator.n_features_in_} as in fit, or a list of "
            f"(T_i, D), got {shape}{': X[None] if it is one sequence' if one else ''}"
        )
    with named("X"):
        return check_array(X, **options)


def _features(estimator: Any, shape: tuple[int, ...], width: int, reset: bool) -> None:
    """Learn the number of features of sequences, or compare it with that of `fit`."""
    if reset:
        vars(estimator).pop("feature_names_in_", None)  # of an earlier table
        estimator.n_features_in_, estimator._from_table = width, False
        return
    expected = 1 if estimator._from_table else estimator.n_features_in_
    if width != expected:
        raise ValueError(
            f"X has {width} features, but {type(estimator).__name__} is expecting {expected} "
            f"features as input{_advice(estimator.layout, shape[1:2] == (expected,))}"
        )


def _advice(layout: str, turned: bool) -> str:
    """Return the end of an error for X that looks as if its axes were those of the other layout."""
    other = LAYOUTS[1 - LAYOUTS.index(layout)]
    return f'; if its axes are those of layout="{other}", pass that' if turned else ""


def sequence(value: Any, name: str, layout: str) -> np.ndarray:
    """Return one sequence of a list as (T, D)."""
    a = _numbers(value, name)
    if a.ndim not in (1, 2) or 0 in a.shape:
        words = "(T, D)" if layout == "ntd" else "(D, T)"
        raise ValueError(f"{name} must be {words} or (T,) with at least one step, got {a.shape}")
    a = a[:, None] if a.ndim == 1 else a.T if layout == "ndt" else a
    _check_finite(a, name)
    return a


def _numbers(value: Any, name: str) -> np.ndarray:
    """Return an array of numbers as float32 or float64."""
    a = checks.as_array(value, name)
    if a.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be numbers, got {a.dtype.name}")
    return a if a.dtype in FLOATS else a.astype(np.float64)


def _check_finite(a: np.ndarray, name: str, pads: bool = False) -> None:
    """Raise ValueError if an array has NaN or infinity."""
    if np.isfinite(a).all():
        return
    what = "NaN" if np.isnan(a).any() else "infinity"
    place = tuple(int(k) for k in np.argwhere(~np.isfinite(a))[0])
    advice = "; if that is padding, pass lengths=" if pads else ""
    raise ValueError(f"{name} must be finite, got {what} at {place}{advice}")
