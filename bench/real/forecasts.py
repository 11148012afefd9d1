"""Forecasts of sunspots and CO2, the series of statsmodels, beside baselines and PyTorch.

Every method learns from what precedes the first cutoff, then forecasts from several cutoffs, each
with the values up to it. Errors are means over all forecast values, those of networks also over
seeds. The PyTorch network has the same initial weights, batches, loss, optimiser and clipping, and
its seconds are those of training and of forecasting by this engine; both run on one thread.
"""

from __future__ import annotations

import csv
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recurrent import get_num_threads, set_num_threads
from recurrent.sklearn import RecurrentForecaster
from recurrent.sklearn.fitted import Fitted
from recurrent.sklearn.learning import Trained, prepare
from recurrent.training.history import History

from .tables import heading


@dataclass(frozen=True)
class Series:
    """Holds a series, what is forecast of it, and the options of the network."""

    name: str
    read: Callable[[], np.ndarray]
    unit: str
    horizon: int
    windows: int
    season: int
    options: dict[str, Any]


class Row(NamedTuple):
    """Holds the mean absolute and the root mean squared error of a method for each seed."""

    method: str
    errors: list[tuple[float, float]]
    seconds: list[float]
    note: str = ""


def table_of(name: str) -> list[list[str]]:
    """Return the rows of a table that statsmodels ships, without importing statsmodels."""
    found = find_spec("statsmodels")
    if found is None or found.origin is None:
        raise ImportError("the series of statsmodels are needed: pip install statsmodels")
    path = Path(found.origin).parent / "datasets" / name / f"{name}.csv"
    with path.open(encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def sunspots() -> np.ndarray:
    """Return the yearly numbers of sunspots, 1700 to 2008."""
    return np.array([float(row[1]) for row in table_of("sunspots")])


def co2() -> np.ndarray:
    """Return monthly means of the CO2 at Mauna Loa, 1958 to 2001, NaN where none was measured."""
    rows = [(f"{d[:4]}-{d[4:6]}", float(v) if v else np.nan) for d, v in table_of("co2")]
    months = np.array([month for month, _ in rows], "M8[M]").astype(int)
    weeks = np.array([value for _, value in rows])
    return np.array(
        [
            np.nanmean(part) if not np.isnan(part).all() else np.nan
            for month in range(months[0], months[-1] + 1)
            for part in [weeks[months == month]]
        ]
    )


SMALL = dict(hidden_size=32, lr=3e-3, max_epochs=30, early_stopping=False)
SERIES = {
    "sunspots": Series(
        "sunspots", sunspots, "a year", 11, 6, 11,
        dict(strategy="recursive", baseline=None, **SMALL),
    ),
    "sunspots-direct": Series(
        "sunspots-direct", sunspots, "a year", 11, 6, 11,
        dict(baseline=None, **(SMALL | dict(early_stopping=True))),
    ),
    "co2": Series("co2", co2, "a month", 12, 10, 12, dict(lags=12, **SMALL)),
}  # fmt: skip


def measure(series: Series, seeds: int = 5) -> list[Row]:
    """Return what each method reaches."""
    y, horizon, windows = series.read(), series.horizon, series.windows
    first = len(y) - horizon * windows
    truth = y[first:].reshape(windows, horizon)
    known = [y[: first + k * horizon] for k in range(windows)]
    methods: list[tuple[str, Callable[[], np.ndarray]]] = [
        ("seasonal naive", lambda: np.array([seasonal_naive(a, series) for a in known])),
        *(
            (f"ridge on {n} values", lambda n=n: ridge(y[:first], known, n, horizon))
            for n in (series.season, 2 * series.season)
        ),
    ]
    threads = get_num_threads()
    set_num_threads(1)
    try:
        return _measured(methods, series, y, truth, seeds)
    finally:
        set_num_threads(threads)


def _measured(methods, series: Series, y, truth, seeds: int) -> list[Row]:
    """Return the rows of all methods."""
    rows = []
    for name, forecast in methods:
        start = time.perf_counter()
        found = forecast()
        rows.append(Row(name, [errors(found, truth)], [time.perf_counter() - start]))
    for name, kind in (("recurrent", RecurrentForecaster), ("PyTorch", InPyTorch)):
        if kind is InPyTorch and series.options["early_stopping"]:
            continue
        rows.append(network(name, kind, series, y, truth, seeds))
    return [*rows, coverage(series, y, truth, seeds)]


def seasonal_naive(y: np.ndarray, series: Series) -> np.ndarray:
    """Return the values one season before."""
    return y[len(y) - series.season :][np.arange(series.horizon) % series.season]


def ridge(y: np.ndarray, known: list[np.ndarray], n: int, horizon: int) -> np.ndarray:
    """Return forecasts by one ridge regression on the last n values, with a penalty of 1."""
    mean, std = np.nanmean(y), np.nanstd(y)
    z = (y - mean) / std
    parts = np.lib.stride_tricks.sliding_window_view(z, n + horizon)
    parts = parts[np.isfinite(parts).all(axis=1)]
    x, targets = parts[:, :n], parts[:, n:]
    middle, center = x.mean(axis=0), targets.mean(axis=0)
    x, targets = x - middle, targets - center
    weights = np.linalg.solve(x.T @ x + np.eye(n), x.T @ targets)
    last = np.array([(a[-n:] - mean) / std for a in known])
    return ((last - middle) @ weights + center) * std + mean


def network(name: str, kind: Any, series: Series, y, truth, seeds: int) -> Row:
    """Return what a network reaches; the first fit, which may compile kernels, does not count."""
    options = dict(level=None, windows=series.windows)
    plain = dict(calibration_fraction=None, **series.options)
    kind(series.horizon, random_state=0, **(plain | dict(max_epochs=1))).cross_validate(
        y, **options
    )
    found, seconds = [], []
    for seed in range(seeds):
        model = kind(series.horizon, random_state=seed, **plain)
        start = time.perf_counter()
        table = model.cross_validate(y, **options)
        seconds.append(time.perf_counter() - start)
        found.append(errors(table["yhat"].reshape(truth.shape), truth))
    return Row(name, found, seconds)


def coverage(series: Series, y, truth, seeds: int) -> Row:
    """Return what recurrent reaches with intervals, and how many values they hold."""
    found, seconds, shares = [], [], []
    for seed in range(seeds):
        model = RecurrentForecaster(series.horizon, random_state=seed, **series.options)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few residuals
            table = model.cross_validate(y, windows=series.windows, level=(80, 95))
        seconds.append(time.perf_counter() - start)
        found.append(errors(table["yhat"].reshape(truth.shape), truth))
        shares.append(
            [
                np.mean(
                    (table[f"yhat-lo-{p}"] <= table["y"]) & (table["y"] <= table[f"yhat-hi-{p}"])
                )
                for p in (80, 95)
            ]
        )
    low, high = np.mean(shares, axis=0)
    return Row("recurrent with intervals", found, seconds, f"{low:.0%} in 80 %, {high:.0%} in 95 %")


def errors(forecast: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return the mean absolute error and the root of the mean squared error."""
    missed = (forecast - truth)[~np.isnan(truth)]
    return float(np.abs(missed).mean()), float(np.sqrt((missed**2).mean()))


class InPyTorch(RecurrentForecaster):
    """The same forecaster, its network trained by PyTorch."""

    def _learn(self, panel, features, options):
        import torch

        torch.set_num_threads(1)
        prepared = prepare(panel, features, options)
        model = prepared.model
        layers = torch.nn.ModuleList(
            torch.nn.LSTM(layer.in_features, layer.out_features)
            if layer.cell is not None
            else torch.nn.Linear(layer.in_features, layer.out_features)
            for layer in model
        )
        layers.load_state_dict({n: torch.tensor(a) for n, a in model.parameters.items()})
        optimizer = torch.optim.Adam(layers.parameters(), lr=self.lr)
        for _ in range(options.max_epochs):
            for batch in prepared.batches:
                x, targets = torch.from_numpy(batch.x), torch.from_numpy(batch.targets)
                for layer in layers:
                    x = layer(x)
                    x = x[0] if isinstance(x, tuple) else x
                known = ~torch.isnan(targets)
                loss = ((x - targets)[known] ** 2).mean()
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(layers.parameters(), options.clip_norm)
                optimizer.step()
        model.parameters.update({n: p.detach().numpy() for n, p in layers.state_dict().items()})
        trained = Trained(
            model, features, prepared.scales, prepared.columns, History(), [],
            self.strategy == "recursive",
        )  # fmt: skip
        return Fitted(panel, trained, None, self.horizon)


def title(seeds: int) -> str:
    """Return a title with what is compared, on which machine and with which versions."""
    words = "mean ± standard deviation over seeds; median seconds on one thread"
    packages = ("numpy", "numba", "torch", "statsmodels")
    return heading("Forecasts of real series", f"forecasts --seeds {seeds}", packages, words)


def markdown(series: Series, rows: list[Row]) -> str:
    """Return a table in Markdown."""
    steps = f"{series.windows} x {series.horizon} steps of {series.unit}"
    options = ", ".join(f"{k}={v!r}" for k, v in series.options.items())
    lines = [
        f"### {series.name}: {steps}",
        "",
        f"Network: {options}.",
        "",
        "| method | mean absolute error | root mean squared error | seconds | |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = [row.method]
        for values in zip(*row.errors, strict=True):
            spread = f" ± {statistics.stdev(values):.3g}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.4g}{spread}")
        cells += [f"{statistics.median(row.seconds):.2g}", row.note]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])
