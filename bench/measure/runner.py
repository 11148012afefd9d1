"""Collects rows from the processes that measure them: one per thread count, one per probe."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import asdict

from ..results import Row
from ..workloads.base import Work
from ..workloads.catalogue import Probe, find
from . import cold_start, processes
from .timing import Pace

Workloads = list[Work | Probe]


def plan(
    chosen: Workloads, threads: list[int], done: Container[tuple[str, int]] = ()
) -> list[tuple[int, Workloads]]:
    """Return the workloads for each thread count, without the rows whose keys are in `done`.

    Probes run at the first thread count only.
    """
    steady = [w for w in chosen if not isinstance(w, Probe)]
    planned = [(n, chosen if k == 0 else steady) for k, n in enumerate(threads)]
    return [(n, [w for w in ws if (w.name, n) not in done]) for n, ws in planned]


def collect(
    planned: list[tuple[int, Workloads]], pace: Pace, peaks: dict, missing: dict
) -> Iterator[Row]:
    """Yield every row; fill `peaks` (by thread count) and `missing` (engines) on the way."""
    for threads, workloads in planned:
        names = [w.name for w in workloads if not isinstance(w, Probe)]
        while names:
            for answer in _worker(names, threads, pace, str(threads) not in peaks):
                if "peaks" in answer:
                    peaks[str(threads)] = answer["peaks"]
                missing.update(answer.get("missing", {}))
                if "row" in answer:
                    names.remove(answer["row"]["name"])
                    yield Row(**answer["row"])
        for w in workloads:
            if isinstance(w, Probe):
                yield cold_start.measure(w, pace, threads)


def _worker(names, threads, pace, peaks):
    """Yield a worker's answers; if it dies, its current row becomes an error.

    The caller starts another worker for the remaining rows.
    """
    left = list(names)
    request = {"threads": threads, "names": tuple(names), "pace": pace, "peaks": peaks}
    try:
        for answer in processes.json_lines(["-m", "bench.measure.worker"], threads, request):
            if "row" in answer:
                left.remove(answer["row"]["name"])
            yield answer
    except processes.ProcessFailed as error:
        facts = find(left[0]).facts()
        row = Row(**facts, threads=threads, samples={}, error=f"its process failed: {error}")
        yield {"row": asdict(row)}
