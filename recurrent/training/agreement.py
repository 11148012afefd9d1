"""Collects what the workers of a training must have alike, in a form that can be compared."""

from __future__ import annotations

import hashlib
from dataclasses import is_dataclass
from functools import partial
from typing import Any

import numpy as np

from .shards import over_arrays

# Options of `fit` in the loop, and in its runs of shards.
OPTIONS = "accumulate", "ema", "smooth", "validate_every", "patience", "keep_best"
RUN_OPTIONS = "look_back", "checkpoint_every"


def facts_of(loop: Any) -> dict[str, Any]:
    """Return what must be equal on all workers, by name.

    Parameters
    ----------
    loop : Loop
        A training that is about to begin.

    Returns
    -------
    dict
        Values that can be sent and compared.
    """
    rule, rates, state = loop.rates.rule, loop.rates, loop.state
    batches = loop.reader.batches.batches
    arrays = {"average": state.average, "latest": state.latest, **rule.arrays}
    return {
        "shards": loop.shards.count,
        "updates": loop.last,
        **{name: getattr(loop, name) for name in OPTIONS},
        "clipping": loop.limits,
        **{name: getattr(loop.shards.runs[0], name) for name in RUN_OPTIONS},
        "loss": named(loop.loss),
        "monitor": loop.monitor.name,
        "metrics": list(loop.metrics),
        "validation": loop.validation is not None,
        "parameters": digest(loop.model.flat),
        "optimizer": (type(rule).__name__, rule.options, rule.steps),
        "lr or freeze": [(s.start, s.stop, named(rate)) for s, rate in rates.parts],
        "freeze": None if rates.kept is None else digest(rates.kept[0]),
        "arrays of resume": {k: a if a is None else digest(a) for k, a in arrays.items()},
        "carried state": over_arrays(lambda a: digest(a[0]), [(state.carried, state.past)]),
        "history": loop.history.losses,
        "seed": (state.seed, getattr(batches, "seed", None)),
        "batches": (loop.reader.count, loop.reader.cursor),
    }


def named(value: Any) -> Any:
    """Return a number itself, and the words for a schedule or a loss, equal in all processes."""
    if isinstance(value, partial):
        return named(value.func), sorted(value.keywords)
    if isinstance(value, type) or not callable(value):
        return value
    if is_dataclass(value):
        return repr(value)
    return getattr(value, "__qualname__", type(value).__qualname__)


def digest(a: np.ndarray) -> str:
    """Return a digest of the bits of an array."""
    return hashlib.sha256(np.ascontiguousarray(a).data).hexdigest()
