"""Training data: windows of truncated BPTT, batches of independent sequences, or pairs of them.

A `BatchSource` has a length and can be iterated again and again, one epoch each time. Its `cursor`
counts the batches read over all epochs and alone decides what comes next: setting it resumes
anywhere, and iterating in the middle of an epoch gives the rest of that epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from functools import partial
from typing import Any

import numpy as np

from .. import checks
from ..checks.guided import Guided
from ..engine import ragged
from ..engine.episodes import checked_resets
from .batch import Batch, Pair, as_batch
from .cutting import cut, shard_rows


class BatchSource(Guided):
    """Base class of training data. A subclass implements `__len__` and `batch(k)`.

    `cursor` is the number of batches read, over all epochs; setting it resumes there.
    """

    cursor: int = 0

    def __repr__(self):
        values = {
            k: v
            for k, v in vars(self).items()
            if v is not None and not k.startswith("_") and k != "indices"
        }
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

    def shard(self, s: int, S: int) -> BatchSource:
        """Return a source of one shard of each batch, for training that is shared by processes.

        Shard s of a batch of N sequences has its rows `N * s // S` to `N * (s + 1) // S`, in its
        order; it may be empty. Windows, Batches, Pairs and SlidingWindows read only these rows of
        the data. Other sources make the whole batch and cut it.

        A subclass that changes what `super().batch(k)` or `super().indices(k)` returns needs
        nothing more. One whose `batch` takes sequences from arrays of its own must cut them too,
        or let its `shard` return `BatchSource.shard(self, s, S)`. Random numbers of `batch` must
        follow from k alone.

        Parameters
        ----------
        s : int
            Number of the shard, from 0.
        S : int
            Number of shards, a power of two.

        Returns
        -------
        BatchSource
            As long as this one, and with its cursor.

        Raises
        ------
        IndexError
            If there is no shard s.
        ValueError
            If S is not a power of two, or a batch cannot be cut: a single stream, or a batch with
            a weight.

        Examples
        --------
        >>> batches = Batches(np.arange(6).reshape(1, 6), np.arange(6), 3, rng=None)
        >>> [b.x.tolist() for b in batches.shard(0, 2)], [b.x.tolist() for b in batches.shard(1, 2)]
        ([[[0]], [[3]]], [[[1, 2]], [[4, 5]]])
        """
        return CutSource(self, s, S)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            batch = self.batch(self.cursor)
            self.cursor += 1
            yield batch
            if self.cursor % len(self) == 0:
                return


class CutSource(BatchSource):
    """One shard of each batch of a source, which makes the whole batches.

    Parameters
    ----------
    source : BatchSource
        The source.
    s, S : int
        Number of the shard, and of the shards.
    """

    def __init__(self, source: BatchSource, s: int, S: int):
        shard_rows(0, s, S)  # raises an error unless there is such a shard
        self.source, self.s, self.S, self.cursor = source, s, S, source.cursor

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, k: int) -> Batch:
        return cut(as_batch(self.source.batch(k)), self.s, self.S)


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

    def shard(self, s: int, S: int) -> Windows:
        rows, found = shard_rows(self.x.shape[1] if self.x.ndim > 1 else 0, s, S), copy(self)
        if S == 1:
            return found
        if self.x.ndim < 2:
            raise ValueError(
                f"x must be (L, N, ...) to be cut into S = {S} shards, got {self.x.shape}: a single"
                " stream cannot be cut"
            )
        if self.y.shape[1:2] != self.x.shape[1:2]:
            raise ValueError(
                f"y must have the {self.x.shape[1]} streams of x to be cut into S = {S} shards, got"
                f" {self.y.shape}"
            )
        found.x, found.y = self.x[:, rows], self.y[:, rows]
        found.resets = None if self.resets is None else self.resets[:, rows]
        return found


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

    def shard(self, s: int, S: int) -> Shuffled:
        shard_rows(0, s, S)  # raises an error unless there is such a shard
        found = copy(self)
        # Hides the method, also that of a subclass. This source keeps the order for its shards.
        vars(found)["indices"] = partial(_shard_indices, self, s, S)
        return found


def _shard_indices(source: Shuffled, s: int, S: int, k: int) -> np.ndarray:
    """Return the indices of the sequences of a shard of batch k."""
    indices = source.indices(k)
    return indices[shard_rows(len(indices), s, S)]


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
        self.x = _one_dtype(self.x, self.dtype)
        if not self.per_sequence:
            self.y = _one_dtype(self.y, self.dtype)
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
            x, lengths = _padded(self.x, indices, self.dtype)
        else:
            # `take` along an axis of a view would copy the whole array.
            x = np.ascontiguousarray(self.x[:, indices])
            lengths = None if self.lengths is None else self.lengths[..., indices]
        if self.per_sequence:
            y = self.y[indices]
        elif self.listed:
            y, _ = _padded(self.y, indices, self.dtype)
        else:
            y = np.ascontiguousarray(self.y[:, indices])
        resets = None if self.resets is None else self.resets[: len(x), indices]
        weights = self.sample_weight
        if weights is not None:
            weights = weights[indices] if weights.ndim == 1 else weights[: len(x), indices]
        x, y = cast(x, self.dtype), cast(y, self.dtype)
        return Batch(x, y, lengths, resets=resets, sample_weight=weights)


def _one_dtype(arrays: list[np.ndarray], dtype: np.dtype | None) -> list[np.ndarray]:
    """Return arrays of the same dtype, so that each batch, and each shard of it, has it too."""
    kinds = {a.dtype for a in arrays}
    if len(kinds) == 1:
        return arrays
    common = np.result_type(*kinds)
    common = dtype if common.kind in "fb" and dtype is not None else common
    return [a.astype(common, copy=False) for a in arrays]


def _padded(
    arrays: list[np.ndarray], indices: np.ndarray, dtype: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return arrays (T_i, ...) of a list as (T, N, ...), and their lengths; N may be 0."""
    if len(indices) == 0:
        padded, counts = ragged.pad_arrays(arrays[:1], dtype)
        return padded[:0, :0], counts[:0]
    return ragged.pad_arrays([arrays[n] for n in indices], dtype)


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
            sources = ragged.checked_list(sources, "sources") if sources else sources
        targets = ragged.checked_list(targets, "targets") if targets else targets
        super().__init__(len(sources), batch, rng, keep_last)
        self.sources, self.targets = sources, targets
        self.start = checks.integer(start, "start", 0)

    def batch(self, k: int) -> Batch:
        indices = self.indices(k)
        if isinstance(self.sources, np.ndarray):
            source, source_lengths = self.sources[indices], None
        else:
            source, source_lengths = _padded(self.sources, indices)
        targets, lengths = _padded(self.targets, indices)
        inputs = np.concatenate([np.full_like(targets[:1], self.start), targets[:-1]])
        inputs[np.arange(len(inputs))[:, None] >= lengths] = 0
        return Batch(Pair(source, inputs), targets, Pair(source_lengths, lengths))
