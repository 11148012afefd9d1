"""Quantised parameters: made of a model's, and as a file holds them.

A file has the codes of a matrix under the name of the parameter, int8, or uint16 for bfloat16. The
scales of int8 follow under "<name>.scale", float32, one a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import checks
from ..kernels.quantized import BITS, MOST, SMALLEST, STORED, Quantized, quantize
from ..layers.base import Layer
from ..layers.parameters import ParameterViews
from ..layers.quantized import QuantizedParameters

WEIGHTS = tuple(STORED)
SCALE = ".scale"


def quantized(model: Any, weights: str) -> QuantizedParameters:
    """Return the parameters of a float32 model, its matrices quantised; vectors are copied."""
    checks.choice(weights, "weights", WEIGHTS)
    if model.weights != "float32":
        raise TypeError(
            f"quantize needs float32 weights, and those of this model are {model.weights}"
            + (": call model.dequantized().quantize" if model.weights in WEIGHTS else "")
        )
    found = {
        name: quantize(a, weights, name) if a.ndim == 2 else a.copy()
        for name, a in model.parameters.items()
    }
    for name in found:
        if name.endswith(SCALE) and isinstance(found.get(name.removesuffix(SCALE)), Quantized):
            raise ValueError(
                f"cannot quantise a layer with a parameter called {name}: a file has the scales of "
                f"{name.removesuffix(SCALE)} under this name"
            )
    return QuantizedParameters(found, weights)


def joined(
    layers: Sequence[Layer], names: Sequence[str], where: Callable[[int], str]
) -> QuantizedParameters | None:
    """Return the parameters of quantised layers, each with its name in front of their names.

    Returns None if no layer is quantised. Raises TypeError if others are not, or otherwise.
    """
    kinds = [_weights(layer) for layer in layers]
    first = next((k for k, kind in enumerate(kinds) if kind in WEIGHTS), None)
    if first is None:
        return None
    for k, kind in enumerate(kinds):
        if kind != kinds[first] and layers[k].shapes:
            raise TypeError(
                f"{where(k)} must have {kinds[first]} weights, as {where(first)} has, got {kind}: "
                "make the model of float32 layers, and quantise it as a whole"
            )
    parts = {n: layer.parameters for n, layer in zip(names, layers, strict=True) if layer.shapes}
    return beneath(parts, kinds[first])


def beneath(parts: Mapping[str, Any], weights: str) -> QuantizedParameters:
    """Return the quantised parameters of parts, the name of each in front of their names."""
    held = {f"{name}.{n}": p.stored(n) for name, p in parts.items() for n in p}
    return QuantizedParameters(held, weights)


def _weights(layer: Layer) -> str:
    """Return the kind of the weights of a layer; float32 before it has any."""
    parameters = layer.parameters if layer.initialised else None
    if isinstance(parameters, QuantizedParameters):
        return parameters.weights
    return "float32" if parameters is None else layer.dtype.name


def tensors(parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of parameters by name, as a file holds them."""
    if not isinstance(parameters, QuantizedParameters):
        return dict(parameters)
    found = {}
    for name in parameters:
        a = parameters.stored(name)
        found[name] = a.codes if isinstance(a, Quantized) else a
        if isinstance(a, Quantized) and parameters.weights == "int8":
            found[f"{name}{SCALE}"] = a.scales
    return found


def described(description: dict) -> str | None:
    """Return the kind of quantised weights in a description of a model; None for others."""
    weights = description.get("weights")
    if weights is None:
        return None
    if description["dtype"] != "float32":
        shown = checks.shown(description["dtype"])
        raise ValueError(f"dtype of description must be float32 for {weights} weights, got {shown}")
    return checks.choice(weights, "weights of description", WEIGHTS)


def read(
    arrays: Mapping[str, np.ndarray],
    names: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
    dtype: np.dtype,
    weights: str | None,
) -> ParameterViews | QuantizedParameters:
    """Return the parameters of a layer that a file holds: the inverse of `tensors`.

    Parameters
    ----------
    arrays : mapping of str to ndarray, of any shape
        The arrays of the file. Those of a quantised model are copied.
    names : mapping of str to str
        For each parameter of the layer its name in the file.
    shapes : mapping of str to tuple of int
        The shape of each.
    dtype : numpy.dtype
        Dtype of the model.
    weights : {"int8", "bfloat16"} or None
        Kind of the weights if they are quantised.

    Returns
    -------
    ParameterViews or QuantizedParameters

    Raises
    ------
    ValueError
        If an array is missing or does not fit, or is none that `quantize` makes.
    """
    if weights is None:
        return ParameterViews(
            {n: parameter(arrays, names[n], shape, dtype) for n, shape in shapes.items()}
        )
    held: dict[str, Quantized | np.ndarray] = {}
    for n, shape in shapes.items():
        if len(shape) == 2:
            held[n] = _matrix(arrays, names[n], shape, weights)
        else:
            held[n] = parameter(arrays, names[n], shape, dtype).copy()
    return QuantizedParameters(held, weights)


def _matrix(arrays, name, shape, weights) -> Quantized:
    """Return a quantised matrix of a file; raise ValueError unless `quantize` can make it."""
    codes = parameter(arrays, name, shape, STORED[weights][0]).copy()
    if weights == "bfloat16":
        if (codes & 0x7F80 == 0x7F80).any():
            raise ValueError(f"array {name} must be finite, got NaN or infinity")
        return Quantized(codes, np.ones(len(codes), np.float32))
    scales = parameter(arrays, f"{name}{SCALE}", shape[:1], np.dtype(np.float32)).copy()
    few = scales.view(np.uint32) & (1 << 24 - BITS) - 1 == 0
    with np.errstate(invalid="ignore", over="ignore"):
        fits = few & (scales >= SMALLEST) & np.isfinite(scales * np.float32(MOST))
    if not fits.all():
        row = int(np.flatnonzero(~fits)[0])
        raise ValueError(
            f"array {name}{SCALE} must have positive numbers of at most {BITS} significant bits, "
            f"got {scales[row]!r} at {row}"
        )
    if codes.size and codes.min() < -MOST:
        raise ValueError(f"array {name} must be in {-MOST}..{MOST}, got {codes.min()}")
    return Quantized(codes, scales)


def parameter(
    arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], dtype: np.dtype
) -> np.ndarray:
    """Return the array with this name; raise ValueError unless it has this shape and dtype."""
    a = arrays.get(name)
    if a is None:
        raise ValueError(f"array {name} is missing, expected {shape} {dtype.name}")
    if a.shape != shape or a.dtype != dtype:
        raise ValueError(f"array {name} must be {shape} {dtype.name}, got {a.shape} {a.dtype.name}")
    return a
