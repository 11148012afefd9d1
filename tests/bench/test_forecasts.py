"""The comparison of forecasts: its data, its baselines, and a PyTorch network that is the same."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from bench.real import forecasts
from bench.real.forecasts import SERIES, InPyTorch, co2, markdown, measure, ridge, sunspots
from recurrent.sklearn import RecurrentForecaster

needs_statsmodels = pytest.mark.skipif(not find_spec("statsmodels"), reason="needs statsmodels")
needs_torch = pytest.mark.skipif(not find_spec("torch"), reason="needs PyTorch")


def wave(L=80, seed=0):
    return np.sin(np.arange(L) / 2) + 0.1 * np.random.default_rng(seed).standard_normal(L) + 5


@needs_statsmodels
def test_the_series_are_those_of_statsmodels():
    y = sunspots()
    assert (len(y), y[0], y[-1]) == (309, 5.0, 2.9)
    y = co2()
    assert len(y) == 526
    assert np.flatnonzero(np.isnan(y)).tolist() == [3, 7, 71, 72, 73]
    assert y[0] == 316.1
    assert y[-1] == pytest.approx(np.mean([370.3, 370.8, 371.2, 371.3, 371.5]), abs=0.2)


def test_ridge_is_that_of_scikit_learn():
    y = wave()
    first, n, horizon = 60, 6, 3
    mean, std = y[:first].mean(), y[:first].std()
    z = (y - mean) / std
    rows = [z[t : t + n] for t in range(first - n - horizon + 1)]
    targets = [z[t + n : t + n + horizon] for t in range(len(rows))]
    model = Ridge(alpha=1.0).fit(rows, targets)
    known = [y[:60], y[:63]]
    expected = model.predict([(a[-n:] - mean) / std for a in known]) * std + mean
    np.testing.assert_allclose(ridge(y[:first], known, n, horizon), expected)


def test_the_seasonal_naive_forecast_repeats_the_last_season():
    series = replace(SERIES["co2"], horizon=5, season=3)
    assert forecasts.seasonal_naive(np.arange(9.0), series).tolist() == [6, 7, 8, 6, 7]


@needs_torch
@pytest.mark.parametrize("strategy", ["direct", "recursive"])
def test_the_network_of_pytorch_is_the_same(strategy):
    options = dict(
        strategy=strategy, hidden_size=4, max_epochs=3, lr=0.01, calibration_fraction=None,
        early_stopping=False, random_state=0,
    )  # fmt: skip
    y = wave()
    y[30] = np.nan
    ours, theirs = (
        kind(3, **options).cross_validate(y, windows=2, level=None)
        for kind in (RecurrentForecaster, InPyTorch)
    )
    np.testing.assert_allclose(ours["yhat"], theirs["yhat"], rtol=1e-4)
    untrained = RecurrentForecaster(3, **(options | dict(max_epochs=1)))
    other = untrained.cross_validate(y, windows=2, level=None)
    assert not np.allclose(ours["yhat"], other["yhat"], rtol=1e-3)


@needs_torch
def test_a_table_has_every_method():
    series = replace(
        SERIES["co2"], read=wave, horizon=3, windows=2, season=6,
        options=dict(hidden_size=2, max_epochs=1, window=16, early_stopping=False),
    )  # fmt: skip
    text = markdown(series, measure(series, seeds=2))
    names = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    assert names[2:] == [
        "seasonal naive", "ridge on 6 values", "ridge on 12 values", "recurrent", "PyTorch",
        "recurrent with intervals",
    ]  # fmt: skip
