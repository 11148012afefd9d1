"""What all layers have: named parameters in one flat vector, a step, a graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .. import checks, initialisers
from ..engine.footprint import Footprint
from ..graph import Graph
from .parameters import parameter_views
from .recording import LayerRecording
from .stream import Stream

LAYERS: dict[str, type[Layer]] = {}


class Gradients(NamedTuple):
    """Of the loss: with respect to a layer's or model's input, its parameters by name, its initial state."""

    dx: np.ndarray | None
    params: dict[str, np.ndarray]
    state: Any


class Layer:
    """What all layers have. A subclass declares `shapes`, `forward` and `backward`, and `init` if it has parameters.

    `in_features`, `out_features`: size of the last axis that goes in and comes out; None where any size passes through.
    """

    in_features: int | None = None
    out_features: int | None = None
    shapes: dict[str, tuple[int, ...]]
    needs_sequence = False  # whether it needs the steps of a sequence in order
    returns_sequence = True  # whether what it puts out still has steps
    cell: Any = None  # the equations of a recurrent layer
    bidirectional = False
    takes_lookup = False  # whether its input may be a Lookup
    gives_lookup = False  # whether it has `look_up`, which returns a Lookup in place of y
    state_delays: ClassVar[
        dict[str, int]
    ] = {}  # states by name, and how many steps later each is taken: 1, or -1 in reverse

    def __init_subclass__(cls, abstract: bool = False):
        if abstract:
            return
        name, place = cls.__name__, (cls.__module__, cls.__qualname__)
        taken = LAYERS.get(name)
        # A class that is defined again, by a reload or in a notebook, replaces itself.
        if taken is not None and (taken.__module__, taken.__qualname__) != place:
            raise TypeError(
                f"cannot define layer class {'.'.join(place)}: the name {name!r} is taken by "
                f"{taken.__module__}.{taken.__qualname__}, and saved models refer to layers by name"
            )
        LAYERS[name] = cls

    def __init__(self, **options: Any):
        self.options = options  # what builds an equal layer again
        self.shapes = {}
        self._parameters: dict[str, np.ndarray] | None = None
        self.owner: Any = None
        self.generator = np.random.default_rng(
            0
        )  # what masks are drawn from; a model's layers have the model's

    def __getstate__(self):
        return {**self.__dict__, "owner": None}  # a copy is part of no model

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.options.items())})"

    def check_below(self, below: Sequence[Layer]) -> None:
        """Raise ValueError if the layers below, the first one first, do not give what this one needs."""
        for k, layer in enumerate(below):
            if self.needs_sequence and not layer.returns_sequence:
                raise ValueError(
                    f"it needs the steps of a sequence, but layer {k} ({type(layer).__name__}) leaves none"
                )

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(math.prod(s) for s in self.shapes.values())

    @property
    def initialised(self) -> bool:
        """Whether the layer has values for its parameters yet."""
        return self._parameters is not None

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """Arrays by name; a layer used alone is initialised in float32 from seed 0 on first use."""
        if self._parameters is None:
            self.initialise()
        return self._parameters

    @property
    def dtype(self) -> np.dtype:
        """float32 or float64."""
        return next((a.dtype for a in self.parameters.values()), np.dtype(np.float32))

    def initialise(
        self, rng: Any = 0, dtype: Any = None, init: str | initialisers.Initialiser = "pytorch"
    ) -> Layer:
        """Draw new parameters from a seed or a numpy Generator, as `recurrent.initialisers` has it by name; returns the layer.

        `dtype`: that of before if None, float32 at first. Raises ValueError for an unknown name, and for a layer of a
        model that is to change its dtype.
        """
        draw = initialisers.named(init)
        before = self.dtype if self.initialised else np.dtype(np.float32)
        dtype = before if dtype is None else checks.dtype(dtype)
        if self.owner is None:
            self.bind(parameter_views(np.empty(self.size, dtype), self.shapes))
        elif dtype != self.owner.dtype and self.size:
            raise ValueError(
                f"the model that this layer is part of is {self.owner.dtype.name}, got dtype {dtype.name}"
            )
        draw(self, checks.generator(rng))
        return self

    def bind(self, parameters: dict[str, np.ndarray]) -> None:
        """Use these arrays as parameters from now on."""
        self._parameters = parameters

    def reset_parameters(self, rng: np.random.Generator) -> None:
        """Fill the parameters with initial values."""

    def footprint(self, T, N, width, dtype, ragged, training, table=None) -> Footprint:
        """Bytes that a training step, or a mere forward pass, takes with x (T, N, width), or with ids where width is None.

        `ragged`: with lengths, at worst all T. `table`: rows of the table where x is a Lookup.
        """
        raise ValueError(f"nobody has told yet what memory {type(self).__name__} takes")

    def recorded(self, y: np.ndarray, tape: Any) -> LayerRecording:
        """Return what a recording shows of a run with output y and this tape."""
        return LayerRecording(y)

    def keeps_input(self, ragged: bool) -> bool:
        """Whether the tape holds x itself."""
        return False

    def stepper(self) -> Callable:
        """A function of x_t, with the weights of this moment; one that has a state has `state` and `reset()` too."""
        return lambda x_t: self.forward(x_t)[0]

    def packed(self) -> Callable:
        """`forward` as a function (x, state) -> (y, state after), with the weights of this moment laid out once.

        For many short calls, such as those of decoding.
        """
        if self.needs_sequence:
            return lambda x, state: self.forward(x, state)[:2]
        step = self.stepper()
        return lambda x, state: (step(x), None)

    def stream(self) -> Stream:
        """This layer one time step at a time: `step(x_t)`, `reset()`."""
        return Stream([self.stepper()])

    def graph(self) -> Graph | None:
        """The graph of one unit for a recurrent layer; None for others."""
        return None

    def _gradients(self, out: dict[str, np.ndarray] | None) -> dict[str, np.ndarray]:
        return {n: np.empty_like(a) for n, a in self.parameters.items()} if out is None else out
