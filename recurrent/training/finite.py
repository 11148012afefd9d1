"""Gradient clipping, and the error of a loss or gradient that is not finite."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import checks
from ..data import Batch, Pair
from ..models.base import Model
from ..optim import clip_norm, clip_value
from .history import History


def clip(gradient: np.ndarray, **limits: float) -> bool:
    """Clip the gradient in place and return whether it was finite."""
    if "clip_norm" in limits:
        finite = math.isfinite(clip_norm(gradient, limits["clip_norm"]))
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            finite = math.isfinite(gradient.sum())
    if "clip_value" in limits and finite:
        clip_value(gradient, limits["clip_value"])
    return finite


def not_finite(
    what: str,
    update: int,
    batches: list[Batch],
    model: Model,
    history: History,
    known: Sequence[str] = (),
) -> FloatingPointError:
    """Return an error that says why, and that holds the history before the failing update.

    `known` are causes that the loss has found.
    """
    causes = [*known] + [cause for batch in batches for cause in _causes(batch, model)]
    cause = "; ".join(dict.fromkeys(causes)) or "try a lower lr or clip_norm"
    error: Any = FloatingPointError(
        f"update {update}: {what}; the parameters before it are kept; {cause}"
    )
    error.history = history
    return error


def _causes(batch: Batch, model: Model) -> Iterator[str]:
    """Yield where a parameter, x or the targets are not finite; padding does not count."""
    pair = batch.lengths if isinstance(batch.lengths, Pair) else Pair(batch.lengths, batch.lengths)
    named = [("x", batch.x, pair.source), ("targets", batch.targets, pair.target)]
    parts: list[Any] = []  # arrays, of several inputs or outputs each one
    if isinstance(batch.x, Pair):
        named[0] = ("the source of x", batch.x.source, pair.source)
    for name, value, lengths in named:
        if not isinstance(value, dict):
            parts.append((name, value, lengths))
            continue
        own = lengths if isinstance(lengths, dict) else dict.fromkeys(value, lengths)
        parts += [(f"{name}[{key!r}]", a, own.get(key)) for key, a in value.items()]
    parts += [(f"parameter {name}", a, None) for name, a in model.parameters.items()]
    for name, a, lengths in parts:
        a = np.asarray(a)
        bad = ~np.isfinite(a) if a.dtype.kind == "f" else np.zeros(0, bool)
        if lengths is not None and bad.ndim > 1:
            shape: Any = bad.shape
            (T, N), steps = shape[:2], np.asarray(lengths)
            if steps.shape in ((N,), (T, N)):
                inside = checks.inside(steps, T).reshape(T, N, *[1] * (bad.ndim - 2))
                bad &= inside
        for place in np.argwhere(bad)[:1].tolist():
            value = a[tuple(place)]
            fills = np.isnan(value) and not name.startswith("parameter")
            advice = " (missing values: data.fill_missing)" if fills else ""
            yield f"{name} has {value} at {tuple(place)}{advice}"
