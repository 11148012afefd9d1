"""Models inside models, and parameters that share an array."""

import copy
import pickle

import numpy as np
import pytest

from recurrent import (
    GRU,
    LSTM,
    Dropout,
    Embedding,
    Last,
    Linear,
    Seq2Seq,
    Sequential,
    Tanh,
    TruncatedBPTT,
    fit,
    gradcheck,
    load,
)
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.losses import mean_squared_error, softmax_cross_entropy
from recurrent.optim import Adam, AdamW
from recurrent.training import checkpoint
from recurrent.training.state import TrainingState

RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 7, (6, 3))
TIE = {"2.weight": "0.weight"}


def tied(dtype="float32", tie=TIE, **options):
    return Sequential(
        Embedding(7, 4), LSTM(4, 4), Linear(4, 7), tie=tie, rng=0, dtype=dtype, **options
    )


def nested(**options):
    inner = Sequential(GRU(3, 4), Sequential(Tanh(), Linear(4, 4), rng=5), rng=6)
    return Sequential(Linear(3, 3), inner, Dropout(0.1), Linear(4, 2), rng=0, **options), inner


def reborn(model, tmp_path):
    """The same model by every way there is."""
    model.save(tmp_path / "model.safetensors")
    return [
        load(tmp_path / "model.safetensors"),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        Sequential.build(model.describe(), model.parameters),
    ]


# Models inside models


def test_a_model_inside_a_model_stands_for_its_layers():
    model, inner = nested()
    kinds = ["Linear", "GRU", "Tanh", "Linear", "Dropout", "Linear"]
    assert [type(layer).__name__ for layer in model.layers] == kinds
    assert model.names == ["0", "1.0", "1.1.0", "1.1.1", "2", "3"]
    flat = Sequential(*[type(layer)(**layer.options) for layer in model.layers], rng=0)
    flat.flat = model.flat
    x = RNG.standard_normal((5, 2, 3), "f")
    assert_same_bits(model.forward(x)[0], flat.forward(x)[0])
    assert list(model.parameters)[2:4] == ["1.0.weight_ih_l0", "1.0.weight_hh_l0"]
    assert list(model.parameters)[-4:] == ["1.1.1.weight", "1.1.1.bias", "3.weight", "3.bias"]
    assert inner[0] is model[1]


def test_the_names_are_those_of_torch():
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    nn = torch.nn
    theirs = nn.Sequential(
        nn.Linear(3, 3),
        nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Tanh(), nn.Linear(4, 4))),
        nn.Linear(4, 2),
    )
    mine = Sequential(
        Linear(3, 3),
        Sequential(Linear(3, 4), Sequential(Tanh(), Linear(4, 4))),
        Linear(4, 2),
    )
    assert list(mine.parameters) == list(theirs.state_dict())
    mine.parameters.update(theirs.state_dict())
    x = RNG.standard_normal((5, 3), "f")
    np.testing.assert_allclose(
        mine.forward(x)[0], theirs(torch.tensor(x)).detach(), rtol=1e-5, atol=1e-6
    )


def test_layers_keep_their_values_and_the_inner_model_stays_in_use():
    expected = Sequential(GRU(3, 4), Sequential(Tanh(), Linear(4, 4), rng=5), rng=6).flat
    model, inner = nested()
    innermost = inner._models[0][1]
    assert_same_bits(inner.flat, expected)
    batch = RNG.standard_normal((5, 2, 3), "f"), RNG.standard_normal((5, 2, 2), "f")
    fit(model, [batch], mean_squared_error, Adam(0.1), epochs=3, progress=False)
    assert not np.array_equal(inner.flat, expected)
    for part in (inner, innermost):
        assert np.shares_memory(part.flat, model.flat)
        assert part.generator is model.generator
    assert_same_bits(inner.parameters["1.1.weight"], model.parameters["1.1.1.weight"])
    a = model[0].forward(batch[0])[0]
    y, _, tape = inner.forward(a, record=True)
    assert_same_bits(y, model.run_layers(batch[0], None, None, False, False)[0][4])
    assert list(inner.backward(y, tape).params) == list(inner.parameters)
    again = copy.deepcopy(model)
    again.flat[:] = 1
    assert again._models[0][1].flat.all()
    assert again[1].owner is again


def test_descriptions_and_files_keep_the_names(tmp_path):
    model, _ = nested()
    model[2].trainable = False
    x = RNG.standard_normal((4, 2, 3), "f")
    for again in reborn(model, tmp_path):
        assert list(again.parameters) == list(model.parameters)
        assert repr(again) == repr(model)
        assert_same_bits(again.forward(x)[0], model.forward(x)[0])
    assert repr(model).count("Sequential(") == 3


def test_nested_models_run_in_segments_and_are_gradchecked():
    model, _ = nested()
    assert gradcheck(model, RNG.standard_normal((4, 2, 3)))
    x, targets = RNG.standard_normal((7, 2, 3), "f"), RNG.standard_normal((7, 2, 2), "f")
    found = []
    for every in (None, 3):
        model.generator = np.random.default_rng(1)
        run = TruncatedBPTT(model, checkpoint_every=every)
        found.append(run.gradient(x, targets, mean_squared_error)[1])
    assert_same_bits(*found)


def test_an_encoder_may_be_nested():
    model = Seq2Seq(
        Sequential(Sequential(Embedding(7, 3), GRU(3, 4)), rng=0),
        Sequential(Embedding(7, 3), GRU(3, 4), Linear(4, 7), rng=1, tie=None),
    )
    assert next(iter(model.parameters)) == "encoder.0.0.weight"
    again = Seq2Seq.build(model.describe(), model.parameters)
    assert list(again.parameters) == list(model.parameters)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda m: Sequential(m, m), "layer 1 .Linear. is already part of a model"),
        (lambda m: Sequential(m[0]), "layer 0 .Linear. is already part of a model"),
        (lambda m: [Sequential(m), Sequential(m)], "layer 0 .Linear. is already part of a model"),
        (lambda m: Sequential(m, Linear(3, 2)), "layer 1 .Linear. takes 3 input features, but"),
        (lambda m: Sequential(m, dtype="float64"), "must have the dtype of the model, float64"),
        (lambda m: Sequential(m, [m]), "layer 1 must be a layer, got list"),
    ],
)
def test_models_that_do_not_fit(make, words):
    with pytest.raises((TypeError, ValueError), match=words) as caught:
        make(Sequential(Linear(2, 2)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a", "1.", "", "0..1", "0", 3])
def test_descriptions_with_wrong_names_are_refused(name):
    description = Sequential(Linear(2, 2), Linear(2, 2)).describe()
    description["layers"][1]["name"] = name
    with pytest.raises((TypeError, ValueError), match="name"):
        Sequential.build(description)


# Weight tying


def test_tied_parameters_share_one_array():
    model = tied()
    assert "2.weight" not in model.parameters
    assert model.size == 28 + 16 * 10 + 7
    assert np.shares_memory(model[2].parameters["weight"], model[0].parameters["weight"])
    alone = Sequential(Embedding(7, 4), rng=0)
    assert_same_bits(model.parameters["0.weight"], alone.parameters["0.weight"])
    model.initialise(0)
    assert_same_bits(model.parameters["0.weight"], alone.parameters["0.weight"])
    assert model.tie == TIE


def test_gradients_of_tied_parameters_are_summed():
    model, free = tied("float64"), tied("float64", tie=None)
    for name, a in model.parameters.items():
        free.parameters[name] = a
    free.parameters["2.weight"] = model.parameters["0.weight"]
    dy, sums = RNG.standard_normal((6, 3, 7)), []
    for net in (model, free):
        _, _, tape = net.forward(IDS, record=True)
        sums.append(net.backward(dy, tape).params)
    mine, theirs = sums
    assert list(mine) == list(model.parameters)
    assert_same_bits(mine["0.weight"], theirs["0.weight"] + theirs["2.weight"])
    assert_same_bits(mine["1.weight_hh_l0"], theirs["1.weight_hh_l0"])
    assert gradcheck(model, IDS)
    assert gradcheck(Sequential(Linear(3, 3), Tanh(), Linear(3, 3), tie=TIE), dy[..., :3])


def test_tied_models_run_in_segments_with_the_same_bits():
    model = tied()
    whole, parts = (
        TruncatedBPTT(model, checkpoint_every=every).gradient(IDS, IDS, softmax_cross_entropy)[1]
        for every in (None, 2)
    )
    assert_same_bits(parts, whole)
    last = Sequential(
        Embedding(7, 4), LSTM(4, 4), Last(), Linear(4, 7), tie={"3.weight": "0.weight"}
    )
    whole, parts = (
        TruncatedBPTT(last, checkpoint_every=every).gradient(IDS, IDS[0], softmax_cross_entropy)[1]
        for every in (None, 2)
    )
    assert_same_bits(parts, whole)


def test_gradients_are_those_of_torch():
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    model = tied("float64")
    emb, rnn, out = torch.nn.Embedding(7, 4), torch.nn.LSTM(4, 4), torch.nn.Linear(4, 7)
    out.weight = emb.weight
    module = torch.nn.ModuleList([emb, rnn, out]).double()
    module.load_state_dict({n: torch.tensor(a) for n, a in model.parameters.items()}, strict=False)
    loss = torch.nn.functional.cross_entropy(
        out(rnn(emb(torch.tensor(IDS)))[0]).reshape(-1, 7), torch.tensor(IDS).reshape(-1)
    )
    loss.backward()
    y, _, tape = model.forward(IDS, record=True)
    grads = model.backward(softmax_cross_entropy(y, IDS)[1], tape).params
    assert len(grads) == len(list(module.parameters()))
    np.testing.assert_allclose(grads["0.weight"], emb.weight.grad, rtol=1e-9, atol=1e-12)


def test_training_and_files_keep_them_tied(tmp_path):
    whole, batches = tied(), [(IDS, IDS)]

    def train(model, updates, state):
        fit(model, batches, softmax_cross_entropy, updates=updates, resume=state, progress=False)

    train(whole, 4, TrainingState(AdamW(0.05)))
    model, state = tied(), TrainingState(AdamW(0.05))
    train(model, 2, state)
    checkpoint.save(tmp_path / "a", checkpoint.Checkpoint(model, training=state))
    loaded = checkpoint.load(tmp_path / "a")
    train(loaded.model, 4, loaded.training)
    assert_same_bits(loaded.model.flat, whole.flat)
    for again in reborn(whole, tmp_path):
        assert repr(again) == repr(whole)
        assert again.tie == TIE
        assert_same_bits(again.forward(IDS)[0], whole.forward(IDS)[0])
        assert np.shares_memory(again[2].parameters["weight"], again[0].parameters["weight"])
        again.flat[:] = 0
        assert not again[2].parameters["weight"].any()


def test_values_that_were_given_win():
    rows = RNG.standard_normal((7, 4), "f")
    for tie, name in ((TIE, "0.weight"), ({"0.weight": "2.weight"}, "2.weight")):
        given = Embedding.from_pretrained(rows)
        model = Sequential(given, LSTM(4, 4), Linear(4, 7), tie=tie, rng=0)
        assert_same_bits(model.parameters[name], rows)
        assert model.frozen == [name]
        assert_same_bits(model[2].parameters["weight"], rows)


def test_models_inside_keep_their_ties():
    inner = Sequential(Linear(3, 3), Linear(3, 3), tie={"1.weight": "0.weight"}, rng=0)
    model = Sequential(Linear(3, 3), inner, Linear(3, 3), tie={"2.weight": "1.0.weight"}, rng=0)
    assert model.tie == {"1.1.weight": "1.0.weight", "2.weight": "1.0.weight"}
    assert_same_bits(inner.flat, model.flat[12 : 12 + inner.size])
    assert np.shares_memory(inner.flat, model.flat)
    assert gradcheck(model, RNG.standard_normal((4, 3)))
    again = Sequential.build(model.describe(), model.parameters)
    assert again.tie == model.tie
    outer = Seq2Seq(
        Sequential(Embedding(7, 4), GRU(4, 4), rng=0),
        Sequential(Embedding(7, 4), GRU(4, 4), Linear(4, 7), tie=TIE, rng=1),
    )
    assert gradcheck(outer, (IDS, IDS))
    outer.initialise(2)
    again = Seq2Seq.build(outer.describe(), outer.parameters)
    assert_same_bits(again.forward((IDS, IDS))[0], outer.forward((IDS, IDS))[0])


def test_the_plan_counts_shared_arrays_once():
    assert tied().plan(5, 2).parameters == 4 * tied().size


@pytest.mark.parametrize(
    ("tie", "words"),
    [
        ({"2.wieght": "0.weight"}, r"tie: no parameter '2.wieght'; .* did you mean '2.weight'\?"),
        ({"2.bias": "0.weight"}, r"tie: 2.bias must have the shape of 0.weight, \(7, 4\), got"),
        ({"2.weight": "2.weight"}, "must share a parameter that is not tied itself"),
        ({"2.weight": "0.weight", "0.weight": "2.weight"}, "that is not tied itself"),
        ([("2.weight", "0.weight")], "tie must be a dict"),
        ({2: "0.weight"}, "tie: no parameter 2"),
    ],
)
def test_wrong_ties_are_one_line(tie, words):
    with pytest.raises((TypeError, ValueError), match=words) as caught:
        tied(tie=tie)
    assert "\n" not in str(caught.value)


def test_a_parameter_of_an_inner_model_is_not_given_away():
    inner = Sequential(Linear(3, 3))
    with pytest.raises(ValueError, match=r"tie: 0.0.weight is a parameter of an inner model"):
        Sequential(inner, Linear(3, 3), tie={"0.0.weight": "1.weight"})
    assert inner[0].owner is inner
