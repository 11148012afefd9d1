"""`python -m bench.measure.cold_start`: what only a new process can tell: the first call, the memory that training takes.

Asked by JSON on standard input, {"engine", "task", "name", "threads"}; writes one JSON line.
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


def measure(probe: Probe, pace: Pace, threads: int) -> Row:
    """One row: rounds interleaved between engines, a process each. Those that are not installed are not in it."""
    samples, notes = {}, {}
    if (
        probe.task == "warm"
    ):  # whoever measures may never have compiled these kernels, or others since
        with suppress(processes.Failed):
            ask(probe, OURS, threads, None)
    with tempfile.TemporaryDirectory() if probe.task == "cold" else nullcontext() as folder:
        for k in range(1 if probe.task == "memory" else (pace.rounds + 1) // 2):
            for engine in [e for e in ENGINES if e not in notes]:
                try:
                    found = ask(probe, engine, threads, f"{folder}/{k}" if folder else None)
                except processes.Failed as error:
                    notes[engine] = str(error)
                    continue
                if found is not None:
                    samples.setdefault(engine, []).append(found)
    error = None if OURS in samples else f"{OURS}: {notes.get(OURS, 'no answer')}"
    return Row(
        **probe.facts(),
        threads=threads,
        samples=samples if error is None else {},
        error=error,
        notes=notes,
    )


def ask(probe: Probe, engine: str, threads: int, cache: str | None) -> float | None:
    """One process's answer; `cache`: the folder of compiled kernels, to start from an empty one."""
    request = {"engine": engine, "task": probe.task, "name": probe.name, "threads": threads}
    code = ["-c", IMPORT.format(module=ENGINES[engine].module)]
    arguments = code if probe.task == "import" else ["-m", "bench.measure.cold_start"]
    more = {} if cache is None else {"NUMBA_CACHE_DIR": cache}
    (found,) = processes.objects(arguments, threads, request, **more)
    return found


def answer(request: dict) -> float | None:
    """Seconds or bytes; None where the engine cannot do it."""
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
    """Bytes that the resident memory rises by at most, from before the model is made to the end of three training steps.

    A tiny model has been trained before: libraries are loaded and code is compiled.
    """
    tiny = replace(workload, **TINY[type(workload)])
    run = prepare(tiny, tiny.data())
    if run is None:
        return None
    run()
    before = resident("VmRSS")
    with open("/proc/self/clear_refs", "w") as f:
        f.write("5")  # the peak starts again from now
    run = prepare(workload, workload.data())
    for _ in range(UPDATES):
        run()
    return max(resident("VmHWM") - before, 1)


def resident(field: str) -> int:
    """Bytes; Linux only. Raises OSError elsewhere."""
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(field))


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    found = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print
    found.write(json.dumps(answer(json.load(sys.stdin))) + "\n")
    found.flush()


if __name__ == "__main__":
    main()
