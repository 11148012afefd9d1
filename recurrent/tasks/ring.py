"""One-to-one: decide whether a point lies inside a ring, with sequences of one time step."""

from __future__ import annotations

import numpy as np

from ..data import Batches
from ..layers import LSTM, Last, Linear
from ..models.sequential import Sequential
from .base import Prediction, Split, Task

NAMES = ("outside", "inside")


def task(
    seed: int = 0, training: int = 8_000, validation: int = 1_000, held_out: int = 1_000
) -> Task:
    """Random points of the square [-1, 1]²; the ring spans radii 0.4 to 0.8.

    No point lies within 0.02 of the ring's edges.
    """
    split, count = Split.of(training, validation, held_out), training + validation + held_out
    points = np.random.default_rng(seed).uniform(-1, 1, (4 * count, 2)).astype(np.float32)
    radius = np.hypot(*points.T)
    clear = np.minimum(abs(radius - 0.4), abs(radius - 0.8)) > 0.02
    x = points[clear][None, :count]
    inside = ((radius > 0.4) & (radius < 0.8))[clear][:count].astype(int)
    sizes, seeds = (64, validation, held_out), (seed, None, None)
    data = [
        Batches(x[:, part], inside[part], batch, rng, per_sequence=True)
        for part, batch, rng in zip(split, sizes, seeds, strict=True)
    ]
    net = Sequential(LSTM(2, 32), Last(), Linear(32, 2), rng=seed)

    def predict(net: Sequential) -> list[Prediction]:
        part = split.held_out
        classes = net.forward(x[:, part])[0].argmax(axis=1)
        return [
            Prediction(f"({p[0]:.2f}, {p[1]:.2f})", NAMES[expected], NAMES[predicted])
            for p, expected, predicted in zip(x[0, part], inside[part], classes, strict=True)
        ]

    return Task(net, *data, predict, (x[:, :1], None), updates=4000, lr=1e-2)
