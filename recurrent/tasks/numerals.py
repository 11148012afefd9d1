"""One-to-many: spell the English name of a number, given its digits as one vector."""

from __future__ import annotations

import string

import numpy as np

from ..charlm.text import Vocabulary
from ..data import Pairs
from ..initialisers import Chrono
from ..layers import LSTM, Embedding, Linear
from ..models.seq2seq import Seq2Seq
from ..models.sequential import Sequential
from .base import Prediction, Split, Task

SMALL = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
]  # fmt: skip
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
TARGET = Vocabulary.of(string.ascii_lowercase + " -:;")  # ":" is the start symbol, ";" the end
START, END = (int(k) for k in TARGET.encode(":;"))


def name(number: int) -> str:
    """Return the English name of a number below 1,000.

    >>> name(742)
    'seven hundred and forty-two'
    """
    if number < 20:
        return SMALL[number]
    if number < 100:
        tens, units = divmod(number, 10)
        return TENS[tens - 2] + (f"-{SMALL[units]}" if units else "")
    hundreds, rest = divmod(number, 100)
    return f"{SMALL[hundreds]} hundred" + (f" and {name(rest)}" if rest else "")


def digits(numbers: np.ndarray) -> np.ndarray:
    """Return (N, 30): three one-hot digits for each number of `numbers` (N,)."""
    places = numbers[:, None] // np.array([100, 10, 1]) % 10
    return np.eye(10, dtype=np.float32)[places].reshape(len(numbers), 30)


def task(seed: int = 0, training: int = 750, validation: int = 100, held_out: int = 150) -> Task:
    """Use the vector as the decoder's initial state; no held-out number is trained on."""
    split = Split.of(training, validation, held_out)
    numbers = np.random.default_rng(seed).permutation(1_000)[: split.held_out.stop]
    names = [name(int(n)) for n in numbers]
    targets = [np.append(TARGET.encode(text), np.int32(END)) for text in names]
    vectors = digits(numbers)
    sizes, seeds = (64, validation, held_out), (seed, None, None)
    data = [
        Pairs(vectors[part], targets[part], batch, rng, start=START)
        for part, batch, rng in zip(split, sizes, seeds, strict=True)
    ]
    hidden = 128
    # Without dropout most errors were in the names of numbers below 100: few and irregular.
    # Chrono initialisation lets the initial state persist for a whole name.
    decoder = Sequential(
        Embedding(len(TARGET), 32),
        LSTM(32, hidden, recurrent_dropout=0.2),
        Linear(hidden, len(TARGET)),
        rng=seed + 1,
        init=Chrono(T_max=30),
    )
    net = Seq2Seq(Sequential(Linear(30, hidden), rng=seed), decoder, start=START, end=END)

    def predict(net: Seq2Seq) -> list[Prediction]:
        part = split.held_out
        outputs = net.generate(vectors[part], 50).best
        return [
            Prediction(f"{number}", text, TARGET.decode(ids))
            for number, text, ids in zip(numbers[part], names[part], outputs, strict=True)
        ]

    decoder_input = np.insert(TARGET.encode(name(742)), 0, START)[:, None]
    example = (digits(np.array([742])), decoder_input), None
    return Task(net, *data, predict, example, updates=2000, lr=1e-2, goal=0.95)
