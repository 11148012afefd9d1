"""Lets the processes that share a training meet, add up vectors and agree on errors.

They exchange messages in pairs, of which each process makes the same sum, so that all of them have
equal bits after a meeting. The sums of W workers form one balanced binary tree: those of the ranks
0 and 1, of 2 and 3 and so on are added first.

R. Thakur, R. Rabenseifner and W. Gropp, "Optimization of collective communication operations in
MPICH" (2005): reduction by recursive halving, then gathering by recursive doubling.
"""

from __future__ import annotations

import builtins
import os
import platform
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..kernels.threads import get_num_threads, set_num_threads
from . import signals
from .lookout import lookout

TAG = 1803  # of all messages
SPIN = 1e-3  # seconds that a worker asks without a pause whether a message has come
PAUSE = 1e-3  # seconds of a pause at most; it grows with the time that has passed
GRACE = 5.0  # seconds that a worker waits for another one after a signal that tells it to end


class Meeting(NamedTuple):
    """Holds what all workers have told each other.

    Attributes
    ----------
    loss, weight, steps : float
        Sums over the workers.
    signum : int
        The number of a signal that told a worker to end; 0 if none has.
    """

    loss: float
    weight: float
    steps: float
    signum: int


class Workers:
    """Joins the processes of a communicator of MPI, or stands for this process alone.

    Every method but `fail` is called by all workers in the same order. A worker that has failed
    calls `fail` in place of the next one, whichever the others call: then all raise its error.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        The communicator, whose size is a power of two. None stands for this process alone.

    Raises
    ------
    TypeError, ValueError
        If it is no communicator, or of another size.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    size : int
        Number of processes.
    first : bool
        Whether this process is the one that prints, writes and validates.
    """

    def __init__(self, comm: Any = None):
        names = "Isend", "Irecv", "allgather", "rank"
        # MPI.COMM_NULL, of a process that Split leaves out, is false.
        if comm is not None and not (comm and all(hasattr(comm, name) for name in names)):
            raise TypeError(
                "comm must be a communicator of mpi4py, such as MPI.COMM_WORLD, got"
                f" {checks.shown(comm)}"
            )
        self.comm: Any = comm
        self.rank = 0 if comm is None else comm.rank
        self.size = 1 if comm is None else comm.size
        self.first = self.rank == 0
        if self.size & (self.size - 1):
            near = 1 << (self.size.bit_length() - 1)
            raise settled(
                ValueError(
                    "the number of processes must be a power of two, got"
                    f" {self.size}: start {near} or {2 * near}"
                )
            )
        self.ended: Callable[[], bool] = lambda: False  # whether a signal tells this worker to end
        self.grace = GRACE
        self._leave: Callable[[], None] = lambda: None
        self._distances = [1 << k for k in range((self.size - 1).bit_length())]
        self._buffer = np.empty(0)
        self._meeting = False  # whether a message is on its way

    @classmethod
    def of(cls, comm: Any) -> Workers:
        """Return the workers of a communicator; those that are given stay as they are."""
        return comm if isinstance(comm, cls) else cls(comm)

    def check_shards(self, shards: int) -> range:
        """Return the numbers of the shards of this worker; raise ValueError if they do not fit."""
        if shards % self.size:
            raise ValueError(
                f"shards must be at least the {self.size} processes that share them, got"
                f" {shards}: pass shards={self.size} or start fewer processes"
            )
        each = shards // self.size
        return range(self.rank * each, (self.rank + 1) * each)

    def meet(
        self, loss: float = 0.0, weight: float = 0.0, steps: float = 0.0, signum: int = 0
    ) -> Meeting:
        """Wait for all workers and add up what they say; raise the error of one that has failed."""
        if self.comm is None:
            return Meeting(loss, weight, steps, signum)
        numbers, failed = self._sum_up((loss, weight, steps), signum, False)
        if failed:
            self._raise(None)
        return numbers

    def any(self, said: bool) -> bool:
        """Return whether one of the workers says so."""
        return self.meet(said).loss > 0

    def fail(self, error: BaseException) -> None:
        """Tell the others about an error, and raise the one that all agree on."""
        if self.size > 1 and not is_settled(error):
            if self._meeting:  # the others wait for the rest of a message
                self.abort(error)
            self._sum_up((0.0, 0.0, 0.0), 0, True)
            self._raise(error)
        raise error

    @contextmanager
    def together(self) -> Iterator[None]:
        """Run a block on all workers: if it fails on one, all of them raise its error."""
        try:
            yield
            self.meet()
        except BaseException as error:
            if self.size == 1:
                raise
            self.fail(error)

    def add(self, vector: np.ndarray) -> None:
        """Replace a vector by the sum over the workers, in the order of the tree."""
        with self._exchanging():
            self._add(vector)

    def _add(self, vector: np.ndarray) -> None:
        """Exchange halves of a vector with the distances of the tree, and add them up."""
        low, high, spans = 0, len(vector), []
        half = (len(vector) + 1) // 2
        if self.size > 1 and (len(self._buffer), self._buffer.dtype) != (half, vector.dtype):
            self._buffer = np.empty(half, vector.dtype)
        for distance in self._distances:
            spans.append((low, high))
            middle = (low + high) // 2
            upper = bool(self.rank & distance)
            given = vector[low:middle] if upper else vector[middle:high]
            low, high = (middle, high) if upper else (low, middle)
            theirs = self._buffer[: high - low]
            self._swap(given, theirs, distance)
            vector[low:high] += theirs
        for distance, (first, last) in zip(self._distances[::-1], spans[::-1], strict=True):
            other = vector[high:last] if low == first else vector[first:low]
            self._swap(vector[low:high], other, distance)
            low, high = first, last

    def share(self, value: Any) -> list[Any]:
        """Return the values of all workers, by rank."""
        self.meet()
        return [value] if self.comm is None else self._gather(value)

    def check_equal(self, **facts: Any) -> None:
        """Raise ValueError unless these values are equal on all workers."""
        everyone = self.share(facts)
        for rank, other in enumerate(everyone):
            for name, value in other.items():
                if value != everyone[0][name]:
                    raise settled(
                        ValueError(
                            f"{name} must be the same on all ranks, but rank"
                            f" {rank} differs from rank 0: pass equal arguments on all of them, and"
                            " build models and data with the same seed"
                        )
                    )

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Share the cores of a machine among its workers, unless a number of threads is set."""
        before, cores = get_num_threads(), _cores()
        if self.size > 1:
            everyone = self.share((platform.node(), cores))
            host = everyone[self.rank][0]
            here = sum(other == host and bool(cores & shared) for other, shared in everyone)
            if "NUMBA_NUM_THREADS" not in os.environ and before == len(cores):
                set_num_threads(max(1, before // here))
        try:
            yield
        finally:
            set_num_threads(before)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Let a line say which worker was killed, if one is inside this context."""
        if self.size == 1:
            yield
            return
        with lookout(self.rank, self.share) as self._leave:
            yield

    def abort(self, error: BaseException) -> None:
        """Say what has failed on this worker and end all of them at once."""
        text, code = f"{type(error).__name__}: {error}", 1
        if isinstance(error, KeyboardInterrupt):
            signum = getattr(error, "signum", signal.SIGINT)
            text, code = signals.ENDINGS[signum], 128 + signum
            if not self.first:  # which ends all at once, if the signal has come to it too
                time.sleep(0.5)
        text = " ".join(text.split()).removesuffix(":")
        # One call, which the lines of other processes do not mix with.
        os.write(2, f"recurrent: rank {self.rank} of {self.size}: {text}\n".encode())
        self._leave()
        self.comm.Abort(code)
        os._exit(code)  # MPICH may return before it ends this process

    def _sum_up(
        self, numbers: tuple[float, ...], signum: int, failed: bool
    ) -> tuple[Meeting, bool]:
        """Add up numbers over the workers; return the sums, and whether one has failed."""
        with self._exchanging():
            own, theirs = np.array([*numbers, signum, failed]), np.empty(5)
            for distance in self._distances:
                self._swap(own, theirs, distance)
                own[:3] += theirs[:3]
                own[3:] = np.maximum(own[3:], theirs[3:])
            loss, weight, steps, signum, failed = own.tolist()
        return Meeting(loss, weight, steps, int(signum)), bool(failed)

    @contextmanager
    def _exchanging(self) -> Iterator[None]:
        """Note that the others wait for messages of this block until it ends without an error."""
        self._meeting = True
        yield
        self._meeting = False

    def _gather(self, value: Any) -> list[Any]:
        """Return the values of all workers, by rank."""
        with self._exchanging():
            return self.comm.allgather(value)

    def _raise(self, own: BaseException | None) -> None:
        """Raise the error that all workers agree on: of the first rank that has one."""
        everyone = self._gather(None if own is None else _told(own))
        found = [(rank, told) for rank, told in enumerate(everyone) if told is not None]
        # An interrupt is not the reason if another worker has an error.
        rank, told = min(found, key=lambda pair: pair[1][0] == KeyboardInterrupt.__name__)
        alike = len(found) == self.size and len({told for _, told in found}) == 1
        error: Any = own if alike or rank == self.rank else _untold(*told)
        if isinstance(error, Exception) and not alike:
            error.add_note(f"on rank {rank} of {self.size}")
        raise settled(error)

    def _swap(self, given: np.ndarray, taken: np.ndarray, distance: int) -> None:
        """Send an array to the worker at a distance of the tree, and receive one from it."""
        other = self.rank ^ distance
        left = [self.comm.Irecv(taken, other, TAG), self.comm.Isend(given, other, TAG)]
        began, told = time.perf_counter(), None
        while left := [request for request in left if not request.Test()]:
            now = time.perf_counter()
            if now - began < SPIN:
                os.sched_yield()
            else:
                time.sleep(min(PAUSE, (now - began) / 10))
            if self.ended():
                told = told or now
                if now - told > self.grace:
                    self.abort(TimeoutError(f"rank {other} does not answer"))


def settled(error: BaseException) -> Any:
    """Mark an error as one that all workers raise."""
    error.settled = True  # type: ignore[attr-defined]
    return error


def is_settled(error: BaseException) -> bool:
    """Return whether all workers raise this error, or one that it comes from."""
    return any(hasattr(one, "settled") for one in chain(error))


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, the one that it comes from, and so on."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _told(error: BaseException) -> tuple[str, str]:
    """Return the name and the text by which other workers know an error."""
    if isinstance(error, KeyboardInterrupt):
        return KeyboardInterrupt.__name__, ""
    return type(error).__name__, str(error)


def _untold(name: str, text: str) -> BaseException:
    """Return the error of another worker; a RuntimeError if Python has none of its name."""
    kind = getattr(builtins, name, None)
    if name == KeyboardInterrupt.__name__:
        return KeyboardInterrupt()
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(text)
        except TypeError:  # UnicodeDecodeError needs more
            pass
    return RuntimeError(f"{name}: {text}")


def _cores() -> frozenset[int]:
    """Return the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))
