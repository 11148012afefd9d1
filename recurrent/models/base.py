"""The base class of models: layers, parameters in one flat vector, runs and recordings."""

from __future__ import annotations

import copy
import os
from typing import Any, Self

import numpy as np

from .. import checks, initialisers
from ..checks.guided import Guided
from ..engine import ragged
from ..engine.episodes import Episodes
from ..kernels import memory
from ..layers.attributes import Sealed
from ..layers.base import Gradients
from ..layers.parameters import ParameterViews, parameter_views
from ..layers.quantized import QuantizedParameters, refuse_quantized
from ..layers.recording import Keep, Recording
from . import quantized, storage, summary


class ModelTape(tuple):
    """The tape of each layer, with what `backward` checks.

    Attributes
    ----------
    x : Any
        The input.
    samples : bytes
        Some entries of the parameters during `forward`.
    list_lengths : ndarray, shape (N,), or None
        Lengths of the sequences if x was a list of arrays (T_i, ...).
    y_listed : bool
        Whether y was a list too; not after a pooling layer.
    y_lengths : ndarray, shape (N,), or None
        Lengths of the arrays of y if it was a list.
    """

    x: Any = None
    samples: bytes | None = None
    list_lengths: np.ndarray | None = None
    y_listed = False
    y_lengths: np.ndarray | None = None


class Model(Guided, Sealed):
    """Base class of models: layers, parameters in one flat vector, runs and recordings.

    A subclass sets `layers`, `parameters` (views into `flat` by name) and `dtype`, and implements
    `prepare_input`, `run_layers`, `backward` and `output_lengths`.
    """

    _sampled: np.ndarray | None = None  # places of the entries that `_samples` returns
    _results: dict[str, int] | None = None  # places of several outputs by name
    _explained = ("__init__", "forward", "backward", "record", "stream", "initialise", "save")
    layers: list[Any]
    parameters: ParameterViews | QuantizedParameters
    dtype: np.dtype
    out_features: int | None
    batch_first = False
    _flat: Any  # the vector of the parameters, or QuantizedParameters in its place
    _generator: np.random.Generator

    def __len__(self):
        return len(self.layers)

    def __getitem__(self, k: int) -> Any:
        return self.layers[k]

    @property
    def parts(self) -> dict[str, Model]:
        """The stacks of layers that the model consists of, by name; {"": self} for a single one."""
        return {"": self}

    @property
    def time_major(self) -> Model:
        """The model as it reads time-major arrays: itself, unless it is batch-first.

        It shares layers, parameters and random generator with the model.
        """
        if not self.batch_first:
            return self
        same = type(self).__new__(type(self))
        vars(same).update(vars(self), batch_first=False)
        return same

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self._flat.size

    @property
    def nbytes(self) -> int:
        """Bytes that the parameters take; those of quantised weights include the scales."""
        return self._flat.nbytes

    @property
    def weights(self) -> str:
        """Kind of the weights: "float32" or "float64", or "int8" or "bfloat16" if quantised."""
        flat = self._flat
        return flat.weights if isinstance(flat, QuantizedParameters) else flat.dtype.name

    @property
    def flat(self) -> np.ndarray:
        """All parameters as one vector, shape (P,), where P is `size`.

        Assigning copies the values. Raises TypeError for another dtype, ValueError for another
        shape. The vector of a quantised model is dequantised when it is read and cannot be written.
        """
        flat = self._flat
        return flat.vector() if type(flat) is QuantizedParameters else flat

    @flat.setter
    def flat(self, values: np.ndarray) -> None:
        if values is not self._flat:  # it is after `model.flat -= step`
            refuse_quantized(self.parameters, "an assignment changes")
            values = checks.array(values, "flat")
            checks.same_dtype(values, "flat", self._flat.dtype, "the model")
            checks.shape(values, "flat", self._flat.shape, "(P,)")
            self._flat[:] = values

    @property
    def trainable(self) -> bool:
        """True if training changes all parameters; setting it sets that of every layer."""
        return all(layer.trainable for layer in self.layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        value = checks.flag(value, "trainable")
        for layer in self.layers:
            layer.trainable = value

    @property
    def frozen(self) -> list[str]:
        """Names of the parameters that training does not change."""
        return [f"{name}.{n}" for name, part in self.parts.items() for n in part.frozen]

    def trainable_mask(self) -> np.ndarray:
        """Return which entries of `flat` training changes.

        Returns
        -------
        ndarray, shape (P,), bool
            False for the parameters of layers whose `trainable` is False.
        """
        mask = np.ones(self.size, bool)
        views = parameter_views(mask, {n: a.shape for n, a in self.parameters.items()})
        for name in self.frozen:
            views[name][:] = False
        return mask

    def __getstate__(self):
        # Views are created again from `_flat`.
        return {name: value for name, value in self.__dict__.items() if name != "parameters"}

    def __setstate__(self, state):
        vars(self).update(state, parameters=None)
        self._bind_parameters(self._flat)

    def quantize(self, weights: str) -> Self:
        """Return a smaller model for inference, whose matrices are held in 8 or 16 bits a weight.

        Its arithmetic is float32: results are those of the rounded weights, `dequantized()`, bit
        for bit. Vectors, such as biases, stay float32. Where the weights do not fit the cache,
        fewer bytes take less time. The model runs, streams and is saved as any other, but its
        parameters cannot be changed. Each layer packs its weights on first use and keeps the
        result, which takes as many bytes again.

        Parameters
        ----------
        weights : {"int8", "bfloat16"}
            "int8" has a scale for each row of a matrix; "bfloat16" has the upper half of the bits
            of a float32.

        Returns
        -------
        Model
            A model of the same class, which shares no memory with this one.

        Raises
        ------
        TypeError
            If the weights are not float32.
        ValueError
            If the kind is unknown, or a weight is NaN or infinite.

        Examples
        --------
        >>> from recurrent import LSTM, Sequential
        >>> model, x = Sequential(LSTM(64, 64), rng=0), np.ones((5, 64), np.float32)
        >>> small = model.quantize("int8")
        >>> small.weights, round(model.nbytes / small.nbytes, 1)
        ('int8', 3.6)
        >>> bool((small(x) == small.dequantized()(x)).all())
        True
        """
        return self._copied(quantized.quantized(self, weights))

    def dequantized(self) -> Self:
        """Return the float32 model with the rounded weights of a quantised one.

        Returns
        -------
        Model
            An ordinary model of the same class. It gives the same bits, and can be trained.

        Raises
        ------
        TypeError
            If the weights are not quantised.
        """
        if not isinstance(self._flat, QuantizedParameters):
            raise TypeError(
                f'the weights are not quantised but {self.weights}: model.quantize("int8") does it'
            )
        return self._copied(ParameterViews(self.parameters))

    def _copied(self, parameters) -> Any:
        """Return a model of the same layers with these parameters, and an equal generator."""
        model = self._with(parameters)
        model.generator = copy.deepcopy(self.generator)
        return model

    def _with(self, parameters: ParameterViews | QuantizedParameters) -> Model:
        """Return a model of copies of the layers; float32 arrays are copied."""
        raise NotImplementedError

    def _weights_entry(self) -> dict[str, str]:
        """Return the entry of a description that says how the weights are quantised."""
        return {"weights": self.weights} if isinstance(self._flat, QuantizedParameters) else {}

    def describe(self) -> dict:
        """Return the layers and options as plain data, from which `build` makes a model.

        Returns
        -------
        dict
            Data that JSON can hold, without the values of the parameters.
        """
        raise NotImplementedError

    def save(self, path: str | os.PathLike) -> None:
        """Write the model to a file, which `recurrent.load` reads.

        The file is written as a whole: if writing fails, an earlier file of that name stays as it
        was. `recurrent.training.checkpoint` saves the state of a training too.

        Parameters
        ----------
        path : str or os.PathLike
            The file, by convention with the ending .safetensors.

        Raises
        ------
        OSError
            If the folder does not exist, or the file cannot be written.
        TypeError, ValueError
            If a layer or a cell cannot be found again by its name, or has too many options.

        Examples
        --------
        >>> import recurrent
        >>> model = recurrent.Sequential(recurrent.LSTM(2, 3), rng=0)
        >>> model.save("model.safetensors")
        >>> again = recurrent.load("model.safetensors")
        >>> again, bool(np.all(again.flat == model.flat))
        (Sequential(LSTM(input_size=2, hidden_size=3)), True)
        """
        storage.save(path, self)

    def summary(self) -> str:
        """Return a table of the layers as text: outputs, numbers of parameters, and states.

        Returns
        -------
        str
            One line a layer, to be printed. The first column is what the names of the layer's
            parameters begin with.

        Examples
        --------
        >>> from recurrent import LSTM, Dropout, Embedding, Linear, Sequential
        >>> model = Sequential(Embedding(65, 16), LSTM(16, 32), Dropout(0.2), Linear(32, 65))
        >>> print(model.summary())
        Sequential
             layer              output       parameters  state
          0  Embedding(65, 16)  (T, N, 16)        1,040
          1  LSTM(16, 32)       (T, N, 32)        6,400  h, c (N, 32)
          2  Dropout(0.2)       (T, N, 32)            0
          3  Linear(32, 65)     (T, N, 65)        2,145
             total                                9,585  float32, 38.3 kB
        """
        return summary.summary(self)

    def _bind_parameters(self, flat: Any) -> None:
        """Make `parameters` and those of the layers views into this vector of their values.

        Or, if the model is quantised, parts of these QuantizedParameters.
        """
        raise NotImplementedError

    @property
    def generator(self) -> np.random.Generator:
        """Source of dropout masks, shared by all layers."""
        return self._generator

    @generator.setter
    def generator(self, rng: np.random.Generator) -> None:
        checks.instance(rng, np.random.Generator, "generator", "a numpy.random.Generator")
        self._generator = rng
        for _, inner in getattr(self, "_models", ()):
            inner.generator = rng
        for layer in self.layers:
            layer.generator = rng

    def where(self, k: int) -> str:
        """Return the name of a layer in error messages.

        Parameters
        ----------
        k : int
            Number of the layer.

        Returns
        -------
        str
            For example "layer 2 (LSTM)".
        """
        try:
            return f"layer {k} ({type(self.layers[k]).__name__})"
        except (IndexError, TypeError):  # no check before: every layer of every call asks
            k = checks.index(k, "k", len(self.layers), ", the layers")
            return self.where(k)

    def initialise(self, rng: Any = 0, init: str | initialisers.Initialiser = "pytorch") -> Model:
        """Give all parameters new initial values, layer by layer.

        Parameters
        ----------
        rng : int or numpy.random.Generator, default 0
            Seed or generator of the initial values.
        init : str or callable, default "pytorch"
            Initialisation scheme: a name in `recurrent.initialisers`, or a function.

        Returns
        -------
        Model
            The model itself.

        Raises
        ------
        TypeError
            If the weights are quantised.
        """
        refuse_quantized(self.parameters, "initialise changes")
        scheme, rng = initialisers.named(init), checks.generator(rng)
        for part in self.parts.values():
            part._initialise(scheme, rng)
        return self

    def _initialise(self, scheme: initialisers.Initialiser, rng: np.random.Generator) -> None:
        """Fill all parameters with new initial values."""
        raise NotImplementedError

    def has_steps(self, k: int) -> bool:
        """Return whether the output of a layer has a time axis.

        Parameters
        ----------
        k : int
            Number of the layer.

        Returns
        -------
        bool
            False from the first pooling layer on.
        """
        k = checks.index(k, "k", len(self.layers), ", the layers")
        return all(layer.returns_sequence for layer in self.layers[: k + 1])

    def output_lengths(self, lengths: Any) -> Any:
        """Return the lengths of the output, as losses take them.

        Parameters
        ----------
        lengths : Any
            Lengths as `prepare_input` returns them.

        Returns
        -------
        Any
            Lengths of y; None if y has no time axis.
        """
        raise NotImplementedError

    def backward(
        self,
        dy: Any,
        tape: Any,
        dstate: Any = None,
        out: np.ndarray | None = None,
        recording: Recording | None = None,
    ) -> Gradients:
        """Compute gradients of the loss.

        The tape refers to x and the parameters: both must be as they were in `forward`. Parameters
        that have changed are an error where the first, the middle or the last entry of one of them
        differs, as after any update; other changes in place are not seen, and give the gradient of
        no function.

        Parameters
        ----------
        dy : ndarray, shape of y, or None
            Gradient with respect to y; None for zeros. A list if y is a list.
        tape : tuple
            Tape of a forward pass with `record=True`.
        dstate : tuple, optional
            Gradient with respect to the final state, one entry per layer; None for zeros.
            Must be None for a Seq2Seq.
        out : ndarray, shape (P,), dtype of the model, optional
            Vector to write the gradients of the parameters to, in the order of `flat`. It must not
            share memory with `flat`, x or dy.
        recording : Recording, optional
            A recording to add the gradients of outputs and states to.

        Returns
        -------
        Gradients
            `dx`, in the form of x, or None for ids; `params` by name; `state`, one entry per layer.

        Raises
        ------
        TypeError
            If dy or `out` has the wrong dtype.
        ValueError
            If the tape is missing, a shape does not fit, the parameters have changed since the
            forward pass, or `out` shares memory with what is read.
        """
        raise NotImplementedError

    def check_tape(self, tape: Any) -> None:
        """Check that the parameters are those of the forward pass, by three entries of each.

        Parameters
        ----------
        tape : tuple or None
            The tape.

        Raises
        ------
        ValueError, TypeError
            If there is no tape of these layers, or one of the entries has changed.
        """
        checks.tape(tape, tuple, len(self))
        before = getattr(tape, "samples", None)
        if before is not None and before != self._samples():
            raise ValueError(
                "the parameters changed between forward and backward: call forward again, or "
                "backward before the update"
            )

    def gradient_vector(
        self, out: np.ndarray | None, tape: Any = None, dy: np.ndarray | None = None
    ) -> np.ndarray:
        """Return a new vector for the gradient, or `out` after checking it.

        Parameters
        ----------
        out : ndarray, shape (P,), optional
            A vector like `flat`.
        tape : tuple, optional
            The tape that `backward` reads.
        dy : ndarray, shape of y, optional
            The gradient that `backward` reads.

        Returns
        -------
        ndarray, shape (P,)
            The vector.

        Raises
        ------
        TypeError, ValueError
            If `out` is not like `flat`, or shares memory with the parameters, x or dy.
        """
        if out is None:
            return memory.empty(self.flat.shape, self.dtype)
        checks.writeable(out, "out", self.flat)
        x = getattr(tape, "x", None)
        sources, targets = x if isinstance(x, tuple) else (x, None)
        read = {"model.flat, the parameters": self.flat, "x": sources, "dy": dy, "targets": targets}
        for name, several in list(read.items()):
            if isinstance(several, dict):  # inputs or outputs by name
                read |= {f"{name}[{key!r}]": a for key, a in several.items()}
        read = {name: a for name, a in read.items() if isinstance(a, np.ndarray)}
        checks.apart((out,), ("out",), tuple(read.values()), tuple(read))
        return out

    def _samples(self) -> bytes | None:
        """Return the first, the middle and the last entry of each parameter; None if quantised."""
        if type(self._flat) is QuantizedParameters:
            return None
        places = self._sampled
        if places is None:
            sizes = np.array([a.size for a in self.parameters.values() if a.size], np.int64)
            first = np.cumsum(sizes) - sizes
            places = np.concatenate([first, first + sizes // 2, first + sizes - 1])
            self._sampled = places
        return self._flat.take(places).tobytes()

    def prepare_input(self, x: Any, lengths: Any) -> tuple[Any, Any, bool]:
        """Convert sequences given as lists to padded arrays with lengths.

        Parameters
        ----------
        x : Any
            Input as `forward` takes it.
        lengths : Any
            Lengths as `forward` takes them.

        Returns
        -------
        x : Any
            Input without lists.
        lengths : Any
            Lengths of the sequences.
        listed : bool
            Whether `forward` returns y as a list.
        """
        raise NotImplementedError

    def swapped(self, a: Any) -> Any:
        """Change y, dy or dx of a batch-first model from one layout to the other.

        Parameters
        ----------
        a : ndarray, shape (T, N, ...) or (N, T, ...), or anything else
            An array; a list, None and what has no axis of time or of sequences stay as they are.

        Returns
        -------
        Any
            A contiguous array with the first two axes swapped.
        """
        if self.batch_first and isinstance(a, dict):
            return {name: self.swapped(one) for name, one in a.items()}
        if not self.batch_first or not isinstance(a, np.ndarray) or a.ndim < 3:
            return a
        return np.ascontiguousarray(a.swapaxes(0, 1))

    def _output(self, outputs: Any) -> dict[str, Any]:
        """Return several outputs by name, of the list that `run_layers` returns."""
        raise NotImplementedError

    def _unpadded(self, a: Any, lengths: Any) -> Any:
        """Return y or dx as lists of sequences; those without lengths stay as they are."""
        if not isinstance(a, dict):
            return ragged.unpad_sequences(a, lengths)
        return {
            name: one
            if one is None or lengths[name] is None
            else self._unpadded(one, lengths[name])
            for name, one in a.items()
        }

    def padded_targets(self, targets: Any, lengths: Any, name: str = "targets") -> Any:
        """Return the targets of a list of sequences as one array.

        Parameters
        ----------
        targets : list
            Targets, or anything else that has an entry for each of them.
        lengths : Any
            Lengths as `prepare_input` returns them.
        name : str, default "targets"
            What error messages call them.

        Returns
        -------
        Any
        """
        counts = getattr(lengths, "target", lengths)  # those of the decoder of a Seq2Seq
        return ragged.pad_targets(targets, counts, name)

    def targets_by_time(self, targets: Any, x: np.ndarray) -> Any:
        """Return the targets of a batch as losses take them, time-major.

        Parameters
        ----------
        targets : Any
            Targets; of a batch-first model those of each step are (N, T, ...).
        x : ndarray, shape (T, N, ...)
            The input as `prepare_input` returns it.

        Returns
        -------
        Any
            Targets (T, N, ...); those without an axis of time as they are.
        """
        if not self.batch_first or not self.has_steps(len(self) - 1):
            return targets
        targets = checks.as_array(targets, "targets")
        fits = targets.ndim > 1 and targets.shape[:2] == x.shape[1::-1]
        return np.ascontiguousarray(targets.swapaxes(0, 1)) if fits else targets

    def resets_by_time(self, resets: Any, x: np.ndarray) -> np.ndarray:
        """Return the resets (N, T) of a batch-first model as (T, N).

        Parameters
        ----------
        resets : ndarray, shape (N, T), bool
            Where episodes begin.
        x : ndarray, shape (T, N, ...)
            The input as `prepare_input` returns it.

        Returns
        -------
        ndarray, shape (T, N), bool

        Raises
        ------
        ValueError
            If they have another shape.
        """
        return self._turned(resets, "resets", x.shape[:2])

    def _turned(self, mask: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return a mask (N, T) as (T, N); raise ValueError for another shape."""
        mask = checks.as_array(mask, name)
        checks.shape(mask, name, shape[::-1], "(N, T), as the model is batch-first,")
        return mask.T

    def _episodes(self, x: Any, lengths: Any, resets: Any) -> Episodes:
        """Return what takes the place of `lengths` in `run_layers`, to cut sequences at resets."""
        raise ValueError(f"resets must be None: a {type(self).__name__} has no episodes")

    def run_layers(
        self, x: Any, state: Any, lengths: Any, record: bool, training: bool | None
    ) -> tuple[list, tuple, tuple]:
        """Run all layers on prepared input and return the output of each.

        Parameters
        ----------
        x : Any
            Input as `prepare_input` returns it.
        state : tuple or None
            Initial state, one entry per layer.
        lengths : Any
            Lengths as `prepare_input` returns them.
        record : bool
            Whether to return tapes for `backward`.
        training : bool or None
            Whether dropout acts; None for the value of `record`.

        Returns
        -------
        outputs : list
            x, then the output of each layer.
        state : tuple
            Final state of each layer.
        tape : tuple
            Tape of each layer.
        """
        raise NotImplementedError

    def forward(
        self,
        x: Any,
        state: Any = None,
        lengths: Any = None,
        record: bool = False,
        training: bool | None = None,
        resets: Any = None,
    ) -> tuple[Any, tuple, tuple | None]:
        """Run all layers.

        Parameters
        ----------
        x : ndarray, shape (T, N, D) or (T, D), dtype of the model
            Input, time-major, or (N, T, D) if the model is batch-first: then y and masks are
            (N, T, ...) too. Integer ids, shape (T, N) or (T,), if the first layer is an Embedding.
            Or a list of arrays (T_i, ...), one for each sequence. A Seq2Seq takes a pair of such
            inputs, (source, target).
        state : tuple, optional
            Initial state, one entry per layer, as `forward` returns it. Must be None for a
            Seq2Seq.
        lengths : array of int, shape (N,), or mask, shape (T, N), optional
            Valid time steps of each sequence. A pair, each of them optional, for a Seq2Seq.
        record : bool, default False
            Whether to keep the tape, which `backward` needs.
        training : bool, optional
            Whether dropout acts; the value of `record` by default.
        resets : mask, shape (T, N), bool, optional
            Where an episode begins: before that step the state returns to the initial one, and the
            gradient is cut. Each episode gives the bits that it gives as a sequence of its own.
            `state` is that of the first episodes, the final state that of the last ones. A reset
            at a step that is not valid takes effect at the next one that is. A list of arrays
            (T_i,) if x is a list.

        Returns
        -------
        y : ndarray, shape (T, N, K) or (T, K)
            Output of the last layer; without the time axis after a pooling layer. A list if x is
            one and y has a time axis.
        state : tuple
            Final state, one entry per layer; None for layers without state.
        tape : tuple or None
            Tape of each layer; None unless `record`.

        Raises
        ------
        TypeError, ValueError, IndexError
            If an argument does not fit; the message names the layer.
        """
        x, lengths, listed = self.prepare_input(x, lengths)
        if self.batch_first and resets is not None and not listed:
            resets = self.resets_by_time(resets, x)
        valid = lengths if resets is None else self._episodes(x, lengths, resets)
        outputs, final, tapes = self.run_layers(x, state, valid, record, training)
        y = outputs[-1] if self._results is None else self._output(outputs)
        y_lengths = self.output_lengths(lengths) if listed else None
        if listed and y_lengths is not None:
            y = self._unpadded(y, y_lengths)
        elif self.batch_first and not listed:
            y = self.swapped(y)
        if not record:
            return y, final, None
        tape = ModelTape(tapes)
        tape.x, tape.samples = outputs[0], self._samples()
        if listed:
            tape.list_lengths = getattr(lengths, "target", lengths)
            tape.y_listed, tape.y_lengths = y_lengths is not None, y_lengths
        return y, final, tape

    def __call__(self, x: Any, lengths: Any = None) -> Any:
        """Return the output alone, as `forward` computes it without a tape.

        Parameters
        ----------
        x : ndarray, shape (T, N, D) or (T, D), or list of arrays (T_i, D)
            Input, as `forward` takes it.
        lengths : array of int, shape (N,), or mask, shape (T, N), optional
            Valid time steps of each sequence.

        Returns
        -------
        ndarray or list
            Output of the last layer.
        """
        return self.forward(x, lengths=lengths)[0]

    def record(
        self, x: Any, targets: Any = None, loss: Any = None, lengths: Any = None, keep: Any = None
    ) -> Recording:
        """Run without dropout and keep outputs, gates, states and pre-activations of all layers.

        Parameters
        ----------
        x : ndarray, shape (T, N, D) or (T, D), dtype of the model
            Input as `forward` takes it. The recording of lists contains padded arrays.
        targets : ndarray, shape as the loss takes it, optional
            Targets; a list if x is one. With targets and loss, gradients are recorded too.
        loss : callable, optional
            Function `loss(y, targets, lengths=lengths)` that returns the loss and its gradient
            with respect to y, as in `recurrent.losses`.
        lengths : array of int, shape (N,), or mask, shape (T, N), optional
            Valid time steps of each sequence.
        keep : dict, optional
            Parts to keep, which saves memory in long runs: `names` (such as "c" or "y"),
            `steps`, `units`, `layers`; see `recurrent.layers.recording.Keep`. All by default.

        Returns
        -------
        Recording
            Input, output, and a LayerRecording for each layer.

        Raises
        ------
        ValueError
            If targets are given without a loss or a loss without targets, or if `keep` selects
            something that does not exist.
        TypeError
            If a loss is given, but the weights are quantised.

        Examples
        --------
        >>> from recurrent import LSTM, Sequential
        >>> model, x = Sequential(LSTM(2, 9)), np.zeros((500, 1, 2), np.float32)
        >>> recording = model.record(x, keep=dict(names=["c"], units=[3]))
        >>> {name: a.shape for name, a in recording.layers[0].states.items()}
        {'c': (500, 1, 1)}
        """
        keep = Keep.of(keep)
        if (targets is None) != (loss is None):
            raise ValueError("record needs both targets and loss, or neither")
        if loss is not None:
            checks.function(loss, "loss", "losses.softmax_cross_entropy")
            refuse_quantized(self.parameters, "record with a loss needs gradients of")
        x, lengths, listed = self.prepare_input(x, lengths)
        outputs, _, tape = self.run_layers(x, None, lengths, record=True, training=False)
        y = outputs[-1] if self._results is None else self._output(outputs)
        layers = [
            layer.recorded(np.asarray(a), t)
            for layer, a, t in zip(self.layers, outputs[1:], tape, strict=True)
        ]
        recording = Recording(outputs[0], y, layers, lengths)
        if loss is not None:
            if listed:
                targets = self.padded_targets(targets, lengths)
            elif self.batch_first:
                targets = self.targets_by_time(targets, outputs[0])
            recording.targets = targets
            recording.loss, dy = checks.loss_of(
                loss(y, targets, lengths=self.output_lengths(lengths))
            )
            recording.gradients = self.time_major.backward(dy, tape, recording=recording)
            for layer, layer_tape in zip(layers, tape, strict=True):
                layer.finish(layer_tape)
        if keep is None:
            return recording
        memory.release()  # returns the tapes' memory as soon as they are dropped
        return recording.keep_only(keep, [self.has_steps(k) for k in range(len(self))])
