"""An Embedding below a recurrent layer: one product per id, same bits as layer by layer."""

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


def by_hand(model, ids, lengths, dy=None):
    """Call the two layers of a model one after the other; return y, state, tape and gradients."""
    embedding, layer = model.layers
    x, _, lower_tape = embedding.forward(ids, record=True)
    y, state, tape = layer.forward(x, None, lengths, record=True)
    if dy is None:
        return y, state, tape, None
    upper = layer.backward(dy, tape)
    lower = embedding.backward(upper.dx, lower_tape)
    grads = {f"{k}.{n}": a for k, g in enumerate((lower, upper)) for n, a in g.params.items()}
    return y, state, tape, grads | {"dx": upper.dx, "state": upper.state}


@pytest.mark.parametrize("kind", [LSTM, GRU, RNN])
@pytest.mark.parametrize("both", [False, True], ids=["one-way", "both-ways"])
@given(sizes=sizes, seed=st.integers(0, 99), ragged=st.booleans())
def test_a_model_equals_its_layers_called_by_hand(kind, both, dtype, sizes, seed, ragged):
    """Outputs, tape and state gradients have equal bits; weight gradients sum in another order."""
    V, E, H, T, N = (sizes[name] for name in "VEHTN")
    model = Sequential(Embedding(V, E), kind(E, H, bidirectional=both), rng=seed, dtype=dtype)
    ids, lengths = problem(V, T, N, seed, ragged)
    y, state, tape = model.forward(ids, lengths=lengths, record=True)
    dy = np.cos(np.arange(y.size)).reshape(y.shape).astype(dtype)
    expected, expected_state, expected_tape, expected_grads = by_hand(model, ids, lengths, dy)
    assert_same_bits(y, expected)
    assert_same_bits(model.forward(ids, lengths=lengths)[0], expected)
    for actual, expected_values in (
        (tape[1].gates, expected_tape.gates),
        (tape[1].states, expected_tape.states),
    ):
        for name, a in expected_values.items():
            assert_same_bits(actual[name], a, name)
    grads = model.backward(dy, tape)
    steps = [expected_state, expected_grads["state"]], [state[1], grads.state[1]]
    pairs = zip(
        *([a for s in side for a in (flat(s) if both else s)] for side in steps), strict=True
    )
    for expected_step, actual in pairs:
        assert_same_bits(actual, expected_step)
    for name, g in grads.params.items():
        scale = np.abs(expected_grads[name]).max() + np.sqrt(1 + T * N)
        assert_close(g, expected_grads[name], T * N + len(model[1].cell.gates) * H, scale, name)


@pytest.mark.parametrize("T", [1, 3, 12])
def test_one_sequence(T, dtype):
    model = Sequential(Embedding(9, 4), LSTM(4, 17), rng=0, dtype=dtype)
    ids = np.arange(T, dtype=np.uint8) % 5
    y, _, tape = model.forward(ids, record=True)
    expected, *_, grads = by_hand(model, ids, None, np.ones_like(y))
    assert_same_bits(y, expected)
    actual = model.backward(np.ones_like(y), tape).params
    for name, g in actual.items():
        assert_close(g, grads[name], T * 17, np.abs(grads[name]).max() + 1, name)
    assert not actual["0.weight"][5:].any()


def test_a_mask_in_place_of_lengths():
    model = Sequential(Embedding(9, 4), GRU(4, 5, bidirectional=True), rng=0)
    rng = np.random.default_rng(0)
    ids, mask = rng.integers(0, 9, (7, 6)), rng.random((7, 6)) < 0.6
    assert_same_bits(model.forward(ids, lengths=mask)[0], by_hand(model, ids, mask)[0])


def test_ids_at_padded_steps_change_no_gradient():
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


def test_a_recording_holds_full_arrays(dtype):
    model = Sequential(
        Embedding(9, 4), LSTM(4, 5, bidirectional=True), Linear(10, 9), rng=0, dtype=dtype
    )
    ids, lengths = problem(9, 6, 3, 0, ragged=True)
    recording = model.record(ids, ids, softmax_cross_entropy, lengths)
    y, _, tape = model.forward(ids, lengths=lengths, record=True)
    below = Sequential(Embedding(9, 4), LSTM(4, 5, bidirectional=True), dtype=dtype)
    below.flat[:] = model.flat[: below.size]
    *_, expected = by_hand(below, ids, lengths, recording.layers[1].dy)
    assert_same_bits(recording.layers[0].y, model.parameters["0.weight"][ids])
    assert_same_bits(recording.layers[0].dy, expected["dx"])
    grads = model.backward(softmax_cross_entropy(y, ids, lengths)[1], tape).params
    for name, g in recording.gradients.params.items():
        assert_same_bits(g, grads[name], name)


def test_a_layer_between_embedding_and_recurrence_gets_an_array():
    model = Sequential(Embedding(9, 4), Dropout(0.5), LSTM(4, 5), rng=0)
    ids, _ = problem(9, 3, 2, 0, ragged=False)
    y, _, tape = model.forward(ids, record=True)
    assert model.backward(np.ones_like(y), tape).params["0.weight"].any()


def test_the_table_has_a_row_for_each_id_that_occurs():
    """The tape has neither a row per step nor one per id of a large vocabulary."""
    model = Sequential(Embedding(5000, 4), LSTM(4, 5), rng=0)
    ids = np.random.default_rng(0).choice([17, 4999, 3], (8, 6))
    tape = model.forward(ids, record=True)[2]
    assert_same_bits(tape[1].x, model.parameters["0.weight"][[3, 17, 4999]])


@given(st.lists(st.integers(0, 60), max_size=20 if SLOW else 200))
def test_distinct_is_numpys_unique(ids):
    ids = np.array(ids, np.int64)
    for a, b in zip(distinct(ids, 61), np.unique(ids, return_inverse=True), strict=True):
        assert_same_bits(a, b.astype(np.int64))
