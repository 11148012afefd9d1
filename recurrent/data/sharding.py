"""Reads the shards of batches that one of the processes of a training needs, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .batch import Batch, as_arrays, as_batch
from .batches import BatchSource, CutSource, Shuffled, Windows
from .cutting import count_rows, cut, refuse_weight, shard_rows

__all__ = ["Shards", "count_rows", "cut", "shard_rows"]


class Shards:
    """Yields the own shards of each batch, epoch after epoch.

    Iterating gives a list for each batch: the own shards as batches, None for those that are empty.

    Parameters
    ----------
    batches : sized iterable of Batch
        One epoch per iteration. Of a `BatchSource` that can, only the own rows are read.
    own : range
        Numbers of the own shards.
    S : int
        Number of shards of a batch.
    model : Model, optional
        The model that reads the batches: they are converted by `as_arrays`. By default a tuple is
        time-major, as a Batch is.

    Attributes
    ----------
    cursor : int
        That of the batches, if they have one.
    """

    def __init__(self, batches: Any, own: range, S: int, model: Any = None):
        for s in own:
            shard_rows(0, s, S)
        self.batches, self.own, self.S, self.model = batches, own, S, model
        self.sources = _sources(batches, own, S)

    def __len__(self) -> int:
        return len(self.batches)

    @property
    def cursor(self) -> int:
        """Number of batches read, over all epochs."""
        return self.batches.cursor

    @cursor.setter
    def cursor(self, cursor: int) -> None:
        self.batches.cursor = cursor

    def __iter__(self) -> Iterator[list[Batch | None]]:
        if self.sources is None:
            for batch in self.batches:
                yield self._cut(self._converted(batch))
            return
        while True:
            k = self.cursor
            found = [self._read(*one, k) for one in zip(self.own, self.sources, strict=True)]
            self.cursor = k + 1
            yield found
            if self.cursor % len(self) == 0:
                return

    def _converted(self, batch: Any) -> Batch:
        """Return a batch as arrays, time-major, if the model is known."""
        return as_batch(batch) if self.model is None else as_arrays(batch, self.model)

    def _cut(self, batch: Batch) -> list[Batch | None]:
        """Return the own shards of a whole batch."""
        if self.S == 1:
            return [batch]
        N = count_rows(batch)
        rows = [shard_rows(N, s, self.S) for s in self.own]
        return [
            cut(batch, s, self.S) if own.start < own.stop else None
            for s, own in zip(self.own, rows, strict=True)
        ]

    def _read(self, s: int, source: BatchSource, k: int) -> Batch | None:
        """Return a shard of batch k from its source; None if it is empty."""
        expected = _rows_of(source, k)
        if expected == 0:
            return None
        batch = self._converted(source.batch(k))
        refuse_weight(batch)
        N = count_rows(batch)
        if expected is not None and expected != N:
            name = type(self.batches).__name__
            raise ValueError(
                f"batch({k}) of shard {s} of {name} must have {expected} sequences, got {N}: "
                "`def shard(self, s, S): return data.BatchSource.shard(self, s, S)` in "
                f"{name} cuts whole batches"
            )
        return batch if N else None


def _sources(batches: Any, own: range, S: int) -> list[BatchSource] | None:
    """Return sources of the own shards; None if whole batches are to be cut."""
    if S == 1 or not isinstance(batches, BatchSource):
        return None
    if type(batches).__iter__ is not BatchSource.__iter__:
        return None
    sources = [batches.shard(s, S) for s in own]
    return None if any(isinstance(one, CutSource) for one in sources) else sources


def _rows_of(source: BatchSource, k: int) -> int | None:
    """Return how many sequences batch k of a source has, if that is known without reading it."""
    if isinstance(source, Windows):
        return source.x.shape[1]
    return len(source.indices(k)) if isinstance(source, Shuffled) else None
