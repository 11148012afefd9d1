"""The forecaster: what it promises about bits, cutoffs, missing values and columns."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from recurrent.conformance.tolerance import assert_same_bits
from recurrent.sklearn import RecurrentForecaster

SMALL = dict(hidden_size=4, max_epochs=1, window=16, early_stopping=False, random_state=0)
STRATEGIES = ("direct", "recursive")


def waves(L=60, N=3, seed=0):
    rng = np.random.default_rng(seed)
    phase = np.arange(L)[:, None] * 2 * np.pi / 12 + np.arange(N)
    return np.sin(phase) * np.arange(1, N + 1) + 0.1 * rng.standard_normal((L, N))


def forecaster(horizon=3, **options):
    return RecurrentForecaster(horizon, **(SMALL | options))


def future_of(x, L, horizon=3):
    return x[L : L + horizon]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("columns", [0, 2])
def test_one_by_one_and_at_once_give_the_same_bits(strategy, columns):
    y, x = waves(63), np.random.default_rng(1).standard_normal((66, 2))
    y[[20, 55, 57]] = np.nan

    def part(a, b):
        return {"X": x[a:b]} if columns else {}

    one = forecaster(strategy=strategy, lags=5).fit(y[:50], **part(0, 50))
    block, whole = copy.deepcopy(one), copy.deepcopy(one)
    for t in range(50, 60):
        one.update(y[t : t + 1], **part(t, t + 1))
    block.update(y[50:53], **part(50, 53)).update(y[53:60], **part(53, 60))
    scaled = [whole._run.trained.scaled(x[:60, :columns])] * 3
    whole._run.runner.start(list(y[:60].T), scaled, whole._run.trained.scales)
    ahead = part(60, 63)
    for other in (block, whole):
        assert_same_bits(other.predict(level=None, **ahead), one.predict(level=None, **ahead))


def test_a_series_has_the_bits_that_it_has_alone():
    y = [waves(60)[:n, k] for k, n in enumerate((60, 41, 55))]
    many = forecaster(lags=5, calibration_fraction=None).fit(y)
    trained, found = many._run.trained, many.predict(level=None)
    for n, own in enumerate(y):
        panel = copy.copy(many._run.runner)
        alone = panel.start([own], [np.empty((len(own), 0))], trained.scales.rows([n]))
        assert_same_bits(alone.forecast(3, None)[:, 0], found[n])


def test_series_go_on_independently():
    """New values of some series leave the others as they are."""
    y = [waves(60)[:50, k] for k in range(3)]
    more = waves(60)[50:]
    both = forecaster().fit(y)
    some = copy.deepcopy(both).update([more[:2, 0], [], more[:7, 2]])
    one = copy.deepcopy(both).update([more[:2, 0], [], []]).update([[], [], more[:7, 2]])
    for a, b in zip(some.predict(level=None), one.predict(level=None), strict=True):
        assert_same_bits(a, b)
    assert_same_bits(some.predict(level=None)[1], both.predict(level=None)[1])
    assert not np.array_equal(some.predict(level=None)[0], both.predict(level=None)[0])


@pytest.mark.parametrize("columns", [0, 1])
def test_recursion_takes_each_forecast_as_the_next_value(columns):
    y, x = waves(N=1)[:, 0], np.random.default_rng(1).standard_normal((63, 1))
    options = dict(strategy="recursive", calibration_fraction=None)
    many = forecaster(**options).fit(y, x[:60] if columns else None)
    one = clone(many).set_params(horizon=1).fit(y, x[:60] if columns else None)
    for k, expected in enumerate(many.predict(x[60:] if columns else None, level=None)):
        rows = x[60 + k : 61 + k] if columns else None
        found = one.predict(rows, level=None)
        assert found.tolist() == [expected]
        one.update(found, rows)


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_forecast_sees_a_value_after_its_cutoff(refit, strategy):
    """What is behind a cutoff, past-only columns too, changes no bit of the forecasts from it."""
    y, x = waves(N=2), np.random.default_rng(1).standard_normal((60, 1))
    past = ((0,), x) if strategy == "direct" else ((), None)
    model = forecaster(strategy=strategy, early_stopping=True, past_only=past[0])
    options = dict(windows=3, step=2, level=80, refit=refit)
    before = model.cross_validate(y, past[1], **options)
    cutoffs = np.unique(before["cutoff"])
    assert cutoffs.tolist() == [52, 54, 56]
    rng = np.random.default_rng(2)
    for cutoff in cutoffs:
        other, other_x = y.copy(), x.copy()
        for a in (other, other_x):
            a[cutoff + 1 :] = rng.standard_normal(a[cutoff + 1 :].shape) * 100
        after = model.cross_validate(other, None if past[1] is None else other_x, **options)
        same = before["cutoff"] <= cutoff
        for name in ("yhat", "yhat-lo-80", "yhat-hi-80"):
            assert_same_bits(after[name][same], before[name][same])
            assert same.all() or not np.array_equal(after[name], before[name])


def test_cross_validation_is_fit_and_predict_at_each_cutoff():
    y = waves(N=1)[:, 0]
    model = forecaster()
    found = model.cross_validate(y, windows=2, level=80, refit=True)
    assert not hasattr(model, "model_")
    for k, end in enumerate((54, 57)):
        rows = found[3 * k : 3 * k + 3]
        expected = clone(model).fit(y[:end]).predict(level=80)
        assert rows["ds"].tolist() == list(range(end, end + 3))
        assert set(rows["cutoff"]) == {end - 1}
        assert rows["y"].tolist() == y[end : end + 3].tolist()
        names = ("yhat", "yhat-lo-80", "yhat-hi-80")
        assert_same_bits(np.stack([rows[name] for name in names], axis=1), expected)


def test_residuals_are_those_of_steps_that_the_network_has_not_seen():
    """Values of the calibration part change no weight without refit, and residuals only."""
    y = waves(N=1)[:, 0]
    other = y.copy()
    other[48:] += np.random.default_rng(1).standard_normal(12)
    a, b = (forecaster(refit=False).fit(some) for some in (y, other))
    assert_same_bits(a.model_.flat, b.model_.flat)
    assert [len(r) for r in a.residuals_] == [12, 11, 10]
    assert not np.array_equal(a.residuals_[0], b.residuals_[0])
    # By hand: forecasts from step 47, 48 and so on, in units of the scale of the series.
    run, missed = forecaster(calibration_fraction=None).fit(y[:48]), [[], [], []]
    for t in range(48, 60):
        for k, value in enumerate(run.predict(level=None)[: 60 - t]):
            missed[k].append(abs(value - y[t + k]) / run._run.trained.scales.scale[0])
        run.update(y[t])
    for got, expected in zip(a.residuals_, missed, strict=True):
        np.testing.assert_array_equal(got, np.sort(expected))


def test_refit_takes_all_steps_for_the_epochs_that_were_best():
    y = waves(N=1)[:, 0]
    options = dict(lr=0.05, n_iter_no_change=2, validation_fraction=0.3)
    first = forecaster(max_epochs=30, early_stopping=True, refit=False, **options).fit(y)
    found = forecaster(max_epochs=30, early_stopping=True, **options).fit(y)
    losses = [loss for _, loss in first.history_.validation]
    assert found.n_iter_ == 1 + int(np.argmin(losses)) < first.n_iter_ < 30
    expected = forecaster(max_epochs=found.n_iter_, calibration_fraction=None, lr=0.05).fit(y)
    assert_same_bits(found.model_.flat, expected.model_.flat)


def test_missing_values_are_masked_and_not_filled():
    y = waves(N=1)[:, 0]
    gaps = y.copy()
    gaps[[3, 17, 30, 31, 59]] = np.nan
    masked = forecaster().fit(gaps)
    found = masked.predict(level=None)
    assert np.isfinite(found).all()
    for filled in (np.nan_to_num(gaps), np.where(np.isnan(gaps), y, gaps)):
        assert not np.array_equal(forecaster().fit(filled).predict(level=None), found)
    before = masked.predict(level=None)
    assert np.isfinite(masked.update(np.nan).predict(level=None)).all()
    assert not np.array_equal(masked.predict(level=None), before)


def test_targets_that_are_missing_do_not_count():
    from recurrent.losses import mean_squared_error
    from recurrent.sklearn.learning import KnownTargets

    rng = np.random.default_rng(0)
    y, targets = rng.standard_normal((2, 5, 2, 3)).astype(np.float32)
    targets[1:3, 0], targets[4, :, 2] = np.nan, np.nan
    loss, lengths = KnownTargets(mean_squared_error), np.array([5, 3])
    value, dy = loss(y, targets, lengths)
    known = ~np.isnan(targets) & (np.arange(5)[:, None] < lengths)[..., None]
    assert value == pytest.approx(((y - targets)[known].astype(float) ** 2).mean())
    assert not dy[~known].any()
    assert loss.entries(y, targets, lengths) == known.sum()


def test_columns_known_ahead_drive_the_forecast():
    """y follows a column that nothing else tells of."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((304, 1))
    y = 5 + 2 * x[:, 0]
    options = dict(hidden_size=8, max_epochs=40, lr=0.02, calibration_fraction=None, baseline=None)
    for strategy in STRATEGIES:
        model = RecurrentForecaster(4, strategy=strategy, random_state=0, **options)
        found = model.fit(y[:300], x[:300]).predict(x[300:], level=None)
        assert np.abs(found - y[300:]).mean() < 0.25 * y.std()


def test_past_only_columns_are_not_asked_for():
    y, x = waves(N=1)[:, 0], np.random.default_rng(0).standard_normal((63, 2))
    options = dict(past_only=1, calibration_fraction=None)
    found = forecaster(**options).fit(y, x[:60]).predict(x[60:, :1], level=None)
    other = x.copy()
    other[:60, 1] *= -1
    assert not np.array_equal(
        forecaster(**options).fit(y, other[:60]).predict(x[60:, :1], level=None), found
    )
    assert forecaster(past_only=(0, 1)).fit(y, x[:60]).predict(level=None).shape == (3,)


def test_scikit_learn_takes_it_as_an_estimator():
    y = waves()
    model = forecaster(lags=(4, 12), baseline="seasonal", early_stopping=True)
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    assert model.fit(y) is model
    assert_same_bits(twin.fit(y).predict(level=80), model.predict(level=80))
    assert_same_bits(twin.fit(y).predict(level=80), model.predict(level=80))  # fit starts anew
    assert len(model.loss_curve_) == model.n_iter_ == 1
    assert model.series_ == (0, 1, 2)
    thawed = pickle.loads(pickle.dumps(model))
    for some in (model, thawed):
        some.update(y[:4])
    assert_same_bits(thawed.predict(level=80), model.predict(level=80))
    with pytest.raises(NotFittedError):
        clone(model).predict()


@pytest.mark.parametrize("loss", ["absolute_error", "huber"])
@pytest.mark.parametrize("scale", ["robust", None])
def test_other_losses_and_scales(loss, scale):
    found = forecaster(loss=loss, scale=scale, baseline=None).fit(waves()).predict(level=None)
    assert found.shape == (3, 3)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("scale", ["standard", "robust"])
@pytest.mark.parametrize("size", [2.0**-900, 2.0**900])
def test_the_size_of_values_changes_no_bit(scale, size):
    y = waves()
    plain, other = (forecaster(scale=scale).fit(y * s) for s in (1.0, size))
    assert_same_bits(other.predict(level=80), plain.predict(level=80) * size)


def test_a_constant_column_of_x_may_have_a_rounded_mean():
    y, x = waves(N=1)[:, 0], np.full((60, 1), 0.1)
    assert x.std() > 0
    fitted = forecaster().fit(y, x)
    change = fitted.predict(x[:3] + 1, level=None) - fitted.predict(x[:3], level=None)
    assert 0 < abs(change).max() < 10


def test_values_that_float32_does_not_hold_are_refused():
    y, x = waves(N=2), np.random.default_rng(0).standard_normal((60, 1))
    fitted = forecaster().fit(y, x)
    before = fitted.predict(x[:3])
    text = "{} must be of the size of the values of fit, got 1e+300"
    fails(text.format("X"), lambda: fitted.predict(np.full((3, 1), 1e300)))
    fails(text.format("X"), lambda: fitted.update(y[:1], [[1e300]]))
    fails(text.format("y_new"), lambda: fitted.update(np.array([[0, 1e300]]), x[:1]))
    assert_same_bits(fitted.predict(x[:3]), before)


def test_a_failed_call_changes_nothing():
    y = waves(N=1)[:, 0]
    model = forecaster().fit(y)
    before = model.predict(level=None)
    for call in (
        lambda: model.fit(y[:2]),
        lambda: model.fit(["a"]),
        lambda: model.update([1.0, np.inf]),
        lambda: model.update(y, X=y),
        lambda: model.set_params(hidden_size=0).fit(y),
    ):
        with pytest.raises((TypeError, ValueError)):
            call()
        assert_same_bits(model.predict(level=None), before)


def fails(text, call, kind=ValueError):
    with pytest.raises(kind) as error:
        call()
    assert str(error.value).startswith(text)
    assert "\n" not in str(error.value)


def test_bad_options_are_told_in_one_line():
    y = waves(N=1)[:, 0]
    fails("RecurrentForecaster needs horizon", RecurrentForecaster, TypeError)
    fails(
        "RecurrentForecaster has no option 'hidden'",
        lambda: RecurrentForecaster(3, hidden=4),
        TypeError,
    )
    for options, text in (
        (dict(horizon=0), "horizon must be at least 1, got 0"),
        (dict(strategy="both"), "strategy must be one of direct, recursive, got 'both'"),
        (dict(lags=0), "lags must be at least 1, got 0"),
        (dict(baseline="seasonal"), "baseline='seasonal' needs lags, such as lags=12, got none"),
        (dict(baseline="mean"), "baseline must be one of last, seasonal or None, got 'mean'"),
        (dict(past_only="x"), "past_only must name columns of X, none, got 'x'"),
        (dict(calibration_fraction=1), "calibration_fraction must be above 0 and below 1, got 1"),
        (dict(loss="mse"), "loss must be one of squared_error, absolute_error, huber, got 'mse'"),
        (dict(window=0), "window must be at least 1, got 0"),
        (dict(cell="nothing"), "unknown cell 'nothing'"),
    ):
        fails(text, lambda o=options: forecaster(**o).fit(y))
    model = forecaster(calibration_fraction=None).fit(y)
    fails("level must be None, because calibration_fraction=None", lambda: model.predict())
    fails("level must be above 0 and below 100, got 100", lambda: model.predict(level=100))
    fails("X must be None: fit had no column", lambda: model.predict(X=y[:3], level=None))


def test_series_that_are_too_short_are_told_how_many_steps_they_need():
    y = waves(N=1)[:, 0]
    fails(
        "y must have at least 7 steps for horizon=3, got 6; 4 are enough with "
        "calibration_fraction=None",
        lambda: forecaster().fit(y[:6]),
    )
    fails(
        "y of series 1 must have at least 20 steps for horizon=3, got 19; 16 are",
        lambda: forecaster(lags=12, baseline="seasonal").fit([y, y[:19]]),
    )
    fails(
        "y must have at least 13 steps for horizon=3 and the 6 steps of the windows, got 12",
        lambda: forecaster().cross_validate(y[:12], windows=2),
    )
    for n, options in (
        (7, {}),
        (4, dict(calibration_fraction=None)),
        (8, dict(early_stopping=True)),
    ):
        assert forecaster(**options).fit(y[:n]).predict(level=None).shape == (3,)
        fails("y must have at least", lambda n=n, o=options: forecaster(**o).fit(y[: n - 1]))
    y[:50] = np.nan
    fails("y must have at least 2 values in its first 48 steps", lambda: forecaster().fit(y))
