"""Sequential: a model of layers applied one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .. import checks, initialisers
from ..engine import ragged
from ..engine.episodes import Episodes, checked_resets
from ..engine.sums import Sums
from ..graph import Edge, Graph, Node
from ..layers.base import LAYERS, Gradients, Layer
from ..layers.parameters import GradientViews, ParameterViews, parameter_views
from ..layers.recording import Recording
from ..layers.stream import Stream
from ..optim import Optimizer
from .base import Model
from .memory_plan import Plan, plan, plan_slots
from .storage import MOST_CELLS, parameter


class Sequential(Model):
    """A model of layers applied one after the other.

    Parameters
    ----------
    *layers : Layer
        The layers. Those with parameter values keep them; each may be part of one model only.
    rng : int or numpy.random.Generator, default 0
        Seed or generator of the initial parameters and of dropout.
    dtype : {"float32", "float64"}, default "float32"
        Dtype of the parameters.
    init : str or callable, default "pytorch"
        Initialisation scheme: a name in `recurrent.initialisers`, or a function.

    Raises
    ------
    TypeError
        If an argument is not a layer, or a layer has values of another dtype.
    ValueError
        If the sizes of neighbouring layers do not fit, or a layer is part of a model.
    """

    def __init__(self, *layers: Layer, rng: Any = 0, dtype: Any = "float32", init: Any = "pytorch"):
        if not layers:
            raise ValueError("a model needs at least one layer, got none")
        self.layers, self.dtype = list(layers), checks.dtype(dtype)
        rng, scheme = checks.generator(rng), initialisers.named(init)
        width, source = None, ""  # output size of the layers so far, and the layer that outputs it
        for k, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"layer {k} must be a layer, got {type(layer).__name__}")
            if layer.owner is not None or any(layer is other for other in layers[:k]):
                raise ValueError(
                    f"{self.where(k)} is already part of a model; "
                    "make a new layer or copy its parameters"
                )
            if None not in (width, layer.in_features) and width != layer.in_features:
                raise ValueError(
                    f"{self.where(k)} takes {layer.in_features} input features, "
                    f"but {source} outputs {width}"
                )
            with checks.naming(self.where(k)):
                layer.check_below(layers[:k])
            if layer.out_features is not None:
                width, source = layer.out_features, self.where(k)
        self.out_features = width
        lookups = [a.gives_lookup and b.takes_lookup for a, b in pairwise(layers)]
        self._passes_lookup = [*lookups, False]
        self.returns_sequence = all(layer.returns_sequence for layer in layers)
        before = [layer.parameters if layer.initialised else None for layer in layers]
        for k, arrays in enumerate(before):
            for name, a in (arrays or {}).items():
                checks.same_dtype(a, name, self.dtype, "the model", f"{self.where(k)}: ")
        size = sum(layer.size for layer in layers)
        try:
            flat = np.empty(size, self.dtype)
        except ValueError:  # beyond what an array can have at all
            raise MemoryError(f"unable to allocate {size:,} parameters") from None
        self._bind_parameters(flat)
        for layer, arrays in zip(layers, before, strict=True):
            if arrays is None:
                layer.fill(scheme, rng)
            else:
                layer.parameters.update(arrays)
        self.generator = rng

    def _bind_parameters(self, flat):
        self._flat = flat
        named = [(f"{k}.{n}", s) for k, a in enumerate(self.layers) for n, s in a.shapes.items()]
        self.parameters = parameter_views(flat, dict(named))
        for k, layer in enumerate(self.layers):
            own = {name: self.parameters[f"{k}.{name}"] for name in layer.shapes}
            layer.bind(ParameterViews(own))
            layer.owner = self

    @property
    def frozen(self):
        return [f"{k}.{n}" for k, layer in enumerate(self.layers) for n in layer.frozen]

    def bind(self, flat: np.ndarray) -> None:
        """Move the parameters and their values to another vector, such as a part of a larger one.

        Parameters
        ----------
        flat : ndarray, shape (P,), dtype of the model
            The vector that `model.flat` is from now on.

        Raises
        ------
        TypeError, ValueError
            If dtype or shape do not fit, or the vector cannot be written.
        """
        checks.writeable(flat, "flat", self.flat)
        flat[:] = self.flat
        self._bind_parameters(flat)

    def __repr__(self):
        return f"Sequential({', '.join(map(repr, self.layers))})"

    def output_lengths(self, lengths):
        return lengths if self.returns_sequence else None

    def prepare_input(self, x, lengths):
        return ragged.pad_sequences(x, lengths)

    def _episodes(self, x, lengths, resets):
        for k, layer in enumerate(self.layers):
            if not layer.runs_in_episodes:
                raise ValueError(
                    f"resets must be None: {self.where(k)} reads whole sequences; "
                    "pass each episode as a sequence, see forward of a list"
                )
        x = checks.as_array(x, "x")
        ids = x.dtype.kind in "iu"
        if x.ndim < (2 if ids else 3):
            axes = "(T, N)" if ids else "(T, N, D)"
            raise ValueError(f"resets needs a batch: x must be {axes}, got {x.shape}")
        valid = checks.valid_steps(lengths, *x.shape[:2])
        T, N = x.shape[:2]
        return Episodes(checked_resets(resets, T, N, valid), valid)

    def run_layers(self, x, state, lengths, record, training):
        state = checks.per_layer(state, "state", len(self))
        return self.run_range(range(len(self)), x, state, lengths, record, training)

    def run_range(
        self, layers: range, x: Any, state: tuple, lengths: Any, record: bool, training: bool | None
    ) -> tuple[list, tuple, tuple]:
        """Run some layers, one after the other, as `run_layers` runs all.

        Parameters
        ----------
        layers : range
            Numbers of the layers.
        x : Any
            Input of the first of them.
        state : tuple
            Initial state, one entry per layer of the range.
        lengths : Any
            Lengths as `prepare_input` returns them.
        record : bool
            Whether to return tapes.
        training : bool or None
            Whether dropout acts; None for the value of `record`.

        Returns
        -------
        outputs : list
            x, then the output of each layer of the range.
        state : tuple
            Final state of each.
        tape : tuple
            Tape of each.
        """
        outputs, new, tapes = [x], [], []
        for k, before in zip(layers, state, strict=True):
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

    def backward(self, dy, tape, dstate=None, out=None, recording=None):
        self.check_tape(tape)
        dy, lengths, listed = ragged.pad_dy(dy, tape)
        flat = self.gradient_vector(out, tape, dy)
        grads = parameter_views(flat, {name: a.shape for name, a in self.parameters.items()})
        dstate = checks.per_layer(dstate, "dstate", len(self))
        if recording is not None:
            checks.instance(recording, Recording, "recording", "a Recording of this model")
        if dy is not None and recording is not None:
            dy = checks.as_array(dy, "dy")
        dy, d_initial = self.backward_range(range(len(self)), dy, tape, dstate, grads, recording)
        dx = ragged.unpad_sequences(dy, lengths) if listed and dy is not None else dy
        return Gradients(dx, grads, d_initial)

    def backward_range(
        self,
        layers: range,
        dy: Any,
        tape: tuple,
        dstate: tuple,
        grads: dict[str, np.ndarray],
        recording: Recording | None = None,
        sums: Sequence[Sums] | None = None,
    ) -> tuple[Any, tuple]:
        """Run `backward` of some layers, the last one first.

        Parameters
        ----------
        layers : range
            Numbers of the layers.
        dy : Any
            Gradient with respect to the output of the last of them; None for zeros.
        tape : tuple
            Tape of each layer of the range, as `run_range` returns it.
        dstate : tuple
            Gradient with respect to the final state of each.
        grads : dict of str to ndarray, shape of each parameter
            Arrays to write the gradients of the parameters to, by the model's names.
        recording : Recording, optional
            A recording to add the gradients of outputs and states to.
        sums : sequence of Sums, optional
            For each layer of a run in segments, see `Layer.backward`.

        Returns
        -------
        dx : Any
            Gradient with respect to the input of the first layer.
        d_initial : tuple
            Gradient with respect to the initial state of each.
        """
        d_initial: list = [None] * len(layers)
        for i, k in reversed(list(enumerate(layers))):
            layer, state_gradients = self.layers[k], None
            if recording is not None:
                recording.layers[k].dy = None if dy is None else np.asarray(dy)
                state_gradients = recording.layers[k].dstates
            own = GradientViews({name: grads[f"{k}.{name}"] for name in layer.shapes})
            if dy is None and dstate[i] is None and not layer.state_delays:
                for a in own.values() if sums is None else ():
                    a[:] = 0
                continue
            # Layers without parameters need not take `sums`.
            more = {} if sums is None or not own else {"sums": sums[i]}
            with checks.naming(self.where(k)):
                dy, _, d_initial[i] = layer.backward(
                    dy, tape[i], dstate[i], own, state_gradients, **more
                )
        return dy, tuple(d_initial)

    def passes_lookup(self, k: int) -> bool:
        """Return whether a layer passes a Lookup to the next one, so that its rows are not copied.

        Parameters
        ----------
        k : int
            Number of the layer.

        Returns
        -------
        bool
            True for an Embedding or OneHot right below a recurrent layer.
        """
        return self._passes_lookup[checks.index(k, "k", len(self), ", the layers")]

    def plan(
        self,
        T: int,
        N: int,
        training: bool = True,
        ragged: bool = False,
        optimizer: Optimizer | None = None,
    ) -> Plan:
        """Estimate the peak memory of a training step, without allocating anything of that size.

        x and targets belong to the caller and are not counted.

        Parameters
        ----------
        T : int
            Number of time steps.
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

        Examples
        --------
        >>> from recurrent import LSTM, Linear
        >>> plan = Sequential(LSTM(128, 512), Linear(512, 65)).plan(T=50, N=50)
        >>> plan.parameters, plan.optimizer / plan.parameters, plan.total < 128e6
        (5392644, 2.0, True)
        """
        slots = plan_slots(optimizer)
        return plan([(self, T)], N, training, ragged, slots)

    def stream(self, state: Any = None) -> Stream:
        """Return a stream, which runs the model one time step at a time.

        Parameters
        ----------
        state : tuple, optional
            The state to start from, one entry per layer, as `forward` returns it; the layers'
            initial states by default. A pooling layer starts anew.

        Returns
        -------
        Stream
            A stream with a snapshot of the weights: `step(x_t)`, `state`, `reset()`, `copy()`.

        Raises
        ------
        ValueError
            If a layer needs the whole sequence, or the state does not fit.
        TypeError
            If the state has another dtype.
        """
        steppers = []
        for k, layer in enumerate(self.layers):
            with checks.naming(self.where(k)):
                steppers.append(layer.stepper())
        return Stream(steppers, [self.where(k) for k in range(len(self))], state)

    def packed(self) -> Callable:
        """Return `forward` as a function whose weights are packed once.

        It serves many short calls that pass the state on; a stream holds the state itself.

        Returns
        -------
        callable
            (x, state) -> (y, final state), with a snapshot of the weights.
        """
        layers = [layer.packed() for layer in self.layers]

        def run(x, state):
            after = []
            states = checks.per_layer(state, "state", len(layers))
            for k, (layer, before) in enumerate(zip(layers, states, strict=True)):
                with checks.naming(self.where(k)):
                    x, new = layer(x, before)
                after.append(new)
            return x, tuple(after)

        return run

    def describe(self) -> dict:
        return {
            "dtype": self.dtype.name,
            "layers": [layer.describe() for layer in self.layers],
        }

    @classmethod
    def build(
        cls,
        description: dict,
        parameters: Mapping[str, np.ndarray] | None = None,
        prefix: str = "",
    ) -> Sequential:
        """Make a model from its description.

        Parameters
        ----------
        description : dict
            The result of `describe`.
        parameters : mapping of str to ndarray, of any shape, optional
            The values of all parameters by name, which are copied. Their shapes are compared with
            those of each layer before anything is allocated. By default the model has new initial
            values.
        prefix : str, default ""
            What precedes the names in `parameters`.

        Returns
        -------
        Sequential

        Raises
        ------
        TypeError
            If an option of a layer has the wrong type.
        ValueError
            If a layer type is unknown, or an option or the shape or dtype of a parameter does not
            fit.
        """
        described(description, "dtype", "layers")
        checks.instance(description["layers"], (list, tuple), "layers of description", "a list")
        layers, cells = [], set()
        dtype = checks.dtype(description["dtype"])
        for k, d in enumerate(description["layers"]):
            described(d, "type", "options", where=f"layer {k} of ")
            checks.text(d["type"], f"type of layer {k} of description")
            checks.instance(d["options"], dict, f"options of layer {k} of description", "a dict")
            if d["type"] not in LAYERS:
                raise ValueError(
                    f"unknown layer type {checks.shown(d['type'])}; known are {', '.join(LAYERS)}"
                )
            with checks.naming(f"layer {k} ({d['type']})"):
                layer = LAYERS[d["type"]](**d["options"])
                layer.trainable = d.get("trainable", True)
            if parameters is not None:
                own = {
                    name: parameter(parameters, f"{prefix}{k}.{name}", shape, dtype)
                    for name, shape in layer.shapes.items()
                }
                layer.bind(ParameterViews(own))
            cells.add(None if layer.cell is None else layer.cell.name)
            if len(cells) > MOST_CELLS:
                raise ValueError(f"a description may have at most {MOST_CELLS} different cells")
            layers.append(layer)
        return cls(*layers, dtype=dtype)

    def graph(self) -> Graph:
        """Return the graph of the layers.

        Returns
        -------
        Graph
            A node for each layer, shapes on the edges, and a loop of delay 1, or -1 in reverse,
            for each state.
        """
        first = next((layer for layer in self.layers if layer.out_features is not None), None)
        features = "D" if first is None else first.in_features
        source, rows = "x", ("T", "N")
        g = Graph([Node("x", "input", "x", rows if features is None else (*rows, features))])
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


def described(value: Any, *keys: str, where: str = "") -> None:
    """Raise an error unless a description is a dict with these keys."""
    name = f"{where}description"
    checks.instance(value, dict, name, "a dict, as describe returns it")
    missing = [key for key in keys if key not in value]
    if missing:
        raise ValueError(f"{name} must have the keys {', '.join(keys)}; {missing[0]} is missing")
