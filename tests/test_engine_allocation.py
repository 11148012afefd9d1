"""Kernels allocate nothing per step: counted by Numba's own runtime."""

import tracemalloc

import numpy as np
import pytest
from numba import config
from numba.core.runtime import _nrt_python, rtsys
from strategies import Case

pytestmark = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="the interpreter allocates as NumPy does")


@pytest.fixture
def counted():
    """Numba's allocation counters, on."""
    _nrt_python.memsys_enable_stats()
    yield lambda work: allocations(work)
    _nrt_python.memsys_disable_stats()


def allocations(work):
    """How many blocks compiled code allocates in work()."""
    work()  # compiles
    before = rtsys.get_allocation_stats()
    work()
    return rtsys.get_allocation_stats().alloc - before.alloc


def test_the_counter_counts(counted):
    from numba import njit

    @njit
    def allocate(n):
        total = 0.0
        for _ in range(n):
            total += np.ones(3).sum()
        return total

    assert counted(lambda: allocate(7)) >= 7


@pytest.mark.parametrize("record", [False, True], ids=["forward", "forward-and-backward"])
def test_kernels_allocate_nothing_per_step(engine, dtype, record, counted):
    def blocks(T):
        p = Case(T=T, N=3, D=5, H=17, dtype=dtype, initial=False).build(engine)
        return counted(lambda: p.gradients() if record else p.forward())

    assert blocks(3) == blocks(60)


def test_nothing_is_kept_after_a_call(engine):
    """No leak: after many calls Python's heap is as it was, give or take a cache that fills once."""
    p = Case(T=20, N=8, D=16, H=32).build(engine)
    for _ in range(3):
        p.gradients()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            p.gradients()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < p.x.nbytes, f"{grown} bytes after 20 calls"
