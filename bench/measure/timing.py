"""Timing: results must agree first; then rounds interleaved between engines. All samples are kept."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..engines.engine import Engine
from ..results import OURS, Row
from ..workloads.base import Work
from . import peaks

SETTLE = 0.1  # seconds: idle threads of OpenBLAS and others spin for tens of milliseconds and would take the next one's core
LONG = 1e8  # floating-point operations of a call between whose rounds the machine's own speed is measured, too
METERED = 0.2  # how long, against a measurement of the peak for itself
FAR = 3.0  # an engine this many times behind the best peer is spared the rounds after the first few


class Pace(NamedTuple):
    """How long a row is measured: seconds an engine, and rounds at least."""

    seconds: float
    rounds: int


PACES = {"quick": Pace(0.05, 3), "default": Pace(0.15, 5), "full": Pace(1.0, 9)}


def disagreement(ours: list, theirs: list, tolerance: float) -> str | None:
    """What is wrong with a peer's results against ours, if anything: one result a call, an array or several."""
    for call, pair in enumerate(zip(ours, theirs, strict=True)):
        for k, (a, b) in enumerate(zip(*pair, strict=True)):
            if a.shape != b.shape:
                return f"result {k} has shape {b.shape}, not {a.shape}"
            limit = tolerance * max(1.0, float(np.abs(a).max(initial=0)))
            error = float(np.abs(a - b).max(initial=0))
            if not error <= limit:
                return f"result {k} of call {call} differs by {error:.1e}, more than {limit:.1e}"
    return None


def results(run: Callable, calls: int) -> list[list[np.ndarray]]:
    """What so many calls return, copied: an engine may write the next over the last."""
    found = []
    for _ in range(calls):
        result = run()
        found.append([np.array(a) for a in (result if isinstance(result, tuple) else (result,))])
    return found


def measure(workload: Work, engines: list[Engine], pace: Pace, threads: int) -> Row:
    """One row: every engine that can do it, once their results agree. Ours is the first of `engines`."""
    runs, notes, ours = {}, {}, None
    facts = workload.facts() | {"threads": threads}
    data = workload.data()
    for engine in engines:
        try:
            run = engine.prepare(workload, data)
            found = results(run, workload.compared) if run else None
        except Exception as error:  # whatever it is that a peer raises at what it does not support
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            if engine.name == OURS:
                return Row(**facts, samples={}, error=f"{OURS}: {reason}")
            notes[engine.name] = reason
            continue
        if run is None:
            continue
        ours = found if ours is None else ours
        problem = disagreement(ours, found, workload.tolerance)
        if problem:
            return Row(**facts, samples={}, error=f"{engine.name}: {problem}", notes=notes)
        runs[engine.name] = run
    long = (facts.get("flops") or 0) >= LONG
    calls, peak = rounds(
        runs, pace, threads, peaks.meter(facts["dtype"], threads) if long else None
    )
    samples = {name: [s / workload.count(1) for s in taken] for name, taken in calls.items()}
    return Row(**facts, samples=samples, notes=notes, peak=peak)


def rounds(
    runs: dict[str, Callable], pace: Pace, threads: int, meter: peaks.Meter | None = None
) -> tuple[dict, list[float]]:
    """Seconds a call of every round, and what the meter said after each of ours.

    With several threads each engine has the machine to itself first.
    """
    least = 0.01 if threads == 1 else 0.03  # seconds of a round
    repeats = {}
    for name, run in runs.items():
        run()
        start = time.perf_counter()
        run()
        repeats[name] = max(1, int(least / (time.perf_counter() - start)))
    samples, spent, active, peak = {name: [] for name in runs}, 0.0, list(runs), []
    gc.collect()
    gc.disable()
    try:
        while len(samples[active[0]]) < pace.rounds or spent < pace.seconds * len(active):
            for name in active:
                if threads > 1:
                    time.sleep(SETTLE)
                    runs[name]()
                start = time.perf_counter()
                for _ in range(repeats[name]):
                    runs[name]()
                taken = time.perf_counter() - start
                spent += taken
                samples[name].append(taken / repeats[name])
                if meter and name == OURS:
                    peak.append(meter(METERED))
            if len(samples[active[0]]) == 3:
                active, spent = contenders(samples), 0.0
            active = active[1:] + active[:1]  # nobody is always the one after the same other
    finally:
        gc.enable()
    return samples, peak


def contenders(samples: dict[str, list[float]]) -> list[str]:
    """Ours and the peers that may yet turn out the best of them."""
    medians = {name: float(np.median(s)) for name, s in samples.items()}
    best = min((m for name, m in medians.items() if name != OURS), default=0.0)
    return [name for name, m in medians.items() if name == OURS or m <= FAR * best]
