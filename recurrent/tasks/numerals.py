"""One-to-many: from a vector, the digits of a number, its English name letter by letter."""

from __future__ import annotations

import string

import numpy as np

from ..charlm.text import Vocabulary
from ..data import Pairs
from ..initialisers import Chrono
from ..layers import LSTM, Embedding, Linear
from ..models.seq2seq import Seq2Seq
from ..models.sequential import Sequential
from .task import Answer, Parts, Task

SMALL = [
    *(
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    ),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
WRITES = Vocabulary.of(
    string.ascii_lowercase + " -:;"
)  # colon and semicolon are the start and the end
START, END = (int(k) for k in WRITES.encode(":;"))


def name(number: int) -> str:
    """A number below 1,000 in words.

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
    """(N, 30): for each of three digits one number of ten is 1."""
    places = numbers[:, None] // np.array([100, 10, 1]) % 10
    return np.eye(10, dtype=np.float32)[places].reshape(len(numbers), 30)


def task(seed: int = 0, learn: int = 750, validate: int = 100, hold: int = 150) -> Task:
    """The vector becomes the first state of the layer that writes; numbers that are held out are never learned from."""
    split = Parts.of(learn, validate, hold)
    numbers = np.random.default_rng(seed).permutation(1_000)[: split.held_out.stop]
    names, hidden = [name(int(n)) for n in numbers], 128
    targets = [np.append(WRITES.encode(words), np.int32(END)) for words in names]
    vectors = digits(numbers)
    parts = [
        Pairs(vectors[which], targets[which], batch, rng, start=START)
        for which, batch, rng in zip(split, (64, validate, hold), (seed, None, None), strict=True)
    ]
    # Without dropout most errors were in names without a hundred, which are few and irregular.
    layers = (
        Embedding(len(WRITES), 32),
        LSTM(32, hidden, recurrent_dropout=0.2),
        Linear(hidden, len(WRITES)),
    )
    decoder = Sequential(
        *layers, rng=seed + 1, init=Chrono(T_max=30)
    )  # what it was told must last for a whole name
    net = Seq2Seq(Sequential(Linear(30, hidden), rng=seed), decoder, start=START, end=END)

    def answers(net: Seq2Seq) -> list[Answer]:
        mine = split.held_out
        said = net.generate(vectors[mine], 50).best
        return [
            Answer(f"{n}", w, WRITES.decode(s))
            for n, w, s in zip(numbers[mine], names[mine], said, strict=True)
        ]

    example = (
        (digits(np.array([742])), np.insert(WRITES.encode(name(742)), 0, START)[:, None]),
        None,
    )
    return Task(net, *parts, answers, example, updates=2000, lr=1e-2, goal=0.95)
