"""Compiling beforehand what first calls would have to compile."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from . import checks
from .cells import PYTORCH, Cell, find
from .layers import Embedding, Linear, layer_from_cell
from .losses import softmax_cross_entropy
from .models.sequential import Sequential
from .optim import Adam, clip_norm
from .progress import track


def warmup(*cells: str | Cell, dtypes: Iterable[str] = ("float32",), training: bool = True) -> None:
    """Compile the kernels of these cells, or load them from the cache, so that first calls of any size take milliseconds.

    `cells`: names or cells; those that PyTorch has too if none is given. The layers around them, Embedding and Linear, are
    included. `training`: recorded forward passes, softmax cross-entropy, backward, clipping and Adam too.
    From the third second on a terminal shows how far it is.
    Raises ValueError for an unknown name, TypeError for what is no cell and for dtypes.

    >>> warmup("lstm", training=False)
    """
    chosen = [find(c) for c in cells or PYTORCH]
    dtypes = [checks.dtype(d) for d in ([dtypes] if isinstance(dtypes, str) else dtypes)]
    parts = [_forward, _step] + ([_backward] if training else [])
    work = [(part, c, d) for c in chosen for d in dtypes for part in parts]
    for part, c, d in track(
        work, lambda w: f"compiling {w[1].name}, {w[2].name}:{w[0].__name__.replace('_', ' ')}"
    ):
        layer = layer_from_cell(c, 2, 2)
        part(
            Sequential(Embedding(2, 2), layer, Linear(layer.out_features, 2), dtype=d),
            np.zeros((2, 1), np.int64),
        )


def _forward(model, ids):
    model.forward(ids)


def _step(model, ids):
    model.stream().step(ids[0])


def _backward(model, ids):
    y, _, tape = model.forward(ids, record=True)
    gradient, (_, dy) = np.empty_like(model.flat), softmax_cross_entropy(y, ids)
    model.backward(dy, tape, out=gradient)
    clip_norm(gradient, 1.0)
    Adam().update(model.flat, gradient)
