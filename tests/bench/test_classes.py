"""The comparison of classifiers: its data, its baseline, and a PyTorch network that is the same."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from bench.real import classes
from bench.real.classes import PROBLEMS, Row, Split, dtw, markdown, measure, read_ts
from recurrent.sklearn import RecurrentClassifier, RecurrentRegressor

needs_torch = pytest.mark.skipif(not find_spec("torch"), reason="needs PyTorch")


def series(n=20, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(T, 2)) for T in rng.integers(3, 9, n)]


def test_a_file_is_read(tmp_path):
    path = tmp_path / "a.ts"
    path.write_text("# words\n@classLabel true 1 2\n@data\n1,2,3:4,5,6:one\n\n7,8:9,10:two\n")
    x, y = read_ts(path)
    assert [a.tolist() for a in x] == [[[1, 4], [2, 5], [3, 6]], [[7, 9], [8, 10]]]
    assert y.tolist() == ["one", "two"]
    path.write_text("@targetlabel true\n@DATA\n1,2:0.5\n3,4:0.25\n")
    assert read_ts(path)[1].tolist() == [0.5, 0.25]


def test_digits_are_rows_of_pixels():
    data = classes.digits("digits")
    assert (len(data.x), len(data.x_test), data.x[0].shape) == (1347, 450, (8, 8))
    assert all(0.09 < np.mean(data.y_test == digit) < 0.11 for digit in range(10))


def naive_dtw(a, b):
    table = np.full((len(a) + 1, len(b) + 1), np.inf)
    table[0, 0] = 0
    for i in range(len(a)):
        for j in range(len(b)):
            way = min(table[i, j], table[i, j + 1], table[i + 1, j])
            table[i + 1, j + 1] = way + ((a[i] - b[j]) ** 2).sum()
    return table[-1, -1]


def test_dynamic_time_warping_is_that_of_the_recurrence():
    X = series()
    for a in X[:5]:
        np.testing.assert_allclose(dtw(a, X), [naive_dtw(a, b) for b in X], rtol=1e-10, atol=1e-12)


@needs_torch
@pytest.mark.parametrize("options", [{}, {"cell": "gru", "pooling": "max"}])
def test_the_network_of_pytorch_is_the_same(options):
    X = series()
    shared = dict(
        hidden_size=4, bidirectional=True, pooling="mean", lr=0.01, max_epochs=3, batch_size=7,
        random_state=0,
    )  # fmt: skip
    for ours, theirs, y in (
        (RecurrentClassifier, classes.InPyTorch, [int(x.mean() > 0) for x in X]),
        (RecurrentRegressor, classes.RegressorInPyTorch, [x.mean() for x in X]),
    ):
        a, b = (kind(**{**shared, **options}).fit(X, y) for kind in (ours, theirs))
        first = ours(**{**shared, **options, "max_epochs": 1}).fit(X, y).model_.flat
        moved = np.abs(a.model_.flat - first).max()
        assert np.abs(a.model_.flat - b.model_.flat).max() < 1e-3 * moved


@needs_torch
def test_a_table_has_a_row_for_each_method():
    X = series()
    data = Split(X[:12], np.arange(12) % 2, X[12:], np.arange(8) % 2)
    options = dict(hidden_size=2, bidirectional=True, pooling="mean", max_epochs=1)
    problem = replace(PROBLEMS["digits"], read=lambda name: data, options=options)
    rows = measure(problem, seeds=2)
    assert [row.method for row in rows] == ["1-NN DTW, measured here", "recurrent", "PyTorch"]
    nearest = [dtw(x, data.x).argmin() for x in data.x_test]
    assert rows[0].scores == [np.mean(data.y[nearest] == data.y_test)]
    rows = measure(replace(problem, regression=True), seeds=1)
    assert [row.method for row in rows][1] == "mean of y"
    assert rows[1].scores == [0.5]
    text = markdown(problem, [Row("recurrent", [0.5, 0.75], [1.0, 3.0])])
    assert "| recurrent | 0.625 | 0.500 to 0.750 | 2 |" in text
    assert "| k-NN, published | 0.980 | | |" in text
