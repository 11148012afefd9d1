"""The base class of all layers: named parameters in one flat vector, forward, backward, step."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import checks, initialisers
from ..checks.guided import Guided
from ..engine.footprint import Footprint
from ..engine.sums import Sums
from ..graph import Graph
from .attributes import Sealed
from .parameters import GradientViews, parameter_views
from .quantized import QuantizedParameters, refuse_quantized
from .recording import LayerRecording
from .stream import LayerStream, Stream

LAYERS: dict[str, type[Layer]] = {}
# What models call the methods of a layer with, by places.
ARGUMENTS = {
    "forward": "x, state, lengths, record, training",
    "backward": "dy, tape, dstate, out, state_gradients",
}


class Gradients(NamedTuple):
    """Gradients of the loss, as `backward` of a layer or a model returns them.

    Attributes
    ----------
    dx : ndarray or None
        Gradient with respect to the input, in the shape of x; None if the input is ids.
    params : dict of str to ndarray
        Gradient with respect to each parameter by name, in the shape of that parameter.
    state : Any
        Gradient with respect to the initial state, in the form of that state; None without one.
    """

    dx: Any
    params: dict[str, np.ndarray]
    state: Any


class Layer(Guided, Sealed):
    """Base class of all layers; a layer of your own is a subclass.

    A layer without parameters implements `forward` and `backward`, see the example. It then works
    in models, `fit`, `gradcheck`, streams and recordings. What is more needs more:

    * Options: a constructor passes them to `super().__init__(**options)`. It sets all attributes:
      later on, a name that is new is refused unless it begins with an underscore.
    * Files: they hold the name of the class and the options. Define the class, under the same
      name, before you load one. `abstract=True` in the class statement registers no name.
    * Parameters: the constructor sets `shapes`, `reset_parameters` fills `parameters`, and
      `backward` returns their gradients by name, see the second example. It may write them to the
      arrays in `out` instead and return those.
    * Time steps that depend on each other: `needs_sequence = True`, and `stepper` for streams.
    * `checkpoint_every`: `runs_in_segments = True`. `plan`: `footprint`.

    Parameters
    ----------
    **options : Any
        The arguments that build an equal layer; `repr` shows them and saved models contain them.

    Attributes
    ----------
    shapes : dict of str to tuple of int
        Shape of each parameter by name.
    in_features, out_features : int or None
        Size of the last axis of x and of y; None if the layer accepts and keeps any size.
    needs_sequence : bool
        Whether the layer needs the time steps of a sequence in order.
    returns_sequence : bool
        Whether y has a time axis.
    keeps_steps : bool
        Whether y, if it has a time axis, has the time steps of x.
    runs_in_segments : bool
        Whether a run may be cut into segments of time: the state holds all that later steps need,
        and `backward` takes `sums` if there are parameters. False by default.
    runs_in_episodes : bool
        Whether `lengths` may be `Episodes`, each of which is run as a sequence of its own. True by
        default for a layer that does not need the sequence.
    takes_lookup : bool
        Whether x may be a Lookup: rows of a table, not yet copied out.
    gives_lookup : bool
        Whether the layer has `look_up`, which returns a Lookup in place of y.
    joins : bool
        Whether x is a tuple of arrays, and dx one too: `Add`, `Multiply` and `Concat` of a `Graph`.
    cell : Cell or None
        Equations of a recurrent layer.
    bidirectional : bool
        Whether the layer also runs from the last time step to the first.
    reverse : bool
        Whether the layer runs from the last time step to the first only.
    reads_ahead : bool
        Whether a step of y depends on later ones: by a direction that starts at the last time step,
        or by a window.
    state_delays : dict of str to int
        For each state by name, the number of steps after which it is read: 1, or -1 in reverse.
        A layer that has any also has `state_sizes`, `state_arrays` and `state_from`.
    inner : tuple of Layer
        The layers that the layer holds.
    owner : Model, Layer or None
        The model, or the layer outside a model, that the layer is part of.
    generator : numpy.random.Generator
        Source of dropout masks. Layers of a model share the model's.
    trainable : bool
        Whether training changes the parameters; True at first.
    origin : str
        Name of the layer in the program that it comes from, such as "encoder.lstm"; "" at first.
        Pictures show it.

    Raises
    ------
    TypeError
        When a subclass is defined whose name another layer class has.

    Examples
    --------
    >>> from recurrent import LSTM, Linear, Sequential, gradcheck
    >>> class Square(Layer):
    ...     def forward(self, x, *_, **__):
    ...         return x * x, None, x  # y, state, tape
    ...
    ...     def backward(self, dy, tape, *_, **__):
    ...         return Gradients(2 * tape * dy, {}, None)
    >>> model = Sequential(LSTM(2, 3), Square(), Linear(3, 1), rng=0)
    >>> x = np.ones((4, 2), np.float32)
    >>> gradcheck(model, x).ok
    True
    >>> stream = model.stream()
    >>> bool((np.array([stream.step(x_t) for x_t in x]) == model.forward(x)[0]).all())
    True

    A layer with parameters:

    >>> class Scale(Layer):
    ...     def __init__(self, width):
    ...         super().__init__(width=width)
    ...         self.in_features = self.out_features = width
    ...         self.shapes = {"scale": (width,)}
    ...
    ...     def reset_parameters(self, rng):
    ...         self.parameters["scale"][:] = 1
    ...
    ...     def forward(self, x, *_, **__):
    ...         return x * self.parameters["scale"], None, x
    ...
    ...     def backward(self, dy, tape, *_, **__):
    ...         dscale = (dy * tape).reshape(-1, self.in_features).sum(axis=0)
    ...         return Gradients(dy * self.parameters["scale"], {"scale": dscale}, None)
    >>> gradcheck(Sequential(LSTM(2, 3), Scale(3), rng=0), x).ok
    True
    >>> del LAYERS["Square"], LAYERS["Scale"]
    """

    in_features: int | None = None
    out_features: int | None = None
    shapes: dict[str, tuple[int, ...]]
    needs_sequence = False
    returns_sequence = True
    keeps_steps = True
    runs_in_segments = False
    takes_lookup = False
    gives_lookup = False
    joins = False
    cell: Any = None
    bidirectional = reverse = False
    state_delays: dict[str, int]
    state_sizes: dict[str, int]
    inner: tuple[Layer, ...] = ()
    _origin = ""

    def __init_subclass__(cls, abstract: bool = False):
        for name, words in ARGUMENTS.items():
            if name in vars(cls):
                _check_signature(cls, name, words)
        super().__init_subclass__()
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
        self.options = checks.plain(options)
        self.shapes, self.state_delays = {}, {}
        self._parameters: Any = None
        self._trainable = True
        self.owner: Any = None
        self.generator = np.random.default_rng(0)

    def __getstate__(self):
        return {**self.__dict__, "owner": None}  # a copy is part of no model

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.options.items())})"

    def describe(self) -> dict:
        """Return the type, the options, whether it is trained and its origin, as plain data.

        Returns
        -------
        dict
            An entry of the layers in the description of a model.
        """
        more: dict[str, Any] = {} if self.trainable else {"trainable": False}
        more |= {"origin": self.origin} if self.origin else {}
        return {"type": type(self).__name__, "options": self.options, **more}

    def width_of(self, widths: Sequence[int | None]) -> int | None:
        """Return the size of the last axis of y of a layer that joins arrays of these sizes.

        Parameters
        ----------
        widths : sequence of int or None
            Size of the last axis of each array; None if not known.

        Returns
        -------
        int or None
            None if not known.

        Raises
        ------
        ValueError
            If arrays of these sizes cannot be joined.
        """
        raise ValueError(f"{type(self).__name__} joins no arrays: write Add or Concat")

    @property
    def reads_ahead(self) -> bool:
        return -1 in self.state_delays.values()

    @property
    def runs_in_episodes(self) -> bool:
        return not self.needs_sequence

    @classmethod
    def build(cls, options: dict) -> Layer:
        """Make a layer from the options in a description.

        Parameters
        ----------
        options : dict
            Those of `describe`.

        Returns
        -------
        Layer
        """
        return cls(**options)

    def check_below(self, below: Sequence[Layer]) -> None:
        """Check that the layers below provide what this layer needs.

        Parameters
        ----------
        below : sequence of Layer
            The layers below, the first layer of the model first.

        Raises
        ------
        ValueError
            If this layer needs time steps that a layer below has removed.
        """
        checks.instance(below, Sequence, "below", "a sequence of layers")
        for k, layer in enumerate(below):
            checks.instance(layer, Layer, f"below: layer {k}", "a layer")
            if self.needs_sequence and not layer.returns_sequence:
                raise ValueError(
                    "its input must be a sequence, but "
                    f"layer {k} ({type(layer).__name__}) outputs one vector per sequence"
                )

    def __call__(self, x: Any) -> Any:
        """Return what PyTorch's layer returns: y, and for a layer with a state (y, final state).

        Parameters
        ----------
        x : ndarray, shape (T, N, in_features) or (T, in_features)
            Input, as `forward` takes it.

        Returns
        -------
        ndarray or tuple
            Output without a tape.
        """
        y, state, _ = self.forward(x)
        return y if state is None else (y, state)

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(math.prod(s) for s in self.shapes.values())

    @property
    def trainable(self) -> bool:
        """True if training changes the parameters.

        Gradients are computed either way. Raises TypeError for anything but a bool.
        """
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = checks.flag(value, "trainable")

    @property
    def origin(self) -> str:
        """Name of the layer in the program that it comes from; "" if it comes from none.

        Raises TypeError for anything but a str, ValueError for what is no short line.
        """
        return self._origin

    @origin.setter
    def origin(self, value: str) -> None:
        self._origin = checks.line(value, "origin")

    @property
    def frozen(self) -> list[str]:
        """Names of the parameters that training does not change."""
        return [] if self.trainable else list(self.shapes)

    @property
    def initialised(self) -> bool:
        """True once the parameters have values."""
        return self._parameters is not None

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """Parameters by name.

        A layer outside a model is initialised in float32 from seed 0 on first use.
        """
        if not self.initialised:
            (self.owner if isinstance(self.owner, Layer) else self).initialise()
        return self._parameters

    @property
    def dtype(self) -> np.dtype:
        """Dtype of the parameters, float32 or float64; float32 if they are quantised."""
        parameters = self.parameters
        if type(parameters) is QuantizedParameters:
            return parameters.dtype
        return next((a.dtype for a in parameters.values()), np.dtype(np.float32))

    def initialise(
        self, rng: Any = 0, dtype: Any = None, init: str | initialisers.Initialiser = "pytorch"
    ) -> Layer:
        """Give all parameters new initial values.

        Parameters
        ----------
        rng : int or numpy.random.Generator, default 0
            Seed or generator of the initial values.
        dtype : dtype-like, optional
            float32 or float64. By default the dtype stays; it is float32 at first.
        init : str or callable, default "pytorch"
            Initialisation scheme: a name in `recurrent.initialisers`, or a function.

        Returns
        -------
        Layer
            The layer itself.

        Raises
        ------
        TypeError
            If the weights are quantised.
        ValueError
            If the scheme is unknown, or if the layer is part of a model of another dtype.
        """
        scheme, rng = initialisers.named(init), checks.generator(rng)
        refuse_quantized(self._parameters, "initialise changes")
        if isinstance(self.owner, Layer) and not self.initialised:
            self.owner.initialise()  # it holds this layer, and the arrays of its parameters
        before = self.dtype if self.initialised else np.dtype(np.float32)
        dtype = before if dtype is None else checks.dtype(dtype)
        if self.owner is None:
            self.bind(parameter_views(np.empty(self.size, dtype), self.shapes))
        elif dtype != self.owner.dtype and self.size:
            raise ValueError(
                f"dtype must be {self.owner.dtype.name}, as in the model that this layer is part "
                f"of, got {dtype.name}"
            )
        self.fill(scheme, rng)
        return self

    def fill(self, scheme: initialisers.Initialiser, rng: np.random.Generator) -> None:
        """Fill the parameters with the initial values of a scheme.

        Parameters
        ----------
        scheme : callable
            A function in `recurrent.initialisers`.
        rng : numpy.random.Generator
            Source of the random values.
        """
        scheme(self, rng)

    def bind(self, parameters: Mapping[str, np.ndarray]) -> None:
        """Replace the parameter arrays by these.

        Parameters
        ----------
        parameters : dict of str to ndarray, or QuantizedParameters
            An array of the shape `shapes[name]` for each parameter; not copied.

        Raises
        ------
        TypeError, ValueError
            If a name or a shape is another.
        """
        if not isinstance(parameters, QuantizedParameters):
            checks.instance(parameters, dict, "parameters", "a dict of arrays by name")
        if parameters.keys() != self.shapes.keys():
            raise ValueError(
                f"parameters must have the names {', '.join(self.shapes) or 'of none'}, "
                f"got {checks.shown(list(parameters))}"
            )
        for name, shape in self.shapes.items():
            if isinstance(parameters, QuantizedParameters):
                a: Any = parameters.stored(name)
            else:
                a = parameters[name]
                checks.instance(a, np.ndarray, f"parameters[{name!r}]", "an array")
            checks.shape(a, f"parameters[{name!r}]", shape, "its shape")
        self._parameters = parameters

    def reset_parameters(self, rng: np.random.Generator) -> None:
        """Fill the parameters with PyTorch's initial values.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of the random values.
        """
        if self.shapes:
            raise TypeError(
                f"{type(self).__name__} has parameters ({', '.join(self.shapes)}) but no "
                "reset_parameters(self, rng), which fills self.parameters"
            )

    def forward(
        self,
        x: Any,
        state: Any = None,
        lengths: Any = None,
        record: bool = False,
        training: bool | None = None,
    ) -> tuple[Any, Any, Any]:
        """Compute the output of the layer.

        Parameters
        ----------
        x : ndarray, shape (T, N, in_features) or (T, in_features)
            Input, time-major, in the dtype of the parameters; integer ids, shape (T, N) or (T,),
            for an Embedding.
        state : Any, optional
            Initial state of a layer that has one; zeros by default.
        lengths : array of int, shape (N,), or mask, shape (T, N), optional
            Valid time steps of each sequence; all by default.
        record : bool, default False
            Whether to return a tape for `backward`.
        training : bool, optional
            Whether dropout acts; the value of `record` by default.

        Returns
        -------
        y : ndarray, shape (T, N, out_features) or (T, out_features)
            Output; without the time axis if `returns_sequence` is False.
        state : Any
            Final state; None for a layer that has none.
        tape : Any
            The tape for `backward`; None unless `record`.

        Raises
        ------
        TypeError
            If an argument has the wrong dtype.
        ValueError
            If shapes or lengths do not fit.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(
        self,
        dy: Any,
        tape: Any,
        dstate: Any = None,
        out: dict[str, np.ndarray] | None = None,
        state_gradients: dict | None = None,
        sums: Sums | None = None,
    ) -> Gradients:
        """Compute gradients of the loss.

        Parameters
        ----------
        dy : ndarray, shape of y
            Gradient with respect to y.
        tape : Any
            Tape of the recorded forward pass.
        dstate : Any, optional
            Gradient with respect to the final state; zeros by default.
        out : dict of str to ndarray, shape of each parameter, optional
            Arrays to write the gradients of the parameters to; they must not share memory with
            the parameters, dy or x.
        state_gradients : dict, optional
            A dict that a recurrent layer fills with the gradient of each state after each step.
        sums : Sums, optional
            Of a run in segments, the last one first: `out` holds the sums of later segments, and
            the gradients of this one are added, row after row from the last to the first.

        Returns
        -------
        Gradients
            Gradients with respect to x, the parameters and the initial state.

        Raises
        ------
        TypeError
            If dy has the wrong dtype.
        ValueError
            If dy has another shape than y, or `out` does not fit.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward, so it cannot be trained")

    def output_lengths(self, lengths: Any) -> Any:
        """Return the lengths of y.

        Parameters
        ----------
        lengths : array of int, shape (N,), or mask, shape (T, N), or None
            Lengths of x, as `forward` takes them.

        Returns
        -------
        array of int, shape (N,), or mask, shape (T, N), or None
            The lengths themselves, unless y has other time steps than x.
        """
        return lengths

    def footprint(self, T, N, width, dtype, ragged, training, table=None) -> Footprint:
        """Estimate the memory of a training step or of a forward pass.

        Parameters
        ----------
        T : int
            Number of time steps.
        N : int
            Batch size.
        width : int or None
            Size of the last axis of x; None if x is ids.
        dtype : numpy.dtype
            Dtype of the model.
        ragged : bool
            Whether lengths are given. The estimate assumes the worst case, T for all.
        training : bool
            Whether to plan a training step rather than a forward pass alone.
        table : int, optional
            Number of rows of the table if x is a Lookup.

        Returns
        -------
        Footprint
            Sizes in bytes.

        Raises
        ------
        ValueError
            If the layer does not implement this method.
        """
        raise ValueError(
            f"{type(self).__name__} does not implement footprint(), so its memory cannot be planned"
        )

    def recorded(self, y: np.ndarray, tape: Any) -> LayerRecording:
        """Return the recording of a run of this layer.

        Parameters
        ----------
        y : ndarray, shape of the layer's output
            Output of the run.
        tape : Any
            Tape of the run.

        Returns
        -------
        LayerRecording
            The output, and the gates, states and weights that the tape holds.
        """
        return LayerRecording(y)

    def keeps_input(self, ragged: bool) -> bool:
        """Return whether the tape holds x itself.

        Parameters
        ----------
        ragged : bool
            Whether lengths are given.

        Returns
        -------
        bool
            True if x stays in memory as long as the tape does.
        """
        return False

    def stepper(self) -> Callable:
        """Return a function of x_t that runs one time step with a snapshot of the weights.

        Returns
        -------
        callable
            x_t -> y_t. If the layer has a state, it has `state`, which can be assigned, `rows`,
            `reset(rows=None)`, and `rewind(steps)`, which returns to the state after that many
            steps: at most the last one is taken back. See `StateStepper`. It can be pickled.
        """
        return partial(_output, self)

    def packed(self) -> Callable:
        """Return `forward` as a function whose weights are packed once, for many short calls.

        Returns
        -------
        callable
            (x, state) -> (y, final state), with a snapshot of the weights.
        """
        if self.needs_sequence:
            return lambda x, state: self.forward(x, state)[:2]
        step = self.stepper()
        return lambda x, state: (step(x), None)

    def stream(self, state: Any = None) -> Stream:
        """Return a stream, which runs this layer one time step at a time.

        Parameters
        ----------
        state : Any, optional
            The state to start from, as `forward` returns it; the initial one by default.

        Returns
        -------
        Stream
            A stream with a snapshot of the weights: `step(x_t)`, `state`, `reset()`, `copy()`.

        Raises
        ------
        ValueError
            If the layer needs the whole sequence, or the state does not fit.
        """
        return LayerStream([self.stepper()], [""], state)

    def graph(self) -> Graph | None:
        """Return the graph of one unit of a recurrent layer.

        Returns
        -------
        Graph or None
            None for a layer that is not recurrent.
        """
        return None

    def _gradients(self, out: Any, **read: np.ndarray) -> dict[str, np.ndarray]:
        """Return new arrays for the gradients, or `out` after checking it.

        `read`: further arrays by name that it must not share memory with.
        """
        if type(out) is GradientViews:
            return out
        refuse_quantized(self._parameters, "backward trains")
        if out is None:
            return {n: np.empty_like(a) for n, a in self.parameters.items()}
        checks.instance(out, dict, "out", "a dict of arrays by name")
        if out.keys() != self.shapes.keys():
            names = [", ".join(d) or "nothing" for d in (self.shapes, out)]
            raise ValueError(f"out must have the names {names[0]}, got {names[1]}")
        for n, a in self.parameters.items():
            checks.writeable(out[n], f"out[{n!r}]", a)
        read = {**self.parameters, **read}
        names = [f"out[{n!r}]" for n in out]
        checks.apart(list(out.values()), names, list(read.values()), list(read))
        return out

    def _sums(
        self, out: Any, sums: Sums | None = None, **read: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return arrays to add gradients to: zeros, or with `sums` those of later segments."""
        grads = self._gradients(out, **read)
        for a in grads.values() if sums is None else ():
            a.fill(0)
        return grads


def _check_signature(cls: type, name: str, words: str) -> None:
    """Raise TypeError unless a method takes these arguments by their places."""
    try:
        inspect.signature(vars(cls)[name]).bind(*["self", *words.split(", ")])
    except TypeError:
        raise TypeError(f"{cls.__name__}.{name} must take ({words})") from None


def _output(layer: Layer, x_t: Any) -> Any:
    """Return the output of a layer alone; a function of the module can be pickled."""
    return layer.forward(x_t)[0]
