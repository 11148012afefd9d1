"""Runs a model over many sequences, a batch at a time: `recurrent.predict`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import checks
from ..checks.guided import explained
from ..engine import ragged
from ..progress import track
from .base import Model
from .layered import Layered
from .loading import load
from .seq2seq import Seq2Seq


@explained
def predict(model: Any, x: Any, batch: int = 256, *, lengths: Any = None) -> Any:
    """Return the model's output for any number of sequences, without dropout.

    A batch runs at a time and keeps no tape, so that little memory is needed beyond x and y. The
    batches change no bit: each sequence has the output that it has alone. What takes longer than
    two seconds shows its progress on a terminal.

    Parameters
    ----------
    model : Sequential, CharLM, str or os.PathLike
        The model, or the file of one. An encoder-decoder has `generate` instead.
    x : ndarray, shape (T, N, D) or (T, N), or list of N arrays (T_i, D) or (T_i,), or dict
        The sequences, time-major unless the model is batch-first, or ids where the first layer is
        an Embedding. Those of a list may differ in length: they are sorted into batches by length,
        and the outputs are in the order of x. A single sequence, (T, D) or (T,), is taken too.
    batch : int, default 256
        Number of sequences of a batch.
    lengths : array of int, shape (N,), or mask, shape (T, N), optional
        Valid time steps of each sequence of an array.

    Returns
    -------
    ndarray, shape (T, N, K) or (N, K), or list of N arrays (T_i, K)
        The output of each sequence: a list if x is one and the output has a time axis.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read or holds no model, or a shape does not fit.
    TypeError
        If an argument has the wrong type or dtype.
    IndexError
        If an id is out of range.

    Examples
    --------
    >>> from recurrent import GRU, Last, Linear, Sequential
    >>> model = Sequential(GRU(2, 3), Linear(3, 1), rng=0)
    >>> predict(model, np.zeros((7, 1000, 2), np.float32)).shape
    (7, 1000, 1)
    >>> [y.shape for y in predict(model, [np.zeros((T, 2), np.float32) for T in (4, 0, 9)])]
    [(4, 1), (0, 1), (9, 1)]
    >>> classifier = Sequential(GRU(2, 3), Last(), Linear(3, 5), rng=0)
    >>> predict(classifier, [np.zeros((T, 2), np.float32) for T in (4, 2, 9)]).shape
    (3, 5)
    """
    net = _model(model)
    batch = checks.size(batch, "batch")
    if isinstance(net, Layered) and not net.has_one_end_each:
        return _of_several(net, x, batch, lengths)
    if isinstance(x, list) and all(isinstance(a, (list, tuple)) for a in x):
        if not x:
            raise ValueError("x must be an array or a list of sequences, got an empty list")
        x = [checks.as_array(a, f"x[{n}]") for n, a in enumerate(x)]  # as Batches takes them
    if ragged.is_list(x):
        if lengths is not None:
            raise ValueError("lengths must be None if x is a list of arrays, which has its own")
        return _of_list(net, ragged.checked_list(x, "x"), batch)
    if net.batch_first:
        x, lengths, _ = net.prepare_input(x, lengths)
        return net.swapped(predict(net.time_major, x, batch, lengths=lengths))
    x, first = checks.as_array(x, "x"), net.layers[0]
    if first.gives_lookup:
        with checks.naming(net.where(0)):
            first.look_up(x)  # the place of a wrong id is that in x
    if x.ndim != (2 if first.gives_lookup else 3):
        return net.forward(x, lengths=lengths)[0]
    return _of_array(net, x, batch, lengths)


def _model(model: Any) -> Model:
    """Return the layers of a model, of what wraps one, or of a file."""
    if isinstance(model, (str, os.PathLike)):
        model = load(model)
    net = getattr(model, "model", model)  # of a CharLM or a Translator
    if isinstance(net, Seq2Seq):
        raise TypeError(
            "model must be a model of one sequence, got a Seq2Seq, whose outputs are written step "
            "by step: call model.generate(source, max_steps)"
        )
    checks.instance(net, Model, "model", "a model, such as a Sequential, or the path of its file")
    return net


def _of_several(net: Layered, x: Any, batch: int, lengths: Any) -> Any:
    """Run a model of several inputs or outputs; return arrays, or lists if x has lists."""
    x, lengths, listed = net.prepare_input(x, lengths)
    arrays = x if isinstance(x, dict) else {"x": checks.as_array(x, "x")}
    axes = {name: a.ndim - (a.dtype.kind not in "iu") for name, a in arrays.items()}
    counts = {a.shape[1] for name, a in arrays.items() if axes[name] == 2}
    if set(axes.values()) != {2}:
        return net.swapped(net.time_major.forward(x, lengths=lengths)[0])
    if len(counts) > 1:
        raise ValueError(f"the inputs must have one number of sequences, got {sorted(counts)}")
    parts = []
    for rows in _batches(np.arange(*counts), batch) if counts != {0} else [np.arange(0)]:
        part = slice(rows[0], rows[-1] + 1) if len(rows) else slice(0, 0)
        some = {name: a[:, part] for name, a in arrays.items()}
        own = lengths
        if isinstance(lengths, dict):
            own = {n: None if v is None else np.asarray(v)[..., part] for n, v in lengths.items()}
        elif lengths is not None:
            own = np.asarray(lengths)[..., part]
        some_x = some if isinstance(x, dict) else some["x"]
        parts.append(net.time_major.forward(some_x, lengths=own)[0])
    if not isinstance(parts[0], dict):
        y: Any = np.concatenate(parts, axis=1 if net.returns_sequence else 0)
    else:
        y = {
            name: np.concatenate(
                [part[name] for part in parts], axis=max(0, parts[0][name].ndim - 2)
            )
            for name in parts[0]
        }
    found = net.output_lengths(lengths)
    return net._unpadded(y, found) if listed and found is not None else net.swapped(y)


def _of_list(net: Model, x: list[np.ndarray], batch: int) -> Any:
    """Run sequences of different lengths, the longest first; return the outputs in order."""
    for n, a in enumerate(x if net.layers[0].gives_lookup else ()):
        with checks.naming(f"x[{n}]"):
            net.layers[0].look_up(a)
    order = np.argsort([-len(a) for a in x], kind="stable")
    outputs: list = [None] * len(x)
    for rows in _batches(order, batch):
        ys = net.forward([x[n] for n in rows])[0]
        for n, y in zip(rows, ys, strict=True):
            outputs[n] = y
    return outputs if net.has_steps(len(net) - 1) else np.array(outputs)


def _of_array(net: Model, x: np.ndarray, batch: int, lengths: Any) -> np.ndarray:
    """Run the sequences of an array in order."""
    T, N = x.shape[:2]
    lengths = checks.valid_steps(lengths, T, N)
    if batch >= N:
        return net.forward(x, lengths=lengths)[0]
    axis = 1 if net.has_steps(len(net) - 1) else 0
    out: Any = None
    for rows in _batches(np.arange(N), batch):
        part = slice(rows[0], rows[-1] + 1)
        y = net.forward(x[:, part], lengths=None if lengths is None else lengths[..., part])[0]
        if out is None:
            out = np.empty((*y.shape[:axis], N, *y.shape[axis + 1 :]), y.dtype)
        out[(slice(None),) * axis + (part,)] = y
    return out


def _batches(order: np.ndarray, batch: int) -> Iterator[np.ndarray]:
    """Yield the numbers of the sequences of each batch; show progress if it takes long."""
    starts = range(0, len(order), batch)
    return (
        order[k : k + batch] for k in track(starts, lambda k: f"sequence {k:,} of {len(order):,}")
    )
