"""Scaling of features by their statistics over the valid steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..checks.guided import Guided
from ..engine import ragged

KINDS = ("standard", "minmax")


class Scaler(Guided):
    """Scales each feature by its mean and standard deviation, or to the range 0 to 1.

    Padding and NaN do not count. A feature that is constant becomes 0.

    Parameters
    ----------
    kind : {"standard", "minmax"}
        Subtract the mean and divide by the standard deviation, or subtract the minimum and divide
        by maximum - minimum.

    Attributes
    ----------
    shift : ndarray, shape (D,), float64
        What is subtracted from each feature; None before `fit`.
    scale : ndarray, shape (D,), float64
        What each feature is then divided by; None before `fit`.

    Examples
    --------
    >>> series = np.array([[1.0, 50.0], [3.0, np.nan], [5.0, 70.0]], np.float32)
    >>> scaler = Scaler("minmax").fit(series)
    >>> scaled = scaler.transform(series)
    >>> scaled.tolist()
    [[0.0, 0.0], [0.5, nan], [1.0, 1.0]]
    >>> scaler.inverse_transform(scaled).tolist() == series.tolist()
    False
    >>> np.array_equal(scaler.inverse_transform(scaled), series, equal_nan=True)
    True

    `describe` is plain data for a JSON file, from which `Scaler.build` makes an equal one:

    >>> Scaler.build(scaler.describe())
    Scaler(kind='minmax', features=2)
    """

    def __init__(self, kind: str = "standard"):
        self.kind = checks.choice(kind, "kind", KINDS)
        self.shift: np.ndarray | None = None
        self.scale: np.ndarray | None = None

    def __repr__(self):
        fitted = "" if self.shift is None else f", features={len(self.shift)}"
        return f"Scaler(kind={self.kind!r}{fitted})"

    def fit(self, x: Any, lengths: Any = None, *, batch_first: bool = False) -> Scaler:
        """Measure the features of data.

        Parameters
        ----------
        x : ndarray, shape (T, N, D), (L, D) or (L,), or list of arrays (T_i, D) or (T_i,)
            The data; the last axis is that of the features, and (L,) is one feature.
        lengths : ndarray, shape (N,), int, or mask, shape (T, N) or (L,), bool, optional
            The steps that count.
        batch_first : bool
            Whether x, and a mask, are (N, T, ...).

        Returns
        -------
        Scaler
            This one.

        Raises
        ------
        ValueError, TypeError
            If the shapes do not fit, or a feature has no valid value.
        """
        rows = self._valid_rows(x, lengths, checks.flag(batch_first, "batch_first"))
        for d in np.flatnonzero(np.isnan(rows).all(axis=0))[:1]:
            raise ValueError(f"x must have a valid value of each feature, got none of feature {d}")
        for d in np.flatnonzero(np.isinf(rows).any(axis=0))[:1]:
            raise ValueError(f"x must be finite or NaN, got inf in feature {d}")
        low, high = np.nanmin(rows, axis=0), np.nanmax(rows, axis=0)
        if self.kind == "standard":
            # In units of a power of two, which change no bit, squares neither overflow nor vanish.
            unit = np.exp2(np.frexp(np.maximum(abs(low), abs(high)))[1] - 1.0)
            rows = rows / unit
            shift, scale = np.nanmean(rows, axis=0) * unit, np.nanstd(rows, axis=0) * unit
        else:
            shift, scale = low, high - low
        # The deviation of a constant may be a rounding error.
        self.shift, self.scale = shift, np.where((high > low) & (scale > 0), scale, 1.0)
        return self

    def _valid_rows(self, x, lengths, batch_first) -> np.ndarray:
        """Return the features of the valid steps, (S, D), float64."""
        if ragged.is_list(x):
            if lengths is not None:
                raise ValueError("lengths must be None if x is a list, which has its own lengths")
            parts = [_features(a, f"x[{n}]") for n, a in enumerate(x)]
            for n, part in enumerate(parts):
                if part.shape[1:] != parts[0].shape[1:]:
                    raise ValueError(
                        f"x[{n}] must have {parts[0].shape[-1]} features as x[0], "
                        f"got {part.shape[-1]}"
                    )
            return np.concatenate([a.reshape(-1, a.shape[-1]) for a in parts]).astype(np.float64)
        a = _features(x, "x")
        if lengths is not None:
            steps = checks.as_array(lengths, "lengths")
            if a.ndim == 2 and steps.dtype == bool:
                checks.shape(steps, "lengths as a mask", a.shape[:1], "(L,)")
                a = a[steps]
            elif a.ndim < 3:
                raise ValueError(f"lengths must be a mask (L,) = ({len(a)},) if x is one series")
            else:
                turned = a.swapaxes(0, 1) if batch_first else a
                mask = steps.dtype == bool and steps.ndim == 2
                valid = checks.valid_steps(
                    steps.T if mask and batch_first else steps, *turned.shape[:2]
                )
                a = turned[checks.inside(valid, len(turned))]
        return a.reshape(-1, a.shape[-1]).astype(np.float64)

    def transform(self, x: Any) -> Any:
        """Scale data.

        Parameters
        ----------
        x : ndarray, shape (..., D), or list of such arrays
            The data. With one feature the shape may be any.

        Returns
        -------
        ndarray, shape and dtype of x, or list
            Scaled data; integers become float64, and NaN stays.

        Raises
        ------
        ValueError, TypeError
            If the features are not those of `fit`.
        """
        return self._each(x, lambda a, shift, scale: (a - shift) / scale)

    def fit_transform(self, x: Any, lengths: Any = None, *, batch_first: bool = False) -> Any:
        """Measure the features of data and scale them.

        Parameters
        ----------
        x : ndarray, shape (T, N, D), (L, D) or (L,), or list of arrays (T_i, D) or (T_i,)
            The data.
        lengths : ndarray, shape (N,), int, or mask, shape (T, N) or (L,), bool, optional
            The steps that count.
        batch_first : bool
            Whether x, and a mask, are (N, T, ...).

        Returns
        -------
        ndarray, shape of x, or list
            Scaled data.
        """
        return self.fit(x, lengths, batch_first=batch_first).transform(x)

    def inverse_transform(self, x: Any) -> Any:
        """Scale data back.

        Parameters
        ----------
        x : ndarray, shape (..., D), or list of such arrays
            Scaled data, such as the outputs of a model. With one feature the shape may be any.

        Returns
        -------
        ndarray, shape and dtype of x, or list
            Data in their own units.

        Raises
        ------
        ValueError, TypeError
            If the features are not those of `fit`.
        """
        return self._each(x, lambda a, shift, scale: a * scale + shift)

    def _each(self, x, function) -> Any:
        """Apply a function of an array, the shift and the scale to an array or a list."""
        if self.shift is None:
            raise ValueError("this Scaler knows no features: call fit(x) first")
        if ragged.is_list(x):
            return [self._one(a, function, f"x[{n}]") for n, a in enumerate(x)]
        return self._one(x, function, "x")

    def _one(self, x, function, name) -> np.ndarray:
        """Apply the function in float64, and return the dtype of x."""
        a = checks.as_array(x, name)
        if a.dtype.kind not in "fiu":
            raise TypeError(f"{name} must be numbers, got {a.dtype.name}")
        shift: Any = self.shift
        D = len(shift)
        if D > 1 and a.shape[-1:] != (D,):
            raise ValueError(
                f"{name} must have {D} features on its last axis, got {a.shape}; targets of other "
                "features have a Scaler of their own"
            )
        y = function(a.astype(np.float64), shift, self.scale)
        return y.astype(a.dtype if a.dtype.kind == "f" else np.float64)

    def describe(self) -> dict:
        """Describe the scaler as plain data.

        Returns
        -------
        dict
            Kind, shift and scale, as JSON can hold them.
        """
        values = {"shift": self.shift, "scale": self.scale}
        plain = {k: None if v is None else v.tolist() for k, v in values.items()}
        return {"kind": self.kind, **plain}

    @classmethod
    def build(cls, description: Any) -> Scaler:
        """Build a scaler from its description.

        Parameters
        ----------
        description : dict
            The result of `describe`.

        Returns
        -------
        Scaler

        Raises
        ------
        ValueError, TypeError
            If it is anything else.
        """
        if not isinstance(description, dict) or description.keys() != {"kind", "shift", "scale"}:
            raise ValueError(
                f"description must be the dict of Scaler.describe, got {checks.shown(description)}"
            )
        scaler = cls(description["kind"])
        if description["shift"] is None and description["scale"] is None:
            return scaler
        shift, scale = (
            checks.array(description[k], k, ("float64",), "description: ")
            for k in ("shift", "scale")
        )
        if shift.ndim != 1 or shift.shape != scale.shape or len(shift) == 0:
            raise ValueError(
                f"description: shift and scale must be (D,), got {shift.shape} and {scale.shape}"
            )
        if not (np.isfinite(shift).all() and np.isfinite(scale).all() and (scale > 0).all()):
            raise ValueError("description: shift and scale must be finite, and scale above 0")
        scaler.shift, scaler.scale = shift, scale
        return scaler


def _features(x: Any, name: str) -> np.ndarray:
    """Return data as (..., D) of numbers; one axis is one feature."""
    a = checks.as_array(x, name)
    if a.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be numbers, got {a.dtype.name}")
    if a.ndim == 0 or a.size == 0:
        raise ValueError(f"{name} must be an array (..., D) with values, got {checks.shown(x)}")
    return a[:, None] if a.ndim == 1 else a
