"""Models, without a measurement, a training that up to 1,024 workers share."""

from __future__ import annotations

import math
import statistics
from typing import NamedTuple

from recurrent.charlm.recipe import Recipe

from ..measure.exchange import Measured, Training
from ..measure.rank import SYMBOLS
from . import format
from .sheet import Sheet

WORKERS = tuple(2**k for k in range(11))
STRONG = 1024  # sequences of a batch of fixed size


class Terms(NamedTuple):
    """Holds the costs of an exchange.

    Attributes
    ----------
    latency : float
        Seconds of a message.
    bandwidth : float
        Bytes per second that a worker sends, and receives at the same time.
    adding : float
        Bytes per second of adding up; infinite if `bandwidth` has that too.
    source : str
        Where the terms come from.
    """

    name: str
    latency: float
    bandwidth: float
    adding: float
    source: str


class Point(NamedTuple):
    """Holds the share of the exchange and the efficiency of a number of workers."""

    exchange: float  # seconds
    share: float  # of the exchange in an update
    efficiency: float  # of each worker, compared with one that works alone


# What others have measured between two machines, one way.
NETWORKS = {
    "10 GbE, TCP": (
        48e-6,
        1.19e9,
        "96 µs for the round trip and 95 % of 10 Gb/s between two virtual machines of AWS,"
        " <http://blogs.scalablelogic.com/2014/01/enhanced-networking-in-aws-cloud-part-2.html>",
    ),
    "100 Gb, RDMA": (
        1.05e-6,
        12.1e9,
        "1.05 µs and 96.8 Gb/s between two virtual machines of Azure's HC series with EDR"
        " InfiniBand, <https://github.com/MicrosoftDocs/azure-docs/blob/"
        "0e7051719bfb7d081e47074f68568e26614af05b/articles/virtual-machines/workloads/hpc/"
        "hc-series-performance.md>",
    ),
}


def exchange_seconds(terms: Terms, size: int, workers: int) -> float:
    """Return the seconds of one exchange of a gradient of so many bytes.

    A meeting takes log2 W messages. The sum takes 2 log2 W, by recursive halving and doubling: in
    these a worker sends and receives 2 (W - 1) / W of the bytes, and adds up (W - 1) / W of them.

    >>> terms = Terms("a network", 1e-6, 1e9, math.inf, "")
    >>> exchange_seconds(terms, 1_000_000, 1), round(exchange_seconds(terms, 1_000_000, 4), 9)
    (0.0, 0.001506)
    """
    messages, part = 3 * math.log2(workers), (workers - 1) / workers
    return messages * terms.latency + part * size * (2 / terms.bandwidth + 1 / terms.adding)


def scaling(terms: Terms, size: int, whole: float, own: float, workers: int) -> Point:
    """Return what workers reach that compute for `own` seconds each and then exchange.

    One worker alone would compute for `whole` seconds.

    >>> scaling(Terms("a network", 1e-6, 1e9, math.inf, ""), 500_000, 0.1, 0.05, 2).efficiency
    0.9900...
    """
    exchange = exchange_seconds(terms, size, workers)
    return Point(exchange, exchange / (own + exchange), whole / (workers * (own + exchange)))


def computing(training: Training, batch: int, sequences: float) -> float:
    """Return the seconds in which one process computes an update of so many sequences.

    It is the line through the measured times of a batch and of half of it.
    """
    full, half = training.median("a"), training.median("d")
    each = (full - half) / (batch - batch // 2)
    fixed = full - batch * each
    if fixed < 0:  # within the noise
        fixed, each = 0.0, full / batch
    return fixed + each * sequences


def terms_of(measured: Measured, size: int) -> list[Terms]:
    """Return the terms of the measured exchange of a gradient of this size, and of networks.

    The latency is that of the line through all sizes; the bandwidth is that of this size.
    """
    line, W = measured.line, measured.processes
    latency = max(line.seconds, 0.0) / (3 * math.log2(W))
    seconds = statistics.median(measured.exchanges[size]) - 3 * math.log2(W) * latency
    rate = (size / seconds if seconds > 0 else line.rate) * 2 * (W - 1) / W
    words = f"{format.measured(latency)} a message and {rate / 1e9:.3g} GB/s, adding up included"
    own = Terms("this machine", latency, rate, math.inf, f"measured: {words}")
    adding = size / statistics.median(measured.additions[size])
    found = [own]
    for name, (seconds, bandwidth, source) in NETWORKS.items():
        found.append(Terms(name, latency + seconds, bandwidth, adding, source))
    return found


def tables(measured: Measured, training: Training) -> list[Sheet]:
    """Return the tables of weak and of strong scaling of a model."""
    batch, size = Recipe().batch, training.size
    terms = terms_of(measured, size)
    own, adding = computing(training, batch, batch), terms[-1].adding
    weak, strong = [], []
    for W in WORKERS:
        grown = [scaling(t, size, W * own, own, W) for t in terms]
        cut = [
            scaling(
                t, size, computing(training, batch, STRONG),
                computing(training, batch, STRONG / W), W,
            )
            for t in terms
        ]  # fmt: skip
        for rows, points in ((weak, grown), (strong, cut)):
            cells = [
                (_seconds(p.exchange), format.percent(p.share, 1),
                 format.percent(p.efficiency, 1))
                for p in points
            ]  # fmt: skip
            rows.append((f"{W:,}", *(cell for three in cells for cell in three)))
    headings = ["workers"]
    for t in terms:
        headings += [f"{t.name}: exchange", "share", "efficiency"]
    name = f"2 x {training.hidden}, {format.measured(size, 'bytes')}"
    notes = [f"{t.name}: {t.source}." for t in terms]
    notes.append(
        "Assumed: the line holds for all batches; the workers of this machine's terms exchange as"
        f" its {measured.processes} processes do; a message over a network also takes what one"
        " takes on this machine, where it is the work of the program; adding up goes at"
        f" {adding / 1e9:.3g} GB/s, as here; no worker waits for a slower one; all pairs exchange"
        " at full rate at the same time; pauses of the waiting loop, at most a tenth of a wait,"
        " cost nothing; nothing overlaps."
    )
    first, second = computing(training, batch, 0), computing(training, batch, 1)
    line = (
        f"Computing: {_seconds(first)} an update and {_seconds(second - first)} for each of its"
        f" sequences of {Recipe().seq} of {len(SYMBOLS)} symbols: the line through (a) and (d), on"
        " a worker that is a machine like this one."
    )
    return [
        Sheet(
            f"Model, not a measurement: weak scaling, {batch} sequences a worker ({name})",
            headings, weak, [line, *notes],
        ),
        Sheet(
            f"Model, not a measurement: strong scaling, {STRONG:,} sequences in all ({name})",
            headings, strong,
            ["What the exchange does not take is computing that does not shrink with the batch."],
        ),
    ]  # fmt: skip


def _seconds(value: float) -> str:
    """Format seconds, of which there may be none."""
    return format.measured(value) if value else "0"
