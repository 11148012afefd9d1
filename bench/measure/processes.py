"""Runs measurements in processes: OpenMP, XLA and others fix their thread count at import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

WAIT = 30  # seconds for a program to end after its last answer


def environment(threads: int, **variables: str) -> dict[str, str]:
    """Return environment variables that limit every engine to `threads` threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    out = os.environ | dict.fromkeys(names, str(threads)) | variables
    if threads == 1:
        # XLA has no setting for the thread count; this flag and the CPU affinity limit it to one.
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
        out["XLA_FLAGS"] = flags.strip()
    return out


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Limit the processes started here to `threads` processors, if the system supports it."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class ProcessFailed(Exception):
    """A process ended with an error; the message is the last line of its error output."""


def json_lines(
    arguments: list[str], threads: int, request: dict | None = None, **variables: str
) -> Iterator[dict]:
    """Run Python and yield the JSON lines that it writes; closing the iterator kills it.

    Raises ProcessFailed if the process ends with an error.
    """
    streams = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with tempfile.TemporaryFile("w+") as errors:
        with pinned(threads):
            child = subprocess.Popen(
                [sys.executable, *arguments],
                **streams,
                stderr=errors,
                env=environment(threads, **variables),
                text=True,
            )
        try:
            child.stdin.write(json.dumps(request))
            child.stdin.close()
            for line in child.stdout:
                yield json.loads(line)
            if child.wait():
                errors.seek(0)
                lines = errors.read().strip().splitlines()
                raise ProcessFailed(lines[-1] if lines else f"exit code {child.returncode}")
        finally:
            child.kill()
            child.wait()
            child.stdout.close()


@contextmanager
def conversation(command: list[str]) -> Iterator[Callable[..., Any]]:
    """Start a program that answers each line of JSON by one, and yield a function that asks it.

    The function raises ProcessFailed if the program ends without an answer. It ends with the block,
    and Ctrl-C does not reach it, because a launcher would print to standard output about it.
    """
    streams = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(
            command, **streams, stderr=errors, text=True, start_new_session=True
        )

        def ask(**question: Any) -> Any:
            with suppress(BrokenPipeError):
                child.stdin.write(json.dumps(question) + "\n")
                child.stdin.flush()
            said = []
            for line in child.stdout:
                with suppress(ValueError):
                    return json.loads(line)
                said.append(line.strip(" =\n"))
            code = child.wait()
            errors.seek(0)
            lines = [line.strip() for line in errors if line.strip()]
            raised = [line for line in lines if line.partition(":")[0].endswith("Error")]
            launcher = [line for line in said if line][:1]
            raise ProcessFailed((raised or lines or launcher or [f"exit code {code}"])[-1])

        try:
            yield ask
            child.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                child.wait(WAIT)
        finally:
            child.kill()
            child.wait()
            with suppress(BrokenPipeError):
                child.stdin.close()
            child.stdout.close()
