"""Named tuples of arrays whose fields depend on the cell: Params and State; and the sizes that they come in."""

from __future__ import annotations

from collections import namedtuple
from functools import lru_cache
from typing import NamedTuple


class Sizes(NamedTuple):
    """Of a cell's input, of its units, and of what it hands on."""

    D: int
    H: int
    P: int  # rows of W_hr in a cell that projects, else H


@lru_cache
def namedtuple_type(name: str, fields: tuple[str, ...]) -> type:
    """A namedtuple that pickles by the names of its fields: its type is made when asked for, and found by no import."""
    kind = namedtuple(name, fields)
    kind.__reduce__ = lambda self: (_record, (name, fields, *self))
    return kind


def _record(name, fields, *values):
    return namedtuple_type(name, fields)(*values)


def params_type(parameters: tuple[str, ...] = (), biases: int = 2, projected: bool = False) -> type:
    """The Params of cells with these per-unit parameters and so many bias vectors; one type for all cells alike."""
    return namedtuple_type(
        "Params", ("W_ih", "W_hh", *("b_ih", "b_hh")[:biases], *["W_hr"] * projected, *parameters)
    )


def state_type(states: tuple[str, ...]) -> type:
    """The State of cells with these states: `(h,)` or `(h, c)`."""
    return namedtuple_type("State", states)
