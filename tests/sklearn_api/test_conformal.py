"""Intervals: the order statistic of conformal prediction, and coverage of data not seen."""

import math
from fractions import Fraction

import numpy as np
import pytest

from recurrent.sklearn import RecurrentForecaster
from recurrent.sklearn.conformal import Intervals, needed_for


def test_a_width_is_an_order_statistic_of_the_residuals():
    residuals = np.random.default_rng(0).random(101)
    widths = Intervals([residuals, 2 * residuals]).widths((50, 80, 95))
    for level, row in zip((50, 80, 95), widths, strict=True):
        expected = sorted(residuals)[math.ceil(Fraction(102 * level, 100)) - 1]
        assert row.tolist() == [expected, 2 * expected]


@pytest.mark.parametrize(("level", "needed"), [(50, 1), (80, 4), (90, 9), (95, 19), (99, 99)])
def test_a_level_needs_so_many_residuals(level, needed):
    assert needed_for(level) == needed
    assert Intervals([np.arange(needed)]).widths((level,)) == needed - 1
    with pytest.warns(UserWarning, match=f"{level} % needs {needed} residuals.*got {needed - 1}"):
        Intervals([np.arange(needed - 1)]).widths((level,))


def test_residuals_that_are_not_known_do_not_count():
    known = np.arange(30.0)
    with_missing = np.concatenate([known, [np.nan] * 9])
    assert Intervals([with_missing]).widths((80,)) == Intervals([known]).widths((80,))


def coverage(shrink=1.0, horizon=4, N=400, L=60):
    """The share of held-out values of autoregressive series inside the intervals, per level."""
    rng = np.random.default_rng(0)
    y = np.zeros((L + horizon, N))
    for t in range(1, len(y)):
        y[t] = 0.8 * y[t - 1] + rng.standard_normal(N)
    y = 100 + 10 * y * rng.uniform(0.5, 2, N)
    forecaster = RecurrentForecaster(
        horizon, cell="gru", hidden_size=4, max_epochs=1, window=20, random_state=0
    ).fit(y[:L])
    found = forecaster.predict(level=(80, 95))
    middle, after = found[..., 0], y[L:]
    shares = []
    for k in (1, 3):
        low, high = (middle + shrink * (found[..., k + i] - middle) for i in (0, 1))
        shares.append(((low <= after) & (after <= high)).mean())
    return shares


def test_coverage_of_held_out_values():
    """1,600 values of 400 series: a share of 80 % has a standard error of 2 % at most."""
    assert coverage() == pytest.approx([0.8, 0.95], abs=0.05)


def test_intervals_that_are_too_narrow_would_be_found():
    assert coverage(shrink=0.8)[0] < 0.75
