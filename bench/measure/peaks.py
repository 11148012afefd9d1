"""Measures the machine's limits: FMA peak, bandwidth of the second-level cache and of memory."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
from numba import types
from numba.extending import intrinsic

from recurrent.kernels.codegen.target import TARGETS, Target, target
from recurrent.kernels.codegen.tile import at, pointer_to
from recurrent.kernels.codegen.vector import I64, Vectors
from recurrent.kernels.jit import jit

CACHE = 256 * 1024  # bytes: more than the first-level cache, less than the second
MEMORY = 256 * 1024**2  # bytes: more than all caches
ROUNDS, SECONDS = 7, 0.04  # the best of this many rounds of about this length


def chains(t: Target) -> int:
    """Return a number of independent accumulators that hides latency and fits in registers."""
    return t.unit.registers * 3 // 4


def looped(v: Vectors, count, accumulators: list, body) -> list:
    """Emit `count` (at least 1) iterations of `body(k, accumulators)`; return the accumulators."""
    b = v.b
    entry, loop, done = b.block, b.append_basic_block("loop"), b.append_basic_block("loop_done")
    b.branch(loop)
    b.position_at_end(loop)
    k, phis = b.phi(I64), [b.phi(v.type) for _ in accumulators]
    new, following = body(k, phis), b.add(k, I64(1))
    k.add_incoming(I64(0), entry)
    k.add_incoming(following, loop)
    for phi, before, after in zip(phis, accumulators, new, strict=True):
        phi.add_incoming(before, entry)
        phi.add_incoming(after, loop)
    b.cbranch(b.icmp_signed("<", following, count), loop, done)
    b.position_at_end(done)
    return new


@intrinsic
def multiply_add(typingctx, target, source, count):
    """Apply `count` fused multiply-adds to every chain.

    `source` holds two operand vectors and one vector per chain, which receives the result.
    """
    t = TARGETS[target.name]

    def codegen(context, builder, _, args):
        _, source, count = args
        v = Vectors(builder, t)
        places = [v.at(source, k * v.lanes) for k in range(chains(t) + 2)]
        a, c, *accumulators = [v.load(p) for p in places]
        done = looped(v, count, accumulators, lambda k, acc: [v.fma(x, a, c) for x in acc])
        for p, acc in zip(places[2:], done, strict=True):
            v.store(acc, p)
        return context.get_dummy_value()

    return types.void(target, pointer_to(t), types.int64), codegen


@intrinsic
def read_all(typingctx, target, source, count, out):
    """Read `count` blocks of 8 vectors and write their sum, 8 vectors, to `out`."""
    t = TARGETS[target.name]

    def codegen(context, builder, _, args):
        _, source, count, out = args
        v = Vectors(builder, t)

        def add(k, sums):
            start = builder.mul(k, I64(8 * v.lanes))
            return [
                builder.fadd(s, v.load(v.at(source, start, j * v.lanes)))
                for j, s in enumerate(sums)
            ]

        for j, s in enumerate(looped(v, count, [v.constant(0.0)] * 8, add)):
            v.store(s, v.at(out, j * v.lanes))
        return context.get_dummy_value()

    return types.void(target, pointer_to(t), types.int64, pointer_to(t)), codegen


@jit
def compute(target, numbers, count):
    """Run fused multiply-adds on `numbers`, in registers."""
    multiply_add(target, at(numbers, 0), count)


@jit
def read(target, numbers, times, out):
    """Read all of `numbers`, a multiple of 8 vectors, `times` times."""
    step = out.size
    for _ in range(times):
        read_all(target, at(numbers, 0), numbers.size // step, at(out, 0))


def span(pool: ThreadPoolExecutor, gate: threading.Barrier, work) -> float:
    """Return the seconds from the first start to the last end of `work(thread)` on all threads."""

    def timed(k):
        gate.wait()
        start = time.perf_counter()
        work(k)
        return start, time.perf_counter()

    spans = list(pool.map(timed, range(gate.parties)))
    return max(end for _, end in spans) - min(start for start, _ in spans)


def fastest(work, threads: int) -> float:
    """Return the seconds of the fastest round of `work(thread)` on all threads at once."""
    gate = threading.Barrier(threads)
    with ThreadPoolExecutor(threads) as pool:
        return min(span(pool, gate, work) for _ in range(ROUNDS))


def enough(work) -> int:
    """Return the number of repetitions of `work(times)` that fill a round."""
    work(1)  # compiles
    times = 1
    while True:
        start = time.perf_counter()
        work(times)
        taken = time.perf_counter() - start
        if taken > SECONDS / 10:
            return max(1, int(times * SECONDS / taken))
        times *= 2


class Meter:
    """Measures the current FMA peak, which varies when others use the machine."""

    def __init__(self, dtype: type | str, threads: int):
        t = target(np.dtype(dtype))
        self._numbers = [np.full((chains(t) + 2) * t.lanes, 0.5, dtype) for _ in range(threads)]
        self._target = t
        self._pool, self._gate = ThreadPoolExecutor(threads), threading.Barrier(threads)
        self._count = 1000
        self._count *= enough(lambda times: compute(t, self._numbers[0], 1000 * times))

    def __call__(self, share: float = 1.0) -> float:
        """Return the GFLOP/s of all threads (an FMA counts as two), over `share` * SECONDS."""
        count = max(1, int(self._count * share))
        seconds = span(
            self._pool, self._gate, lambda k: compute(self._target, self._numbers[k], count)
        )
        multiply_adds = chains(self._target) * self._target.lanes * count * len(self._numbers)
        return 2.0 * multiply_adds / seconds / 1e9


@lru_cache
def meter(dtype: str, threads: int) -> Meter:
    """Return a cached meter, which keeps its threads."""
    return Meter(dtype, threads)


def bandwidth(size: int, threads: int) -> float:
    """Return the GB/s of reading buffers of `size` bytes, one per thread."""
    t = target(np.dtype(np.float32))
    buffers = [np.ones(size // 4, np.float32) for _ in range(threads)]
    sums = [np.empty(8 * t.lanes, np.float32) for _ in range(threads)]
    times = enough(lambda times: read(t, buffers[0], times, sums[0]))
    seconds = fastest(lambda k: read(t, buffers[k], times, sums[k]), threads)
    return size * times * threads / seconds / 1e9


def measure(threads: int) -> dict[str, float]:
    """Return the peaks for a run file at this thread count."""
    meters = {dtype: meter(dtype, threads) for dtype in ("float32", "float64")}
    return {
        **{dtype: max(meter() for _ in range(ROUNDS)) for dtype, meter in meters.items()},
        "cache_bandwidth": bandwidth(CACHE, threads),
        "memory_bandwidth": bandwidth(MEMORY // threads, threads),
    }
