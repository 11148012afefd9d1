"""Ragged batches given as masks or as lists of arrays, and pooling over their valid steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import cases, flat

from recurrent import (
    GRU,
    LSTM,
    Dropout,
    Embedding,
    Last,
    Linear,
    MaxPool,
    MeanPool,
    Sequential,
    losses,
)
from recurrent.conformance.promises import results, same_results
from recurrent.conformance.tolerance import assert_close, assert_same_bits
from recurrent.engine.bidirectional import MERGES

pytestmark = pytest.mark.reference

ONE_OR_BOTH = st.sampled_from([None, *MERGES])


def inside(lengths, T):
    return np.arange(T)[:, None] < lengths


@given(st.data())
def test_a_prefix_mask_equals_lengths(engine, dtype, data):
    p = data.draw(cases(dtype, ragged=True, merge=ONE_OR_BOTH)).build(engine)
    same_results(results(p, lengths=inside(p.lengths, p.case.T)), results(p))


@given(st.data())
def test_masked_steps_are_skipped(engine, dtype, data):
    """Each sequence gives the bits of its valid steps alone, and zeros at masked steps."""
    p = data.draw(cases(dtype, ragged=False, merge=ONE_OR_BOTH)).build(engine)
    T, N = p.case.T, p.case.N
    mask = np.random.default_rng(p.case.seed).random((T, N)) < data.draw(
        st.sampled_from([0.2, 0.6, 0.9])
    )
    lengths = mask.sum(axis=0)
    x, dy = np.zeros_like(p.x), np.zeros_like(p.dy)
    for n, length in enumerate(lengths):
        x[:length, n], dy[:length, n] = p.x[mask[:, n], n], p.dy[mask[:, n], n]
    y, final, tape = p.forward(x=x, lengths=lengths, record=True)
    dx, *others = p.runner().backward(dy, tape, p.dstate)
    p.x[~mask], p.dy[~mask] = np.nan, np.nan  # values at masked steps are never read
    y2, final2, tape2 = p.forward(lengths=mask, record=True)
    dx2, *others2 = p.runner().backward(p.dy, tape2, p.dstate)
    same_results(flat(final2), flat(final))
    for a, b in zip(others2, others, strict=True):
        same_results(flat(a), flat(b))
    pairs = [(y2, y), (dx2, dx), *((tape2.gates[g], a) for g, a in tape.gates.items())]
    for spread, packed in pairs:
        assert not spread[~mask].any()
        for n, length in enumerate(lengths):
            assert_same_bits(spread[mask[:, n], n], packed[:length, n])


def model(dtype="float64", pool=None):
    layers = (
        Embedding(7, 3),
        LSTM(3, 4, bidirectional=True),
        Dropout(0.5),
        *([pool] if pool else []),
        Linear(8, 5),
    )
    return Sequential(*layers, rng=1, dtype=dtype)


def texts(lengths=(5, 0, 2, 7), seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 7, n) for n in lengths]


def test_a_list_of_arrays_is_a_batch_with_lengths(dtype):
    net, ids = model(dtype), texts()
    padded, lengths = np.zeros((7, 4), int), np.array([5, 0, 2, 7])
    for n, a in enumerate(ids):
        padded[: len(a), n] = a
    y, state, tape = net.forward(padded, lengths=lengths, record=True, training=False)
    ys, states, tapes = net.forward(ids, record=True, training=False)
    assert [a.shape for a in ys] == [(n, 5) for n in lengths]
    for n, a in enumerate(ys):
        assert_same_bits(a, y[: len(a), n])
        assert_same_bits(a, net.forward(ids[n])[0])  # and what the sequence alone gives
    same_results(flat(states[1]), flat(state[1]))
    dy = np.where(
        inside(lengths, 7)[:, :, None], np.random.default_rng(1).standard_normal(y.shape), 0
    ).astype(dtype)
    grads = net.backward(dy, tape)
    listed = net.backward([dy[:k, n] for n, k in enumerate(lengths)], tapes)
    same_results(listed.params.values(), grads.params.values())


@pytest.mark.parametrize("layer", [LSTM(3, 4), GRU(3, 4, bidirectional=True)], ids=repr)
def test_a_layer_takes_a_list(layer, dtype):
    layer.initialise(1, dtype)
    x = [np.random.default_rng(n).standard_normal((n, 3)).astype(dtype) for n in (4, 0, 6)]
    ys, _, tape = layer.forward(x, record=True)
    dx = layer.backward([np.ones_like(y) for y in ys], tape).dx
    assert [a.shape for a in dx] == [a.shape for a in x]
    for a, y, d in zip(x, ys, dx, strict=True):
        alone, _, tape = layer.forward(a, record=True)
        assert_same_bits(y, alone)
        assert_same_bits(d, layer.backward(np.ones_like(alone), tape).dx)


def test_a_recording_of_a_list_knows_its_lengths():
    net, ids = model(), texts()
    recording = net.record(ids, [np.zeros(len(a), int) for a in ids], losses.softmax_cross_entropy)
    assert recording.lengths.tolist() == [5, 0, 2, 7]
    assert recording.y.shape == (7, 4, 5)
    y, _, _ = net.forward(recording.x, lengths=recording.lengths)
    assert (
        recording.loss
        == losses.softmax_cross_entropy(y, np.zeros((7, 4), int), lengths=recording.lengths)[0]
    )
    assert not recording.layers[1].states["h_reverse"][5:, 0].any()


def test_losses_take_the_same_mask():
    rng = np.random.default_rng(0)
    y, targets = rng.standard_normal((4, 3, 2)), rng.integers(0, 2, (4, 3))
    mask = rng.random((4, 3)) < 0.5
    value, dy = losses.softmax_cross_entropy(y, targets, lengths=mask)
    expected, gradient = losses.softmax_cross_entropy(y, targets, mask=mask)
    assert value == expected
    assert_same_bits(dy, gradient)


# Pooling


def naive_pool(layer, x):
    """Pool one sequence (T, K)."""
    if not len(x):
        return np.zeros(x.shape[1:])
    if isinstance(layer, Last):
        half = x.shape[1] // 2 if layer.bidirectional else x.shape[1]
        return np.concatenate([x[-1, :half], x[0, half:]])
    if isinstance(layer, MaxPool):
        return x.max(axis=0)
    return np.array([sum(column.tolist()) / len(x) for column in x.T])


POOLS = [Last(), Last(bidirectional=True), MeanPool(), MaxPool()]


@pytest.mark.parametrize("layer", POOLS, ids=repr)
@given(
    T=st.integers(0, 9),
    N=st.integers(1, 6),
    K=st.sampled_from([2, 4, 8, 18]),
    masked=st.booleans(),
    seed=st.integers(0, 999),
)
def test_pooling_sees_valid_steps_only(layer, dtype, T, N, K, masked, seed):
    rng = np.random.default_rng(seed)
    x, dy = rng.standard_normal((T, N, K)).astype(dtype), rng.standard_normal((N, K)).astype(dtype)
    lengths = rng.random((T, N)) < 0.5 if masked else rng.integers(0, T + 1, N)
    valid = lengths if masked else inside(lengths, T)
    x[~valid] = np.nan
    y, state, tape = layer.forward(x, lengths=lengths, record=True)
    dx = layer.backward(dy, tape).dx
    assert state is None
    assert y.dtype == dx.dtype == dtype
    assert dx.shape == x.shape
    assert not dx[~valid].any()
    for n in range(N):
        own = np.ascontiguousarray(x[valid[:, n], n])
        alone, _, tape = layer.forward(own, record=True)
        assert_same_bits(alone, y[n])  # padding and other sequences change no bit
        assert_same_bits(layer.backward(dy[n], tape).dx, dx[valid[:, n], n])
        assert_close(alone, naive_pool(layer, own), len(own), 4.0)


@pytest.mark.parametrize("layer", [*POOLS, None], ids=repr)
def test_gradients_of_a_classifier_by_central_differences(layer):
    """Check every many-to-one pooling, and the state's summary, above a bidirectional layer."""
    rng, lengths = np.random.default_rng(3), np.array([5, 0, 2, 4])
    merge = "mul" if isinstance(layer, (MeanPool, MaxPool)) else "concat"
    lower = LSTM(3, 4, bidirectional=True, merge=merge)
    if isinstance(layer, Last) and not layer.bidirectional:
        lower = LSTM(3, 4)
    net = Sequential(
        lower, *([layer.__class__(**layer.options)] if layer else []), rng=2, dtype="float64"
    )
    x = rng.standard_normal((5, 4, 3))
    dy = rng.standard_normal((4, net.out_features))

    def y_of(record=False):
        y, state, tape = net.forward(x, lengths=lengths, record=record)
        return (y if layer else state[0].summary), tape

    y, tape = y_of(record=True)
    assert y.shape == dy.shape
    if layer:
        grads = net.backward(dy, tape)
    else:
        State = lower.engine.State
        both = type(net.forward(x)[1][0])(
            *(State(d, np.zeros((4, 4))) for d in np.split(dy, 2, axis=1))
        )
        grads = net.backward(np.zeros((5, 4, 8)), tape, [both])
    step = np.finfo(float).eps ** (1 / 3)
    for name, a, g in [
        ("x", x, grads.dx),
        *((n, a, grads.params[n]) for n, a in net.parameters.items()),
    ]:
        direction, before, ends = rng.standard_normal(a.shape) / np.sqrt(a.size), a.copy(), []
        for s in (step, -step):
            a[:] = before + s * direction
            ends.append((dy * y_of()[0]).sum())
        a[:] = before
        assert (
            abs((g * direction).sum() - (ends[0] - ends[1]) / (2 * step))
            < 10 * np.abs(dy).sum() * step**2
        ), name


def test_last_of_both_directions_is_the_summary(dtype):
    net = Sequential(GRU(3, 4, bidirectional=True), Last(bidirectional=True), rng=0, dtype=dtype)
    x = np.random.default_rng(0).standard_normal((6, 3, 3)).astype(dtype)
    for lengths in (None, [6, 0, 2], np.random.default_rng(1).random((6, 3)) < 0.5):
        y, state, _ = net.forward(x, lengths=lengths)
        assert_same_bits(y, state[0].summary)
    assert_same_bits(net.forward(x[:, 0])[0], net.forward(x[:, 0])[1][0].summary)


def test_the_earliest_of_equal_maxima_gets_the_gradient():
    x = np.array([[1.0], [2.0], [2.0]])
    y, _, tape = MaxPool().forward(x, record=True)
    assert (y.item(), MaxPool().backward(np.ones(1), tape).dx[:, 0].tolist()) == (2.0, [0, 1, 0])


@pytest.mark.parametrize("pool", [Last(bidirectional=True), MeanPool(), MaxPool()], ids=repr)
def test_a_model_that_pools(pool, dtype):
    net = model(dtype, type(pool)(**pool.options))
    assert not net.returns_sequence
    y, _, tape = net.forward(texts(), record=True)
    assert y.shape == (4, 5)
    for n, ids in enumerate(texts()):
        assert_same_bits(net.forward(ids)[0], net.forward(texts())[0][n])
    assert net.backward(np.ones_like(y), tape).dx is None
    again = Sequential.build(net.describe())
    assert repr(again) == repr(net)
    nodes = net.graph().nodes
    assert [n.shape for n in nodes[-4:]] == [("T", "N", 8), ("N", 8), ("N", 5), ("N", 5)]
    recording = net.record(texts(), np.zeros(4, int), losses.softmax_cross_entropy)
    assert recording.gradients.params.keys() == net.parameters.keys()
