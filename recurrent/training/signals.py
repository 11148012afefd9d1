"""Ctrl-C, SIGTERM and SIGHUP: each ends a program with one line and the exit code 128 + number.

This module imports nothing large, because it is the first that a program of this package imports.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# What a program says, by signal.
ENDINGS = {
    getattr(signal, name): words
    for name, words in {
        "SIGINT": "interrupted",
        "SIGTERM": "terminated",
        "SIGHUP": "hung up",
    }.items()
    if hasattr(signal, name)  # not every system has SIGHUP
}
RANKS = "PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK"  # where launchers of MPI put them
PROGRAMS = {"recurrent": "recurrent", "viz": "viz", "bench": "bench", "recurrent-viz": "viz"}


class Ended(KeyboardInterrupt):
    """A signal that ends the program, raised as Ctrl-C raises KeyboardInterrupt.

    Parameters
    ----------
    signum : int
        Number of the signal.
    done : str
        What the program has done: it follows the word "interrupted".
    """

    def __init__(self, signum: int, done: str = ""):
        super().__init__(signum)
        self.signum, self.done = signum, done


def raise_ended(signum: int, frame: object = None) -> None:
    """Raise `Ended`, as the handler of SIGTERM and SIGHUP does while a command runs."""
    raise Ended(signum)


@contextmanager
def raised() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt, SIGTERM and SIGHUP `Ended` in this context.

    A signal that is ignored, as `nohup` does, stays ignored, and a handler of the caller's own
    stays in place. Outside the main thread nothing changes.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {signum: signal.getsignal(signum) for signum in ENDINGS}
        before = {signum: handler for signum, handler in before.items() if handler in DEFAULTS}
    for signum in before:
        ctrl_c = signum == signal.SIGINT
        signal.signal(signum, signal.default_int_handler if ctrl_c else raise_ended)
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def rank() -> int:
    """Return the number that a launcher of MPI has given this process; 0 without one."""
    numbers = (os.environ.get(name, "") for name in RANKS)
    return next((int(number) for number in numbers if number.isdigit()), 0)


def _exit_during_imports():
    """Let the signals end the process at once if it is one of this package's programs.

    Nothing has begun while a program imports its modules, and an exception there would be printed
    with its traceback. A worker process of a program says nothing: the program does.
    """
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        return
    if _program() is None or threading.current_thread() is not threading.main_thread():
        return
    for signum in ENDINGS:
        if signal.getsignal(signum) in DEFAULTS:
            signal.signal(signum, _exit)


def _exit(signum, frame):
    """Print one line, of all processes of a launcher only the first, and exit at once."""
    with suppress(OSError):
        if rank() == 0:
            os.write(2, f"{_program()}: {ENDINGS[signum]}\n".encode())
    os._exit(128 + signum)


DEFAULTS = (signal.SIG_DFL, signal.default_int_handler, _exit)


def _program() -> str | None:
    """Return the name of the program of this package that Python was started for, or None."""
    started = Path(sys.argv[0] if sys.argv else "")
    if started.name == "-m":  # Python imports the package before its __main__
        options = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]
        return PROGRAMS.get(options[-1].removeprefix("-m"))
    name = started.parent.name if started.name == "__main__.py" else started.name
    return PROGRAMS.get(name)


_exit_during_imports()
