"""Rows from the processes that measure them, as they come: a process for each thread count, and one for each probe."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import asdict

from ..results import Row
from ..workloads.base import Work
from ..workloads.catalogue import Probe, find
from . import cold_start, processes
from .timing import Pace

Some = list[Work | Probe]


def plan(
    chosen: Some, threads: list[int], done: Container[tuple[str, int]] = ()
) -> list[tuple[int, Some]]:
    """What is measured at each thread count: probes at the first one only, and no row whose key is `done`."""
    steady = [w for w in chosen if not isinstance(w, Probe)]
    wanted = [(n, chosen if k == 0 else steady) for k, n in enumerate(threads)]
    return [(n, [w for w in some if (w.name, n) not in done]) for n, some in wanted]


def collect(
    planned: list[tuple[int, Some]], pace: Pace, peaks: dict, missing: dict
) -> Iterator[Row]:
    """Every row; `peaks` by thread count and `missing` engines are filled on the way."""
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
    """A worker's answers. Where it dies, the row that it was at is an error, and the caller starts another for the rest."""
    left, request = (
        list(names),
        {"threads": threads, "names": tuple(names), "pace": pace, "peaks": peaks},
    )
    try:
        for answer in processes.objects(["-m", "bench.measure.worker"], threads, request):
            if "row" in answer:
                left.remove(answer["row"]["name"])
            yield answer
    except processes.Failed as error:
        yield {
            "row": asdict(
                Row(
                    **find(left[0]).facts(),
                    threads=threads,
                    samples={},
                    error=f"its process: {error}",
                )
            )
        }
