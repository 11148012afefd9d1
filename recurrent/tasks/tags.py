"""Many-to-many: tag each character of a date in free form as day, month, year or none of them."""

from __future__ import annotations

import numpy as np

from ..charlm.text import Vocabulary
from ..data import Batches
from ..engine.ragged import pad_sequences
from ..layers import LSTM, Embedding, Linear
from ..models.sequential import Sequential
from .base import Prediction, Split, Task
from .dates import EXAMPLE, SOURCE
from .datestrings import random_dates

TAGS = Vocabulary.of("-DMY")


def task(
    seed: int = 0, training: int = 4_000, validation: int = 1_000, held_out: int = 1_000
) -> Task:
    """Use a bidirectional LSTM: a digit's tag depends on the characters before and after it."""
    split = Split.of(training, validation, held_out)
    dates = random_dates(split.held_out.stop, np.random.default_rng(seed))
    x, lengths, _ = pad_sequences([SOURCE.encode(text) for text, _, _ in dates], None)
    y = pad_sequences([TAGS.encode(tags) for _, _, tags in dates], None)[0]
    sizes, seeds = (64, validation, held_out), (seed, None, None)
    data = [
        Batches(x[:, part], y[:, part], batch, rng, lengths=lengths[part])
        for part, batch, rng in zip(split, sizes, seeds, strict=True)
    ]
    net = Sequential(
        Embedding(len(SOURCE), 32),
        LSTM(32, 48, bidirectional=True),
        Linear(96, len(TAGS)),
        rng=seed,
    )

    def predict(net: Sequential) -> list[Prediction]:
        examples = dates[split.held_out]
        y, _, _ = net.forward([SOURCE.encode(text) for text, _, _ in examples])
        return [
            Prediction(text, tags, TAGS.decode(logits.argmax(axis=1)))
            for (text, _, tags), logits in zip(examples, y, strict=True)
        ]

    example = SOURCE.encode(EXAMPLE[0])[:, None], None
    return Task(net, *data, predict, example, updates=800, lr=1e-2)
