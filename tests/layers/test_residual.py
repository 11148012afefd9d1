"""Residual: y = x + f(x), with everything that a layer has."""

import copy
import pickle

import numpy as np
import pytest

from recurrent import (
    GRU,
    LSTM,
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    MeanPool,
    ReLU,
    Residual,
    Seq2Seq,
    Sequential,
    TruncatedBPTT,
    fit,
    gradcheck,
    load,
)
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.losses import mean_squared_error, softmax_cross_entropy
from recurrent.optim import SGD, Adam
from recurrent.training import checkpoint
from recurrent.training.state import TrainingState

RNG = np.random.default_rng(0)


def data(*shape, dtype="float32"):
    return RNG.standard_normal(shape).astype(dtype)


def net(dtype="float32", **options):
    return Sequential(
        Linear(3, 4),
        Residual(LSTM(4, 5, **options), Dropout(0.2), Linear(5, 4)),
        Residual(LayerNorm(4), Residual(Linear(4, 4), ReLU())),
        Linear(4, 2),
        rng=0,
        dtype=dtype,
    )


def parts(model):
    """The layers of y = x + f(x) as they run alone."""
    lstm, _, linear = model[1].inner
    return lstm, linear


def test_it_is_x_plus_the_output_of_its_layers():
    model, x, lengths = net(), data(6, 3, 3), [6, 2, 4]
    y, state, _ = model.forward(x, lengths=lengths)
    lstm, linear = parts(model)
    a = model[0].forward(x)[0]
    h, expected, _ = lstm.forward(a, lengths=lengths)
    b = a + linear.forward(h)[0]
    norm, inner = model[2].inner
    c = norm.forward(b)[0]
    d = b + (c + inner.inner[1].forward(inner.inner[0].forward(c)[0])[0])
    assert_same_bits(y, model[3].forward(d)[0])
    assert_same_bits(state[1][0].c, expected.c)
    assert state[1][1:] == (None, None)
    assert state[2] is None


def test_parameters_have_the_names_of_nested_modules():
    model = net()
    assert list(model.parameters)[2:8] == [
        "1.0.weight_ih_l0",
        "1.0.weight_hh_l0",
        "1.0.bias_ih_l0",
        "1.0.bias_hh_l0",
        "1.2.weight",
        "1.2.bias",
    ]
    assert list(model.parameters)[8:12] == ["2.0.weight", "2.0.bias", "2.1.0.weight", "2.1.0.bias"]
    model.parameters["1.2.bias"] = np.arange(4, dtype="f")
    assert parts(model)[1].parameters["bias"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("options", [{}, dict(learn_state=True)])
def test_gradients(options):
    model = net("float64", **options)
    assert gradcheck(model, data(5, 2, 3, dtype="float64"), lengths=[5, 3])
    both = Sequential(Residual(GRU(4, 2, bidirectional=True)), rng=0)
    assert gradcheck(both, data(5, 2, 4, dtype="float64"), lengths=[5, 3])


def test_streams_equal_the_whole_and_keep_their_state():
    model, x = net(), data(7, 3, 3)
    y, final, _ = model.forward(x)
    stream = model.stream()
    for t in range(4):
        assert_same_bits(stream.step(x[t]), y[t])
    later = pickle.loads(pickle.dumps(stream))
    other = model.stream(model.forward(x[:4])[1])
    for t in range(4, 7):
        assert_same_bits(stream.step(x[t]), y[t])
        assert_same_bits(later.step(x[t]), y[t])
        assert_same_bits(other.step(x[t]), y[t])
    assert_same_bits(stream.state[1][0].c, final[1][0].c)
    stream.reset(rows=[1])
    assert_same_bits(stream.step(x[0])[1], y[0, 1])
    before = [s.copy() for s in stream.state[1][0]]
    with pytest.raises(ValueError, match="x"):
        stream.step(x[0][:, :2])
    assert_same_bits(stream.state[1][0].h, before[0])
    y_first, state = model.packed()(x[:4], None)
    assert_same_bits(y_first, y[:4])
    assert_same_bits(model.packed()(x[4:], state)[0], y[4:])


def test_a_run_in_segments_has_the_bits_of_the_whole():
    model, x, targets = net(learn_state=True), data(9, 3, 3), data(9, 3, 2)
    runs = []
    for every in (None, 4):
        model.generator = np.random.default_rng(3)
        run = TruncatedBPTT(model, checkpoint_every=every)
        runs.append(run.gradient(x, targets, mean_squared_error, lengths=[9, 5, 7]))
    for a, b in zip(*runs, strict=True):
        assert_same_bits(np.asarray(a), np.asarray(b))
    both = Sequential(Residual(GRU(3, 3, bidirectional=True, merge="sum")))
    with pytest.raises(ValueError, match=r"layer 0 \(Residual\).*also runs from the last step"):
        TruncatedBPTT(both, checkpoint_every=4)


def test_episodes_begin_anew():
    model, x = net(), data(6, 2, 3)
    resets = np.zeros((6, 2), bool)
    resets[4, 0] = True
    y = model.forward(x, resets=resets)[0]
    assert_same_bits(y[:4, 0], model.forward(x[:4, 0])[0])
    assert_same_bits(y[4:, 0], model.forward(x[4:, 0])[0])
    assert_same_bits(y[:, 1], model.forward(x[:, 1])[0])


def test_recordings_have_the_gates_of_the_layers_inside():
    model, x = net(), data(5, 2, 3)
    recording = model.record(x, data(5, 2, 2), mean_squared_error).layers[1]
    assert list(recording.states) == ["0.h", "0.c"]
    assert {"0.i", "0.f"} <= set(recording.gates)
    assert set(recording.dstates) == {"0.h", "0.c"}
    assert set(recording.dpreactivations) == set(recording.preactivations)
    kept = model.record(x, keep=dict(names=["0.c"], steps=[1])).layers[1]
    assert_same_bits(kept.states["0.c"], recording.states["0.c"][1:2])


def test_the_graph_has_a_loop_for_each_state():
    g = net().graph()
    loops = [e.label for e in g.edges if e.source == e.target == "layer1"]
    assert loops == ["0.h", "0.c"]
    assert g.node("layer1").shape == ("T", "N", 4)


def test_files_copies_and_descriptions_keep_it(tmp_path):
    model, x = net(), data(4, 2, 3)
    model[1].inner[0].trainable = False
    y = model.forward(x)[0]
    model.save(tmp_path / "model.safetensors")
    for again in (
        load(tmp_path / "model.safetensors"),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        Sequential.build(model.describe(), model.parameters),
    ):
        assert repr(again) == repr(model)
        assert_same_bits(again.forward(x)[0], y)
        assert again.frozen == model.frozen == [f"1.0.{n}" for n in parts(model)[0].shapes]
        again.flat[:] = 0
        assert not parts(again)[0].parameters["weight_hh_l0"].any()
        parts(again)[1].initialise(3)
        assert again.parameters["1.2.weight"].any()
    assert_same_bits(model.forward(x)[0], y)


def test_a_copy_of_the_layer_has_layers_of_its_own():
    layer = Residual(Linear(2, 2))
    layer.parameters["0.bias"] = np.ones(2, "f")
    for again in (copy.copy(layer), copy.deepcopy(layer)):
        again.bind({n: 0 * a for n, a in again.parameters.items()})
        assert not again.inner[0].parameters["bias"].any()
    assert layer.inner[0].parameters["bias"].all()


def test_training_resumes_from_a_checkpoint_with_its_state(tmp_path):
    batches = [(data(4, 2, 3), data(4, 2, 2), None, k > 0) for k in range(4)]

    def train(model, updates, state):
        fit(model, batches, mean_squared_error, updates=updates, resume=state, progress=False)

    whole, state = net(), TrainingState(Adam(1e-2))
    train(whole, 4, state)
    model, state = net(), TrainingState(Adam(1e-2))
    train(model, 2, state)
    checkpoint.save(tmp_path / "a", checkpoint.Checkpoint(model, training=state))
    loaded = checkpoint.load(tmp_path / "a")
    train(loaded.model, 4, loaded.training)
    assert_same_bits(loaded.model.flat, whole.flat)


def test_a_decoder_may_have_it():
    encoder = Sequential(Embedding(5, 4), LSTM(4, 4), rng=0)
    decoder = Sequential(Embedding(6, 4), LSTM(4, 4), Residual(GRU(4, 4)), Linear(4, 6), rng=1)
    model = Seq2Seq(encoder, decoder)
    source, target = RNG.integers(0, 5, (4, 3)), RNG.integers(0, 6, (5, 3))
    fit(model, [((source, target), target)], softmax_cross_entropy, SGD(0.1), progress=False)
    best = model.generate(source, 4, beam=3)
    alone = model.generate(source[:, 1:2], 4, beam=3)
    assert np.array_equal(best.ids[:, 1], alone.ids[:, 0])
    assert_same_bits(best.scores[1], alone.scores[0])
    ids = best.ids[:, 1, 1]  # the second best, whose states have changed places
    logits = model.forward((source[:, 1:2], np.array([0, *ids[:-1]])[:, None]))[0][:, 0]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert best.scores[1, 1] == pytest.approx(np.log(p[np.arange(4), ids]).sum(), rel=1e-5)


def test_values_given_beforehand_are_kept():
    linear = Linear(3, 3).initialise(7)
    weight = linear.parameters["weight"].copy()
    layer = Residual(linear, Linear(3, 3))
    assert_same_bits(layer.parameters["0.weight"], weight)
    model = Sequential(layer, rng=1)
    assert_same_bits(model.parameters["0.0.weight"], weight)
    assert np.shares_memory(linear.parameters["weight"], model.flat)
    fresh = Residual(Linear(3, 3))
    fresh.inner[0].parameters["bias"] = np.ones(3, "f")
    assert fresh.parameters["0.bias"].all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Residual(), "needs at least one layer"),
        (lambda: Residual(Linear(3, 4)), "as many outputs as inputs, 3, got 4"),
        (lambda: Residual(Linear(3, 4), Linear(5, 3)), "takes 5 input features, but layer 0"),
        (lambda: Residual(3), r"layer 0 must be a layer, as in Residual\(LSTM\(8, 8\)\), got int"),
        (lambda: Residual(Sequential(Linear(3, 3))), "must be a layer.*got Sequential"),
        (lambda: Residual(MeanPool()), "one vector per sequence"),
        (lambda: Residual(Embedding(4, 4)), "reads ids"),
        (lambda: Residual(*Sequential(Linear(3, 3)).layers), "already part of a model"),
        (lambda: Sequential(MeanPool(), Residual(LSTM(3, 3))), r"layer 1 \(Residual\)"),
        (lambda: Sequential(Linear(2, 3), Residual(Linear(4, 4))), "takes 4 input features"),
    ],
)
def test_wrong_layers_are_refused_in_one_line(make, words):
    with pytest.raises((TypeError, ValueError), match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
