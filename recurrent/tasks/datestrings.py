"""Random dates in about 50 written formats, with the characters of day, month and year tagged."""

from __future__ import annotations

import datetime

import numpy as np

MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
]  # fmt: skip
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
UNITS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"]
TEENS = [
    "tenth", "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth",
    "seventeenth", "eighteenth", "nineteenth",
]  # fmt: skip
ORDINALS = [
    *UNITS,
    *TEENS,
    "twentieth",
    *(f"twenty-{u}" for u in UNITS),
    "thirtieth",
    "thirty-first",
]
# 100 years, so that a two-digit year is unambiguous.
FIRST, LAST = datetime.date(1950, 1, 1), datetime.date(2049, 12, 31)

# Fields: d 5, dd 05, o 5th, O fifth; m 3, mm 03, M March, b Mar; y 2021, yy 21; W Friday, w Fri.
# Numeric dates with dots put the day first, those with slashes the month.
FORMATS = (
    """
{y}-{mm}-{dd}|{y}-{m}-{d}|{y}/{mm}/{dd}|{y}{mm}{dd}|{d}.{m}.{y}|{dd}.{mm}.{y}|{dd}.{mm}.{yy}
{d}.{m}.{yy}|{m}/{d}/{y}|{mm}/{dd}/{y}|{m}/{d}/{yy}|{M} {d}, {y}|{M} {d} {y}|{b} {d}, {y}
{b}. {d}, {y}|{M} {o}, {y}|{M} {o} {y}|{M} the {o}, {y}|{d} {M} {y}|{d} {M}, {y}|{dd} {b} {y}
{d}-{b}-{y}|{dd}-{b}-{yy}|{d}. {M} {y}|{o} {M} {y}|{o} of {M} {y}|{o} of {M}, {y}
the {o} of {M} {y}|the {o} of {M}, {y}|the {O} of {M} {y}|{M} the {O}, {y}|{O} of {b} {y}
{d} {b} '{yy}|{b} {d} '{yy}|{W}, {d} {M} {y}|{W}, {M} {d}, {y}|{W}, {M} {o}, {y}|{w}, {d} {b} {y}
{w} {d} {b} {y}|{w} {b} {d} {y}|{W} the {o} of {M} {y}|{y} {M} {d}|{y} {b} {dd}|{b}-{dd}-{y}
{W} {o} {M} {y}|{M} {y}, the {o}|on {d} {M} {y}|on {W}, {M} {d}, {y}
""".strip()
    .replace("\n", "|")
    .split("|")
)

TAGS = {
    **dict.fromkeys(("d", "dd", "o", "O"), "D"),
    **dict.fromkeys(("m", "mm", "M", "b"), "M"),
    "y": "Y",
    "yy": "Y",
}


def ordinal(day: int) -> str:
    """Return the day with its ordinal suffix, such as "5th"."""
    suffix = "th" if 10 <= day % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{suffix}"


def write(date: datetime.date, pattern: str) -> tuple[str, str]:
    """Format a date; return the text and one tag for each character: D, M, Y or - (none)."""
    month, weekday = MONTHS[date.month - 1], DAYS[date.weekday()]
    fields = {
        "d": f"{date.day}", "dd": f"{date.day:02}",
        "o": ordinal(date.day), "O": ORDINALS[date.day - 1],
        "m": f"{date.month}", "mm": f"{date.month:02}", "M": month, "b": month[:3],
        "y": f"{date.year}", "yy": f"{date.year % 100:02}", "W": weekday, "w": weekday[:3],
    }  # fmt: skip
    text, tags = "", ""
    for piece in pattern.replace("{", "}{").split("}"):
        name = piece[1:] if piece.startswith("{") else ""
        text += fields.get(name, piece)
        tags += TAGS.get(name, "-") * len(fields.get(name, piece))
    return text, tags


def random_dates(count: int, rng: np.random.Generator) -> list[tuple[str, str, str]]:
    """Return `count` distinct strings, each with its date in ISO form and its tags.

    A fifth are in lower case, a tenth in upper case.
    """
    dates: dict[str, tuple[str, str]] = {}
    days = (LAST - FIRST).days + 1
    while len(dates) < count:
        date = FIRST + datetime.timedelta(int(rng.integers(days)))
        text, tags = write(date, FORMATS[rng.integers(len(FORMATS))])
        case = rng.random()
        text = text.lower() if case < 0.2 else text.upper() if case < 0.3 else text
        dates[text] = date.isoformat(), tags
    return [(text, *labels) for text, labels in dates.items()]
