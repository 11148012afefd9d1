"""Times workloads: the results must agree first, then rounds alternate between the engines."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..engines.engine import Engine
from ..results import OURS, OWN, VARIANTS, Row
from ..workloads.base import Work
from . import peaks

# Idle threads of OpenBLAS and others spin for tens of milliseconds and would occupy the core of the
# engine that is timed next.
SETTLE = 0.1  # seconds after which they are waited for no longer
PAUSE, IDLE = 0.004, 0.1  # seconds; the share of a processor that idle threads use at most
LONG = 1e8  # FLOPs of a call from which on the FMA peak is measured between its rounds
METERED = 0.2  # length of such a measurement, relative to one at the start of a run
SLOW = 0.1  # seconds of a call beside which waking threads and filling caches take no time
FEW = 5  # rounds that do for calls so long that they fill the measuring time several times
FAR = 3.0  # an engine this many times slower than the best peer is timed for three rounds only


LOOSE = 0.1  # largest error of a peer with quantised weights, relative as tolerances are


class Pace(NamedTuple):
    """The measuring time of a row: seconds per engine, and the least number of rounds."""

    seconds: float
    rounds: int


PACES = {"quick": Pace(0.05, 3), "default": Pace(0.15, 5), "full": Pace(1.0, 9)}


def disagreement(ours: list, theirs: list, tolerance: float) -> str | None:
    """Describe the first difference between the results of two engines, if they disagree."""
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
    """Return copies of the results of `calls` calls; engines may reuse their output arrays."""
    copies = []
    for _ in range(calls):
        result = run()
        copies.append([np.array(a) for a in (result if isinstance(result, tuple) else (result,))])
    return copies


def measure(workload: Work, engines: list[Engine], pace: Pace, threads: int) -> Row:
    """Measure one row with every engine that supports it; recurrent is the first of `engines`.

    If results disagree, the row is an error.
    """
    runs, notes, errors, ours = {}, {}, {}, None
    facts = workload.facts() | {"threads": threads}
    data = workload.data()
    exact = workload.exact(data, workload.dtype) if workload.weights else None
    for engine in engines:
        try:
            run = engine.prepare(workload, data)
            outputs = results(run, workload.compared) if run else None
        except Exception as error:  # peers raise various types for what they do not support
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            if engine.name == OURS:
                return Row(**facts, samples={}, error=f"{OURS}: {reason}")
            notes[engine.name] = reason
            continue
        if run is None:
            continue
        ours = outputs if ours is None else ours
        wanted = (ours, workload.tolerance) if exact is None else due(workload, data, engine, exact)
        problem = disagreement(wanted[0], outputs, wanted[1])
        if problem:
            return Row(**facts, samples={}, error=f"{engine.name}: {problem}", notes=notes)
        runs[engine.name] = run
        if exact is not None:
            errors[engine.name] = distances(exact, outputs)
    long = (facts.get("flops") or 0) >= LONG
    meter = peaks.meter(facts["dtype"], threads) if long else None
    taken, peak = rounds(runs, pace, threads, meter)
    samples = {name: [s / workload.count(1) for s in calls] for name, calls in taken.items()}
    return Row(**facts, samples=samples, notes=notes, peak=peak, errors=errors)


def due(workload: Work, data, engine: Engine, exact: list) -> tuple[list, float]:
    """Return what an engine must compute on a row of quantised weights, and the tolerance.

    The weights of recurrent are known: their results in float64 are due. Peers also round what they
    multiply by them, so `exact`, of the weights before rounding, is due loosely.
    """
    if engine.name not in OWN:
        return exact, LOOSE
    weights = VARIANTS.get(engine.name, workload.weights)
    return exact if weights == workload.dtype else workload.exact(data, weights), workload.tolerance


def distances(exact: list, outputs: list) -> list[float]:
    """Return the greatest and the mean absolute difference of all results."""
    pairs = [
        pair for calls in zip(exact, outputs, strict=True) for pair in zip(*calls, strict=True)
    ]
    differences = np.concatenate([np.abs(a - b).ravel() for a, b in pairs])
    return [float(differences.max()), float(differences.mean())]


def rounds(
    runs: dict[str, Callable], pace: Pace, threads: int, meter: peaks.Meter | None = None
) -> tuple[dict, list[float]]:
    """Return the seconds per call of every round, and the FMA peak after each round of recurrent.

    With several threads, the threads of other engines come to rest before every round, and a call
    that is not SLOW is made once untimed.
    """
    shortest = 0.01 if threads == 1 else 0.03  # seconds of a round
    repeats, slow = {}, set()
    for name, run in runs.items():
        taken = seconds(run)
        if taken > SLOW:
            slow.add(name)
        elif taken < shortest:  # the first call may have waited for its threads
            taken = seconds(run)
        repeats[name] = max(1, int(shortest / taken))
    samples, spent, active, peak = {name: [] for name in runs}, 0.0, list(runs), []
    gc.collect()
    gc.disable()
    try:
        while unfinished(len(samples[active[0]]), spent / len(active), pace):
            for name in active:
                if threads > 1:
                    settle()
                    if name not in slow:
                        runs[name]()
                taken = seconds(runs[name], repeats[name])
                spent += taken
                samples[name].append(taken / repeats[name])
                if meter and name == OURS:
                    peak.append(meter(METERED))
            if len(samples[active[0]]) == 3:
                active, spent = contenders(samples), 0.0
            active = active[1:] + active[:1]  # vary which engine runs after which
    finally:
        gc.enable()
    return samples, peak


def seconds(run: Callable, calls: int = 1) -> float:
    """Return the time of some calls."""
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return time.perf_counter() - start


def settle() -> None:
    """Wait until no thread of this process computes, at most SETTLE seconds."""
    end = time.perf_counter() + SETTLE
    while time.perf_counter() < end:
        used = time.process_time()
        time.sleep(PAUSE)
        if time.process_time() - used < IDLE * PAUSE:
            return


def unfinished(rounds: int, spent: float, pace: Pace) -> bool:
    """Return whether there must be more rounds; `spent` is the measuring time of each engine."""
    if rounds >= min(FEW, pace.rounds) and spent >= pace.rounds * max(SLOW, pace.seconds):
        return False
    return rounds < pace.rounds or spent < pace.seconds


def contenders(samples: dict[str, list[float]]) -> list[str]:
    """Return recurrent, its variants, and the peers at most FAR times slower than the best."""
    medians = {name: float(np.median(s)) for name, s in samples.items()}
    best = min((m for name, m in medians.items() if name not in OWN), default=0.0)
    return [name for name, m in medians.items() if name in OWN or m <= FAR * best]
