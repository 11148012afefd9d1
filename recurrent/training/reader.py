"""The batches that a training reads: their checks, and a reader of epoch after epoch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

from ..data import Batch, as_batch
from ..losses import Loss


def count_batches(batches: Any, name: str = "batches") -> int:
    """Return the number of batches of an epoch; raise an error if there is none."""
    try:
        count = len(batches)
    except TypeError:
        kind = type(batches).__name__
        raise TypeError(
            f"{name} must have a length, got {kind}; use a list, Windows or Batches"
        ) from None
    if count == 0:
        raise ValueError(f"{name} must have at least one batch, got none")
    check_batches(batches, name)
    return count


def check_batches(batches: Any, name: str) -> None:
    """Raise TypeError unless these are batches, as far as it costs little to know."""
    arrays = isinstance(batches, tuple) and all(hasattr(a, "shape") for a in batches)
    if isinstance(batches, (list, tuple, set, frozenset)) and not arrays:
        for batch in batches:
            as_batch(batch)
    elif (
        arrays
        or isinstance(batches, (str, bytes, dict, type))
        or hasattr(batches, "shape")  # an array, a number of NumPy or a tensor
        or not (hasattr(batches, "__iter__") or hasattr(batches, "__getitem__"))
    ):
        got = "a tuple of arrays" if arrays else type(batches).__name__
        write = "; write `Batches(x, y, 32)`" if arrays or hasattr(batches, "shape") else ""
        raise TypeError(f"{name} must be Windows, Batches or a list of batches, got {got}{write}")


def weighted(loss: Loss, batch: Batch) -> Loss:
    """Return the loss with the sample weights of a batch, if it has any."""
    if batch.sample_weight is None:
        return loss
    return partial(loss, sample_weight=batch.sample_weight)


class Reader:
    """Reads the batches of one epoch after the other, without end, from a cursor on.

    Parameters
    ----------
    batches : sized iterable of Batch
        One epoch per iteration.
    cursor : int, optional
        Where to begin; that of the batches by default.

    Attributes
    ----------
    count : int
        Number of batches of an epoch.
    cursor : int
        Number of batches read, over all epochs.
    """

    def __init__(self, batches: Any, cursor: int | None):
        self.batches, self.count = batches, count_batches(batches)
        self.counts = not hasattr(batches, "cursor")  # whether the cursor is kept here alone
        self.cursor = (0 if self.counts else batches.cursor) if cursor is None else cursor

    @property
    def position(self) -> int:
        """Number of batches read in the epoch; 0 at its end."""
        return self.cursor % self.count

    def updates(self, epochs: int, each: int) -> int:
        """Return the number of updates of so many epochs, the current one included.

        An update takes `each` batches, or those that are left of an epoch.
        """
        whole, left = -(-self.count // each), -(-(self.count - self.position) // each)
        return epochs * whole - (whole - left)

    def seek(self, cursor: int) -> None:
        """Set the cursor."""
        self.cursor = cursor
        if not self.counts:
            self.batches.cursor = cursor

    def __iter__(self) -> Iterator[Batch]:
        while True:
            skip = self.position if self.counts else 0
            self.seek(self.cursor)
            found = False
            for batch in islice(self.batches, skip, None):
                found = True
                self.cursor = self.cursor + 1 if self.counts else self.batches.cursor
                yield batch
            if not found:
                raise ValueError(
                    f"batches must give {self.count} batches each time they are iterated,"
                    " got none; use a list, Windows or Batches"
                )
