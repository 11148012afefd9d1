"""Checkpoints of the tests: parts of a file, a file of changed parts, the state of a training."""

from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from recurrent.models import storage
from recurrent.training import checkpoint


def parts(path: Path) -> tuple[dict, dict]:
    """Return the arrays and the metadata of a file."""
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def write(path: Path, tensors: dict, metadata: dict, digest: bool = True) -> None:
    """Write a file; with `digest`, of version 2 and with the digest of these parts."""
    if digest and "digest" in metadata:
        metadata = {**metadata, "digest": storage.digest(tensors, metadata)}
    save_file(tensors, path, metadata)


def training_state(path):
    """Return all of a training that must be the same, however often it was ended."""
    loaded = checkpoint.load(path)
    training, model = loaded.training, loaded.model
    history = training.history
    carried = [a for s in training.carried or () if s is not None for a in s]
    arrays = [model.flat, *training.optimizer.arrays.values(), *carried]
    arrays += [a for a in (training.latest, training.past) if a is not None]
    numbers = [history.losses, history.validation, history.metrics, history.best, history.smoothed]
    return [np.asarray(a).tobytes() for a in arrays], [
        *map(repr, numbers),
        training.cursor,
        repr(model.generator.bit_generator.state),
    ]
