"""Checkpoints of the tests: the parts of a file, and a file of changed parts."""

from pathlib import Path

from safetensors import safe_open
from safetensors.numpy import save_file

from recurrent.models import storage


def parts(path: Path) -> tuple[dict, dict]:
    """Return the arrays and the metadata of a file."""
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def write(path: Path, tensors: dict, metadata: dict, digest: bool = True) -> None:
    """Write a file; with `digest`, of version 2 and with the digest of these parts."""
    if digest and "digest" in metadata:
        metadata = {**metadata, "digest": storage.digest(tensors, metadata)}
    save_file(tensors, path, metadata)
