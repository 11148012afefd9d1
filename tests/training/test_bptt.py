"""Truncated BPTT equals full BPTT and hand-written windows bit for bit, alone and in training."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurrent import LSTM, Linear, Sequential, TruncatedBPTT, fit, optim
from recurrent.conformance.tolerance import assert_close, assert_same_bits
from recurrent.data import Windows
from recurrent.losses import mean_squared_error

pytestmark = pytest.mark.reference


def problem(steps, dtype="float64", seed=0):
    model = Sequential(LSTM(2, 3), Linear(3, 1), rng=seed, dtype=dtype)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((steps, 2, 2)).astype(dtype)
    y = rng.standard_normal((steps, 2, 1)).astype(dtype)
    return model, x, y


def full(model, x, y, state=None, counted=slice(None)):
    """Return loss and gradient, over the `counted` steps, of one forward and one backward pass."""
    out, _, tape = model.forward(x, state, record=True)
    value, d = mean_squared_error(out[counted], y[counted])
    dy = np.zeros_like(out)
    dy[counted] = d
    gradient = np.empty_like(model.flat)
    model.backward(dy, tape, out=gradient)
    return value, gradient


def pieces(x, y, stride):
    return [(x[t : t + stride], y[t : t + stride]) for t in range(0, len(x), stride)]


@given(st.integers(1, 9), st.integers(0, 99))
def test_one_piece_is_full_bptt(dtype, steps, seed):
    model, x, y = problem(steps, dtype, seed)
    for look_back in (None, steps, steps + 3):
        value, gradient, out = TruncatedBPTT(model, look_back).gradient(x, y, mean_squared_error)
        expected, whole = full(model, x, y)
        assert value == expected
        assert_same_bits(gradient, whole)
        assert_same_bits(out, model.forward(x)[0])


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_a_look_back_over_everything_adds_up_to_full_bptt(stride, count, seed):
    """Each gradient goes through all earlier steps, bit for bit; their mean is full BPTT."""
    model, x, y = problem(stride * count, seed=seed)
    run, total = TruncatedBPTT(model, look_back=stride * count), 0
    for k, piece in enumerate(pieces(x, y, stride)):
        value, gradient, _ = run.gradient(*piece, mean_squared_error)
        now = slice(k * stride, (k + 1) * stride)
        expected, whole = full(model, x[: now.stop], y[: now.stop], counted=now)
        assert value == expected
        assert_same_bits(gradient, whole)
        total = total + gradient / count
    assert_close(total, full(model, x, y)[1], 20 * stride * count)
    assert run.cuts == []
    assert run.steps == stride * count


@given(st.integers(1, 4), st.integers(0, 5), st.integers(1, 5), st.integers(0, 99))
def test_a_shorter_look_back_equals_a_window_by_hand(dtype, stride, more, count, seed):
    """The state at the cut comes from all steps before it; no gradient flows back through it."""
    model, x, y = problem(stride * count, dtype, seed)
    run, cuts = TruncatedBPTT(model, look_back=stride + more), []
    for k, piece in enumerate(pieces(x, y, stride)):
        value, gradient, out = run.gradient(*piece, mean_squared_error)
        end = (k + 1) * stride
        cut = max(0, end - stride - more)
        state = model.forward(x[:cut])[1] if cut else None
        expected, window = full(model, x[cut:end], y[cut:end], state, slice(-stride, None))
        assert value == expected
        assert_same_bits(gradient, window)
        assert_same_bits(out, model.forward(x)[0][end - stride : end])
        cuts += [cut] if cut else []
    assert run.cuts == cuts
    for a, b in zip(run.state[0], model.forward(x)[1][0], strict=True):
        assert_same_bits(a, b)


@pytest.mark.parametrize("look_back", [None, 3, 7])
def test_fit_equals_the_loop_by_hand(look_back):
    model, x, y = problem(18)
    other, _, _ = problem(18)
    history = fit(
        model,
        Windows(x, y, 3),
        mean_squared_error,
        optim.SGD(0.1),
        epochs=2,
        look_back=look_back,
        progress=False,
    )
    losses, run, optimizer = [], TruncatedBPTT(other, look_back), optim.SGD(0.1)
    for _ in range(2):
        run.reset()
        for piece in pieces(x, y, 3):
            value, gradient, _ = run.gradient(*piece, mean_squared_error)
            optimizer.update(other.flat, gradient)
            losses.append(value)
    assert history.losses == losses
    assert_same_bits(model.flat, other.flat)
    if look_back in (None, 3):
        assert run.cuts == list(Windows(x, y, 3).cuts)


def test_starting_from_a_state():
    model, x, y = problem(6)
    state = model.forward(x[:3])[1]
    value, gradient, _ = TruncatedBPTT(model, 3, state).gradient(x[3:], y[3:], mean_squared_error)
    expected, window = full(model, x[3:], y[3:], state)
    assert value == expected
    assert_same_bits(gradient, window)


def test_bad_input_is_named():
    model, x, y = problem(4)
    with pytest.raises(ValueError, match="look_back must be at least 1, got 0"):
        TruncatedBPTT(model, 0)
    with pytest.raises(
        ValueError, match="look_back must be at least the 4 steps of a piece, got 3"
    ):
        TruncatedBPTT(model, 3).gradient(x, y, mean_squared_error)
    with pytest.raises(ValueError, match="look_back needs sequences without lengths"):
        TruncatedBPTT(model, 4).gradient(x, y, mean_squared_error, lengths=[4, 2])
