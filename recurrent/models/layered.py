"""Layered: what models of layers share, whatever the layers read: parameters, names, ties, runs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from .. import checks
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
    checked_gradients,
    connect,
    described,
    refuse_outputs,
    walk,
)
from ..layers.stream import Stream
from ..optim import Optimizer
from . import quantized
from .base import Model
from .graph_stream import GraphStream
from .memory_plan import Plan, plan, plan_slots
from .storage import MOST_CELLS
from .wiring import Wiring, by_name


class Named(NamedTuple):
    """A layer with its name in the model: "1.0" is layer 0 of the model that is argument 1."""

    name: str
    layer: Layer


class InputLengths(dict):
    """The lengths of several inputs by name, as `prepare_input` returns them; each may be None."""


class Layered(Model):
    """Base class of models whose layers read the inputs and what earlier layers output.

    A subclass sets `layers`, `names`, `_models` (models inside, with the numbers of their layers)
    and `_wiring`, and calls `_assemble`.

    Attributes
    ----------
    names : list of str
        What precedes the names of each layer's parameters.
    """

    names: list[str]
    _models: list[tuple[range, Layered]]
    _wiring: Wiring
    _tie: dict[str, str]

    def _assemble(self, rng, scheme, tie, shared=None) -> None:
        """Check how the layers fit, and make the parameters.

        `shared` are ties that the layers themselves need, beside those that a user asks for.
        """
        wiring = self._wiring
        self._widths = connect(
            self.layers,
            self.where,
            reads=None if wiring.is_chain else wiring.reads,
            inputs=len(wiring.inputs),
        )
        self._tie = {}
        if tie is not None or shared or self._models:
            self._tie = self._inner_ties()
            self._tie |= {n: self._tie.get(e, e) for n, e in (shared or {}).items()}
            if tie is not None:
                self._check_ties(tie)
                self._tie |= tie
            self._tie = {n: self._tie.get(e, e) for n, e in self._tie.items()}
        self._passes_lookup = wiring.lookups(self.layers)
        self._is_special = [
            passes or layer.joins
            for passes, layer in zip(self._passes_lookup, self.layers, strict=True)
        ]
        self._steps = wiring.steps(self.layers)
        self._clocks = wiring.clocks(self._steps, self.layers)
        self._results = wiring.results
        ends = [self._steps[v] for v in wiring.outputs.values()]
        self.returns_sequence = all(ends)
        self.out_features = self._widths[-1] if len(ends) == 1 else None
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

    def _check_inner(self, model: Layered, name: str) -> None:
        """Raise ValueError for a batch-first model inside a time-major one."""
        if model.batch_first and not self.batch_first:
            raise ValueError(
                f"{name} is a batch-first model: pass batch_first=True to the outer "
                "one, whose input it shares"
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
                if not isinstance(one, str) or one not in shapes:
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

    @property
    def is_chain(self) -> bool:
        """True if each layer reads the one before, and the last one is the output."""
        return self._wiring.is_chain

    @property
    def has_one_end_each(self) -> bool:
        """True if the model has one input and one output: x and y are arrays."""
        return self._wiring.several is None and self._wiring.results is None

    def output_lengths(self, lengths):
        if lengths is None or not self.returns_sequence:
            return None
        if all(layer.keeps_steps for layer in self.layers):
            return lengths
        return self._value_lengths(lengths)[-1]

    def _value_lengths(self, lengths) -> list[Any]:
        """Return the lengths of each value, as if all had an axis of time."""
        inputs = self._wiring.inputs
        found: list = [lengths] * len(inputs)
        if isinstance(lengths, InputLengths):
            found = [lengths[name] for name in inputs]
        for layer, read in zip(self.layers, self._wiring.reads, strict=True):
            own = found[read[0]]
            found.append(None if own is None else layer.output_lengths(own))
        return found

    def padded_targets(self, targets, lengths, name="targets"):
        own, outputs = self._value_lengths(lengths), self._wiring.outputs
        if self._wiring.results is None:
            (v,) = outputs.values()
            return super().padded_targets(targets, own[v], name)
        targets = by_name(targets, name, tuple(outputs), "output")
        return {
            n: ragged.pad_targets(targets[n], own[v], f"{name}[{n!r}]") for n, v in outputs.items()
        }

    def has_steps(self, k: int) -> bool:
        k = checks.index(k, "k", len(self.layers), ", the layers")
        return self._steps[self._wiring.value(k)]

    def input_of(self, k: int, outputs: Sequence[Any]) -> Any:
        """Return what a layer has read.

        Parameters
        ----------
        k : int
            Number of the layer.
        outputs : sequence
            The outputs of a run, as `run_layers` returns them.

        Returns
        -------
        ndarray, shape (T, N, ...), or tuple of them
            A tuple for a join.
        """
        k = checks.index(k, "k", len(self), ", the layers")
        several = self._wiring.several
        first = [outputs[0]] if several is None else [outputs[0][n] for n in several]
        values = [*first, *outputs[1:]]
        read = [None if values[v] is None else np.asarray(values[v]) for v in self._wiring.reads[k]]
        return read[0] if len(read) == 1 else tuple(read)

    def lengths_of(self, k: int, lengths: Any) -> Any:
        """Return the lengths of what a layer reads.

        Parameters
        ----------
        k : int
            Number of the layer.
        lengths : Any
            Lengths as `prepare_input` returns them.

        Returns
        -------
        Any
        """
        k = checks.index(k, "k", len(self), ", the layers")
        return self._value_lengths(lengths)[self._wiring.reads[k][0]]

    def prepare_input(self, x, lengths):
        x, lengths, listed = ragged.pad_sequences(x, lengths)
        if self.batch_first and not listed:
            x, lengths = self._by_time(x, lengths, 0)
        return x, lengths, listed

    def _by_time(self, x, lengths, v, name="x") -> tuple[Any, Any]:
        """Return an input (N, T, ...), value v, and its lengths, time-major."""
        x, width = checks.as_array(x, name), self._widths[v]
        ids = x.dtype.kind in "iu"
        if not ids and width is not None and x.shape[-1:] != (width,):
            raise ValueError(
                f"{name} must be (N, T, {width}), as the model is batch-first, got {x.shape}"
            )
        if x.ndim >= (2 if ids else 3):
            x = x.swapaxes(0, 1)
            if lengths is not None and np.ndim(lengths) == 2:
                lengths = self._turned(lengths, "lengths", x.shape[:2])
        return x, lengths

    def _episodes(self, x, lengths, resets):
        for k, layer in enumerate(self.layers):
            if not layer.runs_in_episodes:
                raise ValueError(
                    f"resets must be None: {self.where(k)} reads whole sequences; "
                    "pass each episode as a sequence, see forward of a list"
                )
        if self._wiring.several is not None:
            if any(self._clocks):
                raise ValueError("resets must be None: the inputs do not have the same time steps")
            x = x[self._wiring.inputs[0]]
            lengths = self._value_lengths(lengths)[0]
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
        """Run some layers, each on what it reads, as `run_layers` runs all.

        Parameters
        ----------
        layers : range
            Numbers of the layers: all, or neighbours of a chain.
        x : Any
            Input of the first of them, or a dict of the inputs if there are several.
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
        several, sources, special = self._wiring.several, self._wiring.sources, self._is_special
        outputs: list = [x] if several is None else [x[name] for name in several]
        n, new, tapes, own = len(outputs), [], [], None
        if lengths is not None and not self._wiring.is_chain:
            own = self._value_lengths(lengths)
        for k, before in zip(layers, state, strict=True):
            with checks.naming(self.where(k)):
                layer = self.layers[k]
                if special[k] and not layer.joins:
                    y, after, tape = layer.look_up(outputs[sources[k]], record)
                else:
                    read = (
                        tuple(outputs[v] for v in sources[k]) if special[k] else outputs[sources[k]]
                    )
                    valid = lengths if own is None else own[self._wiring.reads[k][0]]
                    result = layer.forward(read, before, valid, record, training)
                    if type(result) is not tuple or len(result) != 3:
                        refuse_outputs(layer, result)
                    y, after, tape = result
                if lengths is not None and own is None:
                    lengths = layer.output_lengths(lengths)
            outputs.append(y)
            new.append(after)
            tapes.append(tape)
        read = np.asarray(x) if several is None else {name: np.asarray(x[name]) for name in several}
        return [read, *outputs[n:]], tuple(new), tuple(tapes)

    def _output(self, outputs: Sequence[Any]) -> dict[str, Any]:
        """Return several outputs by name, of the list that `run_layers` returns."""
        first = len(self._wiring.inputs) - 1
        return {name: np.asarray(outputs[v - first]) for name, v in self._wiring.outputs.items()}

    def backward(self, dy, tape, dstate=None, out=None, recording=None):
        refuse_quantized(self.parameters, "backward trains")
        self.check_tape(tape)
        dy, lengths, listed = self._prepared_dy(dy, tape)
        flat = self.gradient_vector(out, tape, dy)
        grads = self.gradient_arrays(flat)
        dstate = checks.per_layer(dstate, "dstate", len(self))
        if recording is not None:
            checks.instance(recording, Recording, "recording", "a Recording of this model")
        if recording is not None and dy is not None and self._results is None:
            dy = checks.as_array(dy, "dy")
        dx, d_initial = self.backward_range(range(len(self)), dy, tape, dstate, grads, recording)
        dx = self.swapped(dx)
        if listed and dx is not None:
            dx = self._unpadded(dx, lengths)
        return Gradients(dx, self.summed(grads), d_initial)

    def _prepared_dy(self, dy, tape) -> tuple[Any, Any, bool]:
        """Return dy time-major without lists, the lengths of x, and whether dx is to be a list."""
        dy, lengths, listed = ragged.pad_dy(dy, tape)
        if self.batch_first and not listed and self.returns_sequence and dy is not None:
            dy = self.swapped(checks.as_array(dy, "dy"))
        return dy, lengths, listed

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

        The gradient of a value that is read several times is a sum in a fixed order: that of the
        output itself, then those of the layers that read it, the last one first.

        Parameters
        ----------
        layers : range
            Numbers of the layers.
        dy : Any
            Gradient with respect to the output of the last of them, or a dict of the outputs if
            there are several; None for zeros.
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
            Gradient with respect to the input of the first layer, or a dict of the inputs.
        d_initial : tuple
            Gradient with respect to the initial state of each.
        """
        several, sources, results = self._wiring.several, self._wiring.sources, self._results
        n = 1 if several is None else len(several)
        d: list = [None] * (n + len(layers))  # gradient of each value, by its number
        if results is None:
            d[-1] = dy
        elif dy is not None:
            for name, v in results.items():
                d[v] = dy[name]
        d_initial: list = [None] * len(layers)
        for i, k in reversed(list(enumerate(layers))):
            layer, state_gradients, d_y = self.layers[k], None, d[n + i]
            if recording is not None:
                recording.layers[k].dy = None if d_y is None else np.asarray(d_y)
                state_gradients = recording.layers[k].dstates
            own = GradientViews({name: grads[f"{self.names[k]}.{name}"] for name in layer.shapes})
            if d_y is None and dstate[i] is None and not layer.state_delays:
                for a in own.values() if sums is None else ():
                    a[:] = 0
                continue
            # Layers without parameters need not take `sums`.
            more = {} if sums is None or not own else {"sums": sums[i]}
            with checks.naming(self.where(k)):
                result = layer.backward(d_y, tape[i], dstate[i], own, state_gradients, **more)
                dx, d_initial[i] = checked_gradients(layer, result, own, sums is not None)
            d[n + i] = None  # frees its memory
            read = sources[k]
            if layer.joins:
                for v, one in zip(read, dx, strict=True):
                    d[v + n + i] = one if d[v + n + i] is None else d[v + n + i] + one
            elif d[read + n + i] is None:
                d[read + n + i] = dx
            elif dx is not None:
                d[read + n + i] = d[read + n + i] + dx
        if several is not None:
            return dict(zip(several, d, strict=False)), tuple(d_initial)
        return d[0], tuple(d_initial)

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
        >>> from recurrent import LSTM, Linear, Sequential
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
        where = [self.where(k) for k in range(len(self))]
        if self.is_chain:
            return Stream(steppers, where, state)
        return GraphStream(steppers, where, self._wiring, state)

    def packed(self) -> Callable:
        """Return `forward` as a function whose weights are packed once, for time-major x.

        It serves many short calls that pass the state on; a stream holds the state itself.

        Returns
        -------
        callable
            (x, state) -> (y, final state), with a snapshot of the weights.
        """
        layers, wiring = [layer.packed() for layer in self.layers], self._wiring
        where = [self.where(k) for k in range(len(self))]

        def run(x, state):
            values: list = [x] if wiring.several is None else list(wiring.named(x).values())
            states, after = checks.per_layer(state, "state", len(layers)), []
            for k, (layer, before) in enumerate(zip(layers, states, strict=True)):
                read = wiring.sources[k]
                with checks.naming(where[k]):
                    joined = type(read) is tuple
                    y, new = layer(
                        tuple(values[v] for v in read) if joined else values[read], before
                    )
                values.append(y)
                after.append(new)
            if wiring.results is None:
                return values[-1], tuple(after)
            return {name: values[v] for name, v in wiring.results.items()}, tuple(after)

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
    ) -> Self:
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
        Model
            A model of this class.

        Raises
        ------
        TypeError
            If an option of a layer has the wrong type.
        ValueError
            If a layer type is unknown, or an option or the shape or dtype of a parameter does not
            fit.
        """
        described(description, "dtype", "layers", *cls._described)
        checks.instance(description["layers"], (list, tuple), "layers of description", "a list")
        layers, cells, tie, full = [], set(), {}, []
        dtype, weights = checks.dtype(description["dtype"]), quantized.described(description)
        for k, d in enumerate(description["layers"]):
            layer = built(d, k)
            name, tied = cls._described_name(d, k), d.get("tied", {})
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
        model = cls._of(layers, description, dtype=dtype, tie=tie or None, batch_first=layout)
        return model if parameters is not None or weights is None else model.quantize(weights)

    _described: tuple[str, ...] = ()  # further keys of a description

    @staticmethod
    def _described_name(description: dict, k: int) -> str:
        """Return the name of layer k in a description."""
        raise NotImplementedError

    @classmethod
    def _of(cls, layers: list[Named], description: dict, **options: Any) -> Self:
        """Return the model of these layers, in the order in which they run."""
        raise NotImplementedError

    def rebuilt(self, layers: Sequence[Layer], dtype: Any, batch_first: bool = False) -> Self:
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
        Model
        """
        checks.per_layer(layers, "layers", len(self))
        named = list(map(Named, self.names, layers))
        tie = self.tie or None
        return self._of(named, self.describe(), dtype=dtype, tie=tie, batch_first=batch_first)

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
        recurrent.graph.Graph
            A node for each input, layer and output, shapes on the edges, and a loop of delay 1, or
            -1 in reverse, for each state.
        """
        wiring, g = self._wiring, Graph()
        ids = [*self._ends("x", wiring.several or ("x",)), *(f"layer{k}" for k in range(len(self)))]
        shapes = self._shown_shapes()
        for v, name in enumerate(wiring.inputs):
            g.nodes.append(Node(ids[v], "input", name, shapes[v]))
        for k, layer in enumerate(self.layers):
            v = wiring.value(k)
            kind, size = type(layer).__name__, self._own_size(k)
            g.nodes.append(Node(ids[v], kind, repr(layer), shapes[v], size))
            g.edges += [Edge(ids[s], ids[v], shape=shapes[s]) for s in wiring.reads[k]]
            g.edges += [
                Edge(ids[v], ids[v], s, ("N", layer.state_sizes[s]), delay)
                for s, delay in layer.state_delays.items()
            ]
        ends = self._ends("y", list(wiring.results or "y"))
        for end, (name, v) in zip(ends, wiring.outputs.items(), strict=True):
            label = name if wiring.results else "y"
            g.nodes.append(Node(end, "output", label, shapes[v]))
            g.edges.append(Edge(ids[v], end, shape=shapes[v]))
        return g

    def _shown_shapes(self) -> list[tuple]:
        """Return the shape of each value as pictures show it."""
        wiring, steps, shapes = self._wiring, [], []
        for v in range(len(wiring.inputs)):
            ids = any(self.layers[k].gives_lookup for k in wiring.readers[v])
            width = "D" if self._widths[v] is None and not ids else self._widths[v]
            steps.append("T")
            shapes.append(("T", "N") if width is None else ("T", "N", width))
        for k, layer in enumerate(self.layers):
            v, read = wiring.value(k), wiring.reads[k][0]
            steps.append(steps[read] if layer.keeps_steps else f"{steps[read]}'")
            width = self._widths[v]
            if width is None:
                width = "D" if layer.joins else shapes[read][-1]
            shapes.append((steps[v], "N", width) if self._steps[v] else ("N", width))
        return shapes

    @staticmethod
    def _ends(letter: str, names: Sequence[str]) -> list[str]:
        """Return the ids of inputs or outputs: the letter alone if there is one."""
        return [letter if len(names) == 1 else f"{letter}.{name}" for name in names]
