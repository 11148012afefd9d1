"""How models are stored: one `.safetensors` file with named arrays, and all else as JSON.

The metadata of the file hold JSON by name, and a SHA-256 digest of all metadata and arrays: what
was damaged, or changed by anything but this package, is not read. Before a model is built, its
description is compared with a schema, and the sizes that it declares with the arrays in the file,
so that a file makes no work that its own size does not warrant.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from .. import checks
from ..equations.cell import Cell, lookup
from ..equations.expressions import fingerprint
from ..layers.base import LAYERS
from ..layers.recurrent import Recurrent
from ..layers.stack import walk
from . import files, foreign, schema
from .quantized import WEIGHTS, parameter
from .quantized import tensors as tensors_of

FORMAT, VERSION = "recurrent", 2
METADATA = 8_000_000  # characters at most, so that no file takes long to parse
NAME = schema.text(200)
MOST_LAYERS = 2048
MOST_CELLS = 64  # in a description: equations that are new to the process are traced
NUMBERS = {"F32", "F64", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64"}  # safetensors' names

u32, u64, u128 = (schema.whole(0, 2**bits - 1) for bits in (32, 64, 128))


def _odd(value: Any, name: str) -> None:
    u128(value, name)
    if value % 2 == 0:
        raise ValueError(f"{name} must be odd, got {checks.shown(value)}")


_buffered = {"bit_generator": NAME, "has_uint32": schema.whole(0, 1), "uinteger": u32}
_pcg = schema.record(state=schema.record(state=u128, inc=_odd), **_buffered)
_four = schema.items(u64, 4, 4)

# The random generators of NumPy, and what their states are made of.
GENERATORS: dict[str, schema.Schema] = {
    "PCG64": _pcg,
    "PCG64DXSM": _pcg,
    "MT19937": schema.record(
        bit_generator=NAME,
        state=schema.record(key=schema.items(u32, 624, 624), pos=schema.whole(0, 624)),
    ),
    "Philox": schema.record(
        state=schema.record(counter=_four, key=schema.items(u64, 2, 2)),
        buffer=_four,
        buffer_pos=schema.whole(0, 4),
        **_buffered,
    ),
    "SFC64": schema.record(state=schema.record(state=_four), **_buffered),
}


def generator_schema(value: Any, name: str) -> None:
    """Accept the state of a random generator of NumPy."""
    checks.instance(value, dict, name, "a dict")
    kind = value.get("bit_generator")
    if not isinstance(kind, str) or kind not in GENERATORS:
        raise ValueError(
            f"unknown random generator {checks.shown(kind)}; known are {', '.join(GENERATORS)}"
        )
    GENERATORS[kind](value, name)


_layer = schema.record(
    {"trainable": checks.flag, "origin": NAME, "name": NAME, "tied": schema.mapping(NAME)},
    type=NAME,
    options=schema.dictionary,
)
_layers = schema.items(_layer, 1, MOST_LAYERS)
_dtype = schema.one_of("float32", "float64")
_weights = schema.one_of(*WEIGHTS)
_sequential = schema.record(
    {"batch_first": checks.flag, "weights": _weights}, dtype=_dtype, layers=_layers
)
_names = schema.items(NAME, 1, MOST_LAYERS)
_node = schema.record(
    {"trainable": checks.flag, "origin": NAME, "tied": schema.mapping(NAME)},
    type=NAME,
    options=schema.dictionary,
    name=NAME,
    reads=_names,
)
_graph = schema.record(
    {"batch_first": checks.flag, "weights": _weights},
    dtype=_dtype,
    layers=schema.items(_node, 1, MOST_LAYERS),
    inputs=_names,
    outputs=schema.items(schema.items(NAME, 2, 2), 1, MOST_LAYERS),
)
_seq2seq = schema.record(
    {"weights": _weights},
    dtype=_dtype,
    encoder=_layers,
    decoder=_layers,
    bridge=schema.optional(NAME),
    start=schema.whole(0, checks.LARGEST),
    end=schema.optional(schema.whole(0, checks.LARGEST)),
)


def model_schema(value: Any, name: str) -> None:
    """Accept the description of a model. Constructors check the options of layers."""
    checks.instance(value, dict, name, "a dict")
    one = _graph if "outputs" in value else _sequential
    (_seq2seq if "encoder" in value else one)(value, name)


# What a file holds about a model, by name in its metadata; files of version 1 have no "cells".
MODEL: dict[str, schema.Schema] = {
    "model": model_schema,
    "cells": schema.mapping(NAME),
    "generator": generator_schema,
}


class Stored(NamedTuple):
    """The contents of a file."""

    version: int
    values: dict[str, Any]  # the metadata by name, parsed but not checked
    tensors: dict[str, np.ndarray]


def write(
    path: str | os.PathLike, tensors: dict[str, np.ndarray], metadata: dict[str, str]
) -> None:
    """Write a file as a whole: if writing fails, an earlier file of that name stays as it was.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    tensors : dict of str to ndarray, of any shape
        Its arrays.
    metadata : dict of str to str
        Its metadata: a result of `encoded`.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    contiguous = {name: np.ascontiguousarray(a) for name, a in tensors.items()}
    metadata = {**metadata, "digest": digest(contiguous, metadata)}
    files.replace(path, _in_order(to_bytes(contiguous, metadata)))


def _in_order(data: bytes) -> bytes:
    """Return a file with its metadata sorted by name: safetensors writes them in random order."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # arrays begin at a multiple of 8
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(data)[end:]])


def save(path: str | os.PathLike, model: Any, about: dict[str, Any] | None = None) -> None:
    """Write a model: its layers, parameters, cells and random generator.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    model : Model
        The model.
    about : dict, optional
        Anything else about it that JSON can hold; "kind" decides what reads the file.

    Raises
    ------
    OSError
        If the file cannot be written.
    TypeError, ValueError
        If a file cannot hold the model; see `describe_model`.
    """
    rest = {"about": about or {}, "optimizer": None, "training": {}}
    metadata = encoded({**describe_model(model), **rest})
    values = decoded(metadata)
    for name, check in MODEL.items():
        check(values[name], name)
    write(path, tensors_of(model.parameters), metadata)


def encoded(values: dict[str, Any]) -> dict[str, str]:
    """Return metadata as a file holds them: data that JSON can hold, and NumPy's numbers, arrays.

    Raises TypeError for anything else, ValueError if they are too long.
    """
    metadata = {"format": FORMAT}
    for name, value in {"version": VERSION, **values}.items():
        try:
            metadata[name] = json.dumps(value, default=_of_numpy)
        except (TypeError, ValueError, RecursionError) as error:
            reason = str(error) or type(error).__name__
            raise TypeError(f"{name} must be data that JSON can hold: {reason}") from None
    length = sum(map(len, metadata.values()))
    if length > METADATA:
        longest = max(metadata, key=lambda name: len(metadata[name]))
        raise ValueError(
            f"a file holds at most {METADATA:,} characters of metadata, got {length:,}, "
            f"{len(metadata[longest]):,} of them in {longest}"
        )
    return metadata


def decoded(metadata: dict[str, str]) -> dict[str, Any]:
    """Return the values of metadata by name; raise ValueError for what is not JSON."""
    return {
        name: schema.parse_json(text, f"the metadata {checks.shown(name)[1:-1]}")
        for name, text in metadata.items()
        if name not in ("format", "digest")
    }


def _of_numpy(value):
    """Return a number or an array of NumPy as JSON holds it."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"got {checks.shown(value)}")


def digest(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> str:
    """Return the SHA-256 digest of all arrays and metadata, but for the digest itself.

    Parameters
    ----------
    tensors : dict of str to ndarray, of any shape
        The arrays, C-contiguous; their names, dtypes and shapes count too.
    metadata : dict of str to str
        The metadata of the file.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    found = hashlib.sha256()
    for name in sorted(metadata.keys() - {"digest"}):
        found.update(json.dumps([name, metadata[name]]).encode())
    for name in sorted(tensors):
        a = tensors[name]
        found.update(json.dumps([name, a.dtype.str, a.shape]).encode())
        found.update(a.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


@contextmanager
def reading(path: str | os.PathLike) -> Iterator[None]:
    """Let every error that the contents of a file cause name the file, in one line."""
    path = checks.path(path)
    try:
        yield
    except OSError:
        raise
    except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as e:
        words = " ".join(str(e).split()) or type(e).__name__
        words = "".join(c if c.isprintable() else "?" for c in words)
        raise ValueError(f"{os.fspath(path)}: {words[:500]}") from e


def read(path: str | os.PathLike) -> Stored:
    """Read a file and compare its digest.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    Stored

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a complete file of this package, or was changed.
    """
    path = checks.path(path)
    if os.path.isdir(path):
        raise IsADirectoryError(foreign.folder(path))
    size = files.check_readable(path)
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            metadata, names = file.metadata() or {}, list(file.keys())
            version = _version(metadata, names)
            for name in names:
                kind = file.get_slice(name).get_dtype()
                if kind not in NUMBERS:
                    raise ValueError(f"array {checks.shown(name)} has entries of type {kind}")
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        words = foreign.file(path) or f"not a complete .safetensors file ({size:,} bytes): {error}"
        raise ValueError(words) from error
    if version > 1:
        expected, found = metadata.pop("digest", ""), digest(tensors, metadata)
        if found != expected:
            raise ValueError(
                "the file was damaged or changed after it was saved (its digest is "
                f"{found[:12]}..., the one stored in it is {checks.shown(expected[:12])}...): "
                "use another copy of it"
            )
    return Stored(version, decoded(metadata), tensors)


def _version(metadata: dict[str, str], names: list[str]) -> int:
    """Return the version of a file; raise ValueError unless it is one that `read` reads."""
    if metadata.get("format") != FORMAT:
        raise ValueError(foreign.state_dict(names))
    version = metadata.get("version", "none")
    if version not in ("1", "2"):
        raise ValueError(
            f"the checkpoint has version {checks.shown(version).strip(chr(39))}; this program "
            f"reads versions 1 and {VERSION}"
        )
    if version == "1" and "digest" in metadata:
        raise ValueError("the checkpoint has version 1, but a digest, which came with version 2")
    if version == "2" and sum(map(len, metadata.values())) > METADATA:
        raise ValueError(f"the checkpoint has more than {METADATA:,} characters of metadata")
    return int(version)


def take(
    tensors: dict[str, np.ndarray], name: str, shape: tuple[int, ...], dtype: Any
) -> np.ndarray:
    """Remove an array from `tensors`; raise ValueError unless it has this shape and dtype."""
    array = parameter(tensors, name, tuple(shape), np.dtype(dtype))
    del tensors[name]
    return array


def describe_model(model: Any) -> dict[str, Any]:
    """Return what a file holds about a model beside its parameters.

    `recurrent.models.loading.build_model` reads it.

    Parameters
    ----------
    model : Model
        The model.

    Returns
    -------
    dict
        The entries of `MODEL`.
    """
    layer: Any
    for layer in walk(model.layers):
        kind = type(layer)
        if LAYERS.get(kind.__name__) is not kind:
            raise TypeError(
                f"a file can hold layers that are found by the name of their class, and "
                f"{kind.__name__} is not"
            )
        if kind is Recurrent and _registered(layer.dropouts.cell) is None:
            name = layer.dropouts.cell.name
            why = "register it with recurrent.cells.register"
            if lookup(name) is not None:
                why = "it was declared again with other equations; declare those of this model"
            raise TypeError(
                f"a file can hold cells that are found by their name, and {name} is not: {why}"
            )
    count = len({cell.name for cell in cells_of(model)})
    if count > MOST_CELLS:
        raise ValueError(f"a file can hold at most {MOST_CELLS} different cells, got {count}")
    return {
        "model": model.describe(),
        "cells": {cell.name: equations_digest(cell) for cell in cells_of(model)},
        "generator": model.generator.bit_generator.state,
    }


def equations_digest(cell: Cell) -> str:
    """Return a digest of a cell's equations: equal in all processes and on all machines."""
    accumulators = [a[:3] for a in cell.accumulators]
    names = (tuple(cell.values), cell.gates, cell.states, cell.parameters)
    extra = (cell.inputs, cell.scalars) if cell.inputs or cell.scalars else ()
    return fingerprint(cell.values.values(), *names, cell.biases, accumulators, *extra)


def _registered(cell: Cell) -> Cell | None:
    """Return the registered cell with the name and the equations of this one, or None."""
    known = lookup(cell.name)
    same = known is not None and equations_digest(known) == equations_digest(cell)
    return known if same else None


def cells_of(model: Any) -> list[Cell]:
    """Return the cells of a model's recurrent layers, without dropout."""
    return [layer.dropouts.cell for layer in walk(model.layers) if isinstance(layer, Recurrent)]
