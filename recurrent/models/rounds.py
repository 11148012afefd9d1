"""Reads items one by one, runs them in batches of like length, and yields results in order.

A round reads a few batches for each job. No more than one round is in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ..progress import track
from .jobs import PARTS, Jobs

LARGEST = 2**28  # bytes of a round, but for its last item


class Failure:
    """Holds the error of one item, in place of its result.

    Parameters
    ----------
    error : Exception
        The error.
    """

    def __init__(self, error: Exception):
        self.error = error

    def __reduce__(self):
        try:  # as pickle will in the other process
            error = type(self.error)(*self.error.args)
        except Exception:
            error = RuntimeError(f"{type(self.error).__name__}: {self.error}")
        return Failure, (error,)

    def raise_for(self, name: str) -> None:
        """Raise the error; its message begins with the name of the item.

        Parameters
        ----------
        name : str
            The name.
        """
        error = self.error
        try:
            named = type(error)(f"{name}: {error}")
        except Exception:  # a class with its own constructor
            error.add_note(f"at {name}")
            raise error from None
        raise named from error


def each(run: Callable[[list], Iterable], items: list) -> list[Any]:
    """Return the result of each item; of those that fail, a Failure.

    Parameters
    ----------
    run : callable
        Returns the results of a list of items. If it fails, each item runs alone.
    items : list
        The items.

    Returns
    -------
    list
    """
    try:
        return list(run(items))
    except Exception as error:
        if len(items) == 1:
            return [Failure(error)]
    return [result for item in items for result in each(run, [item])]


def in_rounds(
    jobs: Jobs,
    items: Iterable[np.ndarray],
    batch: int,
    function: Callable[..., list[Any]],
    options: tuple = (),
    *,
    unit: str,
    name: Callable[[int], str],
    total: int | None = None,
    size: Callable[[np.ndarray], int] = lambda item: item.nbytes,
) -> Iterator[Any]:
    """Yield the result of each item, in order, and end the jobs.

    Parameters
    ----------
    jobs : Jobs
        What runs the function.
    items : iterable of ndarray, shape (T_i, ...)
        Read once, a round at a time. An error of reading is raised after the results of the items
        before it.
    batch : int
        Number of items of a batch.
    function : callable
        `function(net, items, *options)` returns the result of each item, or a Failure.
    options : tuple
        Further arguments.
    unit : str
        Name of an item in the progress display.
    name : callable
        Returns the name of an item in errors from its number.
    total : int, optional
        The number of items, if it is known.
    size : callable
        Returns the bytes of an item and its result. A round ends at LARGEST of them.

    Yields
    ------
    object
        The result of each item.
    """
    most = PARTS * jobs.count * batch
    of = "" if total is None else f" of {total:,}"
    read = _read(iter(items), most, size)
    known = None if total is None else math.ceil(total / most)
    try:
        for first, some, error in track(read, lambda r: f"{unit} {r[0]:,}{of}", total=known):
            if not some and error is not None:
                raise error
            last = name(first + len(some) - 1)
            words = last if len(some) == 1 else f"{name(first)} to {last}"
            results = _run(jobs, some, batch, function, options, words)
            some.clear()
            for n, result in enumerate(results):
                if isinstance(result, Failure):
                    result.raise_for(name(first + n))
                yield result
            if error is not None:
                raise error
    finally:
        jobs.close()


def _run(
    jobs: Jobs,
    items: list[np.ndarray],
    batch: int,
    function: Callable[..., list[Any]],
    options: tuple,
    words: str,
) -> list[Any]:
    """Return the results of a round: the longest items run first."""
    order = sorted(range(len(items)), key=lambda n: -len(items[n]))
    batch = max(1, min(batch, -(-len(items) // jobs.count)))  # so that each job has one
    rows = [order[k : k + batch] for k in range(0, len(order), batch)]
    parts = (([items[n] for n in row], *options) for row in rows)
    results: list[Any] = [None] * len(items)
    for row, found in zip(rows, jobs.map(function, parts, words), strict=True):
        for n, result in zip(row, found, strict=True):
            results[n] = result
    return results


def _read(
    items: Iterator[np.ndarray], most: int, size: Callable[[np.ndarray], int]
) -> Iterator[tuple[int, list[np.ndarray], Exception | None]]:
    """Yield the number of the first item of each round, its items, and an error of reading."""
    first, error = 0, None
    while error is None:
        some, bytes_ = [], 0
        try:
            for item in items:
                some.append(item)
                bytes_ += size(item)
                if len(some) == most or bytes_ >= LARGEST:
                    break
        except Exception as raised:
            error = raised
        if not some and error is None:
            return
        count = len(some)
        yield first, some, error
        first += count
