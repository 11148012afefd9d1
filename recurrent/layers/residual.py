"""Residual: layers whose output is added to their input."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from .. import checks, initialisers
from ..engine.footprint import Footprint
from .base import Gradients, Layer
from .parameters import GradientViews, parameter_views
from .quantized import part
from .recording import LayerRecording
from .stack import (
    built,
    check_layer,
    checked_gradients,
    connect,
    described,
    refuse_outputs,
)
from .stream import Steps

MOST = 64  # layers in a description, see Sequential.build


class Residual(Layer):
    """Adds the output of its layers, applied one after the other, to their input: y = x + f(x).

    The parameters have the layers' numbers in front of their names, "0.weight_ih_l0". The state is
    a tuple with an entry per layer, None where a layer has none.

    Parameters
    ----------
    *layers : Layer
        The layers of f. Those with parameter values keep them. f keeps the size of x.

    Raises
    ------
    TypeError
        If an argument is not a layer.
    ValueError
        If there is none, sizes do not fit, a layer pools or reads ids, or is part of a model.

    References
    ----------
    He, Zhang, Ren and Sun, "Deep residual learning for image recognition" (2016).

    Examples
    --------
    >>> from recurrent import LSTM, Dropout, Linear, Sequential
    >>> model = Sequential(Linear(3, 8), Residual(LSTM(8, 8), Dropout(0.1)), Linear(8, 2), rng=0)
    >>> list(model.parameters)[2:4]
    ['1.0.weight_ih_l0', '1.0.weight_hh_l0']
    """

    def __init__(self, *layers: Layer):
        if not layers:
            raise ValueError("a Residual needs at least one layer, got none")
        for k, layer in enumerate(layers):
            check_layer(layer, k, "a layer, as in Residual(LSTM(8, 8))")
            if layer.owner is not None or any(layer is other for other in layers[:k]):
                raise ValueError(
                    f"layer {k} ({type(layer).__name__}) is already part of a model; "
                    "make a new layer or copy its parameters"
                )
        self._owner = None
        super().__init__()
        self.inner: tuple[Any, ...] = layers
        width = connect(layers, self._where)[-1]
        for k, layer in enumerate(layers):
            if not (layer.returns_sequence and layer.keeps_steps) or layer.gives_lookup:
                why = "reads ids" if layer.gives_lookup else "outputs one vector per sequence"
                why = why if layer.keeps_steps else "has another number of steps in y than in x"
                raise ValueError(
                    f"{self._where(k)} {why}, and its output cannot be added to the input"
                )
        self.in_features = next((n for n in (a.in_features for a in layers) if n is not None), None)
        self.out_features = width
        if width != self.in_features:
            raise ValueError(
                f"x + f(x) needs layers with as many outputs as inputs, {self.in_features}, "
                f"got {width}"
            )
        self.needs_sequence = any(layer.needs_sequence for layer in layers)
        self.runs_in_segments = all(layer.runs_in_segments for layer in layers)
        self.bidirectional = any(layer.bidirectional for layer in layers)
        self.shapes = self._joined(layer.shapes for layer in layers)
        self.state_delays = self._joined(layer.state_delays for layer in layers)
        self.state_sizes = self._joined(a.state_sizes if a.state_delays else {} for a in layers)
        before = [layer.parameters if layer.initialised else None for layer in layers]
        self.owner = None
        arrays = [a for values in before if values for a in values.values()]
        if arrays:
            self._keep(before, arrays[0].dtype)

    def _where(self, k) -> str:
        return f"layer {k} ({type(self.inner[k]).__name__})"

    @staticmethod
    def _joined(parts) -> dict[str, Any]:
        """Return one dict of several, one per layer, with its number in front of the names."""
        return {
            f"{k}.{name}": value for k, part in enumerate(parts) for name, value in part.items()
        }

    @staticmethod
    def _part(joined, k) -> dict[str, Any]:
        """Return what a joined dict has of a layer, by the layer's own names."""
        start = f"{k}."
        return {n.removeprefix(start): value for n, value in joined.items() if n.startswith(start)}

    def _keep(self, before, dtype) -> None:
        """Take over the values of layers that have some, and initialise the others."""
        for k, values in enumerate(before):
            for name, a in (values or {}).items():
                checks.same_dtype(a, name, dtype, "the other layers", f"{self._where(k)}: ")
        self.bind(parameter_views(np.empty(self.size, dtype), self.shapes))
        rng = np.random.default_rng(0)
        for layer, values in zip(self.inner, before, strict=True):
            if values is None:
                layer.fill(initialisers.pytorch, rng)
            else:
                layer.parameters.update(values)

    @property
    def reads_ahead(self) -> bool:
        return any(layer.reads_ahead for layer in self.inner)

    @property
    def runs_in_episodes(self) -> bool:
        return all(layer.runs_in_episodes for layer in self.inner)

    @property
    def owner(self) -> Any:
        """The model that the layer is part of, or None."""
        return self._owner

    @owner.setter
    def owner(self, value: Any) -> None:
        self._owner = value
        for layer in self.inner:
            layer.owner = self if value is None else value

    @property
    def generator(self) -> Any:
        """Source of dropout masks, shared by all layers."""
        return self._generator

    @generator.setter
    def generator(self, value: Any) -> None:
        self._generator = value
        for layer in self.inner:
            layer.generator = value

    @property
    def frozen(self):
        return super().frozen or list(self._joined(dict.fromkeys(a.frozen) for a in self.inner))

    def __copy__(self):
        new = type(self).__new__(type(self))
        new.__setstate__({**self.__dict__, "inner": tuple(map(copy.copy, self.inner))})
        return new

    def __getstate__(self):
        return {**self.__dict__, "_owner": None}

    def __setstate__(self, state):
        vars(self).update(state)
        self.owner = None

    def __repr__(self):
        return f"Residual({', '.join(map(repr, self.inner))})"

    def describe(self) -> dict:
        layers = [layer.describe() for layer in self.inner]
        return {**super().describe(), "options": {"layers": layers}}

    @classmethod
    def build(cls, options: dict) -> Layer:
        described(options, "layers")
        if len(options) > 1:
            raise TypeError(f"a Residual has no option but its layers, got {', '.join(options)}")
        checks.instance(options["layers"], (list, tuple), "layers", "a list")
        if len(options["layers"]) > MOST:
            raise ValueError(f"a Residual in a description may have at most {MOST} layers")
        return cls(*(built(d, k) for k, d in enumerate(options["layers"])))

    def check_below(self, below):
        super().check_below(below)
        connect(self.inner, self._where, below)

    def bind(self, parameters: Mapping[str, np.ndarray]) -> None:
        super().bind(parameters)
        for k, layer in enumerate(self.inner):
            layer.bind(part(parameters, self._part({n: n for n in self.shapes}, k)))

    def fill(self, scheme, rng):
        for layer in self.inner:
            layer.fill(scheme, rng)

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        checks.modes(record, training)
        y = x = checks.array(x, "x")
        before = checks.per_layer(state, "state", len(self.inner))
        new, tapes = [], []
        for k, (layer, one) in enumerate(zip(self.inner, before, strict=True)):
            with checks.naming(self._where(k)):
                result = layer.forward(y, one, lengths, record, training)
                if type(result) is not tuple or len(result) != 3:
                    refuse_outputs(layer, result)
                y, after, tape = result
            new.append(after)
            tapes.append(tape)
        final = tuple(new) if self.state_delays else None
        return x + y, final, tuple(tapes) if record else None

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None, sums=None):
        checks.tape(tape, tuple, len(self.inner))
        grads, d = self._gradients(out), checks.array(dy, "dy")
        after = checks.per_layer(dstate, "dstate", len(self.inner))
        initial: list = [None] * len(self.inner)
        for k in reversed(range(len(self.inner))):
            own = GradientViews(self._part(grads, k))
            gradients: Any = None if state_gradients is None else {}
            more = {} if sums is None or not own else {"sums": sums.part(k)}
            with checks.naming(self._where(k)):
                layer = self.inner[k]
                result = layer.backward(d, tape[k], after[k], own, gradients, **more)
                d, initial[k] = checked_gradients(layer, result, own, sums is not None)
            if state_gradients is not None:
                state_gradients.update(self._joined([{}] * k + [gradients]))
        return Gradients(dy + d, grads, tuple(initial) if self.state_delays else None)

    def state_arrays(self, state: Any) -> dict[str, np.ndarray]:
        """Return the arrays of a state by name: "0.h", "0.c"."""
        return self._joined(
            layer.state_arrays(one) if layer.state_delays else {}
            for layer, one in zip(self.inner, state, strict=True)
        )

    def state_from(self, arrays: dict[str, np.ndarray]) -> Any:
        """Return the state of these arrays by name: the inverse of `state_arrays`."""
        return tuple(
            layer.state_from(self._part(arrays, k)) if layer.state_delays else None
            for k, layer in enumerate(self.inner)
        )

    def recorded(self, y, tape):
        parts = [layer.recorded(y, one) for layer, one in zip(self.inner, tape, strict=True)]
        return ResidualRecording(
            y,
            self._joined(part.gates for part in parts),
            self._joined(part.states for part in parts),
            preactivations=self._joined(part.preactivations for part in parts),
            initial=self._joined(part.initial for part in parts),
        )

    def footprint(self, T, N, width, dtype, ragged, training, table=None):
        size, kept, peak, found = T * N * width * dtype.itemsize, 0, 0, []
        for k, layer in enumerate(self.inner):
            with checks.naming(self._where(k)):
                f = layer.footprint(T, N, width, dtype, ragged, training)
            found.append(f)
            peak = max(peak, kept + f.kept + f.output + f.forward)
            above = self.inner[k + 1] if k + 1 < len(self.inner) else None
            stays = training and above is not None and above.keeps_input(ragged)
            kept += f.kept + (f.output if stays else 0)
            width = layer.out_features or width
        forward = max(peak, kept + found[-1].output + size) - kept - size
        backward, dx = 0, 0
        for f in reversed(found):
            backward, dx = max(backward, f.backward + f.dx + dx), f.dx or dx
        return Footprint(kept, size, max(forward, 0), max(backward - size, dx), size)

    def keeps_input(self, ragged):
        return self.inner[0].keeps_input(ragged)

    def stepper(self):
        steppers = []
        for k, layer in enumerate(self.inner):
            with checks.naming(self._where(k)):
                steppers.append(layer.stepper())
        names = [self._where(k) for k in range(len(self.inner))]
        if any(hasattr(step, "state") for step in steppers):
            return ResidualSteps(steppers, names)
        return partial(_added, Steps(steppers, names))

    def packed(self):
        layers = [layer.packed() for layer in self.inner]

        def run(x, state):
            y, new = x, []
            states = checks.per_layer(state, "state", len(layers))
            for k, (layer, before) in enumerate(zip(layers, states, strict=True)):
                with checks.naming(self._where(k)):
                    y, after = layer(y, before)
                new.append(after)
            return x + y, tuple(new) if self.state_delays else None

        return run


class ResidualSteps(Steps):
    """The steppers of a Residual's layers, as one."""

    def __call__(self, x_t: Any) -> np.ndarray:
        return x_t + self.step(x_t)


def _added(steps: Steps, x_t: Any) -> np.ndarray:
    """Return x_t plus the output of steppers without a state; it can be pickled."""
    return x_t + steps(x_t)


class ResidualRecording(LayerRecording):
    """The run of a Residual: what its layers recorded, with their numbers in front of the names."""

    def finish(self, tape: Any) -> None:
        for k, one in enumerate(tape if self.dstates else ()):
            dstates = Residual._part(self.dstates, k)
            if dstates:
                part = LayerRecording(None, dstates=dstates)
                part.finish(one)
                self.dpreactivations |= Residual._joined([{}] * k + [part.dpreactivations])
