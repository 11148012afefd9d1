"""Encoder-decoder: spell a word backwards, with a bidirectional encoder and attention."""

from __future__ import annotations

import string

import numpy as np

from ..charlm.text import Vocabulary
from ..data import Pairs
from ..layers import GRU, Attention, Embedding, Linear
from ..models.seq2seq import Seq2Seq
from ..models.sequential import Sequential
from .base import Prediction, Split, Task

SOURCE = Vocabulary(string.ascii_lowercase)
TARGET = Vocabulary(string.ascii_lowercase + ":.")  # ":" is the start symbol, "." the end
START, END = (int(k) for k in TARGET.encode(":."))
SHORTEST, LONGEST = 3, 10
EXAMPLE = "stressed"


def model(seed: int = 0, hidden: int = 24) -> Seq2Seq:
    """Build a bidirectional GRU encoder, and a GRU decoder with twice the hidden size."""
    wide = 2 * hidden
    encoder = Sequential(Embedding(len(SOURCE), 16), GRU(16, hidden, bidirectional=True), rng=seed)
    decoder = Sequential(
        Embedding(len(TARGET), 16),
        GRU(16, wide),
        Attention(wide, wide, "general", output_size=wide),
        Linear(wide, len(TARGET)),
        rng=seed + 1,
    )
    return Seq2Seq(encoder, decoder, start=START, end=END)


def random_words(count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return `count` distinct random words as arrays of ids."""
    words: dict[bytes, np.ndarray] = {}
    while len(words) < count:
        ids = rng.integers(0, len(SOURCE), rng.integers(SHORTEST, LONGEST + 1)).astype(np.int32)
        words.setdefault(ids.tobytes(), ids)
    return list(words.values())


def task(
    seed: int = 0, training: int = 6_400, validation: int = 640, held_out: int = 1_000
) -> Task:
    """Generate random words; no held-out word is used for training."""
    split = Split.of(training, validation, held_out)
    sources = random_words(split.held_out.stop, np.random.default_rng(seed))
    targets = [np.append(ids[::-1], np.int32(END)) for ids in sources]
    data = [
        Pairs(sources[part], targets[part], batch, rng, start=START)
        for part, batch, rng in zip(split, (64, 320, 500), (seed, None, None), strict=True)
    ]

    def predict(net: Seq2Seq, beam: int = 1) -> list[Prediction]:
        words = [SOURCE.decode(ids) for ids in sources[split.held_out]]
        outputs = net.generate(sources[split.held_out], LONGEST + 2, beam).best
        return [
            Prediction(word, word[::-1], TARGET.decode(ids))
            for word, ids in zip(words, outputs, strict=True)
        ]

    decoder_input = np.insert(TARGET.encode(EXAMPLE[::-1]), 0, START)
    return Task(
        model(seed),
        *data,
        predict,
        ((SOURCE.encode(EXAMPLE)[:, None], decoder_input[:, None]), None),
        example_text=(EXAMPLE, EXAMPLE[::-1] + "."),
        vocabularies=(SOURCE, TARGET),
        updates=1000,
        lr=1e-2,
    )
