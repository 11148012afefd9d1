"""One-to-one: a sequence of one step. A recurrent layer is then a plain hidden layer: is a point inside a ring?"""

from __future__ import annotations

import numpy as np

from ..data import Batches
from ..layers import LSTM, Last, Linear
from ..models.sequential import Sequential
from .task import Answer, Parts, Task

NAMES = ("outside", "inside")


def task(seed: int = 0, learn: int = 8_000, validate: int = 1_000, hold: int = 1_000) -> Task:
    """Points of the square from -1 to 1, and a ring between the radii 0.4 and 0.8; none within 0.02 of its edges."""
    rng, split, count = (
        np.random.default_rng(seed),
        Parts.of(learn, validate, hold),
        learn + validate + hold,
    )
    points = rng.uniform(-1, 1, (4 * count, 2)).astype(np.float32)
    radius = np.hypot(*points.T)
    clear = np.minimum(abs(radius - 0.4), abs(radius - 0.8)) > 0.02
    x, inside = (
        points[clear][None, :count],
        ((radius > 0.4) & (radius < 0.8))[clear][:count].astype(int),
    )
    parts = [
        Batches(x[:, which], inside[which], batch, order, per_sequence=True)
        for which, batch, order in zip(split, (64, validate, hold), (seed, None, None), strict=True)
    ]
    net = Sequential(LSTM(2, 32), Last(), Linear(32, 2), rng=seed)

    def answers(net: Sequential) -> list[Answer]:
        mine = split.held_out
        held = zip(x[0, mine], inside[mine], net.forward(x[:, mine])[0].argmax(axis=1), strict=True)
        return [Answer(f"({p[0]:.2f}, {p[1]:.2f})", NAMES[right], NAMES[k]) for p, right, k in held]

    return Task(net, *parts, answers, (x[:, :1], None), updates=4000, lr=1e-2)
