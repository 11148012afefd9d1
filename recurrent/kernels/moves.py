"""Moving rows of numbers: Numba's checks for negative indices keep such loops from being vectorised."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .target import TARGETS
from .tile import emit_while, pointer_to
from .vector import I64, Vectors


def emit_vectors(v: Vectors, first: ir.Value, last: ir.Value, body: Callable[[ir.Value, ir.Value | None], None]) -> None:
    """Cover entries first to last by vectors: `body(n, None)` for whole ones, `body(n, mask)` for what is left."""
    n = emit_while(v, first, v.lanes, last, lambda n: body(n, None))
    with v.b.if_then(v.b.icmp_signed("<", n, last)):
        body(n, v.first(v.b.sub(last, n)))


@intrinsic
def copy(typingctx, target, source, out, count):
    """out[:count] = source[:count]."""
    return _by_vectors(target, lambda v, old, new: new)


@intrinsic
def add(typingctx, target, source, out, count):
    """out[:count] += source[:count]."""
    return _by_vectors(target, lambda v, old, new: v.b.fadd(old, new))


def _by_vectors(target, combine):
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
def spread(typingctx, target, source, out, stride, count):
    """out[k * stride] = source[k] for k < count."""
    t = TARGETS[target.name]

    def codegen(context, b, _, args):
        _, source, out, stride, count = args
        v = Vectors(b, t)
        emit_while(v, I64(0), 1, count, lambda k: b.store(b.load(v.at(source, k)), v.at(out, b.mul(k, stride))))
        return context.get_dummy_value()

    q = pointer_to(t)
    return types.void(target, q, q, types.int64, types.int64), codegen
