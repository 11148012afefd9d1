"""Quantised weights: what they are, and that kernels give the bits of the dequantised matrix."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import config
from support.kernel_work import quantised
from support.strategies import SLOW, WIDTHS, Case

from recurrent import lstm
from recurrent.cells import CELLS
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.engine import Engine
from recurrent.kernels import backend, quantized
from recurrent.kernels.quantized import MOST, STORED, quantize

KINDS = list(STORED)
CELL_NAMES = sorted(CELLS)


def matrices():
    """Return a strategy for float32 matrices of any magnitude, with rows of zeros."""

    def build(rows, columns, seed, power, empty):
        rng = np.random.default_rng(seed)
        W = rng.standard_normal((rows, columns)) * 2.0 ** (power * rng.random((rows, 1)))
        if empty:
            W[seed % rows] = 0
        return W.astype(np.float32)

    sizes = st.integers(1, 9)
    return st.builds(
        build, sizes, sizes, st.integers(0, 999), st.integers(-149, 120), st.booleans()
    )


@given(matrices(), st.sampled_from(KINDS))
def test_quantising_the_rounded_weights_changes_nothing(W, kind):
    small = quantize(W, kind)
    again = quantize(small.dequantized(), kind)
    np.testing.assert_array_equal(again.codes, small.codes)
    np.testing.assert_array_equal(again.scales, small.scales)


def test_rows_that_round_to_zeros():
    """Their weights are below half of the smallest scale, a normal number."""
    W = np.array([[0, 0], [5e-39, -1e-40], [6e-39, 0], [1, 0]], np.float32)
    small = quantize(W, "int8")
    assert small.codes.tolist() == [[0, 0], [0, 0], [1, 0], [127, 0]]
    assert small.scales[:2].tolist() == [1, 1]
    again = quantize(small.dequantized(), "int8")
    np.testing.assert_array_equal(again.scales, small.scales)


@given(matrices())
def test_int8_is_within_half_a_step_of_each_row(W):
    small = quantize(W, "int8")
    rounded, peak = small.dequantized().astype(np.float64), np.abs(W).max(axis=1)
    assert np.abs(small.codes).max() <= MOST
    assert (np.abs(rounded - W) <= 0.5 * small.scales[:, None]).all()
    # The largest weight of a row has the largest code, so the step is as small as can be.
    usual = peak > 1e-30
    assert (np.abs(small.codes[usual]).max(axis=1) == MOST).all()
    assert (rounded == small.codes.astype(np.float64) * small.scales[:, None]).all(), "inexact"


@given(matrices())
def test_bfloat16_is_the_nearest_ties_to_even(W):
    torch = pytest.importorskip("torch")
    rounded = torch.from_numpy(W).to(torch.bfloat16).to(torch.float32).numpy()
    np.testing.assert_array_equal(quantize(W, "bfloat16").dequantized(), rounded)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_not_finite_are_refused(kind, bad):
    W = np.ones((2, 3), np.float32)
    W[1, 2] = bad
    with pytest.raises(ValueError, match=r"^W_hh must be finite to be quantised, got NaN or inf"):
        quantize(W, kind, "W_hh")


def test_other_kinds_and_dtypes_are_refused():
    params = lstm.init(2, 3)
    with pytest.raises(ValueError, match="weights must be one of int8, bfloat16"):
        lstm.pack(params, weights="int4")
    with pytest.raises(TypeError, match="W_ih must be float32 to be quantised, got float64"):
        lstm.pack(lstm.init(2, 3, np.float64), weights="int8")
    with pytest.raises(ValueError, match="the weights are not quantised"):
        lstm.pack(params).dequantized()
    largest = np.full((1, 1), np.finfo(np.float32).max)
    with pytest.raises(ValueError, match="too large for bfloat16"):
        quantize(largest, "bfloat16")


def test_an_int8_matrix_takes_a_quarter():
    W = np.ones((64, 256), np.float32)
    assert quantize(W, "int8").nbytes == W.nbytes // 4 + 4 * len(W)
    assert quantize(W, "bfloat16").nbytes == W.nbytes // 2


cells = st.builds(
    Case,
    T=st.integers(1, 4 if SLOW else 6),
    N=st.integers(1, 14),
    D=st.sampled_from(WIDTHS),
    H=st.sampled_from(WIDTHS),
    dtype=st.just("float32"),
    seed=st.integers(0, 2**16),
    scale=st.sampled_from([1.0, 0.1, 3.0]),
    initial=st.booleans(),
    ragged=st.booleans(),
    reverse=st.booleans(),
)


def assert_equal_bits(p):
    """Assert that forward and steps with quantised weights equal those with the rounded ones."""
    for a, b in zip(quantised(p), quantised(p, rounded=True), strict=True):
        assert_same_bits(a, b)


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
@given(data=st.data())
def test_forward_equals_that_of_the_dequantised_weights(name, data):
    assert_equal_bits(data.draw(cells).build(Engine(name)))


@pytest.mark.ci
@pytest.mark.parametrize("name", CELL_NAMES)
@settings(max_examples=12)
@given(case=cells)
def test_every_cell_equals_its_dequantised_weights(name, case):
    assert_equal_bits(case.build(Engine(name)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_linear_map_equals_its_dequantised_weights(kind):
    rng = np.random.default_rng(0)
    for S, K, M in ((1, 1, 1), (1, 7, 5), (3, 64, 65), (40, 33, 130)):
        W, x = (rng.standard_normal(s).astype(np.float32) for s in ((M, K), (S, K)))
        b, small = np.arange(M, dtype=np.float32), quantize(W, kind)
        y, expected = np.empty((2, S, M), np.float32)
        backend.linear(x, backend.pack_linear(small, b), y)
        backend.linear(x, backend.pack_linear(small.dequantized(), b), expected)
        assert_same_bits(y, expected)


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="the NumPy backend keeps the parameters")
def test_packed_int8_weights_take_a_quarter():
    params = lstm.init(256, 256)
    small, large = (lstm.pack(params, weights=w).weights.weights.panels for w in ("int8", None))
    assert small.nbytes < 0.27 * large.nbytes


def test_rows_of_a_table():
    W = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
    for kind in KINDS:
        small = quantized.quantize(W, kind)
        ids = np.array([[0, 5], [2, 2]])
        np.testing.assert_array_equal(small.rows(ids), small.dequantized()[ids])
        np.testing.assert_array_equal(small.rows(3), small.dequantized()[3])
