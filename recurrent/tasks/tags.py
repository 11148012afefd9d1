"""Many-to-many, aligned: each character of a date in free form is of the day, the month, the year or none of them."""

from __future__ import annotations

import numpy as np

from ..charlm.text import Vocabulary
from ..data import Batches
from ..engine.ragged import pad_sequences
from ..layers import LSTM, Embedding, Linear
from ..models.sequential import Sequential
from .dates import EXAMPLE, READS
from .datestrings import draw
from .task import Answer, Parts, Task

TAGS = Vocabulary.of("-DMY")


def task(seed: int = 0, learn: int = 4_000, validate: int = 1_000, hold: int = 1_000) -> Task:
    """What a number is depends on what stands before it and on what comes after it: both directions read."""
    split = Parts.of(learn, validate, hold)
    found = draw(split.held_out.stop, np.random.default_rng(seed))
    x, lengths, _ = pad_sequences([READS.encode(text) for text, _, _ in found], None)
    y = pad_sequences([TAGS.encode(tags) for _, _, tags in found], None)[0]
    parts = [
        Batches(x[:, which], y[:, which], batch, rng, lengths=lengths[which])
        for which, batch, rng in zip(split, (64, validate, hold), (seed, None, None), strict=True)
    ]
    net = Sequential(
        Embedding(len(READS), 32), LSTM(32, 48, bidirectional=True), Linear(96, len(TAGS)), rng=seed
    )

    def answers(net: Sequential) -> list[Answer]:
        held = found[split.held_out]
        y, _, _ = net.forward([READS.encode(text) for text, _, _ in held])
        return [
            Answer(t, tags, TAGS.decode(each.argmax(axis=1)))
            for (t, _, tags), each in zip(held, y, strict=True)
        ]

    example = READS.encode(EXAMPLE[0])[:, None], None
    return Task(net, *parts, answers, example, updates=800, lr=1e-2)
