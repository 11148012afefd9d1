"""Encoder-decoder: words written backwards, by one bidirectional layer and attention over all of its states."""

from __future__ import annotations

import string

import numpy as np

from ..charlm.text import Vocabulary
from ..data import Pairs
from ..layers import GRU, Attention, Embedding, Linear
from ..models.seq2seq import Seq2Seq
from ..models.sequential import Sequential
from .task import Answer, Parts, Task

READS = Vocabulary(string.ascii_lowercase)
WRITES = Vocabulary(string.ascii_lowercase + ":.")  # the last two are the start and the end
START, END = (int(k) for k in WRITES.encode(":."))
SHORTEST, LONGEST, EXAMPLE = 3, 10, "stressed"


def model(seed: int = 0, hidden: int = 24) -> Seq2Seq:
    """A GRU reads in both directions, one of twice the width writes."""
    wide = 2 * hidden
    encoder = Sequential(Embedding(len(READS), 16), GRU(16, hidden, bidirectional=True), rng=seed)
    decoder = Sequential(
        Embedding(len(WRITES), 16),
        GRU(16, wide),
        Attention(wide, wide, "general", output_size=wide),
        Linear(wide, len(WRITES)),
        rng=seed + 1,
    )
    return Seq2Seq(encoder, decoder, start=START, end=END)


def draw(count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Random letters as ids: `count` different words."""
    found: dict[bytes, np.ndarray] = {}
    while len(found) < count:
        ids = rng.integers(0, len(READS), rng.integers(SHORTEST, LONGEST + 1)).astype(np.int32)
        found.setdefault(ids.tobytes(), ids)
    return list(found.values())


def task(seed: int = 0, learn: int = 6_400, validate: int = 640, hold: int = 1_000) -> Task:
    """Random letters; no word of the held-out ones is among those that are learned from."""
    split = Parts.of(learn, validate, hold)
    sources = draw(split.held_out.stop, np.random.default_rng(seed))
    targets = [np.append(ids[::-1], np.int32(END)) for ids in sources]
    parts = [
        Pairs(sources[which], targets[which], batch, rng, start=START)
        for which, batch, rng in zip(split, (64, 320, 500), (seed, None, None), strict=True)
    ]

    def answers(net: Seq2Seq, beam: int = 1) -> list[Answer]:
        words = [READS.decode(ids) for ids in sources[split.held_out]]
        said = net.generate(sources[split.held_out], LONGEST + 2, beam).best
        return [
            Answer(word, word[::-1], WRITES.decode(ids))
            for word, ids in zip(words, said, strict=True)
        ]

    written = np.insert(WRITES.encode(EXAMPLE[::-1]), 0, START)
    return Task(
        model(seed),
        *parts,
        answers,
        ((READS.encode(EXAMPLE)[:, None], written[:, None]), None),
        words=(EXAMPLE, EXAMPLE[::-1] + "."),
        alphabets=(READS, WRITES),
        updates=1000,
        lr=1e-2,
    )
