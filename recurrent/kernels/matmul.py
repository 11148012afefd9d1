"""Matrix products that belong to no cell: packing, out = a w, and the weight gradient a' b.

`compiled` calls these loops for linear layers and for the gradients of a recurrent layer's input
and weights, `attention` for the products of each sequence. The right factor is packed into panels:
for each k the columns of one register tile (see `codegen.tile`), so that the inner loop reads
memory in order. All arrays are flat; the shapes given are those before flattening.

A sum over rows is one chain of additions for each element. Gradients of weights run from the last
row to the first, as back-propagation through time does, and continue the sums in `out`: a sequence
in segments, the last one first, gives the same chains and so the same bits.
"""

from __future__ import annotations

import numpy as np

from .codegen.address import address
from .codegen.copy import add, copy, transpose
from .codegen.denormals import flush_denormals, restore_denormals
from .codegen.dots import dot_products
from .codegen.tile import at, lanes, product_in_place, product_tiles, tallest, wide
from .jit import jit
from .memory import LINE

# Rows of a product that pass all panels before the next rows do: they stay in the L2 cache
# meanwhile.
PRODUCT_ROWS = 96

# Rows and columns that a sum over rows takes at a time. Many rows, because each chain is loaded and
# stored once for each batch of rows; as many columns as fill whole tiles.
ROWS_AT_ONCE, COLUMNS_AT_ONCE = 576, 96

# A piece of the summed axis (`codegen.tile.Cut`) that is longer than any axis.
WHOLE = 1 << 62

# An empty list of row numbers: row s is row s.
NO_ROWS = np.zeros(0, np.int64)


@jit
def aligned(memory):
    """Return the part of an array that begins at a cache line; LINE numbers may be left out."""
    skipped = -address(memory) % LINE // memory.itemsize
    return memory[skipped:]


@jit
def padded(target, units):
    """Return the units rounded up to whole vectors."""
    return -(-units // lanes(target)) * lanes(target)


@jit
def pack_rows(target, w, place, stride, D, rows, first, step, K, panels, panel_rows):
    """Pack K rows of w into panels: first, first + step, and so on, or `rows` at these.

    w: rows of D numbers, a stride apart; row 0 begins at `place`. panels: (D / width, panel_rows,
    width). The width is that of the widest tile while a whole one fits, then one vector. The
    padding past column D is not written.
    """
    d = 0
    while d < D:
        width = wide(target, 1) if padded(target, D) - d >= wide(target, 1) else lanes(target)
        for k in range(K):
            source = rows[first + step * k] if rows.size else first + step * k
            panel = at(panels, d * panel_rows + k * width)
            copy(target, at(w, place + source * stride + d), panel, min(width, D - d))
        d += width


@jit
def pack_columns(target, w, place, stride, K, M, panels):
    """Pack the transpose of w (M, K) into panels (M / width, K, width), as `pack_rows` does."""
    m = 0
    while m < M:
        width = wide(target, 1) if padded(target, M) - m >= wide(target, 1) else lanes(target)
        for c in range(0, min(width, M - m), lanes(target)):
            rows = min(lanes(target), M - m - c)
            source, out = at(w, place + (m + c) * stride), at(panels, m * K + c)
            transpose(target, source, stride, rows, K, out, width)
        m += width


@jit
def product(target, S, a, place, stride, K, panels, M, bias, piece, out, to, out_stride):
    """Compute out (S, M) = bias (M,) + a (S, K) w.

    a: rows a stride apart, the first at `place`. w (K, M): packed in panels, read in pieces of K
    (`tile.Cut`). out: rows an out_stride apart, the first at `to`.
    """
    setting = flush_denormals()
    for row in range(0, S, PRODUCT_ROWS):
        product_tiles(
            target, min(PRODUCT_ROWS, S - row), M, K, at(bias, 0), 0, at(a, place + row * stride),
            stride, at(panels, 0), piece, at(out, to + row * out_stride), out_stride,
        )  # fmt: skip
    restore_denormals(setting)


@jit
def few_rows(target, S):
    """Say whether a product of S rows reads its right factor once, so that packing costs time."""
    most = tallest(target)
    return most >= S


@jit
def unpacked_product(
    target, S, a, place, stride, between, K, b, start, b_stride, M, bias, out, to, out_stride
):
    """Compute out (S, M) = bias (M,) + a (S, K) b (K, M) like `product`, b in rows, not in panels.

    a[s, k] is number place + s * stride + k * between. The first row of b begins at `start`.
    """
    setting = flush_denormals()
    product_in_place(
        target, S, M, K, at(bias, 0), at(a, place), stride, between, at(b, start), b_stride,
        at(out, to), out_stride,
    )  # fmt: skip
    restore_denormals(setting)


@jit
def dots(target, init, a, place, between, K, b, start, b_stride, M, out, to):
    """Compute out (M,) = init + b (M, K) a (K,), each from its place on; see `dot_products`."""
    setting = flush_denormals()
    dot_products(target, init, at(a, place), between, K, at(b, start), b_stride, M, at(out, to))
    restore_denormals(setting)


@jit
def column_sums(target, a, column, count, stride, S, out):
    """Add a[s * stride + column + c] to out[c] for S rows s, the last one first."""
    for s in range(S - 1, -1, -1):
        add(target, at(a, s * stride + column), at(out, 0), count)


@jit
def transpose_columns(target, a, column, count, stride, first, step, K, out):
    """Compute out (count, K) = the transpose of `count` columns of a, from `column` on.

    They are columns of K rows: first, first + step, and so on.
    """
    for k in range(0, K, lanes(target)):
        source, some = at(a, (first + step * k) * stride + column), min(lanes(target), K - k)
        transpose(target, source, step * stride, some, count, at(out, k), K)


@jit
def outer(
    target, a, column, M, stride, S, step, b, place, b_stride, D, rows, piece, out, to, out_stride
):
    """Add to out (M, D) the sum over S rows s of a[s, column:column + M]' b[rows[s]].

    Each element is one chain of additions in the order of s, the last one first if `step` is -1
    and not 1. a: rows of `stride` numbers. b: rows of D numbers, a b_stride apart, the first at
    `place`; an empty `rows` means b[s]. piece: see `tile.Cut`. out: like b, the first at `to`.
    """
    setting = flush_denormals()
    most = min(S, ROWS_AT_ONCE)
    transposed = aligned(np.empty(min(M, COLUMNS_AT_ONCE) * most + LINE, a.dtype))
    panels = aligned(np.zeros(padded(target, D) * most + LINE, a.dtype))
    for done in range(0, S, ROWS_AT_ONCE):
        K, first = min(ROWS_AT_ONCE, S - done), done if step > 0 else S - 1 - done
        pack_rows(target, b, place, b_stride, D, rows, first, step, K, panels, K)
        for m in range(0, M, COLUMNS_AT_ONCE):
            count, sums = min(COLUMNS_AT_ONCE, M - m), at(out, to + m * out_stride)
            transpose_columns(target, a, column + m, count, stride, first, step, K, transposed)
            product_tiles(
                target, count, D, K, sums, out_stride, at(transposed, 0), K, at(panels, 0), piece,
                sums, out_stride,
            )  # fmt: skip
    restore_denormals(setting)


@jit
def weight_gradient(target, a, column, M, stride, S, b, D, rows, piece, out, sums):
    """Add `outer`, the last row first, and the column sums of a, the gradient of the bias."""
    outer(target, a, column, M, stride, S, -1, b, 0, D, D, rows, piece, out, 0, D)
    column_sums(target, a, column, M, stride, S, sums)


@jit
def add_rows(target, dW, E, ids, dy, first, last):
    """Add dy (S, E)[s] to dW (V, E)[ids[s]], the last s first; columns first to last."""
    for s in range(ids.size - 1, -1, -1):
        add(target, at(dy, s * E + first), at(dW, ids[s] * E + first), last - first)
