"""The backend in plain NumPy: runs with NUMBA_DISABLE_JIT=1, and is the reference of the tests.

It evaluates a cell's expressions node by node instead of compiling them. Every element of a product
is one chain of additions in the order of k, as in the compiled kernels, so a row's bits do not
depend on the other rows of the batch. It also takes complex numbers, for gradients by complex step.
See `kernels.Backend` for the arguments of the public functions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..equations.cell import Cell
from ..equations.expressions import evaluate
from ..equations.rules import Rule
from .quantized import Quantized, dequantized

DTYPES = ("float32", "float64", "complex128")


class Scratch(NamedTuple):
    """Memory that the functions of a cell allocate at the same time, in bytes."""

    forward: int  # packed weights, workspace of a step, and the x part of pre-activations
    backward: int  # packed weights and workspace of a step
    gradients: int  # the gradients of input and weights, computed after `backward`


def product(a: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
    """Add a (S, K) @ w (K, M) to out (S, M), in the order of k."""
    for k in range(w.shape[0]):
        out += a[:, k, None] * w[k]


class Weights:
    """A copy of a cell's weights, and the products of a step with them."""

    def __init__(self, cell: Cell, params):
        self.cell, self.params = cell, type(params)(*[p.copy() for p in dequantized(params)])
        self.W_ih, self.W_hh, self.b_ih, self.b_hh = self.params[:4]
        self.W_hr, self.parameters = split_params(cell, self.params)
        self.H = self.W_hr.shape[1]

    def add(
        self, a: np.ndarray, W: np.ndarray, gate: int, out: np.ndarray, back: bool = False
    ) -> None:
        """Add a W' to out (S, H), W (H, K) the rows of a gate; `back`: a W to out (S, K)."""
        W = W[gate * self.H : (gate + 1) * self.H]
        product(a, W if back else W.T, out)

    def accumulate(self, x, h) -> np.ndarray:
        """Return the accumulators (A, S, H) of x (S, D) and h (S, P): biases, then products."""
        H = self.H
        out = np.zeros((len(self.cell.accumulators), len(x), H), np.result_type(x, self.W_ih))
        for total, accumulator in zip(out, self.cell.accumulators, strict=True):
            i = self.cell.x_rows.index(accumulator.gate) if accumulator.x else None
            j = self.cell.h_gates.index(accumulator.gate) if accumulator.h else None
            biases = [
                b[k * H : (k + 1) * H] for b, k in ((self.b_ih, i), (self.b_hh, j)) if k is not None
            ]
            total += sum(biases[1:], biases[0])
            if i is not None:
                self.add(x, self.W_ih, i, total)
            if j is not None:
                self.add(h, self.W_hh, j, total)
        return out

    def products(self, e, vector) -> np.ndarray:
        """Return the value of a node that multiplies a vector by weights within a step."""
        W, i, back = self.W_hr, 0, e.op.endswith("_t")
        if e.name:
            W, i = self.W_hh, self.cell.h_gates.index(e.name)
        rows, columns = min(len(W), self.H), W.shape[1]
        out = np.zeros((len(vector), columns if back else rows), vector.dtype)
        if e.op == "product":
            out += self.b_hh[i * self.H : (i + 1) * self.H]
        self.add(vector, W, i, out, back)
        return out

    def flow(self, da, out) -> None:
        """Add to out (S, P) the gradient of h: da (S, C, H) times W_hh."""
        for run in self.cell.h_runs:
            for i in range(run.count):
                self.add(da[:, run.accumulator + i], self.W_hh, run.gate + i, out, back=True)


pack_forward = pack_backward = Weights


def split_params(cell: Cell, params) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return W_hr (P, H), no rows if the cell does not project, and the per-unit parameters."""
    W_hh = params[1]
    own = params[5:] if cell.has_projection else params[4:]
    return params[4] if cell.has_projection else W_hh[:0], list(own)


def _steps(offsets, N):
    """Yield slices for every time step: its packed rows, the states before it, the states after."""
    for t in range(len(offsets) - 1):
        first, last = int(offsets[t]), int(offsets[t + 1])
        before = N + int(offsets[t - 1]) if t else 0
        yield slice(first, last), slice(before, before + last - first), slice(N + first, N + last)


def forward(cell: Cell, x, ids, offsets, weights, h, states, saved, masks=None) -> None:
    """Run all time steps."""
    x = x[ids] if ids.size else x
    N = len(h) - len(x)
    in_place = states.shape[1] == N
    for now, before, after in _steps(offsets, N):
        count = after.stop - after.start
        old, new = (slice(0, count), slice(0, count)) if in_place and N else (before, after)
        a = weights.accumulate(x[now], h[before])
        known = {acc.input: a[k] for k, acc in enumerate(cell.accumulators)}
        known |= node_values(cell, cell.previous, [h[before], *states[:, old].copy()], h)
        per_unit = [*weights.parameters, *(() if masks is None else masks[now].swapaxes(0, 1))]
        known |= node_values(cell, cell.parameter_inputs, per_unit, h)
        saved_nodes = [e for _, e in cell.backward.saved] if saved.size else []
        values = evaluate([*cell.new, *saved_nodes], known, h.dtype, weights.products)
        h[after] = values[0]
        for k in range(len(states)):
            _put(states[k, new], values[1 + k])
        for k in range(len(saved_nodes)):
            _put(saved[now, k], values[len(cell.new) + k])


def node_values(cell, nodes, arrays, h):
    """Return arrays by node: the first P columns of one that is projected, else all H columns."""
    return {
        e: a[..., : h.shape[1]] if cell.projected_nodes.get(e) else a
        for e, a in zip(nodes, arrays, strict=True)
    }


def _put(rows, value):
    """Write a value to the columns that it has."""
    rows[:, : np.shape(value)[-1] if np.ndim(value) else None] = value


def step(cell: Cell, weights, x, h, states, now: int, y) -> None:
    """Run one time step."""
    N, no_rows = len(y), np.zeros(0, np.int64)
    saved = np.empty((0, 0, weights.H), y.dtype)
    history, new = np.concatenate([h[now], y]), states[1 - now]
    new[:] = states[now]
    forward(cell, x, no_rows, np.array([0, N]), weights, history, new, saved)
    h[1 - now] = y[:] = history[N:]


def chain(links, N: int, axes: int):
    """Return None: the caller runs the layers one after the other."""
    return None


def backward(
    cell: Cell, dy, offsets, weights, h, states, saved, carry, da, dp, state_gradients, masks=None
) -> None:
    """Run back-propagation through time."""
    b = cell.backward
    N, P = len(h) - len(dy), h.shape[1]
    later = 0
    for now, before, after in reversed(list(_steps(offsets, N))):
        count = now.stop - now.start
        if later:
            weights.flow(da[now.stop : now.stop + later], carry[0, :later, :P])
        later = count
        # A copy: the gradient of one state may be written where another's is still read.
        d = [
            a[:, :P] if projected else a
            for a, projected in zip(carry[:, :count].copy(), cell.projected_states, strict=True)
        ]
        d[cell.output] = d[cell.output] + dy[now]
        known = node_values(cell, [e for _, e in b.saved], saved[now].swapaxes(0, 1), h)
        known |= node_values(cell, cell.new, [h[after], *states[:, after]], h)
        known |= node_values(cell, cell.previous, [h[before], *states[:, before]], h)
        per_unit = [*weights.parameters, *(() if masks is None else masks[now].swapaxes(0, 1))]
        known |= node_values(cell, cell.parameter_inputs, per_unit, h)
        known |= dict(zip(b.d_new, d, strict=True))
        roots = [*b.d_accumulators, *b.d_products, *b.d_previous, *b.d_states, *b.d_parameters]
        values = evaluate(roots, known, h.dtype, weights.products)
        for k, value in enumerate(values[len(roots) - dp.shape[1] :]):
            dp[:count, k] += value
        for k in range(da.shape[1]):
            _put(da[now, k], values[k])
        for k in range(len(cell.states)):
            _put(carry[k, :count], values[da.shape[1] + k])
            if state_gradients.size:
                _put(state_gradients[k, now], values[da.shape[1] + len(cell.states) + k])
    if later:
        weights.flow(da[:later], carry[0, :later, :P])


def gradient_of_input(cell: Cell, da, params, dx) -> None:
    """Compute dx from the gradients with respect to the accumulators that have an x part."""
    dx[:] = 0
    x_accumulators = sum(a.x for a in cell.accumulators)
    product(da[:, :x_accumulators].reshape(len(da), x_accumulators * da.shape[2]), params[0], dx)


def gradient_of_weights(cell: Cell, da_x, x, da, dp, h, previous, vectors, dparams) -> None:
    """Add the gradients of all parameters."""
    W_ih, W_hh, b_ih, b_hh = dparams[:4]
    W_hr, own = split_params(cell, dparams)
    H = W_hr.shape[1]
    before = h[previous] if previous.size else h[: len(da)]
    for k, a in enumerate(cell.accumulators):
        if a.x:
            i = cell.x_rows.index(a.gate) * H
            gradient_of_matrix(da_x[:, k], x, W_ih[i : i + H], b_ih[i : i + H])
        if a.h:
            i = cell.h_gates.index(a.gate) * H
            gradient_of_matrix(da[:, k], before, W_hh[i : i + H], b_hh[i : i + H])
    for k, (e, vector) in enumerate(
        zip(cell.products, vectors, strict=True), len(cell.accumulators)
    ):
        if e.op == "projection":
            gradient_of_matrix(da[:, k, : len(W_hr)], vector, W_hr, np.zeros(len(W_hr), W_hr.dtype))
        else:
            i = cell.h_gates.index(e.name) * H
            gradient_of_matrix(
                da[:, k], vector[:, : W_hh.shape[1]], W_hh[i : i + H], b_hh[i : i + H]
            )
    for k, total in enumerate(own):
        column_sums(dp[:, k], total)


def gradient_of_matrix(dy, x, dW, db) -> None:
    """Add dy (S, M)' x (S, K) to dW (M, K), and the sum of dy to db (M,), the last row first."""
    for d, row in zip(dy[::-1], x[::-1], strict=True):
        dW += d[:, None] * row
        db += d


def scratch(cell: Cell, sizes, S: int, N: int, known: int, looked_up: bool, dtype) -> Scratch:
    """Return zeros: the memory plan does not count what NumPy allocates here."""
    return Scratch(0, 0, 0)


def linear_scratch(M: int, K: int, S: int, dtype) -> tuple[int, int]:
    """Return zeros, as `scratch` does."""
    return 0, 0


def pack_linear(W, b):
    """Return a copy of the weights."""
    return W.dequantized() if isinstance(W, Quantized) else W.copy(), b.copy()


def linear(x, weights, y) -> None:
    """Compute y = x W' + b."""
    W, b = weights
    y[:] = b
    product(x, W.T, y)


def linear_backward(dy, x, W, dx, dW, db) -> None:
    """Compute the gradients of `linear`."""
    gradient_of_matrix(dy, x, dW, db)
    if dx.size:
        dx[:] = 0
        product(dy, W, dx)


def column_sums(a, out) -> None:
    """Add all rows of a to out."""
    for row in a[::-1]:
        out += row


def scatter_add(dW, ids, dy) -> None:
    """Add dy[s] to dW[ids[s]]."""
    for i, d in zip(ids[::-1], dy[::-1], strict=True):
        dW[i] += d


def rows_by_rows(a, b, counts, out) -> None:
    """Compute out = a b' for each sequence, b of counts[n] rows."""
    out[:] = 0
    for x, y, n, z in zip(a, b, counts, out, strict=True):
        product(x, y[:n].T, z[:, :n])


def rows_by_columns(a, b, counts, out) -> None:
    """Compute out = a b for each sequence, b of counts[n] rows."""
    out[:] = 0
    for x, y, n, z in zip(a, b, counts, out, strict=True):
        product(x[:, :n], y[:n], z)


def columns_by_columns(a, b, counts, out) -> None:
    """Compute out = a' b for each sequence, a of counts[n] columns."""
    out[:] = 0
    for x, y, n, z in zip(a, b, counts, out, strict=True):
        product(x[:, :n].T, y, z[:n])


def softmax(scores, valid) -> None:
    """Replace each row by its softmax over the valid entries."""
    for rows, mask in zip(scores, valid, strict=True):
        rows[:, ~mask] = 0
        if mask.any():
            e = np.exp(rows[:, mask] - rows[:, mask].max(axis=1, keepdims=True))
            # Summed in order: NumPy's pairwise sum would depend on where the padding is.
            rows[:, mask] = e / np.cumsum(e, axis=1)[:, -1:]


def softmax_backward(weights, d) -> None:
    """Replace the gradient with respect to the softmax by that with respect to the scores."""
    d -= np.cumsum(weights * d, axis=-1)[..., -1:]
    d *= weights


def apply_rule(
    rule: Rule, numbers: dict[str, float], arrays: dict[str, np.ndarray], block: int
) -> None:
    """Apply a rule to every entry of its arrays."""
    first = arrays[next(iter(rule.arrays))]
    size, dtype = first.size, first.dtype
    scalars = {e: dtype.type(numbers[name]) for name, e in rule.numbers.items()}
    for start in range(0, size, block):
        part = {name: arrays[name][start : start + block] for name in rule.arrays}
        known = scalars | {e: part[name].copy() for name, e in rule.arrays.items()}
        with np.errstate(all="ignore"):  # a value that is not finite shows in the result
            values = evaluate(rule.results.values(), known, dtype)
        for name, value in zip(rule.results, values, strict=True):
            part[name][:] = value


def sums_of_squares(x, block: int, sums) -> None:
    """Compute the sum of squares of each block of x."""
    for k in range(len(sums)):
        with np.errstate(over="ignore"):
            sums[k] = np.square(x[k * block : (k + 1) * block], dtype=np.float64).sum()


def softmax_cross_entropy(logits, ids, valid, count: int, dy, losses) -> None:
    """Compute the loss of every row, and the gradient of the sum of losses over `count`."""
    rows = np.arange(len(ids))
    # Infinite logits show in the result.
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        np.subtract(logits, logits.max(axis=1, keepdims=True), out=dy)
        chosen = dy[rows, ids].astype(np.float64)
        np.exp(dy, out=dy)
        total = dy.sum(axis=1, dtype=np.float64)
        losses[:] = np.log(total) - chosen
        dy *= (1 / (total * count)).astype(dy.dtype)[:, None]
    dy[rows, ids] -= 1 / count
    if valid.size:
        dy[~valid] = 0
        losses[~valid] = 0
