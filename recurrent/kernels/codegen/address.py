"""Addresses as int64: what a chain of compiled steps (see `chain`) reads, calls and passes on."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .target import TARGETS
from .tile import pointer_to, pointer_to_weights
from .vector import I64


@intrinsic
def address(typingctx, array):
    """Return the address of the first entry of an array."""

    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.ptrtoint(data, I64)

    return types.int64(array), codegen


@intrinsic
def pointer(typingctx, target, base, offset):
    """Return a pointer to number `offset` of the target's dtype behind the address `base`."""
    kind = pointer_to(TARGETS[target.name])

    def codegen(context, builder, signature, args):
        first = builder.inttoptr(args[1], context.get_value_type(kind))
        return builder.gep(first, [args[2]])

    return kind(target, types.int64, types.int64), codegen


@intrinsic
def pointer_to_panels(typingctx, target, base):
    """Return a pointer to the packed weights behind the address `base`."""
    kind = pointer_to_weights(TARGETS[target.name])

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[1], context.get_value_type(kind))

    return kind(target, types.int64), codegen


@intrinsic
def word(typingctx, base, k):
    """Return int64 number `k` behind the address `base`."""

    def codegen(context, builder, signature, args):
        return builder.load(builder.gep(builder.inttoptr(args[0], I64.as_pointer()), [args[1]]))

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def call_step(typingctx, function, fields, x, now, y):
    """Call the compiled step at the address `function`, see `chain`."""
    i = types.int64

    def codegen(context, builder, signature, args):
        target = ir.IntType(8).as_pointer()  # carries no data
        kind = ir.FunctionType(I64, [target, *[I64] * 4])
        return builder.call(
            builder.inttoptr(args[0], kind.as_pointer()), [ir.Constant(target, None), *args[1:]]
        )

    return i(i, i, i, i, i), codegen
