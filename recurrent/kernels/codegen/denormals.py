"""Kernels flush denormal numbers to zero, because they slow some processors down many times.

Denormal numbers occur where states or gradients decay (20 times slower in oneDNN #561). A kernel
restores the caller's setting before it returns. On processors other than x86 nothing is changed.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .vector import I32

FLUSH = 0x8040  # bits of MXCSR: flush denormal results to zero, read denormal inputs as zero


@intrinsic
def flush_denormals(typingctx):
    """Flush denormals from here on; return the previous setting for `restore_denormals`."""

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
    """Restore the setting that `flush_denormals` returned."""

    def codegen(context, b, signature, args):
        if b.module.triple.startswith("x86_64"):
            place = b.alloca(I32)
            b.store(args[0], place)
            _control(b, "llvm.x86.sse.ldmxcsr", place)
        return context.get_dummy_value()

    return types.void(types.int32), codegen


def _control(b, instruction, place):
    """Call an instruction that stores or loads MXCSR."""
    address = b.bitcast(place, ir.IntType(8).as_pointer())
    function = b.module.globals.get(instruction)
    if function is None:
        kind = ir.FunctionType(ir.VoidType(), [address.type])
        function = ir.Function(b.module, kind, instruction)
    b.call(function, [address])
