"""Says which of the processes of a training was killed.

Nobody else can: a process that is killed says nothing, and `mpiexec` of MPICH kills all others
within milliseconds and often names one of these. So a small process beside them reads a pipe of
each. The kernel closes the pipe of a process before the launcher notices its end, so the first one
that ends is that of the process which was killed.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

# Runs without this package and its imports. Its arguments are the pipes, by rank.
PROGRAM = """
import os, select, sys
first = select.epoll()
try:
    pipes = [os.open(path, os.O_RDONLY) for path in sys.argv[1:]]
    for pipe in pipes:
        first.register(pipe, select.EPOLLIN)
except OSError:  # the processes have ended
    sys.exit()
pipe = first.poll(maxevents=1)[0][0]
if not os.read(pipe, 1):
    sys.stderr.write(f"recurrent: rank {pipes.index(pipe)} of {len(pipes)} was killed\\n")
"""


@contextmanager
def lookout(rank: int, share: Callable[[Any], list[Any]]) -> Iterator[Callable[[], None]]:
    """Print a line to standard error if one of the processes is killed inside this context.

    All processes enter it together. Nothing happens unless they are on one machine with Linux.

    Parameters
    ----------
    rank : int
        Number of this process, from 0.
    share : callable
        Returns the values of all processes, by rank.

    Yields
    ------
    callable
        Tells the small process that the processes end by themselves from now on.
    """
    pipe, watching = os.pipe(), None

    def leave() -> None:
        os.write(pipe[1], b".")

    try:
        pipes = share((platform.node(), f"/proc/{os.getpid()}/fd/{pipe[0]}"))
        if rank == 0 and sys.platform == "linux" and len({host for host, _ in pipes}) == 1:
            watching = _watch([path for _, path in pipes])
        yield leave
    finally:
        leave()
        if watching is not None:
            watching.kill()
            watching.wait()
        for end in pipe:
            os.close(end)


def _watch(pipes: list[str]) -> subprocess.Popen | None:
    """Start the small process, in a session of its own that the launcher does not end."""
    with suppress(OSError):
        return subprocess.Popen(
            [sys.executable, "-IS", "-c", PROGRAM, *pipes],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    return None
