"""Optimisers and learning-rate schedules from text: "name:option=value,...".

The command line and the presets of character models use this notation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from inspect import signature
from typing import Any

from .. import checks
from ..optim import OPTIMIZERS, Optimizer
from ..schedules import SCHEDULES, Schedule


def parse_optimizer(text: str, lr: float | Schedule) -> Optimizer:
    """Build an optimiser from "name" or "name:option=value,...", in upper or lower case.

    Parameters
    ----------
    text : str
        Name and options; single numbers, and yes or no as "true" or "false".
    lr : float or callable
        Learning rate, or a schedule of it.

    Returns
    -------
    Optimizer

    Raises
    ------
    ValueError
        If the name or an option is unknown, or a value is invalid for its option.

    Examples
    --------
    >>> parse_optimizer("rmsprop:alpha=0.95", 2e-3)
    RMSprop(lr=0.002, alpha=0.95, eps=1e-08, weight_decay=0.0, momentum=0.0, centered=False)
    """
    name, pairs = _split(text)
    cls = _find(name, "optimizer", OPTIMIZERS)
    types = {p.name: _type_name(p.annotation) for p in signature(cls).parameters.values()}
    types = {k: t for k, t in types.items() if k != "lr" and t in ("float", "bool")}
    return cls(lr, **_options(f"optimizer {name}", pairs, types, READERS))


def parse_schedule(
    text: str, lr: float, steps: int, integer: Callable[[str], int] = int
) -> Schedule:
    """Build a learning-rate schedule from "name" or "name:option=number,...", in any case.

    Parameters
    ----------
    text : str
        Name and options.
    lr : float
        Initial learning rate, unless the text gives one.
    steps : int
        Number of updates it covers, unless the text gives one.
    integer : callable
        Converts the text of a whole number; raises ValueError for anything else.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError
        If the name or an option is unknown, an option is missing, or a value is not a number.

    Examples
    --------
    >>> parse_schedule("cosine:warmup=10", 0.1, 500)
    Cosine(lr=0.1, steps=500, warmup=10, final=0.0)
    """
    name, pairs = _split(text)
    cls = _find(name, "schedule", SCHEDULES)
    types = {f.name: _type_name(f.type) for f in fields(cls)}
    options = {k: v for k, v in {"lr": lr, "steps": steps}.items() if k in types}
    options |= _options(f"schedule {name}", pairs, types, {**READERS, "int": integer})
    missing = [f.name for f in fields(cls) if f.default is MISSING and f.name not in options]
    if missing:
        raise ValueError(f"schedule {name} needs {', '.join(missing)}: {name}:{missing[0]}=...")
    try:
        return cls(**options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"schedule {text}: {error}") from error


def _split(text: str) -> tuple[str, list[tuple[str, str]]]:
    """Split "name:option=value,..." into the name and the pairs of option and value."""
    name, _, rest = text.partition(":")
    parts = [part.partition("=") for part in filter(None, rest.split(","))]
    return name, [(key.strip(), value.strip()) for key, _, value in parts]


def _find(name: str, what: str, known: dict[str, Any]) -> Any:
    """Return the entry of that name, in any case."""
    entries = {k.lower(): entry for k, entry in known.items()}
    if name.strip().lower() not in entries:
        raise ValueError(
            f"{what} must be one of {', '.join(known).lower()}, got {checks.shown(name)}"
        )
    return entries[name.strip().lower()]


def _options(where: str, pairs, types: dict[str, str], readers) -> dict[str, Any]:
    """Convert each value to the type of its option."""
    options = {}
    for key, value in pairs:
        if key not in types:
            raise ValueError(f"{where} has the options {', '.join(types)}, got {checks.shown(key)}")
        kind = types[key]
        try:
            options[key] = readers[kind](value)
        except (KeyError, ValueError):
            expected = "true or false" if kind == "bool" else "a number"
            raise ValueError(
                f"{where}: {key} must be {expected}, got {checks.shown(value)}"
            ) from None
    return options


def _type_name(annotation: Any) -> str:
    """Return the first type of an annotation, such as "int" for "int | None"."""
    return str(getattr(annotation, "__name__", annotation)).partition(" ")[0]


READERS: dict[str, Callable[[str], Any]] = {
    "float": float,
    "int": int,
    "str": str,
    "bool": {"true": True, "false": False}.__getitem__,
}
