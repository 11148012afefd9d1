"""Puts a model together from the parts of another program's model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any

import numpy as np

from .. import checks
from ..layers import Concat, Embedding, Layer, Linear
from ..layers.parameters import ParameterViews
from ..models.graph_model import Graph
from ..models.sequential import Sequential

SHOWN = 12  # parts that an error lists
MOST_FEATURES = 1 << 20  # of a layer of a graph, where a few joins can ask for all memory


@dataclass
class Part:
    """A part of a model of another program: what one of its layers holds.

    Attributes
    ----------
    name : str
        Name in that model: "encoder.lstm"; "" for the model itself.
    words : str
        What the part is, for errors.
    read : callable or None
        Returns the layers of this package that equal it; None if there are none.
    arrays : dict of str to Any
        Its arrays by their names within the part.
    why : str
        Why there are none.
    """

    name: str
    words: str
    read: Callable[[], list[Layer]] | None
    arrays: dict[str, Any] = field(default_factory=dict)
    why: str = ""


def array(value: Any, name: str) -> np.ndarray:
    """Return the values of a parameter, float32 or float64, in the memory that they have.

    Raises TypeError for another dtype and for what is no array.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        a = checks.as_array(value, name)
        return checks.array(a, name)
    except TypeError as error:
        kind = str(getattr(value, "dtype", ""))
        if not any(kind.endswith(k) for k in ("float16", "bfloat16")):
            raise
        raise TypeError(f"{error}; convert the parameters to float32 first") from None


def filled(layer: Layer, arrays: Mapping[str, np.ndarray]) -> Layer:
    """Return the layer with these arrays as its parameters; they are not copied.

    Raises ValueError if a name or a shape is another.
    """
    if arrays.keys() == layer.shapes.keys():
        arrays = {name: arrays[name] for name in layer.shapes}
    layer.bind(ParameterViews(arrays))
    return layer


def assembled(
    parts: Iterable[Part], layers: Mapping[str, Any] | None, batch_first: bool
) -> Sequential:
    """Return the model of parts in order.

    Parameters
    ----------
    parts : iterable of Part
        The parts in the order in which the other model holds them.
    layers : dict of str to (Layer, ... or None), optional
        The caller's layers in order, by names of parts, see `from_torch`.
    batch_first : bool
        Whether arrays of the model are (N, T, ...).

    Returns
    -------
    Sequential
        Arrays that parts share are tied.
    """
    parts = list(parts)
    if layers is None:
        made = [layer for part in parts for layer in layers_of(part, parts)]
    else:
        made = _mapped(parts, layers)
    if not made:
        raise ValueError("the model has no layers, so that there is nothing to convert")
    arrays = _arrays((str(k), layer) for k, layer in enumerate(made))
    dtype, tie = _one_dtype(arrays), _shared(arrays)
    return Sequential(*made, dtype=dtype, tie=tie or None, batch_first=batch_first)


def assembled_graph(
    nodes: Mapping[str, tuple[Layer, tuple[str, ...]]],
    ends: Mapping[str, str],
    inputs: Sequence[str],
    batch_first: bool,
) -> Sequential | Graph:
    """Return the model of layers that read each other; a Sequential if they are one chain.

    Parameters
    ----------
    nodes : mapping of str to (Layer, tuple of str)
        The layers by name in the order in which they run, and the names of what each reads.
    ends : mapping of str to str
        The names of outputs, and of the layers whose values they are.
    inputs : sequence of str
        The names of inputs.
    batch_first : bool
        Whether arrays of the model are (N, T, ...).

    Returns
    -------
    Sequential or Graph
        Arrays that parts share are tied.
    """
    _check_widths(nodes, inputs)
    before = [*inputs, *nodes]
    chain = len(inputs) == len(ends) == 1 and [*ends.values()] == before[-1:]
    if chain and all(read == (before[k],) for k, (_, read) in enumerate(nodes.values())):
        parts = [
            Part(name, name, lambda layer=layer: [layer]) for name, (layer, _) in nodes.items()
        ]
        return assembled(parts, None, batch_first)
    first: dict[int, tuple[str, Layer]] = {}  # a Graph ties the nodes of one layer itself
    for name, (layer, _) in nodes.items():
        first.setdefault(id(layer), (name, layer))
    arrays = _arrays(first.values())
    dtype, tie = _one_dtype(arrays), _shared(arrays) or None
    entries = {name: (layer, *read) for name, (layer, read) in nodes.items()}
    options: Any = dict(inputs=inputs, dtype=dtype, tie=tie, batch_first=batch_first)
    model = Graph(entries, list(ends.values()), **options)
    model.name_outputs(list(ends))
    return model


def _check_widths(
    nodes: Mapping[str, tuple[Layer, tuple[str, ...]]], inputs: Sequence[str]
) -> None:
    """Raise ValueError if joins make more features than a model has; inputs have one at least."""
    widths = dict.fromkeys(inputs, 1)
    for name, (layer, read) in nodes.items():
        given = [widths.get(one, 1) for one in read]
        widths[name] = layer.out_features or (sum(given) if type(layer) is Concat else given[0])
        if widths[name] > MOST_FEATURES and type(layer) is Concat:
            raise ValueError(
                f"{name} must have at most {MOST_FEATURES:,} features, got {widths[name]:,}"
            )


def _arrays(layers: Iterable[tuple[str, Layer]]) -> dict[str, np.ndarray]:
    """Return the parameters that layers have, by the name of the layer and their own."""
    return {
        f"{name}.{n}": a
        for name, layer in layers
        for n, a in (layer.parameters.items() if layer.initialised else ())
    }


def _one_dtype(arrays: dict[str, np.ndarray]) -> np.dtype:
    dtypes = {a.dtype: name for name, a in arrays.items()}
    if len(dtypes) > 1:
        listed = " and ".join(f"{d.name} ({name})" for d, name in dtypes.items())
        raise TypeError(f"all parameters must have one dtype, got {listed}")
    return next(iter(dtypes), np.dtype(np.float32))


def equal_parameters(before: Layer, layer: Layer) -> list[str]:
    """Return the parameters of a layer that an earlier one has: all of them, or none.

    Those of layers of one kind are compared, and the weights of a Linear with those of an
    Embedding. Parameters that have one value everywhere are equal by chance.
    """
    names = list(layer.shapes)
    if type(before) is not type(layer) or before.options != layer.options:
        if {type(before), type(layer)} != {Embedding, Linear}:
            return []
        names = ["weight"]
    pairs = [(before.parameters[n], layer.parameters[n]) for n in names]
    if not all(np.array_equal(a, b) for a, b in pairs):
        return []
    return names if any(a.size and a.min() < a.max() for a, _ in pairs) else []


def _read(part: Part, parts: list[Part]) -> list[Layer]:
    """Return the layers of a part; raise the error of `layers_of` if it has none."""
    if part.read is None:
        raise ValueError(
            f"cannot tell which layer {_named(part)} is{part.why and f': {part.why}'}; name all "
            f"layers in order: layers={{{_mapping(parts)}}}"
        )
    with checks.naming(_named(part)):
        return part.read()


def layers_of(part: Part, parts: list[Part]) -> list[Layer]:
    """Return the layers of one of the parts, with its name; those of a stack are numbered, too.

    Raises ValueError, with the mapping to write, if it has none.
    """
    made = _read(part, parts)
    recurrent = [layer for layer in made if layer.cell is not None]
    for layer in made:
        layer.origin = origin(part.name)
    for k, layer in enumerate(recurrent if len(recurrent) > 1 else ()):
        layer.origin = origin(f"{part.name}.l{k}".lstrip("."))
    return made


def origin(name: str) -> str:
    """Return a name of another program as `Layer.origin` takes it: the end of a very long one."""
    return "".join(c for c in name if c.isprintable())[-checks.LINE :]


def _named(part: Part) -> str:
    return f"{part.name} ({part.words})" if part.name else part.words


def _mapping(parts: list[Part]) -> str:
    """Return the mapping that a caller can give: `...` for a part that is known."""
    entries = [
        f"{part.name!r}: {'...' if part.read else '<a layer, or None to leave it out>'}"
        for part in parts[:SHOWN]
    ]
    return ", ".join([*entries, "..."] if len(parts) > SHOWN else entries)


def _mapped(parts: list[Part], layers: Mapping[str, Any]) -> list[Layer]:
    """Return the layers of the caller's mapping with the arrays of the parts that it names."""
    checks.instance(layers, dict, "layers", "a dict of layers by the name of a part")
    made, covered = [], set()
    for name, value in layers.items():
        checks.text(name, "names in layers")
        if value is not None and not isinstance(value, (Layer, EllipsisType)):
            raise TypeError(
                f"layers[{name!r}] must be a layer, ... for the part as it is, or None to leave it "
                f"out, got {checks.shown(value)}"
            )
        own = [p for p in parts if not name or p.name == name or p.name.startswith(f"{name}.")]
        covered |= {p.name for p in own}
        if isinstance(value, Layer):
            made.append(_given(name, value, own))
            continue
        if not own:
            known = [p.name for p in parts]
            raise ValueError(
                f"layers: no part {name!r} to read; parts are {', '.join(map(repr, known))}"
                f"{checks.guess(name, known)}"
            )
        if value is not None:
            made += [layer for part in own for layer in layers_of(part, parts)]
    left = [p for p in parts if p.arrays and p.name not in covered]
    if left:
        raise ValueError(
            f"layers leaves out {', '.join(map(_named, left[:SHOWN]))}: give each its place in the "
            "order, or None"
        )
    return made


def _given(name: str, layer: Layer, parts: list[Part]) -> Layer:
    """Return a copy of the caller's layer with the arrays of parts; itself if they have none."""
    arrays = {}
    for part in parts:
        inner = part.name[len(name) :].lstrip(".")
        for n, value in part.arrays.items():
            arrays[f"{inner}.{n}" if inner else n] = value
    if not arrays:
        return layer
    if layer.cell is not None:  # names of single cells have no number of the layer
        arrays = {n if n in layer.shapes else f"{n}_l0": a for n, a in arrays.items()}
    with checks.naming(f"layers[{name!r}]"):
        twin = copy.copy(layer)
        twin.owner, twin.origin = None, origin(name)
        return filled(twin, {n: array(a, n) for n, a in arrays.items()})


def _shared(arrays: dict[str, np.ndarray]) -> dict[str, str]:
    """Return which parameters are the same memory as an earlier one: {name: that one}."""
    first: dict[tuple, str] = {}
    shared = {}
    for name, a in arrays.items():
        place = a.__array_interface__["data"][0], a.shape, a.strides
        if first.setdefault(place, name) != name:
            shared[name] = first[place]
    return shared
