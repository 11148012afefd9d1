"""Elementwise passes and reductions: optimiser rules, sums of squares, softmax cross-entropy.

`compiled` calls these loops for one thread's range of entries, blocks or rows; the vector code of a
pass comes from the intrinsics of `codegen.passes`. All arrays are flat; the shapes given are those
before flattening.
"""

from __future__ import annotations

import math

import numpy as np

from .codegen.passes import exponentials, largest, rule_entries, scale, sum_of_squares
from .codegen.tile import at
from .jit import jit


@jit
def apply_rule(target, numbers, arrays, first, last):
    """Apply the target's rule to entries first to last of its arrays."""
    rule_entries(target, numbers, arrays, first, last)


@jit
def block_squares(target, x, block, first, last, sums):
    """Compute sums[k] = the sum of squares of block k of x, for blocks first to last."""
    for k in range(first, last):
        sums[k] = sum_of_squares(target, at(x, k * block), min(block, x.size - k * block))


@jit
def softmax_rows(target, logits, V, ids, valid, count, first, last, dy, losses):
    """Compute losses (S,) and the gradient dy (S, V) of their sum / count, for rows first to last.

    An empty `valid` means that all rows are valid.
    """
    for s in range(first, last):
        row = at(dy, s * V)
        if valid.size and not valid[s]:
            for k in range(s * V, (s + 1) * V):
                dy[k] = 0
            losses[s] = 0
            continue
        high = largest(target, at(logits, s * V), V)
        total = exponentials(target, at(logits, s * V), high, row, V)
        chosen = s * V + ids[s]
        losses[s] = math.log(total) - np.float64(logits[chosen] - high)
        scale(target, dy.dtype.type(1 / (total * count)), row, V)
        dy[chosen] -= dy.dtype.type(1 / count)
