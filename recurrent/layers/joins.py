"""Joins: layers without parameters that make one value of several, for `recurrent.Graph`."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from .. import checks
from ..engine.footprint import Footprint
from .base import Gradients, Layer


class Join(Layer, abstract=True):
    """Base class of the joins.

    x is a tuple of arrays of one dtype; `backward` returns a tuple of gradients. Steps are joined
    one by one, so a join needs no lengths: padding stays what it is in the arrays.
    """

    joins = True
    runs_in_segments = True

    def __init__(self):
        super().__init__()

    def width_of(self, widths):
        checks.iterable(widths, "widths", "a sequence of sizes")
        known = [n for n in widths if n is not None]
        for n in known:
            if n != known[0]:
                raise ValueError(
                    f"what it joins must have one number of features, got {known[0]} and {n}: "
                    "give the narrower one a Linear, or write Concat()"
                )
        return known[0] if known else None

    def _parts(self, x: Any) -> tuple[np.ndarray, ...]:
        """Return the arrays of x; raise an error unless they fit each other."""
        if not isinstance(x, (tuple, list)) or len(x) < 2:
            raise TypeError(
                f"x must be a tuple of two arrays or more, which {type(self).__name__} joins, "
                f"got {checks.shown(x)}"
            )
        parts = tuple(checks.array(a, f"x[{k}]") for k, a in enumerate(x))
        for k, a in enumerate(parts[1:], 1):
            checks.same_dtype(a, f"x[{k}]", parts[0].dtype, "x[0]")
            self._check_shape(a, f"x[{k}]", parts[0])
        return parts

    def _check_shape(self, a, name, first) -> None:
        checks.shape(a, name, first.shape, "the shape of x[0]")

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        checks.modes(record, training)
        parts = self._parts(x)
        return self._joined(parts), None, self._tape(parts) if record else None

    def _joined(self, parts) -> np.ndarray:
        raise NotImplementedError

    def _tape(self, parts) -> tuple:
        """Return the shapes of the arrays: all that the gradients need."""
        return tuple(a.shape for a in parts)

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None, sums=None):
        checks.tape(tape, tuple)
        if len(tape) < 2:
            raise ValueError(f"tape must have an entry for each array of x, got {len(tape)}")
        dy = checks.array(dy, "dy")
        return Gradients(self._split(dy, tape), {}, None)

    def _split(self, dy, tape) -> tuple[np.ndarray, ...]:
        raise NotImplementedError


class Add(Join):
    """Adds arrays of one shape, from left to right: y = (a + b) + c.

    It is a node of a `Graph`, and reads two nodes or more: a residual connection is
    `"sum": (Add(), "x", "lstm")`.

    Examples
    --------
    >>> a = np.ones((4, 2), np.float32)
    >>> Add().forward((a, a, a))[0][0].tolist()
    [3.0, 3.0]
    """

    def _joined(self, parts):
        return reduce(np.add, parts)

    def _split(self, dy, tape):
        checks.shape(dy, "dy", tape[0], "the shape of y")
        return (dy,) * len(tape)

    def footprint(self, T, N, width, dtype, ragged, training, table=None):
        size = T * N * width[0] * dtype.itemsize
        return Footprint(0, size, size if len(width) > 2 else 0, 0, 0)


class Multiply(Join):
    """Multiplies arrays of one shape entry by entry, from left to right: a gate between branches.

    Examples
    --------
    >>> a = np.full((4, 2), 3, np.float32)
    >>> Multiply().forward((a, a))[0][0].tolist()
    [9.0, 9.0]
    """

    def _joined(self, parts):
        return reduce(np.multiply, parts)

    def _tape(self, parts):
        return parts

    def _split(self, dy, tape):
        checks.shape(dy, "dy", tape[0].shape, "the shape of y")
        checks.same_dtype(dy, "dy", tape[0].dtype, "x")
        others = [[a for i, a in enumerate(tape) if i != k] for k in range(len(tape))]
        return tuple(reduce(np.multiply, some, dy) for some in others)

    def keeps_input(self, ragged):
        return True

    def footprint(self, T, N, width, dtype, ragged, training, table=None):
        size = T * N * width[0] * dtype.itemsize
        return Footprint(0, size, size if len(width) > 2 else 0, size, len(width) * size)


class Concat(Join):
    """Joins arrays along their features: y has the last axes of all arrays, one after the other.

    Examples
    --------
    >>> a, b = np.ones((4, 2), np.float32), np.zeros((4, 1), np.float32)
    >>> Concat().forward((a, b))[0][0].tolist()
    [1.0, 1.0, 0.0]
    """

    def width_of(self, widths):
        checks.iterable(widths, "widths", "a sequence of sizes")
        sizes: list[Any] = list(widths)
        return None if None in sizes else sum(sizes)

    def _check_shape(self, a, name, first):
        expected = (*first.shape[:-1], *a.shape[-1:])
        checks.shape(a, name, expected, "that of x[0] but for the last axis,")

    def _joined(self, parts):
        return np.concatenate(parts, axis=-1)

    def _split(self, dy, tape):
        widths = [shape[-1] for shape in tape]
        checks.shape(dy, "dy", (*tape[0][:-1], sum(widths)), "the shape of y")
        ends = np.cumsum(widths)
        starts = ends - widths
        return tuple(np.ascontiguousarray(dy[..., i:j]) for i, j in zip(starts, ends, strict=True))

    def footprint(self, T, N, width, dtype, ragged, training, table=None):
        size = T * N * sum(width) * dtype.itemsize
        return Footprint(0, size, 0, 0, size)
