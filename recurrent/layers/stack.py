"""Checks, builds and walks through layers, for models and `Residual`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import checks
from .base import LAYERS, Layer


def check_layer(layer: Any, k: int, words: str = "a layer") -> None:
    """Raise TypeError unless layer k is a layer whose base class has been initialised."""
    if not isinstance(layer, Layer):
        raise TypeError(f"layer {k} must be {words}, got {type(layer).__name__}")
    if not hasattr(layer, "options"):
        raise TypeError(f"{type(layer).__name__}.__init__ must first call super().__init__()")


def refuse_outputs(layer: Layer, result: Any) -> None:
    """Raise TypeError for what `forward` of a layer returned in place of (y, state, tape)."""
    words = f"must return (y, state, tape), got {checks.shown(result)}"
    raise TypeError(f"forward of {type(layer).__name__} {words}")


def checked_gradients(
    layer: Layer, result: Any, out: dict[str, np.ndarray], add: bool
) -> tuple[Any, Any]:
    """Return dx and the state's gradient that `backward` of a layer returned.

    The gradients of the parameters are copied to `out`, or added to it, unless the layer has
    written them there.
    """
    name = type(layer).__name__
    if not isinstance(result, tuple) or len(result) != 3:
        words = f"must return Gradients(dx, params, state), got {checks.shown(result)}"
        raise TypeError(f"backward of {name} {words}")
    dx, params, state = result
    if out and params is not out:
        if not isinstance(params, dict) or params.keys() != out.keys():
            words = f"must return the gradients of {', '.join(out)} by name"
            raise TypeError(f"backward of {name} {words}, got {checks.shown(params)}")
        for n, a in out.items():
            if params[n] is not a:
                a[...] = a + params[n] if add else params[n]
    return dx, state


def walk(layers: Iterable[Layer]) -> Iterator[Layer]:
    """Yield layers, each followed by those that it holds."""
    for layer in layers:
        yield layer
        yield from walk(layer.inner)


def built(description: Any, k: int) -> Layer:
    """Return the layer of a description; raise the error of `Sequential.build`, naming it k."""
    described(description, "type", "options", where=f"layer {k} of ")
    kind, options = description["type"], description["options"]
    checks.text(kind, f"type of layer {k} of description")
    checks.instance(options, dict, f"options of layer {k} of description", "a dict")
    if kind not in LAYERS:
        raise ValueError(f"unknown layer type {checks.shown(kind)}; known are {', '.join(LAYERS)}")
    with checks.naming(f"layer {k} ({kind})"):
        layer = LAYERS[kind].build(options)
        layer.trainable = description.get("trainable", True)
        layer.origin = description.get("origin", "")
    return layer


def described(value: Any, *keys: str, where: str = "") -> None:
    """Raise an error unless a description is a dict with these keys."""
    name = f"{where}description"
    checks.instance(value, dict, name, "a dict, as describe returns it")
    missing = [key for key in keys if key not in value]
    if missing:
        raise ValueError(f"{name} must have the keys {', '.join(keys)}; {missing[0]} is missing")


def connect(
    layers: Sequence[Layer],
    where: Callable[[int], str],
    below: Sequence[Layer] = (),
    reads: Sequence[tuple[int, ...]] | None = None,
    inputs: int = 1,
) -> list[Any]:
    """Check that layers fit what they read; return the size of each value, None for any.

    The values are the inputs, then the output of each layer. Layer k reads those with the numbers
    reads[k], by default that of the layer before. `where(k)` names layer k in an error; `below` are
    the layers below the first one.
    """
    values = Values(where, inputs)
    for k, layer in enumerate(layers):
        read = (k,) if reads is None else reads[k]
        values.check(k, layer, read)
        if reads is None:
            under = [*below, *layers[:k]]
        else:
            under = [layers[i] for i in range(k) if values.below[-1] >> i & 1]
        with checks.naming(where(k)):
            layer.check_below(under)
    return [values.width(v) for v in range(inputs + len(layers))]


def lengths_above(layers: Iterable[Layer], lengths: Any) -> Any:
    """Return the lengths of the output of layers, one after the other, for those of the input."""
    for layer in layers:
        lengths = layer.output_lengths(lengths)
    return lengths


class Values:
    """Holds what is known about the values that layers read, while they are connected.

    Parameters
    ----------
    where : callable
        Returns the name of layer k in an error.
    inputs : int
        Number of inputs: values 0, 1 and so on.
    """

    def __init__(self, where: Callable[[int], str], inputs: int):
        self._where, self._inputs = where, inputs
        self._widths: list[Any] = [None] * inputs
        self._said = [""] * inputs  # where the width is known from
        self._origin = list(range(inputs))  # the value that has the width
        self._pooled = [""] * inputs  # the layer that has removed the axis of time
        self.below = [0] * inputs  # bit i is set if the value depends on layer i

    def width(self, v: int) -> Any:
        """Return the size of the last axis of a value, None for any."""
        return self._widths[self._origin[v]]

    def check(self, k: int, layer: Layer, read: Sequence[int]) -> None:
        """Check that layer k fits the values that it reads, and add its output to the values."""
        name = self._where(k)
        if layer.joins != (len(read) > 1):
            raise ValueError(
                f"{name} joins two values or more, got one: write it as a node of a Graph, "
                f'"sum": ({type(layer).__name__}(), "a", "b")'
                if layer.joins
                else f"{name} reads one value, got {len(read)}: join them first, with Concat or Add"
            )
        v, pooled, below = len(self._widths), self._pooled[read[0]], 1 << k
        for source in read:
            below |= self.below[source]
        if layer.joins:
            with checks.naming(name):
                if any(bool(self._pooled[source]) != bool(pooled) for source in read):
                    pool = next(self._pooled[s] for s in read if self._pooled[s])
                    raise ValueError(
                        "it joins values of every step, or values of whole sequences, but not "
                        f"both; {pool} outputs one vector per sequence"
                    )
                width: Any = layer.width_of([self.width(source) for source in read])
            self._add(v, width, name, pooled, below)
            return
        root = self._origin[read[0]]
        known = self._widths[root]
        if None not in (known, layer.in_features) and known != layer.in_features:
            takes, said = f"{name} takes {layer.in_features} input features", self._said[root]
            if root < self._inputs:
                raise ValueError(f"{takes}, but {said} takes {known} of the same input")
            raise ValueError(f"{takes}, but {said} outputs {known}")
        if known is None and layer.in_features is not None:
            self._widths[root], self._said[root] = layer.in_features, name
        if layer.needs_sequence and pooled:
            raise ValueError(
                f"{name}: its input must be a sequence, but {pooled} outputs one vector per "
                "sequence"
            )
        pooled = pooled if layer.returns_sequence else name
        if layer.out_features is None:
            self._add(root, None, "", pooled, below)
        else:
            self._add(v, layer.out_features, name, pooled, below)

    def _add(self, origin, width, said, pooled, below) -> None:
        self._widths.append(width)
        self._said.append(said)
        self._origin.append(origin)
        self._pooled.append(pooled)
        self.below.append(below)
