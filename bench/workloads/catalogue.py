"""The named workloads. Their names are frozen: append, never change.

They include workloads where a peer is faster. Workloads of several layers are in models.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import product

import numpy as np

import recurrent
from recurrent.cells import gru_cell, lstm_cell
from recurrent.layers.attention import SCORES

from .base import Work
from .models import Attending, CharModel, Sampling, StreamedModel, Translation, trained

MODES = ("quick", "default", "full")  # each includes the one before
FIRST_CACHE = 32 * 1024  # bytes; weights that fit stay there from one time step to the next
CELLS, TASKS = ("lstm", "gru", "rnn"), ("forward", "train")
# Variants of cells by option.
OPTIONS = {
    "lstm_proj": lstm_cell(projection=True),
    "lstm_norm": lstm_cell(layer_norm=True),
    "gru_before": gru_cell(reset_after=False),
}
# Cells that few engines have come last.
EVERY_CELL = (
    *CELLS,
    "mgu",
    "indrnn",
    "mingru",
    "minlstm",
    "qrnn",
    "sru",
    *OPTIONS,
)
EQUATIONS = {
    name: OPTIONS[name] if name in OPTIONS else getattr(recurrent, name).cell for name in EVERY_CELL
}
GATES = {name: len(cell.gates) for name, cell in EQUATIONS.items()}


@dataclass(frozen=True)
class Workload(Work):
    """One cell over N sequences of T time steps, with D inputs and H units.

    task: forward, train (forward and all gradients) or step (one time step per call; the engine
        keeps the state).
    kind: uniform and tail (ragged batches), full (the same batch without lengths), bidirectional,
        many (many time steps of a stream in one call), denormal (inputs and states below the
        smallest normal number).
    weights: int8, for inference with quantised weights, or "".
    """

    cell: str
    task: str
    N: int
    T: int
    D: int
    H: int
    group: str = ""
    kind: str = ""
    dtype: str = "float32"
    mode: str = "full"
    per: str = "call"
    weights: str = ""

    @property
    def name(self) -> str:
        ends = [self.kind, "" if self.dtype == "float32" else self.dtype, self.weights]
        return "-".join(
            [self.cell, self.task, f"N{self.N}-T{self.T}-D{self.D}-H{self.H}", *filter(None, ends)]
        )

    @property
    def directions(self) -> int:
        return 2 if self.kind == "bidirectional" else 1

    @property
    def compared(self) -> int:
        """Number of calls whose results must agree before anything is timed."""
        return 3 if self.task == "step" else 1

    @property
    def tolerance(self) -> float:
        """Largest relative difference allowed; sums have at most T N terms."""
        return float(np.finfo(self.dtype).eps * 8 * np.sqrt(self.T * self.N + self.D + self.H))

    @property
    def lengths(self) -> np.ndarray | None:
        """Lengths (N,) of a ragged batch, or None.

        They are uniform in 1..T, or an eighth are T and the others at most T / 8 (tail).
        """
        rng = np.random.default_rng(0)
        if self.kind == "uniform":
            return rng.integers(1, self.T + 1, self.N)
        if self.kind == "tail":
            lengths = rng.integers(1, self.T // 8 + 1, self.N)
            lengths[::8] = self.T
            return lengths
        return None

    @property
    def steps(self) -> int:
        """Number of valid time steps of all sequences."""
        return self.N * self.T if self.lengths is None else int(self.lengths.sum())

    @property
    def rows(self) -> tuple[int, int]:
        """Number of rows of W_ih and of W_hh."""
        cell = EQUATIONS[self.cell]
        return len(cell.x_gates) * self.H, len(cell.h_gates) * self.H

    @property
    def P(self) -> int:
        """Size of h: a quarter of H if the cell has a projection."""
        return self.H // 4 if EQUATIONS[self.cell].has_projection else self.H

    @property
    def recurrent_weights(self) -> int:
        """Number of weights of the products with h, and of the projection."""
        return self.rows[1] * self.P + (self.P * self.H if self.P < self.H else 0)

    @property
    def flops(self) -> float:
        """Multiplications and additions of the matrix products per unit of work."""
        weights = self.rows[0] * self.D + self.recurrent_weights
        forward = 2 * self.directions * self.steps * weights
        return (3 if self.task == "train" else 1) * forward / self._shared

    @property
    def bytes(self) -> float:
        """Least number of bytes moved from beyond the first-level cache.

        The recurrent weights are read once per time step, or once if they fit in the first-level
        cache; W_ih, x and y once. Training does this twice, the second time with the gradients of y
        and x. It also writes and reads the gates and one more value per unit and time step.
        """
        item = np.dtype(self.dtype).itemsize
        share = np.dtype(self.weights or self.dtype).itemsize / item  # of a weight
        recurrent_weights = self.recurrent_weights * share
        recurrent_weights *= 1 if recurrent_weights * item <= FIRST_CACHE else self.T
        weights_and_y = self.rows[0] * self.D * share + recurrent_weights + self.steps * self.P
        values = self.directions * weights_and_y + self.steps * self.D
        if self.task == "train":
            saved = 2 * self.directions * self.steps * (GATES[self.cell] + 1) * self.H
            values = 3 * values - self.directions * recurrent_weights + saved
        return values * item / self._shared

    @property
    def _shared(self) -> int:
        """Number of units of work (`per`) in a call."""
        return self.T if self.per == "step" else 1

    @property
    def engine(self) -> recurrent.Engine:
        """The engine of the cell."""
        return recurrent.Engine(EQUATIONS[self.cell])

    def data(self) -> Data:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((self.T, self.N, self.D)).astype(self.dtype)
        dy = rng.standard_normal((self.T, self.N, self.directions * self.P)).astype(self.dtype)
        init, proj_size = self.engine.init, self.P if self.P < self.H else 0
        params = [
            init(self.D, self.H, self.dtype, seed, proj_size) for seed in range(self.directions)
        ]
        if self.weights:
            params = [p._replace(**trained(p._asdict(), rng)) for p in params]
        if self.kind == "denormal":  # without biases the states are as small as the inputs
            x *= np.float32(1e-39)
            params = [
                p._replace(b_ih=np.zeros_like(p.b_ih), b_hh=np.zeros_like(p.b_hh)) for p in params
            ]
        # Normalising W_hh h amplifies rounding errors: with gains of 1 they grow at every step.
        for p in params:
            for name in p._fields:
                if name.startswith("gain_h"):
                    getattr(p, name)[:] = 0.25
        lengths = self.lengths
        if lengths is not None:
            dy[np.arange(self.T)[:, None] >= lengths] = 0  # padding
        return Data(x, dy, params, lengths)

    def exact(self, data, weights):
        engine, (params,), x = self.engine, data.params, data.x
        if weights != self.dtype:
            params = engine.pack(params, weights).dequantized()
        if self.task == "step":  # every call has the same input
            x = np.repeat(x, self.compared, axis=0)
        double = engine.Params(*(a.astype(np.float64) for a in params))
        y = engine.forward(x.astype(np.float64), double)[0]
        return [[a] for a in y] if self.task == "step" else [[y]]

    def count(self, calls: int) -> int:
        return calls * self._shared


@dataclass(frozen=True)
class Data:
    """x (T, N, D), dy (T, N, H or 2H), one Params per direction, and lengths (N,) or None."""

    x: np.ndarray
    dy: np.ndarray
    params: list
    lengths: np.ndarray | None = None


@dataclass(frozen=True)
class Probe:
    """A measurement that takes a new process per engine and round.

    `task`: the first call with a cold or a warm cache of kernels, import, or memory in training.
    """

    task: str
    workload: Work | None = None
    mode: str = "default"

    @property
    def name(self) -> str:
        return "-".join(
            dict.fromkeys([self.group, self.task, *([self.workload.name] if self.workload else [])])
        )

    @property
    def group(self) -> str:
        return "first" if self.task in ("cold", "warm") else self.task

    def facts(self) -> dict:
        return {
            "name": self.name,
            "group": self.group,
            "cell": self.workload.cell if self.workload else "",
            "task": self.task,
            "dtype": "float32",
            "quantity": "bytes" if self.task == "memory" else "seconds",
        }


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
ODD = [(7, 33, 13, 50), (20, 60, 40, 100), (33, 25, 100, 200), (50, 50, 128, 300)]
DOUBLES = [(16, 100, 32, 64), (32, 50, 64, 128), (32, 50, 128, 256), (64, 50, 512, 512)]
RAGGED = [(64, 100, 64, 128), (32, 50, 128, 256)]
BIDIRECTIONAL = [(1, 100, 32, 64), (32, 50, 64, 128), (64, 50, 128, 512)]
STREAM = [32, 128, 512]
MORE = [(1, 100, 32, 64), (32, 50, 64, 128)]  # for cells that few engines have
ATTENTION = [(32, 30, 50, 256), (32, 1, 50, 256), (8, 50, 200, 128)]  # N, T, S, H
DENORMAL = [(1, 100, 128, 128), (32, 50, 64, 128)]
QUANTIZED = [("step", 1), ("forward", 20)]  # task, T
FEW = {(1, 100, 32, 64), (32, 50, 64, 128)}


def next_sixteen(size: tuple) -> tuple:
    """Round D and H up to multiples of 16, the size that an odd size is compared with."""
    N, T, D, H = size
    return N, T, -(-D // 16) * 16, -(-H // 16) * 16


def grid_mode(cell: str, size: tuple) -> str:
    """Return the mode that a size of the grid belongs to."""
    return "quick" if size in (FEW if cell == "lstm" else FEW - {(1, 100, 32, 64)}) else "default"


WORKLOADS: list[Work | Probe] = [
    *(
        Workload(c, t, *s, group=t, mode=grid_mode(c, s))
        for c, t, s in product(CELLS, TASKS, SIZES)
    ),
    *(
        Workload(c, t, *s, group="odd")
        for c, t, odd in product(CELLS, TASKS, ODD)
        for s in (odd, next_sixteen(odd))
    ),
    *(
        Workload("lstm", t, *s, group="float64", dtype="float64")
        for t, s in product(TASKS, DOUBLES)
    ),
    *(
        Workload(
            c,
            t,
            *s,
            group="ragged",
            kind=k,
            mode="default" if (c, t) == ("lstm", "forward") else "full",
        )
        for c, t, s, k in product(("lstm", "gru"), TASKS, RAGGED, ("full", "uniform", "tail"))
    ),
    *(
        Workload(c, "step", 1, 1, H, H, group="stream", per="step", mode="default")
        for c, H in product(("lstm", "gru"), STREAM)
    ),
    StreamedModel(1, 40, mode="default"),
    StreamedModel(128, 512),
    *(
        Workload("lstm", "forward", 1, 1000, H, H, group="stream", kind="many", per="step")
        for H in STREAM
    ),
    *(
        Workload(c, t, *s, group="bidirectional", kind="bidirectional")
        for c, t, s in product(("lstm", "gru"), TASKS, BIDIRECTIONAL)
    ),
    CharModel(128, mode="default"),
    CharModel(512, mode="default"),
    *(
        Workload("lstm", "forward", *s, group="denormal", kind="denormal", mode="default")
        for s in DENORMAL
    ),
    *(Probe(k, Workload("lstm", t, 32, 50, 64, 128)) for k, t in product(("cold", "warm"), TASKS)),
    Probe("import"),
    Probe("memory", Workload("lstm", "train", 64, 50, 512, 512)),
    Probe("memory", CharModel(512)),
    *(
        Workload(c, t, *s, group="cells")
        for c, t, s in product(EVERY_CELL[len(CELLS) :], TASKS, MORE)
    ),
    *(
        Attending(c, t, *s, mode="default" if (c, s) == ("general", ATTENTION[0]) else "full")
        for c, t, s in product(SCORES, TASKS, ATTENTION)
    ),
    Translation("update", 32, 30, 30, 256, mode="default"),
    Translation("update", 32, 30, 30, 256, "ragged"),
    *(Translation("greedy", N, 30, 30, 256) for N in (1, 32)),
    *(
        Workload(
            c,
            t,
            N,
            T,
            H,
            H,
            group="quantized",
            per="step" if t == "step" else "call",
            weights="int8",
            mode="default" if (c, N, H) == ("lstm", 1, 512) else "full",
        )
        for c, (t, T), N, H in product(("lstm", "gru"), QUANTIZED, (1, 4, 16), (128, 512, 1024))
    ),
    Sampling(128),
    Sampling(512, mode="default"),
]


def choose(pattern: str, mode: str) -> list[Work | Probe]:
    """Return the workloads of a mode whose names match.

    A pattern without wildcards matches anywhere in the name.
    """
    pattern = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    modes = MODES[: MODES.index(mode) + 1]
    return [w for w in WORKLOADS if w.mode in modes and fnmatch(w.name, pattern)]


def find(name: str) -> Work | Probe:
    """Return the workload of a name; raises KeyError."""
    return {w.name: w for w in WORKLOADS}[name]
