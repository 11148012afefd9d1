"""Attention for a range of sequences: batched products, and softmax over the valid entries.

`compiled` calls these loops for a thread's share of the N sequences. All arrays are flat; the
shapes are those before flattening. Each element of a product is one chain of additions in the order
of the summed axis, as in `matmul`, so a sequence has the same bits alone and in any batch, and
zeros at its end change none.
"""

from __future__ import annotations

import math

import numpy as np

from .codegen.passes import exponentials, largest, scale
from .codegen.tile import at
from .jit import jit
from .matmul import NO_ROWS, WHOLE, aligned, outer, pack_columns, pack_rows, padded, product
from .memory import LINE


@jit
def rows_by_rows(target, first, last, a, S, K, b, M, out):
    """Compute out (N, S, M) = a b', a (N, S, K), b (N, M, K)."""
    panels = aligned(np.zeros(padded(target, M) * K + LINE, a.dtype))
    zeros = np.zeros(M, a.dtype)
    for n in range(first, last):
        pack_columns(target, b[n * M * K : (n + 1) * M * K], K, M, panels)
        rows = a[n * S * K : (n + 1) * S * K]
        y = out[n * S * M : (n + 1) * S * M]
        product(target, 0, S, rows, 0, K, K, panels, M, zeros, WHOLE, y)


@jit
def rows_by_columns(target, first, last, a, S, K, b, M, out):
    """Compute out (N, S, M) = a b, a (N, S, K), b (N, K, M)."""
    panels = aligned(np.zeros(padded(target, M) * K + LINE, a.dtype))
    zeros = np.zeros(M, a.dtype)
    for n in range(first, last):
        pack_rows(target, b[n * K * M : (n + 1) * K * M], M, NO_ROWS, 0, 1, K, panels, K)
        rows = a[n * S * K : (n + 1) * S * K]
        y = out[n * S * M : (n + 1) * S * M]
        product(target, 0, S, rows, 0, K, K, panels, M, zeros, WHOLE, y)


@jit
def columns_by_columns(target, first, last, a, S, K, b, M, out):
    """Compute out (N, K, M) = a' b, a (N, S, K), b (N, S, M)."""
    for n in range(first, last):
        left, right = a[n * S * K : (n + 1) * S * K], b[n * S * M : (n + 1) * S * M]
        sums = out[n * K * M : (n + 1) * K * M]
        for k in range(sums.size):
            sums[k] = 0
        outer(target, left, 0, K, K, S, 1, right, M, NO_ROWS, WHOLE, sums)


@jit
def softmax(target, first, last, scores, S, M, valid):
    """Replace scores (N, S, M) by their softmax over the entries that are valid (N, M).

    The other entries become zeros, and so do all of a sequence without a valid entry.
    """
    for n in range(first, last):
        any_valid = False
        for m in range(M):
            any_valid |= valid[n * M + m]
        for row in range(n * S * M, (n + 1) * S * M, M):
            if not any_valid:
                for m in range(M):
                    scores[row + m] = 0
                continue
            for m in range(M):
                if not valid[n * M + m]:
                    scores[row + m] = -math.inf
            place = at(scores, row)
            total = exponentials(target, place, largest(target, place, M), place, M)
            scale(target, scores.dtype.type(1 / total), place, M)


@jit
def softmax_backward(target, first, last, weights, M, d):
    """Replace d, the gradient with respect to the weights, by that with respect to the scores.

    Both have rows of M numbers; rows first to last.
    """
    for row in range(first * M, last * M, M):
        mean = 0.0
        for m in range(row, row + M):
            mean += np.float64(weights[m]) * np.float64(d[m])
        for m in range(row, row + M):
            d[m] = weights[m] * (d[m] - d.dtype.type(mean))
