"""Encoder-decoder: dates in free form to ISO, by a stacked bidirectional encoder and attention over all of its states."""

from __future__ import annotations

import string

import numpy as np

from ..charlm.text import Vocabulary
from ..data import Pairs
from ..layers import LSTM, Attention, Embedding, Linear
from ..models.seq2seq import Seq2Seq
from ..models.sequential import Sequential
from .datestrings import draw
from .task import Answer, Parts, Task

READS = Vocabulary.of(string.ascii_letters + string.digits + " ,./-'")
WRITES = Vocabulary.of("0123456789-" + ":;")  # the last two are the start and the end
START, END = (int(k) for k in WRITES.encode(":;"))

EXAMPLE = "Friday the 5th of March 2021", "2021-03-05"


def model(seed: int = 0, hidden: int = 64) -> Seq2Seq:
    """Two bidirectional layers read, one of twice the width writes."""
    wide = 2 * hidden
    encoder = Sequential(
        Embedding(len(READS), 32),
        LSTM(32, hidden, bidirectional=True),
        LSTM(wide, hidden, bidirectional=True),
        rng=seed,
    )
    decoder = Sequential(
        Embedding(len(WRITES), 32),
        LSTM(32, wide),
        Attention(wide, wide, output_size=wide),
        Linear(wide, len(WRITES)),
        rng=seed + 1,
    )
    return Seq2Seq(encoder, decoder, start=START, end=END)


def task(seed: int = 0, learn: int = 20_000, validate: int = 1_000, hold: int = 2_000) -> Task:
    """Free form to ISO; no string of the held-out ones is among those that are learned from."""
    split = Parts.of(learn, validate, hold)
    found = draw(split.held_out.stop, np.random.default_rng(seed))
    sources = [READS.encode(text) for text, _, _ in found]
    targets = [np.append(WRITES.encode(iso), np.int32(END)) for _, iso, _ in found]
    parts = [
        Pairs(sources[which], targets[which], batch, rng, start=START)
        for which, batch, rng in zip(split, (64, 250, 250), (seed, None, None), strict=True)
    ]

    def answers(net: Seq2Seq, beam: int = 1) -> list[Answer]:
        said = net.generate(sources[split.held_out], 16, beam).best
        both = zip(found[split.held_out], said, strict=True)
        return [Answer(text, iso, WRITES.decode(ids)) for (text, iso, _), ids in both]

    given, iso = EXAMPLE
    x = READS.encode(given)[:, None], np.insert(WRITES.encode(iso), 0, START)[:, None]
    return Task(
        model(seed),
        *parts,
        answers,
        (x, None),
        words=(given, iso + "."),
        alphabets=(READS, WRITES),
        updates=1500,
        lr=4e-3,
    )
