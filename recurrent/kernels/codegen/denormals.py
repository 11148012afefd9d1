"""Numbers too small for full precision count as zero inside kernels: some processors compute with them many times slower.

They come up where states or gradients fade away (oneDNN #561 is a 20-fold cliff). A kernel puts the caller's setting
back before it returns. On processors other than x86 nothing is changed.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .vector import I32

FLUSH = 0x8040  # bits of MXCSR: results to zero, inputs as zero


@intrinsic
def flush_denormals(typingctx):
    """Flush from here on; the setting before, for `restore_denormals`."""

    def codegen(context, b, signature, args):
        if not b.module.triple.startswith("x86_64"):
            return I32(0)
        place = b.alloca(I32)
        _control(b, "llvm.x86.sse.stmxcsr", place)
        before = b.load(place)
        b.store(b.or_(before, I32(FLUSH)), place)
        _control(b, "llvm.x86.sse.ldmxcsr", place)
        return before

    return types.int32(), codegen


@intrinsic
def restore_denormals(typingctx, before):
    """Put back what `flush_denormals` found."""

    def codegen(context, b, signature, args):
        if b.module.triple.startswith("x86_64"):
            place = b.alloca(I32)
            b.store(args[0], place)
            _control(b, "llvm.x86.sse.ldmxcsr", place)
        return context.get_dummy_value()

    return types.void(types.int32), codegen


def _control(b, instruction, place):
    address = b.bitcast(place, ir.IntType(8).as_pointer())
    function = ir.FunctionType(ir.VoidType(), [address.type])
    b.call(
        b.module.globals.get(instruction) or ir.Function(b.module, function, instruction), [address]
    )
