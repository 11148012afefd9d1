"""The sequences of a recorded batch that a page holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recurrent import checks

from ..reading.direction import Direction
from ..reading.models import lengths_of
from ..reading.steps import padded_steps
from .attention import Attention
from .run import LayerRun
from .says import Says
from .stack import Stack

# A page holds a whole batch of at most so many sequences, and bytes of their values.
MOST, BYTES = 16, 300_000


@dataclass(frozen=True)
class Shown:
    """Sequence `n` of the batch: a run of each layer, the output, the attention, the padding."""

    n: int
    runs: list[LayerRun]
    said: Says | None
    attention: Attention | None
    padded: list[int]


def count(stack: Stack, layer: int) -> int:
    """Return the number of sequences that a recurrent layer was recorded with."""
    y = stack.whole.layers[layer].y
    return y.shape[1] if y is not None and y.ndim == 3 else 1


def checked(sequence: int, N: int) -> int:
    """Return the number of a sequence; IndexError if there is none."""
    return checks.index(sequence, "sequence", N, ", the sequences of the recording")


def padding(stack: Stack, way: Direction, n: int, T: int) -> list[int]:
    """Return the steps of sequence n that are padding for a recurrent layer."""
    place = stack.first + stack.model.layers.index(way.layer)
    return sorted(padded_steps(lengths_of(stack.whole, way.layer.owner, place), n, T))


def held(read: Callable[[int], Shown], first: int, N: int) -> list[Shown]:
    """Return the sequences of a page, with the same limits of their scales; `first` alone if large.

    `read` reads one of the N sequences.
    """
    found = {first: read(first)}
    size = sum(run.nbytes for run in found[first].runs)
    if 1 < N <= MOST and N * size <= BYTES:
        found = {n: found.get(n) or read(n) for n in range(N)}
        drawn = found[first].attention
        if drawn is not None and not all(drawn.fits(one.attention) for one in found.values()):
            found = {first: found[first]}
    batch = list(found.values())
    for runs in zip(*(one.runs for one in batch), strict=True):
        _share(runs)
    return batch


def _share(runs: Sequence[LayerRun]) -> None:
    """Give the runs of one layer the same limits."""
    limits = {name: max(run.limits[name] for run in runs) for name in runs[0].limits}
    for run in runs:
        run.limits = limits
