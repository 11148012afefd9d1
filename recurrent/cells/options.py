"""Families of cells: one cell for each combination of options, created when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import checks
from ..checks import guided
from ..equations.cell import Cell
from .activations import canonical


def cell_family(
    name: str, aliases: dict[str, str] | None = None, **defaults: Any
) -> Callable[[Callable[..., Cell]], Callable[..., Cell]]:
    """Turn `build(name, **options) -> Cell` into a function of keyword options alone.

    The function returns the same cell for equal options. The cell with all defaults has the name of
    the family; other names list the options that differ, and `aliases` replaces such names.
    `defaults` holds each option's default, whose type decides which values are allowed: a bool; a
    positive number (default None: no limit); the name of an activation; a tuple of such names; an
    integer from 1 to 9; or, for `biases`, 0, 1 or 2. The function raises TypeError for an unknown
    option and for a value of the wrong type, ValueError for a value that is not allowed.
    """

    def decorate(build: Callable[..., Cell]) -> Callable[..., Cell]:
        cells: dict[str, Cell] = {}

        def make(**options):
            for option in options:
                if option not in defaults:
                    raise guided.unknown_option(name, option, defaults)
            values = {}
            for option, default in defaults.items():
                values[option] = _checked(option, options.get(option, default), default)
            text = ", ".join(f"{k}={v!r}" for k, v in values.items() if v != defaults[k])
            full_name = f"{name}({text})" if text else name
            full_name = (aliases or {}).get(full_name, full_name)
            if full_name not in cells:
                cells[full_name] = build(full_name, **values)
            return cells[full_name]

        make.__doc__, make.options = build.__doc__, tuple(defaults)
        return make

    return decorate


def _checked(option, value, default):
    """Return the canonical form of an option's value."""
    if option == "biases":
        return checks.integer(value, option, 0, 2)
    if isinstance(default, bool):
        return checks.flag(value, option)
    if isinstance(default, int):
        return checks.integer(value, option, 1, 9)
    if isinstance(default, str):
        with checks.naming(option):
            return canonical(value)
    if isinstance(default, tuple):
        if not isinstance(value, (tuple, list)) or len(value) != len(default):
            raise ValueError(
                f"{option} must be a tuple of {len(default)} names such as {default}, "
                f"got {checks.shown(value)}"
            )
        with checks.naming(option):
            return tuple(canonical(v) for v in value)
    return None if value is None else checks.number(value, option, above=0)
