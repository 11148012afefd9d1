"""The engine against naive loops, for every cell, layout and dtype."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import naive
from support.strategies import Case, cases

from recurrent.conformance import promises
from recurrent.conformance.tolerance import assert_close

pytestmark = pytest.mark.reference


def check(engine, case):
    p = case.build(engine)
    y, final, _ = p.forward()
    expected_y, expected_final = naive.forward(
        engine.name, p.x, p.params, p.state, p.lengths, case.reverse
    )
    size = max(1.0, np.abs(expected_y).max(), *(np.abs(s).max() for s in expected_final))
    assert y.dtype == case.dtype
    assert_close(y, expected_y, p.terms, size, f"y in {case}")
    for name, s, e in zip(engine.State._fields, final, expected_final, strict=True):
        assert_close(s, e, p.terms, size, f"final {name} in {case}")


@given(st.data())
def test_forward_equals_naive_loops(engine, dtype, data):
    check(engine, data.draw(cases(dtype, T=st.integers(1, 4), N=st.integers(1, 7))))


@pytest.mark.parametrize("H", [1, 15, 16, 17, 33])
@pytest.mark.parametrize("N", [1, 6, 13])
def test_forward_equals_naive_loops_at_the_edges_of_tiles(engine, dtype, N, H):
    check(engine, Case(T=2, N=N, D=3, H=H, dtype=dtype, ragged=N == 13))


def test_interpreter_equals_naive_loops(engine, dtype):
    check(engine.reference, Case(T=3, N=4, D=3, H=5, dtype=dtype, ragged=True, reverse=True))


def test_engine_equals_interpreter(engine, dtype):
    """The kernel computes the graph that the pictures show: outputs, gates and states."""
    p = Case(T=5, N=7, D=9, H=17, dtype=dtype, ragged=True).build(engine)
    promises.equals_the_interpreter(p)
