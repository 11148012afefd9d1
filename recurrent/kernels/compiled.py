"""The backend of compiled kernels: from the functions of `kernels.Backend` to jitted loops.

A function here packs the weights, flattens the arrays, chooses how many threads share the work, and
calls a jitted function of `sequence`, `matmul`, `attention` or `elementwise` for each thread's
part. Those are loops around intrinsics of `codegen`, which write the machine code. See
`kernels.Backend` for the arguments of the public functions.
"""

from __future__ import annotations

from functools import cache, partial
from math import prod
from typing import NamedTuple

import numba
import numpy as np
from numba import types
from numpy.lib.stride_tricks import as_strided

from ..equations.cell import Cell
from ..equations.rules import Rule
from . import attention, blocking, elementwise, matmul, memory, reference, schedule, sequence
from . import chain as chained
from .codegen.target import Target, target
from .codegen.tile import pointer_to_weights
from .jit import address_of, launch
from .matmul import NO_ROWS
from .packing import (
    RULE_ENTRY,
    Packed,
    as_stored,
    equations,
    flat,
    pack_products,
    packed_sizes,
    padded,
    per_unit_parameters,
    planes,
    product_sizes,
    sums_of_pieces,
    units,
    with_masks,
)
from .quantized import Quantized, with_scales
from .reference import Scratch
from .threads import parts_of, split, split_steps, worth_a_thread

DTYPES = ("float32", "float64")

# Cost of an entry of an elementwise pass, in floating-point operations of a product.
SOFTMAX_ENTRY, SQUARE_ENTRY, ADDED_ENTRY = 40.0, 8.0, 16.0


def scratch(cell: Cell, sizes, S: int, N: int, known: int, looked_up: bool, dtype) -> Scratch:
    """Return the memory that the functions of a cell allocate at the same time."""
    (D, H, P), t = sizes, target(dtype, cell)
    panels, width = packed_sizes(cell, t, *sizes)
    init, passes = 0, [(D + P, N)]  # features and rows of the products
    if _projects(t, S, N, looked_up):
        init, passes = known * width, [(D, known), (P, N)]
    init += max(sums_of_pieces(cell, t, K, rows)[1] for K, rows in passes)
    x_rows = sum(a.x for a in cell.accumulators) * H
    h_rows = len(cell.h_gates) * H
    gradients = max(
        padded(t, D) * x_rows + D,
        _outer_size(t, x_rows, D, known),
        _outer_size(t, h_rows, P, S),
    )
    for e in cell.products:  # panels, and a copy of the vector that was multiplied
        M, K = (P, H) if e.op == "projection" else (H, P)
        gradients = max(gradients, S * K + _outer_size(t, M, K, S))
    workspace = planes(cell, schedule.forward) * N * H
    back = planes(cell, schedule.backward) * N * H
    back += padded(t, P) * h_rows + product_sizes(cell, t, H, P, schedule.backward)
    numbers = (panels + width + init + workspace, back, gradients)
    return Scratch(*(dtype.itemsize * n for n in numbers))


def linear_scratch(M: int, K: int, S: int, dtype) -> tuple[int, int]:
    """Return the memory of packed weights, and what `linear_backward` allocates."""
    t = target(dtype)
    weights, backward = padded(t, M) * K + M, max(padded(t, K) * M + K, _outer_size(t, M, K, S))
    return dtype.itemsize * weights, dtype.itemsize * backward


def _projects(t, S, N, looked_up) -> bool:
    """Return whether the x part of all time steps is computed before the first one."""
    return looked_up or min(t.tall, S) > N


def _outer_size(t, M, D, S) -> int:
    """Return how many numbers `matmul.outer` allocates in all threads for (M, D)."""
    parts = max(parts_of(2.0 * S * M * D, M), 1)
    columns = min(-(-M // parts), matmul.COLUMNS_AT_ONCE)
    return parts * min(S, matmul.ROWS_AT_ONCE) * (padded(t, D) + columns)


pack_forward = Packed


def forward(cell: Cell, x, ids, offsets, weights: Packed, h, states, saved, masks=None) -> None:
    """Run all time steps."""
    w, t, S, V = weights.weights, weights.target, int(offsets[-1]), len(x)
    H, N = w.H, len(h) - S
    if masks is not None:
        w = w._replace(parameters=with_masks(w.parameters, masks))
    x, sums, stride = flat(x), w.bias, 0
    if _projects(t, S, N, ids.size > 0):
        stride = weights.width
        sums = memory.empty((V * stride,), x.dtype)

        def project(first, last):
            piece, work = weights.cut(w.D, last - first)
            cut = blocking.reading(t, piece)
            launch(sequence.project, cut, first, last, x, w, piece, work, sums, stride)

        split(2.0 * V * w.D * weights.width, V, project)

    initial = sequence.InitialSums(sums, stride, ids)
    history = sequence.History(
        flat(h), flat(states), states.shape[1] * H, flat(saved), saved.shape[1] * H
    )
    work = weights.work(N) if weights.planes else w.bias

    def run(share):
        piece, sums = weights.cut(w.P if stride else w.D + w.P, share.last - share.first)
        cut = blocking.reading(t, piece)
        launch(sequence.forward, cut, share, x, offsets, w, piece, sums, initial, history, work)

    flops = S * (2.0 * weights.width * (w.P if stride else w.D + w.P) + weights.equations * H)
    steps, grain = len(offsets) - 1, _grain(t, 1 if cell.cross_unit_ops else len(cell.accumulators))
    split_steps(
        flops, steps, N, t.tall, H, grain, run, lambda: _lengths(offsets, N),
        lambda: blocking.exceed_second_cache(w.panels),
    )  # fmt: skip


def _grain(t, accumulators: int) -> int:
    """Return how many neighbouring units stay in one thread: those of a register tile."""
    return t.lanes * t.blocks(accumulators)


def step(cell: Cell, weights: Packed, x, h, states, now: int, y) -> None:
    """Run one time step."""
    panels, bias, p, D, P, H = weights.weights
    N = len(y)
    if not worth_a_thread(2.0 * N * weights.width * (D + P)):
        t, work = weights.target, weights.work(N) if weights.planes else bias
        _step(t)(t, N, x, D, panels, bias, p, h, P, H, states, now, y, work)
        return
    history, new = np.concatenate([h[now], y]), states[1 - now]
    new[:] = states[now]
    forward(cell, x, NO_ROWS, np.array([0, N]), weights, history, new, np.empty((0, 0), x.dtype))
    h[1 - now] = y[:] = history[N:]


@cache
def _step(t):
    """Return `sequence.step` for arrays of the target's dtype.

    Numba's dispatch by the types of the arguments would take as long as the step itself.
    """
    number = types.int64
    one, two, three, four = (
        types.Array(numba.from_dtype(t.dtype), axes, "C") for axes in (1, 2, 3, 4)
    )
    panels = types.Array(pointer_to_weights(t).dtype, 1, "C")
    weights = panels, one, one  # panels, bias and the parameters of each unit
    sizes = number, number
    return sequence.step.compile(
        (numba.typeof(t), number, two, number, *weights, three, *sizes, four, number, two, one)
    )


def chain(links, N: int, axes: int):
    """Return one time step of several layers as a function (x, now, y)."""
    program = np.zeros((len(links), chained.FIELDS), np.int64)
    kept = [program]  # what the program has the addresses of
    for row, (weights, *others) in zip(program, links, strict=True):
        if isinstance(weights, Packed):
            w, t, (h, states) = weights.weights, weights.target, others
            kernel, width, flops = chained.recurrent_step, w.P, weights.width * (w.D + w.P)
            work = weights.work(N) if weights.planes else w.bias
            arrays = w.panels, w.bias, w.parameters, h, states
            fields = N, w.D, w.P, w.H, *map(_address, arrays), states.shape[1], _address(work)
            kept += [*arrays, work]
        elif isinstance(weights, Rule):
            width, dtype = others
            kernel, t, flops = chained.rule_step, target(dtype, weights), RULE_ENTRY * width / 2
            fields = (N * width,)
        else:
            panels, bias, t, K = weights
            kernel, width, flops = chained.linear_step, bias.size, K * bias.size
            fields = N, K, bias.size, _address(panels), _address(bias)
            kept += [panels, bias]
        if worth_a_thread(2.0 * N * flops):
            return None
        out = memory.empty((N, width), t.dtype)
        kept.append(out)
        fields = _step_address(kernel, t), _address(out), *fields
        row[: len(fields)] = fields
    return _Chain(_chain(t.dtype, axes), program, kept)


class _Chain(partial):
    """A chain of steps as a function (x, now, y), which keeps the arrays that it writes to."""

    kept: list[np.ndarray]

    def __new__(cls, entry, program, kept):
        found = super().__new__(cls, entry, program, len(program))
        found.kept = kept
        return found


def _address(a) -> int:
    return a.__array_interface__["data"][0]


@cache
def _step_address(kernel, t) -> int:
    """Return the address of a step of `chain`, compiled for a target."""
    return address_of(kernel, (numba.typeof(t), *[types.int64] * 4))


@cache
def _chain(dtype, axes: int):
    """Return `chain.run` for arrays x and y of a dtype, with 1 or 2 axes."""
    number, array = types.int64, types.Array(numba.from_dtype(dtype), axes, "C")
    return chained.run.compile((types.Array(number, 2, "C"), number, array, number, array))


def _lengths(offsets, N: int) -> np.ndarray | None:
    """Return the length (N,) of each sequence, the longest first; None if all are equal."""
    if offsets[-1] == (len(offsets) - 1) * N:
        return None
    return np.searchsorted(-np.diff(offsets), -np.arange(N), side="left")


def pack_backward(cell: Cell, params):
    """Return the target and the packed weights."""
    W_hh, H = params.W_hh, units(cell, params)
    t, (rows, P) = target(W_hh.dtype, cell), W_hh.shape
    size = padded(t, P) * rows
    more = product_sizes(cell, t, H, P, schedule.backward)
    panels = memory.panels(size + more, W_hh.dtype, more or P % t.lanes)
    plain = target(W_hh.dtype)
    matmul.pack_rows(plain, flat(W_hh), 0, P, P, NO_ROWS, 0, 1, rows, panels[:size], rows)
    if cell.cross_unit_ops:  # whose biases are zeros
        pack_products(cell, t, params, H, P, schedule.backward, panels[size:])
    return t, sequence.BackwardWeights(panels, per_unit_parameters(cell, params), P, H)


def backward(
    cell: Cell, dy, offsets, weights, h, states, saved, carry, da, dp, state_gradients, masks=None
) -> None:
    """Run back-propagation through time."""
    (t, w), S = weights, len(dy)
    if masks is not None:
        w = w._replace(parameters=with_masks(w.parameters, masks))
    H, N = w.H, len(h) - S
    padded_carry = carry
    if H % t.lanes:  # whole vectors throughout: storing a part of one is slow
        padded_carry = memory.zeros((*carry.shape[:2], padded(t, H)), carry.dtype)
        padded_carry[..., :H] = carry
    history = sequence.History(
        flat(h), flat(states), states.shape[1] * H, flat(saved), saved.shape[1] * H
    )
    gradients = sequence.Gradients(
        flat(padded_carry), flat(da), da.shape[1] * H, flat(dp), dp.shape[1] * H,
        flat(state_gradients),
    )  # fmt: skip
    dy, work = flat(dy), memory.empty((planes(cell, schedule.backward) * N * H,), dy.dtype)
    rows = len(cell.h_gates) * H

    def run(share):
        piece = blocking.piece(t, t.blocks(1), rows, share.last - share.first)
        cut = blocking.reading(t, piece)
        launch(sequence.backward, cut, share, dy, offsets, w, piece, history, gradients, work)

    flops = 2.0 * S * w.P * len(cell.h_gates) * H + 2 * equations(cell) * S * H
    steps = len(offsets) - 1
    split_steps(
        flops, steps, N, t.tall, H, _grain(t, 1), run, lambda: _lengths(offsets, N),
        lambda: blocking.exceed_second_cache(w.panels),
    )  # fmt: skip
    if padded_carry is not carry:
        carry[...] = padded_carry[..., :H]


def _product(t, a, column, K, panels, M, bias, out) -> None:
    """Compute out (S, M) = bias + a (S, ...)[:, column:column + K] w, w (K, M) in panels."""
    S, stride = len(a), prod(a.shape[1:])
    a, out = flat(a), flat(out)

    def run(first, last):
        rows, place = last - first, first * stride + column
        piece = blocking.piece(t, t.blocks(1), K, rows)
        cut, to = blocking.reading(t, piece), first * M
        matmul.product(cut, rows, a, place, stride, K, panels, M, bias, piece, out, to, M)

    split(2.0 * S * K * M, S, run)


def _outer(a, column, M, b, rows, out, sums) -> None:
    """Add a' b to out (M, D), and the column sums of a to sums (M,), for M columns of a."""
    S, stride, D, t = len(a), prod(a.shape[1:]), b.shape[1], target(a.dtype)
    a, b, out = flat(a), flat(b), flat(out)

    def run(first, last):
        here, piece = out[first * D : last * D], blocking.piece(t, t.blocks(1), S, last - first)
        cut = blocking.reading(t, piece)
        matmul.weight_gradient(
            cut,
            a,
            column + first,
            last - first,
            stride,
            S,
            b,
            D,
            rows,
            piece,
            here,
            sums[first:last],
        )

    split(2.0 * S * M * D, M, run)


def _times(dy, W, out) -> None:
    """Compute out (S, K) = the first M columns of dy (S, ...) times W (M, K)."""
    S, (M, K), t, zeros = len(dy), W.shape, target(W.dtype), np.zeros(W.shape[1], W.dtype)
    if matmul.few_rows(t, S):
        dy, W, out, stride = flat(dy), flat(W), flat(out), prod(dy.shape[1:])
        matmul.unpacked_product(t, S, dy, 0, stride, 1, M, W, 0, K, K, zeros, out, 0, K)
        return
    panels = memory.panels(padded(t, K) * M, W.dtype, K % t.lanes)
    matmul.pack_rows(t, flat(W), 0, K, K, NO_ROWS, 0, 1, M, panels, M)
    _product(t, dy, 0, M, panels, K, zeros, out)


def gradient_of_input(cell: Cell, da, params, dx) -> None:
    """Compute the gradient with respect to x."""
    # Accumulators with an x part come first, in the order of W_ih's rows.
    _times(da, params[0], dx)


def gradient_of_weights(cell: Cell, da_x, x, da, dp, h, previous, vectors, dparams) -> None:
    """Add the gradients of all parameters."""
    t = target(x.dtype)
    H = da.shape[2]
    W_ih, W_hh, b_ih, b_hh = dparams[:4]
    W_hr, own = reference.split_params(cell, dparams)
    rows = ((cell.x_runs, da_x, x, NO_ROWS, W_ih, b_ih), (cell.h_runs, da, h, previous, W_hh, b_hh))
    for runs, a, b, index, dW, db in rows:
        for run in runs:
            block = slice(run.gate * H, (run.gate + run.count) * H)
            _outer(a, run.accumulator * H, run.count * H, b, index, dW[block], db[block])
    for k, (e, vector) in enumerate(
        zip(cell.products, vectors, strict=True), len(cell.accumulators)
    ):
        if e.op == "projection":
            dW, db = W_hr, np.zeros(len(W_hr), W_hr.dtype)
        else:
            block = slice(cell.h_gates.index(e.name) * H, (cell.h_gates.index(e.name) + 1) * H)
            dW, db = W_hh[block], b_hh[block]
        _outer(da, k * H, len(dW), np.ascontiguousarray(vector[:, : dW.shape[1]]), NO_ROWS, dW, db)
    N, width, flat_dp = len(dp), dp.shape[1] * H, flat(dp)
    for k, out in enumerate(own):
        matmul.column_sums(t, flat_dp, k * H, H, width, N, out)


class PackedLinear(NamedTuple):
    """A copy of the weights of an affine map."""

    panels: np.ndarray
    bias: np.ndarray
    target: Target
    K: int


def pack_linear(W, b):
    """Return a copy of the weights: panels of W and the biases."""
    (M, K), plain = W.shape, target(W.dtype)
    t = plain
    if isinstance(W, Quantized):
        t, W = target(W.dtype, None, W.weights), with_scales(W)
    rows = K + t.scale_rows
    panels = memory.panels(padded(t, M) * rows, W.dtype, M % t.lanes)
    matmul.pack_columns(plain, flat(W), 0, rows, rows, M, panels)
    return PackedLinear(as_stored(t, panels) if t.weights else panels, b.copy(), t, K)


def linear(x, weights, y) -> None:
    """Compute y = x W' + b."""
    panels, b, t, K = weights
    if b.size == 1 and not t.weights:
        _one_column(t, x, K, panels, b[0], y)
    else:
        _product(t, x, 0, K, panels, b.size, b, y)


def _one_column(t, x, K, panels, b, y) -> None:
    """Compute y (S, 1) = x w' + b: the rows of x lie along the sums, so vectors hold rows of y."""
    x, y = flat(x), flat(y)

    def run(first, last):
        matmul.dots(t, b, panels, 0, t.lanes, K, x, first * K, K, last - first, y, first)

    split(2.0 * x.size, y.size, run)


def linear_backward(dy, x, W, dx, dW, db) -> None:
    """Compute the gradients of `linear`."""
    _outer(dy, 0, dy.shape[1], x, NO_ROWS, dW, db)
    if dx.size:
        _times(dy, W, dx)


def column_sums(a, out) -> None:
    """Add all rows of a to out; threads share the columns."""
    (S, K), t = a.shape, target(a.dtype)
    a = flat(a)

    def run(first, last):
        matmul.column_sums(t, a, first, last - first, K, S, out[first:last])

    split(ADDED_ENTRY * a.size, K, run)


def scatter_add(dW, ids, dy) -> None:
    """Add dy[s] to dW[ids[s]]; threads share the columns."""
    t, E = target(dW.dtype), dW.shape[1]
    dW, ids, dy = flat(dW), np.require(ids, np.int64, "CAW"), flat(dy)

    def run(first, last):
        matmul.add_rows(t, dW, E, ids, dy, first, last)

    split(ADDED_ENTRY * dy.size, E, run)


def _by_sequence(kernel, counts, flops: float, out, *factors) -> None:
    """Run a product of `attention` for each sequence; `flops`: of an entry of the counts."""
    t, N = target(out.dtype), len(out)
    factors = [_batch(f) if isinstance(f, np.ndarray) and f is not counts else f for f in factors]
    out = _batch(out)

    def run(first, last):
        launch(kernel, t, first, last, *factors, out)

    split(flops * counts.sum(), N, run, lambda: counts)


def _batch(a) -> attention.Batch:
    """Return where the rows of a (N, S, K) are; their numbers lie side by side."""
    if a.flags.c_contiguous:
        return attention.Batch(a.reshape(-1), a.shape[1] * a.shape[2], a.shape[2])
    between, stride, _ = (n // a.itemsize for n in a.strides)
    size = (a.shape[0] - 1) * between + (a.shape[1] - 1) * stride + a.shape[2]
    return attention.Batch(as_strided(a, (size,), (a.itemsize,)), between, stride)


def rows_by_rows(a, b, counts, out) -> None:
    """Compute out = a b' for each sequence, b of counts[n] rows."""
    (_, S, K), M = a.shape, b.shape[1]
    _by_sequence(attention.rows_by_rows, counts, 2.0 * S * K, out, a, S, K, b, counts, M)


def rows_by_columns(a, b, counts, out) -> None:
    """Compute out = a b for each sequence, b of counts[n] rows."""
    (_, S, K), M = a.shape, b.shape[2]
    _by_sequence(attention.rows_by_columns, counts, 2.0 * S * M, out, a, S, K, b, counts, M)


def columns_by_columns(a, b, counts, out) -> None:
    """Compute out = a' b for each sequence, a of counts[n] columns."""
    (_, S, K), M = a.shape, b.shape[2]
    _by_sequence(attention.columns_by_columns, counts, 2.0 * S * M, out, a, S, K, counts, b, M)


def softmax(scores, valid) -> None:
    """Replace each row by its softmax over the valid entries."""
    (N, S, M), t = scores.shape, target(scores.dtype)
    rows, valid = flat(scores), flat(valid)

    def run(first, last):
        attention.softmax(t, first, last, rows, S, M, valid)

    split(SOFTMAX_ENTRY * rows.size, N, run)


def softmax_backward(weights, d) -> None:
    """Replace the gradient with respect to the softmax by that with respect to the scores."""
    t, M = target(d.dtype), d.shape[-1]
    weights, d = flat(weights), flat(d)

    def run(first, last):
        attention.softmax_backward(t, first, last, weights, M, d)

    split(SQUARE_ENTRY * d.size, d.size // max(M, 1), run)


def apply_rule(rule: Rule, numbers, arrays, block: int) -> None:
    """Apply a rule to every entry of its arrays."""
    used = tuple(arrays[name] for name in rule.arrays)
    size, dtype = used[0].size, used[0].dtype
    scalars, t = np.array([numbers[name] for name in rule.numbers], dtype), target(dtype, rule)

    def run(first, last):
        elementwise.apply_rule(t, scalars, used, first * block, min(last * block, size))

    split(RULE_ENTRY * size, -(-size // block), run)


def sums_of_squares(x, block: int, sums) -> None:
    """Compute the sum of squares of each block of x."""
    t = target(x.dtype)

    def run(first, last):
        elementwise.block_squares(t, x, block, first, last, sums)

    split(SQUARE_ENTRY * x.size, len(sums), run)


def softmax_cross_entropy(logits, ids, valid, count: int, dy, losses) -> None:
    """Compute the loss of every row, and the gradient of the sum of losses over `count`."""
    t, (S, V) = target(logits.dtype), logits.shape
    logits, dy = flat(logits), flat(dy)

    def run(first, last):
        elementwise.softmax_rows(t, logits, V, ids, valid, count, first, last, dy, losses)

    split(SOFTMAX_ENTRY * logits.size, S, run)
