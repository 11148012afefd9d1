"""Standard output and error of a command, which may be closed, full or a pipe without a reader.

What cannot be printed on standard error is dropped. An error of standard output ends a command that
only prints. It never ends a command that trains: that one calls `keep_going`, ends its work, and
the error is reported at the end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Output:
    """A stream whose errors are remembered; after the first one it discards what is written.

    Parameters
    ----------
    stream : text file
        The stream.
    name : str
        Its name in the error.
    raising : bool
        Whether to raise the first error.
    """

    def __init__(self, stream: Any, name: str, raising: bool):
        self.stream, self.name, self.raising = stream, name, raising
        self.error: OSError | None = None

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write text; return its length."""
        self._try(self.stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Write what is in the buffer."""
        self._try(self.stream.flush)

    def _try(self, function, *arguments):
        try:
            function(*arguments)
        except OSError as error:
            if self.error is None:
                error.filename = self.name
                self.error = error
            # The buffer still holds the text, and the interpreter flushes it once more at exit.
            with suppress(OSError, ValueError):
                _discard(self.stream.fileno())
            if self.raising:
                raise


@contextmanager
def guarded() -> Iterator[Output]:
    """Replace both streams by an `Output` in this context; yields that of standard output."""
    for number in range(3):
        _open_closed(number)
    before = sys.stdout, sys.stderr
    out = Output(_text(before[0], 1), "standard output", raising=True)
    with suppress(AttributeError):  # for characters that the terminal's encoding lacks
        out.stream.reconfigure(errors="replace")
    sys.stdout = out
    sys.stderr = Output(_text(before[1], 2), "standard error", raising=False)
    try:
        yield out
    finally:
        sys.stdout, sys.stderr = before


def keep_going() -> None:
    """Let errors of standard output wait until the command has done its work."""
    if isinstance(sys.stdout, Output):
        sys.stdout.raising = False


def _text(stream, number):
    """Return a stream, or for None, as Python calls a closed one, a stream that discards."""
    return open(number, "w", closefd=False) if stream is None else stream


def _open_closed(number):
    """Let a closed file descriptor discard what is written: the next file would get its number."""
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)


def _discard(number):
    """Let a file descriptor discard what is written."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)
