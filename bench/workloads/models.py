"""Workloads of several layers: character model, sampling, stream, attention, encoder-decoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import recurrent

from .base import Work

LSTM_GATES = len(recurrent.lstm.cell.gates)


@dataclass(frozen=True)
class CharModel(Work):
    """An update of the character model: forward, cross-entropy, backward, clipping by norm, Adam.

    The model has an embedding, LSTM layers and a linear layer.
    """

    H: int
    N: int = 50
    T: int = 50
    V: int = 65
    E: int = 128
    layers: int = 2
    mode: str = "full"

    cell, task, group, per = "lstm", "update", "charlm", "character"
    compared, tolerance = 5, 1e-4  # the losses of five updates
    lr, clip, windows = 2e-3, 5.0, 4

    @property
    def name(self) -> str:
        return f"charlm-{self.layers}x{self.H}-N{self.N}-T{self.T}"

    @property
    def flops(self) -> float:
        """Multiplications and additions of the matrix products per character."""
        inputs = [self.E, *[self.H] * (self.layers - 1)]
        return 3 * 2 * (sum(LSTM_GATES * self.H * (D + self.H) for D in inputs) + self.H * self.V)

    def model(self, dtype: str = "float32") -> recurrent.Sequential:
        stack = [recurrent.LSTM(self.H if k else self.E, self.H) for k in range(self.layers)]
        return recurrent.Sequential(
            recurrent.Embedding(self.V, self.E),
            *stack,
            recurrent.Linear(self.H, self.V),
            rng=0,
            dtype=dtype,
        )

    def data(self) -> CharData:
        """Return consecutive windows, and the initial weights."""
        ids = np.random.default_rng(0).integers(self.V, size=(self.windows, self.T + 1, self.N))
        return CharData([(w[:-1], w[1:]) for w in ids], copied(self.model().parameters))

    def count(self, calls: int) -> int:
        return calls * self.N * self.T


@dataclass(frozen=True)
class CharData:
    """Windows (x (T, N), targets (T, N)) of ids, and the parameters by name."""

    windows: list
    parameters: dict


@dataclass(frozen=True)
class Sampling(Work):
    """Sampling of T characters of one text from the character model, one time step a character.

    Each character is drawn from the softmax of the logits. A given one takes its place as the next
    input, so that all engines do the same work.
    """

    H: int
    T: int = 100
    V: int = 65
    E: int = 128
    layers: int = 2
    weights: str = "int8"
    mode: str = "full"

    cell, task, group, per, tolerance = "lstm", "sample", "quantized", "character", 1e-4

    @property
    def name(self) -> str:
        return f"charlm-{self.layers}x{self.H}-sample-N1-T{self.T}-{self.weights}"

    @property
    def flops(self) -> float:
        """Multiplications and additions of the matrix products per character."""
        return CharModel(self.H, V=self.V, E=self.E, layers=self.layers).flops / 3

    def model(self, dtype: str = "float32") -> recurrent.Sequential:
        return CharModel(self.H, V=self.V, E=self.E, layers=self.layers).model(dtype)

    def data(self) -> SampledData:
        """Return the ids, and weights as after training; the embedding's are the initial ones."""
        rng, parameters = np.random.default_rng(0), copied(self.model().parameters)
        ids = rng.integers(self.V, size=self.T)
        others = {n: a for n, a in parameters.items() if n != "0.weight"}
        return SampledData(ids, parameters | trained(others, rng))

    def exact(self, data, weights):
        model = load(self.model(), data.parameters)
        if weights != self.dtype:
            model = model.quantize(weights).dequantized()
        return [[load(self.model("float64"), model.parameters)(data.ids)]]

    def count(self, calls: int) -> int:
        return calls * self.T


@dataclass(frozen=True)
class SampledData:
    """Ids (T,) of the inputs, and the parameters by name."""

    ids: np.ndarray
    parameters: dict


@dataclass(frozen=True)
class StreamedModel(Work):
    """One time step of a model for a single sequence: a GRU and a linear layer with one output."""

    D: int
    H: int
    mode: str = "full"

    cell, task, group, per, method = "gru", "step", "stream", "step", "step_model"
    tolerance = 1e-5

    @property
    def name(self) -> str:
        return f"gru-linear-step-N1-T1-D{self.D}-H{self.H}"

    @property
    def flops(self) -> float:
        """Multiplications and additions of the matrix products per step."""
        gates = len(recurrent.gru.cell.gates)
        return 2 * (gates * self.H * (self.D + self.H) + self.H)

    def model(self) -> recurrent.Sequential:
        return recurrent.Sequential(
            recurrent.GRU(self.D, self.H), recurrent.Linear(self.H, 1), rng=0
        )

    def data(self) -> StreamedData:
        x = np.random.default_rng(1).standard_normal((1, self.D), np.float32)
        return StreamedData(x, copied(self.model().parameters))


@dataclass(frozen=True)
class StreamedData:
    """x (1, D) of every step, and the parameters by name."""

    x: np.ndarray
    parameters: dict


@dataclass(frozen=True)
class Attending(Work):
    """An attention layer with Luong's output layer.

    Each of N sequences has T queries over at most S states of H values. `cell` is the score (dot,
    general or additive); `task` is forward, or train with the gradients of queries, memory and
    weights.
    """

    cell: str
    task: str
    N: int
    T: int
    S: int
    H: int
    mode: str = "full"

    group, method = "attention", "attend"

    @property
    def name(self) -> str:
        return f"attention-{self.cell}-{self.task}-N{self.N}-T{self.T}-S{self.S}-H{self.H}"

    @property
    def tolerance(self) -> float:
        return float(np.finfo(self.dtype).eps * 8 * np.sqrt(self.T * self.N + self.S + self.H))

    @property
    def flops(self) -> float:
        """Multiplications and additions of the matrix products, without padding."""
        queries, states, H = self.N * self.T, int(self.lengths.sum()), self.H
        pairs = self.T * states
        scores = {
            "dot": H * pairs,
            "general": H * (pairs + H * queries),
            "additive": H * (pairs + H * (queries + states)),
        }
        forward = 2 * (scores[self.cell] + H * pairs + 2 * H * H * queries)
        return forward * (3 if self.task == "train" else 1)

    @property
    def lengths(self) -> np.ndarray:
        """Number of states in each memory, (N,), uniform in S / 2 .. S."""
        return np.random.default_rng(0).integers(self.S // 2, self.S + 1, self.N)

    def layer(self) -> recurrent.Attention:
        return recurrent.Attention(self.H, self.H, self.cell, output_size=self.H).initialise(rng=0)

    def data(self) -> AttendingData:
        rng = np.random.default_rng(1)
        x, memory, dy = (
            rng.standard_normal((steps, self.N, self.H), np.float32)
            for steps in (self.T, self.S, self.T)
        )
        return AttendingData(
            x,
            memory / np.float32(np.sqrt(self.H)),
            self.lengths,
            dy,
            copied(self.layer().parameters),
        )


@dataclass(frozen=True)
class AttendingData:
    """x and dy (T, N, H), memory (S, N, H), lengths (N,), and the parameters by name."""

    x: np.ndarray
    memory: np.ndarray
    lengths: np.ndarray
    dy: np.ndarray
    parameters: dict


@dataclass(frozen=True)
class Translation(Work):
    """An encoder-decoder: an embedding and an LSTM each, attention, and a linear layer.

    `task` is update (teacher forcing, cross-entropy, backward, clipping by norm, Adam) or greedy
    (decoding of T ids). `kind` "ragged" has sources of S / 2 to S steps and targets of T / 2 to T.
    """

    task: str
    N: int
    S: int
    T: int
    H: int
    kind: str = ""
    V: int = 65
    E: int = 64
    mode: str = "full"

    cell, group, per = "lstm", "seq2seq", "token"
    tolerance, lr, clip = 1e-4, 2e-3, 5.0

    @property
    def name(self) -> str:
        name = f"seq2seq-{self.task}-N{self.N}-S{self.S}-T{self.T}-H{self.H}"
        return f"{name}-{self.kind}" if self.kind else name

    @property
    def method(self) -> str:
        return {"update": "translate", "greedy": "decode"}[self.task]

    @property
    def compared(self) -> int:
        """Five updates, whose losses must agree; sequences are decoded once."""
        return 5 if self.task == "update" else 1

    @property
    def lengths(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Lengths of sources and targets, (N,) each; None unless ragged."""
        rng = np.random.default_rng(0)
        both = [rng.integers(steps // 2, steps + 1, self.N) for steps in (self.S, self.T)]
        return tuple(both) if self.kind == "ragged" else None

    @property
    def tokens(self) -> int:
        """Number of tokens of all targets."""
        return self.N * self.T if self.lengths is None else int(self.lengths[1].sum())

    @property
    def flops(self) -> float:
        """Multiplications and additions of the matrix products per target token."""
        lstm, H = 2 * LSTM_GATES * self.H * (self.E + self.H), self.H
        if self.lengths is None:
            states, pairs = self.N * self.S, self.tokens * self.S
        else:
            states, pairs = int(self.lengths[0].sum()), int(self.lengths[0] @ self.lengths[1])
        attention = 3 * H * H + 2 * H * pairs / self.tokens
        forward = lstm * (states / self.tokens + 1) + 2 * (attention + H * self.V)
        return forward * (3 if self.task == "update" else 1)

    def model(self) -> recurrent.Seq2Seq:
        encoder, decoder = (
            [recurrent.Embedding(self.V, self.E), recurrent.LSTM(self.E, self.H)] for _ in range(2)
        )
        decoder += [
            recurrent.Attention(self.H, self.H, output_size=self.H),
            recurrent.Linear(self.H, self.V),
        ]
        return recurrent.Seq2Seq(
            recurrent.Sequential(*encoder, rng=0), recurrent.Sequential(*decoder, rng=1)
        )

    def data(self) -> TranslationData:
        rng = np.random.default_rng(0)
        source, target = (
            rng.integers(self.V, size=(steps, self.N)) for steps in (self.S, self.T + 1)
        )
        return TranslationData(
            source, target[:-1], target[1:], self.lengths, copied(self.model().parameters)
        )

    def count(self, calls: int) -> int:
        return calls * self.tokens


@dataclass(frozen=True)
class TranslationData:
    """Ids: source (S, N), decoder_input (T, N) and targets (T, N); lengths; parameters."""

    source: np.ndarray
    decoder_input: np.ndarray
    targets: np.ndarray
    lengths: tuple[np.ndarray, np.ndarray] | None
    parameters: dict


def trained(arrays: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the arrays, with matrices that are spread as after training.

    They are normal, so that a few weights of a row are much larger than the others, with standard
    deviation 1/sqrt(K) for K columns. With K units that is 1.7 times the one of initial weights.
    """
    return {
        n: (rng.standard_normal(a.shape) / np.sqrt(a.shape[1])).astype(a.dtype)
        if a.ndim == 2
        else a
        for n, a in arrays.items()
    }


def load(model, parameters: dict[str, np.ndarray]):
    """Copy parameters into a model or layer and return it."""
    for name, a in parameters.items():
        model.parameters[name][:] = a
    return model


def copied(parameters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a copy of each parameter."""
    return {name: a.copy() for name, a in parameters.items()}
