"""Checkpoints: one `.safetensors` file with arrays by name and, in its metadata, everything else as JSON.

Parameters bear the model's own names ("1.weight_ih_l0"); beside them lie "optimizer.<name>", "state.<layer>.<name>" (the
state that the next window starts from), "past" (the inputs from there on that its gradients go back through) and "latest"
(the parameters that training goes on from, where the model holds the best ones). Nothing is ever pickled, so loading a file
runs no code of it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from .. import optim
from ..layers.recurrent import Recurrent
from ..models.base import Model
from ..models.seq2seq import build

VERSION = 1


@dataclass
class Checkpoint:
    """What a file holds. `about` and `training` are plain data of whoever saves: vocabulary and options; cursor, history."""

    model: Model
    about: dict = field(default_factory=dict)
    training: dict = field(default_factory=dict)
    optimizer: optim.Optimizer | None = None
    state: tuple | None = None  # one entry a layer, as `Sequential.forward` takes it
    latest: np.ndarray | None = None  # like model.flat
    past: np.ndarray | None = (
        None  # (P, N), (P, N, D): the steps from `state` on that the next gradient goes back through
    )


def save(path: str | os.PathLike, checkpoint: Checkpoint) -> None:
    """Write a checkpoint. The file appears whole or not at all: one that was there before stays until then.

    Raises OSError where the folder cannot be written.
    """
    model, optimizer = checkpoint.model, checkpoint.optimizer
    tensors = dict(model.parameters)
    if optimizer is not None:
        tensors |= {f"optimizer.{name}": a for name, a in optimizer.arrays.items()}
    for k, state in enumerate(checkpoint.state or ()):
        if state is not None:
            tensors |= {f"state.{k}.{name}": a for name, a in model[k].state_arrays(state).items()}
    for name in ("latest", "past"):
        if getattr(checkpoint, name) is not None:
            tensors[name] = getattr(checkpoint, name)
    facts = {
        "version": VERSION,
        "model": model.describe(),
        "generator": model.generator.bit_generator.state,
        "optimizer": None if optimizer is None else optimizer.describe(),
        "about": checkpoint.about,
        "training": checkpoint.training,
    }
    metadata = {
        "format": "recurrent",
        **{k: json.dumps(v, default=np.ndarray.tolist) for k, v in facts.items()},
    }
    _replace(
        path, to_bytes({name: np.ascontiguousarray(a) for name, a in tensors.items()}, metadata)
    )


def _replace(path, data: bytes) -> None:
    """Write a temporary file in the same folder, then rename it: `path` never holds half of anything."""
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load(path: str | os.PathLike) -> Checkpoint:
    """Read a checkpoint.

    Raises OSError for a file that cannot be read, and ValueError, which names the file, what was expected and what was
    found, for one that is cut off, is no checkpoint, or whose arrays do not fit its model.
    """
    tensors, facts = _read(path)
    try:
        model = build(facts["model"])
        for name, a in model.parameters.items():
            a[:] = _take(tensors, name, a.shape, a.dtype)
        model.generator = _generator(facts["generator"])
        latest = (
            _take(tensors, "latest", model.flat.shape, model.dtype) if "latest" in tensors else None
        )
        optimizer = None
        if facts["optimizer"] is not None:
            names = [n for n in tensors if n.startswith("optimizer.")]
            arrays = {
                n.partition(".")[2]: _take(tensors, n, model.flat.shape, model.dtype) for n in names
            }
            optimizer = optim.build(facts["optimizer"], arrays)
        state, past = _state(model, tensors), tensors.pop("past", None)
    except (AttributeError, KeyError, TypeError, ValueError, MemoryError) as error:
        what = f"nothing called {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{path}: the checkpoint does not fit together: {what}") from error
    if tensors:
        raise ValueError(
            f"{path}: arrays that the model does not have: {', '.join(sorted(tensors)[:3])}"
        )
    return Checkpoint(model, facts["about"], facts["training"], optimizer, state, latest, past)


def _read(path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with open(
        path, "rb"
    ) as file:  # says in an OSError why a file cannot be read; the library below may not
        size = os.fstat(file.fileno()).st_size
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError) as error:
        raise ValueError(
            f"{path}: not a whole .safetensors file ({size:,} bytes): {error}"
        ) from error
    if metadata.get("format") != "recurrent":
        found = ", ".join(sorted(metadata)[:5]) or "none"
        raise ValueError(
            f"{path}: not a checkpoint of this package: expected metadata format = recurrent, found {found}"
        )
    facts = {}
    for key in ("version", "model", "generator", "optimizer", "about", "training"):
        try:
            facts[key] = json.loads(metadata[key])
        except KeyError:
            raise ValueError(f"{path}: the checkpoint has no metadata called {key}") from None
        except ValueError as error:
            raise ValueError(f"{path}: the metadata {key} is not JSON: {error}") from error
        if key == "version" and facts[key] != VERSION:
            raise ValueError(
                f"{path}: the checkpoint has version {facts[key]}; this program reads version {VERSION}"
            )
    return tensors, facts


def _take(tensors, name, shape, dtype) -> np.ndarray:
    """Remove an array of this shape and dtype from `tensors`; ValueError if it is not there."""
    if name not in tensors:
        raise ValueError(f"array {name} is missing, expected {shape} {dtype.name}")
    a = tensors.pop(name)
    if a.shape != tuple(shape) or a.dtype != dtype:
        raise ValueError(
            f"array {name} must be {tuple(shape)} {dtype.name}, got {a.shape} {a.dtype.name}"
        )
    return a


def _state(model, tensors) -> tuple | None:
    if not any(name.startswith("state.") for name in tensors):
        return None
    state, N = [], None
    for k, layer in enumerate(model.layers):
        if not isinstance(layer, Recurrent):
            state.append(None)
            continue
        names = {s: f"state.{k}.{s}" for s in layer.state_delays}
        if N is None:
            N = tensors[next(iter(names.values()))].shape[0]
        arrays = {
            s: _take(tensors, n, (N, layer.state_sizes[s]), model.dtype) for s, n in names.items()
        }
        state.append(layer.state_from(arrays))
    return tuple(state)


def _generator(state: dict) -> np.random.Generator:
    name = state["bit_generator"]
    if name not in ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"):
        raise ValueError(f"unknown random generator {name!r}")
    bits = getattr(np.random, name)()
    bits.state = state
    return np.random.Generator(bits)
