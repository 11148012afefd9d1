"""Named, frozen workloads: append, never change. They include those we lose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import recurrent


@dataclass(frozen=True)
class Workload:
    """One cell over N sequences of T steps, D inputs, H units; forward, or forward and all gradients (train)."""

    cell: str
    task: str  # forward | train
    N: int
    T: int
    D: int
    H: int
    quick: bool = False

    @property
    def name(self) -> str:
        return f"{self.cell}-{self.task}-N{self.N}-T{self.T}-D{self.D}-H{self.H}"

    @property
    def flops(self) -> int:
        """Multiplications and additions of the matrix products."""
        gates = len(getattr(recurrent, self.cell).cell.gates)
        forward = 2 * self.N * self.T * gates * self.H * (self.D + self.H)
        return forward if self.task == "forward" else 3 * forward

    def data(self) -> Data:
        """The same input and weights for every engine."""
        rng = np.random.default_rng(0)
        x = rng.standard_normal((self.T, self.N, self.D)).astype(np.float32)
        dy = rng.standard_normal((self.T, self.N, self.H)).astype(np.float32)
        return Data(x, dy, getattr(recurrent, self.cell).init(self.D, self.H, rng=0))


@dataclass(frozen=True)
class Data:
    """x (T, N, D), dy (T, N, H), and the weights in PyTorch's layout."""

    x: np.ndarray
    dy: np.ndarray
    params: tuple


SIZES = [
    (1, 1, 32, 32),
    (1, 100, 8, 16),
    (1, 100, 32, 64),
    (1, 100, 128, 128),
    (1, 100, 256, 512),
    (16, 100, 32, 64),
    (32, 50, 64, 128),
    (32, 50, 128, 256),
    (64, 50, 128, 512),
    (64, 50, 512, 512),
    (256, 100, 5, 10),
    (1000, 10, 5, 10),
    (128, 30, 64, 1024),
]
QUICK = {(1, 100, 32, 64), (32, 50, 64, 128)}

WORKLOADS = [
    Workload(cell, task, *size, quick=size in QUICK)
    for cell in ("lstm", "gru", "rnn")
    for task in ("forward", "train")
    for size in SIZES
]
