"""Series as people have them: arrays, Series and long frames in, and the same kind out.

A long frame has a row for each series and date, in the columns `unique_id`, `ds` and `y`; pandas,
polars and every other library that narwhals reads are taken. Forecasts are in columns of Nixtla's
names: `yhat`, and `yhat-lo-80` and `yhat-hi-80` for the interval of 80 %.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from .. import checks
from .dates import Rule, check_order, check_steps, find_rule, shown

LONG = ("unique_id", "ds", "y")
# What to do about a frame, by the number of columns that it lacks.
_ADVICE = {
    1: "a single series can also be a Series",
    3: "a wide frame, a column for each series, must be unpivoted, or be an array (L, N)",
}
EACH = Rule("fixed", 1)


@dataclass(frozen=True)
class Axis:
    """Describes the dates of the caller, so that others can be written in the same form."""

    dtype: Any = None  # of narwhals; None for the numbers of steps
    zone: str | None = None  # the time zone in which dates are regular: "UTC" or the caller's
    period: str | None = None  # the frequency of a PeriodIndex of pandas
    freq: str | None = None  # the frequency of a DatetimeIndex of pandas
    name: Any = None  # of an index

    def series(self, name: str, dates: np.ndarray, backend: Any) -> nw.Series:
        """Return dates as a column of the caller's kind."""
        if self.dtype is None:
            return nw.new_series(name, dates, backend=backend)
        zone = getattr(self.dtype, "time_zone", None)
        if zone is None:
            return nw.new_series(name, dates, self.dtype, backend=backend)
        plain = nw.new_series(name, dates, nw.Datetime(self.dtype.time_unit), backend=backend)
        try:
            return plain.dt.replace_time_zone(self.zone).dt.convert_time_zone(zone)
        except Exception as error:  # each library has an error of its own
            reason = str(error).strip().splitlines()[0].partition(". ")[0]
            raise ValueError(
                f"dates to forecast must exist once in {self.zone}, whose clocks change, got: "
                f"{reason}; fit with dates that have no time zone"
            ) from None


@dataclass(frozen=True)
class Form:
    """Describes how the caller gives series, and how results are written."""

    kind: str  # "array", "matrix", "list", "series" or "long"
    ids: tuple = (0,)
    columns: tuple = ()  # the names of X
    backend: Any = None
    axis: Axis = field(default_factory=Axis)
    rule: Rule = EACH
    name: Any = None  # of a Series
    id_type: Any = None  # the dtype of narwhals of the ids of a long frame

    def owner(self, n: int, name: str) -> str:
        """Return what errors call a part of series n."""
        return f"{name} of series {self.ids[n]!r}" if len(self.ids) > 1 else name


@dataclass(frozen=True)
class Panel:
    """N series, their dates and their exogenous columns.

    y are N arrays (L_i,) with NaN for missing values, x N arrays (L_i, F), dates N arrays (L_i,) of
    integers or datetime64.
    """

    form: Form
    y: list[np.ndarray]
    x: list[np.ndarray]
    dates: list[np.ndarray]

    def until(self, ends: list[int]) -> Panel:
        """Return the first steps of each series."""
        cut = [
            [a[:end] for a, end in zip(part, ends, strict=True)] if part else []
            for part in (self.y, self.x, self.dates)
        ]
        return Panel(self.form, *cut)


def read(y: Any, x: Any = None, name: str = "y") -> Panel:
    """Return series of any kind as a panel; raise TypeError or ValueError in one line."""
    panel = _read_y(y, name, x is not None)
    form = panel.form
    rule = find_rule(panel.dates, [_dates_of(form, n, name) for n in range(len(panel.y))])
    panel = replace(panel, form=replace(form, rule=rule))
    if x is None:
        return panel
    columns, parts = _read_x(x, panel)
    return replace(panel, form=replace(panel.form, columns=columns), x=parts)


def read_more(y: Any, x: Any, before: Form, ends: list[Any], name: str = "y_new") -> Panel:
    """Return values that follow known series, the last dates of which are `ends`, as a panel.

    It has only the series that have new values.
    """
    if isinstance(y, (int, float, np.number)):
        if before.kind != "array":
            raise TypeError(f"{name} must be {_kind(before)} as y of fit, got {checks.shown(y)}")
        y = [y]
    panel = _read_y(y, name, x is not None, before.axis)
    form = panel.form
    if (form.kind, form.backend) != (before.kind, before.backend):
        advice = f": {name}[None] is one step" if (before.kind, form.kind) == _ONE_STEP else ""
        raise TypeError(f"{name} must be {_kind(before)} as y of fit, got {_kind(form)}{advice}")
    if len(form.ids) != len(before.ids) and form.kind != "long":
        raise ValueError(f"{name} must have {len(before.ids)} series, got {len(form.ids)}")
    dates, known = panel.dates, {name: n for n, name in enumerate(before.ids)}
    for n, key in enumerate(form.ids):
        if key not in known:
            raise ValueError(f"{name} must have series of fit, got {key!r}: fit again with it")
        last = ends[known[key]]
        if before.kind in ("array", "matrix", "list") or before.axis.name is _NO_DATES:
            dates[n] = dates[n] + last + 1
        elif len(dates[n]):
            _check_follows(dates[n], before, last, _dates_of(form, n, name))
    panel = replace(panel, form=replace(before, ids=form.ids, columns=form.columns))
    if not before.columns:
        if x is not None or form.columns:
            raise ValueError("X must be None, because fit had no X")
        return panel
    if x is None and not form.columns:
        raise ValueError(f"X must have the columns {_listed(before.columns)} as in fit, got None")
    if x is None:
        columns, parts = form.columns, panel.x
    else:
        columns, parts = _read_x(x, panel, f"of {name}")
    _check_columns(columns, before.columns, [len(a) for a in parts])
    order = [columns.index(c) for c in before.columns]
    return replace(
        panel,
        form=replace(panel.form, columns=before.columns),
        x=[a[:, order] for a in parts],
    )


def read_future(
    x: Any, form: Form, ends: list[Any], wanted: tuple, horizon: int
) -> np.ndarray | None:
    """Return the columns `wanted` of the steps to forecast, (horizon, N, F), or None."""
    if not wanted:
        if x is not None:
            raise ValueError("X must be None: fit had no column of X that is known ahead")
        return None
    if x is None:
        raise ValueError(
            f"X must have the columns {_listed(wanted)} of the {horizon} steps to forecast, got "
            "None; name columns that are not known ahead in past_only"
        )
    dates = [form.rule.after(end, horizon) for end in ends]
    future = Panel(form, [np.empty(horizon)] * len(ends), [], dates)
    columns, parts = _read_x(x, future, "to forecast", wanted)
    order = [columns.index(c) for c in wanted]
    return np.stack([a[:, order] for a in parts], axis=1)


def write_forecast(form: Form, ends: list[Any], values: np.ndarray, columns: list[str]) -> Any:
    """Return forecasts (h, N, C) as the caller's kind; a single column leaves the last axis out."""
    one = len(columns) == 1
    if form.kind in ("array", "matrix", "list"):
        values = values[..., 0] if one else values
        if form.kind == "array":
            return values[:, 0]
        return values if form.kind == "matrix" else list(np.moveaxis(values, 1, 0))
    h = len(values)
    flat = {c: values[:, :, k].T.reshape(-1) for k, c in enumerate(columns)}
    if form.kind == "long":
        dates = np.concatenate([form.rule.after(end, h) for end in ends])
        frame = _frame(form, np.repeat(np.arange(len(ends)), h), {"ds": dates}, flat)
        return frame.to_native()
    if one:
        made: Any = nw.new_series(form.name or "yhat", flat[columns[0]], backend=form.backend)
    else:
        made = nw.from_dict(flat, backend=form.backend)
    native = made.to_native()
    if form.axis.name is not _NO_DATES:
        native.index = _index(form, form.rule.after(ends[0], h))
        if one:
            native.name = form.name
    return native


def write_table(form: Form, rows: np.ndarray, dates: dict, values: dict) -> Any:
    """Return a table with columns of dates and of values, `rows` being the series of each row."""
    if form.kind in ("array", "matrix", "list"):
        columns = {**({} if form.kind == "array" else {"unique_id": rows}), **dates, **values}
        table = np.empty(len(rows), [(name, a.dtype) for name, a in columns.items()])
        for name, a in columns.items():
            table[name] = a
        return table
    return _frame(form, rows, dates, values).to_native()


_NO_DATES = "no dates"  # the axis of a Series without an index
_ONE_STEP = ("matrix", "array")  # the kinds of y and of a step of it without the axis of time


def _read_y(y: Any, name: str, with_x: bool, known: Axis | None = None) -> Panel:
    """Return the series, without the rule of their dates; `with_x` is whether X is given too.

    `known` is the axis of the series that these go on from.
    """
    native = _narwhals(y)
    if isinstance(native, nw.DataFrame):
        return _read_long(native, name, with_x, known)
    if isinstance(native, nw.Series):
        values = _column(native, name)
        index, backend = getattr(y, "index", None), native.implementation
        if index is None or backend is not nw.Implementation.PANDAS:
            axis, dates = Axis(name=_NO_DATES), np.arange(len(values))
        else:
            axis, dates = _read_index(index, name, known)
        form = Form("series", backend=backend, axis=axis, name=native.name or None)
        return Panel(form, [values], [], [dates])
    if isinstance(y, (list, tuple)) and y and all(np.ndim(a) > 0 for a in y):
        parts = [_numbers(a, f"{name}[{n}]") for n, a in enumerate(y)]
        for n, a in enumerate(parts):
            if a.ndim != 1:
                raise ValueError(f"{name}[{n}] must be one series (L,), got {a.shape}")
        form = Form("list", tuple(range(len(parts))))
    else:
        a = _numbers(y, name)
        if a.ndim not in (1, 2):
            raise ValueError(
                f"{name} must be one series (L,), N series (L, N), a list of series, a Series or "
                f"a frame with the columns {_listed(LONG)}, got {checks.shown(y)}"
            )
        parts = [a] if a.ndim == 1 else list(a.T)
        form = Form("array" if a.ndim == 1 else "matrix", tuple(range(len(parts))))
    if not parts:
        raise ValueError(f"{name} must have at least one series, got {checks.shown(y)}")
    return Panel(form, parts, [], [np.arange(len(a)) for a in parts])


def _read_long(frame: nw.DataFrame, name: str, with_x: bool, known: Axis | None) -> Panel:
    """Return the series of a long frame."""
    missing = [c for c in LONG if c not in frame.columns]
    if missing:
        raise ValueError(
            f"{name} must have the columns {_listed(LONG)}, got {_listed(frame.columns)}: "
            f"{_listed(missing)} {'is' if len(missing) == 1 else 'are'} missing; "
            f"{_ADVICE.get(len(missing), 'rename the columns')}"
        )
    columns = tuple(c for c in frame.columns if c not in LONG)
    if columns and with_x:
        raise ValueError(
            f"{name} must have no other columns than {_listed(LONG)} if X is given, got "
            f"{_listed(columns)}"
        )
    ids, rows = _groups(frame, name)
    values = _column(frame["y"], f"y of {name}" if name != "y" else name)
    axis, dates = _read_dates(frame["ds"], "ds", known)
    id_type = frame["unique_id"].dtype
    form = Form("long", ids, columns, frame.implementation, axis, id_type=id_type)
    parts = [dates[k] for k in rows]
    for n, own in enumerate(parts):
        check_order(own, form.owner(n, "ds"))
    _, x = _read_columns(frame, columns, name)
    own = [x[k] for k in rows] if columns else []
    return Panel(form, [values[k] for k in rows], own, parts)


def _groups(frame: nw.DataFrame, name: str) -> tuple[tuple, list[np.ndarray]]:
    """Return the ids of a long frame in order of appearance, and the rows of each."""
    if not len(frame):
        raise ValueError(f"{name} must have rows, got a frame without any")
    ids = frame["unique_id"]
    if ids.is_null().any():
        raise ValueError(f"unique_id of {name} must be given in each row, got a missing one")
    codes: dict[Any, int] = {}
    found = np.array([codes.setdefault(key, len(codes)) for key in ids.to_list()])
    order = np.argsort(found, kind="stable")
    return tuple(codes), np.split(order, np.cumsum(np.bincount(found))[:-1])


def _read_x(
    x: Any, panel: Panel, when: str = "of y", wanted: tuple = ()
) -> tuple[tuple, list[np.ndarray]]:
    """Return the names of the columns of X, and (L_i, F) of each series of a panel."""
    form, steps = panel.form, [len(a) for a in panel.dates]
    native = _narwhals(x)
    if form.kind == "long":
        if not isinstance(native, nw.DataFrame):
            raise TypeError(f"X must be a frame as y is, got {type(x).__name__}")
        return _read_long_x(native, panel, when, wanted)
    if isinstance(native, nw.DataFrame):
        if form.kind not in ("array", "series"):
            raise TypeError("X must be an array or a list as y is, got a frame")
        if "unique_id" in native.columns:
            raise TypeError(f"y must be a long frame as X is, got {_kind(form)}")
        columns, a = _read_columns(native, native.columns, "X", wanted)
        if form.kind == "series" and form.axis.name is not _NO_DATES and hasattr(x, "index"):
            _, dates = _read_index(x.index, "X", form.axis)
            if len(dates) == steps[0]:
                _check_same(dates, panel.dates[0], "the index of X", when)
        parts = [a]
    else:
        parts = _arrays_of_x(x, form, len(steps))
        columns = wanted or tuple(range(parts[0].shape[1]))
        if len(columns) != parts[0].shape[1]:
            raise ValueError(
                f"X must have the columns {_listed(columns)} that are known ahead, got "
                f"{parts[0].shape[1]} columns"
            )
    for n, (a, L) in enumerate(zip(parts, steps, strict=True)):
        if len(a) != L:
            raise ValueError(f"{form.owner(n, 'X')} must have the {L} steps {when}, got {len(a)}")
        if a.shape[1] != parts[0].shape[1]:
            raise ValueError(
                f"X[{n}] must have {parts[0].shape[1]} columns as X[0], got {a.shape[1]}"
            )
    return columns, parts


def _arrays_of_x(x: Any, form: Form, N: int) -> list[np.ndarray]:
    """Return X of arrays as (L, F) for each series."""
    if form.kind == "list":
        if not isinstance(x, (list, tuple)) or len(x) != N:
            raise ValueError(f"X must be a list of {N} arrays as y is, got {checks.shown(x)}")
        parts = [_numbers(a, f"X[{n}]", missing=False) for n, a in enumerate(x)]
        parts = [a[:, None] if a.ndim == 1 else a for a in parts]
    else:
        a = _numbers(x, "X", missing=False)
        a = a[:, None] if a.ndim == 1 else a
        each = form.kind == "matrix" and a.ndim == 3
        if each and a.shape[1] != N:
            raise ValueError(f"X must be (L, N={N}, F) or (L, F) for all series, got {a.shape}")
        parts = [a[:, n] for n in range(N)] if each else [a] * N
    for a in parts:
        if a.ndim != 2:
            raise ValueError(f"X must be (L, F) for each series, got {a.shape}")
    return parts


def _read_columns(
    frame: nw.DataFrame, names: Any, owner: str, wanted: tuple = ()
) -> tuple[tuple, np.ndarray]:
    """Return the names and values (L, F) of columns of X: those wanted, or all of them."""
    missing = [c for c in wanted if c not in names]
    if missing:
        raise ValueError(f"X must have the columns {_listed(wanted)}, got {_listed(names)}")
    names = tuple(wanted or names)
    parts = [_column(frame.get_column(c), f"column {c!r} of {owner}", False) for c in names]
    return names, np.stack(parts, axis=1) if parts else np.empty((len(frame), 0))


def _read_long_x(frame: nw.DataFrame, panel: Panel, when: str, wanted: tuple):
    """Return the columns of a long frame X, its rows in the order of the panel."""
    missing = [c for c in LONG[:2] if c not in frame.columns]
    if missing:
        raise ValueError(
            f"X must have the columns unique_id, ds and its own, got {_listed(frame.columns)}"
        )
    ids, rows = _groups(frame, "X")
    own = dict(zip(ids, rows, strict=True))
    _, dates = _read_dates(frame["ds"], "ds of X", panel.form.axis)
    others = [c for c in frame.columns if c not in LONG]
    columns, values = _read_columns(frame, others, "X", wanted)
    found = []
    for n, key in enumerate(panel.form.ids):
        if key not in own:
            raise ValueError(f"X must have rows of each series {when}, got none of {key!r}")
        k = own[key][np.argsort(dates[own[key]], kind="stable")]
        owner = panel.form.owner(n, "ds of X") if len(ids) > 1 else "ds of X"
        _check_same(dates[k], panel.dates[n], owner, when)
        found.append(values[k])
    for key in ids:
        if key not in panel.form.ids:
            raise ValueError(f"X must have the series {when} alone, got {key!r} too")
    return columns, found


def _check_same(got: np.ndarray, expected: np.ndarray, owner: str, when: str) -> None:
    """Raise ValueError unless dates are those expected, naming the first that differs."""
    if np.array_equal(got, expected):
        return
    try:
        missing = [d for d in expected if d not in got]
    except TypeError:
        missing = []
    what = f"the dates {when}" if when != "to forecast" else f"the {len(expected)} dates {when}"
    span = f", {shown(expected[0])} to {shown(expected[-1])}"
    lacks = f": {shown(missing[0])} is missing" if missing else ""
    count = f"; got {len(got)}" if len(got) != len(expected) else ""
    raise ValueError(f"{owner} must be {what}{span}{count}{lacks}")


def _check_follows(dates: np.ndarray, before: Form, last: Any, owner: str) -> None:
    """Raise ValueError unless dates go on where the series ended."""
    first = before.rule.after(last, 1)[0]
    if dates.dtype.kind != np.asarray(first).dtype.kind or dates[0] != first:
        raise ValueError(f"{owner} must go on at {shown(first)}, got {shown(dates[0])}")
    check_order(dates, owner)
    check_steps(before.rule, dates, owner)


def _check_columns(got: tuple, expected: tuple, _lengths: Any) -> None:
    """Raise ValueError unless the columns are those of fit, in any order."""
    if sorted(map(str, got)) != sorted(map(str, expected)):
        raise ValueError(
            f"X must have the columns {_listed(expected)} as in fit, got {_listed(got)}"
        )


def _read_index(index: Any, name: str, known: Axis | None) -> tuple[Axis, np.ndarray]:
    """Return what an index of pandas is, and its dates."""
    owner = f"the index of {name}"
    if hasattr(index, "levels"):
        raise ValueError(f"{owner} must be one of dates or integers, got a MultiIndex")
    period = getattr(index, "freqstr", None) if hasattr(index, "asfreq") else None
    if period is not None and not hasattr(index, "tz"):  # a PeriodIndex
        dates = np.asarray(index.asi8)
        check_order(dates, owner)
        return Axis(period=period, name=index.name), dates
    column = nw.from_native(index.to_series(), series_only=True)
    axis, dates = _read_dates(column, owner, known)
    check_order(dates, owner)
    return replace(axis, freq=getattr(index, "freqstr", None), name=index.name), dates


def _index(form: Form, dates: np.ndarray) -> Any:
    """Return dates as an index of pandas."""
    import pandas

    axis = form.axis
    if axis.period is not None:
        return pandas.PeriodIndex.from_ordinals(dates, freq=axis.period, name=axis.name)
    made = axis.series("ds", dates, form.backend).to_native()
    if axis.freq is not None:
        return pandas.DatetimeIndex(made, freq=axis.freq).rename(axis.name)
    return pandas.Index(made).rename(axis.name)


def _read_dates(column: nw.Series, name: str, known: Axis | None) -> tuple[Axis, np.ndarray]:
    """Return what a column of dates is, and the dates as integers or datetime64.

    `known` is the axis of dates that these are compared with.
    """
    dtype = column.dtype
    if column.is_null().any():
        raise ValueError(f"{name} must have a date in each row, got a missing one")
    if dtype.is_integer():
        return Axis(dtype), column.to_numpy().astype(np.int64)
    if dtype not in (nw.Date, nw.Datetime):
        advice = ": make them dates first, as with pandas.to_datetime"
        raise TypeError(f"{name} must be dates or integers, got {dtype}{advice}")
    zone = getattr(dtype, "time_zone", None)
    if known is not None and known.dtype in (nw.Date, nw.Datetime):
        if (zone is None) != (known.zone is None):
            one = "no" if known.zone is None else "a"
            raise TypeError(f"{name} must have {one} time zone as ds of y has, got {dtype}")
    elif zone is not None:
        # Days of a time zone are regular in local time, hours in UTC.
        local = column.dt.replace_time_zone(None).to_numpy()
        steps = np.unique(local.astype("M8[s]") - local.astype("M8[D]").astype("M8[s]"))
        known = Axis(dtype, zone if len(steps) == 1 else "UTC")
    if zone is None or known is None or known.zone is None:
        return Axis(dtype), column.to_numpy()
    there = column if zone == known.zone else column.dt.convert_time_zone(known.zone)
    return replace(known, dtype=dtype), there.dt.replace_time_zone(None).to_numpy()


def _frame(form: Form, rows: np.ndarray, dates: dict, values: dict) -> nw.DataFrame:
    """Return a frame of the caller's library."""
    columns: dict[str, Any] = {}
    if form.kind == "long":
        ids = [form.ids[n] for n in rows]
        made = nw.new_series("unique_id", ids, backend=form.backend)
        keep = form.id_type.is_integer() or form.id_type == nw.Categorical
        columns["unique_id"] = made.cast(form.id_type) if keep else made
    for name, a in dates.items():
        if form.axis.period is not None:
            columns[name] = nw.from_native(
                _index(form, a).to_series().reset_index(drop=True), series_only=True
            )
        else:
            columns[name] = form.axis.series(name, a, form.backend)
    for name, a in values.items():
        columns[name] = nw.new_series(name, a, backend=form.backend)
    return nw.from_dict(columns)


def _narwhals(value: Any) -> Any:
    """Return a frame or Series of any library as one of narwhals; anything else as it is."""
    if isinstance(value, (np.ndarray, list, tuple)):
        return value
    native = nw.from_native(value, eager_only=True, allow_series=True, pass_through=True)
    if hasattr(native, "collect") and not isinstance(native, (nw.DataFrame, nw.Series)):
        raise TypeError("a lazy frame must be collected first: frame.collect()")
    return native


def _column(column: nw.Series, name: str, missing: bool = True) -> np.ndarray:
    """Return a column of numbers as float64, with NaN for null."""
    if not column.dtype.is_numeric() and (missing or column.dtype != nw.Boolean):
        advice = "" if missing else ": make numbers of it, one column for each category, or drop it"
        raise TypeError(f"{name} must be numbers, got {column.dtype}{advice}")
    return _numbers(column.cast(nw.Float64).to_numpy(), name, missing)


def _numbers(value: Any, name: str, missing: bool = True) -> np.ndarray:
    """Return numbers as float64; raise an error for infinite ones, or any NaN unless allowed."""
    a = checks.as_array(value, name)
    if a.dtype.kind not in ("fiu" if missing else "fiub") and a.size:
        got = a.dtype.name if isinstance(value, np.ndarray) else checks.shown(value)
        advice = f": pass {name}.astype(float)" if a.dtype == object and a.ndim else ""
        raise TypeError(f"{name} must be numbers, got {got}{advice}")
    a = a.astype(np.float64)
    bad = ~np.isfinite(a) if not missing else np.isinf(a)
    for k in np.argwhere(bad)[:1].tolist():
        place = k[0] if len(k) == 1 else tuple(k)
        allowed = "finite" if not missing else "finite or NaN"
        raise ValueError(f"{name} must be {allowed}, got {a[tuple(k)]:g} at {place}")
    return a


def _dates_of(form: Form, n: int, name: str) -> str:
    """Return what errors call the dates of series n."""
    return form.owner(n, "ds") if form.kind == "long" else f"the index of {name}"


def _kind(form: Form) -> str:
    """Return what the caller gave, in words."""
    library = form.backend.value if hasattr(form.backend, "value") else form.backend
    return {
        "array": "an array (L,)",
        "matrix": "an array (L, N)",
        "list": "a list of arrays",
        "series": f"a Series of {library}",
        "long": f"a long frame of {library}",
    }[form.kind]


def _listed(names: Any) -> str:
    return ", ".join(map(str, names)) or "none"
