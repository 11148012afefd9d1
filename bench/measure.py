"""Timing: results must agree first; then rounds interleaved between engines, medians with their spread."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from .workloads import Workload

SETTLE = 0.1  # seconds: idle threads of OpenBLAS and others spin for tens of milliseconds and would take the next one's core


@dataclass
class Row:
    """One workload: seconds of every round by engine, or an error."""

    workload: Workload
    seconds: dict[str, list[float]] = field(default_factory=dict)
    error: str | None = None

    def median(self, engine: str) -> float:
        return float(np.median(self.seconds[engine]))

    @property
    def best_peer(self) -> str | None:
        """The fastest engine other than ours."""
        peers = [e for e in self.seconds if e != "recurrent"]
        return min(peers, key=self.median) if peers else None

    @property
    def ratio(self) -> float | None:
        """Best peer's time over ours: above 1 we are ahead."""
        return self.median(self.best_peer) / self.median("recurrent") if self.best_peer else None


def disagreement(ours, theirs, workload: Workload) -> str | None:
    """What is wrong with a peer's results against ours, if anything: float32 sums of T N terms at most."""
    ours, theirs = ([np.asarray(a) for a in (r if isinstance(r, tuple) else (r,))] for r in (ours, theirs))
    terms = workload.T * workload.N + workload.D + workload.H
    for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        limit = np.finfo(np.float32).eps * 8 * np.sqrt(terms) * max(1.0, float(np.abs(a).max()))
        error = float(np.abs(a - b).max())
        if not error <= limit:
            return f"result {k} differs by {error:.1e}, more than {limit:.1e}"
    return None


def measure(workload: Workload, engines: list, seconds: float, threads: int) -> Row:
    """Time one workload for about `seconds` an engine; with several threads each has the machine to itself first."""
    row, data, runs, ours = Row(workload), workload.data(), {}, None
    for engine in engines:
        run = engine.prepare(workload, data)
        if run is None:
            continue
        result = run()
        ours = result if ours is None else ours
        problem = disagreement(ours, result, workload)
        if problem:
            row.error = f"{engine.name}: {problem}"
            return row
        runs[engine.name] = run
    repeats, spent = {}, 0.0
    for name, run in runs.items():
        run()
        start = time.perf_counter()
        run()
        repeats[name] = max(1, int(0.01 / (time.perf_counter() - start)))  # a round lasts about 10 ms at least
        row.seconds[name] = []
    while len(row.seconds["recurrent"]) < 5 or spent < seconds * len(runs):
        for name, run in runs.items():
            if threads > 1:
                time.sleep(SETTLE)
                run()
            start = time.perf_counter()
            for _ in range(repeats[name]):
                run()
            taken = time.perf_counter() - start
            spent += taken
            row.seconds[name].append(taken / repeats[name])
    return row
