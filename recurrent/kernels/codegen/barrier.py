"""A barrier for threads that split the units of each time step.

No thread starts a step before all have finished the previous one. The threads are Python threads in
jitted code without the GIL, so they wait on an atomic counter: spinning first, then yielding the
CPU. A thread that gives up (its call raised an exception) sets a flag, and the waiting ones return.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .vector import I64

# Polls of the counter between two calls of sched_yield.
POLLS = 4096


@intrinsic
def barrier_wait(typingctx, barrier, parts, rounds):
    """Arrive, then wait until all `parts` threads have arrived for the `rounds`-th time.

    Returns False if one of them gave up. barrier: int64 (2,), [arrivals so far, whether a thread
    gave up].
    """

    def codegen(context, b, signature, args):
        array, parts, rounds = args
        pointer = context.make_array(signature.args[0])(context, b, array).data
        return emit_barrier_wait(b, pointer, parts, rounds)

    return types.boolean(barrier, types.int64, types.int64), codegen


def emit_barrier_wait(
    b: ir.IRBuilder, arrived: ir.Value, parts: ir.Value, rounds: ir.Value
) -> ir.Value:
    """Write the code of `barrier_wait`, given a pointer to the barrier."""
    gave_up = b.gep(arrived, [I64(1)])
    b.atomic_rmw("add", arrived, I64(1), "seq_cst")
    expected = b.mul(parts, rounds)
    entry = b.block
    poll, wait, rest, again, done = (
        b.append_basic_block(n) for n in ("poll", "wait", "rest", "again", "done")
    )
    b.branch(poll)
    b.position_at_end(poll)
    polls = b.phi(I64)
    polls.add_incoming(I64(0), entry)
    complete = b.icmp_signed(">=", b.load_atomic(arrived, "acquire", 8), expected)
    abandoned = b.icmp_signed("!=", b.load_atomic(gave_up, "acquire", 8), I64(0))
    b.cbranch(b.or_(complete, abandoned), done, wait)
    b.position_at_end(wait)
    triple = b.module.triple
    if triple.startswith("x86_64"):
        _call(b, "llvm.x86.sse2.pause", ir.VoidType())
    last_poll = b.icmp_signed("==", b.and_(polls, I64(POLLS - 1)), I64(POLLS - 1))
    b.cbranch(last_poll, rest, again)
    b.position_at_end(rest)
    if "windows" not in triple:
        _call(b, "sched_yield", ir.IntType(32))
    b.branch(again)
    b.position_at_end(again)
    polls.add_incoming(b.add(polls, I64(1)), again)
    b.branch(poll)
    b.position_at_end(done)
    return complete


def _call(b, name, result):
    function = b.module.globals.get(name)
    b.call(function or ir.Function(b.module, ir.FunctionType(result, []), name), [])
