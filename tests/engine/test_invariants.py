"""Bitwise promises, for every cell, dtype and layout."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import Case, cases

from recurrent import GRU, LSTM, RNN, Embedding, Linear, Sequential
from recurrent.cells import PYTORCH
from recurrent.conformance import promises
from recurrent.conformance.promises import row, same_states
from recurrent.conformance.tolerance import assert_same_bits

pytestmark = pytest.mark.reference


@given(st.data())
def test_a_row_of_a_batch_equals_the_sequence_alone(engine, dtype, data):
    p = data.draw(cases(dtype)).build(engine)
    n = data.draw(st.integers(0, p.case.N - 1))
    promises.a_row_equals_the_sequence_alone(p, n)


@given(st.data())
def test_a_permuted_batch_gives_permuted_results(engine, dtype, data):
    p = data.draw(cases(dtype)).build(engine)
    order = np.random.default_rng(p.case.seed).permutation(p.case.N)
    state = None if p.state is None else engine.State(*[s[order] for s in p.state])
    y, final, _ = p.forward()
    y2, final2, _ = p.forward(
        x=p.x[:, order], state=state, lengths=None if p.lengths is None else p.lengths[order]
    )
    assert_same_bits(y2, y[:, order])
    same_states(final2, engine.State(*[s[order] for s in final]))


@given(st.data())
def test_longer_padding_changes_nothing(engine, dtype, data):
    p = data.draw(cases(dtype, ragged=True)).build(engine)
    promises.longer_padding_changes_nothing(p)


@given(st.data())
def test_lengths_of_T_equal_no_lengths(engine, dtype, data):
    p = data.draw(cases(dtype, ragged=False)).build(engine)
    lengths = np.full(p.case.N, p.case.T)
    y, final, tape = p.forward(record=True)
    y2, final2, tape2 = p.forward(lengths=lengths, record=True)
    assert_same_bits(y2, y)
    same_states(final2, final)
    for a, b in zip(engine.backward(p.dy, tape)[1], engine.backward(p.dy, tape2)[1], strict=True):
        assert_same_bits(a, b, "dparams")


@given(st.data())
def test_lengths_cut_a_sequence(engine, dtype, data):
    p = data.draw(cases(dtype, ragged=True)).build(engine)
    y, final, _ = p.forward()
    for n, length in enumerate(p.lengths):
        assert not y[length:, n].any()
        if length:
            y1, final1, _ = p.forward(
                x=p.x[:length, n : n + 1], state=row(p.state, n), lengths=None
            )
            assert_same_bits(y[:length, n], y1[:, 0])
            same_states(row(final, n), final1)
        else:
            zeros = engine.State(*[np.zeros((1, p.case.H), dtype)] * len(final))
            same_states(row(final, n), row(p.state, n) or zeros)


@given(st.data())
def test_steps_equal_forward(engine, dtype, data):
    p = data.draw(cases(dtype, ragged=False, reverse=False)).build(engine)
    promises.steps_equal_forward(p)


@given(st.data())
def test_two_chunks_with_carried_state_equal_one_call(engine, dtype, data):
    p = data.draw(cases(dtype, T=st.integers(2, 9), ragged=False, reverse=False)).build(engine)
    promises.two_chunks_equal_one_call(p, data.draw(st.integers(0, p.case.T)))


@given(st.data())
def test_causality(engine, dtype, data):
    p = data.draw(cases(dtype, reverse=False)).build(engine)
    t = data.draw(st.integers(0, p.case.T - 1))
    changed = p.x.copy()
    changed[t:] += 1
    assert_same_bits(p.forward(x=changed)[0][:t], p.forward()[0][:t])


@given(st.data())
def test_reverse_is_flip_run_flip(engine, dtype, data):
    p = data.draw(cases(dtype, ragged=False, reverse=False)).build(engine)
    y, final, tape = p.forward(reverse=True, record=True)
    y2, final2, tape2 = p.forward(x=p.x[::-1], record=True)
    assert_same_bits(y, y2[::-1])
    same_states(final, final2)
    dx, dparams, d_initial = engine.backward(p.dy, tape, p.dstate)
    dx2, dparams2, d_initial2 = engine.backward(p.dy[::-1], tape2, p.dstate)
    assert_same_bits(dx, dx2[::-1], "dx")
    same_states(dparams, dparams2)
    same_states(d_initial, d_initial2)


@given(st.data())
def test_ragged_reverse_flips_each_valid_part(engine, dtype, data):
    p = data.draw(cases(dtype, ragged=True, reverse=True)).build(engine)
    flipped = p.x.copy()
    for n, length in enumerate(p.lengths):
        flipped[:length, n] = p.x[:length, n][::-1]
    y, final, _ = p.forward()
    y2, final2, _ = p.forward(x=flipped, reverse=False)
    for n, length in enumerate(p.lengths):
        assert_same_bits(y[:length, n], y2[:length, n][::-1])
        assert not y[length:, n].any()
    same_states(final, final2)


@given(st.data())
def test_unbatched_is_a_batch_of_one(engine, dtype, data):
    p = data.draw(cases(dtype, N=1, ragged=False)).build(engine)

    def single(state):
        return None if state is None else type(state)(*[s[0] for s in state])

    y, final, tape = p.forward(record=True)
    y1, final1, tape1 = p.forward(x=p.x[:, 0], state=single(p.state), record=True)
    assert_same_bits(y1, y[:, 0])
    same_states(final1, single(final))
    for gate, a in tape1.gates.items():
        assert_same_bits(a, tape.gates[gate][:, 0])
    dx, dparams, d_initial = engine.backward(p.dy, tape, p.dstate)
    dx1, dparams1, d_initial1 = engine.backward(p.dy[:, 0], tape1, single(p.dstate))
    assert_same_bits(dx1, dx[:, 0])
    same_states(dparams1, dparams)
    same_states(d_initial1, single(d_initial))


@given(st.data())
def test_recording_changes_no_bit(engine, dtype, data):
    p = data.draw(cases(dtype)).build(engine)
    y, final, tape = p.forward()
    y2, final2, _ = p.forward(record=True)
    assert tape is None
    assert_same_bits(y, y2)
    same_states(final, final2)


@given(st.data())
def test_arguments_do_not_change(engine, dtype, data):
    """No argument changes, and strided or read-only arrays give the same bits."""
    p = data.draw(cases(dtype)).build(engine)
    before = [a.copy() for a in (p.x, p.dy, *p.params, *(p.state or ()), *(p.dstate or ()))]
    first = [p.forward()[0], *p.gradients().values()]
    after = [p.x, p.dy, *p.params, *(p.state or ()), *(p.dstate or ())]
    for a, b in zip(before, after, strict=True):
        assert_same_bits(a, b)
    fortran = np.asfortranarray(p.x)
    fortran.flags.writeable = False
    params = engine.Params(*[np.repeat(a, 2, axis=-1)[..., ::2] for a in p.params])
    again = [
        p.forward(x=fortran, params=params)[0],
        *p.gradients(x=fortran, params=params).values(),
    ]
    for a, b in zip(first, again, strict=True):
        assert_same_bits(a, b)


@given(st.data())
def test_the_same_call_gives_the_same_bits(engine, dtype, data):
    """The tape is not consumed: a second backward, after another forward, gives the same bits."""
    p = data.draw(cases(dtype)).build(engine)
    tape = p.forward(record=True)[2]
    first = engine.backward(p.dy, tape, p.dstate)
    p.forward(x=p.x + 1)
    second = engine.backward(p.dy, tape, p.dstate)
    assert_same_bits(first[0], second[0])
    same_states(first[1], second[1])
    same_states(first[2], second[2])


@given(st.data())
def test_padding_is_never_read(engine, dtype, data):
    """NaN at padded steps of x and dy changes no output and no gradient, and dx is zero there."""
    p = data.draw(cases(dtype, ragged=True)).build(engine)
    clean = [p.forward()[0], *p.gradients().values()]
    padding = np.arange(p.case.T)[:, None] >= p.lengths
    x, dy = p.x.copy(), p.dy.copy()
    x[padding], dy[padding] = np.nan, np.nan
    dirty = p.gradients(x=x, dy=dy)
    for a, b in zip(clean, [p.forward(x=x)[0], *dirty.values()], strict=True):
        assert_same_bits(b, a)
    assert not dirty["x"][padding].any()


@given(st.data())
def test_nan_spreads_to_its_own_row_from_then_on(engine, dtype, data):
    p = data.draw(cases(dtype, reverse=False, ragged=False)).build(engine)
    t, n = data.draw(st.integers(0, p.case.T - 1)), data.draw(st.integers(0, p.case.N - 1))
    x = p.x.copy()
    x[t, n, data.draw(st.integers(0, p.case.D - 1))] = np.nan
    y, clean = p.forward(x=x)[0], p.forward()[0]
    assert np.isnan(y[t:, n]).all()
    affected = np.zeros(y.shape, bool)
    affected[t:, n] = True
    assert_same_bits(y[~affected], clean[~affected])
    dx, dx_clean = p.gradients(x=x)["x"], p.gradients()["x"]
    others = np.arange(p.case.N) != n
    assert_same_bits(dx[:, others], dx_clean[:, others], "dx of the other rows")


@given(st.data())
def test_infinite_input_never_crashes(engine, dtype, data):
    p = data.draw(cases(dtype, ragged=False)).build(engine)
    x = p.x.copy()
    x[0, 0, 0] = np.inf
    with np.errstate(all="ignore"):
        y = p.forward(x=x)[0]
        p.gradients(x=x)
    assert_same_bits(y[:, 1:], p.forward()[0][:, 1:])


# relu does not saturate.
@pytest.mark.parametrize("engine", [name for name in PYTORCH if name != "rnn_relu"], indirect=True)
@given(st.data())
def test_saturated_gates_stay_finite(engine, dtype, data):
    p = data.draw(cases(dtype)).build(engine)
    y = p.forward(x=p.x * np.dtype(dtype).type(1e6))[0]
    assert np.isfinite(y).all()
    assert all(
        np.isfinite(a).all() for a in p.gradients(x=p.x * np.dtype(dtype).type(1e6)).values()
    )


@given(st.data())
def test_gradients_are_linear_in_the_loss(engine, dtype, data):
    """Twice the loss gives exactly twice every gradient, because doubling does not round."""
    p = data.draw(cases(dtype, initial=False)).build(engine)
    once, twice = p.gradients(), p.gradients(dy=2 * p.dy)
    for name, a in once.items():
        assert_same_bits(twice[name], 2 * a, name)


def test_calls_from_many_threads_are_independent(engine, dtype):
    """Kernels release the GIL, so calls may not share any workspace."""
    problems = [Case(T=20, N=5, D=9, H=17 + k, dtype=dtype, seed=k).build(engine) for k in range(6)]

    def work(p):
        return [p.forward()[0], *p.gradients().values()]

    alone = [work(p) for p in problems]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(work, problems * 4))
    for k, results in enumerate(together):
        for a, b in zip(alone[k % 6], results, strict=True):
            assert_same_bits(b, a)


def poison(monkeypatch):
    """Fill all newly allocated memory with NaN and with the smallest integer.

    Bytes are parts of numbers: all of them set are a NaN.
    """

    def poisoned(make):
        def empty(*args, **kwargs):
            a = make(*args, **kwargs)
            if a.dtype.kind in "fc":
                a[...] = np.nan
            else:
                a[...] = np.iinfo(a.dtype).min if a.dtype.kind == "i" else np.iinfo(a.dtype).max
            return a

        return empty

    monkeypatch.setattr(np, "empty", poisoned(np.empty))
    monkeypatch.setattr(np, "empty_like", poisoned(np.empty_like))


@pytest.mark.parametrize(
    "case",
    [
        Case(T=3, N=7, D=5, H=17),
        Case(T=4, N=6, D=3, H=9, ragged=True, reverse=True),
        Case(T=4, N=40, D=16, H=64),  # whole vectors, and arrays that begin at a cache line
    ],
)
def test_poisoned_workspaces_change_nothing(engine, dtype, case, monkeypatch):
    p = case.build(engine)
    p.x, p.dy = p.x.astype(dtype), p.dy.astype(dtype)
    p.params = engine.Params(*[a.astype(dtype) for a in p.params])
    p.state, p.dstate = (engine.State(*[a.astype(dtype) for a in s]) for s in (p.state, p.dstate))
    # The first run compiles the kernels, so that the compiler does not see poisoned memory.
    clean = [p.forward()[0], *p.forward()[1], *p.gradients().values()]
    poison(monkeypatch)
    for a, b in zip(clean, [p.forward()[0], *p.forward()[1], *p.gradients().values()], strict=True):
        assert_same_bits(b, a)


def models(dtype):
    return {
        "characters": Sequential(
            Embedding(11, 5), LSTM(5, 17), GRU(17, 9), Linear(9, 11), rng=1, dtype=dtype
        ),
        "numbers": Sequential(
            RNN(3, 8), RNN(8, 16, nonlinearity="relu"), Linear(16, 1), rng=1, dtype=dtype
        ),
    }


@pytest.mark.parametrize("name", ["characters", "numbers"])
@pytest.mark.parametrize("N", [None, 1, 7])
def test_a_stream_equals_the_sequence_call(name, N, dtype):
    model, rng = models(dtype)[name], np.random.default_rng(0)
    shape = (9,) if N is None else (9, N)
    x = (
        rng.integers(0, 11, shape)
        if name == "characters"
        else rng.standard_normal((*shape, 3)).astype(dtype)
    )
    y = model.forward(x)[0]
    stream = model.stream()
    for _ in range(2):
        assert_same_bits(np.stack([stream.step(x_t) for x_t in x]), y)
        stream.reset()


@pytest.mark.parametrize("name", ["characters", "numbers"])
def test_rows_of_a_model_are_independent(name, dtype):
    model, rng = models(dtype)[name], np.random.default_rng(0)
    x = (
        rng.integers(0, 11, (6, 13))
        if name == "characters"
        else rng.standard_normal((6, 13, 3)).astype(dtype)
    )
    lengths = rng.integers(0, 7, 13)
    y, state, _ = model.forward(x, lengths=lengths)
    for n in range(13):
        y1, state1, _ = model.forward(x[:, n : n + 1], lengths=lengths[n : n + 1])
        assert_same_bits(y1[:, 0], y[:, n])
        for a, b in zip(state, state1, strict=True):
            if a is not None:
                same_states(row(a, n), b)
