"""The compiled kernels behind the functions of `plain`: the same names, arguments and results."""

from __future__ import annotations

from functools import cache
from math import prod
from typing import NamedTuple

import numba
import numpy as np
from numba import types

from ..equations.cell import Cell
from ..equations.rules import Rule
from . import attention, elementwise, matmul, reference, schedule, sequence
from .codegen.target import target
from .packing import (
    Packed,
    flat,
    pack_products,
    packed_sizes,
    padded,
    per_unit_parameters,
    planes,
    product_sizes,
    units,
    with_inputs,
)
from .threads import parts_of, split, split_steps, worth_a_thread

DTYPES = ("float32", "float64")

NO_ROWS = np.zeros(0, np.int64)

# What an entry of a pass costs, counted in the operations of a product that take as long.
RULE_ENTRY, SOFTMAX_ENTRY, SQUARE_ENTRY, ADDED_ENTRY = 40.0, 40.0, 8.0, 16.0


class Scratch(NamedTuple):
    """Bytes that the kernels of a cell take besides what they are given, at the same time at most."""

    forward: int  # packed weights, and the x part of pre-activations where it is made beforehand
    backward: int  # packed weights
    gradients: int  # afterwards: what the gradients of input and weights take


def scratch(cell: Cell, sizes, S: int, N: int, known: int, looked_up: bool, dtype) -> Scratch:
    """For S rows of N sequences, `known` of them different where they are looked up. `sizes`: (D, H, P)."""
    (D, H, W), t = sizes, target(dtype, cell)
    panels, width = packed_sizes(cell, t, *sizes)
    init = known * width if _projects(t, S, N, looked_up) else 0
    x_rows = sum(a.x for a in cell.accumulators) * H
    h_rows = len(cell.h_gates) * H
    gradients = max(
        padded(t, D) * x_rows + D, _outer_size(t, x_rows, D, known), _outer_size(t, h_rows, W, S)
    )
    for e in cell.products:  # with a copy of the vector that was multiplied
        M, K = (W, H) if e.op == "projection" else (H, W)
        gradients = max(gradients, S * K + _outer_size(t, M, K, S))
    ahead, back = (
        planes(cell, direction) * N * H for direction in (schedule.forward, schedule.backward)
    )
    back += padded(t, W) * h_rows + product_sizes(cell, t, H, W, schedule.backward)
    return Scratch(*(dtype.itemsize * n for n in (panels + width + init + ahead, back, gradients)))


def linear_scratch(M: int, K: int, S: int, dtype) -> tuple[int, int]:
    """Bytes that `linear` and its weights, and `linear_backward`, take besides what they are given."""
    t = target(dtype)
    return dtype.itemsize * (padded(t, M) * K + M), dtype.itemsize * max(
        padded(t, K) * M + K, _outer_size(t, M, K, S)
    )


def _projects(t, S, N, looked_up) -> bool:
    """Whether the x part is made for all steps beforehand."""
    return looked_up or min(t.tall, S) > N


def _outer_size(t, M, D, S) -> int:
    """Numbers that `dense.outer` takes in all threads for a sum (M, D) over S rows."""
    parts = max(parts_of(2.0 * S * M * D, M), 1)
    return (
        parts
        * min(S, matmul.ROWS_AT_ONCE)
        * (padded(t, D) + min(-(-M // parts), matmul.COLUMNS_AT_ONCE))
    )


pack_forward = Packed


def forward(cell: Cell, x, ids, offsets, weights: Packed, h, rest, saved, inputs=None) -> None:
    V, D, W, H, t = len(x), weights.D, weights.W, weights.H, weights.target
    init, stride = weights.bias, 0
    S = int(offsets[-1])
    N = len(h) - S
    p = with_inputs(weights.parameters, inputs)
    x, h, plane, saved_width = flat(x), flat(h), rest.shape[1] * H, saved.shape[1] * H
    rest, saved = flat(rest), flat(saved)
    if _projects(t, S, N, ids.size > 0):
        init, stride = np.empty(V * weights.width, x.dtype), weights.width

        def project(first, last):
            sequence.project(t, x, first, last, D, W, H, weights.panels, weights.bias, init, stride)

        split(2.0 * V * D * stride, V, project)

    work = weights.work(N)

    def run(first, last, j0, j1, parts, barrier):
        sequence.forward(
            t, first, last, j0, j1, parts, barrier, x, D, offsets, weights.panels, init, stride, ids, p, h,
            W, H, rest, plane, saved, saved_width, work,
        )  # fmt: skip

    flops, grain = (
        2.0 * S * weights.width * (W if stride else D + W),
        _grain(cell, t, len(cell.accumulators)),
    )
    split_steps(flops, len(offsets) - 1, N, t.tall, H, grain, run, lambda: _lengths(offsets, N))


def _grain(cell, t, accumulators) -> int:
    """Units that are not parted between threads: tiles of products within a step are as wide as any."""
    return t.lanes * t.blocks(1 if cell.cross_unit_ops else accumulators)


def step(cell: Cell, weights: Packed, x, h, rest, y) -> None:
    w, N = weights, len(y)
    if not worth_a_thread(2.0 * N * w.width * (w.D + w.W)):
        run = _step(w.target)
        return run(
            w.target, N, x, w.D, w.panels, w.bias, w.parameters, h, w.W, w.H, rest, y, w.work(N)
        )
    forward(cell, x, NO_ROWS, np.array([0, N]), w, h, rest, np.empty((0, 0), x.dtype))
    h[:N] = y[:] = h[N:]


@cache
def _step(t):
    """`sequence.step` for arrays of the target's numbers: choosing it by its arguments takes as long as running it."""
    number, one, two, three = (
        types.int64,
        *(types.Array(numba.from_dtype(t.dtype), axes, "C") for axes in (1, 2, 3)),
    )
    return sequence.step.compile(
        (numba.typeof(t), number, two, number, one, one, one, two, number, number, three, two, one)
    )  # fmt: skip


def _lengths(offsets, N: int) -> np.ndarray | None:
    """Steps of each sequence of a packed batch, the longest first; None where all are equal."""
    if offsets[-1] == (len(offsets) - 1) * N:
        return None
    return np.searchsorted(-np.diff(offsets), -np.arange(N), side="left")


def pack_backward(cell: Cell, params):
    W_hh, H = params.W_hh, units(cell, params)
    t, (rows, W) = target(W_hh.dtype, cell), W_hh.shape
    size = padded(t, W) * rows
    panels = np.zeros(size + product_sizes(cell, t, H, W, schedule.backward), W_hh.dtype)
    matmul.pack_rows(target(W_hh.dtype), flat(W_hh), W, NO_ROWS, 0, rows, panels[:size], rows)
    if cell.cross_unit_ops:
        pack_products(cell, t, params, H, W, schedule.backward, panels[size:])
    return t, panels, per_unit_parameters(cell, params)


def backward(
    cell: Cell, dy, offsets, weights, h, rest, saved, carry, da, dp, total, inputs=None
) -> None:
    t, panels, parameters = weights
    p = with_inputs(parameters, inputs)
    (S, W), H = dy.shape, da.shape[2]
    N, plane, saved_width, width, dp_width = (
        len(h) - S,
        rest.shape[1] * H,
        *(a.shape[1] * H for a in (saved, da, dp)),
    )
    wide = carry
    if H % t.lanes:  # whole vectors throughout: a part of one is slow to store
        wide = np.zeros((*carry.shape[:2], padded(t, H)), carry.dtype)
        wide[..., :H] = carry
    dy, h, rest, saved, da, dp, total = (flat(a) for a in (dy, h, rest, saved, da, dp, total))
    work = np.empty(planes(cell, schedule.backward) * N * H, dy.dtype)

    def run(first, last, j0, j1, parts, barrier):
        sequence.backward(
            t, first, last, j0, j1, parts, barrier, dy, offsets, panels, p, h, W, H, rest, plane, saved, saved_width,
            flat(wide), da, width, dp, dp_width, total, work,
        )  # fmt: skip

    flops, grain = 2.0 * S * W * len(cell.h_gates) * H, t.lanes * t.blocks(1)
    split_steps(flops, len(offsets) - 1, N, t.tall, H, grain, run, lambda: _lengths(offsets, N))
    if wide is not carry:
        carry[...] = wide[..., :H]


def _panels(W) -> np.ndarray:
    """W (M, K) as the right side of a product over M."""
    t = target(W.dtype)
    M, K = W.shape
    panels = np.zeros(padded(t, K) * M, W.dtype)
    matmul.pack_rows(t, flat(W), K, NO_ROWS, 0, M, panels, M)
    return panels


def _product(a, column, K, panels, M, bias, out) -> None:
    """out (S, M) = bias + a (S, ...)[:, column:column + K] w."""
    S, stride, t = len(a), prod(a.shape[1:]), target(a.dtype)
    a, out = flat(a), flat(out)

    def run(first, last):
        matmul.product(t, first, last, a, column, stride, K, panels, M, bias, out)

    split(2.0 * S * K * M, S, run)


def _outer(a, column, M, b, rows, out, sums) -> None:
    """out (M, D) = sum over rows of a (S, ...)[:, column:column + M]' b (S, D), and the sums (M,) of those columns of a."""
    S, stride, D, t = len(a), prod(a.shape[1:]), b.shape[1], target(a.dtype)
    a, b, out = flat(a), flat(b), flat(out)

    def run(first, last):
        here = out[first * D : last * D]
        matmul.weight_gradient(
            t, a, column + first, last - first, stride, S, b, D, rows, here, sums[first:last]
        )

    split(2.0 * S * M * D, M, run)


def _through(dy, W, out) -> None:
    """out (S, K) = the first M columns of dy (S, ...) times W (M, K)."""
    M, K = W.shape
    _product(dy, 0, M, _panels(W), K, np.zeros(K, W.dtype), out)


def gradient_of_input(cell: Cell, da, params, dx) -> None:
    _through(
        da, params[0], dx
    )  # accumulators with an x part come first, in the order of W_ih's rows


def gradient_of_weights(cell: Cell, da_x, x, da, dp, h, previous, vectors, dparams) -> None:
    t = target(x.dtype)
    H = da.shape[2]
    W_ih, W_hh, b_ih, b_hh = dparams[:4]
    W_hr, own = reference.split_params(cell, dparams)
    rows = ((cell.x_runs, da_x, x, NO_ROWS, W_ih, b_ih), (cell.h_runs, da, h, previous, W_hh, b_hh))
    for runs, a, b, index, dW, db in rows:
        for run in runs:
            block, column, M = (
                slice(run.gate * H, (run.gate + run.count) * H),
                run.accumulator * H,
                run.count * H,
            )
            _outer(a, column, M, b, index, dW[block], db[block])
    for k, (e, vector) in enumerate(
        zip(cell.products, vectors, strict=True), len(cell.accumulators)
    ):
        if e.op == "projection":
            dW, db = W_hr, np.empty(len(W_hr), W_hr.dtype)
        else:
            block = slice(cell.h_gates.index(e.name) * H, (cell.h_gates.index(e.name) + 1) * H)
            dW, db = W_hh[block], b_hh[block]
        _outer(da, k * H, len(dW), np.ascontiguousarray(vector[:, : dW.shape[1]]), NO_ROWS, dW, db)
    N, P, _ = dp.shape
    for k, total in enumerate(own):
        matmul.column_sums(t, flat(dp), k * H, H, P * H, N, total)


def pack_linear(W, b):
    t = target(W.dtype)
    M, K = W.shape
    panels = np.zeros(padded(t, M) * K, W.dtype)
    matmul.pack_columns(t, flat(W), K, M, panels)
    return panels, b.copy()


def linear(x, weights, y) -> None:
    panels, b = weights
    _product(x, 0, x.shape[1], panels, b.size, b, y)


def linear_backward(dy, x, W, dx, dW, db) -> None:
    _outer(dy, 0, dy.shape[1], x, NO_ROWS, dW, db)
    if dx.size:
        _through(dy, W, dx)


def scatter_add(dW, ids, dy) -> None:
    t, E = target(dW.dtype), dW.shape[1]
    dW, ids, dy = flat(dW), np.require(ids, np.int64, "CAW"), flat(dy)

    def run(first, last):
        matmul.add_rows(t, dW, E, ids, dy, first, last)

    split(ADDED_ENTRY * dy.size, E, run)


def _by_sequence(kernel, a, b, M, flops: float, out) -> None:
    """A product of `batched` for every sequence: a (N, S, K), b (N, ..., ...), M columns of the result."""
    (N, S, K), t = a.shape, target(a.dtype)
    a, b, out = flat(a), flat(b), flat(out)
    split(flops, N, lambda first, last: kernel(t, first, last, a, S, K, b, M, out))


def rows_by_rows(a, b, out) -> None:
    if (
        a.shape[1] == 1
    ):  # a column, made of the rows of b as they lie: nothing of them is to be packed
        a, b = b, a
    _by_sequence(attention.rows_by_rows, a, b, b.shape[1], 2.0 * a.size * b.shape[1], out)


def rows_by_columns(a, b, out) -> None:
    _by_sequence(attention.rows_by_columns, a, b, b.shape[2], 2.0 * a.size * b.shape[2], out)


def columns_by_columns(a, b, out) -> None:
    _by_sequence(attention.columns_by_columns, a, b, b.shape[2], 2.0 * a.size * b.shape[2], out)


def softmax(scores, valid) -> None:
    (N, S, M), t = scores.shape, target(scores.dtype)
    rows, valid = flat(scores), flat(valid)
    split(
        SOFTMAX_ENTRY * rows.size,
        N,
        lambda first, last: attention.softmax(t, first, last, rows, S, M, valid),
    )


def softmax_backward(weights, d) -> None:
    t, M = target(d.dtype), d.shape[-1]
    weights, d = flat(weights), flat(d)
    split(
        SQUARE_ENTRY * d.size,
        d.size // max(M, 1),
        lambda first, last: attention.softmax_backward(t, first, last, weights, M, d),
    )


def apply_rule(rule: Rule, numbers, arrays, block: int) -> None:
    used = tuple(arrays[name] for name in rule.arrays)
    size, dtype = used[0].size, used[0].dtype
    scalars, t = np.array([numbers[name] for name in rule.numbers], dtype), target(dtype, rule)

    def run(first, last):
        elementwise.apply_rule(t, scalars, used, first * block, min(last * block, size))

    split(RULE_ENTRY * size, -(-size // block), run)


def sums_of_squares(x, block: int, sums) -> None:
    t = target(x.dtype)

    def run(first, last):
        elementwise.block_squares(t, x, block, first, last, sums)

    split(SQUARE_ENTRY * x.size, len(sums), run)


def softmax_cross_entropy(logits, ids, valid, count: int, dy, losses) -> None:
    t, (S, V) = target(logits.dtype), logits.shape
    logits, dy = flat(logits), flat(dy)

    def run(first, last):
        elementwise.softmax_rows(t, logits, V, ids, valid, count, first, last, dy, losses)

    split(SOFTMAX_ENTRY * logits.size, S, run)
