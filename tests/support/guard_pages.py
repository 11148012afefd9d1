"""Run kernels on arrays beside pages that the system lets nobody read or write.

    python tests/support/guard_pages.py --cells lstm gru --cases 200 --seed 0

Each array that a compiled kernel gets, however it was allocated, is copied to memory that ends at
such a page, or begins after one. An access outside kills the process, however far outside it is;
the last line written to stderr is the case. The rest of the page holds a pattern, which is checked.
The NumPy backend gets x, params, states and dy there. Results must keep every bit.
"""

import argparse
import ctypes
import faulthandler
import mmap
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.kernel_work import add_outer, attending, everything, training
from support.sentinels import PATTERN, GuardedModule, guarded, watch
from support.strategies import Case

from recurrent import GRU, LSTM, Embedding, LayerNorm, Linear, OneHot, Sequential
from recurrent.cells import CELLS, gru_cell, lstm_cell, qrnn_cell
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.engine.engine import Engine
from recurrent.kernels import compiled, matmul
from recurrent.kernels.codegen.target import target

PAGE = mmap.PAGESIZE
WIDTHS = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 50, 63, 64, 65, 127, 129]

ALL = {
    **CELLS,
    "lstm peephole": lstm_cell(peephole=True),
    "lstm layer_norm": lstm_cell(layer_norm=True),
    "lstm projection": lstm_cell(projection=True),
    "gru layer_norm": gru_cell(layer_norm=True),
    "gru reset_before": gru_cell(reset_after=False),
    "qrnn window": qrnn_cell(window=3),
}

_libc = ctypes.CDLL(None, use_errno=True)


def forbid(address: int) -> None:
    """Let nobody read or write the page at this address."""
    if _libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(PAGE), 0):
        raise OSError(ctypes.get_errno(), "mprotect failed")


class AtEnd:
    """A copy of an array that ends where a forbidden page begins; the interface of `Guarded`."""

    def __init__(self, a: np.ndarray):
        size = a.nbytes
        pages = -(-size // PAGE) * PAGE
        memory = mmap.mmap(-1, pages + 2 * PAGE)
        whole = np.frombuffer(memory, np.uint8)
        for page in (0, PAGE + pages):
            forbid(whole.ctypes.data + page)
        self.inside = whole[PAGE : PAGE + pages]
        self.first = self.place(pages, size)
        self.inside[:] = np.full(1, PATTERN[1], np.uint8)
        part = self.inside[self.first : self.first + size]
        self.array, self.original = part.view(a.dtype).reshape(a.shape), a
        self.array[...] = a
        self.array.flags.writeable = a.flags.writeable

    def place(self, pages: int, size: int) -> int:
        """Return where the array begins in these pages."""
        return pages - size

    def check(self, name: str) -> None:
        """Raise AssertionError if the pattern has changed; copy the contents back."""
        rest = np.delete(self.inside, slice(self.first, self.first + self.original.nbytes))
        assert (rest == PATTERN[1]).all(), f"{name} wrote beside an array {self.array.shape}"
        if self.array.tobytes() != self.original.tobytes():
            self.original[...] = self.array


class AtBeginning(AtEnd):
    """A copy of an array that begins where a forbidden page ends."""

    def place(self, pages, size):
        return 0


KINDS = AtEnd, AtBeginning


def scratch(M, D, K, S, dtype, seed, kind):
    """Sum over rows as `matmul.outer` does, whose workspace no caller sees."""
    rng, t = np.random.default_rng(seed), target(np.dtype(dtype))
    K = min(K, S)
    first, column = S - K, 3
    a, b = (rng.standard_normal(shape).astype(dtype) for shape in ((S, M + 5), (S, D)))
    rows = rng.permutation(S) if seed % 2 else compiled.NO_ROWS
    step, start = (1, first) if seed // 2 % 2 else (-1, S - 1)
    transposed, panels = np.zeros(M * K, dtype), np.zeros(-(-D // t.lanes) * t.lanes * K, dtype)
    out, kernels = np.zeros(M * D, dtype), GuardedModule(matmul, kind=kind)
    kernels.transpose_columns(t, a.ravel(), column, M, M + 5, start, step, K, transposed)
    kernels.pack_rows(t, b.ravel(), 0, D, D, rows, start, step, K, panels, K)
    guarded(add_outer, kind=kind)(t, M, D, K, transposed, panels, out)
    used = b[rows[first:]] if rows.size else b[first:]
    expected = a[first:, column : column + M].T.astype(np.float64) @ used.astype(np.float64)
    tolerance = 1e-4 if dtype == "float32" else 1e-12
    assert np.allclose(out.reshape(M, D), expected, tolerance, tolerance * K)


def stack(T, N, D, H, ragged, dtype, seed):
    """Run layers on ids, of which rows are looked up, and on an input of numbers."""
    rng = np.random.default_rng(seed)
    ids, x = rng.integers(0, D, (T, N)), rng.standard_normal((T, N, D)).astype(dtype)
    lengths = rng.integers(0, T + 1, N) if ragged else None
    found = []
    for first, value in ((Embedding(D, 5), ids), (OneHot(D), ids), (LayerNorm(D), x)):
        width = 5 if isinstance(first, Embedding) and not isinstance(first, OneHot) else D
        layers = first, LSTM(width, H, bidirectional=True), GRU(2 * H, H), Linear(H, 3)
        model = Sequential(*layers, rng=seed, dtype=dtype)
        y, _, tape = model.forward(value, None, lengths, record=True)
        found += [y, *model.backward(np.cos(y), tape).params.values()]
    return found


def dropping(T, N, D, H, ragged, dtype, seed):
    """Train a layer with all kinds of dropout inside: its units take masks."""
    rng = np.random.default_rng(seed)
    options = dict(recurrent_dropout=0.3, weight_drop=0.2, zoneout=0.1)
    layer = LSTM(D, H, **options).initialise(seed, dtype)
    layer.generator = np.random.default_rng(seed)
    x = rng.standard_normal((T, N, D)).astype(dtype)
    y, state, tape = layer.forward(x, None, rng.integers(0, T + 1, N) if ragged else None, True)
    grads = layer.backward(np.cos(y), tape)
    return [y, *state, grads.dx, *grads.params.values()]


def interpreted(p, kind):
    """Run the NumPy backend on arrays beside forbidden pages."""
    if kind is None:
        return everything(p)
    copies = []

    def move(value):
        if isinstance(value, tuple):
            return type(value)(*map(move, value))
        if not isinstance(value, np.ndarray):
            return value
        copies.append(kind(value))
        return copies[-1].array

    for name in ("x", "params", "state", "dy", "dstate", "lengths"):
        setattr(p, name, move(getattr(p, name)))
    found = everything(p)
    for copy in copies:
        copy.check("the NumPy backend")
    return found


def draw(cells, rng, large):
    """Return the words for a piece of work, and a function that does it."""

    def size(most):
        return int(rng.integers(1, most + 1))

    def width():
        return int(rng.choice(WIDTHS if large else WIDTHS[:-4]))

    dtype, seed = str(rng.choice(["float32", "float64"])), size(10**6)
    case = Case(
        T=size(5),
        N=size(20),
        D=width(),
        H=width(),
        dtype=dtype,
        seed=seed,
        initial=bool(rng.integers(2)),
        ragged=bool(rng.integers(2)),
        reverse=bool(rng.integers(2)),
    )
    kind = rng.choice(["cell"] * 6 + ["stack", "dropout", "training", "attention"])
    if kind == "cell":
        cell = str(rng.choice(cells))
        return f"{cell} {case}", lambda: everything(case.build(Engine(ALL[cell])))
    if kind in ("stack", "dropout"):
        a = case.T, case.N, min(case.D, 17), min(case.H, 33), case.ragged, dtype, seed
        run = stack if kind == "stack" else dropping
        return f"{kind}{a}", lambda: run(*a)
    if kind == "training":
        a = width(), size(9), size(300), dtype
        return f"training{a}", lambda: training(*a)
    a = size(9), size(40), size(4), width(), width(), dtype
    return f"attending{a}", lambda: attending(*a)


def main() -> None:
    """Run the cases; the process dies at the first access outside an array."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", default=list(ALL))
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--large", action="store_true", help="the widest layers too")
    given = parser.parse_args()
    faulthandler.enable()
    rng, count = np.random.default_rng(given.seed), 0

    def begin(words):
        print(words, file=sys.stderr, flush=True)

    for _ in range(given.cases):
        words, work = draw(given.cells, rng, given.large)
        begin(f"{words} unguarded")
        expected = work()
        for kind in KINDS:
            begin(f"{words} {kind.__name__}")
            with pytest.MonkeyPatch.context() as patch:
                watch(patch, compiled, kind)
                actual = work()
            for k, (a, b) in enumerate(zip(actual, expected, strict=True)):
                assert_same_bits(a, b, f"result {k} of {words}")
            count += 1
    for k in range(given.cases // 4):
        sizes = [int(n) for n in rng.choice(WIDTHS, 4)]
        case = Case(2, 3, *sizes[:2], seed=k, ragged=bool(k % 2))
        cell = str(rng.choice(given.cells))
        reference = interpreted(case.build(Engine(ALL[cell]).reference), None)
        for kind in KINDS:
            begin(f"scratch {sizes} {kind.__name__}")
            for dtype in ("float32", "float64"):
                scratch(*sizes, dtype, k, kind)
            begin(f"{cell} {case} NumPy {kind.__name__}")
            found = interpreted(case.build(Engine(ALL[cell]).reference), kind)
            for a, b in zip(found, reference, strict=True):
                assert_same_bits(a, b)
            count += 3
    print(count)


if __name__ == "__main__":
    main()
