"""Processes of their own: OpenMP, XLA and others read their number of threads once, when they are imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


def environment(threads: int, **more: str) -> dict[str, str]:
    """The variables that keep every engine to so many threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    out = os.environ | dict.fromkeys(names, str(threads)) | more
    if (
        threads == 1
    ):  # XLA reads no number of threads; this and the processors it may run on keep it to one
        out["XLA_FLAGS"] = (
            f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
        )
    return out


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Processes started here may run on as many processors as there are threads, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Failed(Exception):
    """A process that ended with an error; the message is the last line it wrote."""


def objects(
    arguments: list[str], threads: int, request: dict | None = None, **more: str
) -> Iterator[dict]:
    """The JSON lines that a Python writes, as they come; ends it if nobody wants more. Raises Failed."""
    streams = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with tempfile.TemporaryFile("w+") as errors:
        with pinned(threads):
            child = subprocess.Popen(
                [sys.executable, *arguments],
                **streams,
                stderr=errors,
                env=environment(threads, **more),
                text=True,
            )
        try:
            child.stdin.write(json.dumps(request))
            child.stdin.close()
            for line in child.stdout:
                yield json.loads(line)
            if child.wait():
                errors.seek(0)
                said = errors.read().strip().splitlines()
                raise Failed(said[-1] if said else f"it ended with {child.returncode}")
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
