"""What the network reads and what it should output, against plain loops."""

import numpy as np
import pytest

from recurrent.conformance.tolerance import assert_same_bits
from recurrent.sklearn.features import LEVEL_LIMIT, Features

L, K = 40, 3


def series(seed=0, missing=0.2):
    rng = np.random.default_rng(seed)
    y = rng.standard_normal(L).cumsum() + 50
    y[rng.random(L) < missing] = np.nan
    return y, rng.standard_normal((L, 2))


def value_before(y, t, lag):
    """The value at t, or the nearest a multiple of the lag before that is present."""
    while t >= 0 and np.isnan(y[t]):
        t -= lag
    return y[t] if t >= 0 else np.nan


def last_of(y, t):
    return value_before(y, t, 1)


def lagged(y, t, k, lag):
    """The value a lag before target k of step t; whole lags until it is known."""
    place = t + k - lag
    while place > t:
        place -= lag
    return value_before(y, place, lag)


def base_of(y, t, k, baseline, lags):
    if baseline is None:
        return 0.0
    return last_of(y, t) if baseline == "last" else lagged(y, t, k, lags[0])


CASES = [
    (None, ()),
    ("last", ()),
    ("last", (5,)),
    ("last", (2, 7)),
    ("seasonal", (2,)),
    ("seasonal", (5, 7)),
    (None, (4,)),
]


@pytest.mark.parametrize(("baseline", "lags"), CASES)
@pytest.mark.parametrize("ahead", [(), (1,), (0, 1)])
def test_inputs_and_targets(baseline, lags, ahead):
    y, x = series()
    features = Features(K, lags, baseline, 2, ahead)
    history = features.history(y[:, None], x[:, None])
    scales = features.measure(history, "standard")
    steps = np.arange(L - features.lead)
    got = features.inputs(history, scales, steps)[:, 0]
    targets = features.targets_of(history, scales, steps)[:, 0]
    changes = [y[t] - base_of(y, t - 1, 1, baseline, lags) for t in range(L)]
    assert scales.scale[0] == pytest.approx(np.nanstd(changes))
    drift = np.nanmean(changes)

    def shift(k):
        factor = {None: 1, "last": k, "seasonal": -(-k // lags[0]) if lags else 0}[baseline]
        return drift * factor

    def flagged(value):
        return [0.0, 0.0] if np.isnan(value) else [value, 1.0]

    for t in steps:
        row = flagged((changes[t] - shift(1)) / scales.scale[0])
        if baseline is not None:
            level = (last_of(y, t) - np.nanmean(y)) / np.nanstd(y)
            row.append(0.0 if np.isnan(level) else np.clip(level, -LEVEL_LIMIT, LEVEL_LIMIT))
        for lag in lags[baseline == "seasonal" :]:
            pairs = []
            for k in range(1, K + 1):
                base = base_of(y, t, k, baseline, lags)
                base = last_of(y, t) if np.isnan(base) else base
                pairs.append(flagged((lagged(y, t, k, lag) - base - shift(k)) / scales.scale[0]))
            row += [pair[0] for pair in pairs] + [pair[1] for pair in pairs]
        row += [*x[t], *(x[t + k, c] for k in range(1, K + 1) for c in ahead)]
        np.testing.assert_allclose(got[t], row, rtol=1e-6, atol=1e-6)
        for k in range(1, K + 1):
            after = y[t + k] if t + k < L else np.nan
            expected = (after - base_of(y, t, k, baseline, lags) - shift(k)) / scales.scale[0]
            np.testing.assert_allclose(targets[t, k - 1], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("baseline", "lags"), CASES)
def test_a_tail_gives_the_bits_of_the_whole_history(baseline, lags):
    y, x = series(1)
    features = Features(K, lags, baseline, 2, (1,))
    whole = features.history(y[:, None], x[:, None])
    scales = features.measure(whole, "robust")
    expected = features.inputs(whole, scales, np.arange(L - K))
    tail = features.tail(features.history(y[:1, None], x[:1, None]))
    for t in range(1, L):
        features.push(tail, y[t : t + 1], x[t : t + 1])
        if t >= K:
            found = features.inputs(tail, scales, np.array([features.reach - 1 - K]))
            assert_same_bits(found[0], expected[t - K])


def test_outputs_are_turned_back_into_values():
    y, x = series(2, missing=0)
    features = Features(K, (4,), "last", 2, ())
    history = features.history(y[:, None], x[:, None])
    scales = features.measure(history, "standard")
    targets = features.targets_of(history, scales, np.arange(L))[20]
    until = features.history(y[:21, None], x[:21, None])
    np.testing.assert_allclose(features.values(targets, until, scales)[0], y[21:24], rtol=1e-6)


def test_a_constant_series_keeps_its_value():
    y = np.full((L, 1), 7.3)
    for baseline, lags in CASES:
        features = Features(K, lags, baseline, 0, ())
        history = features.history(y, np.empty((L, 1, 0)))
        scales = features.measure(history, "standard")
        assert scales.scale[0] == 1
        assert features.values(np.zeros((1, K)), history, scales) == pytest.approx(7.3)
