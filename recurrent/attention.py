"""Attention: at each step a mean of saved states, weighted by how well each of them fits the query of that step.

    context_t = sum over s of weights_ts m_s,    weights_t = softmax over the valid s of score(x_t, m_s)

Scores: "dot" x' m and "general" (W x)' m (Luong, Pham and Manning 2015, equation 8), "additive" v' tanh(W x + U m + b)
(Bahdanau, Cho and Bengio 2015, appendix A.1.2). y is [context, x], or tanh(W [context, x] + b) (Luong, equation 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import checks, kernels
from .cells.expressions import tanh
from .cells.rules import trace
from .layer import Gradients, Layer

SCORES = ("dot", "general", "additive")

TANH = trace("tanh", lambda a, k: dict(p=tanh(a.p)), ("p",), ())
TANH_BACKWARD = trace("tanh backward", lambda a, k: dict(d=a.d * (1 - a.p * a.p)), ("p", "d"), ())
BLOCK = 16384  # entries of the work of a thread


class Memory(NamedTuple):
    """The state of an Attention layer: what it looks at. It crosses calls unchanged."""

    values: np.ndarray  # (T_in, N, M) or (T_in, M)
    lengths: np.ndarray | None = None  # (N,) or a mask (T_in, N) of what is there; None: all


@dataclass
class Attended:
    """What a recorded forward pass leaves; rows are sequence after sequence, as the kernels read them."""

    x: np.ndarray  # (N, T_out, Q)
    memory: np.ndarray  # (N, T_in, M), zeros in its blanks
    valid: np.ndarray  # (N, T_in)
    kept: np.ndarray | None  # of the score: its projection of x, or its tanh
    rows: np.ndarray  # weights (N, T_out, T_in)
    joined: np.ndarray  # (N, T_out, M + Q)
    y: np.ndarray  # (N, T_out, outputs)
    batched: bool

    @property
    def weights(self) -> np.ndarray:
        """(T_out, N, T_in), or (T_out, T_in) of a single sequence: each row sums to 1; zeros where there is no memory."""
        return self.rows.swapaxes(0, 1) if self.batched else self.rows[0]


class Attention(Layer):
    """Attention over a memory of saved states, all of them at every step. x (T, N, Q) or (T, Q) are the queries.

    `memory_size` M: the memory is given as the layer's state, `Memory(values (T_in, N, M), lengths)`, as `Seq2Seq` does with
    its encoder's output; gradients of the state are those of its values. Without it the layer attends to its own input,
    past and future, and `lengths` say which steps of that are valid.
    `score`: "dot" (needs Q = M), "general" or "additive", with `score_size` numbers inside its tanh, by default Q.
    y (T, N, M + Q) is [context, x]; with `output_size` it is tanh(W [context, x] + b), (T, N, output_size).
    What the memory holds in its blanks does not matter; a sequence without any has a context of zeros. A blank step of x has
    a y of its own, as with Linear: nobody else sees it.
    """

    reads_time = True

    def __init__(
        self,
        query_size: int,
        memory_size: int | None = None,
        score: str = "general",
        score_size: int | None = None,
        output_size: int | None = None,
    ):
        sizes = dict(memory_size=memory_size, score_size=score_size, output_size=output_size)
        given = {name: checks.size(size, name) for name, size in sizes.items() if size is not None}
        super().__init__(
            query_size=checks.size(query_size, "query_size"), **given, **({"score": score} if score != "general" else {})
        )
        if score not in SCORES:
            raise ValueError(f"score must be one of {', '.join(SCORES)}, got {score!r}")
        if score_size is not None and score != "additive":
            raise ValueError(f"score_size is the width of an additive score; {score!r} has none")
        Q = query_size
        M = Q if memory_size is None else memory_size
        if score == "dot" and Q != M:
            raise ValueError(f"a dot score needs memory_size = query_size = {Q}, got {M}; use 'general' or 'additive'")
        self.score, self.over_itself, self.memory_size = score, memory_size is None, M
        self.inputs, self.outputs = Q, M + Q if output_size is None else output_size
        if score == "general":
            self.shapes = {"weight_query": (M, Q)}
        elif score == "additive":
            A = score_size or Q
            self.shapes = {"weight_query": (A, Q), "weight_memory": (A, M), "bias_query": (A,), "weight_score": (1, A)}
        if output_size is not None:
            self.shapes |= {"weight_output": (output_size, M + Q), "bias_output": (output_size,)}

    def draw(self, rng):
        fans = {name: shape[1] for name, shape in self.shapes.items() if len(shape) == 2}
        for name, a in self.parameters.items():
            bound = 1 / np.sqrt(fans[name.replace("bias", "weight")])
            a[:] = rng.uniform(-bound, bound, a.shape)

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        """Returns y, the memory it was given, and a tape, whose `weights` are (T_out, N, T_in).

        Raises ValueError for shapes and a memory that do not fit or is missing, TypeError for dtypes.
        """
        x = checks.array(x, "x")
        if self.shapes:
            checks.same_dtype(x, "x", self.dtype, "weight")
        if x.ndim not in (2, 3) or x.shape[-1] != self.inputs:
            raise ValueError(f"x must be (T, N, {self.inputs}) or (T, {self.inputs}), got {x.shape}")
        queries = _by_sequence(x)
        memory, valid = self._memory(x, state, lengths)
        kept, rows = self._scores(queries, memory)
        context = np.zeros((*queries.shape[:2], self.memory_size), x.dtype)
        if rows.size:
            kernels.backend.softmax(rows, valid)
            kernels.backend.rows_by_columns(rows, memory, context)
        joined = y = np.concatenate([context, queries], axis=2)
        if "weight_output" in self.shapes:
            y = _linear(joined, self.parameters["weight_output"], self.parameters["bias_output"])
            _apply(TANH, p=y)
        tape = Attended(queries, memory, valid, kept, rows, joined, y, x.ndim == 3) if record else None
        out = _by_time(y, x.ndim == 3)
        out.flags.writeable = not record  # it may be the tape's own
        return out, state, tape

    def backward(self, dy, tape, dstate=None, out=None, totals=None):
        """Returns Gradients; that of the state is a Memory of gradients, None where the layer attends to its own input."""
        grads, p = self._gradients(out), self.parameters
        dy = checks.array(dy, "dy")
        checks.same_dtype(dy, "dy", tape.y.dtype, "x")
        checks.shape(dy, "dy", _by_time(tape.y, tape.batched).shape, "the shape of y")
        d = _by_sequence(dy)
        if "weight_output" in self.shapes:
            d = d.copy()
            _apply(TANH_BACKWARD, p=tape.y, d=d)
            d = _linear_backward(d, tape.joined, p["weight_output"], grads["weight_output"], grads["bias_output"])
        dcontext, dx = np.ascontiguousarray(d[..., : self.memory_size]), d[..., self.memory_size :].copy()
        dmemory, dscores = np.zeros_like(tape.memory), np.empty_like(tape.rows)
        if tape.rows.size:
            kernels.backend.rows_by_rows(dcontext, tape.memory, dscores)
            kernels.backend.columns_by_columns(tape.rows, dcontext, dmemory)
            kernels.backend.softmax_backward(tape.rows, dscores)
        self._scores_backward(dscores, tape, dx, dmemory, grads)
        dmemory[~tape.valid] = 0
        dx, dvalues = _by_time(dx, tape.batched), _by_time(dmemory, tape.batched)
        if self.over_itself:
            return Gradients(dx + dvalues, grads, None)
        return Gradients(dx, grads, Memory(dvalues if dstate is None else dvalues + dstate.values))

    def stepper(self):
        raise ValueError("Attention cannot run in a stream: it needs its memory; see Seq2Seq.generate")

    def _memory(self, x, state, lengths) -> tuple[np.ndarray, np.ndarray]:
        """The memory (N, T_in, M) with zeros in its blanks, and which steps are none (N, T_in)."""
        if self.over_itself:
            if state is not None:
                raise ValueError("this Attention attends to its own input and takes no memory; give it a memory_size")
            state, name = Memory(x, lengths), "x"
        elif state is None:
            raise ValueError("its memory is missing: the state of this layer must be Memory(values, lengths)")
        else:
            name = "the memory"
        values = checks.array(state.values, name)
        checks.same_dtype(values, name, x.dtype, "x")
        rest = (*x.shape[1:-1], self.memory_size)
        if values.ndim != x.ndim or values.shape[1:] != rest:
            raise ValueError(f"{name} must be (T_in, {', '.join(map(str, rest))}), got {values.shape}")
        memory = _by_sequence(values)
        if state.lengths is None:
            return memory, np.ones(memory.shape[:2], bool)
        if x.ndim == 2:
            raise ValueError(f"lengths need a batch: x must be (T, N, {self.inputs}), got {x.shape}")
        T, N = values.shape[:2]
        valid = np.ascontiguousarray(checks.inside(checks.valid_steps(state.lengths, T, N), T).T)
        return np.where(valid[:, :, None], memory, memory.dtype.type(0)), valid

    def _scores(self, x, memory) -> tuple[np.ndarray | None, np.ndarray]:
        """What `_scores_backward` needs, and the scores (N, T_out, T_in)."""
        p, scores = self.parameters, np.zeros((*x.shape[:2], memory.shape[1]), x.dtype)
        if self.score == "additive":
            query, key = _linear(x, p["weight_query"], p["bias_query"]), _linear(memory, p["weight_memory"])
            inner = query[:, :, None] + key[:, None]
            _apply(TANH, p=inner)
            return inner, _linear(inner, p["weight_score"])[..., 0]
        query = _linear(x, p["weight_query"]) if self.score == "general" else x
        if scores.size:
            kernels.backend.rows_by_rows(query, memory, scores)
        return query, scores

    def _scores_backward(self, d, tape, dx, dmemory, grads) -> None:
        """Add to dx and dmemory, and write parameters' gradients, from d, that of the scores."""
        p = self.parameters
        if self.score == "additive":
            inner = _linear_backward(d[..., None], tape.kept, p["weight_score"], grads["weight_score"])
            _apply(TANH_BACKWARD, p=tape.kept, d=inner)
            query, key = np.zeros_like(inner, shape=(*d.shape[:2], inner.shape[3])), np.zeros_like(inner[:, 0])
            for s in range(d.shape[2]):  # one after the other: bits may not depend on how many there are
                query += inner[:, :, s]
            for t in range(d.shape[1]):
                key += inner[:, t]
            dx += _linear_backward(query, tape.x, p["weight_query"], grads["weight_query"], grads["bias_query"])
            dmemory += _linear_backward(key, tape.memory, p["weight_memory"], grads["weight_memory"])
            return
        query, more = np.zeros_like(tape.kept), np.zeros_like(dmemory)
        if d.size:
            kernels.backend.rows_by_columns(d, tape.memory, query)
            kernels.backend.columns_by_columns(d, tape.kept, more)
        dmemory += more
        if self.score == "general":
            query = _linear_backward(query, tape.x, p["weight_query"], grads["weight_query"])
        dx += query


def _by_sequence(a: Any) -> np.ndarray:
    """(N, T, K) of a time-major (T, N, K) or (T, K)."""
    return np.ascontiguousarray(a.swapaxes(0, 1)) if a.ndim == 3 else a[None]


def _by_time(a: np.ndarray, batched: bool) -> np.ndarray:
    """The inverse of `_by_sequence`."""
    return np.ascontiguousarray(a.swapaxes(0, 1)) if batched else a[0]


def _apply(rule, **arrays) -> None:
    """A rule on all entries of arrays, modified."""
    kernels.backend.apply_rule(rule, {}, {name: a.reshape(-1) for name, a in arrays.items()}, BLOCK)


def _linear(x, W, b=None) -> np.ndarray:
    """x (..., K) W' + b."""
    y = np.empty((*x.shape[:-1], len(W)), x.dtype)
    packed = kernels.backend.pack_linear(W, np.zeros(len(W), W.dtype) if b is None else b)
    kernels.backend.linear(x.reshape(-1, x.shape[-1]), packed, y.reshape(-1, len(W)))
    return y


def _linear_backward(dy, x, W, dW, db=None) -> np.ndarray:
    """dx; writes dW and db."""
    dx = np.empty_like(x)
    rows = [a.reshape(-1, a.shape[-1]) for a in (dy, x, dx)]
    kernels.backend.linear_backward(*rows[:2], W, rows[2], dW, np.empty(len(W), W.dtype) if db is None else db)
    return dx
