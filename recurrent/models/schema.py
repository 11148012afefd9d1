"""Schemas of data that a file holds as JSON: what is expected where, checked before it is used.

A schema is a function of a value and its name that raises TypeError or ValueError; the functions
here make schemas of others, and `recurrent.checks` has those of numbers and text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from .. import checks

Schema = Callable[[Any, str], Any]

DEPTH = 32  # of lists and dicts in each other, where any plain data is accepted
CONTAINERS, ENTRIES = 10**6, 10**7  # in one text; memory is then at most 20 times the text


def parse_json(text: str, what: str) -> Any:
    """Parse JSON of unknown origin.

    Parameters
    ----------
    text : str
        The JSON.
    what : str
        What the text is, for the error message.

    Returns
    -------
    Any

    Raises
    ------
    ValueError
        If the text is not JSON, is nested too deeply or has too many entries.
    """
    if text.count("[") + text.count("{") > CONTAINERS or text.count(",") > ENTRIES:
        raise ValueError(f"{what} has too many entries: {len(text):,} characters of JSON")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(f"{what} is nested too deeply to be read") from None
    except ValueError as error:
        raise ValueError(f"{what} is not JSON: {error}") from None


def plain(value: Any, name: str) -> None:
    """Accept any data that JSON can hold and that is not nested deeper than `DEPTH`."""
    level = [value]
    for _ in range(DEPTH):
        inner = []
        for v in level:
            if isinstance(v, dict):
                for key in v:
                    checks.text(key, f"a key of {name}")
                inner += v.values()
            elif isinstance(v, list):
                inner += v
            elif v is not None and not isinstance(v, (bool, int, float, str)):
                raise TypeError(f"{name} must be data that JSON can hold, got {checks.shown(v)}")
        level = inner
    if level:
        raise ValueError(f"{name} must be nested at most {DEPTH} deep")


def dictionary(value: Any, name: str) -> None:
    """Accept plain data that is a dict."""
    checks.instance(value, dict, name, "a dict")
    plain(value, name)


def record(optional: dict[str, Schema] | None = None, /, **required: Schema) -> Schema:
    """Return the schema of a dict with these entries, each of which has a schema of its own."""
    known = {**required, **(optional or {})}

    def check(value: Any, name: str) -> None:
        checks.instance(value, dict, name, "a dict")
        for key in required:
            if key not in value:
                raise ValueError(f"{name} lacks {key}")
        for key, v in value.items():
            if key not in known:
                raise ValueError(
                    f"{name} has an entry {checks.shown(key)}; known are {', '.join(known)}"
                )
            known[key](v, f"{name}.{key}")

    return check


def mapping(entry: Schema) -> Schema:
    """Return the schema of a dict from names to entries of one schema."""

    def check(value: Any, name: str) -> None:
        checks.instance(value, dict, name, "a dict")
        for key, v in value.items():
            entry(v, f"{name}[{checks.shown(key)}]")

    return check


def items(entry: Schema, least: int = 0, most: int = ENTRIES) -> Schema:
    """Return the schema of a list of entries of one schema."""

    def check(value: Any, name: str) -> None:
        checks.instance(value, list, name, "a list")
        if not least <= len(value) <= most:
            count = f"{least}" if least == most else f"{least} to {most:,}"
            raise ValueError(f"{name} must have {count} entries, got {len(value):,}")
        for k, v in enumerate(value):
            try:
                entry(v, name)
            except (TypeError, ValueError):  # names of a million entries take long to write
                entry(v, f"{name}[{k}]")
                raise

    return check


def optional(entry: Schema) -> Schema:
    """Return the schema of None or a value of another schema."""
    return lambda value, name: None if value is None else entry(value, name)


def whole(least: int, most: int) -> Schema:
    """Return the schema of an integer in a range."""
    return partial(checks.integer, least=least, most=most)


def one_of(*names: str) -> Schema:
    """Return the schema of one of these names."""
    return partial(checks.choice, allowed=names)


def text(most: int) -> Schema:
    """Return the schema of a str of at most this many characters."""

    def check(value: Any, name: str) -> None:
        if len(checks.text(value, name)) > most:
            raise ValueError(f"{name} must have at most {most:,} characters, got {len(value):,}")

    return check
