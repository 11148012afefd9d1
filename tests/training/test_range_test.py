"""The learning-rate range test finds the edge and changes nothing; it is drawn, as metrics are."""

import math

import numpy as np
import pytest

import viz
from recurrent import LSTM, Embedding, Linear, Sequential, fit, optim
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.data import Batch, Windows
from recurrent.losses import mean_squared_error, softmax_cross_entropy
from recurrent.training.range_test import RangeTest, lr_range_test

V = 5


def task():
    ids = np.arange(40)[:, None] + np.arange(2)
    model = Sequential(Embedding(V, 4), LSTM(4, 8), Linear(8, V), rng=0)
    return model, Windows(ids % V, (ids + 1) % V, 10)


def test_the_loss_of_a_parabola_grows_above_the_largest_stable_rate():
    """y = w x with x = 1 and target 0: gradient descent converges below a rate of 1."""
    model = Sequential(Linear(1, 1, bias=False), dtype="float64", rng=0)
    model.flat[:] = 1.0
    batches = [Batch(np.ones((1, 1, 1)), np.zeros((1, 1, 1)))]
    options = dict(lowest=1e-3, highest=100.0, updates=60)
    test = lr_range_test(model, batches, mean_squared_error, optim.SGD(), **options)
    assert test.rates[:2] == pytest.approx([1e-3, 1e-3 * 1e5 ** (1 / 59)])
    w, losses = 1.0, []
    for rate in test.rates:
        losses.append(w * w)
        w -= rate * 2 * w
    assert test.losses == pytest.approx(losses, rel=1e-9, abs=1e-300)
    assert 1e-2 < test.suggestion < 1.0
    assert len(test.rates) < 60, "it ends where the loss has grown"
    assert test.smoothed[-1] > 4 * min(test.smoothed)


def test_nothing_is_changed_and_an_optimiser_keeps_its_options():
    model, windows = task()
    windows.cursor = 2
    before, rule = model.flat.copy(), optim.SGD(0.5, momentum=0.9)
    fit(task()[0], task()[1], softmax_cross_entropy, rule, updates=3, progress=False)
    state = rule.arrays["momentum"].copy()
    first = lr_range_test(model, windows, softmax_cross_entropy, rule, updates=9)
    assert_same_bits(model.flat, before)
    assert (rule.lr, rule.steps, windows.cursor) == (0.5, 3, 2)
    assert_same_bits(rule.arrays["momentum"], state)
    again = lr_range_test(model, windows, softmax_cross_entropy, optim.SGD(momentum=0.9), updates=9)
    assert first == again


def test_an_overflow_ends_the_test():
    model = Sequential(Linear(1, 1), rng=0)
    x = np.full((1, 1, 1), 1e15, np.float32)
    test = lr_range_test(
        model, [(x, 0 * x)], mean_squared_error, optim.SGD(), highest=1e10, stop_at=1e300
    )
    assert 0 < len(test.losses) < 100


def test_without_a_fall_there_is_no_suggestion():
    assert math.isnan(RangeTest([0.1, 0.2, 0.3], [1.0, 2.0, 3.0]).suggestion)
    assert math.isnan(RangeTest().suggestion)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (dict(lowest=0), ValueError, "lowest must be above 0, got 0"),
        (dict(highest=1e-9), ValueError, "highest must be above 1e-06, got 1e-09"),
        (dict(updates=1), ValueError, "updates must be at least 2, got 1"),
        (dict(stop_at=1), ValueError, "stop_at must be above 1, got 1"),
        (dict(optimizer=0.1), TypeError, "optimizer must be an Optimizer such as"),
    ],
)
def test_wrong_arguments_are_one_clear_line(options, error, words):
    with pytest.raises(error, match=words):
        lr_range_test(*task(), softmax_cross_entropy, **options)


def test_a_range_test_is_drawn_against_the_rate():
    rates = [10.0**k for k in range(-4, 1)]
    drawing = viz.curve(RangeTest(rates, [1.0, 0.9, 0.4, 0.3, math.inf]))
    svg = drawing.svg()
    for word in ("learning rate", "1e-4", "1e-2", "1e0", "steepest fall at"):
        assert word in svg
    with pytest.raises(ValueError, match="the range test has no finite loss to draw"):
        viz.curve(RangeTest([0.1], [math.nan]))


def test_metrics_are_drawn_in_panels_of_their_own():
    model, windows = task()
    history = fit(
        model, windows, softmax_cross_entropy, optim.Adam(1e-2), epochs=3, validation=windows,
        metrics=["accuracy", "macro_f1"], monitor="accuracy", progress=False,
    )  # fmt: skip
    history.metrics["macro_f1"][1] = (8, math.nan)
    history.metrics["none"] = [(4, math.nan)]
    svg = viz.curve({"a": history, "b": history.to_dict()}).svg()
    assert "accuracy" in svg
    assert "macro f1" in svg
    assert svg.count("macro f1 after update") >= 4
    assert f"best accuracy {history.best[1]:.4g} after {history.best[0]}" in svg
    old = {"losses": [1.0, 2.0], "metrics": [[1, 0.5], [2, 0.25]]}
    assert "metric after update" in viz.curve(old).svg()
