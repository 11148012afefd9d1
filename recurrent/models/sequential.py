"""Sequential: layers in order, all parameters in one flat vector."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from .. import checks, initialisers
from ..engine import ragged
from ..graph import Edge, Graph, Node
from ..layers.base import LAYERS, Gradients, Layer
from ..layers.parameters import ParameterViews, parameter_views
from ..layers.recording import Recording
from ..layers.stream import Stream
from ..optim import Adam, Optimizer
from .base import Model
from .memory_plan import Plan, plan


class Sequential(Model):
    """Layers applied one after the other.

    `rng`: seed or numpy Generator for the initial parameters and for dropout. `dtype`: "float32" or "float64". `init`: how
    parameters begin, by name or as a function: see `recurrent.initialisers`.
    Layers that have parameter values already keep them. Raises ValueError where sizes of neighbours do not fit.
    """

    def __init__(self, *layers: Layer, rng: Any = 0, dtype: Any = "float32", init: Any = "pytorch"):
        if not layers:
            raise ValueError("a model needs at least one layer")
        self.layers, self.dtype = list(layers), checks.dtype(dtype)
        rng, draw = checks.generator(rng), initialisers.named(init)
        outputs, giver = None, ""
        for k, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"layer {k} must be a layer, got {type(layer).__name__}")
            if layer.owner is not None or any(layer is other for other in layers[:k]):
                raise ValueError(
                    f"{self.where(k)} is part of a model already; make a new layer or copy its parameters"
                )
            if None not in (outputs, layer.in_features) and outputs != layer.in_features:
                raise ValueError(
                    f"{self.where(k)} takes {layer.in_features} inputs, but {giver} puts out {outputs}"
                )
            with checks.naming(self.where(k)):
                layer.check_below(layers[:k])
            if layer.out_features is not None:
                outputs, giver = layer.out_features, self.where(k)
        self.out_features = outputs
        # An Embedding right below a layer that takes a Lookup writes nothing out.
        lookups = [a.gives_lookup and b.takes_lookup for a, b in pairwise(layers)]
        self._passes_lookup = [*lookups, False]
        self.returns_sequence = all(layer.returns_sequence for layer in layers)
        before = [layer.parameters if layer.initialised else None for layer in layers]
        for k, arrays in enumerate(before):
            for name, a in (arrays or {}).items():
                checks.same_dtype(a, name, self.dtype, "the model", f"{self.where(k)}: ")
        self._bind_parameters(np.empty(sum(layer.size for layer in layers), self.dtype))
        for layer, arrays in zip(layers, before, strict=True):
            if arrays is None:
                draw(layer, rng)
            else:
                layer.parameters.update(arrays)
        self.generator = rng

    def _bind_parameters(self, flat):
        self._flat = flat
        self.parameters = parameter_views(
            flat,
            {f"{k}.{n}": s for k, layer in enumerate(self.layers) for n, s in layer.shapes.items()},
        )
        for k, layer in enumerate(self.layers):
            layer.owner = self
            layer.bind(
                ParameterViews({name: self.parameters[f"{k}.{name}"] for name in layer.shapes})
            )

    def bind(self, flat: np.ndarray) -> None:
        """Keep the parameters in this vector from now on, a part of a larger one; their values go with them."""
        checks.writeable(flat, "flat", self.flat)
        flat[:] = self.flat
        self._bind_parameters(flat)

    def __repr__(self):
        return f"Sequential({', '.join(map(repr, self.layers))})"

    def forward(
        self,
        x: np.ndarray,
        state: Any = None,
        lengths: np.ndarray | None = None,
        record: bool = False,
        training: bool | None = None,
    ) -> tuple[np.ndarray, tuple, tuple | None]:
        """Run all layers. x as the first layer takes it: ids (T, N) or (T,), or numbers (T, N, D) or (T, D).

        `state`: a tuple with one entry a layer, as returned (None for layers that have none). `lengths` (N,), or a
        mask (T, N) of bools, goes to the layers that need them. x may also be a list of arrays (T_i, ...), one a sequence:
        y is then such a list too, if it still has steps. `record` keeps what `backward` needs; dropout acts where
        `training`, by default if `record`.

        Returns y, the state and the tape. Raises TypeError, ValueError or IndexError that name the layer.
        """
        return super().forward(x, state, lengths, record, training)

    def output_lengths(self, lengths):
        """The lengths themselves, as losses take them; None where no steps are left."""
        return lengths if self.returns_sequence else None

    def prepare_input(self, x, lengths):
        return ragged.pad_sequences(x, lengths)

    def run_layers(self, x, state, lengths, record, training):
        state = (None,) * len(self) if state is None else state
        if len(state) != len(self):
            raise ValueError(
                f"state must have one entry for each of {len(self)} layers, got {len(state)}"
            )
        outputs, new, tapes = [x], [], []
        for k, before in enumerate(state):
            with checks.naming(self.where(k)):
                if self._passes_lookup[k]:
                    y, after, tape = self.layers[k].look_up(outputs[-1], record)
                else:
                    y, after, tape = self.layers[k].forward(
                        outputs[-1], before, lengths, record, training
                    )
            outputs.append(y)
            new.append(after)
            tapes.append(tape)
        return [np.asarray(x), *outputs[1:]], tuple(new), tuple(tapes)

    def backward(
        self,
        dy: np.ndarray,
        tape: tuple,
        dstate: Any = None,
        out: np.ndarray | None = None,
        recording: Recording | None = None,
    ) -> Gradients:
        """Gradients of the loss from dy = dL/dy, None for zeros, and the tape of a recorded forward pass.

        `dstate`: gradient with respect to the final state, one entry a layer. `out`: a vector like `flat` to write the
        parameters' gradients to. Returns Gradients(dx, params by name, state); dx is None for ids, a list where dy is one.
        """
        if tape is None:
            raise ValueError("backward needs a tape: call forward with record=True")
        dy, lengths, listed = ragged.pad_sequences(dy, None, "dy")
        flat = np.empty_like(self.flat) if out is None else out
        checks.writeable(flat, "out", self.flat)
        grads = parameter_views(flat, {name: a.shape for name, a in self.parameters.items()})
        dstate = (None,) * len(self) if dstate is None else dstate
        if len(dstate) != len(self):
            raise ValueError(
                f"dstate must have one entry for each of {len(self)} layers, got {len(dstate)}"
            )
        d_initial = [None] * len(self)
        for k in reversed(range(len(self))):
            layer, state_gradients = self.layers[k], None
            if recording is not None:
                recording.layers[k].dy = None if dy is None else np.asarray(dy)
                state_gradients = recording.layers[k].dstates
            mine = {name: grads[f"{k}.{name}"] for name in layer.shapes}
            if dy is None and dstate[k] is None and not layer.state_delays:
                for a in mine.values():
                    a[:] = 0
                continue
            with checks.naming(self.where(k)):
                dy, _, d_initial[k] = layer.backward(dy, tape[k], dstate[k], mine, state_gradients)
        dx = ragged.unpad_sequences(dy, lengths) if listed and dy is not None else dy
        return Gradients(dx, grads, tuple(d_initial))

    def passes_lookup(self, k: int) -> bool:
        """Whether layer k is an Embedding right below a layer that takes a Lookup."""
        return self._passes_lookup[k]

    def plan(
        self,
        T: int,
        N: int,
        training: bool = True,
        ragged: bool = False,
        optimizer: Optimizer | None = None,
    ) -> Plan:
        """Bytes at the peak of a training step over windows (T, N), before anything of that size is allocated.

        `training=False`: of a forward pass. `ragged`: with lengths, which at worst are all T. `optimizer`: Adam if None.
        x and targets are the caller's, and not counted. Raises ValueError for a layer that does not know what it takes.

        >>> from recurrent import LSTM, Linear
        >>> plan = Sequential(LSTM(128, 512), Linear(512, 65)).plan(T=50, N=50)
        >>> plan.parameters, plan.optimizer / plan.parameters, plan.total < 128e6
        (5392644, 2.0, True)
        """
        slots = len((optimizer or Adam()).slots)
        return plan([(self, T)], N, training, ragged, slots)

    def stream(self) -> Stream:
        """The model one time step at a time, with the weights of this moment: `step(x_t)`, `reset()`.

        Raises ValueError for a layer that needs the whole sequence.
        """
        steppers = []
        for k, layer in enumerate(self.layers):
            with checks.naming(self.where(k)):
                steppers.append(layer.stepper())
        return Stream(steppers)

    def packed(self) -> Callable:
        """`forward` as a function (x, state) -> (y, state after), with the weights of this moment laid out once.

        For many short calls that carry a state which a stream would keep to itself.
        """
        layers = [layer.packed() for layer in self.layers]

        def run(x, state):
            after = []
            for k, (layer, before) in enumerate(zip(layers, state, strict=True)):
                with checks.naming(self.where(k)):
                    x, new = layer(x, before)
                after.append(new)
            return x, tuple(after)

        return run

    def describe(self) -> dict:
        """What builds an equal model again, as plain data."""
        return {
            "dtype": self.dtype.name,
            "layers": [
                {"type": type(layer).__name__, "options": layer.options} for layer in self.layers
            ],
        }

    @classmethod
    def build(cls, description: dict) -> Sequential:
        """A model from what `describe` returned. Raises ValueError for a layer type that is not known."""
        for d in description["layers"]:
            if d["type"] not in LAYERS:
                raise ValueError(f"unknown layer type {d['type']!r}; known are {', '.join(LAYERS)}")
        layers = [LAYERS[d["type"]](**d["options"]) for d in description["layers"]]
        return cls(*layers, dtype=description["dtype"])

    def graph(self) -> Graph:
        """The stack: one node a layer, shapes on the edges (T steps, N sequences), loops of delay 1 (or -1) for states."""
        first = next((layer for layer in self.layers if layer.out_features is not None), None)
        features = "D" if first is None else first.in_features
        g = Graph(
            [Node("x", "input", "x", ("T", "N") if features is None else ("T", "N", features))]
        )
        source, rows = "x", ("T", "N")
        for k, layer in enumerate(self.layers):
            width = g.node(source).shape[-1] if layer.out_features is None else layer.out_features
            rows = rows if layer.returns_sequence else ("N",)
            node = Node(f"layer{k}", type(layer).__name__, repr(layer), (*rows, width), layer.size)
            g.nodes.append(node)
            g.edges.append(Edge(source, node.id, shape=g.node(source).shape))
            g.edges += [
                Edge(node.id, node.id, s, ("N", layer.state_sizes[s]), delay)
                for s, delay in layer.state_delays.items()
            ]
            source = node.id
        g.nodes.append(Node("y", "output", "y", g.node(source).shape))
        g.edges.append(Edge(source, "y", shape=g.node(source).shape))
        return g
