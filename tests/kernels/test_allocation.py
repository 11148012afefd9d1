"""Kernels allocate nothing per time step, counted by Numba's runtime; training leaks no memory."""

import sys
import tracemalloc

import numpy as np
import pytest
from numba import config
from numba.core.runtime import _nrt_python, rtsys
from support.strategies import Case

from recurrent import GRU, LSTM, Embedding, Linear, Sequential, checks
from recurrent.data import Windows
from recurrent.losses import softmax_cross_entropy
from recurrent.optim import Adam
from recurrent.training.fit import fit

pytestmark = pytest.mark.skipif(
    bool(config.DISABLE_JIT), reason="the interpreter allocates as NumPy does"
)


@pytest.fixture
def counted():
    """Switch Numba's allocation counters on; return a function that counts."""
    _nrt_python.memsys_enable_stats()
    yield lambda work: allocations(work)
    _nrt_python.memsys_disable_stats()


def allocations(work):
    """Return how many blocks compiled code allocates in work()."""
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


def traced():
    """Return the bytes of Python's heap, without its cache of attribute names that grows."""
    sys._clear_type_cache()
    return tracemalloc.get_traced_memory()[0]


def test_no_memory_is_kept_after_a_call(engine):
    """After many calls Python's heap has not grown, but for a cache that fills once."""
    p = Case(T=20, N=8, D=16, H=32).build(engine)
    for _ in range(3):
        p.gradients()
    tracemalloc.start()
    try:
        before = traced()
        for _ in range(20):
            p.gradients()
        grown = traced() - before
    finally:
        tracemalloc.stop()
    assert grown < p.x.nbytes, f"{grown} bytes after 20 calls"


def live(work):
    """Return the bytes of Python's heap after each of many calls of work().

    The first calls are left out: in a new process each adds 3 kB to NumPy's cache of freed blocks.
    """
    tracemalloc.start()
    try:
        sizes = np.zeros(42, np.int64)  # made beforehand, so that counting takes no memory
        for k in range(sizes.size):
            work()
            sizes[k] = traced()
    finally:
        tracemalloc.stop()
    return sizes[15:]


def test_a_step_of_a_stream_allocates_its_result_only(engine, dtype, counted):
    """Numba wraps each array that a kernel gets; the kernel itself allocates nothing.

    A step in stages needs a workspace too, which is freed at its end.
    """
    p, tiny = (Case(T=3, N=N, D=9, H=H, dtype=dtype).build(engine) for N, H in ((4, 65), (1, 1)))
    step, x_t = engine.stepper(p.params), p.x[0].copy()
    small, x_small = engine.stepper(tiny.params), tiny.x[0].copy()
    assert counted(lambda: step(x_t)) == counted(lambda: small(x_small)) < 10
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        y = step(x_t)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    weights = engine.pack(p.params).weights
    workspace = weights.planes and weights.work(4).nbytes
    assert y.nbytes <= peak - workspace < 2 * y.nbytes


def training(T):
    """Return a model and its batches, one for each update."""
    ids = np.random.default_rng(0).integers(0, 11, (8 * T + 1, 6))
    model = Sequential(Embedding(11, 8), LSTM(8, 17), GRU(17, 9), Linear(9, 11), rng=0)
    return model, Windows(ids[:-1], ids[1:], T)


def test_updates_allocate_alike(counted):
    """Every update allocates the same number of blocks in compiled code, whatever the window."""

    def blocks(T):
        (model, windows), optimizer, counts = training(T), Adam(), []

        def note(update, history):
            counts.append(rtsys.get_allocation_stats().alloc)

        fit(
            model,
            windows,
            softmax_cross_entropy,
            optimizer,
            epochs=1,
            progress=False,
            callback=note,
        )
        return set(np.diff(counts).tolist())

    assert len(blocks(4)) == 1
    assert blocks(4) == blocks(40)


def test_training_keeps_no_memory_from_update_to_update():
    """The heap grows by less than an update's smallest array: NumPy keeps some kB for reuse."""
    model, windows = training(400)
    optimizer, (batch, *_) = Adam(), windows
    gradient = np.empty_like(model.flat)

    def update():
        y, _, tape = model.forward(batch.x, record=True)
        model.backward(softmax_cross_entropy(y, batch.targets)[1], tape, out=gradient)
        optimizer.update(model.flat, gradient)

    sizes = live(update)
    assert sizes.max() - sizes.min() < batch.x.nbytes, sizes


def test_a_recorded_output_goes_into_the_next_layer_uncopied():
    """It is read-only, and shared by both tapes."""
    model, windows = training(20)
    y, _, tape = model.forward(windows.batch(0).x, record=True)
    assert np.shares_memory(tape[1].h_rows, tape[2].x)
    assert np.shares_memory(tape[2].h_rows, tape[3])
    copy = tape[1].h.copy()
    model.backward(np.ones_like(y), tape)
    np.testing.assert_array_equal(tape[1].h, copy)


def test_the_memory_of_a_read_only_array_stays_alive():
    x = np.arange(5000, dtype=np.float32)
    x.flags.writeable = False
    view = checks.array(x, "x")
    assert np.shares_memory(view, x)
    del x
    np.testing.assert_array_equal(view, np.arange(5000, dtype=np.float32))
