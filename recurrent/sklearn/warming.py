"""Kernels are compiled by one process at a time.

A grid search starts several processes at once. With an empty cache of compiled kernels each of them
would compile all kernels of the network. So the first training in a process begins with one update
of a copy, under a lock on a file beside the cache: the first process compiles, the others wait and
load what it has compiled.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..data import Batch
from ..kernels import elementwise
from ..models.sequential import Sequential
from ..optim import Optimizer
from ..training.fit import fit

try:
    import fcntl
except ImportError:  # Windows
    fcntl: Any = None

_done: set[tuple] = set()  # what this process has compiled or loaded


def warm(
    network: Sequential, batch: Batch, loss: Any, optimizer: Optimizer, **options: Any
) -> None:
    """Compile or load the kernels of a training, once in a process for each kind of network.

    `options` are those of `fit`. Neither the network nor the optimiser changes.
    """
    layers = tuple((type(layer), getattr(layer.cell, "name", "")) for layer in network.layers)
    key = layers, type(loss), getattr(loss, "__name__", ""), repr(optimizer), batch.lengths is None
    if key in _done:
        return
    with one_process():
        twin, rule = copy.deepcopy(network), copy.deepcopy(optimizer)
        rule.lr = 0.0  # a schedule may wait for validations
        fit(twin, [batch], loss, rule, progress=False, **options)
        twin.forward(batch.x, lengths=batch.lengths)
    _done.add(key)


@contextmanager
def one_process() -> Iterator[None]:
    """Hold a lock that no other process of this user holds, where the system has such locks."""
    cache = getattr(elementwise.apply_rule, "_cache", None)
    folder = getattr(cache, "cache_path", None)
    if fcntl is None or folder is None:  # or no kernel is compiled, or none is kept
        yield
        return
    file = None
    with suppress(OSError):  # a folder that cannot be written holds no lock
        Path(folder).mkdir(parents=True, exist_ok=True)
        file = open(Path(folder, "compiling.lock"), "a")  # noqa: SIM115
        fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if file is not None:
            file.close()
