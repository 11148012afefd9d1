"""The register tile: a few rows times a few vectors, each element one chain of fused multiply-adds in the order of k.

A tile never leaves its registers until its last k is done; what is then applied to it (a cell's equations, a store) is
the caller's. All products of the engine are made of tiles, so the order promise holds for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .target import TARGETS, Target
from .vector import I64, Vectors


class Segment(NamedTuple):
    """A range of k: rows of numbers times a panel of weights, added to some of a tile's vectors."""

    a: ir.Value  # first number of the first row
    row_stride: ir.Value
    k_stride: ir.Value
    K: ir.Value
    panel: ir.Value  # (K, touched vectors, lanes)
    touched: list[int]


def emit_rows(
    v: Vectors, vectors: int, count: ir.Value, body: Callable[[ir.Value, int], None]
) -> None:
    """Cover `count` rows by tiles: `body(first row, rows)` for the tallest as often as it fits, then smaller ones."""
    b = v.b
    tallest, *smaller = v.target.rows(vectors)
    n = emit_while(v, I64(0), tallest, count, lambda n: body(n, tallest))
    for size in smaller:
        before = b.block
        after = b.add(n, I64(size))
        with b.if_then(b.icmp_signed("<=", after, count)):
            body(n, size)
            inside = b.block
        merged = b.phi(I64)
        merged.add_incoming(n, before)
        merged.add_incoming(after, inside)
        n = merged


def emit_while(
    v: Vectors, start: ir.Value, step: int, stop: ir.Value, body: Callable[[ir.Value], None]
) -> ir.Value:
    """`body(n)` for n = start, start + step, ... while n + step <= stop; returns the n where it ended."""
    b = v.b
    entry = b.block
    head, inside, done = (b.append_basic_block(name) for name in ("while", "do", "done"))
    b.branch(head)
    b.position_at_end(head)
    n = b.phi(I64)
    n.add_incoming(start, entry)
    after = b.add(n, I64(step))
    b.cbranch(b.icmp_signed("<=", after, stop), inside, done)
    b.position_at_end(inside)
    body(n)
    n.add_incoming(after, b.block)
    b.branch(head)
    b.position_at_end(done)
    return n


def emit_row(v: Vectors, rows: ir.Value, n: ir.Value) -> ir.Value:
    """rows[n], or n itself where `rows` is null."""
    b = v.b
    before = b.block
    with b.if_then(b.icmp_unsigned("!=", b.ptrtoint(rows, I64), I64(0))):
        named = b.load(b.gep(rows, [n]))
        inside = b.block
    row = b.phi(I64)
    row.add_incoming(n, before)
    row.add_incoming(named, inside)
    return row


def emit_units(
    v: Vectors, accumulators: int, j0: ir.Value, j1: ir.Value, body: Callable[[ir.Value, int], None]
) -> None:
    """Cover the units j0 to j1 by tiles: `body(first unit, blocks)`, several blocks of lanes while they fit, then one."""
    blocks = v.target.blocks(accumulators)
    padded = v.b.mul(v.b.sdiv(v.b.add(j1, I64(v.lanes - 1)), I64(v.lanes)), I64(v.lanes))
    j = emit_while(v, j0, blocks * v.lanes, padded, lambda j: body(j, blocks))
    if blocks > 1:
        emit_while(v, j, v.lanes, padded, lambda j: body(j, 1))


def accumulate(v: Vectors, acc: list[list[ir.Value]], segment: Segment) -> list[list[ir.Value]]:
    """acc[row][vector] += segment, k after k."""
    b = v.b
    lines = [v.at(segment.a, b.mul(segment.row_stride, I64(r))) for r in range(len(acc))]
    entry = b.block
    loop, done = b.append_basic_block("over_k"), b.append_basic_block("over_k_done")
    b.cbranch(b.icmp_signed(">", segment.K, I64(0)), loop, done)
    b.position_at_end(loop)
    k, offset, place = b.phi(I64), b.phi(I64), b.phi(I64)
    phis = [[b.phi(v.type) for _ in segment.touched] for _ in acc]
    step = len(segment.touched) * v.lanes
    rows, columns = range(len(acc)), range(len(segment.touched))

    def number(r):
        return v.broadcast(b.load(v.at(lines[r], offset)))

    def weights(j):
        return v.load(v.at(segment.panel, place, j * v.lanes))

    # The shorter side stays in registers while the other passes by: one register too many is spilled, and halves the speed.
    new = [[None for _ in columns] for _ in rows]
    if len(rows) <= len(columns):
        x = [number(r) for r in rows]
        for j in columns:
            w = weights(j)
            for r in rows:
                new[r][j] = v.fma(x[r], w, phis[r][j])
    else:
        w = [weights(j) for j in columns]
        for r in rows:
            x = number(r)
            for j in columns:
                new[r][j] = v.fma(x, w[j], phis[r][j])
    following = b.add(k, I64(1))
    for phi, value in (
        (k, following),
        (offset, b.add(offset, segment.k_stride)),
        (place, b.add(place, I64(step))),
    ):
        phi.add_incoming(I64(0), entry)
        phi.add_incoming(value, loop)
    for r, row in enumerate(phis):
        for j, phi in enumerate(row):
            phi.add_incoming(acc[r][segment.touched[j]], entry)
            phi.add_incoming(new[r][j], loop)
    b.cbranch(b.icmp_signed("<", following, segment.K), loop, done)
    b.position_at_end(done)
    out = [list(row) for row in acc]
    for r in range(len(acc)):
        for j, vector in enumerate(segment.touched):
            phi = b.phi(v.type)
            phi.add_incoming(acc[r][vector], entry)
            phi.add_incoming(new[r][j], loop)
            out[r][vector] = phi
    return out


def units_left(v: Vectors, units: ir.Value, block: int) -> ir.Value:
    """Units that remain from a block of a tile on, at least 0."""
    left = v.b.sub(units, I64(block * v.lanes))
    return v.b.select(v.b.icmp_signed(">", left, I64(0)), left, I64(0))


def emit_product(v, S, M, init, init_stride, out, segments, columns=None, out_stride=None):
    """out (S, M) = init + products; `segments(first row, first column, blocks)` lists those of a tile.

    `columns`: the first and the last of those to do, if not all; whole tiles but for the end of M. Rows of `out` are M
    numbers apart if no `out_stride` is given.
    """
    b, (m0, m1), out_stride = v.b, columns or (I64(0), M), M if out_stride is None else out_stride

    def units(j, blocks):
        left = [units_left(v, b.sub(M, j), u) for u in range(blocks)]

        def tile(n, rows):
            def places(start, stride):
                lines = [v.at(start, b.mul(stride, b.add(n, I64(r))), j) for r in range(rows)]
                return [[v.at(line, u * v.lanes) for line in lines] for u in range(blocks)]

            below = places(
                v.at(out, b.mul(out_stride, I64(rows))), out_stride
            )  # of the next tile, which may begin with them
            for u in v.lines(blocks):
                for pointer in below[u]:
                    v.prefetch(pointer)
            loaded = [v.load_units(p, left[u]) for u, p in enumerate(places(init, init_stride))]
            acc = [list(row) for row in zip(*loaded, strict=True)]
            for segment in segments(n, j, blocks):
                acc = accumulate(v, acc, segment)
            for u, p in enumerate(places(out, out_stride)):
                v.store_units([(acc[r][u], p[r]) for r in range(rows)], left[u])

        emit_rows(v, blocks, S, tile)

    emit_units(v, 1, m0, m1, units)


def pointer_to(target: Target) -> types.Type:
    """Numba's type of a pointer to the target's numbers."""
    return types.CPointer(types.float64 if target.dtype.itemsize == 8 else types.float32)


@intrinsic
def product_tiles(typingctx, target, S, M, K, init, init_stride, a, a_stride, panels, out):
    """out (S, M) = init + a (S, K) w, w in panels. An init_stride of 0 adds one row to all; init may be out itself."""
    t = TARGETS[target.name]

    def codegen(context, builder, _, args):
        _, S, M, K, init, init_stride, a, a_stride, panels, out = args
        v = Vectors(builder, t)

        def segments(n, j, blocks):
            row, panel = v.at(a, builder.mul(a_stride, n)), v.at(panels, builder.mul(j, K))
            return [Segment(row, a_stride, I64(1), K, panel, list(range(blocks)))]

        emit_product(v, S, M, init, init_stride, out, segments)
        return context.get_dummy_value()

    i, q = types.int64, pointer_to(t)
    return types.void(target, i, i, i, q, i, q, i, q, q), codegen


@intrinsic
def lanes(typingctx, target):
    """Units in a vector."""
    return types.int64(target), lambda context, builder, signature, args: I64(
        TARGETS[target.name].lanes
    )


@intrinsic
def wide(typingctx, target, accumulators):
    """Units side by side in the wide tile of units that have `accumulators` accumulators (at most 4 matter)."""

    def codegen(context, builder, signature, args):
        v = I64(TARGETS[target.name].lanes)
        fits = builder.sdiv(I64(4), args[1])
        return builder.mul(v, builder.select(builder.icmp_signed(">", fits, I64(0)), fits, I64(1)))

    return types.int64(target, types.int64), codegen


@intrinsic
def at(typingctx, array, offset):
    """Pointer to array.flat[offset]."""

    def codegen(context, builder, signature, args):
        return builder.gep(
            context.make_array(signature.args[0])(context, builder, args[0]).data, [args[1]]
        )

    return types.CPointer(array.dtype)(array, types.int64), codegen


@intrinsic
def in_order(typingctx):
    """The null pointer to row numbers: each row is its own."""
    pointer = types.CPointer(types.int64)
    return pointer(), lambda context, builder, signature, args: context.get_constant_null(pointer)


@intrinsic
def nowhere(typingctx, array):
    """The null pointer to an array's numbers."""
    pointer = types.CPointer(array.dtype)
    return pointer(array), lambda context, builder, signature, args: context.get_constant_null(
        pointer
    )
