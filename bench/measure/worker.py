"""`python -m bench.measure.worker`: measures rows at one thread count.

It reads a JSON request from standard input and writes JSON lines: peaks, missing engines, rows.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict

from ..workloads.catalogue import find
from . import peaks
from .timing import Pace, measure


def answer(request: dict) -> Iterator[dict]:
    """Yield the measurements; peaks come first, before any engine has started threads."""
    threads = request["threads"]
    if request["peaks"]:
        yield {"peaks": peaks.measure(threads)}
    from ..engines import installed

    engines, missing = installed(threads)
    yield {"missing": missing}
    for name in request["names"]:
        yield {"row": asdict(measure(find(name), engines, Pace(*request["pace"]), threads))}


def main() -> None:
    """Answer one request; the parent handles Ctrl-C, and libraries print to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in answer(json.load(sys.stdin)):
        answers.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
