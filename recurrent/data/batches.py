"""Training data: windows of truncated BPTT, batches of independent sequences, or pairs of them.

A `BatchSource` has a length and can be iterated again and again, one epoch each time. Its `cursor`
counts the batches read over all epochs and alone decides what comes next: setting it resumes
anywhere, and iterating in the middle of an epoch gives the rest of that epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..checks.guided import Guided
from ..engine import ragged
from ..engine.episodes import checked_resets


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


class BatchSource(Guided):
    """Base class of training data. A subclass implements `__len__` and `batch(k)`.

    `cursor` is the number of batches read, over all epochs; setting it resumes there.
    """

    cursor: int = 0

    def __repr__(self):
        values = {k: v for k, v in vars(self).items() if v is not None and not k.startswith("_")}
        words = ", ".join(f"{name}={checks.brief(value)}" for name, value in values.items())
        return f"<{type(self).__name__}: {words[:400]}>"

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
    dtype : {"float32", "float64"}, optional
        Convert floats and bools to this type, window by window. By default nothing is cast.
    resets : mask, shape (L, N), bool, optional
        Where episodes begin: before that step the state returns to the initial one.

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
        dtype: Any = None,
        resets: Any = None,
    ):
        self.dtype = None if dtype is None else checks.dtype(dtype)
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
        self.resets = None
        if resets is not None:
            if self.x.ndim < 2:
                raise ValueError(f"resets needs a batch: x must be (L, N, ...), got {self.x.shape}")
            self.resets = checked_resets(resets, *self.x.shape[:2])
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
        x, y = cast(self.x[part], self.dtype), cast(self.y[part], self.dtype)
        starts_from_zero = self.carry if callable(self.carry) else CARRIES[self.carry]
        resets = None if self.resets is None else self.resets[part]
        return Batch(x, y, None, not starts_from_zero(k, len(self)), resets=resets)


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

    The state starts from zero in each batch. The order goes on from epoch to epoch, also in another
    `fit`; new Batches, or `batches.cursor = 0`, begin again. A batch is time-major; the
    sequences of a list are padded to the longest of their batch.

    Parameters
    ----------
    x : ndarray, shape (T, N) or (T, N, D), or list of N sequences (T_i, ...)
        N sequences of T inputs, time-major; or a list of sequences of different lengths.
    y : ndarray, shape (T, N) or (T, N, M), or (N,) or (N, M) for one target per sequence
        Their targets. If x is a list: a list of N targets (T_i, ...), or one for each sequence.
    batch : int
        Number of sequences of a batch.
    rng : int or numpy.random.Generator, optional
        Seed of the random order. One number is taken from it; the order of an epoch follows from
        that and the number of the epoch. None keeps the order.
    lengths : ndarray, shape (N,), int, or mask, shape (T, N), bool, optional
        Lengths of the sequences; what lies behind them is padding. A list has its own.
    per_sequence : bool, optional
        Whether y has one target for each sequence instead of one for each step. By default it has
        if y is (N,), or a list of numbers. If it has and y is a list of arrays (S_i,) of ids, these
        are padded with -1 to (N, S), as `losses.ctc` takes them.
    keep_last : bool
        Whether to keep a last, smaller batch.
    batch_first : bool
        Whether x, y and masks are (N, T, ...). The batches are time-major all the same.
    dtype : {"float32", "float64"}, optional
        Convert floats and bools to this type, batch by batch. Integers, which are ids or classes,
        stay. By default nothing is cast.
    resets : mask, shape (T, N), bool, or list of N arrays (T_i,) if x is a list, optional
        Where episodes begin: before that step the state returns to the initial one, and the
        gradient is cut.
    sample_weight : ndarray, shape (N,) or (T, N), or list of N arrays (T_i,), optional
        Weights of the sequences, or of their steps, in the loss; see `recurrent.losses`.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    Examples
    --------
    >>> batches = Batches(np.zeros((5, 10, 2)), np.zeros((5, 10, 1)), 4, rng=0)
    >>> [b.x.shape for b in batches]
    [(5, 4, 2), (5, 4, 2), (5, 2, 2)]

    A list of sequences, with one class each:

    >>> batch = Batches([np.zeros((5, 2)), np.zeros((3, 2))], [1, 0], 2, dtype="float32").batch(0)
    >>> batch.x.shape, batch.x.dtype.name, sorted(batch.lengths.tolist())
    ((5, 2, 2), 'float32', [3, 5])
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        batch: int,
        rng: Any = 0,
        *,
        lengths: Any = None,
        per_sequence: bool | None = None,
        keep_last: bool = True,
        batch_first: bool = False,
        dtype: Any = None,
        resets: Any = None,
        sample_weight: Any = None,
    ):
        self.dtype = None if dtype is None else checks.dtype(dtype)
        batch_first = checks.flag(batch_first, "batch_first")
        if per_sequence is not None:
            per_sequence = checks.flag(per_sequence, "per_sequence")
        self.x: Any
        self.y: Any
        self.listed = isinstance(x, (list, tuple)) and len(x) > 0
        if self.listed:
            if lengths is not None:
                raise ValueError(
                    "lengths must be None if x is a list of sequences, which has its own lengths"
                )
            self._take_lists(x, y, per_sequence)
            N, T = len(self.x), max(map(len, self.x))
            counts: Any = np.array([len(a) for a in self.x])
        else:
            self._take_arrays(x, y, lengths, per_sequence, batch_first)
            (T, N), counts = self.x.shape[:2], None
            if batch_first and resets is not None:
                resets = checks.as_array(resets, "resets")
                checks.shape(resets, "resets", (N, T), "(N, T)")
                resets = resets.T
        for name, a in (("x", self.x), ("y", self.y)):
            a = a[0] if isinstance(a, list) else a
            if a.dtype.kind not in "fbiu":
                raise TypeError(f"{name} must be numbers, got {a.dtype.name}")
        self.resets = None if resets is None else checked_resets(resets, T, N, counts)
        self.sample_weight = _weights(sample_weight, T, N, counts, batch_first)
        super().__init__(N, batch, rng, keep_last)

    def _take_lists(self, x, y, per_sequence):
        """Check lists of sequences and keep them."""
        cast = self.dtype is not None
        self.x, self.lengths = ragged.checked_list(x, "x", cast), None
        counts = np.array([len(a) for a in self.x], np.int64)
        self.y, self.per_sequence = ragged.as_targets(y, counts, "y", per_sequence, cast)
        given_lists = per_sequence is None and isinstance(y, (list, tuple))
        M = self.y.shape[1] if given_lists and self.per_sequence and self.y.ndim == 2 else None
        if (counts == M).all():
            raise ValueError(
                f"y may be {M} numbers for each sequence or one for each of its steps: "
                "pass per_sequence=True or False"
            )

    def _take_arrays(self, x, y, lengths, per_sequence, batch_first):
        """Check arrays and keep time-major views of them."""
        x, y = checks.as_array(x, "x"), checks.as_array(y, "y")
        axes = "N, T" if batch_first else "T, N"
        if x.ndim < 2:
            raise ValueError(f"x must be ({axes}, ...), got {x.shape}; or a list of sequences")
        if y.ndim < 1:
            raise ValueError(f"y must be ({'N' if per_sequence else axes}, ...), got {y.shape}")
        T, N = x.shape[:2][::-1] if batch_first else x.shape[:2]
        per_sequence = y.shape == (N,) if per_sequence is None else per_sequence
        expected = (N,) if per_sequence else x.shape[:2]
        if y.shape[: len(expected)] != expected:
            words = f"({axes}, ...) with {axes} = {x.shape[0]}, {x.shape[1]}"
            raise ValueError(
                f"y must be {f'(N, ...) with N = {N}' if per_sequence else words}, got {y.shape}"
                f"{_advice(y, T, N, batch_first, per_sequence)}"
            )
        if lengths is not None:
            lengths = checks.as_array(lengths, "lengths")
            if lengths.dtype == bool and lengths.ndim == 2:
                checks.shape(lengths, "lengths as a mask", x.shape[:2], f"({axes})")
                lengths = lengths.T if batch_first else lengths
            elif lengths.shape == (T,) != (N,):
                raise ValueError(
                    f"lengths must be (N,) = ({N},), got ({T},)"
                    f"{_advice(lengths, T, N, batch_first, True)}"
                )
        if batch_first:
            x, y = x.swapaxes(0, 1), y if per_sequence else y.swapaxes(0, 1)
        self.x, self.y, self.per_sequence = x, y, per_sequence
        self.lengths = checks.valid_steps(lengths, T, N)

    def batch(self, k: int) -> Batch:
        indices = self.indices(k)
        if self.listed:
            x, lengths = ragged.pad_arrays([self.x[n] for n in indices], self.dtype)
        else:
            # `take` along an axis of a view would copy the whole array.
            x = np.ascontiguousarray(self.x[:, indices])
            lengths = None if self.lengths is None else self.lengths[..., indices]
        if self.per_sequence:
            y = self.y[indices]
        elif self.listed:
            y, _ = ragged.pad_arrays([self.y[n] for n in indices], self.dtype)
        else:
            y = np.ascontiguousarray(self.y[:, indices])
        resets = None if self.resets is None else self.resets[: len(x), indices]
        weights = self.sample_weight
        if weights is not None:
            weights = weights[indices] if weights.ndim == 1 else weights[: len(x), indices]
        x, y = cast(x, self.dtype), cast(y, self.dtype)
        return Batch(x, y, lengths, resets=resets, sample_weight=weights)


def _weights(value: Any, T: int, N: int, counts: Any, batch_first: bool) -> np.ndarray | None:
    """Return weights (N,) or (T, N) as float64; raise an error unless they fit N sequences."""
    if value is None:
        return None
    if counts is not None and ragged.is_list(value):
        value = ragged.pad_targets(value, counts, "sample_weight")
        batch_first = False
    a = checks.as_array(value, "sample_weight")
    if a.dtype.kind not in "fiub":
        raise TypeError(f"sample_weight must be numbers, got {a.dtype.name}")
    axes, shape = ("N, T", (N, T)) if batch_first else ("T, N", (T, N))
    if a.shape not in ((N,), shape):
        raise ValueError(
            f"sample_weight must be (N,) = ({N},) or ({axes}) = {shape}, got {a.shape}"
        )
    a = (a.T if batch_first and a.ndim == 2 else a).astype(np.float64)
    if not (np.isfinite(a) & (a >= 0)).all():
        raise ValueError("sample_weight must be finite and at least 0 everywhere")
    return a


def cast(a: np.ndarray, dtype: np.dtype | None) -> np.ndarray:
    """Convert an array of floats or bools.

    Parameters
    ----------
    a : ndarray, any shape
        The array.
    dtype : numpy.dtype, optional
        The type of the result.

    Returns
    -------
    ndarray, shape of a
        The array itself if `dtype` is None or if it holds integers.
    """
    return a if dtype is None or a.dtype.kind not in "fb" else a.astype(dtype, copy=False)


def _advice(a: np.ndarray, T: int, N: int, batch_first: bool, per_sequence: bool) -> str:
    """Return the end of an error: what to write for an array with a first axis of this size."""
    if len(a) == N and not per_sequence:
        return "; for one target per sequence pass per_sequence=True"
    if len(a) != T or T == N:
        return ""
    if batch_first:
        return "; x looks time-major, (T, N, ...): leave out batch_first=True"
    return "; x looks batch-first, (N, T, ...): pass batch_first=True"


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
