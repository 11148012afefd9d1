"""Training data: windows of truncated BPTT, batches of independent sequences, or pairs of them.

A `BatchSource` has a length and can be iterated again and again, one epoch each time. Its `cursor`
counts the batches read over all epochs and alone decides what comes next: setting it resumes
anywhere, and iterating in the middle of an epoch gives the rest of that epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from . import checks
from .engine import ragged


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
    weight : int, optional
        Number of entries that the loss is a mean over, for a loss of your own that leaves out some.
        By default they are counted: `losses.count_entries`.
    """

    x: Any
    targets: np.ndarray
    lengths: Any = None
    carry: bool = False
    weight: int | None = None


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
    """Convert the lists of sequences in a batch to padded arrays with lengths.

    Parameters
    ----------
    batch : Batch, tuple or list
        A batch as `as_batch` takes it.
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
    batch = as_batch(batch)
    x, lengths, listed = model.prepare_input(batch.x, batch.lengths)
    targets = batch.targets
    if listed:
        counts = lengths.target if isinstance(lengths, Pair) else lengths
        targets = ragged.pad_targets(targets, counts)
    return batch._replace(x=x, targets=targets, lengths=lengths)


class BatchSource:
    """Base class of training data. A subclass implements `__len__` and `batch(k)`.

    `cursor` is the number of batches read, over all epochs; setting it resumes there.
    """

    cursor: int = 0

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        raise NotImplementedError

    def batch(self, k: int) -> Batch:
        """Return a batch by its number.

        Parameters
        ----------
        k : int
            Number of the batch, counted from 0 over all epochs.

        Returns
        -------
        Batch
        """
        raise NotImplementedError

    def __iter__(self) -> Iterator[Batch]:
        while True:
            batch = self.batch(self.cursor)
            self.cursor += 1
            yield batch
            if self.cursor % len(self) == 0:
                return


# Functions that return whether window k, counted over all epochs of n windows, starts from a
# zero state.
CARRIES: dict[str, Callable[[int, int], bool]] = {
    "epoch": lambda k, n: k % n == 0,
    "always": lambda k, n: k == 0,
    "never": lambda k, n: True,
}


class Windows(BatchSource):
    """Consecutive windows of long sequences, for truncated back-propagation through time.

    The hidden state is carried from window to window; gradients are cut there. Windows are views.

    Parameters
    ----------
    x : ndarray, shape (L, N) or (L, N, D), or (L,) for a single stream of ids
        N streams of L inputs.
    y : ndarray, shape (L, N) or (L, N, M), or (L,)
        Their targets.
    window : int
        Number of steps T of a window.
    carry : {"epoch", "always", "never"} or callable
        Which windows start from a zero state: the first of each epoch ("epoch"), the very first
        only ("always") or all ("never"). A function of k and n returns whether window k, counted
        over all epochs of n windows, starts from a zero state.
    keep_last : bool
        Whether to keep a last, shorter window.

    Raises
    ------
    ValueError
        If x and y differ in length or are shorter than a window, or `carry` is unknown.

    Examples
    --------
    >>> windows = Windows(np.arange(7), np.arange(1, 8), 3)
    >>> len(windows), windows.cuts
    (2, (3,))
    >>> [(b.x.tolist(), b.targets.tolist(), b.carry) for b in windows]
    [([0, 1, 2], [1, 2, 3], False), ([3, 4, 5], [4, 5, 6], True)]
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        window: int,
        *,
        carry: str | Callable[[int, int], bool] = "epoch",
        keep_last: bool = False,
    ):
        for name, a in (("x", x), ("y", y)):
            if ragged.is_list(a):
                raise TypeError(f"{name} must be an array (L, N, ...), got a list of arrays")
        self.x, self.y = checks.as_array(x, "x"), checks.as_array(y, "y")
        self.window = window = checks.size(window, "window")
        self.carry = carry
        if not callable(carry):
            checks.choice(carry, "carry", CARRIES)
        keep_last = checks.flag(keep_last, "keep_last")
        if self.x.ndim < 1 or self.y.ndim < 1 or len(self.x) != len(self.y):
            raise ValueError(
                "x and y must have the same number of steps,"
                f" got shapes {self.x.shape} and {self.y.shape}"
            )
        L, least = len(self.x), 1 if keep_last else window
        if least > L:
            raise ValueError(f"x must have at least {least} steps for windows of {window}, got {L}")
        self.steps = L if keep_last else L - L % window  # of an epoch

    def __len__(self) -> int:
        return -(-self.steps // self.window)

    @property
    def cuts(self) -> tuple[int, ...]:
        """The steps of x before which gradients are cut and the state is carried."""
        return tuple(range(self.window, self.steps, self.window))

    def batch(self, k: int) -> Batch:
        k = checks.integer(k, "k", 0)
        start = k % len(self) * self.window
        part = slice(start, min(start + self.window, self.steps))
        x, y = self.x[part], self.y[part]
        starts_from_zero = self.carry if callable(self.carry) else CARRIES[self.carry]
        return Batch(x, y, None, not starts_from_zero(k, len(self)))


class Shuffled(BatchSource):
    """Base class of data whose N sequences come in a new random order each epoch.

    Parameters
    ----------
    N : int
        Number of sequences.
    batch : int
        Number of sequences of a batch.
    rng : int or numpy.random.Generator, optional
        Gives one number, from which the order of each epoch is derived. None keeps the order of
        the data.
    keep_last : bool
        Whether to keep a last, smaller batch.
    """

    def __init__(self, N: int, batch: int, rng: Any, keep_last: bool):
        N, batch = checks.integer(N, "N", 0, checks.LARGEST), checks.size(batch, "batch")
        self.N, self.size = N, batch
        self.keep_last = keep_last = checks.flag(keep_last, "keep_last")
        least = 1 if keep_last else batch
        if least > N:
            raise ValueError(
                f"x must have at least {least} sequences for batches of {batch}, got {N}"
            )
        self.seed = None if rng is None else int(checks.generator(rng).integers(2**63))
        self._epoch, self._order = -1, np.arange(N)

    def __len__(self) -> int:
        return -(-self.N // self.size) if self.keep_last else self.N // self.size

    def order(self, epoch: int) -> np.ndarray:
        """Return the order of the sequences in an epoch.

        Parameters
        ----------
        epoch : int
            Number of the epoch, from 0.

        Returns
        -------
        ndarray, shape (N,), int
        """
        epoch = checks.integer(epoch, "epoch", 0)
        if self.seed is not None and self._epoch != epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self.seed, epoch]).permutation(self.N)
        return self._order

    def indices(self, k: int) -> np.ndarray:
        """Return the indices of the sequences of a batch.

        Parameters
        ----------
        k : int
            Number of the batch, counted from 0 over all epochs.

        Returns
        -------
        ndarray, shape (batch,), int
        """
        epoch, place = divmod(checks.integer(k, "k", 0), len(self))
        return self.order(epoch)[place * self.size : (place + 1) * self.size]


class Batches(Shuffled):
    """Batches of independent sequences, in a new random order each epoch.

    The state starts from zero in each batch.

    Parameters
    ----------
    x : ndarray, shape (T, N) or (T, N, D), or list of N arrays (T_i, ...)
        N sequences of T inputs, time-major, or of different lengths.
    y : ndarray, shape (T, N) or (T, N, M); with `per_sequence` (N,) or (N, M)
        Their targets; a list of N arrays (T_i, ...) if x is a list.
    batch : int
        Number of sequences of a batch.
    rng : int or numpy.random.Generator, optional
        Seed of the random order. One number is taken from it; the order of an epoch follows from
        that and the number of the epoch. None keeps the order.
    lengths : ndarray, shape (N,), int, or mask, shape (T, N), bool, optional
        Lengths of the sequences; what lies behind them is padding. A list has its own.
    per_sequence : bool
        Whether y has one target for each sequence instead of one for each step.
    keep_last : bool
        Whether to keep a last, smaller batch.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    Examples
    --------
    >>> batches = Batches(np.zeros((5, 10, 2)), np.zeros((5, 10, 1)), 4, rng=0)
    >>> [b.x.shape for b in batches]
    [(5, 4, 2), (5, 4, 2), (5, 2, 2)]
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        batch: int,
        rng: Any = 0,
        *,
        lengths: np.ndarray | None = None,
        per_sequence: bool = False,
        keep_last: bool = True,
    ):
        steps: Any
        x, steps, listed = ragged.pad_sequences(x, lengths)
        self.x = checks.as_array(x, "x")
        self.y = checks.as_array(ragged.pad_targets(y, steps, "y") if listed else y, "y")
        self.per_sequence = per_sequence = checks.flag(per_sequence, "per_sequence")
        if self.x.ndim < 2:
            raise ValueError(f"x must be (T, N, ...), got {self.x.shape}")
        if self.y.ndim < 1:
            axes = "N" if per_sequence else "T, N"
            raise ValueError(f"y must be ({axes}, ...), got {self.y.shape}")
        T, N = self.x.shape[:2]
        if per_sequence and self.y.shape[:1] != (N,):
            raise ValueError(f"y must be (N, ...) with N = {N}, got {self.y.shape}")
        if not per_sequence and self.y.shape[:2] != (T, N):
            once = "; for one target per sequence pass per_sequence=True"
            raise ValueError(
                f"y must be (T, N, ...) with T, N = {T}, {N}, got {self.y.shape}"
                f"{once * (self.y.shape[:1] == (N,))}"
            )
        super().__init__(N, batch, rng, keep_last)
        self.lengths = checks.valid_steps(steps, T, N)

    def batch(self, k: int) -> Batch:
        indices = self.indices(k)
        x = self.x.take(indices, axis=1)
        y = self.y.take(indices, axis=0 if self.per_sequence else 1)
        return Batch(x, y, None if self.lengths is None else self.lengths[..., indices])


class Pairs(Shuffled):
    """Pairs of source and target sequences for `Seq2Seq`, in a new random order each epoch.

    The decoder is trained with teacher forcing: it reads `start` and then the target without its
    last id.

    Parameters
    ----------
    sources : list of ndarray, each of shape (S,) or (S, D), or ndarray, shape (N, K)
        Source sequences, or one vector for each pair.
    targets : list of ndarray, each of shape (T,), int
        Target ids, including the end token where there is one.
    batch : int
        Number of pairs of a batch.
    rng : int or numpy.random.Generator, optional
        Seed of the random order; None keeps the order.
    start : int
        Start token of the decoder.
    keep_last : bool
        Whether to keep a last, smaller batch.

    Raises
    ------
    ValueError
        If the lists differ in length, or a target is empty.

    Examples
    --------
    >>> sources, targets = [np.arange(3), np.arange(5)], [np.array([4, 1]), np.array([2, 3, 1])]
    >>> pairs = Pairs(sources, targets, 2, None, start=0)
    >>> batch = pairs.batch(0)
    >>> batch.x.target.T.tolist(), batch.targets.T.tolist(), batch.lengths
    ([[0, 4, 0], [0, 2, 3]], [[4, 1, 0], [2, 3, 1]],
     Pair(source=array([3, 5]), target=array([2, 3])))
    """

    def __init__(
        self,
        sources: Any,
        targets: list,
        batch: int,
        rng: Any = 0,
        *,
        start: int = 0,
        keep_last: bool = True,
    ):
        kinds: Any = (list, tuple, np.ndarray)
        for name, value in (("sources", sources), ("targets", targets)):
            checks.instance(value, kinds, name, "a list of arrays")
            if isinstance(value, np.ndarray) and value.ndim == 0:
                raise TypeError(f"{name} must be a list of arrays, got {checks.shown(value)}")
        if len(sources) != len(targets):
            raise ValueError(
                "sources and targets must have the same length,"
                f" got {len(sources)} and {len(targets)}"
            )
        targets = [checks.integers(a, f"targets[{n}]") for n, a in enumerate(targets)]
        for n, target in enumerate(targets):
            if target.ndim != 1:
                raise ValueError(f"targets[{n}] must be (T,), got {target.shape}")
            if len(target) == 0:
                raise ValueError(f"each target must have at least one step, got none in target {n}")
        if not isinstance(sources, np.ndarray):
            sources = [checks.as_array(a, f"sources[{n}]") for n, a in enumerate(sources)]
            if any(a.ndim == 0 for a in sources):
                raise TypeError("sources must be a list of arrays (S,) or (S, D), got numbers")
        super().__init__(len(sources), batch, rng, keep_last)
        self.sources, self.targets = sources, targets
        self.start = checks.integer(start, "start", 0)

    def batch(self, k: int) -> Batch:
        indices = self.indices(k)
        if isinstance(self.sources, np.ndarray):
            source, source_lengths = self.sources[indices], None
        else:
            chosen = [self.sources[n] for n in indices]
            source, source_lengths, _ = ragged.pad_sequences(chosen, None, "sources")
        chosen = [self.targets[n] for n in indices]
        targets, lengths, _ = ragged.pad_sequences(chosen, None, "targets")
        inputs = np.concatenate([np.full_like(targets[:1], self.start), targets[:-1]])
        inputs[np.arange(len(inputs))[:, None] >= lengths] = 0
        return Batch(Pair(source, inputs), targets, Pair(source_lengths, lengths))
