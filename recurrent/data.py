"""What training reads: windows of truncated BPTT, batches of independent sequences, or pairs of them.

Both can be iterated again and again, one pass each time, and have a length. `cursor` counts the batches given since the
start, over all passes. It alone decides what comes next, so setting it resumes anywhere; iterating in the middle
of a pass gives the rest of that pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from . import checks
from .engine import ragged


class Pair(NamedTuple):
    """What belongs to an encoder, and what belongs to its decoder: of x, of lengths, of dx."""

    source: Any
    target: Any


class Batch(NamedTuple):
    """One update's data. `carry`: the state after the batch before continues into this one; its gradient does not."""

    x: Any  # (T, N, ...), or a Pair
    targets: np.ndarray
    lengths: Any = None  # (N,), or a Pair
    carry: bool = False
    weight: int | None = None  # entries that the loss is a mean over; None: as many as targets has

    @classmethod
    def of(cls, batch: Any) -> Batch:
        """From (x, targets), (x, targets, lengths) and so on; a Batch passes through. Raises TypeError for anything else."""
        if isinstance(batch, cls):
            return batch
        if not isinstance(batch, (tuple, list)) or not 2 <= len(batch) <= len(cls._fields):
            got = (
                f"{len(batch)} of them"
                if isinstance(batch, (tuple, list))
                else type(batch).__name__
            )
            raise TypeError(
                f"a batch must be (x, targets) or (x, targets, lengths), or a data.Batch, got {got}"
            )
        return cls(*batch)


class Source:
    """Batches by number: a subclass has `__len__` and `batch(k)`, the k-th since the start."""

    cursor: int = 0

    def __len__(self) -> int:
        raise NotImplementedError

    def batch(self, k: int) -> Batch:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Batch]:
        while True:
            batch = self.batch(self.cursor)
            self.cursor += 1
            yield batch
            if self.cursor % len(self) == 0:
                return


CARRIES: dict[
    str, Callable[[int, int], bool]
] = {  # whether window k, of passes of n windows, starts from a zero state
    "epoch": lambda k, n: k % n == 0,
    "always": lambda k, n: k == 0,
    "never": lambda k, n: True,
    "torch-rnn": lambda k, n: k == 0 or k % n == n - 1,
}


class Windows(Source):
    """Truncated BPTT: consecutive windows of `window` steps. The state crosses their boundaries, the gradient is cut there.

    x (L, N, ...), y (L, N, ...): N streams of L steps; or (L, ...) for a single one. Windows are views, (T, N, ...). A last
    shorter window is dropped unless `keep_last`. `carry`: the state goes on from window to window of an "epoch" and is zero at
    the first of each pass; or "always", zero at the very first only; or "never", zero at each; or as in "torch-rnn", which
    sets it to zero one window early, before the last of each pass. Raises ValueError for x and y of different length or
    shorter than a window, and for another carry.

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
        carry: str = "epoch",
        keep_last: bool = False,
    ):
        self.x, self.y, self.window, self.carry = (
            np.asarray(x),
            np.asarray(y),
            checks.size(window, "window"),
            carry,
        )
        if carry not in CARRIES:
            raise ValueError(f"carry must be one of {', '.join(CARRIES)}, got {carry!r}")
        if self.x.ndim < 1 or self.y.ndim < 1 or len(self.x) != len(self.y):
            raise ValueError(
                f"x and y must have the same number of steps, got shapes {self.x.shape} and {self.y.shape}"
            )
        L = len(self.x)
        least = 1 if keep_last else window
        if len(self.x) < least:
            raise ValueError(f"x must have at least {least} steps for windows of {window}, got {L}")
        self.steps = L if keep_last else L - L % window  # steps of a pass

    def __len__(self) -> int:
        return -(-self.steps // self.window)

    @property
    def cuts(self) -> tuple[int, ...]:
        """The steps of x before which the gradient is cut and the state carried."""
        return tuple(range(self.window, self.steps, self.window))

    def batch(self, k: int) -> Batch:
        """Window `k`, counted over all passes."""
        start = k % len(self) * self.window
        part = slice(start, min(start + self.window, self.steps))
        x, y = self.x[part], self.y[part]
        return Batch(x, y, None, not CARRIES[self.carry](k, len(self)), y.size)


class Shuffled(Source):
    """Batches of `N` things, `batch` at a time, in a new order each pass that follows from the seed and the pass's number."""

    def __init__(self, N: int, batch: int, rng: Any, keep_last: bool):
        self.N, self.size, self.keep_last = N, checks.size(batch, "batch"), keep_last
        least = 1 if keep_last else batch
        if least > N:
            raise ValueError(
                f"x must have at least {least} sequences for batches of {batch}, got {N}"
            )
        self.seed = None if rng is None else int(checks.generator(rng).integers(2**63))
        self._order: tuple[int, np.ndarray] = (
            -1,
            np.arange(N),
        )  # of which pass, and the order itself

    def __len__(self) -> int:
        return -(-self.N // self.size) if self.keep_last else self.N // self.size

    def order(self, number: int) -> np.ndarray:
        """The sequences (N,) in the order of pass `number`."""
        if self.seed is not None and self._order[0] != number:
            self._order = number, np.random.default_rng([self.seed, number]).permutation(self.N)
        return self._order[1]

    def chosen(self, k: int) -> np.ndarray:
        """The sequences of batch `k`, counted over all passes."""
        number, place = divmod(k, len(self))
        return self.order(number)[place * self.size : (place + 1) * self.size]


class Batches(Shuffled):
    """Independent sequences, `batch` at a time, in a new random order each pass; the state starts from zero each time.

    x (T, N, ...), y (T, N, ...); y (N, ...) with `per_sequence`, one answer for each sequence. `lengths` (N,). `rng`: a
    seed or numpy Generator, from which one number is drawn: the order of each pass follows from that and the number of the
    pass. None keeps the order. A last smaller batch is dropped unless `keep_last`. Raises ValueError for shapes.

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
        self.x, self.y, self.per_sequence = np.asarray(x), np.asarray(y), per_sequence
        if self.x.ndim < 2:
            raise ValueError(f"x must be (T, N, ...), got {self.x.shape}")
        T, N = self.x.shape[:2]
        found = self.y.shape[:1] if per_sequence else self.y.shape[:2]
        if found != ((N,) if per_sequence else (T, N)):
            words = (
                f"(N, ...) with N = {N}" if per_sequence else f"(T, N, ...) with T, N = {T}, {N}"
            )
            raise ValueError(f"y must be {words}, got {self.y.shape}")
        super().__init__(N, batch, rng, keep_last)
        self.lengths = checks.sequence_lengths(lengths, T, N)

    def batch(self, k: int) -> Batch:
        """Batch `k`, counted over all passes."""
        chosen = self.chosen(k)
        x, y = self.x.take(chosen, axis=1), self.y.take(chosen, axis=0 if self.per_sequence else 1)
        lengths = None if self.lengths is None else self.lengths[chosen]
        if lengths is None:
            weight = y.size
        else:
            per_entry = y[:1].size if self.per_sequence else y[:1, :1].size
            weight = (
                int(np.count_nonzero(lengths) if self.per_sequence else lengths.sum()) * per_entry
            )
        return Batch(x, y, lengths, False, weight)


class Pairs(Shuffled):
    """Sources and the sequences to be made of them, for `Seq2Seq`: `batch` at a time, in a new random order each pass.

    `sources`: a list of arrays (S_i, ...), or vectors (N, K). `targets`: a list of ids (T_i,), with the end token where there
    is one. The decoder reads `start` and then all but the last of them: teacher forcing. `rng`, `keep_last` as for `Batches`.
    Raises ValueError for lists that differ in length and for empty targets.

    >>> pairs = Pairs([np.arange(3), np.arange(5)], [np.array([4, 1]), np.array([2, 3, 1])], 2, None, start=0)
    >>> batch = pairs.batch(0)
    >>> batch.x.target.T.tolist(), batch.targets.T.tolist(), batch.lengths
    ([[0, 4, 0], [0, 2, 3]], [[4, 1, 0], [2, 3, 1]], Pair(source=array([3, 5]), target=array([2, 3])))
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
        if len(sources) != len(targets):
            raise ValueError(
                f"sources and targets must be as many, got {len(sources)} and {len(targets)}"
            )
        for n, target in enumerate(targets):
            if len(target) == 0:
                raise ValueError(f"targets must have at least one step each, got none in {n}")
        super().__init__(len(sources), batch, rng, keep_last)
        self.sources, self.targets, self.start = sources, targets, start

    def batch(self, k: int) -> Batch:
        """Batch `k`, counted over all passes."""
        chosen = self.chosen(k)
        if isinstance(self.sources, np.ndarray):
            source, inside = self.sources[chosen], None
        else:
            source, inside, _ = ragged.pad_sequences(
                [self.sources[n] for n in chosen], None, "sources"
            )
        targets, outside, _ = ragged.pad_sequences(
            [self.targets[n] for n in chosen], None, "targets"
        )
        read = np.concatenate([np.full_like(targets[:1], self.start), targets[:-1]])
        read[np.arange(len(read))[:, None] >= outside] = 0
        return Batch(Pair(source, read), targets, Pair(inside, outside), False, int(outside.sum()))
