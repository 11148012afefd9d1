"""Compares the memory that a command needs with that of the machine, before it is allocated."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

from ..charlm.model import CharLM
from ..charlm.recipe import Recipe
from ..charlm.text import Vocabulary

TEXT = 4  # bytes of memory that a text takes at most for each of its own, while it is read


def total() -> int:
    """Return the bytes of memory that this process may use: of the machine or of its limits."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    limits += [n for n in resource.getrlimit(resource.RLIMIT_AS) if n != resource.RLIM_INFINITY]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # of a container
        try:
            limits.append(int((Path("/sys/fs/cgroup") / name).read_text()))
        except (OSError, ValueError):  # no such limit
            continue
    return min(limits)


def check(need: int, what: str, advice: str) -> None:
    """Raise MemoryError if `what` needs more bytes than the machine has."""
    if need > total():
        raise MemoryError(
            f"{what} needs about {_size(need)}, but this machine has {_size(total())}; {advice}"
        )


def training(vocabulary: Vocabulary, model: dict[str, Any], recipe: Recipe) -> int:
    """Return the bytes that a training step of a model with these options needs.

    The plan of a model needs its layers, but not its parameters, which are never touched. Of a deep
    model three layers are built: all that follow take as much as the third. Raises ValueError if
    the options make no model.
    """
    layers = model["layers"]
    if layers <= 3:
        return _plan(vocabulary, model, recipe)
    two, three = (_plan(vocabulary, model | {"layers": k}, recipe) for k in (2, 3))
    return three + (layers - 3) * (three - two)


def _plan(vocabulary, model, recipe) -> int:
    """Return the bytes of a training step."""

    def leave(layer, rng):
        """Initialise nothing."""

    lm = CharLM(vocabulary, **model | {"init": leave})
    T, N = recipe.look_back or recipe.seq, -(-recipe.batch // recipe.shards)
    plan = lm.model.plan(T, N, optimizer=recipe.new_optimizer())
    sums = recipe.shards.bit_length() - 1  # vectors of a tree of shards
    return plan.total + sums * plan.gradients


def _size(size: int) -> str:
    """Return a size in words."""
    power = next((p for p in (5, 4, 3) if size >= 1000**p), 2)
    return f"{size / 1000**power:,.1f} {' MGTP'[power - 1]}B"
