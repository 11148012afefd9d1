"""Encoder and decoder: one model reads a sequence, another writes one that starts from what the first has left.

Sutskever, Vinyals and Le (2014); with attention over all of the encoder's states Bahdanau, Cho and Bengio (2015) and
Luong, Pham and Manning (2015). Training is teacher forcing: the decoder reads the true sequence, one step late.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .. import checks
from ..data import Pair
from ..engine import ragged
from ..engine.bidirectional import MERGES, REVERSE
from ..graph import Edge, Graph
from ..layers.attention import Attention, Memory
from ..layers.base import Gradients
from ..layers.parameters import parameter_views
from ..layers.recording import Recording
from ..layers.recurrent import Recurrent
from ..optim import Adam, Optimizer
from .base import Model
from .decoding import Generated, beam_search
from .memory_plan import Plan, plan
from .sequential import Sequential

BRIDGES = ("concat", "sum", "average")


class Seq2Seq(Model):
    """An encoder and a decoder trained as one model, with parameters "encoder.<name>" and "decoder.<name>" in one vector.

    `forward` and `record` take x = (source, target) as the two models take theirs, lists of sequences too, and
    lengths = (source's, target's), either None. target is what the decoder reads: `start`, then the true sequence but
    for its last step. y are the decoder's logits; their lengths are the target's.

    What the decoder starts from: an `Attention` in it that takes a memory gets the encoder's y, its blanks left out. Its
    recurrent layers start from the final states of the encoder's, paired from the top; where the encoder is bidirectional its
    two states are merged as `bridge` says, "concat" (the decoder's layer is then twice as wide), "sum" or "average".
    bridge=None hands no states over. An encoder that ends in a vector (N, K), because it pools or has no recurrent layer,
    gives that as h to the decoder's first recurrent layer.

    `start`, `end`: ids that `generate` begins with and stops at; no `end`, no stopping. Raises ValueError where sizes do not
    fit, TypeError for dtypes that differ.
    """

    def __init__(
        self,
        encoder: Sequential,
        decoder: Sequential,
        bridge: str | None = "concat",
        start: int = 0,
        end: int | None = None,
    ):
        for name, part in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(part, Sequential):
                raise TypeError(f"{name} must be a Sequential, got {type(part).__name__}")
            if any(layer.owner is not part for layer in part.layers):
                raise ValueError(f"the {name} is part of a model already; make a new one")
        if encoder is decoder:
            raise ValueError("encoder and decoder must be two models")
        checks.same_dtype(decoder.flat, "decoder", encoder.dtype, "encoder")
        if bridge not in (None, *BRIDGES):
            raise ValueError(f"bridge must be one of {', '.join(BRIDGES)} or None, got {bridge!r}")
        self.encoder, self.decoder, self.dtype = encoder, decoder, encoder.dtype
        self.bridge, self.start, self.end = bridge, start, end
        self.layers, self.out_features = [*encoder.layers, *decoder.layers], decoder.out_features
        self.memories = [
            k
            for k, a in enumerate(decoder.layers)
            if isinstance(a, Attention) and not a.over_itself
        ]
        self._check()
        names = {"encoder": encoder, "decoder": decoder}
        self.shapes = {
            f"{part}.{n}": a.shape for part, m in names.items() for n, a in m.parameters.items()
        }
        self._bind_parameters(np.empty(encoder.size + decoder.size, self.dtype))
        self.generator = encoder.generator

    @property
    def parts(self) -> dict[str, Model]:
        """The encoder and the decoder by name."""
        return {"encoder": self.encoder, "decoder": self.decoder}

    def _bind_parameters(self, flat):
        cut = self.encoder.size
        self.encoder.bind(flat[:cut])
        self.decoder.bind(flat[cut:])
        self._flat, self.parameters = flat, parameter_views(flat, self.shapes)
        for layer in self.layers:
            layer.owner = self

    def _check(self) -> None:
        encoder, decoder = self.encoder, self.decoder
        if not decoder.returns_sequence:
            raise ValueError(
                "the decoder must put out a step for each of its target's, but one of its layers pools"
            )
        found = [
            [k for k, layer in enumerate(m.layers) if isinstance(layer, Recurrent)]
            for m in (encoder, decoder)
        ]
        if not found[1]:
            raise ValueError("the decoder needs a recurrent layer")
        for k in found[1]:
            if decoder[k].bidirectional:
                raise ValueError(
                    f"decoder: {decoder.where(k)} is bidirectional, but a decoder has no future to read"
                )
        for k in self.memories:
            if not encoder.returns_sequence:
                raise ValueError(
                    f"decoder: {decoder.where(k)} needs the encoder's steps, but the encoder leaves none"
                )
            if encoder.out_features not in (None, decoder[k].memory_size):
                sizes = f"{decoder[k].memory_size} numbers a step, but the encoder puts out {encoder.out_features}"
                raise ValueError(f"decoder: {decoder.where(k)} needs a memory of {sizes}")
        self.ends_in_vector = not self.memories and (not encoder.returns_sequence or not found[0])
        self.pairs = (
            []
            if self.bridge is None or self.ends_in_vector
            else list(zip(*(k[::-1] for k in found), strict=False))
        )
        self.first = found[1][0]
        for i, j in self.pairs:
            times = 2 if encoder[i].bidirectional and self.bridge == "concat" else 1
            for s in (s for s in encoder[i].cell.states if s in decoder[j].state_sizes):
                width, taken = times * encoder[i].state_sizes[s], decoder[j].state_sizes[s]
                if width != taken:
                    what = "units" if taken == decoder[j].hidden_size else f"numbers in {s}"
                    sizes = f"{taken} {what}, but the states that encoder: {encoder.where(i)} leaves have {width}"
                    raise ValueError(
                        f"decoder: {decoder.where(j)} has {sizes}; choose another bridge or size"
                    )
        if self.ends_in_vector and encoder.out_features not in (
            None,
            decoder[self.first].out_features,
        ):
            sizes = f"{decoder[self.first].out_features} units, but the encoder ends in a vector of {encoder.out_features}"
            raise ValueError(f"decoder: {decoder.where(self.first)} has {sizes}")

    def __repr__(self):
        options = f"bridge={self.bridge!r}, start={self.start}, end={self.end}"
        return f"Seq2Seq(encoder={self.encoder!r}, decoder={self.decoder!r}, {options})"

    def where(self, k):
        n = len(self.encoder)
        return (
            f"encoder: {self.encoder.where(k)}"
            if k < n
            else f"decoder: {self.decoder.where(k - n)}"
        )

    def has_steps(self, k):
        return k >= len(self.encoder) or self.encoder.has_steps(k)

    def output_lengths(self, lengths):
        """The target's."""
        return None if lengths is None else lengths[1]

    def prepare_input(self, x, lengths):
        if not isinstance(x, (tuple, list)) or len(x) != 2:
            raise ValueError(
                "x must be (source, target): what the encoder reads, and what the decoder does"
            )
        if lengths is not None and (not isinstance(lengths, (tuple, list)) or len(lengths) != 2):
            raise ValueError("lengths must be (source's, target's), either of them None")
        both = zip(x, lengths or (None, None), ("source", "target"), strict=True)
        (source, inside, _), (target, outside, listed) = (
            ragged.pad_sequences(*each) for each in both
        )
        return Pair(source, target), Pair(inside, outside), listed

    def run_layers(self, x, state, lengths, record, training):
        if state is not None:
            raise ValueError("state must be None: a decoder starts from what the encoder leaves")
        read, left, tapes = self._encode(x.source, lengths.source, record, training)
        with checks.naming("decoder"):
            start = self._start(read[-1], left, lengths.source)
            written, new, more = self.decoder.run_layers(
                x.target, start, lengths.target, record, training
            )
        return [Pair(read[0], written[0]), *read[1:], *written[1:]], (*left, *new), (*tapes, *more)

    def _encode(self, source, lengths, record=False, training=None):
        with checks.naming("encoder"):
            return self.encoder.run_layers(source, None, lengths, record, training)

    def _start(self, y, states, lengths) -> tuple:
        """The decoder's initial state from the encoder's output and final state."""
        start: list = [None] * len(self.decoder)
        for k in self.memories:
            start[k] = Memory(y, lengths)
        if self.ends_in_vector:
            start[self.first] = self._state(self.first, {"h": y})
        for i, j in self.pairs:
            arrays, both = self.encoder[i].state_arrays(states[i]), self.encoder[i].bidirectional
            merged = MERGES[self.bridge][0] if both else None
            arrays = {
                s: merged(arrays[s], arrays[s + REVERSE]) if both else arrays[s]
                for s in self.encoder[i].cell.states
            }
            start[j] = self._state(j, arrays)
        return tuple(start)

    def _state(self, k, arrays):
        """A state of the decoder's layer k from arrays by name; zeros for those that it has besides."""
        layer = self.decoder[k]
        rows, dtype = arrays["h"].shape[:-1], arrays["h"].dtype
        zeros = {
            s: np.zeros((*rows, size), dtype)
            for s, size in layer.state_sizes.items()
            if s not in arrays
        }
        return layer.state_from(
            {**zeros, **{s: arrays[s] for s in layer.state_delays if s in arrays}}
        )

    def backward(self, dy, tape, dstate=None, out=None, recording=None):
        """Gradients of the loss from dy = dL/dy and the tape of a recorded forward pass.

        `out`: a vector like `flat` to write the parameters' gradients to. Returns Gradients(dx = Pair, params by name, the
        gradient of the encoder's initial state).
        """
        if tape is None:
            raise ValueError("backward needs a tape: call forward with record=True")
        if dstate is not None:
            raise ValueError("dstate must be None: nothing follows a decoder's final state")
        n, cut = len(self.encoder), self.encoder.size
        flat = np.empty_like(self.flat) if out is None else out
        checks.writeable(flat, "out", self.flat)
        parts = (
            (None, None)
            if recording is None
            else (self._part(recording, slice(n)), self._part(recording, slice(n, None)))
        )
        with checks.naming("decoder"):
            written = self.decoder.backward(dy, tape[n:], None, flat[cut:], parts[1])
        dvalues = [written.state[k].values for k in self.memories]
        d = (
            written.state[self.first].h
            if self.ends_in_vector
            else sum(dvalues[1:], *dvalues[:1])
            if dvalues
            else None
        )
        dstates: list = [None] * n
        for i, j in self.pairs:
            dstates[i] = self._split(
                self.encoder[i], self.decoder[j].state_arrays(written.state[j])
            )
        with checks.naming("encoder"):
            read = self.encoder.backward(d, tape[:n], dstates, flat[:cut], parts[0])
        return Gradients(Pair(read.dx, written.dx), parameter_views(flat, self.shapes), read.state)

    def _split(self, layer, arrays):
        """The gradient of an encoder layer's final state from that of the state it became, by name."""
        found = {}
        for s in layer.cell.states:
            size, d = layer.state_sizes[s], arrays.get(s)
            if d is None:
                times = 2 if layer.bidirectional and self.bridge == "concat" else 1
                d = np.zeros((*arrays["h"].shape[:-1], times * size), arrays["h"].dtype)
            if layer.bidirectional:
                found[s], found[s + REVERSE] = MERGES[self.bridge][1](d, np.empty(size), None)
            else:
                found[s] = d
        return layer.state_from(found)

    def _part(self, recording, which):
        return Recording(None, None, recording.layers[which])

    def generate(
        self,
        source: Any,
        max_steps: int,
        beam: int = 1,
        lengths: Any = None,
        length_power: float = 0.0,
    ) -> Generated:
        """The likeliest sequences for a batch of sources: greedy, or with `beam` sequences of each kept at every step.

        `source` as the encoder takes a batch, lists too, with its `lengths`. Decoding starts from the id `start`, reads its
        own output and ends with the id `end`, or after `max_steps`. Sequences are ranked by log p / length^length_power.
        """
        source, lengths, _ = ragged.pad_sequences(source, lengths, "source")
        read, left, _ = self._encode(source, lengths)
        y = read[-1]
        if y.ndim != (2 if self.ends_in_vector else 3):
            raise ValueError(
                "generate takes a batch of sources; give a single one as a list of one array"
            )
        start = self._start(y, left, lengths)
        rows, decode = (
            np.repeat(np.arange(y.shape[-2]), checks.size(beam, "beam")),
            self.decoder.packed(),
        )

        def step(ids, state):
            y, new = decode(ids[None], state)
            return y[0], new

        def reorder(state, rows):  # all rows of one source have the same memory
            return self._rows(state, rows, {})

        def memory(m):
            inside = None if m.lengths is None else np.asarray(m.lengths)[..., rows]
            return Memory(m.values[:, rows], inside)

        repeated = self._rows(start, rows, {k: memory(start[k]) for k in self.memories})
        options = dict(
            start=self.start, end=self.end, max_steps=max_steps, beam=beam, power=length_power
        )
        return beam_search(step, repeated, reorder, y.shape[-2], **options)

    def _rows(self, state, rows, others):
        """Rows of the states of recurrent layers; entries of other layers from `others`, else as they are."""
        return tuple(
            type(s)(*(a[rows] for a in s))
            if s is not None and isinstance(layer, Recurrent)
            else others.get(k, s)
            for k, (layer, s) in enumerate(zip(self.decoder.layers, state, strict=True))
        )

    def plan(
        self,
        T: tuple[int, int],
        N: int,
        training: bool = True,
        ragged: bool = False,
        optimizer: Optimizer | None = None,
    ) -> Plan:
        """Bytes at the peak of a training step: `Sequential.plan`, with T = (the source's steps, the target's)."""
        if not isinstance(T, (tuple, list)) or len(T) != 2:
            raise ValueError(f"T must be (the source's steps, the target's), got {T!r}")
        parts = [(self.encoder, T[0]), (self.decoder, T[1])]
        slots = len((optimizer or Adam()).slots)
        return plan(parts, N, training, ragged, slots, self.memories)

    def describe(self) -> dict:
        """What builds an equal model again, as plain data."""
        parts = {
            "encoder": self.encoder.describe()["layers"],
            "decoder": self.decoder.describe()["layers"],
        }
        return {
            "dtype": self.dtype.name,
            **parts,
            "bridge": self.bridge,
            "start": self.start,
            "end": self.end,
        }

    @classmethod
    def build(cls, description: dict) -> Seq2Seq:
        """A model from what `describe` returned. Raises ValueError for a layer type that is not known."""
        parts = [
            Sequential.build({"dtype": description["dtype"], "layers": description[p]})
            for p in ("encoder", "decoder")
        ]
        return cls(*parts, **{name: description[name] for name in ("bridge", "start", "end")})

    def graph(self) -> Graph:
        """Both stacks; between them the memory of every step, and final states that become initial ones."""
        n, both = len(self.encoder), Graph()
        for part, first, end in (
            (self.encoder.graph(), 0, "source"),
            (self.decoder.graph(), n, "target"),
        ):
            ids = {node.id: node.id for node in part.nodes} | {"x": end}
            ids |= {f"layer{k}": f"layer{k + first}" for k in range(len(part.nodes) - 2)}
            kept = [node for node in part.nodes if first or node.kind != "output"]
            both.nodes += [
                replace(a, id=ids[a.id], label=end if a.id == "x" else a.label) for a in kept
            ]
            edges = [e for e in part.edges if first or e.target != "y"]
            both.edges += [replace(e, source=ids[e.source], target=ids[e.target]) for e in edges]
        top = f"layer{n - 1}"
        memory = both.node(top).shape
        both.edges += [Edge(top, f"layer{n + k}", "memory", memory) for k in self.memories]
        states = [(i, j, list(self.decoder[j].state_delays)) for i, j in self.pairs]
        states += [(n - 1, self.first, ["h"])] if self.ends_in_vector else []
        for i, j, names in states:
            sizes = self.decoder[j].state_sizes
            for size in dict.fromkeys(sizes[s] for s in names):
                label = ", ".join(s for s in names if sizes[s] == size)
                both.edges.append(Edge(f"layer{i}", f"layer{n + j}", label, ("N", size)))
        return both


def build(description: dict) -> Model:
    """A model from what its `describe` returned."""
    return (Seq2Seq if "encoder" in description else Sequential).build(description)
