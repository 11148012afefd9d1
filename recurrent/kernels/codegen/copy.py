"""Copying, adding and transposing rows as vector code.

Packing weights and sums over rows are made of these intrinsics. Numba's own loops over arrays check
for negative indices, which keeps LLVM from vectorising them.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .target import TARGETS
from .tile import emit_while, pointer_to
from .vector import I64, Vectors


def emit_vectors(
    v: Vectors, first: ir.Value, last: ir.Value, body: Callable[[ir.Value, ir.Value | None], None]
) -> None:
    """Cover entries first to last: `body(n, None)` for each vector, `body(n, mask)` at the end."""
    n = emit_while(v, first, v.lanes, last, lambda n: body(n, None))
    with v.b.if_then(v.b.icmp_signed("<", n, last)):
        body(n, v.first(v.b.sub(last, n)))


@intrinsic
def copy(typingctx, target, source, out, count):
    """Assign out[:count] = source[:count]."""
    return _by_vectors(target, lambda v, old, new: new)


@intrinsic
def add(typingctx, target, source, out, count):
    """Add source[:count] to out[:count]."""
    return _by_vectors(target, lambda v, old, new: v.b.fadd(old, new))


def _by_vectors(target, combine):
    """Return the intrinsic that stores `combine(v, old, new)` in `out`."""
    t = TARGETS[target.name]

    def codegen(context, b, _, args):
        _, source, out, count = args
        v = Vectors(b, t)

        def move(n, mask):
            to = v.at(out, n)
            v.store(combine(v, v.load(to, mask), v.load(v.at(source, n), mask)), to, mask)

        emit_vectors(v, I64(0), count, move)
        return context.get_dummy_value()

    q = pointer_to(t)
    return types.void(target, q, q, types.int64), codegen


@intrinsic
def transpose(typingctx, target, source, stride, rows, columns, out, out_stride):
    """Assign out[c * out_stride + r] = source[r * stride + c], r < rows <= lanes, c < columns."""
    t = TARGETS[target.name]

    def codegen(context, b, _, args):
        _, source, stride, rows, columns, out, out_stride = args
        v = Vectors(b, t)
        last = b.sub(rows, I64(1))
        lines = []
        for r in range(v.lanes):
            # The last row stands in for rows that do not exist.
            row = b.select(b.icmp_signed("<", I64(r), rows), I64(r), last)
            lines.append(v.at(source, b.mul(stride, row)))

        def square(c, mask):
            values = v.transposed([v.load(v.at(line, c), mask) for line in lines])
            whole = b.icmp_signed(">=", rows, I64(v.lanes))
            for k, value in enumerate(values):
                to = v.at(out, b.mul(out_stride, b.add(c, I64(k))))
                with (
                    b.if_then(b.icmp_signed("<", b.add(c, I64(k)), columns)),
                    b.if_else(whole) as (then, otherwise),
                ):
                    with then:
                        v.store(value, to)
                    with otherwise:
                        v.store(value, to, v.first(rows))

        with b.if_then(b.icmp_signed(">", rows, I64(0))):
            emit_vectors(v, I64(0), columns, square)
        return context.get_dummy_value()

    i, q = types.int64, pointer_to(t)
    return types.void(target, q, i, i, i, q, i), codegen
