"""Holds the data of one update, a batch, and converts tuples and lists to it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import checks


class Pair(NamedTuple):
    """The parts of x, of lengths or of dx that belong to an encoder and to its decoder.

    Parameters
    ----------
    source : ndarray, shape (S, N) or (S, N, D) for x, (N,) for lengths
        The part of the encoder.
    target : ndarray, shape (T, N) for x, (N,) for lengths
        The part of the decoder.
    """

    source: Any
    target: Any


class Batch(NamedTuple):
    """The data of one update.

    Parameters
    ----------
    x : ndarray, shape (T, N) or (T, N, D), or list of arrays (T_i, ...), or Pair
        Inputs, as the model takes them.
    targets : ndarray, shape (T, N) or (T, N, M), or (N, ...) for one target per sequence
        Targets, as the loss takes them; a list of arrays (T_i, ...) if x is a list.
    lengths : ndarray, shape (N,), int, or Pair, optional
        Lengths of the sequences.
    carry : bool
        Whether this batch starts from the final state of the batch before; gradients are cut.
    weight : int or float, optional
        Number of entries that the loss is a mean over, for a loss of your own that leaves out some.
        By default they are counted: `losses.count_entries`.
    resets : mask, shape (T, N), bool, or list of arrays (T_i,), optional
        Where episodes begin, see `Model.forward`.
    sample_weight : ndarray, shape (N,) or (T, N), or shape of targets, optional
        Weights of the sequences, of their steps or of all entries in the loss; see `losses`.
    """

    x: Any
    targets: np.ndarray
    lengths: Any = None
    carry: bool = False
    weight: float | None = None
    resets: Any = None
    sample_weight: Any = None


def as_batch(batch: Any) -> Batch:
    """Convert a tuple to a `Batch`.

    Parameters
    ----------
    batch : Batch, tuple or list
        (x, targets), (x, targets, lengths) and so on, in the order of the fields of `Batch`.

    Returns
    -------
    Batch

    Raises
    ------
    TypeError
        If it is anything else.
    """
    is_sequence = isinstance(batch, (tuple, list))
    if not is_sequence or not 2 <= len(batch) <= len(Batch._fields):
        got = type(batch).__name__
        got = f"a {got} of length {len(batch)}" if is_sequence else got
        raise TypeError(
            f"a batch must be (x, targets) or (x, targets, lengths), or a data.Batch, got {got}"
        )
    batch = Batch(*batch)
    if batch.targets is None:
        raise TypeError("the targets of a batch must be an array, got None")
    checks.flag(batch.carry, "carry of a batch")
    if batch.weight is not None:
        checks.number(batch.weight, "weight of a batch", 0)
    return batch


def as_arrays(batch: Any, model: Any) -> Batch:
    """Convert the lists of sequences in a batch to padded arrays with lengths, time-major.

    Parameters
    ----------
    batch : Batch, tuple or list
        A batch as `as_batch` takes it. A tuple has the layout of the model, a Batch is time-major.
    model : Model
        The model that reads it.

    Returns
    -------
    Batch

    Raises
    ------
    TypeError, ValueError
        If the lists do not fit each other.
    """
    model = model.time_major if isinstance(batch, Batch) else model
    batch = as_batch(batch)
    x, lengths, listed = model.prepare_input(batch.x, batch.lengths)
    targets, resets, weights = batch.targets, batch.resets, batch.sample_weight
    if listed:
        targets = model.padded_targets(targets, lengths)
        if weights is not None:
            weights = model.padded_targets(weights, lengths, "sample_weight")
    elif model.batch_first:
        targets = model.targets_by_time(targets, x)
        resets = None if resets is None else model.resets_by_time(resets, x)
        if weights is not None and np.ndim(weights) > 1:
            weights = model.targets_by_time(weights, x)
    return Batch(x, targets, lengths, batch.carry, batch.weight, resets, weights)
