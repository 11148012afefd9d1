"""Work split between threads: whole rows each, so that no result depends on how many there are.

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

WORTH_A_THREAD = 4e6  # floating-point operations; handing work to a thread costs tens of microseconds

_pool: ThreadPoolExecutor | None = None
_away: dict[int, int] = {}  # the processor that each worker, by its native id, keeps away from


def _forget() -> None:
    global _pool
    _pool = None
    _away.clear()


def _leave_my_processor() -> None:
    """Keep the workers off the caller's processor: Linux may wake them there, and lets them wait until the caller is done.

    Seen on a machine of two: many calls of 2 to 12 ms ran their halves one after the other.
    """
    here, workers = _processor(), list(_away.items())
    if here is None or all(away == here for _, away in workers):
        return
    try:
        others = os.sched_getaffinity(0) - {here}
        for worker, _ in workers if others else ():
            os.sched_setaffinity(worker, others)
            _away[worker] = here
    except OSError:  # a sandbox may forbid it: then the system places them as it likes
        return


def _processor() -> int | None:
    """The processor that this thread runs on, where the system tells."""
    return _sched_getcpu() if _sched_getcpu is not None else None


_sched_getcpu = getattr(ctypes.CDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None


os.register_at_fork(after_in_child=_forget)  # a child has the pool, but not its threads


def split(flops: float, items: int, work: Callable[[int, int], None], weights=None) -> None:
    """Call `work(first, last)` for ranges that cover `items`, side by side if `flops` are worth it; then return.

    `weights`: work of each item, where they differ.
    """
    parts = min(items, int(flops / WORTH_A_THREAD))
    if parts > 1:
        parts = min(parts, numba.get_num_threads())
    if parts < 2:
        work(0, items)
        return
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(
            max(numba.config.NUMBA_NUM_THREADS - 1, 1), "recurrent", lambda: _away.setdefault(threading.get_native_id(), -1)
        )
    if weights is None:
        cuts = [items * k // parts for k in range(parts + 1)]
    else:
        done = weights.cumsum()
        cuts = [0, *(int((done * parts < done[-1] * k).sum()) for k in range(1, parts)), items]
    _leave_my_processor()
    others = [_pool.submit(work, a, b) for a, b in pairwise(cuts[1:])]
    try:
        work(cuts[0], cuts[1])
    finally:
        for other in others:
            other.result()
