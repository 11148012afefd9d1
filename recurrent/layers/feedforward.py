"""Layers without recurrence: Embedding, OneHot, Linear and Dropout."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from .. import checks, kernels
from ..engine import bernoulli
from ..engine.footprint import Footprint
from ..engine.lookup import Lookup, RowGradients, rows_of
from ..kernels import memory
from ..kernels.quantized import Quantized
from .base import Gradients, Layer
from .parameters import ParameterViews
from .quantized import QuantizedParameters


class Embedding(Layer):
    """Looks up a row of a matrix for each integer id.

    x holds ids of any integer dtype and shape, 0 <= id < num_embeddings; y has the shape
    x.shape + (embedding_dim,). The parameter is `weight`, shape (num_embeddings, embedding_dim).

    Parameters
    ----------
    num_embeddings : int
        Number of ids.
    embedding_dim : int
        Size of each row.
    padding_idx : int, optional
        Id of the padding: its row starts as zeros and gets no gradient. Negative ones count from
        the end.

    Raises
    ------
    TypeError
        If a size or padding_idx is not an int; in `forward`, if ids are not integers.
    ValueError
        If a size is below 1, or there is no id padding_idx.
    IndexError
        In `forward`, if an id is out of range.
    """

    gives_lookup = runs_in_segments = True
    out_features: int
    padding_idx: int | None = None

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None):
        num_embeddings = checks.size(num_embeddings, "num_embeddings")
        embedding_dim = checks.size(embedding_dim, "embedding_dim")
        options = {}
        if padding_idx is not None:
            last = num_embeddings - 1
            padding_idx = checks.integer(padding_idx, "padding_idx", -num_embeddings, last)
            options["padding_idx"] = padding_idx % num_embeddings
        super().__init__(num_embeddings=num_embeddings, embedding_dim=embedding_dim, **options)
        self.out_features, self.padding_idx = embedding_dim, options.get("padding_idx")
        self.shapes = {"weight": (num_embeddings, embedding_dim)}
        self.rows = num_embeddings

    @staticmethod
    def from_pretrained(
        embeddings: np.ndarray, freeze: bool = True, padding_idx: int | None = None
    ) -> Embedding:
        """Make a layer of given rows, such as word vectors.

        Parameters
        ----------
        embeddings : ndarray, shape (num_embeddings, embedding_dim), float32 or float64
            The rows, in the dtype of the model; they are copied.
        freeze : bool, default True
            Whether training leaves the rows as they are: `trainable` is then False.
        padding_idx : int, optional
            Id of the padding, whose row gets no gradient. Its values stay as given.

        Returns
        -------
        Embedding

        Raises
        ------
        TypeError
            If the array is not float32 or float64, or an argument has the wrong type.
        ValueError
            If the array has not two axes, or there is no id padding_idx.

        Examples
        --------
        >>> layer = Embedding.from_pretrained(np.eye(3, dtype=np.float32))
        >>> layer.forward(np.array([2, 0]))[0].tolist(), layer.trainable
        ([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], False)
        """
        rows, freeze = checks.array(embeddings, "embeddings"), checks.flag(freeze, "freeze")
        if rows.ndim != 2 or not rows.size:
            raise ValueError(
                f"embeddings must be (num_embeddings, embedding_dim), got {rows.shape}"
            )
        layer = Embedding(*rows.shape, padding_idx=padding_idx)
        layer.bind(ParameterViews(weight=rows.copy()))
        layer.trainable = not freeze
        return layer

    @property
    def table(self) -> np.ndarray:
        """The matrix, shape (num_embeddings, embedding_dim)."""
        return self.parameters["weight"]

    def _rows(self) -> np.ndarray | Quantized:
        """Return the matrix as it is held."""
        parameters = self.parameters
        if type(parameters) is QuantizedParameters:
            return parameters.stored("weight")
        return parameters["weight"]

    def reset_parameters(self, rng):
        weight = self.parameters["weight"]
        weight[:] = rng.standard_normal(weight.shape)

    def fill(self, scheme, rng):
        super().fill(scheme, rng)
        if self.padding_idx is not None:
            self.parameters["weight"][self.padding_idx] = 0

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        checks.modes(record, training)
        lookup, _, tape = self.look_up(x, record)
        return np.asarray(lookup), None, tape

    def look_up(
        self, x: np.ndarray, record: bool = False
    ) -> tuple[Lookup, None, np.ndarray | None]:
        """Run `forward` without copying rows, for a layer that accepts a Lookup."""
        if type(record) is not bool:
            record = checks.flag(record, "record")
        ids = self._checked(x)
        return Lookup(self._rows(), ids), None, ids if record else None

    def _checked(self, x):
        return _checked_ids(x, self.rows)

    def _check_tape(self, tape):
        checks.tape(tape, np.ndarray)
        checks.integers(tape, "tape")

    def stepper(self):
        rows = self._rows()  # quantised ones cannot change
        return partial(_row, rows.copy() if isinstance(rows, np.ndarray) else rows)

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None, sums=None):
        self._check_tape(tape)
        if isinstance(dy, RowGradients):  # y was a Lookup, and these are the sums of all segments
            grads = self._sums(out, sums)
            grads["weight"][dy.ids] = dy.rows
            return Gradients(None, self._without_padding(grads), None)
        dy = self._checked_dy(dy, tape)
        grads = self._sums(out, sums, dy=dy)
        rows = dy.reshape(-1, self.out_features)
        kernels.backend.scatter_add(grads["weight"], tape.reshape(-1), rows)
        return Gradients(None, self._without_padding(grads), None)

    def _without_padding(self, grads):
        """Return gradients whose row of the padding is zeros."""
        if self.padding_idx is not None:
            grads["weight"][self.padding_idx] = 0
        return grads

    def _checked_dy(self, dy, ids):
        dy = checks.array(dy, "dy")
        checks.same_dtype(dy, "dy", self.dtype, "weight" if self.shapes else "the model")
        checks.shape(dy, "dy", (*ids.shape, self.out_features), "the shape of y")
        return dy

    def footprint(self, T, N, width, dtype, ragged, training, table=None):
        return Footprint(0, T * N * self.out_features * dtype.itemsize, 0, 0, 0)


class OneHot(Embedding):
    """Turns each integer id into a one-hot vector: an Embedding with a fixed identity matrix.

    x holds ids of any integer dtype and shape, 0 <= id < num_classes; y has the shape
    x.shape + (num_classes,). Right below a recurrent layer no vectors are formed: W_ih x is then a
    column of W_ih. The layer has no parameters.

    Parameters
    ----------
    num_classes : int
        Number of ids, and size of each vector.

    Raises
    ------
    TypeError
        If num_classes is not an int; in `forward`, if ids are not integers.
    ValueError
        If num_classes is below 1.
    IndexError
        In `forward`, if an id is out of range.
    """

    def __init__(self, num_classes: int):
        num_classes = checks.size(num_classes, "num_classes")
        Layer.__init__(self, num_classes=num_classes)
        self.rows = self.out_features = num_classes
        self._own_dtype, self._table = np.dtype(np.float32), np.eye(0, dtype=np.float32)

    def initialise(self, rng: Any = 0, dtype: Any = None, init: Any = "pytorch") -> Layer:
        super().initialise(rng, dtype, init)
        if dtype is not None and self.owner is None:
            self._own_dtype = checks.dtype(dtype)
        return self

    @property
    def dtype(self) -> np.dtype:
        """Dtype of y: that of the model; outside a model that of `initialise`, or float32."""
        return self._own_dtype if self.owner is None else self.owner.dtype

    @property
    def table(self) -> np.ndarray:
        """The identity matrix, shape (num_classes, num_classes)."""
        if self._table.shape != (self.rows, self.rows) or self._table.dtype != self.dtype:
            self._table = np.eye(self.rows, dtype=self.dtype)
        return self._table

    def _rows(self):
        return self.table

    def reset_parameters(self, rng):
        pass

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None, sums=None):
        self._check_tape(tape)
        if not isinstance(dy, RowGradients):
            self._checked_dy(dy, tape)
        return Gradients(None, self._gradients(out), None)


def _checked_ids(x: Any, rows: int) -> np.ndarray:
    """Return ids as an array of ints; raise IndexError if the table has no such row."""
    ids = checks.integers(x, "ids")
    if ids.size and (ids.min() < 0 or ids.max() >= rows):
        place = tuple(int(k) for k in np.argwhere((ids < 0) | (ids >= rows))[0])
        raise IndexError(f"ids must be in 0..{rows - 1}, got {ids[place]} at {place}")
    return ids


def _row(table: np.ndarray | Quantized, x_t: Any) -> np.ndarray:
    """Return rows of the table of an Embedding."""
    return rows_of(table, _checked_ids(x_t, len(table)))


class LinearStepper:
    """A snapshot of an affine map; calling it with x (..., K) returns y (..., M).

    Parameters
    ----------
    W : ndarray or Quantized, shape (M, K)
        The weights.
    b : ndarray, shape (M,)
        The bias.
    """

    def __init__(self, W: Any, b: np.ndarray):
        self.M, self.K = W.shape
        self.dtype, self._linear = W.dtype, kernels.backend.linear
        self._weights = kernels.backend.pack_linear(W, b)

    def __call__(self, x: Any) -> np.ndarray:
        x = checks.array(x, "x")
        y = memory.empty(self.begin(x), x.dtype)
        self._linear(x.reshape(-1, self.K), self._weights, y.reshape(-1, self.M))
        return y

    def begin(self, x: np.ndarray) -> tuple[int, ...]:
        """Check x and return the shape of y, see `Chain`."""
        checks.same_dtype(x, "x", self.dtype, "weight")
        if x.ndim < 1 or x.shape[-1] != self.K:
            raise ValueError(f"x must be (..., {self.K}), got {x.shape}")
        return (*x.shape[:-1], self.M)

    def link(self) -> tuple:
        """Return the weights as `Backend.chain` takes them."""
        return (self._weights,)


class Linear(Layer):
    """Affine map of the last axis: y = x W' + b.

    x has shape (..., in_features), y (..., out_features). The parameters are `weight`, shape
    (out_features, in_features), and `bias`, shape (out_features,).

    Parameters
    ----------
    in_features : int
        Size of the last axis of x.
    out_features : int
        Size of the last axis of y.
    bias : bool, default True
        Whether the layer has b; without it y = x W'.

    Raises
    ------
    TypeError
        If a size is not an int or bias not a bool.
    ValueError
        If a size is below 1.
    """

    runs_in_segments = True
    in_features: int
    out_features: int

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        in_features = checks.size(in_features, "in_features")
        out_features = checks.size(out_features, "out_features")
        options = {} if checks.flag(bias, "bias") else {"bias": False}
        super().__init__(in_features=in_features, out_features=out_features, **options)
        self.in_features, self.out_features = in_features, out_features
        self.shapes = {"weight": (out_features, in_features)}
        if not options:
            self.shapes["bias"] = (out_features,)

    def reset_parameters(self, rng):
        bound = 1 / np.sqrt(self.in_features)
        for a in self.parameters.values():
            a[:] = rng.uniform(-bound, bound, a.shape)

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        checks.modes(record, training)
        x = checks.array(x, "x")
        return self.stepper()(x), None, x if record else None

    def stepper(self):
        parameters = self.parameters
        if type(parameters) is QuantizedParameters:
            return parameters.packed(_linear_stepper)
        return _linear_stepper(parameters)

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None, sums=None):
        checks.tape(tape, np.ndarray)
        checks.same_dtype(tape, "tape", self.dtype, "weight")
        W, dy = self.parameters["weight"], checks.array(dy, "dy")
        checks.same_dtype(dy, "dy", W.dtype, "weight")
        checks.shape(dy, "dy", (*tape.shape[:-1], self.out_features), "the shape of y")
        grads = self._sums(out, sums, dy=dy, x=tape)
        dx = memory.empty(tape.shape, tape.dtype)
        dy_rows, x_rows, dx_rows = (a.reshape(-1, a.shape[-1]) for a in (dy, tape, dx))
        db = grads["bias"] if "bias" in grads else np.zeros(len(W), W.dtype)
        kernels.backend.linear_backward(dy_rows, x_rows, W, dx_rows, grads["weight"], db)
        return Gradients(dx, grads, None)

    def footprint(self, T, N, width, dtype, ragged, training, table=None):
        (M, K), b = self.shapes["weight"], dtype.itemsize
        forward, backward = kernels.backend.linear_scratch(M, K, T * N, dtype)
        return Footprint(0, T * N * M * b, forward, backward, T * N * K * b)

    def keeps_input(self, ragged):
        return True


def _linear_stepper(parameters: Mapping[str, Any]) -> LinearStepper:
    """Return the affine map of the parameters of a Linear."""
    W, bias = parameters["weight"], parameters.get("bias")
    return LinearStepper(W, np.zeros(len(W), W.dtype) if bias is None else bias)


class NoDropout:
    """Dropout in a stream, which passes x on."""

    def __call__(self, x: Any) -> np.ndarray:
        return checks.array(x, "x")

    def begin(self, x: np.ndarray) -> tuple[int, ...]:
        """Return the shape of y, see `Chain`."""
        return x.shape

    def link(self) -> None:
        """Return None, because y is x."""


class Dropout(Layer):
    """Dropout between layers.

    In training each entry is set to zero with probability p, and the others are multiplied by
    1 / (1 - p). `forward` trains if `training=True`, and by default if it records. The tape is the
    scaled mask, or None if nothing was dropped. Equal generators give equal masks:
    `model.generator = np.random.default_rng(seed)`.

    Parameters
    ----------
    p : float, default 0.5
        Probability of dropping an entry, at least 0 and below 1.
    per : {"step", "sequence"}, default "step"
        With "step", each time step has its own mask. With "sequence", all steps of a sequence have
        the same mask: variational dropout of the layer's input.

    Raises
    ------
    TypeError
        If p is not a number.
    ValueError
        If p is out of range or per is unknown.

    References
    ----------
    Gal and Ghahramani, "A theoretically grounded application of dropout in recurrent neural
    networks" (2016), for variational dropout.
    """

    runs_in_segments = True

    def __init__(self, p: float = 0.5, per: str = "step"):
        checks.choice(per, "per", ("step", "sequence"))
        super().__init__(p=bernoulli.probability(p, "p"), **({} if per == "step" else {"per": per}))
        self.p, self.per = float(p), per

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        checks.modes(record, training)
        x = checks.array(x, "x")
        if self.p == 0 or not (record if training is None else training):
            return x, None, None
        by_step = self.per == "step"
        shape = x.shape if by_step else (1, *x.shape[1:])
        mask = bernoulli.dropout_mask(self.generator, self.p, shape, x.dtype, by_step)
        return x * mask, None, mask if record else None

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None, sums=None):
        dy = checks.array(dy, "dy")
        if tape is None:
            return Gradients(dy, {}, None)
        checks.tape(tape, np.ndarray)
        checks.array(tape, "tape")
        checks.same_dtype(dy, "dy", tape.dtype, "x")
        steps = dy.shape[:1] if self.per == "sequence" else tape.shape[:1]
        checks.shape(dy, "dy", (*steps, *tape.shape[1:]), "the shape of y")
        return Gradients(dy * tape, {}, None)

    def stepper(self):
        return NoDropout()

    def footprint(self, T, N, width, dtype, ragged, training, table=None):
        entries = T * N * width if self.p and training else 0
        size = entries * dtype.itemsize
        return Footprint(size, size, entries, 0, size)
