"""Keeps a trained network at the end of its series, as a forecaster has it after `fit`."""

from __future__ import annotations

import numpy as np

from .conformal import Intervals
from .frames import Form, Panel
from .learning import Trained, exogenous, in_units
from .rolling import rolling_forecasts


class Fitted:
    """A trained network at the end of its series, with the widths of intervals."""

    def __init__(self, panel: Panel, trained: Trained, intervals: Intervals | None, horizon: int):
        self.form: Form = panel.form
        self.ends = [dates[-1] for dates in panel.dates]
        self.trained, self.intervals, self.horizon = trained, intervals, horizon
        self.runner = trained.runner(panel)

    def forecast(self, future: np.ndarray | None, levels: tuple) -> np.ndarray:
        """Return forecasts (horizon, N, C), from the columns known ahead (horizon, N, A)."""
        if future is not None:
            future = self.trained.ahead(future)
        return self.with_intervals(self.runner.forecast(self.horizon, future), levels)

    def with_intervals(self, forecast: np.ndarray, levels: tuple) -> np.ndarray:
        """Return forecasts (horizon, N) with the ends of intervals beside them, (horizon, N, C)."""
        columns = [forecast]
        if levels and self.intervals is not None:
            for half in self.intervals.widths(levels):
                width = half[:, None] * self.trained.scales.scale
                columns += [forecast - width, forecast + width]
        return np.stack(columns, axis=-1)

    def advance(self, panel: Panel) -> None:
        """Go on with new values of some series."""
        known = {key: n for n, key in enumerate(self.form.ids)}
        rows = np.array([known[key] for key in panel.form.ids])
        x = [self.trained.scaled(a) for a in exogenous(panel)]
        counts = np.array([len(a) for a in panel.y])
        own = np.repeat(rows, counts)
        scales = self.trained.scales
        in_units(np.concatenate(panel.y), scales.mean[own], scales.scale[own], "y_new")
        for j in range(counts.max(initial=0)):
            some = np.flatnonzero(counts > j)
            y_j, x_j = np.array([panel.y[n][j] for n in some]), np.stack([x[n][j] for n in some])
            order = rows[some]
            if len(some) < len(self.ends):
                part = self.runner.rows(order)
                part.push(y_j, x_j)
                self.runner.put(order, part)
            else:
                back = np.argsort(order)
                self.runner.push(y_j[back], x_j[back])
        for n, dates in zip(rows, panel.dates, strict=True):
            if len(dates):
                self.ends[n] = dates[-1]


def calibrated(
    trained: Trained, panel: Panel, ends: list[int], origins: int, horizon: int
) -> Intervals:
    """Return intervals by the residuals of forecasts from each step after the ends."""
    x = [trained.scaled(a) for a in exogenous(panel)]
    missed: list[list[np.ndarray]] = [[] for _ in range(horizon)]
    rolling = rolling_forecasts(
        trained.runner(panel.until(ends)), panel.y, x, ends, horizon, origins, 1
    )
    for values, forecast in rolling:
        for k, row in enumerate(np.abs(values - forecast) / trained.scales.scale):
            missed[k].append(row)
    return Intervals([np.concatenate(rows) for rows in missed])
