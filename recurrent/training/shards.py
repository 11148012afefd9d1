"""Adds up the gradients of shards, the parts of a batch, in one order, whoever computes them.

A batch of N sequences is cut into S shards, S a power of two. Each has a gradient, the loss as a
sum over its valid entries, and their number. These are added in one balanced binary tree: shards 0
and 1, 2 and 3 and so on first. A process that has 2^k neighbouring shards computes a subtree, and
`Workers` add the subtotals. So the sums have the same bits for any number of processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..data import Batch
from ..data.sharding import shard_rows
from ..losses import Loss, count_entries
from ..losses.entries import causes_of
from ..models.base import Model
from .bptt import TruncatedBPTT
from .finite import not_finite
from .history import History
from .reader import weighted
from .state import TrainingState


class ShardRuns:
    """Runs the shards of this process and adds up their gradients.

    Parameters
    ----------
    model : Model
        The model.
    loss : callable
        The loss.
    own : range
        Numbers of the shards of this process.
    count : int
        Number of shards of a batch.
    scaled : bool
        Whether gradients are those of sums; else of the mean of the only batch of an update.
    state : TrainingState
        Holds the carried state and the seed to begin with.
    **options : object
        Options of `TruncatedBPTT`.
    """

    def __init__(
        self,
        model: Model,
        loss: Loss,
        own: range,
        count: int,
        scaled: bool,
        state: TrainingState,
        **options: Any,
    ):
        self.model, self.loss, self.own, self.count = model, loss, own, count
        self.scaled, self.seed = scaled, state.seed
        self.generator = model.generator
        self.runs = [
            TruncatedBPTT(
                model.time_major,
                state=rows_of(state.carried, s, count, 0),
                past=rows_of(state.past, s, count, 1),
                **options,
            )
            for s in own
        ]
        self._spare: dict[int, np.ndarray] = {}

    @property
    def carried(self) -> Any:
        """The carried state of the own shards."""
        return join([run.carried for run in self.runs], 0)

    @property
    def past(self) -> Any:
        """The inputs that follow it, of the own shards."""
        return join([run.past for run in self.runs], 1)

    def gradient(
        self, batches: list[list[Any]], update: int, history: History, out: np.ndarray
    ) -> np.ndarray:
        """Compute the gradient of an update.

        Parameters
        ----------
        batches : list of lists of Batch or None
            The batches of the update, as `data.sharding.Shards` yields them.
        update : int
            Number of the update, from 1.
        history : History
            The history so far, for an error.
        out : ndarray, shape (size,)
            Receives the gradient.

        Returns
        -------
        ndarray, shape (3,), float64
            The loss, the number of its entries and the number of steps, summed like the gradient.
        """
        try:
            return self._tree(0, len(self.own), batches, update, history, out)
        finally:
            if self.count > 1:
                self.model.generator = self.generator

    def _tree(self, first, count, batches, update, history, out) -> np.ndarray:
        """Compute the sum of neighbouring shards."""
        if count == 1:
            return self._shard(first, batches, update, history, out)
        half = count // 2
        left = self._tree(first, half, batches, update, history, out)
        spare = self._spared(count, out)
        right = self._tree(first + half, half, batches, update, history, spare)
        out += spare
        return left + right

    def _shard(self, k, batches, update, history, out) -> np.ndarray:
        """Compute the gradient of a shard, summed over the batches of the update."""
        model, run, s = self.model, self.runs[k], self.own[k]
        if self.count > 1:
            model.generator = np.random.default_rng([self.seed, update, s])  # type: ignore[list-item]
        sums, read = np.zeros(3), 0  # batches read
        for parts in batches:
            if parts[k] is None:  # a shard without sequences
                continue
            part = self._spared(0, out) if read else out
            batch, read = parts[k], read + 1
            loss = weighted(self.loss, batch)
            if not batch.carry:
                run.reset()
            value, _, y = run.gradient(
                batch.x, batch.targets, loss, batch.lengths, part, batch.resets
            )
            weight = self._weight(loss, batch, y) if self.scaled else 1.0
            if weight and not math.isfinite(value):
                lengths = model.output_lengths(batch.lengths)
                known = causes_of(loss, y, batch.targets, lengths)
                of_shard = f" of shard {s} of {self.count}" if self.count > 1 else ""
                what = f"the loss{of_shard} is {value}"
                raise not_finite(what, update, [batch], model, history, known)
            if not weight:  # the loss may be NaN
                value, part[:] = 0.0, 0
            elif self.scaled:
                part *= weight
            sums += weight * value, weight, _rows(y)
            if part is not out:
                out += part
            del y  # free the memory before the next forward pass
        if not read:
            out[:] = 0
        return sums

    def _weight(self, loss: Loss, batch: Batch, y: Any) -> float:
        """Return the number of entries that the loss of a batch is a mean over."""
        if batch.weight is not None:
            return batch.weight
        return count_entries(loss, y, batch.targets, self.model.output_lengths(batch.lengths))

    def _spared(self, count: int, like: np.ndarray) -> np.ndarray:
        """Return a vector for the second half of so many shards, or, for 0, for a later batch."""
        if count not in self._spare:
            self._spare[count] = np.empty_like(like)
        return self._spare[count]


def rows_of(state: Any, s: int, count: int, axis: int) -> Any:
    """Return the rows of a shard in the arrays of a state; None for a shard without any."""

    def cut(arrays: list[np.ndarray]) -> Any:
        rows = shard_rows(arrays[0].shape[axis], s, count)
        return arrays[0][(slice(None),) * axis + (rows,)]

    if count == 1 or state is None:
        return state
    part = over_arrays(cut, [state])
    return None if _empty(part) else part


def join(states: list[Any], axis: int) -> Any:
    """Return the state of all rows of several shards, some of which may have none."""
    found = [state for state in states if state is not None]
    if len(found) < 2:
        return found[0] if found else None
    return over_arrays(lambda arrays: np.concatenate(arrays, axis), found)


def over_arrays(function: Callable[[list[np.ndarray]], Any], states: list[Any]) -> Any:
    """Apply a function to each array of nested tuples, together with those at its place."""
    first = states[0]
    if first is None:
        return None
    if isinstance(first, np.ndarray):
        return function(states)
    parts = [over_arrays(function, list(at_place)) for at_place in zip(*states, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)


def _empty(state: Any) -> bool:
    """Return whether an array of a state has no entries."""
    if isinstance(state, np.ndarray):
        return state.size == 0
    return any(map(_empty, state or ()))


def _rows(y: Any) -> int:
    """Return the number of steps of all sequences of y; of the first output if there are several.

    A pooled output has one for each sequence.
    """
    first = next(iter(y.values())) if isinstance(y, dict) else y
    return math.prod(first.shape[:-1])
