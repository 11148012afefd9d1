"""Checkpoints: one `.safetensors` file with named arrays and, as JSON in its metadata, all else.

Parameters keep the names of the model ("1.weight_ih_l0"). The training state is stored beside
them: "optimizer.<name>", "state.<layer>.<name>" (the carried state), "past" (with a look-back, the
inputs that follow it), "latest" (the parameters after the last update, if the model holds the
best or averaged ones), "average" and "history.<name>". Nothing is pickled: loading a file never
runs code from it. `recurrent.models.storage` writes and reads the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from .. import checks, optim
from ..layers.feedforward import Embedding
from ..models import loading, schema, storage
from ..models.base import Model
from ..models.layered import Layered
from .history import FACTS, HISTORY, LATER, History
from .state import TrainingState

# Functions that modify the decoded metadata of a file of version 1 before anything is built, to
# read files in which an optimiser or option has an earlier name.
UPGRADES: list[Callable[[dict[str, Any]], None]] = []

_count = schema.whole(0, 2**53)
_shards = partial(checks.power_of_two, most=2**20)


def _learning_rate(value: Any, name: str) -> None:
    (_schedule if isinstance(value, dict) else checks.number)(value, name)


def _optimizer_options(value: Any, name: str) -> None:
    schema.dictionary(value, name)
    if "lr" not in value:
        raise ValueError(f"{name} lacks lr")
    _learning_rate(value["lr"], f"{name}.lr")


def _option(value: Any, name: str) -> None:
    """Accept an option of a schedule."""
    if not isinstance(value, (bool, str)):
        checks.number(value, name)


_schedule = schema.record(type=storage.NAME, options=schema.mapping(schema.optional(_option)))

# What a file holds, by name in its metadata; constructors check the options of what they build.
SCHEMA = schema.record(
    version=_count,
    **storage.MODEL,
    optimizer=schema.optional(
        schema.record(
            type=storage.NAME,
            options=_optimizer_options,
            steps=_count,
            equations=schema.optional(storage.NAME),
        )
    ),
    about=schema.dictionary,
    training=schema.record(
        {
            "options": schema.dictionary,
            "cursor": schema.optional(_count),
            "history": schema.record(LATER, **FACTS),
            "shards": schema.optional(_shards),
            "seed": schema.optional(_count),
        }
    ),
)


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
    TypeError, ValueError
        If a file cannot hold the checkpoint; see `check_saveable`.
    """
    tensors, metadata = _contents(checkpoint)
    storage.write(path, tensors, metadata)


def check_saveable(checkpoint: Checkpoint) -> None:
    """Raise the error that `save` would raise for a checkpoint that a file cannot hold.

    Parameters
    ----------
    checkpoint : Checkpoint
        What is to be saved, such as the state of a training that is about to begin.

    Raises
    ------
    TypeError
        If the learning rate is a function that cannot be described, if a cell or layer cannot be
        found by its name, or if `about` or `options` is more than what JSON can hold.
    ValueError
        If the description is out of the ranges that `load` accepts.
    """
    _contents(checkpoint)


def _contents(checkpoint: Checkpoint) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays and the metadata of a file; raises the errors of `check_saveable`."""
    checks.instance(checkpoint, Checkpoint, "checkpoint", "a Checkpoint, such as Checkpoint(model)")
    model, training = checkpoint.model, checkpoint.training
    tensors, facts = storage.tensors_of(model.parameters), {}
    optimizer = None if training is None else training.optimizer
    described = None
    if optimizer is not None:
        tensors |= {f"optimizer.{name}": a for name, a in optimizer.arrays.items()}
        described = {**optimizer.describe(), "equations": optimizer.digest}
    if checkpoint.options or training is not None:
        facts["options"] = checkpoint.options
    if training is not None:
        arrays, values = training.history.to_arrays()
        tensors |= {f"history.{name}": a for name, a in arrays.items()}
        facts |= {"cursor": training.cursor, "history": values}
        if training.shards is not None:
            facts |= {"shards": training.shards, "seed": training.seed}
        arrays = {"latest": training.latest, "past": training.past, "average": training.average}
        tensors |= {name: a for name, a in arrays.items() if a is not None}
        tensors |= _state_arrays(model, training.carried)
    metadata = storage.encoded(
        {
            **storage.describe_model(model),
            "optimizer": described,
            "about": checkpoint.about,
            "training": facts,
        }
    )
    SCHEMA(storage.decoded(metadata), "checkpoint")
    return tensors, metadata


def _state_arrays(model: Model, carried: tuple | None) -> dict[str, np.ndarray]:
    """Return the arrays of a carried state by name. A Seq2Seq starts every batch anew."""
    arrays = {}
    for k, state in enumerate(carried or () if isinstance(model, Layered) else ()):
        if state is not None and model[k].state_delays:
            own = model[k].state_arrays(state)
            arrays |= {f"state.{k}.{name}": a for name, a in own.items()}
    return arrays


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
        If the file is cut off, damaged or not a checkpoint, if its parts do not fit together, or
        if a cell or optimiser has other equations now. The message names the file, what was
        expected and what it holds.
    """
    with storage.reading(path):
        return contents(storage.read(path))


def contents(stored: storage.Stored) -> Checkpoint:
    """Return the checkpoint that a file holds; raises the errors of `load`, without its name."""
    version, values, tensors = stored
    if version == 1:
        _upgrade(values, tensors)
    else:
        SCHEMA(values, "checkpoint")
    model = loading.build_model(values, tensors)
    training = _training(model, values, tensors)
    if tensors:
        names = ", ".join(map(checks.shown, sorted(tensors)[:3]))
        raise ValueError(f"the model has no arrays called {names}")
    return Checkpoint(model, values["about"], values["training"].get("options", {}), training)


loading.KINDS[""] = lambda stored: contents(stored).model


def _upgrade(values: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """Turn the contents of a file of version 1 into those of version 2."""
    facts = values.get("training")
    if isinstance(facts, dict) and "history" in facts:
        HISTORY(facts["history"], "checkpoint.training.history")
        arrays, facts["history"] = History.from_dict(facts["history"]).to_arrays()
        tensors |= {f"history.{name}": a for name, a in arrays.items()}
    values["cells"] = {}
    if isinstance(values.get("optimizer"), dict):
        values["optimizer"]["equations"] = None
    SCHEMA(values, "checkpoint")
    for upgrade in UPGRADES:
        upgrade(values)
    values["cells"] = None


def _training(
    model: Model, values: dict[str, Any], tensors: dict[str, np.ndarray]
) -> TrainingState | None:
    """Build the training state and remove its arrays; return None if the file holds none."""

    def vector(name):
        return storage.take(tensors, name, (model.size,), model.dtype)

    optimizer, described, facts = None, values["optimizer"], values["training"]
    if described is not None:
        names = [name for name in tensors if name.startswith("optimizer.")]
        arrays = {name.partition(".")[2]: vector(name) for name in names}
        optimizer = optim.build(described, arrays)
        equations = described.get("equations")
        if equations is not None and equations != optimizer.digest:
            raise ValueError(
                f"the optimizer {type(optimizer).__name__} has other equations now than when the "
                "file was saved: define it as it was then before you load the file"
            )
    history = History()
    if "history" in facts:
        names = [name for name in tensors if name.startswith("history.")]
        arrays = {name.partition(".")[2]: tensors.pop(name) for name in names}
        history = History.from_arrays(arrays, facts["history"])
    carried, rows = _carried(model, tensors)
    past = _past(model, rows, tensors.pop("past", None))
    latest, average = (vector(n) if n in tensors else None for n in ("latest", "average"))
    kept = optimizer, carried, past, latest, average
    training = TrainingState(optimizer, history, facts.get("cursor"), *kept[1:])
    training.shards, training.seed = facts.get("shards"), facts.get("seed")
    if (training.shards or 1) > 1 and training.seed is None:
        raise ValueError(
            f"checkpoint.training must have the seed of its {training.shards} shards, got none"
        )
    empty = "history" not in facts and all(part is None for part in kept)
    return None if empty else training


def _carried(
    model: Model, tensors: dict[str, np.ndarray]
) -> tuple[tuple | None, tuple[int, ...] | None]:
    """Take the carried state of the layers from `tensors`.

    Return it and its rows: (N,), () for a single sequence, or None without a state.
    """
    if not any(name.startswith("state.") for name in tensors):
        return None, None
    carried, rows = [], None
    for k, layer in enumerate(model.layers):
        if not layer.state_delays:
            carried.append(None)
            continue
        arrays = {}
        for s in layer.state_delays:
            name = f"state.{k}.{s}"
            if rows is None:
                first = tensors.get(name)
                rows = first.shape[:-1] if first is not None and first.ndim in (1, 2) else (1,)
            arrays[s] = storage.take(tensors, name, (*rows, layer.state_sizes[s]), model.dtype)
        carried.append(layer.state_from(arrays))
    return tuple(carried), rows


def _past(model: Model, rows: tuple[int, ...] | None, past: np.ndarray | None) -> np.ndarray | None:
    """Return the inputs of a look-back; raise ValueError unless the model can read them.

    `rows` are those of the carried state, or None without one.
    """
    if past is None:
        return None
    first = model.layers[0]
    if isinstance(first, Embedding):
        fits = past.dtype.kind in "iu" and past.ndim in (1, 2)
        fits = fits and (past.size == 0 or 0 <= past.min() <= past.max() < first.rows)
        expected, own = f"(P, N) ids below {first.rows}", past.shape[1:]
    else:
        width = first.in_features
        fits = past.dtype == model.dtype and past.ndim in (2, 3) and width in (None, past.shape[-1])
        expected, own = f"(P, N, {width or 'D'}) {model.dtype.name}", past.shape[1:-1]
    if not fits or rows not in (None, own):
        expected += f" with {rows[0]} sequences" if rows else ""
        raise ValueError(f"array past must be {expected}, got {past.shape} {past.dtype.name}")
    return past
