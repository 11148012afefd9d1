"""The engine in plain NumPy: the reference in the tests, and what runs when Numba's JIT is switched off.

Slow and obvious, with the same promise as the compiled kernels: every element of a product is one chain of additions
in the order of k, so a row's bits do not depend on the rows beside it. Takes complex numbers (complex-step gradients).
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from ..equations.cell import Cell
from ..equations.expressions import evaluate
from ..equations.rules import Rule

DTYPES = ("float32", "float64", "complex128")


def product(a: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
    """out (S, M) += a (S, K) @ w (K, M), in the order of k."""
    for k in range(w.shape[0]):
        out += a[:, k, None] * w[k]


class Weights:
    """Weights of one moment, and the products of a step with them."""

    def __init__(self, cell: Cell, params):
        self.cell, self.params = cell, type(params)(*[p.copy() for p in params])
        self.W_ih, self.W_hh, self.b_ih, self.b_hh = self.params[:4]
        self.W_hr, self.parameters = split_params(cell, self.params)
        self.H = self.W_hr.shape[1]

    def add(
        self, a: np.ndarray, W: np.ndarray, gate: int, out: np.ndarray, back: bool = False
    ) -> None:
        """out (S, H) += a (S, K) times the transposed rows of a gate; `back`: out (S, K) += a (S, H) times the rows."""
        W = W[gate * self.H : (gate + 1) * self.H]
        product(a, W if back else W.T, out)

    def accumulate(self, x, h) -> np.ndarray:
        """Pre-activations of every accumulator, (A, S, H)."""
        H = self.H
        out = np.zeros((len(self.cell.accumulators), len(x), H), np.result_type(x, self.W_ih))
        for total, accumulator in zip(out, self.cell.accumulators, strict=True):
            i = self.cell.x_gates.index(accumulator.gate) if accumulator.x else None
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
        """The value of a product within the step, for `evaluate`, or of its gradient's way back."""
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
        """out (S, H) += what gradients of accumulators, da (S, columns, H), send through W_hh."""
        for run in self.cell.h_runs:
            for i in range(run.count):
                self.add(da[:, run.accumulator + i], self.W_hh, run.gate + i, out, back=True)


pack_forward = pack_backward = Weights


def split_params(cell: Cell, params) -> tuple[np.ndarray, list[np.ndarray]]:
    """W_hr (P, H), or a matrix of no rows where the cell projects nothing; and the per-unit parameters."""
    W_hh = params[1]
    own = params[5:] if cell.has_projection else params[4:]
    return params[4] if cell.has_projection else W_hh[:0], list(own)


def _steps(offsets, N):
    """(rows of a step, rows of the states before it, rows of the states after it), step by step."""
    for t in range(len(offsets) - 1):
        first, last = int(offsets[t]), int(offsets[t + 1])
        before = N + int(offsets[t - 1]) if t else 0
        yield slice(first, last), slice(before, before + last - first), slice(N + first, N + last)


def forward(cell: Cell, x, ids, offsets, weights, h, rest, saved, inputs=None) -> None:
    """Run all steps. Writes `h` (N + S, H), `rest` (states - 1, N + S or N, H) and `saved` (S, K, H), or not if it is empty.

    x (S, D), or a table of which `ids` (S,) names the row of each step; empty `ids` stand for the rows as they are.
    `inputs` (S, M, H): what the units of a cell with inputs get at each step.
    The first N rows of `h` and `rest` hold the initial states; a `rest` of N rows is updated in place.
    h of a cell that projects is (N + S, P). Elsewhere what has P numbers is in the first P of H columns.
    """
    x = x[ids] if ids.size else x
    N = len(h) - len(x)
    in_place = rest.shape[1] == N
    for now, before, after in _steps(offsets, N):
        count = after.stop - after.start
        old, new = (slice(0, count), slice(0, count)) if in_place and N else (before, after)
        a = weights.accumulate(x[now], h[before])
        known = {acc.input: a[k] for k, acc in enumerate(cell.accumulators)}
        known |= fitting(cell, cell.previous, [h[before], *rest[:, old].copy()], h)
        of_units = [*weights.parameters, *(() if inputs is None else inputs[now].swapaxes(0, 1))]
        known |= fitting(cell, cell.parameter_inputs, of_units, h)
        saved_nodes = [e for _, e in cell.backward.saved] if saved.size else []
        values = evaluate([*cell.new, *saved_nodes], known, h.dtype, weights.products)
        h[after] = values[0]
        for k in range(len(rest)):
            _put(rest[k, new], values[1 + k])
        for k in range(len(saved_nodes)):
            _put(saved[now, k], values[len(cell.new) + k])


def fitting(cell, nodes, arrays, h):
    """Values of nodes: of those with P numbers, where h has P of them, the first P columns."""
    return {
        e: a[..., : h.shape[1]] if cell.projected_nodes.get(e) else a
        for e, a in zip(nodes, arrays, strict=True)
    }


def _put(rows, value):
    rows[:, : np.shape(value)[-1] if np.ndim(value) else None] = value


def step(cell: Cell, weights, x, h, rest, y) -> None:
    """One step: h (2 N, H), the state in its first half, and rest (states - 1, N, H) go on; y (N, H) = h."""
    N = len(y)
    forward(
        cell,
        x,
        np.zeros(0, np.int64),
        np.array([0, N]),
        weights,
        h,
        rest,
        np.empty((0, 0, weights.H), y.dtype),
    )
    h[:N] = y[:] = h[N:]


def backward(
    cell: Cell, dy, offsets, weights, h, rest, saved, carry, da, dp, total, inputs=None
) -> None:
    """Back-propagation through time.

    `carry` (states, N, H) comes in as the gradient of the final states and goes out as that of the initial ones.
    Writes `da` (S, cell.columns, H), gradients of accumulators and products row by row, and `total` (states, S, H), gradients
    of the loss with respect to every state, or not if it is empty. Adds to `dp` (N, P, H), gradients of per-unit parameters
    by sequence. Widths as in `forward`.
    """
    b = cell.backward
    N, W = len(h) - len(dy), h.shape[1]
    later = 0
    for now, before, after in reversed(list(_steps(offsets, N))):
        count = now.stop - now.start
        if later:
            weights.flow(da[now.stop : now.stop + later], carry[0, :later, :W])
        later = count
        # A copy: one state may be handed on as another.
        d = [
            a[:, :W] if projected else a
            for a, projected in zip(carry[:, :count].copy(), cell.projected_states, strict=True)
        ]
        d[cell.output] = d[cell.output] + dy[now]
        known = fitting(cell, [e for _, e in b.saved], saved[now].swapaxes(0, 1), h)
        known |= fitting(cell, cell.new, [h[after], *rest[:, after]], h)
        known |= fitting(cell, cell.previous, [h[before], *rest[:, before]], h)
        of_units = [*weights.parameters, *(() if inputs is None else inputs[now].swapaxes(0, 1))]
        known |= fitting(cell, cell.parameter_inputs, of_units, h)
        known |= dict(zip(b.d_new, d, strict=True))
        roots = [*b.d_accumulators, *b.d_products, *b.d_previous, *b.d_states, *b.d_parameters]
        values = evaluate(roots, known, h.dtype, weights.products)
        for k, value in enumerate(values[len(roots) - dp.shape[1] :]):
            dp[:count, k] += value
        for k in range(da.shape[1]):
            _put(da[now, k], values[k])
        for k in range(len(cell.states)):
            _put(carry[k, :count], values[da.shape[1] + k])
            if total.size:
                _put(total[k, now], values[da.shape[1] + len(cell.states) + k])
    if later:
        weights.flow(da[:later], carry[0, :later, :W])


def gradient_of_input(cell: Cell, da, params, dx) -> None:
    """dx (S, D) = gradients of the x accumulators times W_ih."""
    dx[:] = 0
    x_accumulators = sum(a.x for a in cell.accumulators)
    product(da[:, :x_accumulators].reshape(len(da), x_accumulators * da.shape[2]), params[0], dx)


def gradient_of_weights(cell: Cell, da_x, x, da, dp, h, previous, vectors, dparams) -> None:
    """Gradients of W_ih, W_hh, b_ih, b_hh, W_hr and per-unit parameters: sums over all rows, in order; of `dp`,
    over sequences.

    `da_x` is `da`, or its sums over the steps with one row of x, where x is a table. `vectors` (S, H): those of products
    within the step.
    """
    W_ih, W_hh, b_ih, b_hh = dparams[:4]
    W_hr, own = split_params(cell, dparams)
    H = W_hr.shape[1]
    before = h[previous] if previous.size else h[: len(da)]
    for k, a in enumerate(cell.accumulators):
        if a.x:
            i = cell.x_gates.index(a.gate) * H
            gradient_of_matrix(da_x[:, k], x, W_ih[i : i + H], b_ih[i : i + H])
        if a.h:
            i = cell.h_gates.index(a.gate) * H
            gradient_of_matrix(da[:, k], before, W_hh[i : i + H], b_hh[i : i + H])
    for k, (e, vector) in enumerate(
        zip(cell.products, vectors, strict=True), len(cell.accumulators)
    ):
        if e.op == "projection":
            gradient_of_matrix(da[:, k, : len(W_hr)], vector, W_hr, np.empty(len(W_hr), W_hr.dtype))
        else:
            i = cell.h_gates.index(e.name) * H
            gradient_of_matrix(
                da[:, k], vector[:, : W_hh.shape[1]], W_hh[i : i + H], b_hh[i : i + H]
            )
    for k, total in enumerate(own):
        total[:] = 0
        for row in dp[:, k]:
            total += row


def gradient_of_matrix(dy, x, dW, db) -> None:
    """dW (M, K) = dy (S, M)' x (S, K), db (M,) = sum of dy; in the order of rows."""
    dW[:] = 0
    db[:] = 0
    for d, row in zip(dy, x, strict=True):
        dW += d[:, None] * row
        db += d


def scratch(*sizes):
    """Bytes besides those of the arguments: of compiled kernels; nobody counts what NumPy takes here."""
    return SimpleNamespace(forward=0, backward=0, gradients=0)


def linear_scratch(*sizes):
    """The same of `linear` and its weights, and of `linear_backward`."""
    return 0, 0


def pack_linear(W, b):
    """Weights (M, K) and biases (M,) of this moment, for `linear`."""
    return W.copy(), b.copy()


def linear(x, weights, y) -> None:
    """y (S, M) = x (S, K) W' + b."""
    W, b = weights
    y[:] = b
    product(x, W.T, y)


def linear_backward(dy, x, W, dx, dW, db) -> None:
    """Gradients of `linear`. A `dx` of no rows is not computed."""
    gradient_of_matrix(dy, x, dW, db)
    if dx.size:
        dx[:] = 0
        product(dy, W, dx)


def scatter_add(dW, ids, dy) -> None:
    """dW[ids[s]] += dy[s], in the order of rows."""
    for i, d in zip(ids, dy, strict=True):
        dW[i] += d


def rows_by_rows(a, b, out) -> None:
    """out (N, S, M) = a (N, S, K) b', b (N, M, K): sequence by sequence."""
    rows_by_columns(a, b.swapaxes(1, 2), out)


def rows_by_columns(a, b, out) -> None:
    """out (N, S, M) = a (N, S, K) b (N, K, M)."""
    out[:] = 0
    for each in zip(a, b, out, strict=True):
        product(*each)


def columns_by_columns(a, b, out) -> None:
    """out (N, K, M) = a' b, a (N, S, K), b (N, S, M)."""
    rows_by_columns(a.swapaxes(1, 2), b, out)


def softmax(scores, valid) -> None:
    """scores (N, S, M) become softmax over the valid entries, bool (N, M), zeros elsewhere; all zeros where none is valid."""
    for rows, mask in zip(scores, valid, strict=True):
        rows[:, ~mask] = 0
        if mask.any():
            e = np.exp(rows[:, mask] - rows[:, mask].max(axis=1, keepdims=True))
            rows[:, mask] = (
                e / np.cumsum(e, axis=1)[:, -1:]
            )  # in order: a sum by pairs depends on where blanks are


def softmax_backward(weights, d) -> None:
    """d (N, S, M), the gradient with respect to the weights, becomes that with respect to the scores."""
    d -= np.cumsum(weights * d, axis=-1)[..., -1:]
    d *= weights


def apply_rule(
    rule: Rule, numbers: dict[str, float], arrays: dict[str, np.ndarray], block: int
) -> None:
    """The rule on every entry of its flat arrays, modified: `block` entries at a time, so that they stay in cache."""
    first = arrays[next(iter(rule.arrays))]
    size, dtype = first.size, first.dtype
    scalars = {e: dtype.type(numbers[name]) for name, e in rule.numbers.items()}
    for start in range(0, size, block):
        part = {name: arrays[name][start : start + block] for name in rule.arrays}
        known = scalars | {e: part[name].copy() for name, e in rule.arrays.items()}
        with np.errstate(all="ignore"):  # what is not finite shows in the result
            values = evaluate(rule.results.values(), known, dtype)
        for name, value in zip(rule.results, values, strict=True):
            part[name][:] = value


def sums_of_squares(x, block: int, sums) -> None:
    """sums[k] = the sum of squares of block k of x, in float64."""
    for k in range(len(sums)):
        with np.errstate(over="ignore"):
            sums[k] = np.square(x[k * block : (k + 1) * block], dtype=np.float64).sum()


def softmax_cross_entropy(logits, ids, valid, count: int, dy, losses) -> None:
    """losses (S,) = -log softmax(logits (S, V))[ids], dy (S, V) = the gradient of their sum / count; 0 for rows not `valid`.

    An empty `valid` stands for true. ids (S,) int64, within 0..V-1 in every row.
    """
    rows = np.arange(len(ids))
    with np.errstate(
        invalid="ignore", over="ignore", divide="ignore"
    ):  # infinite logits: the result says so
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
