"""Checkpoints: one `.safetensors` file with named arrays and, as JSON in its metadata, all else.

Parameters keep the names of the model ("1.weight_ih_l0"). The training state is stored beside
them: "optimizer.<name>", "state.<layer>.<name>" (the carried state), "past" (with a look-back, the
inputs that follow it) and "latest" (the parameters after the last update, if the model holds the
best ones). Nothing is pickled: loading a file never runs code from it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from .. import optim
from ..layers.recurrent import Recurrent
from ..models import files
from ..models.base import Model
from ..models.seq2seq import build
from .history import History
from .state import TrainingState

VERSION = 1
KEYS = ("version", "model", "generator", "optimizer", "about", "training")

# Functions that modify the decoded metadata of a file before anything is built, to read files in
# which an optimiser or option has an earlier name.
UPGRADES: list[Callable[[dict[str, Any]], None]] = []


@dataclass
class Checkpoint:
    """The contents of a checkpoint file.

    Parameters
    ----------
    model : Model
        The model.
    about : dict
        Anything else about the model that JSON can hold, such as its kind and vocabulary.
    options : dict
        The training options, if JSON can hold them.
    training : TrainingState, optional
        The training state, from which training resumes.
    """

    model: Model
    about: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)
    training: TrainingState | None = None


def save(path: str | os.PathLike, checkpoint: Checkpoint) -> None:
    """Write a checkpoint.

    The file is written as a whole: if writing fails, an earlier file of that name stays as it was.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write.
    checkpoint : Checkpoint
        The contents of the file.

    Raises
    ------
    OSError
        If the folder does not exist, or the file cannot be written or must not be replaced.
    TypeError
        If the learning rate of the optimiser is a function that cannot be described.
    """
    model, training = checkpoint.model, checkpoint.training
    tensors, facts = dict(model.parameters), {}
    optimizer = None if training is None else training.optimizer
    if optimizer is not None:
        tensors |= {f"optimizer.{name}": a for name, a in optimizer.arrays.items()}
    if checkpoint.options or training is not None:
        facts["options"] = checkpoint.options
    if training is not None:
        facts |= {"cursor": training.cursor, "history": training.history.to_dict()}
        for k, state in enumerate(training.carried or ()):
            if state is not None:
                arrays = model[k].state_arrays(state)
                tensors |= {f"state.{k}.{name}": a for name, a in arrays.items()}
        arrays = {"latest": training.latest, "past": training.past}
        tensors |= {name: a for name, a in arrays.items() if a is not None}
    values = {
        "version": VERSION,
        "model": model.describe(),
        "generator": model.generator.bit_generator.state,
        "optimizer": None if optimizer is None else optimizer.describe(),
        "about": checkpoint.about,
        "training": facts,
    }
    metadata = {k: json.dumps(v, default=np.ndarray.tolist) for k, v in values.items()}
    contiguous = {name: np.ascontiguousarray(a) for name, a in tensors.items()}
    files.replace(path, to_bytes(contiguous, {"format": "recurrent", **metadata}))


def load(path: str | os.PathLike) -> Checkpoint:
    """Read a checkpoint.

    Parameters
    ----------
    path : str or os.PathLike
        The file to read.

    Returns
    -------
    Checkpoint
        `training` is None for a model that was saved alone.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file is cut off or not a checkpoint, or if its arrays do not fit its model. The
        message names the file, what was expected and what it holds.
    """
    tensors, metadata = _read(path)
    try:
        for upgrade in UPGRADES:
            upgrade(metadata)
        model = build(metadata["model"])
        for name, a in model.parameters.items():
            a[:] = _take(tensors, name, a.shape, a.dtype)
        model.generator = _generator(metadata["generator"])
        options = metadata["training"].get("options", {})
        training = _training(model, metadata, tensors)
    except (AttributeError, KeyError, TypeError, ValueError, MemoryError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(
            f"{path}: the contents of the checkpoint do not fit together: {what}"
        ) from error
    if tensors:
        raise ValueError(f"{path}: the model has no arrays called {', '.join(sorted(tensors)[:3])}")
    return Checkpoint(model, metadata["about"], options, training)


def _read(path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read the arrays and the decoded metadata of a file."""
    # Opened here first: an OSError of Python's says why a file cannot be read.
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError) as error:
        raise ValueError(
            f"{path}: not a complete .safetensors file ({size:,} bytes): {error}"
        ) from error
    if metadata.get("format") != "recurrent":
        found = ", ".join(sorted(metadata)[:5]) or "none"
        raise ValueError(
            f"{path}: not a checkpoint of this package: expected metadata format = recurrent,"
            f" found {found}"
        )
    values = {}
    for key in KEYS:
        try:
            values[key] = json.loads(metadata[key])
        except KeyError:
            raise ValueError(f"{path}: the checkpoint has no metadata called {key}") from None
        except ValueError as error:
            raise ValueError(f"{path}: the metadata {key} is not JSON: {error}") from error
        if key == "version" and values[key] != VERSION:
            raise ValueError(
                f"{path}: the checkpoint has version {values[key]};"
                f" this program reads version {VERSION}"
            )
    return tensors, values


def _take(tensors, name, shape, dtype) -> np.ndarray:
    """Remove an array from `tensors` and check its shape and dtype."""
    if name not in tensors:
        raise ValueError(f"array {name} is missing, expected {shape} {dtype.name}")
    a = tensors.pop(name)
    if a.shape != tuple(shape) or a.dtype != dtype:
        raise ValueError(
            f"array {name} must be {tuple(shape)} {dtype.name}, got {a.shape} {a.dtype.name}"
        )
    return a


def _training(model, metadata, tensors) -> TrainingState | None:
    """Build the training state; None if the file holds none."""

    def vector(name):
        return _take(tensors, name, model.flat.shape, model.dtype)

    optimizer, facts = None, metadata["training"]
    if metadata["optimizer"] is not None:
        names = [name for name in tensors if name.startswith("optimizer.")]
        arrays = {name.partition(".")[2]: vector(name) for name in names}
        optimizer = optim.build(metadata["optimizer"], arrays)
    training = TrainingState(
        optimizer,
        History.from_dict(facts.get("history", {})),
        facts.get("cursor"),
        _carried(model, tensors),
        tensors.pop("past", None),
        vector("latest") if "latest" in tensors else None,
    )
    parts = (optimizer, training.carried, training.past, training.latest)
    empty = "history" not in facts and all(part is None for part in parts)
    return None if empty else training


def _carried(model, tensors) -> tuple | None:
    """Take the carried state of the layers from `tensors`."""
    if not any(name.startswith("state.") for name in tensors):
        return None
    carried, N = [], None
    for k, layer in enumerate(model.layers):
        if not isinstance(layer, Recurrent):
            carried.append(None)
            continue
        names = {s: f"state.{k}.{s}" for s in layer.state_delays}
        if N is None:
            N = tensors[next(iter(names.values()))].shape[0]
        arrays = {
            s: _take(tensors, name, (N, layer.state_sizes[s]), model.dtype)
            for s, name in names.items()
        }
        carried.append(layer.state_from(arrays))
    return tuple(carried)


def _generator(state: dict) -> np.random.Generator:
    """Build a random generator of NumPy from its state."""
    name = state["bit_generator"]
    if name not in ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"):
        raise ValueError(f"unknown random generator {name!r}")
    bits = getattr(np.random, name)()
    bits.state = state
    return np.random.Generator(bits)
