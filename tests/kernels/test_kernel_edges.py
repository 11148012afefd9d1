"""Kernels neither write nor use memory outside their arrays: each lies between NaN sentinels."""

import ast
import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import config, njit
from numba.core.dispatcher import Dispatcher
from support.kernel_work import add_outer, attending, everything, training
from support.sentinels import GuardedModule, guarded, kernel_modules, watch
from support.strategies import Case, cases

from recurrent import LSTM, Embedding, Linear, Sequential, Tanh
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.engine.engine import Engine
from recurrent.kernels import compiled, matmul
from recurrent.kernels.codegen.target import target

pytestmark = pytest.mark.skipif(
    bool(config.DISABLE_JIT), reason="there are no compiled kernels with the JIT off"
)

WIDTHS = [1, 15, 16, 17, 31, 33, 50]


def assert_guards_change_nothing(work):
    """Assert that work() returns the same bits between sentinels, and changes none of them."""
    expected = work()
    with pytest.MonkeyPatch.context() as patch:
        seen = watch(patch, compiled)
        actual = work()
    for k, (a, b) in enumerate(zip(actual, expected, strict=True)):
        assert_same_bits(a, b, f"result {k}")
    return seen


@pytest.mark.parametrize("H", WIDTHS)
def test_every_batch_up_to_two_tiles_at_the_edges_of_vectors(engine, dtype, H):
    for N in range(1, 15):
        case = Case(
            T=1 + N % 4,
            N=N,
            D=WIDTHS[(N + H) % len(WIDTHS)],
            H=H,
            dtype=dtype,
            seed=N,
            ragged=N % 3 == 0,
        )
        assert_guards_change_nothing(lambda case=case: everything(case.build(engine)))


@given(st.data())
def test_any_size(engine, dtype, data):
    width = st.integers(1, 50)
    p = data.draw(cases(dtype, T=st.integers(1, 4), D=width, H=width)).build(engine)
    assert_guards_change_nothing(lambda: everything(p))


@given(st.data())
def test_layers_around_a_cell(dtype, data):
    V, E, H, T, N = (
        data.draw(st.integers(1, high), label=name)
        for name, high in dict(V=40, E=20, H=20, T=4, N=14).items()
    )
    model = Sequential(Embedding(V, E), LSTM(E, H), Linear(H, V), rng=0, dtype=dtype)
    ids = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, V, (T, N))

    def work():
        y, _, tape = model.forward(ids, record=True)
        return [y, *model.backward(np.cos(y), tape).params.values(), model.stream().step(ids[0])]

    assert_guards_change_nothing(work)


@given(st.integers(1, 50), st.integers(0, 9), st.integers(0, 100))
def test_elementwise_passes(dtype, V, S, P):
    assert_guards_change_nothing(lambda: training(V, S, P, dtype))


@given(
    st.integers(1, 9), st.integers(1, 40), st.integers(1, 4), st.integers(1, 40), st.integers(1, 40)
)
def test_attention(dtype, T, S, N, Q, M):
    assert_guards_change_nothing(lambda: attending(T, S, N, Q, M, dtype))


def test_more_rows_than_are_packed_at_once(engine, dtype):
    p = Case(T=3, N=matmul.ROWS_AT_ONCE // 2 + 1, D=3, H=17, dtype=dtype).build(engine)
    assert_guards_change_nothing(lambda: everything(p))


def test_every_kernel_that_is_called_from_python_was_watched():
    model = Sequential(Embedding(3, 2), LSTM(2, 3), Linear(3, 3), rng=0)
    p = Case(T=2, N=2, D=3, H=2, dtype="float32").build(Engine(model[1].cell))
    alone = Case(T=9, N=1, D=3, H=2, dtype="float32").build(Engine(model[1].cell))
    own = Case(T=2, N=2, D=3, H=2, dtype="float32").build(
        Engine(LSTM(3, 2, peephole=True).cell)
    )  # parameters of each unit

    chained = Sequential(LSTM(2, 3), Linear(3, 3), Tanh(), rng=0)

    def work():
        y, _, tape = model.forward(np.array([[0, 2], [1, 1]]), record=True)
        return [
            y,
            *model.backward(y.copy(), tape).params.values(),
            *everything(p),
            *everything(alone),
            *everything(own),
            chained.stream().step(np.ones((2, 2), "f")),
            *training(3, 4, 5, "float32"),
            *attending(2, 3, 2, 2, 3, "float32"),
            Linear(3, 1).initialise(0).forward(np.ones((2, 3), "f"))[0],
        ]

    tree, modules = ast.parse(inspect.getsource(compiled)), kernel_modules(compiled)
    used = [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.Attribute) and getattr(n.value, "id", None) in modules
    ]
    called = {n.attr for n in used if isinstance(getattr(modules[n.value.id], n.attr), Dispatcher)}
    assert assert_guards_change_nothing(work) == called


@given(st.data())
def test_scratch_of_a_sum_over_rows(dtype, data):
    """The workspace of `outer`, with no number to spare, in both directions."""
    M, D, K, S = (data.draw(st.integers(1, 50), label=name) for name in "MDKS")
    rng, t = np.random.default_rng(data.draw(st.integers(0, 99))), target(np.dtype(dtype))
    K = min(K, S)
    first, column, L = S - K, 3, t.lanes
    a, b = (rng.standard_normal(shape).astype(dtype) for shape in ((S, M + 5), (S, D)))
    rows = rng.permutation(S) if data.draw(st.booleans()) else compiled.NO_ROWS
    step = data.draw(st.sampled_from([1, -1]))
    start = first if step > 0 else S - 1
    transposed, panels = np.full(M * K, np.nan, dtype), np.zeros(-(-D // L) * L * K, dtype)
    begun = rng.standard_normal(M * D).astype(dtype)
    out, expected, kernels = begun.copy(), begun.copy(), GuardedModule(matmul)
    kernels.transpose_columns(t, a.ravel(), column, M, M + 5, start, step, K, transposed)
    kernels.pack_rows(t, b.ravel(), 0, D, D, rows, start, step, K, panels, K)
    guarded(add_outer)(t, M, D, K, transposed, panels, out)
    left, right = a[first:][::step, column:], (b[rows[first:]] if rows.size else b[first:])[::step]
    no_rows = compiled.NO_ROWS
    kernels.outer(
        t, left.ravel(), 0, M, M + 2, K, 1, right.ravel(), 0, D, D, no_rows, 8, expected, 0, D
    )
    assert_same_bits(out, expected)


# The sentinels are tested: each of these kernels makes a mistake that they must detect.


@njit
def writes_before(a):
    a[-a.size - 1] = 1  # a negative index counts from the end, once


@njit
def writes_after(a):
    a[a.size + 1] = 1


@njit
def reads_past(a, b):
    for k in range(b.size):
        b[k] = a[k + 1]


def test_a_write_outside_an_array_is_seen(dtype):
    for kernel, where in (
        (writes_before, r"\[1\] numbers before"),
        (writes_after, r"\[2\] numbers after"),
    ):
        with pytest.raises(
            AssertionError, match=f"{kernel.__name__}, argument 0, wrote {where} an array"
        ):
            guarded(kernel)(np.ones(5, dtype))


def test_a_read_past_an_array_is_seen(dtype):
    a, b = np.ones(5, dtype), np.ones(5, dtype)
    guarded(reads_past)(a, b)
    assert np.isnan(b[-1])
    assert not np.isnan(b[:-1]).any()
