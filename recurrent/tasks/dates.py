"""Encoder-decoder: convert dates in free form to ISO 8601, with attention."""

from __future__ import annotations

import string

import numpy as np

from ..charlm.text import Vocabulary
from ..data import Pairs
from ..layers import LSTM, Attention, Embedding, Linear
from ..models.seq2seq import Seq2Seq
from ..models.sequential import Sequential
from .base import Prediction, Split, Task
from .datestrings import random_dates

SOURCE = Vocabulary.of(string.ascii_letters + string.digits + " ,./-'")
TARGET = Vocabulary.of("0123456789-" + ":;")  # ":" is the start symbol, ";" the end
START, END = (int(k) for k in TARGET.encode(":;"))

EXAMPLE = "Friday the 5th of March 2021", "2021-03-05"


def model(seed: int = 0, hidden: int = 64) -> Seq2Seq:
    """Build an encoder of two bidirectional LSTMs, and a decoder with twice the hidden size."""
    wide = 2 * hidden
    encoder = Sequential(
        Embedding(len(SOURCE), 32),
        LSTM(32, hidden, bidirectional=True),
        LSTM(wide, hidden, bidirectional=True),
        rng=seed,
    )
    decoder = Sequential(
        Embedding(len(TARGET), 32),
        LSTM(32, wide),
        Attention(wide, wide, output_size=wide),
        Linear(wide, len(TARGET)),
        rng=seed + 1,
    )
    return Seq2Seq(encoder, decoder, start=START, end=END)


def task(
    seed: int = 0, training: int = 20_000, validation: int = 1_000, held_out: int = 2_000
) -> Task:
    """Generate random dates in free form; no held-out string is used for training."""
    split = Split.of(training, validation, held_out)
    dates = random_dates(split.held_out.stop, np.random.default_rng(seed))
    sources = [SOURCE.encode(text) for text, _, _ in dates]
    targets = [np.append(TARGET.encode(iso), np.int32(END)) for _, iso, _ in dates]
    data = [
        Pairs(sources[part], targets[part], batch, rng, start=START)
        for part, batch, rng in zip(split, (64, 250, 250), (seed, None, None), strict=True)
    ]

    def predict(net: Seq2Seq, beam: int = 1) -> list[Prediction]:
        outputs = net.generate(sources[split.held_out], 16, beam).best
        return [
            Prediction(text, iso, TARGET.decode(ids))
            for (text, iso, _), ids in zip(dates[split.held_out], outputs, strict=True)
        ]

    text, iso = EXAMPLE
    x = SOURCE.encode(text)[:, None], np.insert(TARGET.encode(iso), 0, START)[:, None]
    return Task(
        model(seed),
        *data,
        predict,
        (x, None),
        example_text=(text, iso + "."),
        vocabularies=(SOURCE, TARGET),
        updates=1500,
        lr=4e-3,
    )
