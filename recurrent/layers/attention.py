"""Attention: at each step the mean of a memory, weighted by how well it matches the query.

    context_t = sum over s of weights_ts m_s
    weights_t = softmax over the valid s of score(x_t, m_s)

Scores: "dot" x' m; "general" (W x)' m (Luong, Pham and Manning, 2015, equation 8); "additive"
v' tanh(W x + U m + b) (Bahdanau, Cho and Bengio, 2015, appendix A.1.2). The output y is
[context, x], or tanh(W [context, x] + b) (Luong, equation 5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import checks, kernels
from ..engine.footprint import Footprint
from ..equations.expressions import tanh
from ..equations.rules import trace
from ..kernels.memory import pooled
from .base import Gradients, Layer
from .quantized import QuantizedParameters
from .recording import LayerRecording

SCORES = ("dot", "general", "additive")

TANH = trace("tanh", lambda a, k: dict(p=tanh(a.p)), ("p",), ())
TANH_BACKWARD = trace("tanh backward", lambda a, k: dict(d=a.d * (1 - a.p * a.p)), ("p", "d"), ())
BLOCK = 16384  # entries that a thread processes at a time
# Bytes of temporaries for the sequences processed together when nothing is recorded: they fit the
# cache.
CHUNK = 1 << 20


class Memory(NamedTuple):
    """The vectors that an Attention layer attends to: its state, which `forward` returns unchanged.

    Attributes
    ----------
    values : ndarray, shape (T_in, N, M) or (T_in, M)
        One vector per time step of the memory.
    lengths : array of int, shape (N,), or mask, shape (T_in, N), optional
        Valid steps of each sequence; all by default.
    """

    values: np.ndarray
    lengths: np.ndarray | None = None


class PreparedMemory(NamedTuple):
    """A memory in the layout of the kernels."""

    memory: np.ndarray  # (N, T_in, M), zeros at steps that are not valid but count
    valid: np.ndarray  # (N, T_in)
    counts: np.ndarray  # steps up to the last valid one, (N,)
    keys: Any = None  # U m of an additive score, (N, T_in, A)

    def part(self, sequences: slice) -> PreparedMemory:
        """Return the memory of some sequences."""
        memory, valid, counts, keys = self
        keys = None if keys is None else keys[sequences]
        return PreparedMemory(memory[sequences], valid[sequences], counts[sequences], keys)


@dataclass
class AttentionTape:
    """Arrays that a recorded forward pass saves for the backward pass, batch-first for kernels."""

    x: np.ndarray  # (N, T_out, Q)
    memory: np.ndarray  # (N, T_in, M), see `PreparedMemory`
    valid: np.ndarray  # (N, T_in)
    counts: np.ndarray  # (N,)
    saved: np.ndarray | None  # saved by the score: the projected queries, or the tanh
    rows: np.ndarray  # weights, (N, T_out, T_in)
    joined: np.ndarray  # [context, x], (N, T_out, M + Q)
    y: np.ndarray  # (N, T_out, out_features)
    batched: bool  # whether x has a batch axis

    @property
    def weights(self) -> np.ndarray:
        """Attention weights, shape (T_out, N, T_in), or (T_out, T_in) without a batch axis.

        Each row sums to 1 over the valid steps; without any it is zeros.
        """
        return self.rows.swapaxes(0, 1) if self.batched else self.rows[0]


class Attention(Layer):
    """Attention over a memory, all of its steps at each step of x.

    The queries x have shape (T, N, Q) or (T, Q); y has shape (T, N, M + Q), or (T, N, output_size).

    With memory_size the memory is the layer's state, `Memory(values, lengths)`; `Seq2Seq` passes
    its encoder's output, and the gradient of the state is a Memory too. Without it the layer is
    self-attention: it attends to all steps of x, past and future, and `lengths` marks the valid
    ones.

    Values of the memory in the padding do not matter. A sequence without valid steps has a context
    of zeros. y in the padding of x is computed like any other; no valid step depends on it.

    Parameters
    ----------
    query_size : int
        Q, the size of the last axis of x.
    memory_size : int, optional
        M, the size of the last axis of the memory. By default the memory is x, and M = Q.
    score : {"general", "dot", "additive"}, default "general"
        Score function. "dot" needs M = Q.
    score_size : int, optional
        Size of the tanh of an additive score; Q by default.
    output_size : int, optional
        With it y = tanh(W [context, x] + b); by default y = [context, x].

    Raises
    ------
    TypeError
        If a size is not an int.
    ValueError
        If a size is below 1, the score is unknown or does not fit the sizes, or, in `forward`, the
        memory is missing.

    References
    ----------
    Luong, Pham and Manning, "Effective approaches to attention-based neural machine translation"
    (2015), equations 5 and 8.
    Bahdanau, Cho and Bengio, "Neural machine translation by jointly learning to align and
    translate" (2015), appendix A.1.2.
    """

    needs_sequence = True
    in_features: int
    out_features: int

    def __init__(
        self,
        query_size: int,
        memory_size: int | None = None,
        score: str = "general",
        score_size: int | None = None,
        output_size: int | None = None,
    ):
        sizes = dict(memory_size=memory_size, score_size=score_size, output_size=output_size)
        sizes = {name: checks.size(size, name) for name, size in sizes.items() if size is not None}
        query_size = checks.size(query_size, "query_size")
        memory_size, score_size, output_size = map(
            sizes.get, ("memory_size", "score_size", "output_size")
        )
        checks.choice(score, "score", SCORES)
        super().__init__(
            query_size=query_size,
            **sizes,
            **({"score": score} if score != "general" else {}),
        )
        if score_size is not None and score != "additive":
            raise ValueError(f"score_size needs score='additive', got {score!r}")
        Q = query_size
        M = Q if memory_size is None else memory_size
        if score == "dot" and Q != M:
            raise ValueError(
                f"score='dot' needs memory_size = query_size = {Q}, got {M}; "
                "use 'general' or 'additive'"
            )
        self.score, self.over_itself, self.memory_size = score, memory_size is None, M
        self.in_features, self.out_features = Q, M + Q if output_size is None else output_size
        if score == "general":
            self.shapes = {"weight_query": (M, Q)}
        elif score == "additive":
            A = score_size or Q
            self.shapes = {
                "weight_query": (A, Q),
                "weight_memory": (A, M),
                "bias_query": (A,),
                "weight_score": (1, A),
            }
        if output_size is not None:
            self.shapes |= {"weight_output": (output_size, M + Q), "bias_output": (output_size,)}

    def reset_parameters(self, rng):
        fans = {name: shape[1] for name, shape in self.shapes.items() if len(shape) == 2}
        for name, a in self.parameters.items():
            bound = 1 / np.sqrt(fans[name.replace("bias", "weight")])
            a[:] = rng.uniform(-bound, bound, a.shape)

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        checks.modes(record, training)
        x = self._checked(x)
        weights, given = self._pack(), self._memory(x, state, lengths)
        if not record:
            steps, copied = given.memory.shape[1], self._copies(given)
            y = self._unrecorded(
                x, steps, copied, lambda part: self._prepare(given.part(part), weights), weights
            )
            return y, state, None
        memory = self._prepare(given, weights)
        if memory.memory is given.memory:
            memory = memory._replace(memory=_copied(memory.memory))
        tape = self._attend(x, memory, weights)
        y = _by_time(tape.y, tape.batched)
        y.flags.writeable = False  # it may share memory with the tape
        return y, state, tape

    def packed(self):
        if self.over_itself:
            return super().packed()
        weights = self._pack()
        memory: Any = None  # prepared
        origin: Any = None, None  # the state that it was prepared from, and the shape of x_t

        def run(x, state):
            nonlocal memory, origin
            x = self._checked(x)
            if state is not origin[0] or x.shape[1:] != origin[1]:
                given = self._memory(x, state, None)
                memory = self._prepare(given._replace(memory=_copied(given.memory)), weights)
                origin = state, x.shape[1:]
            steps = memory.memory.shape[1]
            return self._unrecorded(x, steps, False, memory.part, weights), state

        return run

    def recorded(self, y, tape):
        return LayerRecording(y, weights=tape.weights)

    def _checked(self, x) -> np.ndarray:
        x = checks.array(x, "x")
        if self.shapes:
            checks.same_dtype(x, "x", self.dtype, "weight")
        if x.ndim not in (2, 3) or x.shape[-1] != self.in_features:
            raise ValueError(
                f"x must be (T, N, {self.in_features}) or (T, {self.in_features}), got {x.shape}"
            )
        return x

    def _pack(self) -> dict[str, Any]:
        """Return packed matrices with their biases, by the last word of their names."""
        parameters = self.parameters
        if type(parameters) is QuantizedParameters:
            return parameters.packed(_packed)
        return _packed(parameters)

    def _attend(self, x, memory: PreparedMemory, weights) -> AttentionTape:
        queries, M = _copied(_by_sequence(x)), self.memory_size
        projected = _linear(queries, weights["query"]) if "query" in weights else queries
        joined = pooled((*queries.shape[:2], M + self.in_features), x.dtype)
        joined[..., M:] = queries
        saved, rows = self._context(projected, memory, weights, joined[..., :M])
        y = self._output(joined, weights)
        return AttentionTape(
            queries, memory.memory, memory.valid, memory.counts, saved, rows, joined, y, x.ndim == 3
        )

    def _unrecorded(
        self, x, steps: int, copied: bool, prepared: Callable[[slice], PreparedMemory], weights
    ) -> np.ndarray:
        """Return y, computed for a few sequences at a time so that temporaries stay small.

        `prepared(part)` returns the memory, of `steps` time steps, of a part of the batch; a copy
        if `copied`.
        """
        M, queries = self.memory_size, x if x.ndim == 3 else x[:, None]
        projected = _linear(queries, weights["query"]) if "query" in weights else queries
        joined = np.empty((*queries.shape[:2], M + self.in_features), x.dtype)
        joined[..., M:] = queries
        contexts, projected = _by_sequence(joined[..., :M]), _by_sequence(projected)
        size = self._chunk_size(len(x), steps, copied, x.itemsize)
        for first in range(0, queries.shape[1], size):
            part = slice(first, first + size)
            # No names for temporaries: they are freed before the next part.
            self._context(projected[part], prepared(part), weights, contexts[part])
        y = self._output(joined, weights)
        return y if x.ndim == 3 else y[:, 0]

    def _chunk_size(self, T, steps, copied: bool, itemsize) -> int:
        """Return the number of sequences processed at a time when nothing is recorded."""
        return max(1, CHUNK // max(1, self._temporaries(T, steps, copied) * itemsize))

    def _temporaries(self, T, steps, copied: bool) -> int:
        """Return the number of entries allocated for one sequence when nothing is recorded."""
        A = self.shapes.get("weight_memory", (0,))[0]
        return steps * (A + (self.memory_size if copied else 0)) + T * steps * (1 + A)

    def _context(
        self, query, memory: PreparedMemory, weights, out
    ) -> tuple[np.ndarray, np.ndarray]:
        """Write the context (N, T_out, M); return the score's saved array, and the weights."""
        saved, rows = self._scores(query, memory, weights)
        if rows.size:
            kernels.backend.softmax(rows, memory.valid)
            kernels.backend.rows_by_columns(rows, memory.memory, memory.counts, out)
        else:
            out[...] = 0
        return saved, rows

    def _output(self, joined, weights) -> np.ndarray:
        if "output" not in weights:
            return joined
        y = _linear(joined, weights["output"])
        _apply(TANH, p=y)
        return y

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None, sums=None):
        checks.tape(tape, AttentionTape)
        p, dy = self.parameters, checks.array(dy, "dy")
        checks.same_dtype(dy, "dy", tape.y.dtype, "x")
        checks.shape(dy, "dy", _by_time(tape.y, tape.batched).shape, "the shape of y")
        grads = self._sums(out, dy=dy, x=tape.x, memory=tape.memory)
        d = _by_sequence(dy)
        if "weight_output" in self.shapes:
            d = d.copy()
            _apply(TANH_BACKWARD, p=tape.y, d=d)
            d = _linear_backward(
                d, tape.joined, p["weight_output"], grads["weight_output"], grads["bias_output"]
            )
        dcontext, dx = d[..., : self.memory_size], _time_major(tape.x.shape, dy.dtype)
        dx[...] = d[..., self.memory_size :]
        dscores = np.empty_like(tape.rows)
        if tape.rows.size:
            kernels.backend.rows_by_rows(dcontext, tape.memory, tape.counts, dscores)
            kernels.backend.softmax_backward(tape.rows, dscores)
        dmemory = self._scores_backward(dscores, dcontext, tape, dx, grads)
        if self._copies(tape):
            dmemory[~tape.valid] = 0
        dx, dvalues = _by_time(dx, tape.batched), _by_time(dmemory, tape.batched)
        if self.over_itself:
            return Gradients(dx + dvalues, grads, None)
        if dstate is not None:
            checks.instance(dstate, Memory, "dstate", "Memory(values, lengths)")
        return Gradients(dx, grads, Memory(dvalues if dstate is None else dvalues + dstate.values))

    def footprint(self, T, N, width, dtype, ragged, training, table=None, memory=None):
        """Estimate bytes like `Layer.footprint`; `memory`: time steps of a memory that is not x."""
        if memory is None and not self.over_itself:
            raise ValueError("the memory of this Attention comes from an encoder: use Seq2Seq.plan")
        steps, Q, M = memory or T, self.in_features, self.memory_size
        A = self.shapes.get("weight_memory", (0,))[0]
        queries, states, pairs, b = T * N, steps * N, T * N * steps, dtype.itemsize
        y = queries * self.out_features * b
        own_y = y if "weight_output" in self.shapes else 0  # y, if it is not [context, x]
        matrices = [shape for shape in self.shapes.values() if len(shape) == 2]
        packed = sum(kernels.backend.linear_scratch(*s, 0, dtype)[0] for s in matrices)
        if not training:
            projected = queries * (A or M) * b if "weight_query" in self.shapes else 0
            joined = queries * (M + Q) * b if own_y else 0
            copied = self.score == "additive"  # or if a mask has holes
            chunk = self._temporaries(T, steps, copied) * b
            chunk *= min(N, self._chunk_size(T, steps, copied, b))
            chunk += steps * M * b  # the memory of one sequence, packed by a kernel
            forward = packed + projected + joined + max(chunk - own_y, 0)
            return Footprint(0, y, forward, 0, 0)
        tape = {"dot": 0, "general": queries * M, "additive": pairs * A}[self.score] * b
        tape += b * (queries * (2 * Q + M) + states * M + pairs) + states + own_y
        keys_and_context = b * (states * A + queries * M)
        forward = packed + max(keys_and_context - y, 0)
        dx, dmemory = b * queries * Q, b * states * M
        # Gradients of [context, x], its halves, the scores and the memory.
        held = b * (queries * 2 * (M + Q) + pairs) + dmemory
        if A:
            inner = b * (pairs * A + queries * A + states * (A + M))
            inner += kernels.backend.linear_scratch(A, M, states, dtype)[1]
        else:
            inner = b * (queries * 3 * M + 2 * pairs)
        sums = dx + dmemory + (dx if memory is None else 0)
        backward = held + max(inner, sums) - dx - (dmemory if memory else 0)
        return Footprint(tape, y, forward, backward, dx)

    def keeps_input(self, ragged):
        return False

    def stepper(self):
        raise ValueError(
            "Attention cannot run step by step: a stream has no memory; use Seq2Seq.generate"
        )

    def _memory(self, x, state, lengths) -> PreparedMemory:
        """Return the checked memory, a view of what was given."""
        if self.over_itself:
            if state is not None:
                raise ValueError(
                    "state must be None: this Attention attends to its input; "
                    "set memory_size to pass a memory"
                )
            state, name = Memory(x, lengths), "x"
        elif state is None:
            raise ValueError(
                "the memory is missing: state must be Memory(values, lengths), got None"
            )
        else:
            checks.instance(state, Memory, "state", "Memory(values, lengths)")
            name = "the memory"
        values = checks.array(state.values, name)
        checks.same_dtype(values, name, x.dtype, "x")
        tail = (*x.shape[1:-1], self.memory_size)
        if values.ndim != x.ndim or values.shape[1:] != tail:
            raise ValueError(
                f"{name} must be (T_in, {', '.join(map(str, tail))}), got {values.shape}"
            )
        memory = values[None] if x.ndim == 2 else _by_sequence(values)
        N, T = memory.shape[:2]
        if state.lengths is None:
            return PreparedMemory(memory, np.ones((N, T), bool), np.full(N, T))
        if x.ndim == 2:
            raise ValueError(
                f"lengths need a batch: x must be (T, N, {self.in_features}), got {x.shape}"
            )
        valid = np.ascontiguousarray(checks.inside(checks.valid_steps(state.lengths, T, N), T).T)
        counts = (np.arange(1, T + 1) * valid).max(axis=1, initial=0)
        return PreparedMemory(memory, valid, counts)

    def _copies(self, memory: PreparedMemory | AttentionTape) -> bool:
        """Return whether steps that are not valid have to be replaced by zeros."""
        return self.score == "additive" or memory.counts.sum() > np.count_nonzero(memory.valid)

    def _prepare(self, memory: PreparedMemory, weights) -> PreparedMemory:
        """Return the memory as kernels need it: a copy if that needs zeros; with its keys."""
        if not self._copies(memory):
            return memory
        values, keys = _copied(memory.memory), None
        values[~memory.valid] = 0
        if self.score == "additive":
            keys = _linear(values, weights["memory"])
        return memory._replace(memory=values, keys=keys)

    def _scores(self, query, memory: PreparedMemory, weights) -> tuple[np.ndarray, np.ndarray]:
        """Return what `_scores_backward` needs, and the scores (N, T_out, T_in)."""
        if self.score == "additive":
            query, keys = query[:, :, None], memory.keys[:, None]
            inner = pooled(np.broadcast_shapes(query.shape, keys.shape), query.dtype)
            np.add(query, keys, out=inner)
            _apply(TANH, p=inner)
            return inner, _linear(inner, weights["score"])[..., 0]
        scores = np.empty((*query.shape[:2], memory.memory.shape[1]), query.dtype)
        if scores.size:
            kernels.backend.rows_by_rows(query, memory.memory, memory.counts, scores)
        return query, scores

    def _scores_backward(self, d, dcontext, tape, dx, grads) -> np.ndarray:
        """Return the gradient of the memory from that of the scores, d.

        Adds to dx and to the gradients of the parameters.
        """
        p, dmemory = self.parameters, _time_major(tape.memory.shape, tape.memory.dtype)
        if not d.size:
            dmemory[...] = 0
        if self.score == "additive":
            if d.size:
                kernels.backend.columns_by_columns(tape.rows, dcontext, tape.counts, dmemory)
            inner = _linear_backward(
                d[..., None], tape.saved, p["weight_score"], grads["weight_score"]
            )
            _apply(TANH_BACKWARD, p=tape.saved, d=inner)
            query = np.zeros_like(inner, shape=(*d.shape[:2], inner.shape[3]))
            key = np.zeros_like(inner[:, 0])
            # Loop over the steps: the order of a sum must not depend on the number of steps.
            for s in range(d.shape[2]):
                query += inner[:, :, s]
            for t in range(d.shape[1]):
                key += inner[:, t]
            dx += _linear_backward(
                query, tape.x, p["weight_query"], grads["weight_query"], grads["bias_query"]
            )
            dmemory += _linear_backward(
                key, tape.memory, p["weight_memory"], grads["weight_memory"]
            )
            return dmemory
        query = np.zeros_like(tape.saved)
        if d.size:
            kernels.backend.rows_by_columns(d, tape.memory, tape.counts, query)
            # The gradients of the memory as value and as key, in one pass over it.
            pairs = (tape.rows, d), (dcontext, tape.saved)
            rows, columns = (np.concatenate(pair, axis=1) for pair in pairs)
            kernels.backend.columns_by_columns(rows, columns, tape.counts, dmemory)
            del rows, columns
        if self.score == "general":
            query = _linear_backward(query, tape.x, p["weight_query"], grads["weight_query"])
        dx += query
        return dmemory


def _packed(p: Mapping[str, Any]) -> dict[str, Any]:
    """Return the packed matrices of parameters, see `Attention._pack`."""
    matrices = {n.removeprefix("weight_"): W for n, W in p.items() if len(W.shape) == 2}
    biases = {n: p.get(f"bias_{n}", np.zeros(len(W), W.dtype)) for n, W in matrices.items()}
    return {n: kernels.backend.pack_linear(W, biases[n]) for n, W in matrices.items()}


def _by_sequence(a: Any) -> np.ndarray:
    """Return a view, batch-first (N, T, K), of a time-major (T, N, K) or (T, K)."""
    return a[None] if a.ndim == 2 else a.swapaxes(0, 1)


def _time_major(shape, dtype) -> np.ndarray:
    """Return a new batch-first array (N, T, K), time-major in memory: the reverse of a view."""
    N, T, K = shape
    return np.empty((T, N, K), dtype).swapaxes(0, 1)


def _copied(a: np.ndarray) -> np.ndarray:
    """Return a copy, batch-first in memory too."""
    out = pooled(a.shape, a.dtype)
    out[:] = a
    return out


def _by_time(a: np.ndarray, batched: bool) -> np.ndarray:
    """Return the time-major array: the inverse of `_by_sequence`."""
    return np.ascontiguousarray(a.swapaxes(0, 1)) if batched else a[0]


def _apply(rule, **arrays) -> None:
    """Apply a rule to all entries of arrays, in place."""
    kernels.backend.apply_rule(rule, {}, {name: a.reshape(-1) for name, a in arrays.items()}, BLOCK)


def _linear(x, packed) -> np.ndarray:
    """Return x W' + b for x (..., K), with W and b packed by `pack_linear`."""
    M = packed[1].size
    y = np.empty((*x.shape[:-1], M), x.dtype)
    kernels.backend.linear(x.reshape(-1, x.shape[-1]), packed, y.reshape(-1, M))
    return y


def _linear_backward(dy, x, W, dW, db=None) -> np.ndarray:
    """Return dx; add to dW and db."""
    dx = np.empty_like(x)
    dy_rows, x_rows, dx_rows = (a.reshape(-1, a.shape[-1]) for a in (dy, x, dx))
    db = np.zeros(len(W), W.dtype) if db is None else db
    kernels.backend.linear_backward(dy_rows, x_rows, W, dx_rows, dW, db)
    return dx
