"""Products and softmax of attention, sequence by sequence: arrays (N, ...), flat, and a range of sequences to do.

Each element of a product is one chain in the order of what is summed over, as in `dense`; so a sequence's numbers are the
same alone and in any batch, and zeros at its end change no bit.
"""

from __future__ import annotations

import math

import numpy as np

from .codegen.passes import exponentials, largest, scale
from .codegen.tile import at
from .jit import jit
from .matmul import outer, pack_columns, pack_rows, padded, product

NO_ROWS = np.zeros(0, np.int64)


@jit
def rows_by_rows(target, first, last, a, S, K, b, M, out):
    """out (N, S, M) = a (N, S, K) b', b (N, M, K)."""
    panels, zeros = np.zeros(padded(target, M) * K, a.dtype), np.zeros(M, a.dtype)
    for n in range(first, last):
        pack_columns(target, b[n * M * K : (n + 1) * M * K], K, M, panels)
        rows = a[n * S * K : (n + 1) * S * K]
        product(target, 0, S, rows, 0, K, K, panels, M, zeros, out[n * S * M : (n + 1) * S * M])


@jit
def rows_by_columns(target, first, last, a, S, K, b, M, out):
    """out (N, S, M) = a (N, S, K) b, b (N, K, M)."""
    panels, zeros = np.zeros(padded(target, M) * K, a.dtype), np.zeros(M, a.dtype)
    for n in range(first, last):
        pack_rows(target, b[n * K * M : (n + 1) * K * M], M, NO_ROWS, 0, K, panels, K)
        rows = a[n * S * K : (n + 1) * S * K]
        product(target, 0, S, rows, 0, K, K, panels, M, zeros, out[n * S * M : (n + 1) * S * M])


@jit
def columns_by_columns(target, first, last, a, S, K, b, M, out):
    """out (N, K, M) = a' b, a (N, S, K), b (N, S, M)."""
    for n in range(first, last):
        rows, others = a[n * S * K : (n + 1) * S * K], b[n * S * M : (n + 1) * S * M]
        outer(target, rows, 0, K, K, S, others, M, NO_ROWS, out[n * K * M : (n + 1) * K * M])


@jit
def softmax(target, first, last, scores, S, M, valid):
    """scores (N, S, M) become softmax over the valid entries (N, M), zeros elsewhere; all zeros where none is valid."""
    for n in range(first, last):
        some = False
        for m in range(M):
            some |= valid[n * M + m]
        for row in range(n * S * M, (n + 1) * S * M, M):
            if not some:
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
    """d, rows of M, becomes the gradient of the scores from that of the weights; rows first to last."""
    for row in range(first * M, last * M, M):
        mean = 0.0
        for m in range(row, row + M):
            mean += np.float64(weights[m]) * np.float64(d[m])
        for m in range(row, row + M):
            d[m] = weights[m] * (d[m] - d.dtype.type(mean))
