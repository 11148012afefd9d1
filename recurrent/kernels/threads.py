"""Work split between threads: whole rows or units each, so that no result depends on how many there are.

Kernels release the GIL, so plain Python threads run them side by side, from any number of callers at once and with
nothing to set up. How many is Numba's business: `numba.set_num_threads` and NUMBA_NUM_THREADS.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numba
import numpy as np
from numba.np.ufunc import parallel

MIN_FLOPS_PER_THREAD = (
    1.2e7  # floating-point operations; handing work to a thread costs tens of microseconds
)
MIN_FLOPS_PER_BARRIER = 1.5e5  # the same for a thread's part of a step after which all meet
NO_BARRIER = np.zeros(2, np.int64)  # the barrier of one who is alone

_submitting = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_avoided_cpu: dict[
    int, int
] = {}  # the processor that each worker, by its native id, keeps away from


def _forget() -> None:
    global _pool
    _pool = None
    _avoided_cpu.clear()


def _leave_my_processor() -> None:
    """Keep the workers off the caller's processor: Linux may wake them there, and lets them wait until the caller is done.

    Seen on a machine of two: many calls of 2 to 12 ms ran their halves one after the other.
    """
    here, workers = _processor(), list(_avoided_cpu.items())
    if here is None or all(away == here for _, away in workers):
        return
    try:
        others = os.sched_getaffinity(0) - {here}
        for worker, _ in workers if others else ():
            os.sched_setaffinity(worker, others)
            _avoided_cpu[worker] = here
    except OSError:  # a sandbox may forbid it: then the system places them as it likes
        return


def _processor() -> int | None:
    """The processor that this thread runs on, where the system tells."""
    return _sched_getcpu() if _sched_getcpu is not None else None


_sched_getcpu = (
    getattr(ctypes.CDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None
)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)  # a child has the pool, but not its threads


def split(
    flops: float, items: int, work: Callable[[int, int], None], weights: Callable | None = None
) -> None:
    """Call `work(first, last)` for ranges that cover `items`, side by side if `flops` are worth it; then return.

    `weights()`: work of each item, or None where all are equal.
    """
    parts = parts_of(flops, items)
    if parts < 2:
        work(0, items)
        return
    sizes = weights() if weights else None
    if sizes is None:
        cuts = _cuts(items, parts)
    else:
        done = sizes.cumsum()
        cuts = [0, *(int((done * parts < done[-1] * k).sum()) for k in range(1, parts)), items]
    _side_by_side([(work, a, b) for a, b in pairwise(cuts)])


def split_steps(
    flops: float,
    steps: int,
    rows: int,
    few: int,
    units: int,
    grain: int,
    work: Callable,
    weights: Callable,
) -> None:
    """Call `work(first, last, first unit, last unit, parts, barrier)` for a loop over `steps` on `rows` sequences.

    Rows are split, as by `split`; where there are `few` for a thread, the units of every step, by multiples of `grain`:
    then all `parts` must run at once and meet at the barrier after each step.
    """
    if not worth_a_thread(flops):
        work(0, rows, 0, units, 1, NO_BARRIER)
        return
    parts = min(
        parts_of(flops, units // grain),
        int(flops / max(steps, 1) / MIN_FLOPS_PER_BARRIER),
        numba.config.NUMBA_NUM_THREADS,
    )
    if parts < 2 or rows >= parts * few:
        split(flops, rows, lambda first, last: work(first, last, 0, units, 1, NO_BARRIER), weights)
        return
    cuts = [grain * k for k in _cuts(units // grain, parts)]
    cuts[-1] = units
    barrier = np.zeros(2, np.int64)
    _side_by_side([(work, 0, rows, a, b, parts, barrier) for a, b in pairwise(cuts)], barrier)


def available() -> int:
    """How many threads Numba may use.

    To ask Numba would make it start threads of its own, and beside its OpenMP team PyTorch's, of two, became fifty times
    slower: so it is asked only where somebody else has.
    """
    asked = getattr(parallel, "_is_initialized", True)
    return numba.get_num_threads() if asked else numba.config.NUMBA_NUM_THREADS


def worth_a_thread(flops: float) -> bool:
    """Whether there is enough to do for a thread to be asked."""
    return flops >= MIN_FLOPS_PER_THREAD


def parts_of(flops: float, items: int) -> int:
    """Into how many parts `split` splits; 0 or 1 for none."""
    parts = min(items, int(flops / MIN_FLOPS_PER_THREAD))
    return min(parts, available()) if parts > 1 else parts


def _cuts(items: int, parts: int) -> list[int]:
    return [items * k // parts for k in range(parts + 1)]


def _side_by_side(calls: list[tuple], barrier: np.ndarray | None = None) -> None:
    """Run all calls, the first one here. With a barrier: those who wait are told if this thread gives up."""
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(
            max(numba.config.NUMBA_NUM_THREADS - 1, 1),
            "recurrent",
            lambda: _avoided_cpu.setdefault(threading.get_native_id(), -1),
        )
    _leave_my_processor()
    try:
        with _submitting:  # all or none: workers take the calls in this order, so nobody waits for one behind another's
            others = [_pool.submit(*call) for call in calls[1:]]
        calls[0][0](*calls[0][1:])
    except BaseException:
        if barrier is not None:
            barrier[1] = 1
        raise
    finally:
        for other in others:
            other.result()
