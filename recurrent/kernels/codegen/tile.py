"""The register tile: the inner loop of every matrix product.

A tile is a block of the result, a few rows (of the batch) times a few vectors (of units), that
stays in registers while k runs over the summed axis: for each k, one number of each row is
broadcast and multiplied by the vectors of a packed panel. Each element is one chain of fused
multiply-adds in the order of k, whatever the size of the tile, so results do not depend on how a
matrix is cut into tiles. The caller applies the epilogue to the finished registers: a cell's
equations, or just a store.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .target import TARGETS, Target
from .vector import I64, Vectors

# Tiles of a single row, or vectors of dot products, that are computed at a time: one alone has
# fewer chains of additions than a processor adds up in parallel.
SIDE_BY_SIDE = 2


class Segment(NamedTuple):
    """A part of the summed axis with operands of its own, such as x or h: rows times a panel.

    A tile may add up several segments; each adds to some of the tile's vectors.
    """

    a: ir.Value  # pointer to the first number of row 0
    row_stride: ir.Value
    k_stride: ir.Value
    K: ir.Value
    panels: list[ir.Value]  # of each tile side by side: (K, touched vectors, lanes), see `panel`
    touched: list[int]  # vectors of a tile that it adds to
    between: ir.Value | None = None  # distance of two rows of a panel, if it is not packed
    masks: list[ir.Value] | None = None  # columns that exist, of each panel, if some do not
    skipped: ir.Value = I64(0)  # rows of the panels before the first of the K


class Cut(NamedTuple):
    """Says how a tile's panel is read: in pieces of the summed axis that stay in a cache.

    All rows pass a piece before the next one is read. In between, the accumulators are stored and
    taken up again, so the order of every chain is the same, and so are its bits.
    """

    piece: ir.Value  # length of a piece of the summed axis, all segments one after the other
    sums: ir.Value  # pointer to memory for the accumulators of all rows, if there are two pieces


def emit_pieces(
    v: Vectors, total: ir.Value, piece: ir.Value, body: Callable[[ir.Value, ir.Value], None]
) -> None:
    """Cut 0..total into pieces: `body(first, last)` for each, at least once."""
    b = v.b
    entry = b.block
    loop, done = b.append_basic_block("piece"), b.append_basic_block("pieces_done")
    b.branch(loop)
    b.position_at_end(loop)
    first = b.phi(I64)
    first.add_incoming(I64(0), entry)
    last = b.add(first, piece)
    body(first, least(v, last, total))
    first.add_incoming(last, b.block)
    b.cbranch(b.icmp_signed("<", last, total), loop, done)
    b.position_at_end(done)


def least(v: Vectors, x: ir.Value, y: ir.Value) -> ir.Value:
    """Return the smaller of two integers."""
    return v.b.select(v.b.icmp_signed("<", x, y), x, y)


def parts(v: Vectors, segments: list[Segment], first: ir.Value, last: ir.Value) -> list[Segment]:
    """Return the numbers first to last of the summed axis of all segments, one after the other.

    Call it outside of loops over rows: a short sum takes less time than these instructions.
    """
    b, start, zero, found = v.b, I64(0), I64(0), []
    for s in segments:
        begin, end = (least(v, b.sub(n, start), s.K) for n in (first, last))
        begin = b.select(b.icmp_signed(">", begin, zero), begin, zero)
        a = v.at(s.a, b.mul(begin, s.k_stride))
        found.append(s._replace(a=a, K=b.sub(end, begin), skipped=begin))
        start = b.add(start, s.K)
    return found


def emit_rows(
    v: Vectors, vectors: int, count: ir.Value, body: Callable[[ir.Value, int], None]
) -> None:
    """Cover `count` rows by tiles, tallest first: `body(first row, rows)`."""
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
    """Loop `body(n)` for n = start, start + step, ... while n + step <= stop; return the next n."""
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
    """Return rows[n], or n itself if `rows` is null."""
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
    v: Vectors,
    accumulators: int,
    j0: ir.Value,
    j1: ir.Value,
    body: Callable,
    downward: ir.Value | None = None,
    side_by_side: int = 1,
    blocks: int | None = None,
) -> None:
    """Cover the units j0 to j1 by tiles of `blocks` vectors: `body(first unit, blocks)`.

    Tiles have several blocks, by default those of the target, as long as these fit, then one. With
    `downward` (i1) the last of the wide tiles comes first: what the step before read last is still
    in the cache.
    `side_by_side`: how many wide tiles are computed at a time, by `body(first unit, blocks,
    side_by_side)`, as long as there are as many.
    """
    b = v.b
    blocks = blocks or v.target.blocks(accumulators)
    padded, width = up(v, j1), blocks * v.lanes
    place = j0
    for tiles in sorted({side_by_side, 1}, reverse=True):
        step, begin = tiles * width, place
        count = b.sdiv(b.sub(padded, begin), I64(step))
        place = b.add(begin, b.mul(count, I64(step)))

        def some_tiles(j, step=step, begin=begin, end=place, tiles=tiles):
            if downward is not None:
                j = b.select(downward, b.sub(b.sub(b.add(end, begin), j), I64(step)), j)
            body(j, blocks, tiles)

        emit_while(v, begin, step, place, some_tiles)
    if blocks > 1:
        emit_while(v, place, v.lanes, padded, lambda j: body(j, 1, 1))


def accumulate(
    v: Vectors, acc: list[list[ir.Value]], segment: Segment, n: ir.Value
) -> list[list[ir.Value]]:
    """Add a segment to the accumulators acc[row][vector] of the rows from n on, k after k.

    The vectors are those of all tiles side by side.
    """
    b = v.b
    lines = [v.at(segment.a, b.mul(segment.row_stride, b.add(n, I64(r)))) for r in range(len(acc))]
    step = I64(len(segment.touched) * v.lanes) if segment.between is None else segment.between
    whole = len(acc[0]) // len(segment.panels)
    touched = [p * whole + t for p in range(len(segment.panels)) for t in segment.touched]
    rows, columns = range(len(acc)), range(len(touched))
    places = [divmod(j, len(segment.touched)) for j in columns]  # tile, and vector of its panel
    before = b.block
    entry, loop, done = (b.append_basic_block(n) for n in ("from_k", "over_k", "over_k_done"))
    b.cbranch(b.icmp_signed(">", segment.K, I64(0)), entry, done)
    b.position_at_end(entry)
    scales = [v.scale(segment.panels[p], j, len(segment.touched)) for p, j in places]
    skipped = b.mul(step, b.add(I64(v.target.scale_rows), segment.skipped))
    panels = [v.at(panel, skipped) for panel in segment.panels]
    b.branch(loop)
    b.position_at_end(loop)
    k, offset, place = b.phi(I64), b.phi(I64), b.phi(I64)
    phis = [[b.phi(v.type) for _ in columns] for _ in acc]

    def number(r):
        return v.broadcast(b.load(v.at(lines[r], offset)))

    def weights(column):
        p, j = places[column]
        pointer = v.at(panels[p], place, j * v.lanes)
        if segment.masks is not None:
            return v.load(pointer, segment.masks[p])
        return v.load_weights(pointer, scales[column])

    # The shorter side stays in registers while the longer one is read: a single register too many
    # would be spilled, which halves the speed.
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
        (place, b.add(place, step)),
    ):
        phi.add_incoming(I64(0), entry)
        phi.add_incoming(value, loop)
    for r, row in enumerate(phis):
        for j, phi in enumerate(row):
            phi.add_incoming(acc[r][touched[j]], entry)
            phi.add_incoming(new[r][j], loop)
    b.cbranch(b.icmp_signed("<", following, segment.K), loop, done)
    b.position_at_end(done)
    out = [list(row) for row in acc]
    for r in range(len(acc)):
        for j, vector in enumerate(touched):
            phi = b.phi(v.type)
            phi.add_incoming(acc[r][vector], before)
            phi.add_incoming(new[r][j], loop)
            out[r][vector] = phi
    return out


def units_left(v: Vectors, units: ir.Value, block: int) -> ir.Value:
    """Return how many of the units remain from a block of a tile on, at least 0."""
    left = v.b.sub(units, I64(block * v.lanes))
    return v.b.select(v.b.icmp_signed(">", left, I64(0)), left, I64(0))


def emit_product(
    v, S, M, init, init_stride, out, segments, piece, columns=None, out_stride=None, downward=None,
    blocks=None,
):  # fmt: skip
    """Compute out (S, M) = init + products, tile by tile.

    `segments(first columns, blocks)` returns those of tiles side by side, each of which has a
    first column. `piece`: see `Cut`; the accumulators between two pieces are in `out`.
    `columns`: the range of columns to compute, if not all; whole tiles except at the end of M.
    `out_stride`: distance between rows of `out`, M by default. `downward`, `blocks`: see
    `emit_units`.
    """
    b, (m0, m1), out_stride = v.b, columns or (I64(0), M), M if out_stride is None else out_stride

    def units(j, blocks, side_by_side, only_row=False):
        firsts = [b.add(j, I64(p * blocks * v.lanes)) for p in range(side_by_side)]
        vectors = range(side_by_side * blocks)
        left = [units_left(v, b.sub(M, j), u) for u in vectors]
        whole = list(segments(firsts, blocks))
        total = reduce(b.add, (s.K for s in whole), I64(0))

        def tile(n, rows, first, some):
            starts = b.icmp_signed("==", first, I64(0))
            source, stride = b.select(starts, init, out), b.select(starts, init_stride, out_stride)

            def places(start, stride):
                lines = [v.at(start, b.mul(stride, b.add(n, I64(r))), j) for r in range(rows)]
                return [[v.at(line, u * v.lanes) for line in lines] for u in vectors]

            # Prefetch the rows below, where the next tile may start.
            below = places(v.at(out, b.mul(out_stride, I64(rows))), out_stride)
            for u in v.lines(len(vectors)):
                for pointer in below[u]:
                    v.prefetch(pointer)
            loaded = [v.load_units(p, left[u]) for u, p in enumerate(places(source, stride))]
            acc = [list(row) for row in zip(*loaded, strict=True)]
            for segment in some:
                acc = accumulate(v, acc, segment, n)
            for u, p in enumerate(places(out, out_stride)):
                v.store_units([(acc[r][u], p[r]) for r in range(rows)], left[u])

        def rows_of_piece(first, last):
            some = parts(v, whole, first, last)
            emit_rows(v, blocks, S, lambda n, rows: tile(n, rows, first, some))

        if only_row:
            tile(I64(0), 1, I64(0), whole)
        elif v.target.cut:
            emit_pieces(v, total, piece, rows_of_piece)
        else:
            emit_rows(v, blocks, S, lambda n, rows: tile(n, rows, I64(0), whole))

    with b.if_else(b.icmp_signed("==", S, I64(1))) as (single, several):
        with single:
            row = partial(units, only_row=True)
            emit_units(v, 1, m0, m1, row, downward, SIDE_BY_SIDE, blocks)
        with several:
            emit_units(v, 1, m0, m1, units, downward, 1, blocks)


def up(v: Vectors, units: ir.Value) -> ir.Value:
    """Return the units rounded up to whole vectors."""
    return v.b.mul(v.b.sdiv(v.b.add(units, I64(v.lanes - 1)), I64(v.lanes)), I64(v.lanes))


def pointer_to(target: Target) -> types.Type:
    """Return Numba's type of a pointer to numbers of the target's dtype."""
    return types.CPointer(types.float64 if target.dtype.itemsize == 8 else types.float32)


def pointer_to_weights(target: Target) -> types.Type:
    """Return Numba's type of a pointer to packed weights."""
    quantized = {"int8": types.int8, "bfloat16": types.uint16}
    return types.CPointer(quantized[target.weights]) if target.weights else pointer_to(target)


@intrinsic
def product_tiles(
    typingctx, target, S, M, K, init, init_stride, a, a_stride, panels, piece, out, out_stride
):
    """Compute out (S, M) = init + a (S, K) w, w in panels, read in pieces of K (see `Cut`).

    An init_stride of 0 adds one row of `init` to all rows; init may be out itself.
    """
    t = TARGETS[target.name]

    def codegen(context, builder, _, args):
        _, S, M, K, init, init_stride, a, a_stride, panels, piece, out, out_stride = args
        v = Vectors(builder, t)

        def segments(firsts, blocks):
            tiles = [v.panel(panels, j, K) for j in firsts]
            return [Segment(a, a_stride, I64(1), K, tiles, list(range(blocks)))]

        emit_product(v, S, M, init, init_stride, out, segments, piece, out_stride=out_stride)
        return context.get_dummy_value()

    i, q, w = types.int64, pointer_to(t), pointer_to_weights(t)
    return types.void(target, i, i, i, q, i, q, i, w, i, q, i), codegen


@intrinsic
def product_in_place(
    typingctx, target, S, M, K, init, a, a_stride, a_between, b, b_stride, out, out_stride
):
    """Compute out (S, M) = init (M,) + a (S, K) b (K, M), b where it is: in rows, not in panels.

    a[s, k] is number s * a_stride + k * a_between.
    """
    t = TARGETS[target.name]

    def codegen(context, builder, _, args):
        _, S, M, K, init, a, a_stride, a_between, right, b_stride, out, out_stride = args
        v = Vectors(builder, t)
        whole = builder.mul(builder.sdiv(M, I64(v.lanes)), I64(v.lanes))

        def segments(firsts, blocks, masks=None):
            tiles, vectors = [v.at(right, j) for j in firsts], list(range(blocks))
            return [Segment(a, a_stride, a_between, K, tiles, vectors, b_stride, masks)]

        def last_segments(firsts, blocks):
            return segments(firsts, blocks, [v.first(builder.sub(M, j)) for j in firsts])

        for some, columns, blocks in (
            (segments, (I64(0), whole), None),
            (last_segments, (whole, M), 1),
        ):
            emit_product(
                v, S, M, init, I64(0), out, some, K, columns, out_stride=out_stride, blocks=blocks
            )
        return context.get_dummy_value()

    i, q = types.int64, pointer_to(t)
    return types.void(target, i, i, i, q, q, i, i, q, i, q, i), codegen


@intrinsic
def tallest(typingctx, target):
    """Return how many rows pass a panel at a time, those of the tallest tile."""

    def codegen(context, builder, signature, args):
        t = TARGETS[target.name]
        return I64(t.rows(t.blocks(1))[0])

    return types.int64(target), codegen


@intrinsic
def lanes(typingctx, target):
    """Return how many units a vector holds."""

    def codegen(context, builder, signature, args):
        return I64(TARGETS[target.name].lanes)

    return types.int64(target), codegen


@intrinsic
def wide(typingctx, target, accumulators):
    """Return how many units the widest tile has, given the number of accumulators per unit."""

    def codegen(context, builder, signature, args):
        v = I64(TARGETS[target.name].lanes)
        fits = builder.sdiv(I64(4), args[1])
        return builder.mul(v, builder.select(builder.icmp_signed(">", fits, I64(0)), fits, I64(1)))

    return types.int64(target, types.int64), codegen


@intrinsic
def at(typingctx, array, offset):
    """Return a pointer to entry `offset` of a flat array."""

    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.gep(data, [args[1]])

    return types.CPointer(array.dtype)(array, types.int64), codegen


@intrinsic
def in_order(typingctx):
    """Return a null pointer to row numbers, which stands for the rows in their order."""
    pointer = types.CPointer(types.int64)

    def codegen(context, builder, signature, args):
        return context.get_constant_null(pointer)

    return pointer(), codegen


@intrinsic
def null(typingctx, array):
    """Return a null pointer of an array's dtype, which stands for an array that is not written."""
    pointer = types.CPointer(array.dtype)

    def codegen(context, builder, signature, args):
        return context.get_constant_null(pointer)

    return pointer(array), codegen
