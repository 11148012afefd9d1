"""Where threads that share the units of every step wait for each other: nobody begins a step before all of the one before."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .vector import I64

PATIENCE = 4096  # rounds of looking before others get the processor


@intrinsic
def barrier_wait(typingctx, barrier, parts, times):
    """Arrive, then wait until all `parts` have for the `times`-th time. False if one of them never will.

    barrier: int64, how many have arrived in all, and whether somebody gave up.
    """

    def codegen(context, b, signature, args):
        array, parts, times = args
        return emit_barrier_wait(
            b, context.make_array(signature.args[0])(context, b, array).data, parts, times
        )

    return types.boolean(barrier, types.int64, types.int64), codegen


def emit_barrier_wait(
    b: ir.IRBuilder, arrived: ir.Value, parts: ir.Value, times: ir.Value
) -> ir.Value:
    """Code of `barrier_wait`, from a pointer to the barrier."""
    gone = b.gep(arrived, [I64(1)])
    b.atomic_rmw("add", arrived, I64(1), "seq_cst")
    all_of_them = b.mul(parts, times)
    entry = b.block
    look, wait, rest, again, done = (
        b.append_basic_block(n) for n in ("look", "wait", "rest", "again", "done")
    )
    b.branch(look)
    b.position_at_end(look)
    rounds = b.phi(I64)
    rounds.add_incoming(I64(0), entry)
    together = b.icmp_signed(">=", b.load_atomic(arrived, "acquire", 8), all_of_them)
    alone = b.icmp_signed("!=", b.load_atomic(gone, "acquire", 8), I64(0))
    b.cbranch(b.or_(together, alone), done, wait)
    b.position_at_end(wait)
    triple = b.module.triple
    if triple.startswith("x86_64"):
        _call(b, "llvm.x86.sse2.pause", ir.VoidType())
    b.cbranch(
        b.icmp_signed("==", b.and_(rounds, I64(PATIENCE - 1)), I64(PATIENCE - 1)), rest, again
    )
    b.position_at_end(rest)
    if "windows" not in triple:
        _call(b, "sched_yield", ir.IntType(32))
    b.branch(again)
    b.position_at_end(again)
    rounds.add_incoming(b.add(rounds, I64(1)), again)
    b.branch(look)
    b.position_at_end(done)
    return together


def _call(b, name, result):
    b.call(
        b.module.globals.get(name) or ir.Function(b.module, ir.FunctionType(result, []), name), []
    )
