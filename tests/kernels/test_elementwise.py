"""Elementwise passes: rules, sums of squares and softmax cross-entropy.

They equal NumPy, and keep every bit however the work is split.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurrent.conformance.tolerance import assert_close, assert_same_bits, tolerance
from recurrent.equations.expressions import exp, maximum, sqrt
from recurrent.equations.rules import trace
from recurrent.kernels import backend, reference, threads

pytestmark = pytest.mark.reference

SIZES = st.one_of(st.integers(0, 70), st.sampled_from([127, 128, 129, 1000]))
RULE = trace(
    "everything",
    lambda a, k: dict(
        p=a.p - k.rate * (a.g / (sqrt(a.v * a.v) + k.eps)),
        v=maximum(a.v, 2 * a.g),
        last=exp(-a.p * a.p),
    ),
    ("p", "g", "v", "last", "untouched"),
    ("eps", "rate", "unused"),
)
NUMBERS = {"rate": 0.3, "eps": 0.5, "unused": 7.0}


def several(patch, count):
    """Split everything that can be split into this many parts."""
    patch.setattr(threads, "MIN_FLOPS_PER_THREAD", 1e-3)
    patch.setattr(threads, "available", lambda: count)


def arrays(size, dtype, seed):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(size).astype(dtype) for name in RULE.arrays}


def apply(rule, values, block=16384, kernels=backend):
    """Return the arrays after the rule."""
    after = {name: a.copy() for name, a in values.items()}
    kernels.apply_rule(rule, NUMBERS, after, block)
    return after


def test_a_rule_lists_the_arrays_and_numbers_that_it_uses():
    assert RULE.name == "everything"
    assert list(RULE.arrays) == ["p", "g", "v", "last"]
    assert list(RULE.numbers) == ["eps", "rate"]
    with pytest.raises(
        ValueError, match="rule wrong: the equations return 'q', but the arrays are p"
    ):
        trace("wrong", lambda a, k: dict(q=a.p), ("p",), ())


def test_rules_are_equal_by_their_equations():
    def make(slope, arrays=("p", "g")):
        return trace("scale", lambda a, k: dict(p=slope * a.g + k.lr * a.p), arrays, ("lr",))

    assert make(2) == make(2)
    assert hash(make(2)) == hash(make(2))
    assert make(2) != make(3)
    assert make(2) != make(2, ("g", "p")), "arrays are handed over in the rule's order"


@given(SIZES, st.integers(0, 2**16))
def test_a_rule_is_its_equations(dtype, size, seed):
    before = arrays(size, dtype, seed)
    after = apply(RULE, before)
    p, g, v = before["p"], before["g"], before["v"]
    expected = {
        "p": p - 0.3 * (g / (np.abs(v) + 0.5)),
        "g": g,
        "v": np.maximum(v, 2 * g),
        "last": np.exp(-p * p),
    }
    for name, a in after.items():
        assert_close(a, expected[name], 1, max(1.0, np.abs(a).max(initial=0)), name)
    for name, a in apply(RULE, before, kernels=reference).items():
        assert_close(a, expected[name], 1, max(1.0, np.abs(a).max(initial=0)), name)


@pytest.mark.parametrize("kernels", [backend, reference], ids=["backend", "reference"])
def test_results_are_computed_from_the_old_values(kernels):
    swap = trace("swap", lambda a, k: dict(p=a.g, g=a.p, v=1.0), ("p", "g", "v"), ())
    p, g, v = np.arange(20.0), -np.arange(20.0), np.zeros(20)
    kernels.apply_rule(swap, {}, {"p": p, "g": g, "v": v}, 7)
    assert (p.tolist(), g.tolist(), v.tolist()) == (
        (-np.arange(20.0)).tolist(),
        np.arange(20.0).tolist(),
        [1.0] * 20,
    )


@given(st.integers(1, 300), st.integers(1, 70), st.sampled_from([2, 4]), st.integers(0, 2**16))
def test_no_split_changes_a_bit_of_a_rule(dtype, size, block, count, seed):
    before = arrays(size, dtype, seed)
    alone = apply(RULE, before)
    with pytest.MonkeyPatch.context() as patch:
        several(patch, count)
        together = apply(RULE, before, block)
    for name in alone:
        assert_same_bits(together[name], alone[name], name)


def squares(x, block, kernels=backend):
    sums = np.full(-(-x.size // block), np.nan)
    kernels.sums_of_squares(x, block, sums)
    return sums


@given(SIZES, st.integers(1, 70), st.sampled_from([2, 4]), st.integers(0, 2**16))
def test_sums_of_squares(dtype, size, block, count, seed):
    x = np.random.default_rng(seed).standard_normal(size).astype(dtype)
    sums = squares(x, block)
    wide = np.square(x.astype(np.longdouble))
    expected = np.array([wide[k : k + block].sum() for k in range(0, size, block)], float)
    assert_close(sums, expected, block)
    assert_close(squares(x, block, reference), expected, block)
    with pytest.MonkeyPatch.context() as patch:
        several(patch, count)
        assert_same_bits(squares(x, block), sums)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sum_of_squares_keeps_what_is_not_finite(dtype, bad):
    for place in (0, 15, 16, 36):
        x = np.ones(37, dtype)
        x[place] = bad
        assert_same_bits(
            squares(x, 20), np.where(np.arange(2) == place // 20, bad**2, [20.0, 17.0])
        )


def cross_entropy(logits, ids, valid=None, count=None, kernels=backend):
    (S, _), count = logits.shape, len(logits) if count is None else count
    dy, losses = np.full_like(logits, np.nan), np.full(S, np.nan)
    kernels.softmax_cross_entropy(
        logits, ids, np.zeros(0, bool) if valid is None else valid, count, dy, losses
    )
    return losses, dy


@given(
    st.integers(1, 9),
    st.integers(1, 70),
    st.sampled_from([0.1, 3.0, 100.0]),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_softmax_cross_entropy(dtype, S, V, size, some, seed):
    rng = np.random.default_rng(seed)
    logits, ids = (size * rng.standard_normal((S, V))).astype(dtype), rng.integers(0, V, S)
    valid = rng.random(S) < 0.5 if some else None
    wide = logits.astype(np.longdouble)
    e = np.exp(wide - wide.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    d = (p - (np.arange(V) == ids[:, None])) / S
    expected = np.log(e.sum(axis=1)) - (wide - wide.max(axis=1, keepdims=True))[np.arange(S), ids]
    if some:
        expected[~valid] = d[~valid] = 0
    for kernels in (backend, reference):
        losses, dy = cross_entropy(logits, ids, valid, kernels=kernels)
        # The exponent x - max is rounded: exp multiplies that error by the size of the logits.
        assert_close(dy, d.astype(dtype), V, max(1.0, 8 * size) / S)
        assert_close(losses.astype(dtype), expected.astype(dtype), V, max(1.0, 8 * size))
        if some:
            assert not dy[~valid].any()
            assert not losses[~valid].any()


@given(st.integers(1, 12), st.integers(1, 40), st.sampled_from([2, 4]), st.integers(0, 2**16))
def test_rows_of_the_loss_are_independent(dtype, S, V, count, seed):
    rng = np.random.default_rng(seed)
    logits, ids = (3 * rng.standard_normal((S, V))).astype(dtype), rng.integers(0, V, S)
    losses, dy = cross_entropy(logits, ids)
    with pytest.MonkeyPatch.context() as patch:
        several(patch, count)
        for a, b in zip(cross_entropy(logits, ids), (losses, dy), strict=True):
            assert_same_bits(a, b)
    for s in range(S):
        alone = cross_entropy(logits[s : s + 1], ids[s : s + 1], count=S)
        assert_same_bits(alone[0], losses[s : s + 1])
        assert_same_bits(alone[1], dy[s : s + 1])


@pytest.mark.parametrize("place", [0, 15, 16, 20])
def test_logits_that_are_not_finite(dtype, place):
    """A row with NaN or +inf has no softmax; -inf rules a class out. Other rows do not change."""
    clean = np.random.default_rng(0).standard_normal((3, 21)).astype(dtype)
    ids = np.full(3, 5)
    for bad in (np.nan, np.inf):
        logits = clean.copy()
        logits[1, place] = bad
        losses, dy = cross_entropy(logits, ids)
        assert np.isnan(losses).tolist() == [False, True, False]
        assert np.isnan(dy[1, place])
        assert np.isfinite(dy[[0, 2]]).all()
    logits = clean.copy()
    logits[1, place] = -np.inf
    losses, dy = cross_entropy(logits, ids)
    assert np.isfinite(losses).all()
    assert dy[1, place] == 0
    assert abs(dy[1].sum()) <= tolerance(dtype, 21)


def test_logits_of_any_size(dtype):
    most = np.finfo(dtype).max
    losses, dy = cross_entropy(np.array([[most, 0, -most], [0, 0, 0]], dtype), np.array([0, 1]))
    assert losses[0] == 0
    assert_close(dy, np.array([[0, 0, 0], [1 / 6, -1 / 3, 1 / 6]], dtype), 3)
