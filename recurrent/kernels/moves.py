"""Moving rows of numbers: Numba's checks for negative indices keep such loops from being vectorised."""

from __future__ import annotations

from numba import types
from numba.extending import intrinsic

from .target import TARGETS
from .tile import emit_while, pointer_to
from .vector import I64, Vectors


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

        def move(n, mask=None):
            to = v.at(out, n)
            v.store(combine(v, v.load(to, mask), v.load(v.at(source, n), mask)), to, mask)

        n = emit_while(v, I64(0), v.lanes, count, move)
        with b.if_then(b.icmp_signed("<", n, count)):
            move(n, v.first(b.sub(count, n)))
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
