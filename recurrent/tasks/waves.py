"""Many-to-one: which of four wave forms it is, from a noisy piece of any period, phase and length."""

from __future__ import annotations

import numpy as np

from ..data import Batches
from ..layers import GRU, Linear, MeanPool
from ..models.sequential import Sequential
from .task import Answer, Parts, Task

# One period of each, of a phase in [0, 1).
FORMS = {
    "sine": lambda p: np.sin(2 * np.pi * p),
    "square": lambda p: np.where(p < 0.5, 1.0, -1.0),
    "sawtooth": lambda p: 2 * p - 1,
    "triangle": lambda p: 1 - 4 * np.abs(p - 0.5),
}
SHORTEST, LONGEST, NOISE = 40, 80, 0.05


def draw(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (T, count, 1), which form (count,), lengths (count,): periods of 8 to 25 steps, sizes of 0.5 to 2."""
    kind, lengths = rng.integers(len(FORMS), size=count), rng.integers(SHORTEST, LONGEST + 1, count)
    phase = (np.arange(LONGEST)[:, None] / rng.uniform(8, 25, count) + rng.random(count)) % 1
    clean = np.select(
        [kind == k for k in range(len(FORMS))], [form(phase) for form in FORMS.values()]
    )
    x = clean * rng.uniform(0.5, 2, count) + NOISE * rng.standard_normal(phase.shape)
    return x.astype(np.float32)[:, :, None], kind, lengths


def task(seed: int = 0, learn: int = 8_000, validate: int = 1_000, hold: int = 1_000) -> Task:
    """Mean over the valid steps, then one answer for each sequence."""
    split = Parts.of(learn, validate, hold)
    x, kind, lengths = draw(split.held_out.stop, np.random.default_rng(seed))
    parts = [
        Batches(x[:, which], kind[which], batch, rng, lengths=lengths[which], per_sequence=True)
        for which, batch, rng in zip(split, (64, validate, hold), (seed, None, None), strict=True)
    ]
    net = Sequential(GRU(1, 48), MeanPool(), Linear(48, len(FORMS)), rng=seed)
    names = list(FORMS)

    def answers(net: Sequential) -> list[Answer]:
        mine = split.held_out
        y, _, _ = net.forward(x[:, mine], lengths=lengths[mine])
        given = [
            f"{n} steps, the first {a[0, 0]:.2f} {a[1, 0]:.2f} {a[2, 0]:.2f}"
            for n, a in zip(lengths[mine], x.swapaxes(0, 1)[mine], strict=True)
        ]
        both = zip(given, kind[mine], y.argmax(axis=1), strict=True)
        return [Answer(words, names[right], names[said]) for words, right, said in both]

    first = split.held_out.start
    example = x[: lengths[first], first : first + 1], None
    return Task(net, *parts, answers, example, updates=1200, lr=1e-2)
