"""Dates of regular series: the rule that they follow, and the dates after the last one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

DAY = np.timedelta64(1, "D")


class Rule(NamedTuple):
    """Computes each date from the one before."""

    kind: str  # "fixed", "months", "month ends" or "business days"
    size: Any  # an int or a timedelta64 for "fixed", a number of months or of days

    def after(self, last: Any, n: int) -> np.ndarray:
        """Return the n dates after `last`, an integer or a datetime64."""
        steps = np.arange(1, n + 1)
        if self.kind == "fixed":
            return last + steps * self.size
        if self.kind == "business days":
            day = last.astype("M8[D]")
            days = np.busday_offset(day, steps * self.size, roll="forward")
            return days.astype(last.dtype) + (last - day.astype(last.dtype))
        month = last.astype("M8[M]")
        months = (month + steps * self.size).astype(last.dtype)
        if self.kind == "months":
            return months + (last - month.astype(last.dtype))
        end = (month + 1).astype(last.dtype)
        return (month + 1 + steps * self.size).astype(last.dtype) - (end - last)


def check_order(dates: np.ndarray, owner: str) -> None:
    """Raise ValueError unless dates ascend; `owner` says whose dates they are."""
    for k in np.flatnonzero(dates[1:] <= dates[:-1])[:1]:
        if dates[k + 1] == dates[k]:
            raise ValueError(f"{owner} must have each date once, got {shown(dates[k])} twice")
        raise ValueError(
            f"{owner} must ascend, got {shown(dates[k + 1])} after {shown(dates[k])}: "
            "sort the rows by date"
        )


def find_rule(series: Sequence[np.ndarray], owners: Sequence[str]) -> Rule:
    """Return the rule that all series of ascending dates follow; raise ValueError if none does."""
    long = [(dates, owner) for dates, owner in zip(series, owners, strict=True) if len(dates) > 1]
    if not long:
        return Rule("fixed", 1 if series[0].dtype.kind in "iu" else DAY)
    rules = _candidates([dates for dates, _ in long])
    for rule in rules:
        if all(_follows(rule, dates) for dates, _ in long):
            return rule
    # The error is about the first series that departs from the rule of the first one.
    first = long[0][0]
    own = [rule for rule in _candidates([first]) if _follows(rule, first)]
    for dates, owner in long:
        check_steps([*own, *rules][0], dates, owner)
    raise AssertionError("some series breaks the rule")


def _follows(rule: Rule, dates: np.ndarray) -> bool:
    """Return whether dates follow a rule."""
    return np.array_equal(rule.after(dates[0], len(dates) - 1), dates[1:])


def check_steps(rule: Rule, dates: np.ndarray, owner: str) -> None:
    """Raise ValueError, which names the date that is missing, unless dates follow the rule."""
    expected = rule.after(dates[0], len(dates) - 1)
    for k in np.flatnonzero(expected != dates[1:])[:1]:
        gap = f"{owner} must be regular, {words(rule)}"
        if dates[k + 1] < expected[k]:
            advice = "" if dates.dtype.kind != "M" else "; of another calendar, number the steps"
            raise ValueError(f"{gap}, got {shown(dates[k + 1])} after {shown(dates[k])}{advice}")
        n = 1  # doubled: the nanoseconds of many months are more than an int64 holds
        while (missing := rule.after(dates[k], n))[-1] < dates[k + 1]:
            n *= 2
        missing = missing[missing < dates[k + 1]]
        first, last = shown(missing[0]), shown(missing[-1])
        lacks = f"{first} is" if len(missing) == 1 else f"{len(missing)}, {first} to {last}, are"
        raise ValueError(f"{gap}, but {lacks} missing: add rows with y = NaN, which are masked")


def shown(date: Any) -> str:
    """Return a date without a time of day that is zero."""
    text = str(date)
    if "T" not in text:
        return text
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.removesuffix("T00:00:00").removesuffix("T00:00")


def words(rule: Rule) -> str:
    """Return a rule in words."""
    if rule.kind == "fixed":
        for unit in "Dhms" if isinstance(rule.size, np.timedelta64) else "":
            whole = rule.size.astype(f"m8[{unit}]")
            if whole == rule.size:
                return f"a step of {whole}".removesuffix("s" if whole.astype(int) == 1 else "")
        return f"a step of {rule.size}"
    unit = {"months": "month", "month ends": "month, at its end", "business days": "business day"}
    name = unit[rule.kind]
    return f"a step of {rule.size} {name}" if rule.size == 1 else f"steps of {rule.size} {name}s"


def _candidates(series: list[np.ndarray]) -> list[Rule]:
    """Return rules that may hold for the dates, the likeliest first."""
    every = np.concatenate(series)
    fixed = Rule("fixed", _usual([np.diff(dates) for dates in series]))
    if every.dtype.kind != "M":
        return [fixed]
    rules = []
    if min(np.diff(dates).min() for dates in series) >= 28 * DAY:
        months = every.astype("M8[M]")
        size = int(_usual([np.diff(dates.astype("M8[M]")).astype(int) for dates in series]))
        for kind, offset in (
            ("months", every - months.astype(every.dtype)),
            ("month ends", (months + 1).astype(every.dtype) - every),
        ):
            if (offset == offset[0]).all() and size:
                rules.append(Rule(kind, size))
    if fixed.size == DAY and np.is_busday(every.astype("M8[D]")).all():
        gaps = [np.diff(dates) for dates in series if len(dates) > 5]
        if gaps and np.concatenate(gaps).max() > DAY:
            rules.append(Rule("business days", 1))
    return [*rules, fixed]


def _usual(parts: list[np.ndarray]) -> Any:
    """Return the most common value, the smallest of those that are equally common."""
    found, counts = np.unique(np.concatenate(parts), return_counts=True)
    return found[counts.argmax()]
