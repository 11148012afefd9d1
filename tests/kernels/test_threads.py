"""The number of threads changes no bit: work is split by whole rows or units."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from support.strategies import Case, cases

import recurrent
from recurrent import LSTM, Embedding, Linear, Sequential
from recurrent.cells import PYTORCH
from recurrent.conformance.promises import results
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.kernels import threads
from recurrent.kernels.codegen.barrier import barrier_wait

compiled = pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT), reason="without the JIT no thread waits"
)


def run_with_threads(count: int, code: str) -> None:
    environment = {
        **os.environ,
        "NUMBA_NUM_THREADS": str(count),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=600
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def several(monkeypatch):
    """Return a function that has all work split into so many parts, however small."""

    def use(count):
        monkeypatch.setattr(threads, "MIN_FLOPS_PER_THREAD", 1.0)
        monkeypatch.setattr(threads, "MIN_FLOPS_PER_BARRIER", 1.0)
        monkeypatch.setattr(threads, "available", lambda: count)

    return use


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
def test_engine(engine, dtype, ragged, count, several):
    for N, H in ((1, 17), (2, 150), (7, 33), (13, 5)):
        p = Case(T=6, N=N, D=9, H=H, dtype=dtype, ragged=ragged, reverse=ragged).build(engine)
        alone = results(p)
        several(count)
        for a, b in zip(alone, results(p), strict=True):
            assert_same_bits(b, a)


@pytest.mark.parametrize("N", [1, 5])
def test_a_stream(engine, dtype, N, several):
    p = Case(T=4, N=N, D=9, H=50, dtype=dtype).build(engine)
    expected, _, _ = engine.forward(p.x, p.params)
    several(3)
    step = engine.stepper(p.params)
    for x_t, y_t in zip(p.x, expected, strict=True):
        assert_same_bits(step(x_t), y_t)


@given(st.data())
def test_engine_at_any_size(engine, data):
    p = data.draw(cases("float32")).build(engine)
    alone = results(p)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "MIN_FLOPS_PER_THREAD", 1.0)
        patch.setattr(threads, "MIN_FLOPS_PER_BARRIER", 1.0)
        patch.setattr(threads, "available", lambda: data.draw(st.integers(2, 5)))
        together = results(p)
    for a, b in zip(alone, together, strict=True):
        assert_same_bits(b, a)


def test_model(several):
    ids = np.random.default_rng(0).integers(0, 11, (9, 7))
    model = Sequential(Embedding(11, 6), LSTM(6, 20), Linear(20, 11), rng=0)

    def run():
        y, _, tape = model.forward(ids, record=True)
        return [y, *model.backward(np.cos(y), tape).params.values()]

    alone = run()
    several(4)
    for a, b in zip(alone, run(), strict=True):
        assert_same_bits(b, a)


def test_ranges_cover_everything_once(several):
    several(4)
    for items in (1, 2, 3, 4, 5, 17):
        for weights in (
            None,
            np.arange(items, 0, -1),
            np.r_[np.full(1, 1000), np.zeros(items - 1, int)],
        ):
            seen = np.zeros(items, int)

            def work(first, last, seen=seen):
                seen[first:last] += 1

            threads.split(1e9, items, work, lambda weights=weights: weights)
            assert (seen == 1).all()


@pytest.mark.parametrize("caller_fails", [False, True])
def test_an_error_waits_for_every_thread(several, caller_fails):
    """No thread still writes after the call; the error of the caller's own part comes first."""
    several(3)
    written = []

    def work(first, last):
        if first == 0 and caller_fails:
            raise KeyError("in the caller")
        if first == 1:
            raise ValueError("in a thread")
        if first == 2:
            time.sleep(0.2)
            written.append(first)

    with pytest.raises(KeyError if caller_fails else ValueError):
        threads.split(1e9, 3, work)
    assert written == [2]


def test_an_error_in_a_thread_is_raised(several):
    several(4)

    def work(first, last):
        if first:
            raise ValueError("in a thread")

    with pytest.raises(ValueError, match="in a thread"):
        threads.split(1e9, 4, work)


def test_the_error_of_a_failed_submit_is_raised(several, monkeypatch):
    """The calls submitted before it are finished, and the error is not hidden by another one."""
    several(4)
    done = []

    class Pool(ThreadPoolExecutor):
        def submit(self, *call):
            if len(self.submitted) == 2:
                raise RuntimeError("cannot schedule new futures")
            self.submitted.append(super().submit(*call))
            return self.submitted[-1]

    with Pool(1) as pool:
        pool.submitted = []
        monkeypatch.setattr(threads, "_pool", pool)
        with pytest.raises(RuntimeError, match="cannot schedule new futures"):
            threads.split(1e9, 4, lambda first, last: done.append(first))
        assert all(future.done() for future in pool.submitted)
    assert sorted(done) == [1, 2]


AFFINITY = """
import os
from recurrent.kernels import threads
calls = []
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity = lambda *args: calls.append(args)
threads._current_cpu = lambda: min(os.sched_getaffinity(0))
threads.MIN_FLOPS_PER_THREAD = 1.0
for _ in range(3):
    threads.split(1e9, 2, lambda first, last: None)
assert threads._pool is not None
assert bool(calls) is {expected}, calls
"""


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="the affinity of workers is set on Linux, with two processors or more",
)
@pytest.mark.parametrize(("setting", "expected"), [("1", True), ("0", False)])
def test_the_affinity_of_workers_is_set_unless_switched_off(setting, expected, monkeypatch):
    monkeypatch.setenv("RECURRENT_PIN_WORKERS", setting)
    run_with_threads(2, AFFINITY.format(expected=expected))


@njit(nogil=True)
def wait_often(first, parts, barrier, times, seen):
    """Count in each thread, and check after every barrier that all threads have."""
    for k in range(1, times + 1):
        seen[first] = k
        if not barrier_wait(barrier, parts, 2 * k - 1):
            return
        for other in range(parts):
            if seen[other] < k:
                seen[first] = -1
                return
        if not barrier_wait(barrier, parts, 2 * k):
            return


@compiled
def test_no_thread_passes_the_barrier_before_all_have_arrived(several):
    several(2)
    seen = np.zeros(2, np.int64)

    def work(share):
        wait_often(share.j0, share.parts, share.barrier, 1000, seen)

    threads.split_steps(1e9, 1, 1, 9, 2, 1, work, lambda: None)
    assert (seen == 1000).all()


@compiled
def test_waiting_threads_return_when_the_caller_gives_up(several):
    several(2)

    def work(share):
        if share.j0 == 0:
            raise KeyboardInterrupt
        wait_often(share.j0, share.parts, share.barrier, 1, np.zeros(2, np.int64))

    with pytest.raises(KeyboardInterrupt):
        threads.split_steps(1e9, 1, 1, 9, 2, 1, work, lambda: None)


def test_units_are_split_where_rows_are_few(several):
    several(2)
    calls = []
    for rows in (1, 5, 6):
        threads.split_steps(
            1e9, 1, rows, 3, 50, 16, lambda share: calls.append(share[:5]), lambda: None
        )
    assert sorted(calls[:4]) == [
        (0, 1, 0, 16, 2),
        (0, 1, 16, 50, 2),
        (0, 5, 0, 16, 2),
        (0, 5, 16, 50, 2),
    ]
    assert sorted(calls[4:]) == [(0, 3, 0, 50, 1), (3, 6, 0, 50, 1)]


@compiled
def test_numba_starts_no_threads_of_its_own():
    """Beside them PyTorch's two threads were fifty times slower; `set_num_threads` still works."""
    code = """
import numba, numpy as np, recurrent
from numba.np.ufunc import parallel
from recurrent.kernels.codegen.barrier import barrier_wait
from recurrent.kernels import threads
x, params = np.ones((50, 64, 128), "f"), recurrent.lstm.init(128, 256)
y, _, tape = recurrent.lstm.forward(x, params, record=True)
recurrent.lstm.backward(y, tape)
assert threads.available() == 2 and threads._pool is not None
assert parallel._is_initialized is False
numba.set_num_threads(1)
assert threads.available() == 1
"""
    run_with_threads(2, code)


def test_a_forked_process_starts_its_own_threads():
    code = """
import os, numpy as np, recurrent
x, params = np.ones((20, 64, 64), "f"), recurrent.lstm.init(64, 128)
y = recurrent.lstm.forward(x, params)[0]
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(recurrent.lstm.forward(x, params)[0], y) else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    run_with_threads(2, code)


FORKS = """
import os, signal, threading
import numpy as np, recurrent
from numba import njit
from recurrent.kernels import threads

threads.MIN_FLOPS_PER_THREAD = threads.MIN_FLOPS_PER_BARRIER = 1.0
x, params = np.ones((3, 8, 6), "f"), recurrent.lstm.init(6, 40)

def compute():
    y, _, tape = recurrent.lstm.forward(x, params, record=True)
    return y, *recurrent.lstm.backward(y, tape)[1]

def compile_one():
    @njit
    def twice(a):
        return a + a
    return twice(np.ones(2)),

work = {work}
expected = work()
stop = threading.Event()

def again():
    while not stop.is_set():
        work()

others = [threading.Thread(target=again) for _ in range(2)]
for thread in others:
    thread.start()
for k in range({forks}):
    child = os.fork()
    if not child:
        signal.alarm(60)
        os._exit(0 if all(map(np.array_equal, work(), expected)) else 1)
    assert os.waitpid(child, 0)[1] == 0, k
stop.set()
for thread in others:
    thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize(
    ("work", "forks"),
    [
        ("compute", 30),
        pytest.param("compile_one", 4, marks=compiled),
        pytest.param("compute", 5000, marks=pytest.mark.slow),
        pytest.param("compile_one", 500, marks=[compiled, pytest.mark.slow]),
    ],
)
def test_a_child_forked_while_other_threads_work_computes(work, forks):
    """It hung where a thread held the lock of the pool or of Numba's compiler at the fork."""
    run_with_threads(4, FORKS.format(work=work, forks=forks))


def test_a_child_forked_under_the_pools_lock_has_its_own_lock():
    code = """
import os, signal
from recurrent.kernels import threads
threads.MIN_FLOPS_PER_THREAD = 1.0
with threads._submitting:
    child = os.fork()
    if not child:
        signal.alarm(10)
        threads.split(1e9, 4, lambda first, last: None)
        os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    run_with_threads(4, code)


EVERY_COUNT = """
import sys
sys.path.insert(0, {tests!r})
import numba, numpy as np
from support.strategies import Case
from recurrent.conformance.tolerance import assert_same_bits
from recurrent import Embedding, GRU, LSTM, Linear, Sequential
from recurrent.cells import CELLS
from recurrent.data import Batch
from recurrent.engine import Engine
from recurrent.kernels.codegen.barrier import barrier_wait
from recurrent.kernels import threads
from recurrent.losses import softmax_cross_entropy
from recurrent.optim import Adam
from recurrent import fit

threads.MIN_FLOPS_PER_THREAD = threads.MIN_FLOPS_PER_BARRIER = 1.0
longest = Case(T=6, N=13, D=9, H=260, dtype="float32", ragged=True)

def engines():
    for name in {cells!r}:
        p = longest.build(Engine(CELLS[name]))
        for N in (1, 4, 13):
            state = p.engine.State(*[s[:N] for s in p.state])
            part = dict(x=p.x[:, :N], state=state, lengths=p.lengths[:N])
            for padding in (0, 5):
                part["x"] = np.concatenate([part["x"], np.full((padding, N, 9), 7, "f")])
                y, final, tape = p.forward(**part, record=True)
                dy = np.concatenate([p.dy[:, :N], np.full((len(y) - 6, N, 260), 7, "f")])
                dx, dparams, initial = p.engine.backward(dy, tape)
                # Results of a row must be those in the largest batch; dparams are sums over rows.
                yield name, N, (y[:6], *final, dx[:6], *initial), dparams

def trained():
    ids = np.random.default_rng(0).integers(0, 11, (4, 9, 7))
    model = Sequential(Embedding(11, 6), LSTM(6, 20), GRU(20, 17), Linear(17, 11), rng=0)
    batches = [Batch(x, (x + 1) % 11, np.arange(7) + 3) for x in ids]
    fit(model, batches, softmax_cross_entropy, Adam(1e-2), epochs=2, progress=False)
    return model.flat

expected = None
for count in (1, 2, 4):
    numba.set_num_threads(count)
    results, flat = list(engines()), trained()
    whole = {{name: rows for name, N, rows, _ in results if N == 13}}
    weights = {{}}
    for name, N, rows, dparams in results:
        for a, b in zip(rows, whole[name], strict=True):
            assert_same_bits(a, b[:, :N] if a.ndim == 3 else b[:N])
        for a, b in zip(dparams, weights.setdefault((name, N), dparams), strict=True):
            assert_same_bits(a, b)
    expected = expected or (results, flat)
    assert_same_bits(flat, expected[1])
    for (*_, rows, dparams), (*_, rows1, dparams1) in zip(results, expected[0], strict=True):
        for a, b in zip((*rows, *dparams), (*rows1, *dparams1), strict=True):
            assert_same_bits(a, b)
"""


@pytest.mark.parametrize("cell", PYTORCH)
def test_threads_batch_sizes_and_padding_change_no_bit(cell):
    """1, 2 and 4 threads, real ones, even where there are fewer processors."""
    run_with_threads(4, EVERY_COUNT.format(tests=str(Path(__file__).parents[1]), cells=[cell]))


@pytest.fixture
def most():
    """The greatest number of threads; the number before the test is set again after it."""
    before = recurrent.get_num_threads()
    yield numba.config.NUMBA_NUM_THREADS
    recurrent.set_num_threads(before)


def test_the_number_of_threads_is_set_for_all_threads(most):
    for n in (1, most):
        recurrent.set_num_threads(n)
        with ThreadPoolExecutor(1) as other:
            assert other.submit(recurrent.get_num_threads).result() == n
        assert recurrent.get_num_threads() == n
        assert threads.parts_of(1e15, 1000) == n


def test_the_set_number_of_threads_changes_no_bit(most):
    model = Sequential(LSTM(64, 256), rng=0)
    x = np.random.default_rng(0).standard_normal((10, 40, 64)).astype(np.float32)
    found = []
    for n in (1, most):
        recurrent.set_num_threads(n)
        found.append(model.forward(x)[0])
    assert_same_bits(*found)


def test_one_thread_hands_nothing_over(most, monkeypatch):
    handed = []
    monkeypatch.setattr(threads, "_run_in_parallel", handed.append)
    recurrent.set_num_threads(1)
    done = []
    threads.split(1e15, 10, lambda first, last: done.append((first, last)))
    threads.split_steps(1e15, 5, 1, 4, 64, 8, done.append, lambda: None)
    assert not handed
    assert done[0] == (0, 10)
    assert done[1][:5] == (0, 1, 0, 64, 1)
    recurrent.set_num_threads(most)
    threads.split(1e15, 10, lambda first, last: done.append((first, last)))
    assert len(handed) == (most > 1)


@pytest.mark.parametrize(
    ("n", "kind", "words"),
    [
        (0, ValueError, "n must be at least 1, got 0"),
        (10**6, ValueError, "n must be at most .*, got 1000000; set NUMBA_NUM_THREADS"),
        (2.0, TypeError, "n must be an int, got float"),
        (True, TypeError, "n must be an int, got bool"),
    ],
)
def test_a_wrong_number_of_threads_changes_nothing(n, kind, words, most):
    recurrent.set_num_threads(1)
    with pytest.raises(kind, match=words):
        recurrent.set_num_threads(n)
    assert recurrent.get_num_threads() == 1
