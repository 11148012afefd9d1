"""Work split between threads: whole rows each, so that no result depends on how many there are.

Kernels release the GIL, so plain Python threads run them side by side, from any number of callers at once and with
nothing to set up. How many is Numba's business: `numba.set_num_threads` and NUMBA_NUM_THREADS.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numba

WORTH_A_THREAD = 4e6  # floating-point operations: about 40 microseconds, twice what handing work over takes

_pool: ThreadPoolExecutor | None = None


def _forget() -> None:
    global _pool
    _pool = None


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
        _pool = ThreadPoolExecutor(max(numba.config.NUMBA_NUM_THREADS - 1, 1), thread_name_prefix="recurrent")
    if weights is None:
        cuts = [items * k // parts for k in range(parts + 1)]
    else:
        done = weights.cumsum()
        cuts = [0, *(int((done * parts < done[-1] * k).sum()) for k in range(1, parts)), items]
    others = [_pool.submit(work, a, b) for a, b in pairwise(cuts[1:])]
    try:
        work(cuts[0], cuts[1])
    finally:
        for other in others:
            other.result()
