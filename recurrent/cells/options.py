"""Cells with options: one cell for each combination, made when it is first asked for, named by its options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..checks import naming
from ..equations.cell import Cell
from .activations import canonical


def cell_family(name: str, called: dict[str, str] | None = None, **defaults: Any) -> Callable:
    """Makes of `build(name, **options) -> Cell` a function of options alone, which returns the same cell for the same options.

    `defaults`: each option and its value where it is not given, of the kind that it must have: True or False, a positive
    number (None: without), an activation, a tuple of activations, a whole number from 1 to 9 (a default of 1), or `biases`,
    how many vectors of them a gate has. The
    cell with all defaults bears the family's name; `called` renames others. Raises TypeError for an unknown option and
    a value of another kind, ValueError for a value that is not allowed.
    """

    def decorate(build: Callable[..., Cell]) -> Callable[..., Cell]:
        made: dict[str, Cell] = {}

        def make(**options):
            for option in options:
                if option not in defaults:
                    raise TypeError(
                        f"{name} has no option {option!r}; it has {', '.join(defaults)}"
                    )
            chosen = {}
            for k, default in defaults.items():
                with naming(k):
                    chosen[k] = _checked(k, options.get(k, default), default)
            text = ", ".join(f"{k}={v!r}" for k, v in chosen.items() if v != defaults[k])
            own = f"{name}({text})" if text else name
            own = (called or {}).get(own, own)
            if own not in made:
                made[own] = build(own, **chosen)
            return made[own]

        make.__doc__ = build.__doc__
        return make

    return decorate


def _checked(option, value, default):
    """The value of an option in its one form."""
    if option == "biases":
        if isinstance(value, bool) or value not in (0, 1, 2):
            raise ValueError(f"must be 0, 1 or 2, got {value!r}")
        return value
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise TypeError(f"must be True or False, got {value!r}")
        return value
    if isinstance(default, int) and not isinstance(default, bool):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"must be an int, got {value!r}")
        if not 1 <= value <= 9:
            raise ValueError(f"must be in 1..9, got {value}")
        return value
    if isinstance(default, str):
        return canonical(value)
    if isinstance(default, tuple):
        if not isinstance(value, (tuple, list)) or len(value) != len(default):
            raise ValueError(f"must be {len(default)} names like {default}, got {value!r}")
        return tuple(canonical(v) for v in value)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"must be a number or None, got {value!r}")
    if not value > 0:
        raise ValueError(f"must be above 0, got {value!r}")
    return float(value)
