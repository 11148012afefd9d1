"""Eight example tasks for recurrent networks, by name: `python -m recurrent task NAME`."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

from .. import checks
from .base import Task

# Name (also the name of the task's module) -> kind of sequence task.
TASKS = {
    "ring": "one-to-one",
    "numerals": "one-to-many",
    "waves": "many-to-one",
    "tags": "many-to-many",
    "names": "many-to-many",
    "digits": "many-to-many",
    "backwards": "encoder-decoder",
    "dates": "encoder-decoder",
}


def summary(name: str) -> str:
    """Return a one-line description of a task. Raises ValueError for an unknown name."""
    return _module(name).__doc__.splitlines()[0]


def task(name: str, seed: int = 0) -> Task:
    """Return a task with its data and a new model, both generated from `seed`.

    Raises ValueError for an unknown name and a negative seed.
    """
    seed = checks.integer(seed, "seed", 0)
    return replace(_module(name).task(seed), name=name, kind=TASKS[name], summary=summary(name))


def _module(name):
    checks.choice(name, "task", TASKS)
    return import_module(f".{name}", __name__)
