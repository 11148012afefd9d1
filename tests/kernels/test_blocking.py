"""The caches decide how kernels read panels, and change no bit; large buffers are aligned."""

import numpy as np
import pytest
from numba import config
from support.strategies import Case

from recurrent import gru, lstm
from recurrent.cells import lstm_cell
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.engine import Engine
from recurrent.kernels import backend, blocking, memory

pytestmark = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="the NumPy backend packs nothing")
SMALL = blocking.Caches(1, 1, panels=1)  # pieces of the least length
LARGE = blocking.Caches(1, 1, panels=1 << 40)


def results(cell, case, caches, monkeypatch):
    """Return all outputs and gradients of a cell on a processor with these caches."""
    monkeypatch.setattr(blocking, "caches", lambda: caches)
    p = case.build(Engine(cell))
    y, state, tape = p.forward(record=True)
    grads = p.engine.backward(p.dy, tape)
    return [y, *state, grads[0], *grads[1], *grads[2]]


@pytest.mark.parametrize("cell", ["lstm", "gru", lstm_cell(projection=True, layer_norm=True)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_caches_change_no_bit(cell, dtype, monkeypatch):
    for case in (Case(3, 40, 70, 50, dtype), Case(4, 40, 9, 33, dtype, ragged=True)):
        parts, whole = (results(cell, case, c, monkeypatch) for c in (SMALL, LARGE))
        for a, b in zip(parts, whole, strict=True):
            assert_same_bits(a, b)


def test_small_caches_cut_and_large_ones_do_not(monkeypatch):
    weights = lstm.pack(lstm.init(30, 40)).weights
    for caches, cuts in ((SMALL, True), (LARGE, False)):
        monkeypatch.setattr(blocking, "caches", lambda caches=caches: caches)
        piece, sums = weights.cut(70, 100)
        assert (piece < 70, sums.size >= 100 * 64) == (cuts, cuts)
        assert weights.cut(70, blocking.FEW - 1)[0] > 70


def test_sizes_of_caches_are_known_or_those_of_a_small_processor(monkeypatch):
    assert blocking.caches().first >= 8192
    assert blocking.caches().second >= blocking.caches().first
    monkeypatch.setattr(blocking.os, "sysconf", lambda name: 1 / 0 if name is None else -1)
    blocking.caches.cache_clear()
    first, second, panels = blocking.caches()
    assert (first, second) == (32 * 1024, 1 << 20)
    assert panels in (first, second)
    blocking.caches.cache_clear()


def offsets(*arrays):
    """Return how far behind a cache line large arrays begin."""
    large = [a for a in arrays if a.size >= memory.SMALL]
    return [a.__array_interface__["data"][0] % memory.LINE for a in large]


@pytest.mark.parametrize("engine", [lstm, gru], ids=["lstm", "gru"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_buffers_begin_at_a_cache_line(engine, dtype):
    p = Case(40, 20, 65, 67, dtype).build(engine)
    panels = engine.pack(p.params).weights.weights.panels
    _, _, tape = p.forward(record=True)
    dx, dparams, _ = engine.backward(p.dy, tape)
    back = backend.pack_backward(engine.cell, p.params)[1].panels
    linear = backend.pack_linear(*(np.ones(s, dtype) for s in ((200, 65), (200,))))
    found = offsets(panels, back, linear.panels, tape.h_rows, tape.saved_rows, dx, *dparams)
    assert found == [0] * 8


@pytest.mark.parametrize("weights", [None, "int8", "bfloat16"])
def test_panels_of_small_layers_begin_at_a_cache_line(weights):
    for H in (16, 33):
        panels = lstm.pack(lstm.init(2, H), weights).weights.weights.panels
        assert panels.__array_interface__["data"][0] % memory.LINE == 0
