"""One row times the rows of a matrix: dot products whose right factors lie along memory.

A vector holds the sums of as many rows of the matrix, so squares of it are transposed in registers.
Each sum is one chain of fused multiply-adds in the order of k, as in `tile`.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .target import TARGETS
from .tile import SIDE_BY_SIDE, emit_while, least, pointer_to, up
from .vector import I64, Vectors


@intrinsic
def dot_products(typingctx, target, init, a, between, K, b, b_stride, M, out):
    """Compute out[m] = init + the sum over k < K of a[k * between] b[m * b_stride + k], m < M."""
    t = TARGETS[target.name]

    def codegen(context, builder, _, args):
        _, init, a, between, K, right, b_stride, M, out = args
        v = Vectors(builder, t)

        def number(k):
            return v.broadcast(builder.load(v.at(a, builder.mul(k, between))))

        def sums(m, vectors):
            start = v.broadcast(init)
            _emit_sums(v, vectors, start, number, K, right, b_stride, m, M, out)

        m = I64(0)
        for vectors in (SIDE_BY_SIDE, 1):
            m = emit_while(v, m, vectors * v.lanes, up(v, M), lambda m, n=vectors: sums(m, n))
        return context.get_dummy_value()

    i, q = types.int64, pointer_to(t)
    return types.void(target, q.dtype, q, i, i, q, i, i, q), codegen


def _emit_sums(
    v: Vectors, vectors: int, start, number: Callable, K, right, stride, m, M, out
) -> None:
    """Compute `vectors` vectors of sums, those of the rows from m on; `number(k)` is a[k]."""
    b, last = v.b, v.b.sub(M, I64(1))
    whole = b.mul(b.sdiv(K, I64(v.lanes)), I64(v.lanes))
    acc = [cgutils.alloca_once(b, v.type) for _ in range(vectors)]
    for place in acc:
        b.store(start, place)
    # The last row stands in for rows that do not exist.
    lines = [
        [v.at(right, b.mul(stride, least(v, b.add(m, I64(r)), last))) for r in rows]
        for rows in (range(u * v.lanes, (u + 1) * v.lanes) for u in range(vectors))
    ]

    def add_square(c):
        numbers = [number(b.add(c, I64(k))) for k in range(v.lanes)]
        for place, rows in zip(acc, lines, strict=True):
            total = b.load(place)
            columns = v.transposed([v.load(v.at(line, c)) for line in rows])
            for x, column in zip(numbers, columns, strict=True):
                total = v.fma(x, column, total)
            b.store(total, place)

    emit_while(v, I64(0), v.lanes, whole, add_square)
    left = v.first(b.sub(K, whole))
    squares = [v.transposed([v.load(v.at(line, whole), left) for line in rows]) for rows in lines]
    columns = cgutils.alloca_once(b, ir.ArrayType(v.type, v.lanes))
    for place, square in zip(acc, squares, strict=True):
        for k, column in enumerate(square):
            b.store(column, b.gep(columns, [I64(0), I64(k)]))

        def add(k, place=place):
            column = b.load(b.gep(columns, [I64(0), b.sub(k, whole)]))
            b.store(v.fma(number(k), column, b.load(place)), place)

        emit_while(v, whole, 1, K, add)
    for u, place in enumerate(acc):
        start = b.add(m, I64(u * v.lanes))
        v.store_units([(b.load(place), v.at(out, start))], b.sub(M, start))
