"""Elementwise passes and reductions over flat arrays as vector code.

The loops of `elementwise` and `attention` call these intrinsics: the entries of an optimiser's
rule, sums of squares, maxima, sums of exponentials, scaling. A reduction has LANES partial results
whatever the width of a register, so the processor's vector unit changes no bit.
"""

from __future__ import annotations

import math

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .copy import emit_vectors
from .lower import Expressions
from .target import TARGETS
from .tile import pointer_to
from .vector import I64, Vectors

LANES = 16


@intrinsic
def rule_entries(typingctx, target, numbers, arrays, first, last):
    """Apply the target's rule to entries first to last.

    numbers: flat array. arrays: tuple of flat arrays. Both in the rule's order.
    """
    t = TARGETS[target.name]
    rule = t.cell

    def codegen(context, b, signature, args):
        _, numbers, arrays, first, last = args
        v = Vectors(b, t)

        def data(array_type, array):
            return context.make_array(array_type)(context, b, array).data

        scalars = data(signature.args[1], numbers)
        known = {
            e: v.broadcast(b.load(v.at(scalars, k))) for k, e in enumerate(rule.numbers.values())
        }
        values = (
            data(kind, a)
            for kind, a in zip(signature.args[2], cgutils.unpack_tuple(b, arrays), strict=True)
        )
        places = dict(zip(rule.arrays, values, strict=True))

        def entries(n, mask):
            loaded = {e: v.load(v.at(places[name], n), mask) for name, e in rule.arrays.items()}
            code = Expressions(v, rule.results.values(), known | loaded)
            new = {name: code.value(e) for name, e in rule.results.items()}
            for name, value in new.items():
                v.store(value, v.at(places[name], n), mask)

        emit_vectors(v, first, last, entries)
        return context.get_dummy_value()

    return types.void(target, numbers, arrays, types.int64, types.int64), codegen


def _fold(v: Vectors, count, initial: ir.Constant, step) -> ir.Value:
    """Return the partial results that `step(total, n, mask)` accumulates, vector by vector."""
    total = cgutils.alloca_once_value(v.b, initial)
    emit_vectors(v, I64(0), count, lambda n, mask: v.b.store(step(v.b.load(total), n, mask), total))
    return v.b.load(total)


def _wide(v: Vectors, x, mask=None):
    """Return a vector converted to float64, zeros in lanes outside the mask."""
    if mask is not None:
        x = v.b.select(mask, x, v.constant(0.0))
    return x if v.double else v.b.fpext(x, _doubles(v))


def _doubles(v: Vectors) -> ir.Type:
    return ir.VectorType(ir.DoubleType(), v.lanes)


@intrinsic
def sum_of_squares(typingctx, target, x, count):
    """Return the sum of squares of x[:count], in float64."""
    t = TARGETS[target.name]

    def codegen(context, b, _, args):
        _, x, count = args
        v = Vectors(b, t, LANES)

        def step(total, n, mask):
            wide = _wide(v, v.load(v.at(x, n), mask))
            return b.fadd(total, b.fmul(wide, wide))

        return v.across(_fold(v, count, ir.Constant(_doubles(v), None), step), b.fadd)

    return types.float64(target, pointer_to(t), types.int64), codegen


@intrinsic
def largest(typingctx, target, x, count):
    """Return max(x[:count]): -inf without entries, NaN if an entry is NaN."""
    t = TARGETS[target.name]
    pointer = pointer_to(t)

    def codegen(context, b, _, args):
        _, x, count = args
        v = Vectors(b, t, LANES)
        least = v.constant(-math.inf)

        def step(high, n, mask):
            new = v.load(v.at(x, n), mask)
            return v.maximum(high, new if mask is None else b.select(mask, new, least))

        return v.across(_fold(v, count, least, step), v.maximum)

    return pointer.dtype(target, pointer, types.int64), codegen


@intrinsic
def exponentials(typingctx, target, x, high, out, count):
    """Assign out[:count] = exp(x[:count] - high) and return the sum in float64."""
    t = TARGETS[target.name]
    pointer = pointer_to(t)

    def codegen(context, b, _, args):
        _, x, high, out, count = args
        v = Vectors(b, t, LANES)
        highs = v.broadcast(high)

        def step(total, n, mask):
            e = v.exp(b.fsub(v.load(v.at(x, n), mask), highs))
            v.store(e, v.at(out, n), mask)
            return b.fadd(total, _wide(v, e, mask))

        return v.across(_fold(v, count, ir.Constant(_doubles(v), None), step), b.fadd)

    return types.float64(target, pointer, pointer.dtype, pointer, types.int64), codegen


@intrinsic
def scale(typingctx, target, factor, x, count):
    """Multiply x[:count] by factor."""
    t = TARGETS[target.name]
    pointer = pointer_to(t)

    def codegen(context, b, _, args):
        _, factor, x, count = args
        v = Vectors(b, t)
        factors = v.broadcast(factor)

        def entries(n, mask):
            place = v.at(x, n)
            v.store(b.fmul(v.load(place, mask), factors), place, mask)

        emit_vectors(v, I64(0), count, entries)
        return context.get_dummy_value()

    return types.void(target, pointer.dtype, pointer, types.int64), codegen
