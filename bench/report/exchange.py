"""Writes the tables of the exchange of gradients: measured, and from the model of scaling."""

from __future__ import annotations

import statistics
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from ..measure.exchange import Measured, Training, kinds
from ..measure.machine import processors
from ..results import Run
from . import format, markdown, scaling, sheet
from .sheet import Sheet

SPREAD = "10 % to 90 %"


def tables(measured: Measured) -> list[Sheet]:
    """Return all tables."""
    found = [_exchanges(measured)]
    for training in measured.trainings:
        found += _updates(measured, training)
    for training in measured.trainings:
        if not training.error:
            found += scaling.tables(measured, training)
    return found


def text(sheets: list[Sheet], run: Run) -> str:
    """Return the tables in Markdown, under the machine, the versions and the command."""
    head = f"# Exchange of gradients\n\n{markdown.circumstances(run)}"
    return f"{head}\n\n{sheet.text(sheets)}\n"


def versions() -> dict[str, str]:
    """Return the versions of what an exchange is made of."""
    found = {"python": sys.version.split()[0]}
    for name in ("numpy", "numba", "mpi4py", "mpich", "openmpi"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _exchanges(measured: Measured) -> Sheet:
    """Return the table of exchanges by size."""
    W, line = measured.processes, measured.line
    rows = [("a meeting alone", *_times(measured.meetings), "", "")]
    for size, seconds in measured.exchanges.items():
        rate = f"{size / statistics.median(seconds) / 1e9:.3g}"
        due = format.measured(line.seconds + size / line.rate)
        rows.append((format.measured(size, "bytes"), *_times(seconds), rate, due))
    notes = [
        "An exchange is a meeting and the sum of a gradient, as in each update. A round takes the"
        " time of its slowest process.",
        f"Line: {format.measured(line.seconds)} + bytes / ({line.rate / 1e9:.3g} GB/s), which"
        f" misses the medians by {format.percent(line.error)} at most. The first term is log2 W"
        " messages of the meeting and 2 log2 W of the sum. In the second a process sends and"
        f" receives 2 (W - 1) / W of the bytes and adds up (W - 1) / W; W = {W}.",
    ]
    if measured.oversubscribed:
        notes.append(f"Oversubscribed: {W} processes share {processors()} processors.")
    title = f"An exchange of {W} processes"
    return Sheet(title + _mark(measured), ["gradient", "time", SPREAD, "GB/s", "line"], rows, notes)


def _updates(measured: Measured, training: Training) -> list[Sheet]:
    """Return the tables of the updates of a model."""
    ways, W = kinds(measured.processes), measured.processes
    title = f"An update of the 2 x {training.hidden} character model{_mark(measured)}"
    if training.error:
        return [Sheet(title, ["error"], [(training.error,)], [])]
    rows, first = [], training.median("a")
    for letter, way in ways.items():
        threads = " + ".join(map(str, measured.threads)) if way.shared else str(measured.alone)
        ratio = format.signed(first / training.median(letter)) if letter in "bc" else format.NONE
        times = _times(training.times[letter]["seconds"])
        cells = (threads, str(way.shards), str(way.batch), *times, ratio)
        rows.append((f"({letter}) {way.name}", *cells))
    notes = ["(b) and (c) have equal parameters and losses, bit for bit, after every round."]
    for letter in "ab":
        factor = training.median("c") / training.median(letter)
        words = f"{factor:.3f} times as long as" if factor > 1 else f"{factor:.3f} of the time of"
        notes.append(f"{W} processes need {words} ({letter}) {ways[letter].name}.")
    headings = ["", "threads", "shards", "batch", "update", SPREAD, "speed to (a)"]
    return [Sheet(title, headings, rows, notes), _shares(measured, training, title)]


def _shares(measured: Measured, training: Training, title: str) -> Sheet:
    """Return the table of what an update of several processes spends on the exchange."""
    seconds, rows = training.times["c"]["seconds"], []
    words = {
        "meeting": "meetings, of the last process to come",
        "sum": "sum of the gradients, of the slowest process",
        "waiting": "waiting of the first process to come for the last",
    }
    for what, name in words.items():
        values = training.times["c"][what]
        share = np.median(np.array(values) / np.array(seconds))
        rows.append((name, *_times(values), format.percent(float(share), 2)))
    headings = ["part of (c)", "time", SPREAD, "share of the update"]
    alone = statistics.median(measured.exchanges[training.size])
    notes = [
        "The exchange is the meetings and the sum; the waiting is for a process that computes"
        " longer. A process that has waited for long pauses and is late to the sum.",
        f"An exchange of these {format.measured(training.size, 'bytes')} without a training, where"
        f" nobody waits, takes {format.measured(alone)}.",
    ]
    return Sheet(f"{title}: the exchange of (c)", headings, rows, notes)


def _times(seconds: list[float]) -> tuple[str, str]:
    """Format the median of times, and their 10th to 90th percentile in its unit."""
    middle = statistics.median(seconds)
    scale, _ = format.unit(middle)
    low, high = np.percentile(seconds, [10, 90])
    return format.measured(middle), f"{format.number(low / scale)}–{format.number(high / scale)}"


def _mark(measured: Measured) -> str:
    """Return a mark for a title if processes share processors."""
    return " (oversubscribed)" if measured.oversubscribed else ""
