"""Compiled kernels: accuracy of the activation functions, and tiles that fit the registers."""

from __future__ import annotations

import numpy as np
import pytest
from llvmlite import ir
from numba import config

from recurrent.cells import (
    cos,
    exp,
    log,
    maximum,
    minimum,
    relu,
    sigmoid,
    sin,
    softplus,
    sqrt,
    tanh,
    trace_cell,
    where,
)
from recurrent.engine.engine import Engine
from recurrent.equations.expressions import OPS
from recurrent.kernels.codegen.target import AVX2, AVX512, PORTABLE, Target, host
from recurrent.kernels.codegen.vector import Vectors

FUNCTIONS = {
    "tanh": tanh,
    "sigmoid": sigmoid,
    "exp": exp,
    "softplus": softplus,
    "sqrt": sqrt,
    "relu": relu,
    "log": log,
    "sin": sin,
    "cos": cos,
    "remainder": lambda a: a % 0.7,
    "remainder_negative": lambda a: a % -1e10,
    "remainder_of": lambda a: 5 % a,
    "power": lambda a: a**2.5,
    "power_of_2": lambda a: 2**a,
    "ninth_power": lambda a: a**9,
    "inverse_cube": lambda a: a**-3,
    "above_1": lambda a: a > 1,
    "below_1": lambda a: a < 1,
    "least_1": lambda a: a >= 1,
    "most_1": lambda a: a <= 1,
    "chosen": lambda a: where(a, 2 * a, -1.0),
    "inverse": lambda a: 1 / a,
    "at_least_1": lambda a: maximum(a, 1.0),
    "at_least_1_swapped": lambda a: maximum(1.0, a),
    "at_most_1": lambda a: minimum(a, 1.0),
    "at_most_1_swapped": lambda a: minimum(1.0, a),
}


@trace_cell("elementwise_test", gates="a", states=" ".join(FUNCTIONS), register=False)
def functions_cell(x, h, previous):
    """One kernel for all functions: each state is one function of the pre-activation."""
    a = x.a + h.a
    return dict(a=a, **{name: function(a) for name, function in FUNCTIONS.items()})


def elementwise(name, x):
    """Return FUNCTIONS[name](x) by a kernel: a cell of one unit, weight 1, biases 0."""
    engine = Engine(functions_cell)
    one, zero = np.ones((1, 1), x.dtype), np.zeros((1, 1), x.dtype)
    params = engine.Params(one, zero, zero[0], zero[0])
    return getattr(engine.forward(x.reshape(1, -1, 1), params)[1], name).ravel()


def ulps(actual, exact):
    """Return the error in units in the last place of the exact value, given in a wider format."""
    return np.abs(
        (actual.astype(exact.dtype) - exact)
        / np.spacing(np.abs(exact).astype(actual.dtype)).astype(exact.dtype)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tanh_and_sigmoid_are_within_their_stated_bounds(dtype):
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [
            rng.uniform(-25, 25, 100_000),
            rng.standard_normal(100_000),
            10.0 ** rng.uniform(-30, 0, 50_000),
        ]
    )
    x = np.concatenate([x, -x]).astype(dtype)
    wide = x.astype(np.longdouble)
    y = elementwise("tanh", x)
    assert ulps(y, np.tanh(wide)).max() <= (6 if dtype == np.float32 else 4)
    assert np.abs(y).max() == 1
    # Below 1/2 the sum 0.5 tanh + 0.5 cancels: the error is absolute there, of the size of eps.
    error = np.abs(elementwise("sigmoid", x).astype(np.longdouble) - 1 / (1 + np.exp(-wide)))
    assert error.max() <= 2 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_is_within_its_stated_bound(dtype):
    """The bound holds for normal results.

    Subnormal ones are 0, or within one step on processors that do not flush them.
    """
    rng, info = np.random.default_rng(0), np.finfo(dtype)
    low, high = np.log(float(info.smallest_subnormal)) - 1, np.log(float(info.max))
    x = np.concatenate(
        [
            rng.uniform(low, high, 300_000),
            rng.standard_normal(100_000),
            10.0 ** rng.uniform(-40, 0, 50_000),
        ]
    )
    x = np.concatenate(
        [x, -(10.0 ** rng.uniform(-40, 0, 50_000)), [high], np.arange(-10, 10) * np.log(2) / 2]
    ).astype(dtype)
    x = x[x <= high]
    y, exact = elementwise("exp", x), np.exp(x.astype(np.longdouble))
    normal = exact >= info.smallest_normal
    assert ulps(y[normal], exact[normal]).max() <= 1.5
    below, step = y[~normal], info.smallest_subnormal
    assert ((below == 0) | (np.abs(below - exact[~normal]) <= step)).all()
    assert (~normal).sum() > 100
    assert np.isfinite(y).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softplus_is_within_its_stated_bound(dtype):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-60, 60, 100_000), rng.standard_normal(100_000)]).astype(dtype)
    assert ulps(elementwise("softplus", x), np.logaddexp(0, x.astype(np.longdouble))).max() <= 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_is_within_its_stated_bound(dtype):
    rng, info = np.random.default_rng(0), np.finfo(dtype)
    most = np.log10(float(info.max))
    x = [rng.uniform(0.4, 2.5, 200_000), rng.uniform(0.99, 1.01, 100_000)]
    x += [10.0 ** rng.uniform(np.log10(float(info.smallest_normal)), most, 200_000)]
    x += [1 + np.arange(-1000, 1000) * float(info.eps), [float(info.smallest_normal), 0.5**0.5]]
    x = np.concatenate(x).astype(dtype)
    x = x[x != 1]
    assert ulps(elementwise("log", x), np.log(x.astype(np.longdouble))).max() <= 1
    ends = np.array([1, 0, -0.0, -1, np.inf, -np.inf, np.nan], dtype)
    expected = np.array([0, -np.inf, -np.inf, np.nan, np.inf, np.nan, np.nan], dtype)
    np.testing.assert_array_equal(elementwise("log", ends), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sin_and_cos_are_within_their_stated_bounds(dtype):
    rng = np.random.default_rng(0)
    x = [rng.uniform(-10, 10, 100_000), rng.uniform(-1e6, 1e6, 100_000)]
    # Numbers near multiples of pi / 2, where the reduced argument has lost most of its digits.
    x += [np.arange(-600_000, 600_000, 17) * (np.pi / 2), 10.0 ** rng.uniform(-30, 0, 10_000)]
    x = np.concatenate(x).astype(dtype)
    exact = x.astype(np.longdouble)
    for name, function in (("sin", np.sin), ("cos", np.cos)):
        assert ulps(elementwise(name, x), function(exact)).max() <= 2, name
    ends = np.array([0, np.inf, -np.inf, np.nan, 1.1e6, -1.1e6], dtype)
    np.testing.assert_array_equal(elementwise("sin", ends), [0, *[np.nan] * 5])
    np.testing.assert_array_equal(elementwise("cos", ends), [1, *[np.nan] * 5])


@pytest.mark.skipif(
    not config.DISABLE_JIT and not host().fma, reason="exact with fused multiply-adds alone"
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_remainders_are_exact(dtype):
    rng = np.random.default_rng(0)
    divisor = dtype(0.7)
    near = (np.arange(-50_000, 50_000) * float(divisor)).astype(dtype)
    x = np.concatenate([rng.uniform(-1e5, 1e5, 100_000), rng.standard_normal(100_000)])
    x = np.concatenate([x.astype(dtype), near, np.nextafter(near[near != 0], dtype(9e9))])
    found = elementwise("remainder", x)
    np.testing.assert_array_equal(found, np.remainder(x, divisor))
    assert found.min() >= 0
    assert found.max() < divisor
    found, limit = elementwise("remainder_negative", x), dtype(-1e10)
    np.testing.assert_array_equal(found, np.remainder(x, limit))
    with np.errstate(invalid="ignore"):
        ends = np.array([0, np.inf, -np.inf, np.nan, 3, -3, 1e30], dtype)
        for name, pair in (("remainder", (ends, divisor)), ("remainder_of", (dtype(5), ends))):
            if name == "remainder":
                pair = pair[0][:-1], pair[1]
            expected = np.remainder(*pair)
            np.testing.assert_array_equal(elementwise(name, ends)[: expected.size], expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_powers_are_within_their_stated_bounds(dtype):
    """A real power is exp(a log(x)): an error of the logarithm grows with the exponent."""
    rng = np.random.default_rng(0)
    x = np.concatenate([10.0 ** rng.uniform(-6, 6, 100_000), [0]]).astype(dtype)
    wide = x.astype(np.longdouble)
    with np.errstate(divide="ignore"):
        size = 2.5 * np.abs(np.log(wide))
    assert (ulps(elementwise("power", x), wide**2.5)[:-1] <= 2 + 2 * size[:-1]).all()
    assert elementwise("power", x)[-1] == 0
    assert np.isnan(elementwise("power", -x[:1])).all()
    y = rng.uniform(-20, 20, 100_000).astype(dtype)
    size = np.abs(y) * np.log(2)
    assert (ulps(elementwise("power_of_2", y), 2 ** y.astype(np.longdouble)) <= 2 + 2 * size).all()
    y, wide = (a[np.abs(a) > 1e-3] for a in (y, y.astype(np.longdouble)))
    assert ulps(elementwise("ninth_power", y), wide**9).max() <= 8
    assert ulps(elementwise("inverse_cube", y), wide**-3).max() <= 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_comparisons_and_choices(dtype):
    x = np.array([0, 1, 2, -np.inf, np.inf, np.nan, -0.0], dtype)
    for name, expected in (
        ("above_1", x > 1),
        ("below_1", x < 1),
        ("least_1", x >= 1),
        ("most_1", x <= 1),
        ("chosen", np.where(x, 2 * x, dtype(-1))),
    ):
        np.testing.assert_array_equal(elementwise(name, x), expected.astype(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_square_root_and_quotient_at_the_ends(dtype):
    x = np.array([0.0, np.inf, -np.inf, np.nan, 1e30, -1e30, 4.0], dtype)
    inverse = np.array([1e30], dtype)[0] ** -1
    for name, expected in (
        ("exp", [1, np.inf, 0, np.nan, np.inf, 0, None]),
        ("sqrt", [0, np.inf, np.nan, np.nan, None, np.nan, 2]),
        ("inverse", [np.inf, 0, 0, np.nan, inverse, -inverse, 0.25]),
        ("at_least_1", [1, np.inf, 1, np.nan, 1e30, 1, 4]),
        ("at_least_1_swapped", [1, np.inf, 1, np.nan, 1e30, 1, 4]),
        ("at_most_1_swapped", [0, 1, -np.inf, np.nan, 1, -1e30, 1]),
        ("at_most_1", [0, 1, -np.inf, np.nan, 1, -1e30, 1]),
        ("softplus", [None, np.inf, 0, np.nan, 1e30, 0, None]),
    ):
        y = elementwise(name, x)
        for actual, value in zip(y, expected, strict=True):
            if value is not None:
                np.testing.assert_array_equal(actual, dtype(value))
    assert ulps(elementwise("exp", x[-1:]), np.exp(x[-1:].astype(np.longdouble))).max() <= 1.5


def test_every_operation_of_equations_has_vector_code():
    v = Vectors(ir.IRBuilder(), Target(np.float32, host(), None))
    assert all(callable(v.operation(op)) for op in OPS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_at_the_ends(dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30], dtype)
    for name, expected in (
        ("tanh", [0, 0, 1, -1, np.nan, 1, -1]),
        ("sigmoid", [0.5, 0.5, 1, 0, np.nan, 1, 0]),
        ("relu", [0, 0, np.inf, 0, np.nan, 1e30, 0]),
    ):
        np.testing.assert_array_equal(elementwise(name, x), np.array(expected, dtype))


def test_the_host_is_one_of_the_known_units():
    assert host() in (AVX512, AVX2, PORTABLE) or host().bytes == 16


def test_tiles_fit_the_registers():
    for unit in (AVX512, AVX2, PORTABLE):
        for vectors in range(1, 9):
            tallest, *smaller = Target(np.float32, unit, None).rows(vectors)
            assert tallest == 1 or tallest * vectors + min(tallest, vectors) + 1 <= unit.registers
            assert sorted({tallest, *smaller}, reverse=True) == [tallest, *smaller]
            assert all(
                any(sum(c) == n for c in _subsets(smaller)) for n in range(tallest)
            )  # every remainder is met


def _subsets(sizes):
    """Return every choice of sizes, each at most once: what tiles can cover after the tallest."""
    out = [[]]
    for s in sizes:
        out += [[*c, s] for c in out]
    return out
