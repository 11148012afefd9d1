"""The memory pool reuses large blocks, never hands one out twice, and keeps no more than needed."""

import gc
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurrent import lstm
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.kernels import memory


@pytest.fixture(autouse=True)
def empty_pool():
    gc.collect()
    memory.release()
    yield
    gc.collect()
    memory.release()


def address(a):
    return a.ctypes.data


def pooled():
    """Return the size of the pool in bytes."""
    return sum(b.size for b in memory._blocks)


def test_memory_is_reused_once_no_array_is_in_it():
    a = memory.pooled((memory.LARGE,), "uint8")
    part, place = a[5:].reshape(1, -1), address(a)
    del a
    assert address(memory.pooled((memory.LARGE,), "uint8")) != place
    del part
    assert address(memory.pooled((memory.LARGE // 4,), "float32")) == place


def test_small_arrays_are_not_pooled():
    a = memory.pooled((3, memory.LARGE // 8), "int8")
    assert (a.shape, a.dtype) == ((3, memory.LARGE // 8), np.int8)
    assert not memory._blocks


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128", "int64", "int8"])
@pytest.mark.parametrize("kind", [memory.empty, memory.zeros, memory.pooled])
def test_arrays_are_aligned_and_contiguous(kind, dtype):
    for shape in ((2, memory.LARGE // 8, 1), (3, 5), (0, 7), ()):
        a = kind(shape, dtype)
        assert (a.dtype, a.shape, a.flags.carray) == (dtype, shape, True)
        assert a.size < memory.SMALL or address(a) % memory.LINE == 0
        assert kind is not memory.zeros or not a.any()


@given(st.lists(st.one_of(st.integers(1000, 9000), st.integers(0, 5)), max_size=30))
def test_arrays_share_no_memory_and_the_pool_stays_small(script):
    """In the script a size allocates an array, and a small number drops an existing one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "LARGE", 1000)  # small arrays make the test faster
        memory.release()
        alive: list[tuple[int, np.ndarray]] = []
        most = 0
        for k, what in enumerate(script):
            if what < memory.LARGE:
                if alive:
                    alive.pop(what % len(alive))
                continue
            a = memory.pooled((what,), "uint8")
            assert a.base is not None
            a[:] = k
            alive.append((k, a))
            most = max(most, sum(a.size for _, a in alive))
            assert pooled() <= 2 * most
        for k, a in alive:
            assert (a == k).all()


def test_small_results_do_not_hold_large_blocks():
    """A small result must not occupy the block of a large array that was needed for a moment."""
    results = []
    for _ in range(20):
        memory.pooled((8 * memory.LARGE,), "uint8")
        results.append(memory.pooled((memory.LARGE,), "uint8"))
    assert pooled() <= (8 + 20) * memory.LARGE


def test_threads_get_memory_of_their_own():
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(30):
            a = memory.pooled((int(rng.integers(memory.LARGE, 2 * memory.LARGE)),), "uint8")
            a[:] = seed
            if not (a == seed).all():
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


FORK_UNDER_THE_LOCK = """
import os, signal
from recurrent.kernels import memory
with memory._choosing:
    child = os.fork()
    if not child:
        signal.alarm(10)
        os._exit(memory.pooled((memory.LARGE,), "uint8").size != memory.LARGE)
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_child_forked_under_the_lock_has_its_own_lock():
    """This runs in its own process, because other threads of this one may not allow a fork."""
    subprocess.run([sys.executable, "-c", FORK_UNDER_THE_LOCK], check=True, timeout=60)


def test_release_returns_unused_memory():
    a, b = (memory.pooled((memory.LARGE + k,), "uint8") for k in range(2))
    del a
    assert memory.release() == memory.LARGE
    assert pooled() == 0
    b[:] = 7  # still valid; its memory is returned with it
    assert memory.release() == 0
    gone = weakref.ref(b.base.block)
    del b
    assert gone() is None


def test_training_allocates_no_new_blocks_and_leaves_results_alone():
    rng = np.random.default_rng(0)
    params, x = lstm.init(64, 128), rng.standard_normal((50, 32, 64), np.float32)

    def step():
        y, _, tape = lstm.forward(x, params, record=True)
        return y, *lstm.backward(np.cos(y), tape)[:2]

    y, dx, dparams = step()
    first = [a.copy() for a in (y, dx, *dparams)]
    step()
    blocks = [id(b) for b in memory._blocks]
    assert blocks
    for _ in range(3):
        again = step()
    assert [id(b) for b in memory._blocks] == blocks
    for a, b, c in zip(first, (y, dx, *dparams), (*again[:2], *again[2]), strict=True):
        assert_same_bits(a, b)
        assert_same_bits(a, c)
