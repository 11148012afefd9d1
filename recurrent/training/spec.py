"""Settings in words, "name:option=value,...", as the command line and presets have them: schedules, optimisers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any


def read(
    text: str, what: str, known: Mapping[str, Any], types: Callable, epoch: int | None = None
) -> tuple[Any, dict]:
    """The entry of `known` that a text names, in any case, and the options it gives.

    `types(entry)`: the options that may be given and their types, as annotations spell them: "int", "float", "bool", or one of
    them and None. A whole number may count passes over the data, of `epoch` updates each: "10epochs", "4epochs-1".
    Raises ValueError that names `what` is unknown or no number.
    """
    name, _, rest = text.partition(":")
    found = {k.lower(): entry for k, entry in known.items()}.get(name.strip().lower())
    if found is None:
        raise ValueError(f"{what} must be one of {', '.join(known).lower()}, got {name!r}")
    allowed, options = types(found), {}
    for part in filter(None, rest.split(",")):
        key, _, value = (p.strip() for p in part.partition("="))
        if key not in allowed:
            raise ValueError(f"{what} {name} has the options {', '.join(allowed)}, got {key!r}")
        kind = allowed[key].partition(" ")[0]
        options[key] = _READERS[kind](value, f"{what} {name}: {key}", epoch)
    return found, options


def _float(value, where, epoch):
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"{where} must be a number, got {value!r}") from None


def _int(value, where, epoch):
    passes = re.fullmatch(r"(\d+) ?epochs? ?([+-] ?\d+)?", value)
    if passes:
        if epoch is None:
            raise ValueError(f"{where} cannot count epochs here, got {value!r}: give updates")
        return int(passes[1]) * epoch + int((passes[2] or "0").replace(" ", ""))
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"{where} must be a number, got {value!r}") from None


def _bool(value, where, epoch):
    if value not in ("true", "false"):
        raise ValueError(f"{where} must be true or false, got {value!r}")
    return value == "true"


_READERS = {"float": _float, "int": _int, "bool": _bool}
