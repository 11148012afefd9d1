"""`python -m bench.measure.cold_start`: measures the first call, or the memory of training.

Every measurement needs a new process. It reads a JSON request from standard input, with the keys
engine, task, name and threads, and writes one JSON line.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace

from ..engines import ENGINES
from ..results import OURS, Row
from ..workloads.base import Work
from ..workloads.catalogue import Probe, Workload, find
from ..workloads.models import CharModel
from . import processes
from .timing import Pace

IMPORT = (
    "import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
)
TINY = {Workload: dict(N=1, T=1, D=4, H=4), CharModel: dict(N=1, T=1, E=4, H=4, V=3)}
UPDATES = 3
PROCESSES = 3  # most rounds: a new process varies little


def measure(probe: Probe, pace: Pace, threads: int) -> Row:
    """Measure one row: rounds interleaved between engines, each in a new process.

    Engines that fail or are not installed are named in the row's notes.
    """
    samples, notes = {}, {}
    if probe.task == "warm":  # fill the cache of compiled kernels
        with suppress(processes.ProcessFailed):
            ask(probe, OURS, threads, None)
    with tempfile.TemporaryDirectory() if probe.task == "cold" else nullcontext() as folder:
        for k in range(1 if probe.task == "memory" else min(PROCESSES, (pace.rounds + 1) // 2)):
            for engine in [e for e in ENGINES if e not in notes]:
                try:
                    result = ask(probe, engine, threads, f"{folder}/{k}" if folder else None)
                except processes.ProcessFailed as error:
                    notes[engine] = str(error)
                    continue
                if result is not None:
                    samples.setdefault(engine, []).append(result)
    error = None if OURS in samples else f"{OURS}: {notes.get(OURS, 'no result')}"
    return Row(
        **probe.facts(),
        threads=threads,
        samples=samples if error is None else {},
        error=error,
        notes=notes,
    )


def ask(probe: Probe, engine: str, threads: int, cache: str | None) -> float | None:
    """Measure in a new process; `cache` is the folder of compiled kernels, None for the default."""
    request = {"engine": engine, "task": probe.task, "name": probe.name, "threads": threads}
    code = ["-c", IMPORT.format(module=ENGINES[engine].module)]
    arguments = code if probe.task == "import" else ["-m", "bench.measure.cold_start"]
    variables = {} if cache is None else {"NUMBA_CACHE_DIR": cache}
    (result,) = processes.json_lines(arguments, threads, request, **variables)
    return result


def answer(request: dict) -> float | None:
    """Return seconds or bytes; None if the engine does not support the workload."""
    workload = find(request["name"]).workload
    engine = ENGINES[request["engine"]](request["threads"])
    if request["task"] == "memory":
        return memory(engine.prepare, workload)
    data = workload.data()
    start = time.perf_counter()
    run = engine.prepare(workload, data)
    if run is None:
        return None
    run()
    return time.perf_counter() - start


def memory(prepare: Callable, workload: Work) -> int | None:
    """Return the peak growth of resident memory (bytes) while a model is built and trained.

    A tiny model is trained first, to load libraries and compile code.
    """
    tiny = replace(workload, **TINY[type(workload)])
    run = prepare(tiny, tiny.data())
    if run is None:
        return None
    run()
    before = resident("VmRSS")
    with open("/proc/self/clear_refs", "w") as f:
        f.write("5")  # resets the peak
    run = prepare(workload, workload.data())
    for _ in range(UPDATES):
        run()
    return max(resident("VmHWM") - before, 1)


def resident(field: str) -> int:
    """Return a field of /proc/self/status in bytes; raises OSError if not on Linux."""
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(field))


def main() -> None:
    """Answer one request; what libraries print goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    output.write(json.dumps(answer(json.load(sys.stdin))) + "\n")
    output.flush()


if __name__ == "__main__":
    main()
