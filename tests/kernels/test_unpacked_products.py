"""A product has the same bits however its right factor is read: packed, in place, or transposed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import config

from recurrent import Attention, Linear, Memory
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.kernels import matmul
from recurrent.kernels.codegen.target import target

pytestmark = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="the NumPy backend packs nothing")

SIZES = st.integers(1, 70)


def packed(t, a, b):
    """Return a (S, K) b (K, M), b packed in panels."""
    (S, K), M = a.shape, b.shape[1]
    panels, out = np.zeros(-(-M // t.lanes) * t.lanes * K, a.dtype), np.empty((S, M), a.dtype)
    matmul.pack_rows(t, b.ravel(), 0, M, M, np.zeros(0, np.int64), 0, 1, K, panels, K)
    zeros, flat = np.zeros(M, a.dtype), out.ravel()
    matmul.product(t, S, a.ravel(), 0, K, K, panels, M, zeros, matmul.WHOLE, flat, 0, M)
    return out


@given(SIZES, SIZES, SIZES, st.integers(0, 99))
def test_three_ways_to_read_a_right_factor(dtype, S, K, M, seed):
    rng, t = np.random.default_rng(seed), target(np.dtype(dtype))
    a, b = (rng.standard_normal(shape).astype(dtype) for shape in ((S, K), (K, M)))
    expected, zeros = packed(t, a, b), np.zeros(M, dtype)
    left = np.ascontiguousarray(a.T)
    for flat, stride, between in ((a.ravel(), K, 1), (left.ravel(), 1, S)):
        out = np.empty((S, M), dtype)
        args = t, S, flat, 0, stride, between, K, b.ravel(), 0, M, M, zeros, out.ravel(), 0, M
        matmul.unpacked_product(*args)
        assert_same_bits(out, expected)
    right, column = np.ascontiguousarray(b.T).ravel(), np.empty(M, dtype)
    matmul.dots(t, a.dtype.type(0), a.ravel(), 0, 1, K, right, 0, K, M, column, 0)
    assert_same_bits(column, expected[0])


@given(SIZES, st.integers(1, 20), st.integers(0, 99))
def test_one_output_has_the_bits_of_one_of_several(dtype, K, S, seed):
    x = np.random.default_rng(seed).standard_normal((S, K)).astype(dtype)
    one, two = (Linear(K, n).initialise(0, dtype) for n in (1, 2))
    for name, a in two.parameters.items():
        one.parameters[name][:] = a[1:]
    assert_same_bits(one.forward(x)[0][:, 0], two.forward(x)[0][:, 1])


@pytest.mark.parametrize("score", ["dot", "general", "additive"])
@pytest.mark.parametrize("masked", [False, True])
def test_a_query_has_the_same_bits_alone_and_padding_is_not_read(dtype, score, masked):
    rng = np.random.default_rng(0)
    T, N, S, M = 9, 5, 23, 18
    layer = Attention(M, M, score).initialise(0, dtype)
    x, values = (rng.standard_normal((n, N, M)).astype(dtype) for n in (T, S))
    lengths = np.array([23, 1, 0, 8, 16])
    valid = np.arange(S)[:, None] < lengths
    if masked:
        valid &= rng.random((S, N)) < 0.5
    values[~valid] = np.nan
    memory = Memory(values, valid)
    y, _, tape = layer.forward(x, memory, record=True)
    grads = layer.backward(np.ones_like(y), tape)
    assert_same_bits(layer.forward(x, memory)[0], y)
    for t in range(T):
        assert_same_bits(layer.forward(x[t : t + 1], memory)[0], y[t : t + 1])
    for n in range(N):
        shorter = Memory(values[: lengths[n], n : n + 1], valid[: lengths[n], n : n + 1])
        assert_same_bits(layer.forward(x[:, n : n + 1], shorter)[0], y[:, n : n + 1])
    assert np.isfinite(y).all()
    assert all(np.isfinite(g).all() for g in grads.params.values())
    assert not grads.state.values[~valid].any()
    assert np.isfinite(grads.dx).all()
