"""Hold: padding repeats the last valid output, as Keras does with masks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurrent import LSTM, Hold, Sequential
from recurrent.conformance.tolerance import assert_close, assert_same_bits

pytestmark = pytest.mark.reference


@given(st.integers(1, 7), st.integers(1, 4), st.booleans(), st.integers(0, 999))
def test_padding_repeats_the_last_valid_step_and_gradients_add_up(dtype, T, N, anywhere, seed):
    rng = np.random.default_rng(seed)
    mask = (
        rng.random((T, N)) < 0.6 if anywhere else np.arange(T)[:, None] < rng.integers(0, T + 1, N)
    )
    lengths = mask if anywhere else mask.sum(axis=0)
    x = np.where(mask[:, :, None], rng.standard_normal((T, N, 2)), np.nan).astype(dtype)
    dy = rng.standard_normal(x.shape).astype(dtype)
    expected, dx = np.zeros_like(x), np.zeros_like(x)
    for n in range(N):
        last = None
        for t in range(T):
            last = t if mask[t, n] else last
            if last is not None:
                expected[t, n] = x[last, n]
                dx[last, n] += dy[t, n]
    y, state, tape = Hold().forward(x, lengths=lengths, record=True)
    assert state is None
    assert_same_bits(y, expected)
    assert_same_bits(Hold().backward(dy, tape).dx, dx)


def test_after_a_recurrent_layer_it_equals_keras(dtype):
    """In Keras a masked step keeps the state and repeats the output; at first that is zeros."""
    model = Sequential(LSTM(3, 4), Hold(), rng=0, dtype=dtype)
    rng = np.random.default_rng(0)
    x, mask = rng.standard_normal((9, 5, 3)).astype(dtype), rng.random((9, 5)) < 0.6
    mask[:, 0] = False
    y, final, _ = model.forward(x, lengths=mask)
    lstm, before, out = model[0], None, np.zeros((5, 4), dtype)
    for t in range(9):
        stepped, after, _ = lstm.forward(x[t : t + 1], before)
        before = before or type(after)(*(np.zeros_like(a) for a in after))
        m = mask[t][:, None]
        out = np.where(m, stepped[0], out)
        before = type(after)(*(np.where(m, a, b) for a, b in zip(after, before, strict=True)))
        assert_same_bits(y[t], out)
    for a, b in zip(final[0], before, strict=True):
        assert_same_bits(a, b)
    counts = mask.sum(axis=0)
    assert_close(y[-1][counts > 0], final[0].h[counts > 0], 1)


def test_without_lengths_it_is_the_identity_and_it_streams():
    x = np.ones((2, 1, 3), np.float32)
    y, _, tape = Hold().forward(x, record=True)
    assert_same_bits(y, x)
    assert_same_bits(Hold().backward(x, tape).dx, x)
    assert_same_bits(Hold().stream().step(x[0]), x[0])
    with pytest.raises(
        ValueError, match=r"lengths need a batch: x must be \(T, N, K\), got \(2, 3\)"
    ):
        Hold().forward(x[:, 0], lengths=[2])
