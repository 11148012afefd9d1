"""Measures the exchange of gradients among processes, and trainings that share it."""

from __future__ import annotations

import shutil
import statistics
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recurrent.charlm.recipe import Recipe

from .machine import processors
from .processes import ProcessFailed, conversation

Ask = Callable[..., Any]


class Pace(NamedTuple):
    """Says which gradients and trainings are measured, and how long."""

    sizes: tuple[int, ...]  # bytes of gradients
    seconds: float  # measuring time of each size
    updates: dict[int, int]  # of a round, for the hidden size of each model
    rounds: int


SIZES = (*(4**k for k in range(6, 14)), 2**27)  # 4 KiB to 64 MiB, and 128 MiB
PACES = {
    "quick": Pace(SIZES[:5], 0.02, {64: 2}, 2),
    "default": Pace(SIZES, 1.0, {512: 4, 64: 40}, 9),
}


class Kind(NamedTuple):
    """A way to train the same model: W processes or one, as many shards, and a batch."""

    name: str
    shared: bool
    shards: int
    batch: int


def kinds(processes: int) -> dict[str, Kind]:
    """Return the ways to train, by their letter."""
    batch = Recipe().batch
    return {
        "a": Kind("one process", False, 1, batch),
        "b": Kind(f"one process, {processes} shards", False, processes, batch),
        "c": Kind(f"{processes} processes", True, processes, batch),
        "d": Kind("one process, half of the batch", False, 1, batch // 2),
    }


class Line(NamedTuple):
    """The time of an exchange: `seconds + bytes / rate`."""

    seconds: float
    rate: float  # bytes per second
    error: float  # the largest difference from a measured median, relative to it


@dataclass(frozen=True)
class Training:
    """The times of updates of a model, by the letters of `kinds`."""

    hidden: int
    size: int  # bytes of the gradient
    times: dict[str, dict[str, list[float]]]  # seconds, meeting, waiting and sum of every update
    error: str = ""

    def median(self, kind: str, what: str = "seconds") -> float:
        """Return the median of what an update takes."""
        return statistics.median(self.times[kind][what])


@dataclass(frozen=True)
class Measured:
    """Holds what was measured."""

    processes: int
    threads: list[int]  # of each process
    alone: int  # threads of a process alone
    meetings: list[float]
    exchanges: dict[int, list[float]]  # by bytes of the gradient
    additions: dict[int, list[float]]  # by bytes
    trainings: list[Training]

    @property
    def oversubscribed(self) -> bool:
        """True if there are more processes than processors."""
        return self.processes > processors()

    @property
    def line(self) -> Line:
        """The line through the medians of all sizes."""
        return line({size: statistics.median(s) for size, s in self.exchanges.items()})


def line(medians: dict[int, float]) -> Line:
    """Fit seconds to bytes so that the squares of the relative errors are least.

    >>> line({1000: 2e-6, 3000: 4e-6, 5000: 6e-6}).rate
    1000000000.0000...
    """
    x, t = np.array(list(medians)), np.array(list(medians.values()))
    (seconds, slope), *_ = np.linalg.lstsq(np.array([1 / t, x / t]).T, np.ones(len(x)))
    error = float(np.abs((seconds + slope * x) / t - 1).max())
    return Line(float(seconds), float(1 / slope), error)


def checked(processes: int | None) -> int:
    """Return the number of processes, for None as many as the processors take.

    Raises ValueError unless it is a power of two above 1.
    """
    if processes is None:
        processes = 1 << (processors().bit_length() - 1)
        if processes == 1:
            raise ValueError("an exchange needs two processors, got 1: pass --processes 2")
    if processes < 2 or processes & (processes - 1):
        near = 1 << (processes.bit_length() - 1)
        raise ValueError(
            f"processes must be a power of two, got {processes}: pass --processes {2 * near}"
        )
    return processes


def measure(processes: int, pace: Pace, say: Callable[[str], None]) -> Measured:
    """Measure exchanges and trainings; `say` is told what comes next."""
    with _asking([sys.executable]) as alone, _asking(_launcher(processes), "shared") as shared:
        say(f"meetings of {processes} processes")
        threads, (own,) = shared(measure="threads"), alone(measure="threads")
        meetings = shared(measure="meetings", seconds=pace.seconds)
        exchanges = {}
        for size in pace.sizes:
            say(f"exchanges of {size:,} bytes")
            exchanges[size] = shared(measure="exchanges", size=size, seconds=pace.seconds)
        trainings = []
        for hidden in pace.updates:
            say(f"updates of the model with {hidden} hidden units")
            trainings.append(train(alone, shared, processes, hidden, pace))
        additions = {}
        for size in [training.size for training in trainings]:
            say(f"exchanges of {size:,} bytes, the gradient of a model")
            exchanges[size] = shared(measure="exchanges", size=size, seconds=pace.seconds)
            additions[size] = shared(measure="additions", size=size, seconds=pace.seconds)
    exchanges = dict(sorted(exchanges.items()))
    return Measured(processes, threads, own, meetings, exchanges, additions, trainings)


def train(alone: Ask, shared: Ask, processes: int, hidden: int, pace: Pace) -> Training:
    """Measure the updates of a model in rounds of all ways, whose order changes.

    The first update of each way does not count. If as many processes as shards do not train to the
    bits of one process, the training is an error without times.
    """
    ways = kinds(processes)
    times: dict[str, dict[str, list[float]]] = {letter: {} for letter in ways}
    order, size = list(ways), 0
    for round in range(pace.rounds + 1):
        bits, updates = {}, pace.updates[hidden] if round else 1
        for letter in order:
            way = ways[letter]
            found = (shared if way.shared else alone)(
                measure="train", hidden=hidden, shards=way.shards, batch=way.batch, updates=updates
            )
            bits[letter], size = found.pop("bits"), found.pop("bytes")
            for what, values in found.items():
                times[letter].setdefault(what, []).extend(values if round else [])
        if bits["b"] != bits["c"]:
            words = f"{processes} processes do not train to the bits of one process"
            return Training(hidden, size, {}, words)
        order = order[1:] + order[:1]
    return Training(hidden, size, times)


@contextmanager
def _asking(program: list[str], *arguments: str):
    """Start the program of `rank`; raise ValueError if it ends early."""
    try:
        with conversation([*program, "-m", "bench.measure.rank", *arguments]) as ask:
            yield ask
    except ProcessFailed as error:
        raise ValueError(f"a process of the benchmark failed: {error}") from None


def _launcher(processes: int) -> list[str]:
    """Return what starts a Python program in so many processes, of this environment if it can."""
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None or find_spec("mpi4py") is None:
        raise ImportError("mpiexec and mpi4py are needed: pip install 'recurrent-engine[mpi]'")
    # mpi4py ends all processes if one raises an error.
    return [found, "-n", str(processes), sys.executable, "-m", "mpi4py"]
