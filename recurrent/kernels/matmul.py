"""Products without a cell: packed panels, out = a w, and the sum over rows a' b of weight gradients. All arrays flat."""

from __future__ import annotations

import numpy as np

from .codegen.copy import add, copy, transpose
from .codegen.denormals import flush_denormals, restore_denormals
from .codegen.tile import at, lanes, product_tiles, wide
from .jit import jit

# Rows of a product that go past all panels before the next do: they stay in the second-level cache meanwhile.
PRODUCT_ROWS = 96

# What a sum over rows takes at a time: long chains, because each begins and ends in memory, and whole tiles of columns.
ROWS_AT_ONCE, COLUMNS_AT_ONCE = 576, 96


@jit
def padded(target, units):
    """Units rounded up to whole vectors."""
    return -(-units // lanes(target)) * lanes(target)


@jit
def pack_rows(target, w, D, rows, first, K, panels, panel_rows):
    """Rows first ... first + K of w (S, D), or those that `rows` lists, in panels (D / width, panel_rows, width).

    The width is that of a wide tile as long as whole ones fit, then one vector. Columns past D are left as they are.
    """
    d = 0
    while d < D:
        width = wide(target, 1) if padded(target, D) - d >= wide(target, 1) else lanes(target)
        for k in range(K):
            source = rows[first + k] if rows.size else first + k
            copy(
                target,
                at(w, source * D + d),
                at(panels, d * panel_rows + k * width),
                min(width, D - d),
            )
        d += width


@jit
def pack_columns(target, w, K, M, panels):
    """The transpose of w (M, K) in panels (M / width, K, width). Columns past M are left as they are."""
    m = 0
    while m < M:
        width = wide(target, 1) if padded(target, M) - m >= wide(target, 1) else lanes(target)
        for c in range(0, min(width, M - m), lanes(target)):
            rows = min(lanes(target), M - m - c)
            transpose(target, at(w, (m + c) * K), K, rows, K, at(panels, m * K + c), width)
        m += width


@jit
def product(target, first, last, a, column, stride, K, panels, M, bias, out):
    """Rows first to last of out (S, M) = bias (M) + a[:, column:column + K] w, a in rows of `stride`."""
    setting = flush_denormals()
    for row in range(first, last, PRODUCT_ROWS):
        count, start = min(PRODUCT_ROWS, last - row), at(a, row * stride + column)
        product_tiles(
            target, count, M, K, at(bias, 0), 0, start, stride, at(panels, 0), at(out, row * M)
        )
    restore_denormals(setting)


@jit
def column_sums(target, a, column, count, stride, S, out):
    """out[c] = sum over rows s of a[s * stride + column + c], in the order of s."""
    for c in range(count):
        out[c] = 0
    for s in range(S):
        add(target, at(a, s * stride + column), at(out, 0), count)


@jit
def turn_columns(target, a, column, count, stride, first, K, turned):
    """turned (count, K) = the transpose of a[first:first + K, column:column + count], a in rows of `stride`."""
    for k in range(0, K, lanes(target)):
        source = at(a, (first + k) * stride + column)
        transpose(target, source, stride, min(lanes(target), K - k), count, at(turned, k), K)


@jit
def outer(target, a, column, M, stride, S, b, D, rows, out):
    """out (M, D) = sum over s of a[s, column:column + M]' b[rows[s]], each element one chain in the order of s.

    a: S rows of `stride` numbers. b: rows of D numbers; an empty `rows` stands for s itself.
    """
    setting = flush_denormals()
    most = min(S, ROWS_AT_ONCE)
    turned = np.empty(min(M, COLUMNS_AT_ONCE) * most, a.dtype)
    panels = np.zeros(padded(target, D) * most, a.dtype)
    for c in range(M * D):
        out[c] = 0
    for first in range(0, S, ROWS_AT_ONCE):
        K = min(ROWS_AT_ONCE, S - first)
        pack_rows(target, b, D, rows, first, K, panels, K)
        for m in range(0, M, COLUMNS_AT_ONCE):
            count = min(COLUMNS_AT_ONCE, M - m)
            turn_columns(target, a, column + m, count, stride, first, K, turned)
            product_tiles(
                target,
                count,
                D,
                K,
                at(out, m * D),
                D,
                at(turned, 0),
                K,
                at(panels, 0),
                at(out, m * D),
            )
    restore_denormals(setting)


@jit
def weight_gradient(target, a, column, M, stride, S, b, D, rows, out, sums):
    """`outer`, and in sums (M,) those of the columns of a: the gradient of the bias."""
    outer(target, a, column, M, stride, S, b, D, rows, out)
    column_sums(target, a, column, M, stride, S, sums)


@jit
def add_rows(target, dW, E, ids, dy, first, last):
    """dW (V, E)[ids[s]] += dy (S, E)[s], in the order of rows; columns first to last of it."""
    for s in range(ids.size):
        add(target, at(dy, s * E + first), at(dW, ids[s] * E + first), last - first)
