"""Engines, layers, models and results can be copied and pickled; copies share no memory."""

import copy
import pickle

import numpy as np
import pytest

import recurrent
from recurrent import GRU, LSTM, Attention, Embedding, Last, Linear, Recurrent, Seq2Seq, Sequential
from recurrent.conformance.tolerance import assert_same_bits

pytestmark = pytest.mark.reference

WAYS = {"pickle": lambda a: pickle.loads(pickle.dumps(a)), "deepcopy": copy.deepcopy}
way = pytest.mark.parametrize("again", WAYS.values(), ids=WAYS)


def numbers(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def stack():
    return Sequential(
        LSTM(3, 4, bidirectional=True), GRU(8, 5, learn_state=True), Last(), Linear(5, 2), rng=0
    )


def same(a, b):
    for x, y in zip(a, b, strict=True):
        assert_same_bits(x, y)


@way
def test_arguments_and_results_of_engine_functions(engine, again):
    params, x = engine.init(3, 4), numbers(5, 2, 3)
    y, state, tape = engine.forward(x, params, record=True)
    assert type(again(params)) is type(params)
    assert type(again(state)) is type(state)
    same(again(params), params)
    same(again(state), state)
    dx, dparams, dstate = engine.backward(y, tape)
    found, twin = again((tape, engine))
    assert sorted(found.gates) == sorted(tape.gates)
    again_dx, again_dparams, again_dstate = twin.backward(y, found)
    same([again_dx, *again_dparams, *again_dstate], [dx, *dparams, *dstate])


@way
def test_a_model(again):
    model, x = stack(), numbers(5, 2, 3)
    y, _, tape = model.forward(x, record=True)
    twin = again(model)
    assert repr(twin) == repr(model)
    assert_same_bits(twin.forward(x)[0], y)
    grads = model.backward(np.ones_like(y), tape)
    same(again(grads).params.values(), grads.params.values())
    twin.flat[:] = 0
    assert not any(a.any() for layer in twin.layers for a in layer.parameters.values())
    assert_same_bits(model.forward(x)[0], y)


@way
def test_a_seq2seq(again):
    decoder = Sequential(Embedding(5, 3), LSTM(3, 8), Attention(8, 8), Linear(16, 5), rng=1)
    model = Seq2Seq(Sequential(Embedding(6, 3), LSTM(3, 4, bidirectional=True), rng=0), decoder)
    x = np.ones((4, 2), int), np.ones((3, 2), int)
    twin = again(model)
    assert_same_bits(twin.forward(x)[0], model.forward(x)[0])
    twin.flat[:] = 0
    assert not any(a.any() for part in (twin.encoder, twin.decoder) for a in part.flat)
    assert model.flat.any()


@way
def test_a_copy_continues_with_the_same_dropout_masks(again):
    model = Sequential(
        LSTM(3, 4, zoneout=0.3, recurrent_dropout=0.2), recurrent.Dropout(0.5), rng=0
    )
    x = numbers(5, 2, 3)
    twin = again(model)
    assert_same_bits(twin.forward(x, record=True)[0], model.forward(x, record=True)[0])


@way
def test_a_copied_layer_is_part_of_no_model(again):
    model = stack()
    layer = again(model[1])
    layer.parameters["bias_ih_l0"][:] = 7
    assert not (model.parameters["1.bias_ih_l0"] == 7).any()
    assert Sequential(layer, rng=0).parameters["0.bias_ih_l0"][0] == 7  # values are kept


def test_registered_cells_are_not_copied_and_others_keep_their_equations():
    layer = WAYS["pickle"](Recurrent("mgu", 3, 4))
    assert layer.cell is recurrent.cells.CELLS["mgu"]
    option = LSTM(3, 4, peephole=True)
    assert WAYS["pickle"](option).cell.digest == option.cell.digest


def test_a_copied_model_gives_an_equal_stream():
    model, x = Sequential(LSTM(3, 4), rng=0), numbers(5, 2, 3)
    stream = WAYS["pickle"](model).stream()
    assert_same_bits(np.stack([stream.step(x_t) for x_t in x]), model.forward(x)[0])


@pytest.mark.reference
def test_a_tape_keeps_the_lengths_of_a_list():
    """Copied or not, it takes a list of gradients with the lengths of y and nothing else."""
    model = Sequential(LSTM(3, 4), Linear(4, 2), rng=0)
    x = [np.full((n, 3), 0.5, "f") for n in (2, 4, 3)]
    y, _, tape = model.forward(x, record=True)
    expected = model.backward(y, tape)
    assert [a.shape for a in expected.dx] == [(2, 3), (4, 3), (3, 3)]
    for copied in (pickle.loads(pickle.dumps(tape)), copy.deepcopy(tape)):
        for a, b in zip(model.backward(y, copied).dx, expected.dx, strict=True):
            assert_same_bits(a, b)
        with pytest.raises(ValueError, match="dy must have the lengths of y"):
            model.backward(y[::-1], copied)
        with pytest.raises(TypeError, match="dy must be a list of arrays"):
            model.backward(np.ones((4, 3, 2), "f"), copied)
