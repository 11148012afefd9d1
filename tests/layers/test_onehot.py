"""OneHot: equal to an Embedding with an identity matrix, in a model, alone and in a stream."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurrent import LSTM, Embedding, Linear, OneHot, Sequential, gradcheck
from recurrent.cli import describe
from recurrent.conformance.tolerance import assert_close, assert_same_bits
from recurrent.losses import softmax_cross_entropy
from recurrent.training import checkpoint

pytestmark = pytest.mark.reference


def models(V, H, dtype, seed):
    """Return a model with OneHot, and one with equal weights and an identity Embedding."""
    hot = Sequential(OneHot(V), LSTM(V, H), Linear(H, V), rng=seed, dtype=dtype)
    table = Sequential(Embedding(V, V), LSTM(V, H), Linear(H, V), rng=seed, dtype=dtype)
    table.parameters["0.weight"][:] = np.eye(V)
    table.flat[V * V :] = hot.flat
    return hot, table


@given(
    V=st.integers(1, 12),
    H=st.sampled_from([1, 5, 17]),
    T=st.integers(1, 6),
    N=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_it_equals_an_embedding_with_the_identity_matrix(dtype, V, H, T, N, seed):
    hot, table = models(V, H, dtype, seed)
    assert hot.size == table.size - V * V
    ids, dy = np.random.default_rng(seed).integers(0, V, (T, N)), np.ones((T, N, V), dtype)
    outputs, grads = [], []
    for model in (hot, table):
        y, _, tape = model.forward(ids, record=True)
        outputs.append(y)
        grads.append(model.backward(dy, tape).params)
    assert_same_bits(*outputs)
    for name, g in grads[0].items():
        assert_same_bits(g, grads[1][name], name)
    stream = hot.stream()
    assert_same_bits(np.stack([stream.step(row) for row in ids]), outputs[0])


def test_it_equals_the_product_with_explicit_vectors(dtype):
    hot, _ = models(7, 5, dtype, 0)
    ids = np.array([[0, 6], [3, 3], [6, 1]])
    x, state, nothing = OneHot(7).initialise(dtype=dtype).forward(ids)
    assert (state, nothing) == (None, None)
    assert_same_bits(x, np.eye(7, dtype=dtype)[ids])
    above = Sequential(LSTM(7, 5), Linear(5, 7), dtype=dtype)
    above.flat[:] = hot.flat
    (y, _, tape), (expected, _, written) = (
        hot.forward(ids, record=True),
        above.forward(x, record=True),
    )
    assert_same_bits(y, expected)
    a, b = (
        hot.backward(np.ones_like(y), tape).params,
        above.backward(np.ones_like(y), written).params,
    )
    assert_close(a["1.weight_ih_l0"], b["0.weight_ih_l0"], 6, np.abs(b["0.weight_ih_l0"]).max())


def test_it_can_be_saved_checked_and_described(tmp_path):
    hot, _ = models(5, 3, "float64", 1)
    checkpoint.save(tmp_path / "m", checkpoint.Checkpoint(hot))
    again = checkpoint.load(tmp_path / "m").model
    ids = np.arange(6).reshape(3, 2) % 5
    assert_same_bits(again.forward(ids)[0], hot.forward(ids)[0])
    assert gradcheck(hot, ids, lambda y, lengths=None: softmax_cross_entropy(y, ids, lengths)).ok
    assert "into 5 values: 1 at the position of the id" in describe.unit(hot, 0)
    assert hot.plan(T=3, N=2).total > 0


def test_ids_out_of_range_are_named():
    with pytest.raises(IndexError, match=r"ids must be in 0..4, got 5 at \(1,\)"):
        OneHot(5).forward(np.array([0, 5]))
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        OneHot(0)
