"""Layers one after the other: what `Sequential` and `Residual` check, build and walk through."""

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
    return layer


def described(value: Any, *keys: str, where: str = "") -> None:
    """Raise an error unless a description is a dict with these keys."""
    name = f"{where}description"
    checks.instance(value, dict, name, "a dict, as describe returns it")
    missing = [key for key in keys if key not in value]
    if missing:
        raise ValueError(f"{name} must have the keys {', '.join(keys)}; {missing[0]} is missing")


def connect(
    layers: Sequence[Layer], where: Callable[[int], str], below: Sequence[Layer] = ()
) -> Any:
    """Check that layers fit one after the other; return the size of the output, None for any.

    `where(k)` names layer k in an error; `below` are the layers below the first one.
    """
    width, source = None, ""  # output size of the layers so far, and the layer that outputs it
    for k, layer in enumerate(layers):
        if None not in (width, layer.in_features) and width != layer.in_features:
            raise ValueError(
                f"{where(k)} takes {layer.in_features} input features, but {source} outputs {width}"
            )
        with checks.naming(where(k)):
            layer.check_below([*below, *layers[:k]])
        if layer.out_features is not None:
            width, source = layer.out_features, where(k)
    return width


def lengths_above(layers: Iterable[Layer], lengths: Any) -> Any:
    """Return the lengths of the output of layers, one after the other, for those of the input."""
    for layer in layers:
        lengths = layer.output_lengths(lengths)
    return lengths
