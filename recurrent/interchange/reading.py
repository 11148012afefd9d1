"""Reads a file of another program by its name, for commands."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from .. import checks
from .keras import from_keras
from .onnx import from_onnx
from .torch import from_torch

# By the end of a file's name.
READERS: dict[str, Callable[[Any], Any]] = {
    ".pt": from_torch,
    ".pth": from_torch,
    ".safetensors": from_torch,
    ".keras": from_keras,
    ".h5": from_keras,
    ".onnx": from_onnx,
}


def read(path: str | os.PathLike) -> Any:
    """Return the model in a file of another program.

    Parameters
    ----------
    path : str or os.PathLike
        The file. The end of its name says the program.

    Returns
    -------
    Sequential

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
