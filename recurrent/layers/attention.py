"""Attention: at each step a mean of saved states, weighted by how well each of them fits the query of that step.

    context_t = sum over s of weights_ts m_s,    weights_t = softmax over the valid s of score(x_t, m_s)

Scores: "dot" x' m and "general" (W x)' m (Luong, Pham and Manning 2015, equation 8), "additive" v' tanh(W x + U m + b)
(Bahdanau, Cho and Bengio 2015, appendix A.1.2). y is [context, x], or tanh(W [context, x] + b) (Luong, equation 5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import checks, kernels
from ..engine import buffers
from ..engine.footprint import Footprint
from ..equations.expressions import tanh
from ..equations.rules import trace
from .base import Gradients, Layer
from .recording import LayerRecording

SCORES = ("dot", "general", "additive")

TANH = trace("tanh", lambda a, k: dict(p=tanh(a.p)), ("p",), ())
TANH_BACKWARD = trace("tanh backward", lambda a, k: dict(d=a.d * (1 - a.p * a.p)), ("p", "d"), ())
BLOCK = 16384  # entries of the work of a thread
CHUNK = (
    1 << 20
)  # bytes that are taken at a time for sequences of which nothing is kept: they stay in the cache


class Memory(NamedTuple):
    """The state of an Attention layer: what it looks at. It crosses calls unchanged."""

    values: np.ndarray  # (T_in, N, M) or (T_in, M)
    lengths: np.ndarray | None = None  # (N,) or a mask (T_in, N) of what is there; None: all


class PreparedMemory(NamedTuple):
    """A memory as it is attended to."""

    memory: np.ndarray  # (N, T_in, M), zeros in its blanks
    valid: np.ndarray  # (N, T_in)
    keys: np.ndarray | None  # of an additive score: U m, (N, T_in, A)


@dataclass
class AttentionTape:
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

    needs_sequence = True

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
            query_size=checks.size(query_size, "query_size"),
            **given,
            **({"score": score} if score != "general" else {}),
        )
        if score not in SCORES:
            raise ValueError(f"score must be one of {', '.join(SCORES)}, got {score!r}")
        if score_size is not None and score != "additive":
            raise ValueError(f"score_size is the width of an additive score; {score!r} has none")
        Q = query_size
        M = Q if memory_size is None else memory_size
        if score == "dot" and Q != M:
            raise ValueError(
                f"a dot score needs memory_size = query_size = {Q}, got {M}; use 'general' or 'additive'"
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
        """Returns y, the memory it was given, and a tape, whose `weights` are (T_out, N, T_in).

        Raises ValueError for shapes and a memory that do not fit or is missing, TypeError for dtypes.
        """
        x = self._checked(x)
        weights, (values, valid) = self._pack(), self._memory(x, state, lengths)
        if not record:

            def known(part):
                return self._known(
                    values[:, part], valid if valid is None else valid[part], weights
                )

            return self._unrecorded(x, len(values), known, weights), state, None
        tape = self._attend(x, self._known(values, valid, weights), weights)
        out = _by_time(tape.y, tape.batched)
        out.flags.writeable = False  # it may be the tape's own
        return out, state, tape

    def packed(self):
        if self.over_itself:
            return super().packed()
        weights, seen, found = self._pack(), (None, None), None

        def known(part):
            return PreparedMemory(*(a if a is None else a[part] for a in found))

        def run(x, state):
            nonlocal seen, found
            x = self._checked(x)
            if state is not seen[0] or x.shape[1:] != seen[1]:
                found, seen = (
                    self._known(*self._memory(x, state, None), weights),
                    (state, x.shape[1:]),
                )
            return self._unrecorded(x, found.memory.shape[1], known, weights), state

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
        """Matrices with their biases as `_linear` takes them, by the last word of their names."""
        p = self.parameters
        matrices = {n.removeprefix("weight_"): W for n, W in p.items() if W.ndim == 2}
        biases = {n: p.get(f"bias_{n}", np.zeros(len(W), W.dtype)) for n, W in matrices.items()}
        return {n: kernels.backend.pack_linear(W, biases[n]) for n, W in matrices.items()}

    def _attend(self, x, known: PreparedMemory, weights) -> AttentionTape:
        queries = _by_sequence(x)
        projected = _linear(queries, weights["query"]) if "query" in weights else queries
        kept, rows, context = self._context(projected, known, weights)
        joined = buffers.empty((*queries.shape[:2], self.memory_size + self.in_features), x.dtype)
        np.concatenate([context, queries], axis=2, out=joined)
        y = self._output(joined, weights)
        return AttentionTape(queries, known.memory, known.valid, kept, rows, joined, y, x.ndim == 3)

    def _unrecorded(
        self, x, steps: int, known: Callable[[slice], PreparedMemory], weights
    ) -> np.ndarray:
        """y, a few sequences at a time: what they need besides is small, and used again for the next.

        `known(part)`: the memory, of so many `steps`, of some sequences.
        """
        M, given = self.memory_size, x if x.ndim == 3 else x[:, None]
        projected = _linear(given, weights["query"]) if "query" in weights else given
        joined = np.empty((*given.shape[:2], M + self.in_features), x.dtype)
        joined[..., M:] = given
        several = self._at_once(len(x), steps, x.itemsize)
        for first in range(0, given.shape[1], several):
            part = slice(first, first + several)
            joined[:, part, :M] = self._context(
                _by_sequence(projected[:, part]), known(part), weights
            )[2].swapaxes(0, 1)
        y = self._output(joined, weights)
        return y if x.ndim == 3 else y[:, 0]

    def _at_once(self, T, steps, itemsize) -> int:
        """How many sequences are taken at a time where nothing is kept."""
        return max(1, CHUNK // max(1, self._a_sequence(T, steps) * itemsize))

    def _a_sequence(self, T, steps) -> int:
        """Numbers that `_context` takes for one."""
        A = self.shapes.get("weight_memory", (0,))[0]
        return (
            T * (A or self.memory_size)
            + steps * (A + self.memory_size)
            + T * (steps * (1 + A) + self.memory_size)
        )

    def _context(
        self, query, known: PreparedMemory, weights
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What `_scores_backward` needs, the weights (N, T_out, T_in), and the mean of the memory by them (N, T_out, M)."""
        kept, rows = self._scores(query, known, weights)
        context = np.zeros((*query.shape[:2], self.memory_size), query.dtype)
        if rows.size:
            kernels.backend.softmax(rows, known.valid)
            kernels.backend.rows_by_columns(rows, known.memory, context)
        return kept, rows, context

    def _output(self, joined, weights) -> np.ndarray:
        if "output" not in weights:
            return joined
        y = _linear(joined, weights["output"])
        _apply(TANH, p=y)
        return y

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None):
        """Returns Gradients; that of the state is a Memory of gradients, None where the layer attends to its own input."""
        grads, p = self._gradients(out), self.parameters
        dy = checks.array(dy, "dy")
        checks.same_dtype(dy, "dy", tape.y.dtype, "x")
        checks.shape(dy, "dy", _by_time(tape.y, tape.batched).shape, "the shape of y")
        d = _by_sequence(dy)
        if "weight_output" in self.shapes:
            d = d.copy()
            _apply(TANH_BACKWARD, p=tape.y, d=d)
            d = _linear_backward(
                d, tape.joined, p["weight_output"], grads["weight_output"], grads["bias_output"]
            )
        dcontext, dx = (
            np.ascontiguousarray(d[..., : self.memory_size]),
            d[..., self.memory_size :].copy(),
        )
        dscores = np.empty_like(tape.rows)
        if tape.rows.size:
            kernels.backend.rows_by_rows(dcontext, tape.memory, dscores)
            kernels.backend.softmax_backward(tape.rows, dscores)
        dmemory = self._scores_backward(dscores, dcontext, tape, dx, grads)
        dmemory[~tape.valid] = 0
        dx, dvalues = _by_time(dx, tape.batched), _by_time(dmemory, tape.batched)
        if self.over_itself:
            return Gradients(dx + dvalues, grads, None)
        return Gradients(dx, grads, Memory(dvalues if dstate is None else dvalues + dstate.values))

    def footprint(self, T, N, width, dtype, ragged, training, table=None, memory=None):
        """`memory`: steps of what it attends to, if that is not its input."""
        if memory is None and not self.over_itself:
            raise ValueError("what it attends to is given from outside: see Seq2Seq.plan")
        steps, Q, M, A = (
            memory or T,
            self.in_features,
            self.memory_size,
            self.shapes.get("weight_memory", (0,))[0],
        )
        queries, states, pairs, b = T * N, steps * N, T * N * steps, dtype.itemsize
        y = queries * self.out_features * b
        own = y if "weight_output" in self.shapes else 0  # beside [context, x]
        packed = sum(
            sum(kernels.backend.linear_scratch(*s, 0, dtype)[:1])
            for s in self.shapes.values()
            if len(s) == 2
        )
        if not training:
            projected = queries * (A or M) * b if "weight_query" in self.shapes else 0
            chunk = min(N, self._at_once(T, steps, b)) * self._a_sequence(T, steps) * b
            chunk += steps * M * b  # the memory of one sequence, packed by a kernel
            return Footprint(
                0,
                y,
                packed + projected + (queries * (M + Q) * b if own else 0) + max(chunk - own, 0),
                0,
                0,
            )
        kept = {"dot": 0, "general": queries * M, "additive": pairs * A}[self.score] * b
        kept += b * (queries * (2 * Q + M) + states * M + pairs) + states + own
        known = b * (states * A + queries * M)  # while it attends: keys and context
        forward = packed + max(known - y, 0)
        dx, dmemory = b * queries * Q, b * states * M
        held = (
            b * (queries * 2 * (M + Q) + pairs) + dmemory
        )  # gradients of [context, x], its halves, the scores, the memory
        if A:
            inner = (
                b * (pairs * A + queries * A + states * (A + M))
                + kernels.backend.linear_scratch(A, M, states, dtype)[1]
            )
        else:
            inner = b * (queries * 3 * M + 2 * pairs)
        backward = (
            held
            + max(inner, dx + dmemory + (dx if memory is None else 0))
            - dx
            - (dmemory if memory else 0)
        )
        return Footprint(kept, y, forward, backward, dx)

    def keeps_input(self, ragged):
        return False

    def stepper(self):
        raise ValueError(
            "Attention cannot run in a stream: it needs its memory; see Seq2Seq.generate"
        )

    def _memory(self, x, state, lengths) -> tuple[np.ndarray, np.ndarray | None]:
        """Its values (T_in, N, M), checked, and which of them are there, (N, T_in); None: all."""
        if self.over_itself:
            if state is not None:
                raise ValueError(
                    "this Attention attends to its own input and takes no memory; give it a memory_size"
                )
            state, name = Memory(x, lengths), "x"
        elif state is None:
            raise ValueError(
                "its memory is missing: the state of this layer must be Memory(values, lengths)"
            )
        else:
            name = "the memory"
        values = checks.array(state.values, name)
        checks.same_dtype(values, name, x.dtype, "x")
        rest = (*x.shape[1:-1], self.memory_size)
        if values.ndim != x.ndim or values.shape[1:] != rest:
            raise ValueError(
                f"{name} must be (T_in, {', '.join(map(str, rest))}), got {values.shape}"
            )
        if state.lengths is None:
            return values if x.ndim == 3 else values[:, None], None
        if x.ndim == 2:
            raise ValueError(
                f"lengths need a batch: x must be (T, N, {self.in_features}), got {x.shape}"
            )
        T, N = values.shape[:2]
        return values, np.ascontiguousarray(
            checks.inside(checks.valid_steps(state.lengths, T, N), T).T
        )

    def _known(self, values, valid, weights) -> PreparedMemory:
        if valid is None:
            memory = _by_sequence(values)
            valid = np.ones(memory.shape[:2], bool)
        else:
            memory = _by_sequence(values, copied=True)
            memory[~valid] = 0
        return PreparedMemory(
            memory, valid, _linear(memory, weights["memory"]) if self.score == "additive" else None
        )

    def _scores(self, query, known: PreparedMemory, weights) -> tuple[np.ndarray, np.ndarray]:
        """What `_scores_backward` needs, and the scores (N, T_out, T_in)."""
        if self.score == "additive":
            query, keys = query[:, :, None], known.keys[:, None]
            inner = np.add(
                query,
                keys,
                out=buffers.empty(np.broadcast_shapes(query.shape, keys.shape), query.dtype),
            )
            _apply(TANH, p=inner)
            return inner, _linear(inner, weights["score"])[..., 0]
        scores = np.zeros((*query.shape[:2], known.memory.shape[1]), query.dtype)
        if scores.size:
            kernels.backend.rows_by_rows(query, known.memory, scores)
        return query, scores

    def _scores_backward(self, d, dcontext, tape, dx, grads) -> np.ndarray:
        """The gradient of the memory; adds to dx and writes parameters' gradients. d is that of the scores."""
        p, dmemory = self.parameters, np.zeros_like(tape.memory)
        if self.score == "additive":
            if d.size:
                kernels.backend.columns_by_columns(tape.rows, dcontext, dmemory)
            inner = _linear_backward(
                d[..., None], tape.kept, p["weight_score"], grads["weight_score"]
            )
            _apply(TANH_BACKWARD, p=tape.kept, d=inner)
            query, key = (
                np.zeros_like(inner, shape=(*d.shape[:2], inner.shape[3])),
                np.zeros_like(inner[:, 0]),
            )
            for s in range(
                d.shape[2]
            ):  # one after the other: bits may not depend on how many there are
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
        query = np.zeros_like(tape.kept)
        if d.size:
            kernels.backend.rows_by_columns(d, tape.memory, query)
            both = (
                np.concatenate(pair, axis=1) for pair in ((tape.rows, d), (dcontext, tape.kept))
            )
            kernels.backend.columns_by_columns(
                *both, dmemory
            )  # of its use as value and as key, in one pass over it
        if self.score == "general":
            query = _linear_backward(query, tape.x, p["weight_query"], grads["weight_query"])
        dx += query
        return dmemory


def _by_sequence(a: Any, copied: bool = False) -> np.ndarray:
    """(N, T, K) of a time-major (T, N, K) or (T, K); never the memory of `a` if `copied`."""
    if a.ndim == 2:
        return a[None]
    turned = a.swapaxes(0, 1)
    if turned.flags.c_contiguous and not copied:
        return turned
    out = buffers.empty(turned.shape, a.dtype)
    out[:] = turned
    return out


def _by_time(a: np.ndarray, batched: bool) -> np.ndarray:
    """The inverse of `_by_sequence`."""
    return np.ascontiguousarray(a.swapaxes(0, 1)) if batched else a[0]


def _apply(rule, **arrays) -> None:
    """A rule on all entries of arrays, modified."""
    kernels.backend.apply_rule(rule, {}, {name: a.reshape(-1) for name, a in arrays.items()}, BLOCK)


def _linear(x, packed) -> np.ndarray:
    """x (..., K) W' + b, from what `pack_linear` made of W and b."""
    M = packed[1].size
    y = np.empty((*x.shape[:-1], M), x.dtype)
    kernels.backend.linear(x.reshape(-1, x.shape[-1]), packed, y.reshape(-1, M))
    return y


def _linear_backward(dy, x, W, dW, db=None) -> np.ndarray:
    """dx; writes dW and db."""
    dx = np.empty_like(x)
    rows = [a.reshape(-1, a.shape[-1]) for a in (dy, x, dx)]
    kernels.backend.linear_backward(
        *rows[:2], W, rows[2], dW, np.empty(len(W), W.dtype) if db is None else db
    )
    return dx
