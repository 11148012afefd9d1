"""Runs a program that may hang, write without end or write nothing that is useful."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time

PIECE = 1 << 16  # bytes read or written at once: the size of a pipe
FIRST_WORDS = 1 << 16  # bytes of its messages that are kept


class ProgramError(Exception):
    """A program could not be started, took too long, wrote too much or failed."""


def run_program(command: list[str], data: bytes, seconds: float, most: int) -> bytes:
    """Return what a program writes when it reads `data`.

    Raises ProgramError after `seconds`, past `most` bytes, or if the exit code is not 0. A program
    that is stopped ends with all that it started.
    """
    pipe, deadline = subprocess.PIPE, time.monotonic() + seconds
    try:
        process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
    except OSError as error:
        raise ProgramError(error.strerror or str(error)) from error
    with process:
        try:
            out, messages = _talk(process, data, deadline, most)
            process.wait(max(deadline - time.monotonic(), 0.1))
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, (TimeoutError, subprocess.TimeoutExpired)):
                raise ProgramError(f"it took more than {seconds:g} seconds") from None
            raise
    if process.returncode:
        lines = [s.strip() for s in messages.decode(errors="replace").splitlines() if s.strip()]
        raise ProgramError(lines[0] if lines else f"exit code {process.returncode}")
    return out


def _talk(process, data, deadline, most):
    """Write `data` to a process and read what it writes, both at once; return output, messages."""
    read = {process.stdout: bytearray(), process.stderr: bytearray()}
    left = memoryview(data)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdin, selectors.EVENT_WRITE)
        for stream in read:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(deadline - time.monotonic(), 0))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                stream = key.fileobj
                if stream is process.stdin:
                    try:
                        left = left[os.write(key.fd, left[:PIECE]) :]
                    except BrokenPipeError:  # it has read enough; its exit code tells the rest
                        left = left[:0]
                    ended = not left
                else:
                    piece = os.read(key.fd, PIECE)
                    ended = not piece
                    if stream is process.stdout or len(read[stream]) < FIRST_WORDS:
                        read[stream] += piece
                if ended:
                    selector.unregister(stream)
                    stream.close()
            if len(read[process.stdout]) > most:
                raise ProgramError(f"it wrote more than {most / 1e6:g} MB")
    return bytes(read[process.stdout]), bytes(read[process.stderr])
