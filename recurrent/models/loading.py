"""Loads models from files, whatever their kind: `recurrent.load`.

`KINDS` is the one registry of what a file can hold. A module that writes files of a kind of its own
registers the function that reads them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import checks
from ..checks.guided import explained
from ..equations.cell import CELLS, lookup
from ..layers.base import LAYERS
from ..layers.recurrent import Recurrent
from . import storage
from .base import Model
from .seq2seq import build
from .storage import Stored

# By kind, the "kind" in a file's "about": a function of the contents of the file that returns what
# it holds. "" is for files of any other kind and of none.
KINDS: dict[str, Callable[[Stored], Any]] = {}


@explained
def load(path: str | os.PathLike) -> Any:
    """Read a model that `save` has written, with its parameters and its random generator.

    Parameters
    ----------
    path : str or os.PathLike
        A file of `model.save`, `CharLM.save`, `recurrent.training.checkpoint`, or of one of the
        commands `python -m recurrent train`, `task` and `demo`.

    Returns
    -------
    Sequential, Graph, Seq2Seq, CharLM or Translator
        What was saved; the model alone from a checkpoint of `fit`. A Translator is a Seq2Seq
        (`.model`) with the vocabularies that it reads and writes.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file is damaged or holds something else, or if a cell has other equations now. The
        message says what the file is.

    Examples
    --------
    >>> import recurrent
    >>> recurrent.Sequential(recurrent.GRU(2, 3), rng=0).save("model.safetensors")
    >>> model = load("model.safetensors")
    >>> model.forward(np.zeros((4, 1, 2), np.float32))[0].shape
    (4, 1, 3)
    """
    with storage.reading(path):
        stored = storage.read(path)
        about = stored.values.get("about")
        kind = about.get("kind") if isinstance(about, dict) else None
        known = isinstance(kind, str) and kind in KINDS
        return KINDS[kind if known else ""](stored)  # type: ignore[index]


def _is_known(cell: str) -> bool:
    """Return whether a cell has this name; hyper-parameters in it are values of unknown origin."""
    try:
        return lookup(cell) is not None
    except ArithmeticError as error:
        raise ValueError(f"the cell {checks.shown(cell)} cannot be traced: {error}") from None


def build_model(values: dict[str, Any], tensors: dict[str, np.ndarray]) -> Model:
    """Build a model from the contents of a file, which `storage.MODEL` has been compared with.

    Parameters
    ----------
    values : dict
        The entries of `storage.MODEL`; without "cells", equations are not compared.
    tensors : dict of str to ndarray, of any shape
        The arrays of the file; those of the model are removed.

    Returns
    -------
    Model

    Raises
    ------
    TypeError, ValueError
        If the arrays are not those of the model, or a cell has other equations.
    """
    description = values["model"]
    for part in ("layers", "encoder", "decoder"):
        for d in _layers(description.get(part, ())):
            if d["type"] not in LAYERS:
                raise ValueError(
                    f"unknown layer type {checks.shown(d['type'])}: define its class before you "
                    f"load the file; known are {', '.join(LAYERS)}"
                )
            name = d["options"].get("cell")
            if d["type"] == Recurrent.__name__ and isinstance(name, str) and not _is_known(name):
                raise ValueError(
                    f"unknown cell {checks.shown(name)}: declare it with recurrent.cell before you "
                    f"load the file; known cells are {', '.join(CELLS)}"
                )
    model = build(description, tensors)
    found = {cell.name: storage.equations_digest(cell) for cell in storage.cells_of(model)}
    stored = found if values["cells"] is None else values["cells"]
    for name, equations in found.items():
        if name not in stored:
            raise ValueError(f"the equations of the cell {checks.shown(name)} have no digest")
        if stored[name] != equations:
            raise ValueError(
                f"the cell {name!r} has other equations now than when the file was saved: declare "
                "it as it was then before you load the file, and new equations under a new name"
            )
    for name in storage.tensors_of(model.parameters):
        del tensors[name]
    state = values["generator"]
    bits = getattr(np.random, state["bit_generator"])()
    bits.state = state
    model.generator = np.random.Generator(bits)
    return model


def _layers(descriptions: Any) -> Iterator[dict]:
    """Yield the descriptions of layers, and of those that they hold."""
    for d in descriptions if isinstance(descriptions, (list, tuple)) else ():
        if isinstance(d, dict) and isinstance(d.get("options"), dict) and "type" in d:
            yield d
            yield from _layers(d["options"].get("layers"))
