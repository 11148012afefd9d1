"""The numbers of a training curve: losses, running means, validation losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from recurrent.training.history import History

POINTS = 300  # at most, of a smoothed curve


class Run(NamedTuple):
    """One training run: losses (U,) after update `start`, and validation (V, 2) of update, loss.

    `metrics` have by name the same as `validation`; `best` is of `monitor`, "loss" or a metric.
    """

    losses: np.ndarray
    start: int
    validation: np.ndarray
    best: tuple[int, float] | None
    metrics: dict[str, np.ndarray]
    monitor: str


def runs_of(history: Any) -> dict[str, Run]:
    """Return the runs by name, "" for a single history; TypeError for anything but histories."""
    if isinstance(history, Mapping) and "losses" not in history:
        return {str(name): _run(one) for name, one in history.items()}
    return {"": _run(history)}


def _run(history):
    values = history.to_dict() if isinstance(history, History) else history
    if not isinstance(values, Mapping) or "losses" not in values:
        raise TypeError(f"curve draws a History or its to_dict(), got {type(history).__name__}")
    try:
        losses = np.asarray(values["losses"], np.float64).reshape(-1)
        validation = np.asarray(values.get("validation") or np.empty((0, 2)), np.float64)
        validation = validation.reshape(-1, 2)
        metrics = values.get("metrics") or {}
        metrics = metrics if isinstance(metrics, Mapping) else {"metric": metrics}
        metrics = {
            str(name): np.asarray(pairs, np.float64).reshape(-1, 2)
            for name, pairs in metrics.items()
            if len(pairs)
        }
    except (TypeError, ValueError):
        raise TypeError(
            "history must hold losses, numbers, and validation, pairs of an update and a loss"
        ) from None
    return Run(
        losses,
        int(values.get("start") or 0),
        validation,
        values.get("best"),
        metrics,
        str(values.get("monitor") or "loss"),
    )


def running_mean(losses: np.ndarray) -> np.ndarray:
    """Return the exponential mean over a fiftieth of the curve.

    It is unbiased at the beginning and skips losses that are not finite.
    """
    keep = 1 - 1 / max(1.0, len(losses) / 50)
    total = weight = 0.0
    out = np.empty(len(losses))
    for k, v in enumerate(losses):
        if math.isfinite(v):
            total, weight = keep * total + v, keep * weight + 1
        out[k] = total / weight if weight else math.nan
    return out


def thinned(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
    """Return at most 2 * POINTS points that keep all peaks: minimum and maximum of each part."""
    if len(x) <= 2 * POINTS:
        return list(zip(x.tolist(), y.tolist(), strict=True))
    chosen = []
    for part in np.array_split(np.arange(len(x)), POINTS):
        chosen += sorted({part[y[part].argmin()], part[y[part].argmax()]})
    return [(float(x[k]), float(y[k])) for k in chosen]
