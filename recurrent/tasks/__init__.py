"""The tasks of recurrent networks by name, each a small example that learns something real: `python -m recurrent task`."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

from .task import Task

# By name: the module that has it, and which of the five kinds it is of.
TASKS = {
    "ring": "one-to-one",
    "numerals": "one-to-many",
    "waves": "many-to-one",
    "tags": "many-to-many",
    "backwards": "encoder-decoder",
    "dates": "encoder-decoder",
}


def about(name: str) -> str:
    """What the task of this name is, in one line. Raises ValueError for an unknown name."""
    return _module(name).__doc__.splitlines()[0]


def task(name: str, seed: int = 0) -> Task:
    """The task of this name, with its data and a new model, both from `seed`. Raises ValueError for an unknown name."""
    return replace(_module(name).task(seed), name=name, kind=TASKS[name], about=about(name))


def _module(name):
    if name not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {name!r}")
    return import_module(f".{name}", __name__)
