"""Many-to-many: read a strip of digits, column by column, without knowing where one ends (CTC)."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..data import Batches
from ..data.padding import pad_sequences
from ..layers import GRU, Linear
from ..losses import ctc
from ..losses.decoding import ctc_greedy_decode
from ..models.sequential import Sequential
from .base import Prediction, Split, Task

# Each digit by its columns: five numbers whose seven bits are dots, the lowest bit at the top.
DIGITS = (
    (62, 81, 73, 69, 62), (0, 66, 127, 64, 0), (66, 97, 81, 73, 70), (33, 65, 69, 75, 49),
    (24, 20, 18, 127, 16), (39, 69, 69, 69, 57), (60, 74, 73, 73, 48), (1, 113, 9, 5, 3),
    (54, 73, 73, 73, 54), (6, 73, 73, 41, 30),
)  # fmt: skip
HEIGHT, MOST, NOISE = 10, 5, 0.15
BLANK = 10  # a class after those of the digits
READING = partial(ctc, blank=BLANK)


def random_strip(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw digits side by side; return the columns (T, HEIGHT), each a row of the array.

    Each column of a digit comes once or twice, and each digit begins at another height. One to
    three empty columns lie between two of them. Noise is added to all.
    """
    columns = [np.zeros((rng.integers(1, 4), HEIGHT))]
    for label in labels:
        top = rng.integers(HEIGHT - 6)
        dots = (np.array(DIGITS[label])[:, None] >> np.arange(7)) & 1
        wide = np.repeat(dots, rng.integers(1, 3, 5), axis=0)
        columns.append(np.pad(wide, ((0, rng.integers(1, 4)), (top, HEIGHT - 7 - top))))
    strip = np.concatenate(columns)
    return (strip + NOISE * rng.standard_normal(strip.shape)).astype(np.float32)


def task(
    seed: int = 0, training: int = 4_000, validation: int = 500, held_out: int = 1_000
) -> Task:
    """Use a bidirectional GRU: a digit is known when all of its columns have been seen."""
    split, rng = Split.of(training, validation, held_out), np.random.default_rng(seed)
    labels = [rng.integers(0, 10, rng.integers(1, MOST + 1)) for _ in range(split.held_out.stop)]
    strips = [random_strip(row, rng) for row in labels]
    targets = pad_sequences(labels, value=-1, batch_first=True)[0]
    sizes, seeds = (32, validation, held_out), (seed, None, None)
    data = [
        Batches(strips[part], targets[part], batch, rng, per_sequence=True)
        for part, batch, rng in zip(split, sizes, seeds, strict=True)
    ]
    net = Sequential(GRU(HEIGHT, 32, bidirectional=True), Linear(64, 11), rng=seed)

    def predict(net: Sequential) -> list[Prediction]:
        y, _, _ = net.forward(strips[split.held_out])
        return [
            Prediction(f"{len(strip)} columns", text(right), text(found) or "nothing")
            for strip, right, found in zip(
                strips[split.held_out],
                labels[split.held_out],
                ctc_greedy_decode(y, blank=BLANK),
                strict=True,
            )
        ]

    example = strips[split.held_out.start][:, None], None
    return Task(net, *data, predict, example, loss=READING, updates=800, lr=2e-2)


def text(labels: np.ndarray) -> str:
    """Return labels as digits."""
    return "".join(map(str, labels))
