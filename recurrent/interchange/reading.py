"""Reads a model's file by the end of its name, for commands."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from safetensors import SafetensorError, safe_open

from .. import checks
from ..models import storage
from ..models.loading import load
from .keras import from_keras
from .onnx import from_onnx
from .torch import from_torch


def _safetensors(path: os.PathLike) -> Any:
    """Read a file of this package, or a state dict of PyTorch."""
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            ours = (file.metadata() or {}).get("format") == storage.FORMAT
    except (SafetensorError, OSError):
        ours = False  # from_torch says what is wrong
    return load(path) if ours else from_torch(path)


# By the end of a file's name.
READERS: dict[str, Callable[[Any], Any]] = {
    ".pt": from_torch,
    ".pth": from_torch,
    ".safetensors": _safetensors,
    ".keras": from_keras,
    ".h5": from_keras,
    ".onnx": from_onnx,
}


def read(path: str | os.PathLike) -> Any:
    """Return the model in a file of this package, PyTorch, Keras or ONNX.

    Parameters
    ----------
    path : str or os.PathLike
        The file. The end of its name says the program.

    Returns
    -------
    Sequential, Graph, Network, or what `recurrent.load` returns

    Raises
    ------
    OSError, ValueError, TypeError, ImportError
        If the name has another end, or as the reader of the file.
    """
    path = checks.path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(
            f"{path}: the name must end in {', '.join(READERS)}, got {path.suffix or 'no end'}"
        )
    return reader(path)
