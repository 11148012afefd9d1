"""A pool of Python threads that share a kernel call: by rows of the batch or by hidden units.

`compiled` calls `split` or `split_steps` to run a kernel. Kernels release the GIL, so plain Python
threads run them in parallel, for any number of callers at once. Every thread computes whole rows or
units, so the number of threads changes no bit of a result. That number is the least of
NUMBA_NUM_THREADS, `set_num_threads` and, where Numba's own pool runs, `numba.set_num_threads`.

On Linux the calling thread sets the CPU affinity of the pool's workers so that none is woken on the
caller's CPU (see `_keep_workers_off_callers_cpu`). Set the environment variable
RECURRENT_PIN_WORKERS=0 before the import to leave the placement of threads to the system. The
affinity of the caller's own threads is never changed.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numba
import numpy as np
from numba.np.ufunc import parallel

from .. import checks

PIN_WORKERS = os.environ.get("RECURRENT_PIN_WORKERS", "1") != "0"

# Floating-point operations worth a thread of their own: a handover costs tens of microseconds.
MIN_FLOPS_PER_THREAD = 1.2e7
# The same for one thread's part of a time step when all threads wait at a barrier after each step.
MIN_FLOPS_PER_BARRIER = 1.5e5

# The same where threads could share the rows instead, but each would read weights that exceed its
# second-level cache.
MIN_FLOPS_PER_LARGE_STEP = 2e6

# The barrier of a thread that runs alone: [arrivals, whether a thread gave up], see
# `codegen.barrier`.
NO_BARRIER = np.zeros(2, np.int64)


class Share(NamedTuple):
    """One thread's share of a loop over time."""

    first: int  # its first sequence
    last: int  # the sequence after its last
    j0: int  # its first unit
    j1: int  # the unit after its last
    parts: int  # number of threads that share the units of every step
    barrier: np.ndarray  # (2,), int64: the threads wait for each other here


_allowed: int | None = None  # by `set_num_threads`
_submitting = threading.Lock()
_pool: ThreadPoolExecutor | None = None
# By native id of a worker: the CPU that its affinity leaves out, -1 if none.
_avoided_cpu: dict[int, int] = {}


def _renew_pool() -> None:
    """Forget the pool in a forked child, which inherits the object, but not its threads.

    Another thread may hold the lock at the fork: it would never be released in the child.
    """
    global _pool, _submitting
    _pool, _submitting = None, threading.Lock()
    _avoided_cpu.clear()


def _keep_workers_off_callers_cpu() -> None:
    """Exclude the CPU that the calling thread runs on from the affinity of every worker.

    Linux may wake a worker on the caller's CPU, where it waits until the caller is done. On a
    machine with two CPUs, many calls of 2 to 12 ms ran their two halves one after the other.
    """
    if not PIN_WORKERS:
        return
    here, workers = _current_cpu(), list(_avoided_cpu.items())
    if here is None or all(avoided == here for _, avoided in workers):
        return
    try:
        allowed = os.sched_getaffinity(0) - {here}
        if not allowed:
            return
        for worker, _ in workers:
            os.sched_setaffinity(worker, allowed)
            _avoided_cpu[worker] = here
    except OSError:  # a sandbox may forbid the call
        return


def _current_cpu() -> int | None:
    """Return the CPU that this thread runs on, None if the system does not report it."""
    return _sched_getcpu() if _sched_getcpu is not None else None


_sched_getcpu = (
    getattr(ctypes.CDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None
)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_pool)


def split(
    flops: float, items: int, work: Callable[[int, int], None], weights: Callable | None = None
) -> None:
    """Call `work(first, last)` for ranges that cover `items`, in parallel if `flops` are enough.

    `weights()` returns the work of each item as an array (items,), or None if all are equal.
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
    _run_in_parallel([(work, a, b) for a, b in pairwise(cuts)])


def split_steps(
    flops: float,
    steps: int,
    rows: int,
    min_rows: int,
    units: int,
    grain: int,
    work: Callable[[Share], None],
    weights: Callable,
    exceed_cache: Callable[[], bool] = bool,
) -> None:
    """Call `work(share)` for shares that cover a loop over time `steps`.

    The `rows` of the batch are split as by `split`. If that leaves a thread fewer than `min_rows`,
    the `units` are split instead, by multiples of `grain`: then all `parts` run at once and wait at
    the barrier after each time step. So they are if the weights of all units `exceed_cache()`, that
    of one thread, and a step takes long enough.
    """
    if not worth_a_thread(flops):
        work(Share(0, rows, 0, units, 1, NO_BARRIER))
        return
    parts = min(
        parts_of(flops, units // grain),
        int(flops / max(steps, 1) / MIN_FLOPS_PER_BARRIER),
        numba.config.NUMBA_NUM_THREADS,
    )
    long_steps = flops / max(steps, 1) / max(parts, 1) >= MIN_FLOPS_PER_LARGE_STEP
    enough_rows = rows >= parts * min_rows and not (long_steps and exceed_cache())
    if parts < 2 or enough_rows:

        def some_rows(first, last):
            work(Share(first, last, 0, units, 1, NO_BARRIER))

        split(flops, rows, some_rows, weights)
        return
    cuts = [grain * k for k in _cuts(units // grain, parts)]
    cuts[-1] = units
    barrier = np.zeros(2, np.int64)
    shares = [Share(0, rows, a, b, parts, barrier) for a, b in pairwise(cuts)]
    _run_in_parallel([(work, share) for share in shares], barrier)


def available() -> int:
    """Return how many threads Numba may use.

    `numba.get_num_threads` starts Numba's own thread pool. Next to Numba's OpenMP threads, two
    OpenMP threads of PyTorch ran fifty times slower. So that function is called only if other code
    has already started the pool.
    """
    started = getattr(parallel, "_is_initialized", True)
    most = numba.get_num_threads() if started else numba.config.NUMBA_NUM_THREADS
    return most if _allowed is None else min(most, _allowed)


def set_num_threads(n: int) -> None:
    """Set how many threads a call uses at most, whichever thread of the process makes it.

    No bit of a result depends on the number. Small calls use one thread in any case.

    Parameters
    ----------
    n : int
        Number of threads, the calling one included: from 1 to the number of processors, or to the
        number that the environment variable NUMBA_NUM_THREADS has at the import.

    Raises
    ------
    TypeError
        If n is not an int.
    ValueError
        If n is out of range.

    Examples
    --------
    >>> before = get_num_threads()
    >>> set_num_threads(1)
    >>> get_num_threads()
    1
    >>> set_num_threads(before)
    """
    global _allowed
    n, most = checks.integer(n, "n", 1), numba.config.NUMBA_NUM_THREADS
    if n > most:
        raise ValueError(
            f"n must be at most {most}, the threads that this process has room for, got "
            f"{checks.shown(n)}; set NUMBA_NUM_THREADS before the import to have more"
        )
    _allowed = n


def get_num_threads() -> int:
    """Return how many threads a call may use.

    Returns
    -------
    int
        The number of `set_num_threads`; at first that of the processors, or NUMBA_NUM_THREADS.
    """
    return available()


def worth_a_thread(flops: float) -> bool:
    """Return whether the work can be worth more than one thread."""
    return flops >= MIN_FLOPS_PER_THREAD


def parts_of(flops: float, items: int) -> int:
    """Return into how many parts `split` divides the items; 0 or 1 means that it does not."""
    parts = min(items, int(flops / MIN_FLOPS_PER_THREAD))
    return min(parts, available()) if parts > 1 else parts


def _cuts(items: int, parts: int) -> list[int]:
    return [items * k // parts for k in range(parts + 1)]


def _run_in_parallel(calls: list[tuple], barrier: np.ndarray | None = None) -> None:
    """Run all calls, the first one here; if that fails, release threads at the barrier."""
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(
            max(numba.config.NUMBA_NUM_THREADS - 1, 1),
            "recurrent",
            lambda: _avoided_cpu.setdefault(threading.get_native_id(), -1),
        )
    _keep_workers_off_callers_cpu()
    submitted: list[Future] = []
    try:
        # The lock keeps the calls of one caller together in the queue. Workers take them in that
        # order, so no call waits at a barrier for one that is queued behind another caller's.
        with _submitting:
            for call in calls[1:]:
                submitted.append(_pool.submit(*call))
        calls[0][0](*calls[0][1:])
    except BaseException:
        if barrier is not None:
            barrier[1] = 1
        raise
    finally:
        # Wait for all of them: the arrays they write must not change after this call.
        errors = [error for future in submitted if (error := future.exception()) is not None]
    for error in errors:
        raise error
