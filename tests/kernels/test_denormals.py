"""Denormal numbers count as zero inside kernels, and as usual outside."""

import platform

import numpy as np
import pytest

import recurrent
from recurrent import kernels, rnn_relu

TINY = {"float32": 1e-40, "float64": 1e-310}


def denormals_are_kept(dtype) -> bool:
    """Return whether this thread computes with denormals, as NumPy expects."""
    return np.array([TINY[dtype]], dtype)[0] * np.array([0.5], dtype)[0] != 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_the_callers_setting_is_restored_after_every_call(cell, dtype):
    engine = getattr(recurrent, cell)
    params = engine.init(3, 5, dtype=dtype)
    x = np.full((4, 2, 3), TINY[dtype], dtype)
    y, _, tape = engine.forward(x, params, record=True)
    assert denormals_are_kept(dtype)
    engine.backward(np.full_like(y, TINY[dtype]), tape)
    assert denormals_are_kept(dtype)
    engine.stepper(params)(x[0])
    assert denormals_are_kept(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_denormals_count_as_zero_in_compiled_kernels(dtype):
    one = np.ones(1, dtype)
    params = rnn_relu.Params(one[:, None], one[:, None], 0 * one, 0 * one)
    flushes = kernels.backend is not kernels.reference and platform.machine() in ("x86_64", "AMD64")
    expected = 0.0 if flushes else np.array(TINY[dtype], dtype)
    y, _, _ = rnn_relu.forward(np.full((1, 1), TINY[dtype], dtype), params)
    assert y[0, 0] == expected
    smallest = np.finfo(dtype).tiny
    y, _, _ = rnn_relu.forward(np.full((1, 1), smallest, dtype), params)
    assert y[0, 0] == smallest  # the smallest number of full precision is kept
