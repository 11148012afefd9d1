"""Seq2Seq: an encoder reads one sequence, and a decoder that starts from its states writes another.

Training is teacher forcing: the decoder reads the true target sequence, delayed by one step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .. import checks
from ..data import Pair
from ..engine import ragged
from ..engine.bidirectional import MERGES, REVERSE
from ..graph import Edge, Graph
from ..kernels import memory
from ..layers.attention import Attention, Memory
from ..layers.base import Gradients
from ..layers.parameters import parameter_views
from ..layers.quantized import QuantizedParameters, refuse_quantized
from ..layers.quantized import part as part_of
from ..layers.recording import Recording
from ..layers.recurrent import Recurrent
from ..layers.stack import described, lengths_above
from ..optim import Optimizer
from . import quantized
from .base import Model
from .decoding import Generated, beam_search
from .graph_model import Graph as GraphModel
from .memory_plan import Plan, plan, plan_slots
from .sequential import Sequential

BRIDGES = ("concat", "sum", "average")


class Seq2Seq(Model):
    """An encoder and a decoder, trained as one model.

    `forward` and `record` take pairs: x = (source, target), and optionally lengths = (lengths of
    source, lengths of target). Source and target may be lists of sequences, and either lengths may
    be None. The target is the decoder's input: `start`, then the true sequence without its last
    step. y is the decoder's output, usually logits; its lengths are the target's. The parameters
    are named "encoder.<name>" and "decoder.<name>".

    The encoder passes to the decoder:

    * its outputs at all valid steps, as the memory of each `Attention` that has a memory_size;
    * unless bridge is None, the final states of its recurrent layers, as initial states of the
      decoder's recurrent layers, paired from the top layer down;
    * instead of these states, its output, as the initial h of the decoder's first recurrent layer,
      if it outputs one vector (N, K) or has no recurrent layer, and no layer attends to it.

    Parameters
    ----------
    encoder : Sequential
        Reads the source.
    decoder : Sequential
        Reads the target. It has a recurrent layer, none that runs in reverse and none that pools.
    bridge : {"concat", "sum", "average"} or None, default "concat"
        How the two states of a bidirectional encoder layer are merged. With "concat" the decoder's
        layer has twice as many units. None passes no states on.
    start : int, default 0
        Id that decoding starts from in `generate`.
    end : int, optional
        Id that ends a sequence in `generate`. By default sequences end after `max_steps`.

    Raises
    ------
    TypeError
        If encoder or decoder is not a Sequential, their dtypes differ, or an id is not an int.
    ValueError
        If sizes do not fit, the decoder cannot run step by step, or it has no id `start` or `end`.

    References
    ----------
    Sutskever, Vinyals and Le, "Sequence to sequence learning with neural networks" (2014).
    Bahdanau, Cho and Bengio, "Neural machine translation by jointly learning to align and
    translate" (2015).
    Luong, Pham and Manning, "Effective approaches to attention-based neural machine translation"
    (2015).
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
                raise ValueError(f"the {name} is already part of a model; make a new one")
            if part.batch_first:
                raise ValueError(
                    f"the {name} must be time-major, as a Seq2Seq is: leave batch_first=True out"
                )
        if encoder is decoder:
            raise ValueError(
                "encoder and decoder must be two different models, got the same one twice"
            )
        checks.same_dtype(decoder, "decoder", encoder.dtype, "encoder")
        if encoder.weights != decoder.weights:
            raise TypeError(
                f"decoder must have {encoder.weights} weights, as the encoder has, got "
                f"{decoder.weights}: make the Seq2Seq of float32 models, and quantise it"
            )
        if bridge is not None:
            checks.choice(bridge, "bridge", BRIDGES, also=" or None")
        self.encoder, self.decoder, self.dtype = encoder, decoder, encoder.dtype
        self.bridge: Any = bridge
        rows = getattr(decoder.layers[0], "rows", checks.LARGEST)
        self.start = checks.integer(start, "start", 0, rows - 1)
        last = (decoder.out_features or checks.LARGEST) - 1
        self.end = None if end is None else checks.integer(end, "end", 0, last)
        self.layers, self.out_features = [*encoder.layers, *decoder.layers], decoder.out_features
        self.memories = [
            k
            for k, layer in enumerate(decoder.layers)
            if isinstance(layer, Attention) and not layer.over_itself
        ]
        self._connect()
        self.shapes = {
            f"{part}.{name}": shape
            for part, model in self.parts.items()
            for name, shape in model._shapes().items()
        }
        if encoder.weights in quantized.WEIGHTS:
            arrays = {name: part.parameters for name, part in self.parts.items()}
            self._bind_parameters(quantized.beneath(arrays, encoder.weights))
        else:
            self._bind_parameters(memory.empty((encoder.size + decoder.size,), self.dtype))
        self.generator = encoder.generator

    @property
    def parts(self) -> dict[str, Sequential]:
        """The encoder and the decoder by name."""
        return {"encoder": self.encoder, "decoder": self.decoder}

    def _bind_parameters(self, flat):
        self._flat = flat
        if isinstance(flat, QuantizedParameters):
            self.parameters = flat
            for name, part in self.parts.items():
                part._bind_parameters(flat.part({n: f"{name}.{n}" for n in part._shapes()}))
        else:
            split = self.encoder.size
            self.encoder.bind(flat[:split])
            self.decoder.bind(flat[split:])
            self.parameters = parameter_views(flat, self.shapes)
        for layer in self.layers:
            layer.owner = self

    def _connect(self) -> None:
        """Pair encoder layers with the decoder layers that they initialise; check all sizes.

        Raises ValueError if sizes differ.
        """
        encoder, decoder = self.encoder, self.decoder
        if not decoder.returns_sequence:
            raise ValueError(
                "the decoder must output one step for each step of the target, "
                "but one of its layers pools"
            )
        recurrent_layers = [
            [k for k, layer in enumerate(model.layers) if isinstance(layer, Recurrent)]
            for model in (encoder, decoder)
        ]
        sources, takers = recurrent_layers
        if not takers:
            raise ValueError("the decoder needs a recurrent layer, got none")
        for k in range(len(decoder)):
            if decoder[k].reads_ahead:
                what = "reads later steps" if decoder[k].cell is None else "runs in reverse"
                what = "is bidirectional" if decoder[k].bidirectional else what
                raise ValueError(
                    f"decoder: {decoder.where(k)} {what}, "
                    "but a decoder cannot read steps that it has not written yet"
                )
            if not decoder[k].keeps_steps:
                raise ValueError(
                    f"decoder: {decoder.where(k)} has another number of steps in y than in x, "
                    "but a decoder writes one for each step of the target"
                )
        for k in self.memories:
            if not encoder.returns_sequence:
                raise ValueError(
                    f"decoder: {decoder.where(k)} attends to the steps of the encoder's output, "
                    "but the encoder outputs one vector per sequence"
                )
            if encoder.out_features not in (None, decoder[k].memory_size):
                raise ValueError(
                    f"decoder: {decoder.where(k)} has memory_size {decoder[k].memory_size}, "
                    f"but the encoder outputs {encoder.out_features} features"
                )
        self.ends_in_vector = not self.memories and (not encoder.returns_sequence or not sources)
        self.first = takers[0]
        self.pairs = []
        if self.bridge is not None and not self.ends_in_vector:
            self.pairs = list(zip(sources[::-1], takers[::-1], strict=False))
        for i, j in self.pairs:
            times = 2 if encoder[i].bidirectional and self.bridge == "concat" else 1
            for s in (s for s in encoder[i].cell.states if s in decoder[j].state_sizes):
                width, expected = times * encoder[i].state_sizes[s], decoder[j].state_sizes[s]
                if width != expected:
                    raise ValueError(
                        f"decoder: {decoder.where(j)} has a state {s} of size {expected}, but the "
                        f"one from encoder: {encoder.where(i)} has size {width}; "
                        "choose another bridge or hidden_size"
                    )
        expected = decoder[self.first].out_features
        if self.ends_in_vector and encoder.out_features not in (None, expected):
            raise ValueError(
                f"decoder: {decoder.where(self.first)} has a state h of size {expected}, "
                f"but the encoder outputs a vector of size {encoder.out_features}"
            )

    def __repr__(self):
        options = f"bridge={self.bridge!r}, start={self.start}, end={self.end}"
        return f"Seq2Seq(encoder={self.encoder!r}, decoder={self.decoder!r}, {options})"

    def where(self, k):
        n = len(self.encoder)
        k = checks.index(k, "k", len(self), ", the layers")
        if k < n:
            return f"encoder: {self.encoder.where(k)}"
        return f"decoder: {self.decoder.where(k - n)}"

    def has_steps(self, k):
        k = checks.index(k, "k", len(self), ", the layers")
        return k >= len(self.encoder) or self.encoder.has_steps(k)

    def output_lengths(self, lengths):
        return None if lengths is None else lengths[1]

    def prepare_input(self, x, lengths):
        if not isinstance(x, (tuple, list)) or len(x) != 2:
            raise ValueError(
                "x must be a pair (source, target), the inputs of encoder and decoder, "
                f"got {_kind(x)}"
            )
        if lengths is not None and (not isinstance(lengths, (tuple, list)) or len(lengths) != 2):
            raise ValueError(
                "lengths must be a pair (lengths of source, lengths of target), each may be None, "
                f"got {_kind(lengths)}"
            )
        source_lengths, target_lengths = lengths or (None, None)
        source, source_lengths, _ = ragged.pad_sequences(x[0], source_lengths, "source")
        target, target_lengths, listed = ragged.pad_sequences(x[1], target_lengths, "target")
        return Pair(source, target), Pair(source_lengths, target_lengths), listed

    def run_layers(self, x, state, lengths, record, training):
        if state is not None:
            raise ValueError(
                "state must be None: the decoder starts from the states of the encoder"
            )
        read, encoded, tapes = self._encode(x.source, lengths.source, record, training)
        with checks.naming("decoder"):
            start = self._start(read[-1], encoded, lengths.source)
            written, final, more = self.decoder.run_layers(
                x.target, start, lengths.target, record, training
            )
        outputs = [Pair(read[0], written[0]), *read[1:], *written[1:]]
        return outputs, (*encoded, *final), (*tapes, *more)

    def _encode(self, source, lengths, record=False, training=None):
        with checks.naming("encoder"):
            return self.encoder.run_layers(source, None, lengths, record, training)

    def _start(self, y, states, lengths) -> tuple:
        """Return the decoder's initial state from the encoder's output and final state."""
        start: list = [None] * len(self.decoder)
        for k in self.memories:
            start[k] = Memory(y, lengths_above(self.encoder.layers, lengths))
        if self.ends_in_vector:
            start[self.first] = self._state(self.first, {"h": y})
        for i, j in self.pairs:
            layer = self.encoder[i]
            arrays = layer.state_arrays(states[i])
            if layer.bidirectional:
                merge = MERGES[self.bridge][0]
                arrays = {s: merge(arrays[s], arrays[s + REVERSE]) for s in layer.cell.states}
            start[j] = self._state(j, arrays)
        return tuple(start)

    def _state(self, k, arrays):
        """Return a state of the decoder's layer k from arrays by name; missing ones are zeros."""
        layer = self.decoder[k]
        rows, dtype = arrays["h"].shape[:-1], arrays["h"].dtype
        zeros = {
            s: np.zeros((*rows, size), dtype)
            for s, size in layer.state_sizes.items()
            if s not in arrays
        }
        return layer.state_from({s: arrays.get(s, zeros.get(s)) for s in layer.state_delays})

    def backward(self, dy, tape, dstate=None, out=None, recording=None):
        refuse_quantized(self.parameters, "backward trains")
        self.check_tape(tape)
        if recording is not None:
            checks.instance(recording, Recording, "recording", "a Recording of this model")
        if dstate is not None:
            raise ValueError("dstate must be None: the loss does not depend on the final state")
        ragged.pad_dy(dy, tape)  # a check
        n, split = len(self.encoder), self.encoder.size
        flat = self.gradient_vector(out, tape, dy)
        encoding = decoding = None
        if recording is not None:
            encoding = Recording(None, None, recording.layers[:n])
            decoding = Recording(None, None, recording.layers[n:])
        with checks.naming("decoder"):
            written = self.decoder.backward(dy, tape[n:], None, flat[split:], decoding)
        # Without dy no gradient reaches the memories.
        dvalues = [written.state[k].values for k in self.memories if written.state[k] is not None]
        d = None  # gradient with respect to the encoder's output
        if self.ends_in_vector:
            d = written.state[self.first].h
        elif dvalues:
            d = sum(dvalues[1:], dvalues[0])
        dstates: list = [None] * n
        for i, j in self.pairs:
            dstates[i] = self._split(
                self.encoder[i], self.decoder[j].state_arrays(written.state[j])
            )
        with checks.naming("encoder"):
            read = self.encoder.backward(d, tape[:n], dstates, flat[:split], encoding)
        return Gradients(Pair(read.dx, written.dx), parameter_views(flat, self.shapes), read.state)

    def _split(self, layer, arrays):
        """Return the gradient of an encoder layer's final state.

        `arrays` holds, by name, the gradient of the decoder's initial state that the bridge
        computes from that final state.
        """
        gradients = {}
        for s in layer.cell.states:
            size, d = layer.state_sizes[s], arrays.get(s)
            if d is None:
                times = 2 if layer.bidirectional and self.bridge == "concat" else 1
                d = np.zeros((*arrays["h"].shape[:-1], times * size), arrays["h"].dtype)
            if layer.bidirectional:
                split = MERGES[self.bridge][1]
                gradients[s], gradients[s + REVERSE] = split(d, np.empty(size), None)
            else:
                gradients[s] = d
        return layer.state_from(gradients)

    def generate(
        self,
        source: Any,
        max_steps: int,
        beam: int = 1,
        lengths: Any = None,
        length_power: float = 0.0,
    ) -> Generated:
        """Decode the most likely sequences for a batch of sources: greedy, or by beam search.

        The decoder starts from the id `start`, reads its own output, and stops at the id `end` or
        after `max_steps`. Sequences are ranked by log p / length^length_power.

        Parameters
        ----------
        source : ndarray, shape (T, N) or (T, N, D)
            A batch as the encoder takes it, or a list of sequences.
        max_steps : int
            Greatest length of a sequence.
        beam : int, default 1
            Number of sequences kept for each source at every step; 1 is greedy decoding.
        lengths : array of int, shape (N,), or mask, shape (T, N), optional
            Lengths of the sources.
        length_power : float, default 0.0
            Exponent of the length penalty.

        Returns
        -------
        Generated
            `beam` sequences per source, best first.

        Raises
        ------
        ValueError
            If source is not a batch, or max_steps or beam is below 1.
        """
        max_steps, beam = checks.size(max_steps, "max_steps"), checks.size(beam, "beam")
        length_power = checks.number(length_power, "length_power")
        source, lengths, _ = ragged.pad_sequences(source, lengths, "source")
        read, encoded, _ = self._encode(source, lengths)
        y = read[-1]
        if y.ndim != (2 if self.ends_in_vector else 3):
            raise ValueError(
                "source must be a batch of sequences, got a single sequence; "
                "pass it as a list of one array"
            )
        start = self._start(y, encoded, lengths)
        rows = np.repeat(np.arange(y.shape[-2]), beam)
        decode = self.decoder.packed()

        def step(ids, state):
            y, final = decode(ids[None], state)
            return y[0], final

        def reorder(state, rows):
            return self._rows(state, rows, {})  # all rows of one source have the same memory

        def memory(m):
            repeated = None if m.lengths is None else np.asarray(m.lengths)[..., rows]
            return Memory(m.values[:, rows], repeated)

        repeated = self._rows(start, rows, {k: memory(start[k]) for k in self.memories})
        return beam_search(
            step,
            repeated,
            reorder,
            y.shape[-2],
            start=self.start,
            end=self.end,
            max_steps=max_steps,
            beam=beam,
            power=length_power,
        )

    def _rows(self, state, rows, others):
        """Return rows of the states of layers that have some; `others` has those of the rest."""
        return tuple(
            layer.state_from({n: a[rows] for n, a in layer.state_arrays(s).items()})
            if s is not None and layer.state_delays
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
        """Estimate the peak memory of a training step, as `Sequential.plan` does.

        Parameters
        ----------
        T : (int, int)
            Number of time steps of the source and of the target.
        N : int
            Batch size.
        training : bool, default True
            Whether to plan a training step rather than a forward pass.
        ragged : bool, default False
            Whether lengths are given. The estimate assumes the worst case, T for all.
        optimizer : Optimizer, optional
            The optimiser; Adam by default.

        Returns
        -------
        Plan
            Sizes in bytes, and their `total`.

        Raises
        ------
        ValueError
            If a size is below 1 or the memory of a layer cannot be planned.
        """
        if not isinstance(T, (tuple, list)) or len(T) != 2:
            raise ValueError(
                "T must be a pair: the steps of the source and of the target, "
                f"got {checks.shown(T)}"
            )
        parts = [(self.encoder, T[0]), (self.decoder, T[1])]
        slots = plan_slots(optimizer)
        return plan(parts, N, training, ragged, slots, self.memories)

    def describe(self) -> dict:
        return {
            "dtype": self.dtype.name,
            "encoder": self.encoder.describe()["layers"],
            "decoder": self.decoder.describe()["layers"],
            "bridge": self.bridge,
            "start": self.start,
            "end": self.end,
            **self._weights_entry(),
        }

    def _with(self, parameters):
        models = []
        for name, part in self.parts.items():
            own = part_of(parameters, {n: f"{name}.{n}" for n in part._shapes()})
            models.append(part._copied(own))
        return Seq2Seq(*models, bridge=self.bridge, start=self.start, end=self.end)

    @classmethod
    def build(
        cls, description: dict, parameters: Mapping[str, np.ndarray] | None = None
    ) -> Seq2Seq:
        """Make a model from its description.

        Parameters
        ----------
        description : dict
            The result of `describe`.
        parameters : mapping of str to ndarray, of any shape, optional
            The values of all parameters by name, as `Sequential.build` takes them.

        Returns
        -------
        Seq2Seq

        Raises
        ------
        TypeError
            If an option of a layer has the wrong type.
        ValueError
            If a layer type is unknown, or an option or the shape or dtype of a parameter does not
            fit.
        """
        described(description, "dtype", "encoder", "decoder", "bridge", "start", "end")
        parts = []
        for part in ("encoder", "decoder"):
            stack = {"dtype": description["dtype"], "layers": description[part]}
            stack |= {"weights": description["weights"]} if "weights" in description else {}
            with checks.naming(part):
                parts.append(Sequential.build(stack, parameters, f"{part}."))
        encoder, decoder = parts
        options = {name: description[name] for name in ("bridge", "start", "end")}
        return cls(encoder, decoder, **options)

    def graph(self) -> Graph:
        """Return the graph of both stacks of layers.

        Returns
        -------
        Graph
            Like that of a Sequential, with edges between the stacks for memories and initial
            states.
        """
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


def build(description: dict, parameters: Mapping[str, np.ndarray] | None = None) -> Model:
    """Make a model from its description, the result of `describe`, and its parameters by name."""
    kind: Any = GraphModel if "outputs" in description else Sequential
    kind = Seq2Seq if "encoder" in description else kind
    return kind.build(description, parameters)


def _kind(value):
    """Describe an argument that is not a pair, for an error message."""
    kind = type(value).__name__
    return f"a {kind} of {len(value)}" if isinstance(value, (tuple, list)) else kind
