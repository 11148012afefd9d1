"""Compilation ahead of time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from . import checks
from .cells import PYTORCH, Cell, find
from .kernels.blocking import shortest_pieces
from .layers import Embedding, Linear, layer_from_cell
from .losses import softmax_cross_entropy
from .models.sequential import Sequential
from .optim import Adam, clip_norm
from .progress import track


def warmup(*cells: str | Cell, dtypes: Iterable[str] = ("float32",), training: bool = True) -> None:
    """Compile kernels ahead of time, or load them from the cache.

    The first calls then take milliseconds, whatever their sizes. This includes the kernels of
    Embedding and Linear. A terminal shows a progress bar if it takes more than two seconds.

    Parameters
    ----------
    *cells : str or Cell
        The cells, or their names; by default those that PyTorch also has.
    dtypes : iterable of str, default ("float32",)
        "float32", "float64" or both.
    training : bool, default True
        Include recorded forward passes, softmax cross-entropy, backward, gradient clipping and
        Adam.

    Raises
    ------
    ValueError
        If no cell has a given name.
    TypeError
        If a cell is neither a Cell nor a name, or a dtype is not supported.

    Examples
    --------
    >>> warmup("lstm", training=False)
    """
    chosen = [find(c) for c in cells or PYTORCH]
    names = [dtypes] if isinstance(dtypes, str) else dtypes
    checks.iterable(names, "dtypes", "names such as 'float32'")
    training = checks.flag(training, "training")
    kinds = [checks.dtype(name) for name in names]
    parts = [_forward, _step] + ([_backward] if training else [])
    work = [(part, c, d) for c in chosen for d in kinds for part in parts]
    for part, c, d in track(work, _label):
        part(_model(c, 2, d), np.zeros((2, 1), np.int64))
        if part is not _step:
            with shortest_pieces():  # large layers read their weights in pieces
                part(_model(c, 16, d), np.zeros((2, 16), np.int64))


def _model(cell: Cell, size: int, dtype: np.dtype) -> Sequential:
    """Return a model of layers of this size."""
    layer = layer_from_cell(cell, size, size)
    return Sequential(Embedding(2, size), layer, Linear(layer.sizes.P, size), dtype=dtype)


def _label(item) -> str:
    part, cell, dtype = item
    return f"compiling {cell.name}, {dtype.name}: {part.__name__.strip('_')}"


def _forward(model, ids):
    model.forward(ids)


def _step(model, ids):
    stream = model.stream()
    stream.step(ids[0])
    stream.reset()
    stream.step(ids[0, 0])  # a chain without a batch
    layer = model[1]
    layer.forward(np.zeros((1, 1, layer.input_size), layer.dtype))  # a single step


def _backward(model, ids):
    y, _, tape = model.forward(ids, record=True)
    gradient = np.empty_like(model.flat)
    _, dy = softmax_cross_entropy(y, ids)
    model.backward(dy, tape, out=gradient)
    clip_norm(gradient, 1.0)
    Adam().update(model.flat, gradient)
