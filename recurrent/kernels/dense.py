"""Products without a cell: packed panels, out = a w, and the sum over rows a' b of weight gradients. All arrays flat."""

from __future__ import annotations

import numpy as np

from .jit import jit
from .tile import at, lanes, outer_tiles, product_tiles, strip_width, wide

ROWS_AT_ONCE = 384  # rows of a sum over rows that are packed together: their panels stay in the second-level cache


@jit
def padded(target, units):
    """Units rounded up to whole vectors."""
    return -(-units // lanes(target)) * lanes(target)


@jit
def pack_panels(target, w, first, K, k_stride, M, m_stride, panels):
    """Panels (M / width, K, width) of the matrix w[first + k * k_stride + m * m_stride]; missing columns are zero.

    The width is that of a wide tile as long as whole ones fit, then one vector.
    """
    m = 0
    while m < M:
        width = wide(target, 1) if padded(target, M) - m >= wide(target, 1) else lanes(target)
        for block in range(0, K, 16):  # small squares, because one of the two sides is strided
            for c in range(width):
                source, place = first + (m + c) * m_stride, m * K + c
                for k in range(block, min(block + 16, K)):
                    panels[place + k * width] = w[source + k * k_stride] if m + c < M else 0
        m += width


@jit
def product(target, a, column, stride, S, K, panels, M, bias, out):
    """out (S, M) = bias (M) + a[:, column:column + K] w, a in rows of `stride`; an empty bias adds to what is in out."""
    init, init_stride = (at(bias, 0), 0) if bias.size else (at(out, 0), M)
    product_tiles(target, S, M, K, init, init_stride, at(a, column), stride, at(panels, 0), at(out, 0))


@jit
def pack_strips(target, a, column, count, stride, first, K, strips):
    """a[first:first + K, column:column + count] in strips of `strip_width` columns, k-major."""
    width = strip_width(target)
    for m in range(0, count, width):
        for k in range(K):
            source, place = (first + k) * stride + column + m, m * K + k * width
            for c in range(min(width, count - m)):
                strips[place + c] = a[source + c]


@jit
def pack_rows(target, b, D, rows, first, K, panels):
    """b[rows[first:first + K]] (K, D) in panels; an empty `rows` stands for s itself."""
    d = 0
    while d < D:
        width = wide(target, 1) if padded(target, D) - d >= wide(target, 1) else lanes(target)
        count = min(width, D - d)
        for k in range(K):
            source = (rows[first + k] if rows.size else first + k) * D + d
            place = d * K + k * width
            for c in range(count):
                panels[place + c] = b[source + c]
            for c in range(count, width):
                panels[place + c] = 0
        d += width


@jit
def outer(target, a, column, M, stride, S, b, D, rows, out):
    """out (M, D) = sum over s of a[s, column:column + M]' b[rows[s]], each element one chain in the order of s.

    a: S rows of `stride` numbers. b: rows of D numbers; an empty `rows` stands for s itself.
    """
    width, most = strip_width(target), min(S, ROWS_AT_ONCE)
    strips = np.empty(-(-M // width) * width * most, a.dtype)
    panels = np.empty(padded(target, D) * most, a.dtype)
    for c in range(M * D):
        out[c] = 0
    for first in range(0, S, ROWS_AT_ONCE):
        K = min(ROWS_AT_ONCE, S - first)
        pack_strips(target, a, column, M, stride, first, K, strips)
        pack_rows(target, b, D, rows, first, K, panels)
        outer_tiles(target, M, D, K, at(strips, 0), at(panels, 0), at(out, 0))


@jit
def column_sums(a, column, count, stride, S, out):
    """out[c] = sum over rows s of a[s * stride + column + c], in the order of s."""
    for c in range(count):
        out[c] = 0
    for s in range(S):
        for c in range(count):
            out[c] += a[s * stride + column + c]


@jit
def add_rows(dW, ids, dy):
    """dW (V, E)[ids[s]] += dy (S, E)[s], in the order of rows."""
    for s in range(ids.size):
        for c in range(dW.shape[1]):
            dW[ids[s], c] += dy[s, c]
