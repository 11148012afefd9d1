"""Dates go on by the rule of the series; what breaks a rule is named."""

import numpy as np
import pandas as pd
import pytest

from recurrent.sklearn.dates import check_order, find_rule

FREQUENCIES = ["D", "h", "15min", "W", "2D", "ME", "MS", "QE", "QS", "YS", "YE", "B"]


@pytest.mark.parametrize("freq", FREQUENCIES)
@pytest.mark.parametrize("start", ["2020-01-31", "2023-02-28", "2019-12-16 06:00"])
def test_dates_of_pandas_go_on(freq, start):
    """pandas' own ranges are the witness, over leap years and month ends."""
    dates = pd.date_range(start, periods=60, freq=freq).to_numpy()
    rule = find_rule([dates[:40]], ["ds"])
    assert np.array_equal(rule.after(dates[39], 20), dates[40:])


def test_integers_go_on():
    assert find_rule([np.arange(5, 50, 5)], ["ds"]).after(45, 2).tolist() == [50, 55]


def test_one_rule_holds_for_all_series():
    parts = [pd.date_range(s, periods=9, freq="MS").to_numpy() for s in ("2020-01", "2021-06")]
    assert find_rule(parts, ["a", "b"]) == find_rule(parts[:1], ["a"])
    with pytest.raises(ValueError, match=r"^b must be regular, a step of 1 month, got 2020-01-02"):
        find_rule([parts[0], np.arange("2020-01-01", "2020-01-05", dtype="M8[D]")], ["a", "b"])


@pytest.mark.parametrize(
    ("freq", "lost", "words"),
    [
        ("D", [4], "a step of 1 day, but 2020-02-05 is missing"),
        ("h", [7, 8], "a step of 1 hour, but 2, 2020-02-01T07:00:00 to 2020-02-01T08:00:00, are"),
        ("MS", [3], "a step of 1 month, but 2020-05-01 is missing"),
        ("ME", [3], "a step of 1 month, at its end, but 2020-05-31 is missing"),
        ("B", [7], "a step of 1 business day, but 2020-02-12 is missing"),
    ],
)
@pytest.mark.parametrize("unit", ["s", "ns"])
def test_a_gap_is_named(freq, lost, words, unit):
    every = pd.date_range("2020-02-01", periods=30, freq=freq).as_unit(unit).to_numpy()
    dates = np.delete(every, lost)
    with pytest.raises(ValueError, match=r"add rows with y = NaN, which are masked$") as error:
        find_rule([dates], ["ds"])
    assert words in str(error.value)


def test_order():
    with pytest.raises(ValueError, match=r"^ds must have each date once, got 3 twice$"):
        check_order(np.array([1, 3, 3]), "ds")
    with pytest.raises(ValueError, match=r"^ds must ascend, got 2 after 3: sort the rows by date$"):
        check_order(np.array([1, 3, 2]), "ds")
