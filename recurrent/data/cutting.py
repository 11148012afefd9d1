"""Cuts a batch of N sequences into S shards, whose gradients are computed apart.

The number of shards belongs to the definition of a training, and not the number of processes that
share them. Shard s has the rows `N * s // S` to `N * (s + 1) // S` of the batch, in its order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..engine import ragged
from .batch import Batch, Pair


def shard_rows(N: int, s: int, S: int) -> slice:
    """Return the rows of shard s of S, of a batch of N sequences; there may be none.

    Raises ValueError unless S is a power of two, IndexError unless s is one of the S shards.
    """
    S = checks.power_of_two(S, "S")
    s = checks.index(s, "s", S, ", the shards")
    return slice(N * s // S, N * (s + 1) // S)


def count_rows(batch: Batch) -> int:
    """Return the number of sequences of a batch.

    x has one list or array (T, N, D), or ids (T, N), at least; floats (T, D) are one sequence, as
    models take them. Raises ValueError if there is no axis of sequences.
    """
    inputs = _inputs(batch.x)
    for a in inputs:
        if ragged.is_list(a):
            return len(a)
    arrays = [checks.as_array(a, "x of a batch") for a in inputs]
    for a in arrays:
        if _has_steps(a):
            return a.shape[1]
    raise ValueError(
        "x of a batch must be (T, N, D), or (T, N) for ids, to be cut into shards, got"
        f" {arrays[0].shape}: a single sequence cannot be cut"
    )


def cut(batch: Batch, s: int, S: int) -> Batch:
    """Return shard s of S of a batch, time-major, as views of it.

    A tuple has the layout of its model, and a Seq2Seq takes a tuple for a Pair: cut what
    `as_arrays(batch, model)` returns. Where the axis of sequences could be two axes of targets,
    which are (T, N, ...), or (N, ...) for one target per sequence, it is the second one if the
    first is as long as x, as in `losses.count_entries`. Floats (N, N) with T = N may be either:
    that is an error, and so are ids (N, N) if x has not N steps, which may be labels or steps that
    a convolution leaves.
    """
    if S == 1:
        shard_rows(0, s, S)
        return batch
    refuse_weight(batch)
    N = count_rows(batch)
    rows = shard_rows(N, s, S)
    inputs = _inputs(batch.x)
    listed = any(ragged.is_list(a) for a in inputs)
    if listed:
        axes: Any = _each(batch.targets, lambda a: 0)
    else:
        steps = {np.shape(a)[0] for a in inputs if _has_steps(np.asarray(a))}
        axes = _each(batch.targets, lambda a: _target_axis(a, N, steps))
    cutter = _Cutter(N, rows)
    x = cutter.inputs(batch.x, "x")
    resets = batch.resets
    if ragged.is_list(resets) and not listed:  # x was padded
        resets = ragged.pad_sequences(resets, None, "resets")[0]
    resets = cutter.mask(resets, "resets")
    if isinstance(resets, np.ndarray) and listed:
        resets = resets[: max(map(len, _inputs(x)[0]), default=0)]
    return batch._replace(
        x=x,
        targets=cutter.targets(batch.targets, axes, "targets"),
        lengths=cutter.lengths(batch.lengths, isinstance(x, Pair)),
        resets=resets,
        sample_weight=cutter.targets(batch.sample_weight, axes, "sample_weight"),
    )


def refuse_weight(batch: Batch) -> None:
    """Raise ValueError if a batch has a weight, which is that of all its shards."""
    if batch.weight is not None:
        raise ValueError(
            f"weight of a batch must be None to cut it into shards, got {batch.weight:g}: use"
            " sample_weight, or a loss with an attribute entries, see losses.count_entries"
        )


class _Cutter:
    """Takes some rows of the parts of a batch of N sequences."""

    def __init__(self, N: int, rows: slice):
        self.N, self.rows = N, rows

    def inputs(self, a: Any, name: str) -> Any:
        """Return these rows of x: a list, an array, or several of them."""
        if isinstance(a, Pair):
            return Pair(*(self.inputs(one, name) for one in a))
        if isinstance(a, dict):
            return {key: self.inputs(one, f"{name}[{key!r}]") for key, one in a.items()}
        if not ragged.is_list(a):
            a = checks.as_array(a, name)
            return self.take(a, 1 if _has_steps(a) else 0, name)
        return self.take(a, 0, name)

    def targets(self, a: Any, axes: Any, name: str) -> Any:
        """Return these rows of targets, or of weights of them, along the axes of the targets."""
        if a is None:
            return None
        if isinstance(a, dict):
            each = axes if isinstance(axes, dict) else dict.fromkeys(a, axes)
            return {
                key: self.targets(one, each.get(key, 1), f"{name}[{key!r}]")
                for key, one in a.items()
            }
        if _is_ragged(a):
            return self.take(a, 0, name)
        a = checks.as_array(a, name)
        axis = axes if isinstance(axes, int) else 1
        return self.take(a, axis if a.ndim > 1 else 0, name)

    def lengths(self, a: Any, paired: bool = False) -> Any:
        """Return these rows of lengths (N,), of a mask (T, N), or of several of them."""
        if paired and isinstance(a, (tuple, list)):
            return Pair(*map(self.lengths, a))
        if isinstance(a, dict):
            return type(a)({name: self.lengths(one) for name, one in a.items()})
        return self.mask(a, "lengths")

    def mask(self, a: Any, name: str) -> Any:
        """Return these rows of an array (N,) or (T, N), or of a list."""
        if a is None:
            return None
        if ragged.is_list(a):
            return self.take(a, 0, name)
        a = checks.as_array(a, name)
        return self.take(a, 0 if a.ndim < 2 else 1, name)

    def take(self, a: Any, axis: int, name: str) -> Any:
        """Return these rows of a list or an array; raise ValueError unless it has N."""
        shape = a.shape if hasattr(a, "shape") else (len(a),)
        if shape[axis : axis + 1] != (self.N,):
            words = "(N, ...)" if axis == 0 else "(T, N, ...)"
            raise ValueError(
                f"{name} of a batch must be {words} with the N = {self.N} sequences of x, got"
                f" {shape}"
            )
        return a[self.rows] if axis == 0 else a[:, self.rows]


def _inputs(x: Any) -> list:
    """Return the lists and arrays of x, the one that the targets belong to first."""
    if isinstance(x, Pair):
        return [x.target, x.source]
    return list(x.values()) if isinstance(x, dict) else [x]


def _each(a: Any, function: Any) -> Any:
    """Return the value of a function of an array, or of each one in a dict."""
    if isinstance(a, dict):
        return {name: _each(one, function) for name, one in a.items()}
    return function(a)


def _has_steps(a: np.ndarray) -> bool:
    """Return whether an input has steps, (T, N, D) or ids (T, N); floats (N, D) have none."""
    return a.ndim > 2 or (a.ndim == 2 and a.dtype.kind in "iu")


def _is_ragged(a: Any) -> bool:
    """Return whether this is a list of arrays, or of lists of different lengths."""
    if not isinstance(a, (list, tuple)):
        return False
    return ragged.is_list(a) or len({np.shape(one)[:1] for one in a}) > 1


def _target_axis(targets: Any, N: int, steps: set[int]) -> int:
    """Return the axis of sequences of targets; raise ValueError if nothing decides."""
    if _is_ragged(targets):
        return 0
    a = checks.as_array(targets, "targets")
    if a.shape[1:2] != (N,):
        if a.shape[:1] != (N,):
            raise ValueError(
                "targets of a batch must be (T, N, ...), or (N, ...) for one target per sequence,"
                f" with the N = {N} sequences of x, got {a.shape}"
            )
        return 0
    if a.shape[0] != N or a.ndim > 2:
        return 1
    floats, has_N_steps = a.dtype.kind == "f", N in steps
    if floats == has_N_steps:
        raise ValueError(
            f"targets of a batch may be (T, N) or one for each of the N = {N} sequences, got"
            f" {a.shape}: use data.Batches(x, y, {N}, per_sequence=True) or False"
        )
    return 0 if floats else 1
