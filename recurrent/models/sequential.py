"""Sequential: a model of layers applied one after the other."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import numpy as np

from .. import checks, initialisers
from ..engine import ragged
from ..engine.episodes import Episodes, checked_resets
from ..engine.sums import Sums
from ..graph import Edge, Graph, Node
from ..kernels import memory
from ..layers.base import Gradients, Layer
from ..layers.parameters import GradientViews, ParameterViews, parameter_views
from ..layers.quantized import QuantizedParameters, part, refuse_quantized
from ..layers.recording import Recording
from ..layers.stack import (
    built,
    check_layer,
    checked_gradients,
    connect,
    described,
    lengths_above,
    refuse_outputs,
    walk,
)
from ..layers.stream import Stream
from ..optim import Optimizer
from . import quantized
from .base import Model
from .memory_plan import Plan, plan, plan_slots
from .storage import MOST_CELLS


class Named(NamedTuple):
    """A layer with its name in the model: "1.0" is layer 0 of the model that is argument 1."""

    name: str
    layer: Layer


class Sequential(Model):
    """A model of layers applied one after the other.

    A model among the arguments stands for its layers, which keep their values: `model[k]` counts
    all layers, and the parameters have the names of the nested PyTorch module, "1.0.weight". The
    inner model stays in use; it shares its parameters with the outer one.

    Parameters
    ----------
    *layers : Layer or Sequential
        The layers. Those with parameter values keep them; each may be part of one model only.
    rng : int or numpy.random.Generator, default 0
        Seed or generator of the initial parameters and of dropout.
    dtype : {"float32", "float64"}, default "float32"
        Dtype of the parameters.
    init : str or callable, default "pytorch"
        Initialisation scheme: a name in `recurrent.initialisers`, or a function.
    tie : dict of str to str, optional
        Weight tying: parameters that share the array of another one of the same shape, as in
        {"2.weight": "0.weight"}. Their gradients are summed; `parameters` and files have the array
        once, under the name after the colon, and so has it the initial values of that parameter.

    batch_first : bool, default False
        Whether arrays are (N, T, ...) rather than (T, N, ...): x, y, masks, dy and dx, and targets
        in `fit` and `evaluate`. States and recordings are time-major, and so is what losses and
        metrics are called with. A `data.Batch` is time-major, a plain tuple (x, targets) is not.

    Attributes
    ----------
    names : list of str
        What precedes the names of each layer's parameters: "0", "1.0", "1.1".

    Raises
    ------
    TypeError
        If an argument is not a layer, or a layer has values of another dtype.
    ValueError
        If the sizes of neighbouring layers do not fit, a layer is part of a model, or `tie` does
        not fit the parameters.

    Examples
    --------
    >>> from recurrent import LSTM, Embedding, Linear
    >>> encoder = Sequential(Embedding(7, 4), LSTM(4, 4))
    >>> model = Sequential(encoder, Linear(4, 7), tie={"1.weight": "0.0.weight"})
    >>> len(model), list(model.parameters)[::4]
    (3, ['0.0.weight', '0.1.bias_hh_l0'])
    """

    def __init__(
        self,
        *layers: Layer | Sequential,
        rng: Any = 0,
        dtype: Any = "float32",
        init: Any = "pytorch",
        tie: dict[str, str] | None = None,
        batch_first: bool = False,
    ):
        if len(layers) == 1 and isinstance(layers[0], list):
            layers = tuple(layers[0])  # as Keras' Sequential
        if not layers:
            raise ValueError("a model needs at least one layer, got none")
        self.dtype = checks.dtype(dtype)
        rng, scheme = checks.generator(rng), initialisers.named(init)
        self.batch_first = checks.flag(batch_first, "batch_first")
        self._flatten(layers)
        self.out_features = connect(self.layers, self.where)
        self._tie: dict[str, str] = {}
        if tie is not None or self._models:
            self._tie = self._inner_ties()
            self._check_ties(tie or {})
            self._tie |= tie or {}
        lookups = [a.gives_lookup and b.takes_lookup for a, b in pairwise(self.layers)]
        self._passes_lookup = [*lookups, False]
        self.returns_sequence = all(layer.returns_sequence for layer in self.layers)
        held = quantized.joined(self.layers, self.names, self.where)
        if held is not None:
            if self.dtype != held.dtype:
                raise TypeError(
                    f"dtype must be float32 for {held.weights} weights, got {self.dtype.name}"
                )
            self._bind_parameters(held.part({name: name for name in self._shapes()}))
            self.generator = rng
            return
        before = [layer.parameters if layer.initialised else None for layer in self.layers]
        for k, arrays in enumerate(before):
            for name, a in (arrays or {}).items():
                checks.same_dtype(a, name, self.dtype, "the model", f"{self.where(k)}: ")
        size = sum(map(math.prod, self._shapes().values()))
        try:
            flat = memory.empty((size,), self.dtype)
        except ValueError:  # beyond what an array can have at all
            raise MemoryError(f"unable to allocate {size:,} parameters") from None
        self._bind_parameters(flat)
        self._initialise(scheme, rng, before)
        self.generator = rng

    def _flatten(self, arguments) -> None:
        """Set the layers, their names and the inner models; raise an error for anything else."""
        self.layers, self.names = [], []
        self._models: list[tuple[range, Sequential]] = []  # with the numbers of their layers
        for k, item in enumerate(arguments):
            if isinstance(item, Sequential):
                if item.batch_first and not self.batch_first:
                    raise ValueError(
                        f"argument {k} is a batch-first model: pass batch_first=True to the outer "
                        "one, whose input it shares"
                    )
                owner, new = item, list(zip(item.names, item.layers, strict=True))
                self._models.append((range(len(self.layers), len(self.layers) + len(new)), item))
                new = [(f"{k}.{name}", layer) for name, layer in new]
            else:
                owner, new = None, [item if isinstance(item, Named) else (str(k), item)]
            for name, layer in new:
                number = len(self.layers)
                check_layer(layer, number)
                taken = layer.owner is not owner or any(layer is other for other in self.layers)
                self.layers.append(layer)
                self.names.append(name)
                if taken:
                    raise ValueError(
                        f"{self.where(number)} is already part of a model; "
                        "make a new layer, or pass the whole model: Sequential(model, ...)"
                    )

    def _inner_ties(self) -> dict[str, str]:
        """Return the ties of the inner models, in the names of this one."""
        ties = {}
        for numbers, model in self._models:
            for k, name in zip(numbers, model.names, strict=True):
                for n, entry in model._entries(k - numbers.start).items():
                    if entry != f"{name}.{n}":
                        outer = self.names[k].removesuffix(name)
                        ties[f"{self.names[k]}.{n}"] = f"{outer}{entry}"
        return ties

    def _check_ties(self, tie) -> None:
        """Raise TypeError or ValueError unless `tie` names parameters of one shape."""
        checks.instance(tie, dict, "tie", "a dict of names of parameters")
        shapes, inside = self._shapes(), {k for numbers, _ in self._models for k in numbers}
        inner = tuple(f"{self.names[k]}." for k in inside)
        for name, source in tie.items():
            for one in (name, source):
                if one not in shapes:
                    raise ValueError(
                        f"tie: no parameter {checks.shown(one)}; the names are "
                        f"{', '.join(shapes)}{checks.guess(one, shapes)}"
                    )
            if source in tie:
                raise ValueError(
                    f"tie: {name} must share a parameter that is not tied itself, got {source}"
                )
            if shapes[name] != shapes[source]:
                raise ValueError(
                    f"tie: {name} must have the shape of {source}, {shapes[source]}, "
                    f"got {shapes[name]}"
                )
            if name.startswith(inner):
                raise ValueError(
                    f"tie: {name} is a parameter of an inner model, which keeps it: "
                    f"write {{{source!r}: {name!r}}}, or make one model of all layers"
                )

    @property
    def tie(self) -> dict[str, str]:
        """Parameters that share the array of another one: their name, and the name of that one."""
        return dict(self._tie)

    def tied(self, k: int) -> dict[str, str]:
        """Return the parameters of a layer that share the array of another one.

        Parameters
        ----------
        k : int
            Number of the layer.

        Returns
        -------
        dict of str to str
            Their names in the layer, and the names of the others in the model.
        """
        k = checks.index(k, "k", len(self), ", the layers")
        return {n: e for n, e in self._entries(k).items() if e != f"{self.names[k]}.{n}"}

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of `parameters`."""
        named = {
            f"{name}.{n}": shape
            for name, layer in zip(self.names, self.layers, strict=True)
            for n, shape in layer.shapes.items()
        }
        return {name: shape for name, shape in named.items() if name not in self._tie}

    def _entries(self, k: int) -> dict[str, str]:
        """Return, for each parameter of a layer, the name in `parameters` of its array."""
        names = {n: f"{self.names[k]}.{n}" for n in self.layers[k].shapes}
        return {n: self._tie.get(name, name) for n, name in names.items()}

    def _bind_parameters(self, flat):
        self._flat = flat
        quantised = isinstance(flat, QuantizedParameters)
        self.parameters = flat if quantised else parameter_views(flat, self._shapes())
        self._bind_models()
        for k, layer in enumerate(self.layers):
            layer.bind(part(self.parameters, self._entries(k)))
            layer.owner = self

    def _bind_models(self) -> None:
        """Make the vectors of the inner models parts of that of this one."""
        for numbers, model in self._models:
            if isinstance(self._flat, QuantizedParameters):
                outer = self.names[numbers.start].removesuffix(model.names[0])
                own = self._flat.part({n: f"{outer}{n}" for n in model._shapes()})
                model._bind_parameters(own)
                continue
            first = sum(self._own_size(k) for k in range(numbers.start))
            model._bind_parameters(self._flat[first : first + model.size])

    def _own_size(self, k: int) -> int:
        """Return the number of parameters that `parameters` has under the name of a layer."""
        name, shapes = self.names[k], self.layers[k].shapes
        return sum(math.prod(s) for n, s in shapes.items() if f"{name}.{n}" not in self._tie)

    def _initialise(self, scheme, rng, before=None) -> None:
        """Fill the parameters; `before` has the values of the layers that keep theirs, or None."""
        shared: dict[str, Any] = dict.fromkeys(self._tie.values())
        for k, layer in enumerate(self.layers):
            values = before[k] if before else None
            given = values is not None
            if values is not None:
                layer.parameters.update(values)
            else:
                layer.fill(scheme, rng)
            for n, name in self._entries(k).items():
                if name in shared:  # values that were given win, then those of the name itself
                    rank = given, name == f"{self.names[k]}.{n}"
                    if shared[name] is None or rank > shared[name][0]:
                        shared[name] = rank, self.parameters[name].copy()
        self.parameters.update({name: a for name, (_, a) in shared.items()})

    @property
    def frozen(self):
        found = [self._entries(k)[n] for k, layer in enumerate(self.layers) for n in layer.frozen]
        return list(dict.fromkeys(found))

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
        refuse_quantized(self.parameters, "bind moves")
        checks.writeable(flat, "flat", self.flat)
        flat[:] = self.flat
        self._bind_parameters(flat)

    def __repr__(self):
        options = [f"tie={self.tie!r}"] if self._tie else []
        options += ["batch_first=True"] if self.batch_first else []
        return f"Sequential({', '.join([*_nested(self.names, self.layers), *options])})"

    def output_lengths(self, lengths):
        if lengths is None or not self.returns_sequence:
            return None
        if all(layer.keeps_steps for layer in self.layers):
            return lengths
        if self.batch_first and np.ndim(lengths) == 2:
            lengths = np.swapaxes(lengths, 0, 1)
        return lengths_above(self.layers, lengths)

    def prepare_input(self, x, lengths):
        x, lengths, listed = ragged.pad_sequences(x, lengths)
        if not self.batch_first or listed:
            return x, lengths, listed
        x = checks.as_array(x, "x")
        ids = x.dtype.kind in "iu"
        width = None if ids else next((a.in_features for a in self.layers if a.in_features), None)
        if width is not None and x.shape[-1:] != (width,):
            raise ValueError(
                f"x must be (N, T, {width}), as the model is batch-first, got {x.shape}"
            )
        if x.ndim >= (2 if ids else 3):
            x = x.swapaxes(0, 1)
            if lengths is not None and np.ndim(lengths) == 2:
                lengths = self._turned(lengths, "lengths", x.shape[:2])
        return x, lengths, listed

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
                    layer = self.layers[k]
                    result = layer.forward(outputs[-1], before, lengths, record, training)
                    if type(result) is not tuple or len(result) != 3:
                        refuse_outputs(layer, result)
                    y, after, tape = result
                if lengths is not None:
                    lengths = self.layers[k].output_lengths(lengths)
            outputs.append(y)
            new.append(after)
            tapes.append(tape)
        return [np.asarray(x), *outputs[1:]], tuple(new), tuple(tapes)

    def backward(self, dy, tape, dstate=None, out=None, recording=None):
        refuse_quantized(self.parameters, "backward trains")
        self.check_tape(tape)
        dy, lengths, listed = ragged.pad_dy(dy, tape)
        if self.batch_first and not listed and self.returns_sequence and dy is not None:
            dy = self.swapped(checks.as_array(dy, "dy"))
        flat = self.gradient_vector(out, tape, dy)
        grads = self.gradient_arrays(flat)
        dstate = checks.per_layer(dstate, "dstate", len(self))
        if recording is not None:
            checks.instance(recording, Recording, "recording", "a Recording of this model")
        if dy is not None and recording is not None:
            dy = checks.as_array(dy, "dy")
        dy, d_initial = self.backward_range(range(len(self)), dy, tape, dstate, grads, recording)
        dx = self.swapped(dy)
        if listed and dy is not None:
            dx = ragged.unpad_sequences(dy, lengths)
        return Gradients(dx, self.summed(grads), d_initial)

    def gradient_arrays(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Return arrays for the gradients of all layers, those of tied parameters on their own.

        Parameters
        ----------
        flat : ndarray, shape (P,)
            Vector that the others are views of.

        Returns
        -------
        dict of str to ndarray
            Arrays that `backward_range` writes to, by name, and `summed` adds up.
        """
        grads = parameter_views(flat, {name: a.shape for name, a in self.parameters.items()})
        if not self._tie:
            return grads
        return {**grads, **{name: np.zeros_like(grads[e]) for name, e in self._tie.items()}}

    def summed(self, grads: dict[str, np.ndarray]) -> ParameterViews:
        """Add the gradients of tied parameters to those that they share an array with.

        Parameters
        ----------
        grads : dict of str to ndarray, shape of each parameter
            The result of `gradient_arrays`, after the backward pass.

        Returns
        -------
        ParameterViews
            The gradients by the names of `parameters`.
        """
        if isinstance(grads, ParameterViews):  # none is tied
            return grads
        for name, source in self._tie.items():
            grads[source] += grads[name]
        return ParameterViews({name: grads[name] for name in self.parameters})

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
            own = GradientViews({n: grads[f"{self.names[k]}.{n}"] for n in layer.shapes})
            if dy is None and dstate[i] is None and not layer.state_delays:
                for a in own.values() if sums is None else ():
                    a[:] = 0
                continue
            # Layers without parameters need not take `sums`.
            more = {} if sums is None or not own else {"sums": sums[i]}
            with checks.naming(self.where(k)):
                result = layer.backward(dy, tape[i], dstate[i], own, state_gradients, **more)
                dy, d_initial[i] = checked_gradients(layer, result, own, sums is not None)
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
        """Return `forward` as a function whose weights are packed once, for time-major x.

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
        layers = []
        for k, (name, layer) in enumerate(zip(self.names, self.layers, strict=True)):
            entry = layer.describe()
            tied = self.tied(k)
            entry |= {"name": name} if name != str(k) else {}
            layers.append(entry | ({"tied": tied} if tied else {}))
        layout = {"batch_first": True} if self.batch_first else {}
        return {"dtype": self.dtype.name, "layers": layers, **layout, **self._weights_entry()}

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
        layers, cells, tie, full = [], set(), {}, []
        dtype, weights = checks.dtype(description["dtype"]), quantized.described(description)
        for k, d in enumerate(description["layers"]):
            layer = built(d, k)
            name, tied = _name(d, k), d.get("tied", {})
            checks.instance(tied, dict, f"tied of layer {k} of description", "a dict")
            tie |= {f"{name}.{n}": source for n, source in tied.items()}
            if parameters is not None:
                own = {n: f"{prefix}{tied.get(n, f'{name}.{n}')}" for n in layer.shapes}
                layer.bind(quantized.read(parameters, own, layer.shapes, dtype, weights))
            cells |= {one.cell.name for one in walk([layer]) if one.cell is not None}
            if len(cells) > MOST_CELLS:
                raise ValueError(f"a description may have at most {MOST_CELLS} different cells")
            layers.append(Named(name, layer))
            full += [f"{name}.{n}" for n in layer.shapes] or [name]
        if len(set(full)) < len(full):
            raise ValueError("names of layers of description must all differ")
        layout = description.get("batch_first", False)
        model = cls(*layers, dtype=dtype, tie=tie or None, batch_first=layout)
        return model if parameters is not None or weights is None else model.quantize(weights)

    def rebuilt(self, layers: Sequence[Layer], dtype: Any, batch_first: bool = False) -> Sequential:
        """Return a model of other layers of the same shapes, with these names and ties.

        Parameters
        ----------
        layers : sequence of Layer
            As many layers.
        dtype : dtype-like
            Dtype of the model.
        batch_first : bool, default False
            Whether arrays are (N, T, ...) rather than (T, N, ...).

        Returns
        -------
        Sequential
        """
        checks.per_layer(layers, "layers", len(self))
        named: Any = map(Named, self.names, layers)
        return Sequential(*named, dtype=dtype, tie=self.tie or None, batch_first=batch_first)

    def _with(self, parameters):
        layers = []
        for k, layer in enumerate(self.layers):
            twin = copy.copy(layer)
            twin.owner = None
            twin.bind(part(parameters, self._entries(k)))
            layers.append(twin)
        return self.rebuilt(layers, self.dtype, self.batch_first)

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
            if not layer.keeps_steps:
                rows = (rows[0] + "'", "N")  # another number of steps than T
            rows = rows if layer.returns_sequence else ("N",)
            kind, size = type(layer).__name__, self._own_size(k)
            node = Node(f"layer{k}", kind, repr(layer), (*rows, width), size)
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


def _name(description: dict, k: int) -> str:
    """Return the name of a layer: its number, or numbers separated by dots."""
    name = checks.text(description.get("name", str(k)), f"name of layer {k} of description")
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)*", name) or len(name) > 200:
        raise ValueError(
            f"name of layer {k} of description must be numbers with dots, got {checks.shown(name)}"
        )
    return name


def _nested(names: Sequence[str], layers: Sequence[Layer]) -> list[str]:
    """Return the reprs of layers, those of inner models as one."""
    found = []
    for _, group in groupby(zip(names, layers, strict=True), lambda item: item[0].split(".")[0]):
        inner = [(name.partition(".")[2], layer) for name, layer in group]
        if inner[0][0]:
            found.append(f"Sequential({', '.join(_nested(*zip(*inner, strict=True)))})")
        else:
            found.append(repr(inner[0][1]))
    return found
