"""Many-to-many: tag the words of names in sentences, where the last word decides the kind (CRF)."""

from __future__ import annotations

import numpy as np

from ..data import Batches
from ..layers import CRF, LSTM, Embedding, Linear
from ..losses import crf
from ..losses.decoding import viterbi_decode
from ..models.sequential import Sequential
from .base import Prediction, Split, Task

PLAIN = [
    "a", "an", "and", "at", "by", "for", "from", "has", "in", "met", "near", "of", "on", "saw",
    "the", "then", "to", "was", "we", "with",
]  # fmt: skip
# Each of these may begin any name.
SHARED = [
    "Austin", "Chelsea", "Florence", "Georgia", "Jackson", "Jordan", "Lincoln", "Madison", "Sydney",
    "Victoria",
]  # fmt: skip
ENDS = {
    "PER": ["Brown", "Jones", "Miller", "Smith", "Taylor"],
    "LOC": ["Avenue", "Bridge", "Park", "Square", "Street"],
    "ORG": ["Bank", "Group", "Inc", "Ltd", "Press"],
}
WORDS = [*PLAIN, *SHARED, *(word for words in ENDS.values() for word in words)]
TAGS = ["O", *(f"{place}-{kind}" for kind in ENDS for place in "BI")]
MOST = 4  # words of a name


def random_sentence(rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Return the words of a sentence and their tags: B begins a name, I continues it."""
    words, tags = [], []
    for _ in range(rng.integers(1, 5)):
        for _ in range(rng.integers(0, 4)):
            words.append(str(rng.choice(PLAIN)))
            tags.append("O")
        kind, size = str(rng.choice(list(ENDS))), int(rng.integers(2, MOST + 1))
        words += [str(rng.choice(SHARED)) for _ in range(size - 1)] + [str(rng.choice(ENDS[kind]))]
        tags += [f"B-{kind}", *[f"I-{kind}"] * (size - 1)]
    return words, tags


def network(seed: int = 0, chain: bool = True) -> Sequential:
    """Build a forward LSTM, which has not seen the last word of a name at its first.

    The CRF carries the kind backwards: I-PER follows B-PER or I-PER alone. `chain` says whether
    there is one.
    """
    layers = Embedding(len(WORDS), 16), LSTM(16, 32), Linear(32, len(TAGS))
    return Sequential(*layers, *[CRF(len(TAGS))] * chain, rng=seed)


def task(
    seed: int = 0, training: int = 2_000, validation: int = 500, held_out: int = 1_000
) -> Task:
    """Generate random sentences of one to four names."""
    split, rng = Split.of(training, validation, held_out), np.random.default_rng(seed)
    sentences = [random_sentence(rng) for _ in range(split.held_out.stop)]
    x = [np.array([WORDS.index(word) for word in words]) for words, _ in sentences]
    y = [np.array([TAGS.index(tag) for tag in tags]) for _, tags in sentences]
    sizes, seeds = (32, validation, held_out), (seed, None, None)
    data = [
        Batches(x[part], y[part], batch, rng, per_sequence=False)
        for part, batch, rng in zip(split, sizes, seeds, strict=True)
    ]

    def predict(net: Sequential) -> list[Prediction]:
        part = split.held_out
        found = viterbi_decode(net.forward(x[part])[0])
        return [
            Prediction(" ".join(words), " ".join(tags), " ".join(TAGS[k] for k in path))
            for (words, tags), path in zip(sentences[part], found, strict=True)
        ]

    example = x[split.held_out.start][:, None], None
    return Task(network(seed), *data, predict, example, loss=crf, updates=400, lr=1e-2)
