"""An Embedding below a recurrent layer: one product for each id that occurs, and the same bits as the layers one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import SLOW, flat

from recurrent import GRU, LSTM, RNN, Dropout, Embedding, Linear, Sequential
from recurrent.conformance.tolerance import assert_close, assert_same_bits
from recurrent.engine.lookup import distinct
from recurrent.losses import softmax_cross_entropy

pytestmark = pytest.mark.reference

sizes = st.fixed_dictionaries(
    {
        "V": st.sampled_from([1, 2, 7, 40, 5000]),
        "E": st.integers(1, 20),
        "H": st.sampled_from([1, 5, 17]),
        "T": st.integers(0, 6),
        "N": st.integers(1, 14),
    }
)


def problem(V, T, N, seed, ragged):
    rng = np.random.default_rng(seed)
    return rng.integers(0, V, (T, N)), rng.integers(0, T + 1, N) if ragged else None


def one_by_one(model, ids, lengths, dy=None):
    """What the layers of a model of two give when they are called by hand: y, state, tape, and gradients by name from dy."""
    embedding, layer = model.layers
    x, _, found = embedding.forward(ids, record=True)
    y, state, tape = layer.forward(x, None, lengths, record=True)
    if dy is None:
        return y, state, tape, None
    upper = layer.backward(dy, tape)
    lower = embedding.backward(upper.dx, found)
    grads = [(k, name, a) for k, g in enumerate((lower, upper)) for name, a in g.params.items()]
    return (
        y,
        state,
        tape,
        {f"{k}.{name}": a for k, name, a in grads} | {"dx": upper.dx, "state": upper.state},
    )


@pytest.mark.parametrize("kind", [LSTM, GRU, RNN])
@pytest.mark.parametrize("both", [False, True], ids=["one-way", "both-ways"])
@given(sizes=sizes, seed=st.integers(0, 99), ragged=st.booleans())
def test_the_model_is_its_layers_one_by_one(kind, both, dtype, sizes, seed, ragged):
    """The same bits forward, tape included, and of gradients of states; gradients of weights in another order of sums."""
    V, E, H, T, N = (sizes[name] for name in "VEHTN")
    model = Sequential(Embedding(V, E), kind(E, H, bidirectional=both), rng=seed, dtype=dtype)
    ids, lengths = problem(V, T, N, seed, ragged)
    y, state, tape = model.forward(ids, lengths=lengths, record=True)
    dy = np.cos(np.arange(y.size)).reshape(y.shape).astype(dtype)
    expected, expected_state, expected_tape, expected_grads = one_by_one(model, ids, lengths, dy)
    assert_same_bits(y, expected)
    assert_same_bits(model.forward(ids, lengths=lengths)[0], expected)
    for actual, by_hand in (
        (tape[1].gates, expected_tape.gates),
        (tape[1].states, expected_tape.states),
    ):
        for name, a in by_hand.items():
            assert_same_bits(actual[name], a, name)
    grads = model.backward(dy, tape)
    steps = [expected_state, expected_grads["state"]], [state[1], grads.state[1]]
    pairs = zip(
        *([a for s in side for a in (flat(s) if both else s)] for side in steps), strict=True
    )
    for by_hand, actual in pairs:
        assert_same_bits(actual, by_hand)
    for name, g in grads.params.items():
        scale = np.abs(expected_grads[name]).max() + np.sqrt(1 + T * N)
        assert_close(g, expected_grads[name], T * N + len(model[1].cell.gates) * H, scale, name)


@pytest.mark.parametrize("T", [1, 3, 12])
def test_one_sequence(T, dtype):
    model = Sequential(Embedding(9, 4), LSTM(4, 17), rng=0, dtype=dtype)
    ids = np.arange(T, dtype=np.uint8) % 5
    y, _, tape = model.forward(ids, record=True)
    expected, *_, grads = one_by_one(model, ids, None, np.ones_like(y))
    assert_same_bits(y, expected)
    actual = model.backward(np.ones_like(y), tape).params
    for name, g in actual.items():
        assert_close(g, grads[name], T * 17, np.abs(grads[name]).max() + 1, name)
    assert not actual["0.weight"][5:].any()


def test_a_mask_in_place_of_lengths():
    model, rng = (
        Sequential(Embedding(9, 4), GRU(4, 5, bidirectional=True), rng=0),
        np.random.default_rng(0),
    )
    ids, mask = rng.integers(0, 9, (7, 6)), rng.random((7, 6)) < 0.6
    assert_same_bits(model.forward(ids, lengths=mask)[0], one_by_one(model, ids, mask)[0])


def test_ids_that_are_no_valid_step_change_no_gradient():
    model, rng = Sequential(Embedding(9, 4), LSTM(4, 5), rng=0), np.random.default_rng(0)
    ids, lengths = rng.integers(0, 4, (6, 3)), np.array([6, 2, 0])

    def gradients(ids):
        y, _, tape = model.forward(ids, lengths=lengths, record=True)
        return model.backward(np.ones_like(y), tape).params

    others = np.where(np.arange(6)[:, None] < lengths, ids, 8)
    expected = gradients(ids)
    for name, g in gradients(others).items():
        assert_same_bits(g, expected[name], name)
    assert not expected["0.weight"][8].any()


def test_a_recording_has_everything_written_out(dtype):
    model = Sequential(
        Embedding(9, 4), LSTM(4, 5, bidirectional=True), Linear(10, 9), rng=0, dtype=dtype
    )
    ids, lengths = problem(9, 6, 3, 0, ragged=True)
    recording = model.record(ids, ids, softmax_cross_entropy, lengths)
    y, _, tape = model.forward(ids, lengths=lengths, record=True)
    below = Sequential(Embedding(9, 4), LSTM(4, 5, bidirectional=True), dtype=dtype)
    below.flat[:] = model.flat[: below.size]
    *_, expected = one_by_one(below, ids, lengths, recording.layers[1].dy)
    assert_same_bits(recording.layers[0].y, model.parameters["0.weight"][ids])
    assert_same_bits(recording.layers[0].dy, expected["dx"])
    grads = model.backward(softmax_cross_entropy(y, ids, lengths)[1], tape).params
    for name, g in recording.gradients.params.items():
        assert_same_bits(g, grads[name], name)


def test_what_lies_between_embedding_and_recurrence_gets_an_array():
    model = Sequential(Embedding(9, 4), Dropout(0.5), LSTM(4, 5), rng=0)
    ids, _ = problem(9, 3, 2, 0, ragged=False)
    y, _, tape = model.forward(ids, record=True)
    assert model.backward(np.ones_like(y), tape).params["0.weight"].any()


def test_the_table_has_a_row_for_each_id_that_occurs():
    """Not one for each step, nor for each id of a large vocabulary."""
    model = Sequential(Embedding(5000, 4), LSTM(4, 5), rng=0)
    ids = np.random.default_rng(0).choice([17, 4999, 3], (8, 6))
    tape = model.forward(ids, record=True)[2]
    assert_same_bits(tape[1].x, model.parameters["0.weight"][[3, 17, 4999]])


@given(st.lists(st.integers(0, 60), max_size=20 if SLOW else 200))
def test_distinct_is_numpys_unique(ids):
    ids = np.array(ids, np.int64)
    for a, b in zip(distinct(ids, 61), np.unique(ids, return_inverse=True), strict=True):
        assert_same_bits(a, b.astype(np.int64))
