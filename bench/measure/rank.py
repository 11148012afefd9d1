"""`python -m bench.measure.rank`: measures what processes that share a training spend on it.

The first process reads questions from standard input, a line of JSON each, and writes an answer to
each. Under `mpiexec`, with the argument `shared`, all processes measure; without, one does alone.
"""

from __future__ import annotations

import json
import os
import signal
import string
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from recurrent import CharLM, get_num_threads
from recurrent.training.loop import digest
from recurrent.training.workers import Meeting, Workers

SYMBOLS = string.ascii_letters + string.digits + " .\n"  # 65, as in many texts of English
LENGTH = 50_000  # symbols of the text
TRIALS, LEAST, MOST = 3, 5, 5000  # rounds: to warm up, and of a measurement
NAP = 0.01  # seconds between two looks for a question, which take no time of the other processes
TAG = 1  # of questions


class Timed(Workers):
    """Workers that time their meetings and sums.

    Attributes
    ----------
    sums : list of (float, float, float)
        Of each sum: when it ended, the seconds of all meetings since the one before, and its own.
    """

    def __init__(self, comm: Any = None):
        super().__init__(comm)
        self.sums: list[tuple[float, float, float]] = []
        self._met = 0.0

    def meet(self, *args: Any, **options: Any) -> Meeting:
        """Meet, and add up the time."""
        began = time.perf_counter()
        try:
            return super().meet(*args, **options)
        finally:
            self._met += time.perf_counter() - began

    def add(self, vector: np.ndarray) -> None:
        """Add up a vector, and keep the time."""
        began = time.perf_counter()
        super().add(vector)
        ended = time.perf_counter()
        self.sums.append((ended, self._met, ended - began))
        self._met = 0.0


class Rank:
    """One of the processes: each method is a question, which all processes answer together."""

    def __init__(self, comm: Any = None):
        self.workers, self.timed = Workers(comm), Timed(comm)
        self.models: dict[tuple[int, ...], CharLM] = {}

    def threads(self) -> list[int]:
        """Return the number of threads of each process."""
        with self.workers.threads():
            return self.workers.share(get_num_threads())

    def meetings(self, seconds: float) -> list[float]:
        """Return the seconds of meetings alone, of the slowest process."""
        return self._rounds(lambda: None, seconds)

    def exchanges(self, size: int, seconds: float) -> list[float]:
        """Return the seconds of a meeting and the sum of float32 vectors of so many bytes."""
        vector = np.zeros(size // 4, np.float32)
        return self._rounds(lambda: self.workers.add(vector), seconds)

    def additions(self, size: int, seconds: float) -> list[float]:
        """Return the seconds of adding so many bytes of float32 in memory, in all processes."""
        to, of = np.zeros((2, size // 4), np.float32)
        return self._rounds(lambda: np.add(to, of, out=to), seconds)

    def train(self, hidden: int, shards: int, batch: int, updates: int) -> dict[str, Any]:
        """Go on training a character model; return the times of updates, and digests.

        The seconds of an update are means over the processes. The shortest meeting of all processes
        is the meeting; the longest is as much longer as the process that is ready first waits.
        """
        key = hidden, shards, batch
        if key not in self.models:
            self.models[key] = CharLM(SYMBOLS, hidden=hidden)
        lm = self.models[key]
        text = "".join(np.random.default_rng(0).choice(list(SYMBOLS), LENGTH))
        done, workers = lm.history.updates, self.timed
        workers.sums.clear()
        # One more, because the time of an update is that from the sum before to its own.
        lm.train(
            text, validation=0, batch=batch, shards=shards, updates=done + updates + 1,
            resume=done > 0, comm=workers, progress=False,
        )  # fmt: skip
        ends, meetings, sums = np.array(workers.sums).T
        everyone = np.array(self.workers.share([np.diff(ends), meetings[1:], sums[1:]]))
        seconds, meetings, sums = everyone.swapaxes(0, 1)
        return {
            "bytes": lm.model.flat.nbytes,
            "seconds": seconds.mean(0).tolist(),
            "meeting": meetings.min(0).tolist(),
            "waiting": (meetings.max(0) - meetings.min(0)).tolist(),
            "sum": sums.max(0).tolist(),
            "bits": [digest(lm.model.flat), lm.history.losses[done:]],
        }

    def _rounds(self, work: Any, seconds: float) -> list[float]:
        """Return the times of a meeting and of some work after it, all processes at once.

        The time of a round is that of the slowest process.
        """

        def once() -> float:
            self.workers.meet()
            began = time.perf_counter()
            self.workers.meet()
            work()
            return time.perf_counter() - began

        slowest = max(self.workers.share([once() for _ in range(TRIALS)][-1]))
        count = int(min(max(seconds / slowest, LEAST), MOST))
        return np.max(self.workers.share([once() for _ in range(count)]), axis=0).tolist()


def questions(comm: Any) -> Iterator[dict[str, Any]]:
    """Yield the questions that the first process reads, on all processes."""
    while True:
        if comm is None or comm.rank == 0:
            line = sys.stdin.readline()
            for other in range(1, 1 if comm is None else comm.size):
                comm.send(line, other, TAG)
        else:
            while not comm.Iprobe(0, TAG):
                time.sleep(NAP)
            line = comm.recv(source=0, tag=TAG)
        if not line:
            return
        yield json.loads(line)


def main() -> None:
    """Answer questions; the parent handles Ctrl-C, and libraries print to standard error."""
    comm = None
    if sys.argv[1:] == ["shared"]:
        from mpi4py import MPI  # type: ignore[import-not-found,import-untyped]

        comm = MPI.COMM_WORLD
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    rank = Rank(comm)
    for question in questions(comm):
        found = getattr(rank, question.pop("measure"))(**question)
        if rank.workers.first:
            answers.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
