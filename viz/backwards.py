"""The gallery's encoder and decoder: words written backwards, so that attention has somewhere to look. Learned in seconds."""

from __future__ import annotations

import string
from typing import Any

import numpy as np

from recurrent import GRU, Attention, Embedding, Linear, Seq2Seq, Sequential
from recurrent.data import Pairs
from recurrent.losses import softmax_cross_entropy
from recurrent.optim import Adam
from recurrent.schedules import Cosine
from recurrent.text import Vocabulary
from recurrent.train import fit

from .specs import Translator

READS = Vocabulary(string.ascii_lowercase)
WRITES = Vocabulary(string.ascii_lowercase + ":.")  # the last two are the start and the end
START, END = (int(k) for k in WRITES.encode(":."))
UPDATES, SHORTEST, LONGEST, SHOWN = 300, 3, 10, "stressed"


def train(updates: int = UPDATES, progress: Any = True) -> Translator:
    """A model that has seen `updates` batches of random letters and what they are backwards."""
    encoder = Sequential(Embedding(len(READS), 16), GRU(16, 24, bidirectional=True), rng=0)
    layers = Embedding(len(WRITES), 16), GRU(16, 48), Attention(48, 48, "general", output_size=48), Linear(48, len(WRITES))
    model = Seq2Seq(encoder, Sequential(*layers, rng=1), start=START, end=END)
    rng = np.random.default_rng(0)
    sources = [rng.integers(0, len(READS), rng.integers(SHORTEST, LONGEST + 1)).astype(np.int32) for _ in range(64 * 100)]
    targets = [np.append(ids[::-1], np.int32(END)) for ids in sources]
    pairs = Pairs(sources, targets, 64, 0, start=START)
    fit(model, pairs, softmax_cross_entropy, Adam(Cosine(1e-2, updates)), updates=updates, clip_norm=1.0, progress=progress)
    return Translator(model, READS, WRITES)
