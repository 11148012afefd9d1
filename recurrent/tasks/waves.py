"""Many-to-one: classify a noisy signal of any period, phase and length as one of four waveforms."""

from __future__ import annotations

import numpy as np

from ..data import Batches
from ..layers import GRU, Linear, MeanPool
from ..models.sequential import Sequential
from .base import Prediction, Split, Task

# Value at a phase in [0, 1).
WAVEFORMS = {
    "sine": lambda p: np.sin(2 * np.pi * p),
    "square": lambda p: np.where(p < 0.5, 1.0, -1.0),
    "sawtooth": lambda p: 2 * p - 1,
    "triangle": lambda p: 1 - 4 * np.abs(p - 0.5),
}
SHORTEST, LONGEST, NOISE = 40, 80, 0.05


def random_waves(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x (T, count, 1), waveform (count,), lengths (count,).

    Periods are 8 to 25 time steps, amplitudes 0.5 to 2.
    """
    waveform = rng.integers(len(WAVEFORMS), size=count)
    lengths = rng.integers(SHORTEST, LONGEST + 1, count)
    phase = (np.arange(LONGEST)[:, None] / rng.uniform(8, 25, count) + rng.random(count)) % 1
    signal = np.select(
        [waveform == k for k in range(len(WAVEFORMS))], [f(phase) for f in WAVEFORMS.values()]
    )
    x = signal * rng.uniform(0.5, 2, count) + NOISE * rng.standard_normal(phase.shape)
    return x.astype(np.float32)[:, :, None], waveform, lengths


def task(
    seed: int = 0, training: int = 8_000, validation: int = 1_000, held_out: int = 1_000
) -> Task:
    """Average the GRU's outputs over the valid time steps, then classify."""
    split = Split.of(training, validation, held_out)
    x, waveform, lengths = random_waves(split.held_out.stop, np.random.default_rng(seed))
    sizes, seeds = (64, validation, held_out), (seed, None, None)
    data = [
        Batches(x[:, part], waveform[part], batch, rng, lengths=lengths[part], per_sequence=True)
        for part, batch, rng in zip(split, sizes, seeds, strict=True)
    ]
    net = Sequential(GRU(1, 48), MeanPool(), Linear(48, len(WAVEFORMS)), rng=seed)
    names = list(WAVEFORMS)

    def predict(net: Sequential) -> list[Prediction]:
        part = split.held_out
        y, _, _ = net.forward(x[:, part], lengths=lengths[part])
        inputs = [
            f"{n} steps, starting {a[0, 0]:.2f} {a[1, 0]:.2f} {a[2, 0]:.2f}"
            for n, a in zip(lengths[part], x.swapaxes(0, 1)[part], strict=True)
        ]
        return [
            Prediction(text, names[expected], names[predicted])
            for text, expected, predicted in zip(
                inputs, waveform[part], y.argmax(axis=1), strict=True
            )
        ]

    first = split.held_out.start
    example = x[: lengths[first], first : first + 1], None
    return Task(net, *data, predict, example, updates=1200, lr=1e-2)
