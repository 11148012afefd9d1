"""Attention for a range of sequences: batched products, and softmax over the valid entries.

`compiled` calls these loops for a thread's share of the N sequences. The shapes given are those
before flattening. A factor or a result need not be contiguous (see `Batch`): time-major arrays are
read and written where they are. Each element of a product is one chain of additions in the order
of the summed axis, as in `matmul`, so a sequence has the same bits alone and in any batch.

Each sequence has counts[n] entries on one axis, that of the memory's steps. What follows them is
not read.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .codegen.passes import exponentials, largest, scale
from .codegen.tile import at
from .jit import jit
from .matmul import (
    NO_ROWS,
    WHOLE,
    aligned,
    dots,
    few_rows,
    outer,
    pack_columns,
    pack_rows,
    padded,
    product,
    unpacked_product,
)
from .memory import LINE


class Batch(NamedTuple):
    """A matrix for each sequence, where it is in memory: rows of numbers that lie side by side."""

    numbers: np.ndarray  # flat: from the first number on
    between: int  # distance of two sequences
    stride: int  # distance of two rows


@jit
def rows_by_rows(target, first, last, a, S, K, b, counts, M, out):
    """Compute out (N, S, M) = a b', a (N, S, K), b (N, M, K); zeros from column counts[n] on."""
    zeros = np.zeros(M, out.numbers.dtype)
    panels = aligned(np.zeros((padded(target, M) * K if S > 1 else 0) + LINE, zeros.dtype))
    for n in range(first, last):
        M_n, left, right, to = counts[n], n * a.between, n * b.between, n * out.between
        if S == 1:
            dots(
                target, zeros[0], a.numbers, left, 1, K, b.numbers, right, b.stride, M_n,
                out.numbers, to,
            )  # fmt: skip
        else:
            pack_columns(target, b.numbers, right, b.stride, K, M_n, panels)
            product(
                target, S, a.numbers, left, a.stride, K, panels, M_n, zeros, WHOLE, out.numbers,
                to, out.stride,
            )  # fmt: skip
        for row in range(to, to + S * out.stride, out.stride):
            out.numbers[row + M_n : row + M] = 0


@jit
def rows_by_columns(target, first, last, a, S, K, b, counts, M, out):
    """Compute out (N, S, M) = a b, a (N, S, K), b (N, K, M), of the first counts[n] of K."""
    zeros, few = np.zeros(M, out.numbers.dtype), few_rows(target, S)
    panels = aligned(np.zeros((0 if few else padded(target, M) * K) + LINE, zeros.dtype))
    for n in range(first, last):
        K_n, left, right, to = counts[n], n * a.between, n * b.between, n * out.between
        if few:
            unpacked_product(
                target, S, a.numbers, left, a.stride, 1, K_n, b.numbers, right, b.stride, M, zeros,
                out.numbers, to, out.stride,
            )  # fmt: skip
        else:
            pack_rows(target, b.numbers, right, b.stride, M, NO_ROWS, 0, 1, K_n, panels, K_n)
            product(
                target, S, a.numbers, left, a.stride, K_n, panels, M, zeros, WHOLE, out.numbers,
                to, out.stride,
            )  # fmt: skip


@jit
def columns_by_columns(target, first, last, a, S, K, counts, b, M, out):
    """Compute out (N, K, M) = a' b, a (N, S, K), b (N, S, M); zeros from row counts[n] on."""
    zeros, few = np.zeros(M, out.numbers.dtype), few_rows(target, S)
    for n in range(first, last):
        K_n, left, right, to = counts[n], n * a.between, n * b.between, n * out.between
        for k in range(K_n if few else 0, K):
            out.numbers[to + k * out.stride : to + k * out.stride + M] = 0
        if few:  # the rows of b stay in the cache
            unpacked_product(
                target, K_n, a.numbers, left, 1, a.stride, S, b.numbers, right, b.stride, M, zeros,
                out.numbers, to, out.stride,
            )  # fmt: skip
        else:
            outer(
                target, a.numbers, left, K_n, a.stride, S, 1, b.numbers, right, b.stride, M,
                NO_ROWS, WHOLE, out.numbers, to, out.stride,
            )  # fmt: skip


@jit
def softmax(target, first, last, scores, S, M, valid):
    """Replace scores (N, S, M) by their softmax over the entries that are valid (N, M).

    The other entries become zeros, and so do all of a sequence without a valid entry.
    """
    for n in range(first, last):
        count = 0
        for m in range(M):
            count += valid[n * M + m]
        for row in range(n * S * M, (n + 1) * S * M, M):
            if not count:
                for m in range(M):
                    scores[row + m] = 0
                continue
            if count < M:
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
