"""Series of any kind go in, and forecasts of the same kind come out, with the same bits."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest

from recurrent.conformance.tolerance import assert_same_bits
from recurrent.sklearn import RecurrentForecaster

L, H = 40, 3
NAMES = ["yhat", "yhat-lo-80", "yhat-hi-80"]
DATES = pd.date_range("2020-01-31", periods=L + H, freq="ME")


def values(N=2, seed=0):
    rng = np.random.default_rng(seed)
    return np.sin(np.arange(L + H)[:, None] / 2 + np.arange(N)) + 0.1 * rng.standard_normal(
        (L + H, N)
    )


def forecaster(**options):
    return RecurrentForecaster(H, hidden_size=4, max_epochs=1, random_state=0, **options)


def long(library, y, dates=DATES, ids=("a", "b"), first=0, columns=None):
    """A long frame of rows of each series, from the row `first` on."""
    data = {
        "unique_id": np.repeat(list(ids), len(y)),
        "ds": np.tile(np.asarray(dates[first : first + len(y)]), len(ids)),
        "y": y.T.reshape(-1),
        **(columns or {}),
    }
    return library.DataFrame(data)


Y = values()


@pytest.fixture(scope="module")
def expected():
    """The forecasts of the array, before and after three updates."""
    model = forecaster().fit(Y[:L])
    return model.predict(level=80), model.update(Y[L:]).predict(level=80)


def test_a_list_of_arrays(expected):
    model = forecaster().fit(list(Y[:L].T))
    found = model.predict(level=80)
    assert isinstance(found, list)
    assert_same_bits(np.stack(found, axis=1), expected[0])
    found = model.update(list(Y[L:].T)).predict(level=80)
    assert_same_bits(np.stack(found, axis=1), expected[1])


@pytest.mark.parametrize("library", [pd, pl])
def test_a_long_frame(library, expected):
    model = forecaster().fit(long(library, Y[:L]))
    found = model.predict(level=80)
    assert isinstance(found, library.DataFrame)
    assert list(found.columns) == ["unique_id", "ds", *NAMES]
    assert list(found["unique_id"]) == ["a"] * H + ["b"] * H
    assert list(pd.to_datetime(found["ds"].to_numpy())) == [*DATES[L:]] * 2
    bits = np.stack([found[name].to_numpy() for name in NAMES], axis=1)
    assert_same_bits(bits.reshape(2, H, 3).swapaxes(0, 1), expected[0])
    found = model.update(long(library, Y[L:], first=L)).predict(level=80)
    bits = np.stack([found[name].to_numpy() for name in NAMES], axis=1)
    assert_same_bits(bits.reshape(2, H, 3).swapaxes(0, 1), expected[1])
    assert found["ds"].dtype == long(library, Y)["ds"].dtype


def test_rows_of_series_may_alternate(expected):
    frame = long(pd, Y[:L]).sort_values(["ds", "unique_id"])
    found = forecaster().fit(frame).predict(level=80)
    assert_same_bits(found["yhat"].to_numpy(), expected[0][..., 0].T.reshape(-1))


@pytest.mark.parametrize("library", [pd, pl])
def test_series_of_a_long_frame_may_have_new_values_each_on_its_own(library):
    y = Y[:L]
    whole = forecaster().fit(long(library, y))
    some = forecaster().fit(long(library, y))
    whole.update(long(library, Y[L:], first=L))
    some.update(long(library, Y[L:, 1:], ids="b", first=L))
    some.update(long(library, Y[L:, :1], ids="a", first=L))
    for name in NAMES:
        a, b = (model.predict(level=80)[name].to_numpy() for model in (whole, some))
        assert_same_bits(a, b)


INDEXES = {
    "months": DATES,
    "steps": pd.RangeIndex(L + H),
    "years": pd.Index(range(1900, 1900 + L + H), name="year"),
    "periods": pd.period_range("2020-01", periods=L + H, freq="Q", name="quarter"),
    "business days": pd.date_range("2020-01-01", periods=L + H, freq="B", name="day"),
    "days of a zone": pd.date_range("2020-03-01", periods=L + H, freq="D", tz="Europe/Berlin"),
    "hours of a zone": pd.date_range("2020-03-28", periods=L + H, freq="h", tz="Europe/Berlin"),
    "nanoseconds": DATES.as_unit("ns"),
}


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES)
def test_a_series_of_pandas(index):
    y = pd.Series(Y[:, 0], index, name="sales")
    model, plain = forecaster().fit(y[:L]), forecaster().fit(Y[:L, 0])
    found = model.predict(level=80)
    assert list(found.columns) == NAMES
    pd.testing.assert_index_equal(found.index, index[L:], exact="equiv")
    assert_same_bits(found.to_numpy(), plain.predict(level=80))
    alone = model.predict(level=None)
    assert alone.name == "sales"
    pd.testing.assert_index_equal(alone.index, index[L:], exact="equiv")
    model.update(y[L:])
    assert_same_bits(model.predict(level=80).to_numpy(), plain.update(Y[L:, 0]).predict(level=80))
    table = forecaster().cross_validate(y, windows=2, level=None)
    assert list(table["ds"]) == [*index[L - H :]]
    assert list(table["cutoff"]) == [index[L - H - 1]] * H + [index[L - 1]] * H


def test_a_series_of_polars():
    y = pl.Series("sales", Y[:L, 0])
    model, plain = forecaster().fit(y), forecaster().fit(Y[:L, 0])
    found = model.predict(level=80)
    assert isinstance(found, pl.DataFrame)
    assert found.columns == NAMES
    assert_same_bits(found.to_numpy(), plain.predict(level=80))
    assert model.predict(level=None).name == "sales"
    model.update(pl.Series(Y[L:, 0]))
    assert_same_bits(model.predict(level=80).to_numpy(), plain.update(Y[L:, 0]).predict(level=80))


def test_dates_of_polars_stay_dates():
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(k) for k in range(L)]
    frame = pl.DataFrame({"unique_id": "a", "ds": days, "y": Y[:L, 0]})
    found = forecaster().fit(frame).predict(level=None)
    assert found["ds"].to_list() == [days[-1] + datetime.timedelta(k + 1) for k in range(H)]
    zoned = frame.with_columns(pl.col("ds").cast(pl.Datetime).dt.replace_time_zone("Asia/Tokyo"))
    assert forecaster().fit(zoned).predict(level=None)["ds"].dtype == zoned["ds"].dtype


@pytest.mark.parametrize(
    "ids",
    [
        pd.Series([7, 7, 9, 9], dtype="int32"),
        pd.Series(["a", "a", "b", "b"]),
        pd.Series(pd.Categorical(["a", "a", "b", "b"])),
        pl.Series([7, 7, 9, 9], dtype=pl.Int16),
        pl.Series(["a", "a", "b", "b"], dtype=pl.Categorical),
    ],
    ids=lambda s: f"{type(s).__module__}-{s.dtype}",
)
def test_ids_keep_their_type(ids):
    library = pd if isinstance(ids, pd.Series) else pl
    every = [k for k in (0, 2) for _ in range(L)]
    rows = ids[every].reset_index(drop=True) if library is pd else ids[every]
    y = long(library, Y[:L])
    y = y.assign(unique_id=rows) if library is pd else y.with_columns(unique_id=rows)
    found = forecaster().fit(y).predict(level=None)["unique_id"]
    assert found.dtype == ids.dtype
    assert list(found) == [ids[0]] * H + [ids[2]] * H


def test_null_is_a_missing_value():
    y = [None if k in (5, 9) else v for k, v in enumerate(Y[:L, 0].tolist())]
    with_nan = forecaster().fit(np.array(y, float)).predict(level=None)
    assert_same_bits(forecaster().fit(pl.Series(y)).predict(level=None).to_numpy(), with_nan)
    nullable = pd.Series(y, dtype="Float64")
    assert_same_bits(forecaster().fit(nullable).predict(level=None).to_numpy(), with_nan)


@pytest.mark.parametrize("library", [pd, pl])
def test_columns_of_x(library):
    """Beside y, in a frame of its own, in another order, and as arrays: the same bits."""
    x = np.random.default_rng(1).standard_normal((L + H, 2, 2))
    model = forecaster(past_only=(1,)).fit(Y[:L], x[:L])
    expected = model.predict(x[L:, :, :1], level=None)

    def columns(part):
        return {"price": part[..., 0].T.reshape(-1), "visits": part[..., 1].T.reshape(-1)}

    beside = long(library, Y[:L], columns=columns(x[:L]))
    own, later = (
        library.DataFrame(
            {
                **{c: long(library, Y[a:b], first=a)[c] for c in ("unique_id", "ds")},
                **columns(x[a:b]),
            }
        )
        for a, b in ((0, L), (L, L + H))
    )
    turned = own[::-1]
    for y, X in (
        (beside, None),
        (long(library, Y[:L]), own),
        (long(library, Y[:L]), turned),
    ):
        model = forecaster(past_only="visits").fit(y, X)
        for ahead in (later, later[["ds", "price", "unique_id"]]):
            found = model.predict(ahead, level=None)
            assert_same_bits(found["yhat"].to_numpy(), expected.T.reshape(-1))
    model.update(long(library, Y[L:], first=L), later)


def test_columns_of_x_beside_a_series():
    x = pd.DataFrame({"price": np.arange(L + H) % 5.0}, DATES)
    y = pd.Series(Y[:, 0], DATES)
    model = forecaster().fit(y[:L], x[:L])
    expected = forecaster().fit(Y[:L, 0], x.to_numpy()[:L]).predict(x.to_numpy()[L:], level=None)
    assert_same_bits(model.predict(x[L:], level=None).to_numpy(), expected)
    fails(
        "the index of X must be the 3 dates to forecast, 2023-05-31 to 2023-07-31: "
        "2023-07-31 is missing",
        lambda: model.predict(x[L - 1 : -1], level=None),
    )


@pytest.mark.parametrize("library", [pd, pl])
def test_a_table_of_cross_validation(library):
    table = forecaster().cross_validate(long(library, Y), windows=2, level=80)
    assert isinstance(table, library.DataFrame)
    assert list(table.columns) == ["unique_id", "ds", "cutoff", "y", *NAMES]
    assert len(table) == 2 * 2 * H
    records = forecaster().cross_validate(Y, windows=2, level=80)
    for name in ("y", *NAMES):
        assert_same_bits(table[name].to_numpy(), records[name])
    assert list(pd.to_datetime(table["ds"].to_numpy()[:6])) == [*DATES[L - H :]]
    assert records["unique_id"].tolist() == [0] * 6 + [1] * 6


def fails(text, call, kind=ValueError):
    with pytest.raises(kind) as error:
        call()
    assert str(error.value).startswith(text), str(error.value)
    assert "\n" not in str(error.value)


def test_frames_that_do_not_fit_are_told_in_one_line():
    good = long(pd, Y[:L])
    fit = forecaster().fit
    days = pd.date_range("2020-01-01", periods=L)
    fails(
        "y must have the columns unique_id, ds, y, got ds, y: unique_id is missing",
        lambda: fit(good[["ds", "y"]]),
    )
    fails(
        "y must have the columns unique_id, ds, y, got 0, 1: unique_id, ds, y are missing; a wide "
        "frame, a column for each series, must be unpivoted, or be an array (L, N)",
        lambda: fit(pd.DataFrame(Y)),
    )
    fails("y must have rows, got a frame without any", lambda: fit(good[:0]))
    fails("ds must be dates or integers, got", lambda: fit(good.astype({"ds": str})), TypeError)
    fails("y must be numbers, got", lambda: fit(good.astype({"y": str})), TypeError)
    twice = pd.concat([good[:9], good[8:]])
    fails("ds of series 'a' must have each date once, got 2020-09-30 twice", lambda: fit(twice))
    fails(
        "ds of series 'a' must ascend, got 2023-03-31 after 2023-04-30: sort the rows by date",
        lambda: fit(good[::-1].sort_values("unique_id", kind="stable")),
    )
    fails(
        "ds of series 'b' must be regular, a step of 1 day, but 2020-01-06 is missing: "
        "add rows with y = NaN, which are masked",
        lambda: fit(long(pd, Y[:L], days).drop(index=L + 5)),
    )
    fails("unique_id of y must be given in each row", lambda: fit(good.replace("a", None)))
    fails("a lazy frame must be collected first", lambda: fit(pl.LazyFrame({"y": [1]})), TypeError)
    fails("the index of y must be regular", lambda: fit(pd.Series(Y[:5, 0], [1, 2, 3, 5, 6])))
    fails(
        "the index of y must be regular, a step of 30 days, got 2020-02-28 after 2020-01-31; of "
        "another calendar, number the steps",
        lambda: fit(pd.Series(Y[:L, 0], pd.date_range("2020-01-31", periods=L, freq="BME"))),
    )
    fails(
        "y must be numbers, got object: pass y.astype(float)", lambda: fit(Y.astype("O")), TypeError
    )
    fails(
        "y of series 0 must have at least 8 steps for horizon=3, got 2; y is (L, N), so pass y.T",
        lambda: fit(Y.T),
    )
    fails("lags must be below the 40 steps of y, got 90", lambda: forecaster(lags=90).fit(Y[:L]))
    fails(
        "column 'kind' of y must be numbers, got String: make numbers of it, one column for each "
        "category, or drop it",
        lambda: fit(good.assign(kind="x")),
        TypeError,
    )
    fails("y must be finite or NaN, got inf at 3", lambda: fit(np.r_[1, 2, 3, np.inf]))
    fails(
        "y must have no other columns than unique_id, ds, y if X is given, got p",
        lambda: fit(good.assign(p=1.0), good),
    )


def test_new_values_that_do_not_follow_are_told_in_one_line():
    model = forecaster().fit(long(pd, Y[:L]))
    update = model.update
    late = long(pd, Y[L + 1 :], first=L + 1)
    fails("ds of series 'a' must go on at 2023-05-31, got 2023-06-30", lambda: update(late))
    other = long(pd, Y[L:], first=L, ids=("a", "c"))
    fails("y_new must have series of fit, got 'c': fit again with it", lambda: update(other))
    fails("y_new must be a long frame of pandas as y of fit, got an", lambda: update(Y), TypeError)
    fails(
        "y_new must be a long frame of pandas as y of fit, got a long frame of polars",
        lambda: update(long(pl, Y[L:], first=L)),
        TypeError,
    )
    series = forecaster().fit(pd.Series(Y[:L, 0], DATES[:L]))
    fails(
        "the index of y_new must go on at 2023-05-31, got 0",
        lambda: series.update(pd.Series([1.0])),
    )
    text = "y_new must be a Series of pandas as y of fit, got 1.0"
    fails(text, lambda: series.update(1.0), TypeError)
    matrix = forecaster().fit(Y[:L])
    text = "y_new must be an array (L, N) as y of fit, got an array (L,): y_new[None] is one step"
    fails(text, lambda: matrix.update(Y[L]), TypeError)
    fails("y_new must have 2 series, got 3", lambda: matrix.update(np.zeros((1, 3))))


def test_x_that_does_not_fit_is_told_in_one_line():
    frame = long(pd, Y[:L])
    x = frame[["unique_id", "ds"]].assign(price=1.0)
    fails("X must be a frame as y is, got ndarray", lambda: forecaster().fit(frame, Y), TypeError)
    fails(
        "X must have rows of each series of y, got none of 'b'",
        lambda: forecaster().fit(frame, x[:L]),
    )
    fails(
        "ds of X of series 'b' must be the dates of y, 2020-01-31 to 2023-04-30; got 39: "
        "2020-02-29 is missing",
        lambda: forecaster().fit(frame, x.drop(index=L + 1)),
    )
    fails(
        "column 'price' of X must be finite, got nan at 4",
        lambda: forecaster().fit(frame, x.assign(price=np.where(x.index == 4, np.nan, 1))),
    )
    fails("X must have the 40 steps of y, got 39", lambda: forecaster().fit(Y[:L, 0], Y[: L - 1]))
    model = forecaster().fit(frame, x)
    fails(
        "X must have the columns price of the 3 steps to forecast, got None; name columns that",
        model.predict,
    )
    later = long(pd, Y[L:], first=L)[["unique_id", "ds"]]
    fails("X must have the columns price, got none", lambda: model.predict(later))
    fails(
        "X must have the columns price as in fit, got None",
        lambda: model.update(long(pd, Y[L:], first=L)),
    )
    fails(
        "X must be None, because fit had no X",
        lambda: forecaster().fit(Y[:L]).update(Y[L:], Y[L:]),
    )


@pytest.mark.parametrize("library", [pd, pl])
def test_a_single_hour_of_a_time_zone_goes_on_from_many(library):
    """One date alone does not say whether its series is regular in local time or in UTC."""
    hours = pd.date_range("2024-03-29", periods=L + 3, freq="h", tz="Europe/Berlin")
    frame = pd.DataFrame({"unique_id": np.repeat(["a", "b"], L + 3), "y": Y.T.reshape(-1)})
    frame["ds"] = hours.append(hours)
    if library is pl:
        plain = frame.assign(ds=frame["ds"].dt.tz_convert("UTC").dt.tz_localize(None))
        frame = pl.DataFrame({name: plain[name].to_numpy() for name in ("unique_id", "ds", "y")})
        berlin = pl.col("ds").dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin")
        frame = frame.with_columns(berlin)
    take = frame.iloc.__getitem__ if library is pd else frame.__getitem__
    rows = np.arange(L + 3), np.arange(L + 3, 2 * L + 6)
    known, new = (np.concatenate([r[part] for r in rows]) for part in (slice(L), slice(L, None)))
    at_once = forecaster().fit(take(known)).update(take(new))
    one_by_one = forecaster().fit(take(known))
    for k in range(3):
        one_by_one.update(take(new[[k, k + 3]]))
    got, expected = one_by_one.predict(level=None), at_once.predict(level=None)
    assert str(got["ds"][0]).startswith("2024-03-30 19:00:00+01:00")
    assert list(got["ds"]) == list(expected["ds"])
    assert_same_bits(got["yhat"].to_numpy(), expected["yhat"].to_numpy())
    text = "ds must have a time zone as ds of y has, got Datetime(time_unit="
    plain = pd.DataFrame({"unique_id": "a", "ds": DATES[:1], "y": [1.0]})
    fails(text, lambda: at_once.update(library.DataFrame(plain.to_dict("list"))), TypeError)


def test_dates_that_clocks_leave_out_are_told_in_one_line():
    days = pd.date_range(end="2024-03-30 02:30", periods=L, tz="Europe/Berlin")
    model = forecaster().fit(pd.Series(Y[:L, 0], days))
    text = (
        "dates to forecast must exist once in Europe/Berlin, whose clocks change, got: 2024-03-31"
    )
    fails(text, lambda: model.predict(level=None))


@pytest.mark.parametrize("library", [pd, pl])
def test_x_may_be_yes_or_no_and_may_lack_what_is_not_known_ahead(library):
    holidays, price = np.arange(L + H) % 7 == 6, Y[:, 1]
    options = dict(ids=("a",))

    def frame(first, last, h, p):
        columns = {"holiday": h[first:last], "price": p[first:last]}
        return long(library, Y[first:last, :1], first=first, columns=columns, **options)

    fit = forecaster(past_only="price").fit
    expected = fit(frame(0, L, holidays.astype(float), price))
    found = fit(frame(0, L, holidays, price))
    unknown = np.full(L + H, np.nan)
    known = expected.predict(frame(L, L + H, holidays.astype(float), price), level=None)
    assert_same_bits(
        found.predict(frame(L, L + H, holidays, unknown), level=None)["yhat"].to_numpy(),
        known["yhat"].to_numpy(),
    )


def test_columns_of_x_may_have_numbers_as_names():
    x = pd.DataFrame(Y)
    found = forecaster().fit(Y[:L, 0], x[:L]).predict(x[L:], level=None)
    assert_same_bits(found, forecaster().fit(Y[:L, 0], Y[:L]).predict(Y[L:], level=None))
