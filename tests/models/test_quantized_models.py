"""Quantised models: their bits on every path, their memory, and what they refuse."""

import copy
import pickle

import numpy as np
import pytest
from support.quantized import KINDS, arrays, same, steps

import recurrent
from recurrent import (
    GRU,
    LSTM,
    Attention,
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    MeanPool,
    OneHot,
    Residual,
    Seq2Seq,
    Sequential,
    gradcheck,
    losses,
    predict,
)
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.kernels.quantized import Quantized
from recurrent.layers.base import LAYERS, Gradients, Layer
from recurrent.layers.quantized import QuantizedParameters
from recurrent.optim import Adam
from recurrent.training.bptt import TruncatedBPTT
from recurrent.training.fit import fit
from recurrent.training.range_test import lr_range_test

kinds = pytest.mark.parametrize("kind", KINDS)


def floats(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def ids(*shape, below=7):
    return np.random.default_rng(0).integers(0, below, shape)


def nested():
    encoder = Sequential(Embedding(7, 4), LSTM(4, 4, learn_state=True), rng=1)
    return Sequential(
        encoder,
        Dropout(0.2),
        Residual(GRU(4, 4), LayerNorm(4)),
        Linear(4, 7, bias=False),
        tie={"3.weight": "0.0.weight"},
        rng=0,
    )


def attending():
    encoder = Sequential(Embedding(7, 3), LSTM(3, 4), rng=0)
    decoder = Sequential(
        Embedding(6, 3),
        LSTM(3, 4),
        Attention(4, 4, score="additive", output_size=5),
        Linear(5, 6),
        rng=1,
    )
    return Seq2Seq(encoder, decoder, end=0)


@kinds
@pytest.mark.parametrize("cell", [LSTM, GRU])
def test_compiled_layers_equal_their_dequantised_weights(cell, kind):
    model = Sequential(cell(5, 33, bidirectional=True), cell(66, 17), Linear(17, 3), rng=0)
    small = model.quantize(kind)
    x, whole = floats(6, 5, 5), small.dequantized()
    for lengths in (None, np.array([6, 0, 3, 1, 6])):
        assert_same_bits(small.forward(x, lengths=lengths)[0], whole.forward(x, lengths=lengths)[0])
    assert_same_bits(small.forward(x[:1])[0], whole.forward(x[:1])[0])
    forward = Sequential(cell(5, 33), Linear(33, 3), rng=0).quantize(kind)
    for rows in (x, x[:, 0]):
        assert_same_bits(steps(forward, rows), forward.dequantized().forward(rows)[0])


@kinds
def test_nested_and_tied_models_keep_names_and_ties(kind):
    model, x = nested(), ids(5, 3)
    small = model.quantize(kind)
    whole = small.dequantized()
    assert (repr(small), small.names, small.tie) == (repr(model), model.names, model.tie)
    assert list(small.parameters) == list(model.parameters)
    assert_same_bits(small.forward(x)[0], whole.forward(x)[0])
    assert_same_bits(steps(small, x), whole.forward(x)[0])
    table, linear = (small[k].parameters.stored("weight") for k in (0, 4))
    assert isinstance(table, Quantized)
    assert table is linear
    assert small.describe() == {**model.describe(), "weights": kind}
    assert repr(Sequential.build(small.describe())) == repr(model)
    assert Sequential.build(small.describe()).weights == kind


@kinds
def test_a_batch_first_model_and_resets(kind):
    model = Sequential(Embedding(7, 3), GRU(3, 4, learn_state=True), Linear(4, 2), batch_first=True)
    small = model.quantize(kind)
    whole, x = small.dequantized(), ids(3, 6)
    assert small.batch_first
    assert whole.batch_first
    assert_same_bits(small.forward(x)[0], whole.forward(x)[0])
    resets = np.arange(6) % 3 == 1
    resets = np.tile(resets, (3, 1))
    same(*[
        [r[0], *arrays(r[1])] for r in (a.forward(x, resets=resets) for a in (small, whole))
    ])  # fmt: skip


@kinds
def test_predict_and_evaluate_of_sequences(kind):
    small = Sequential(OneHot(7), LSTM(7, 5), MeanPool(), Linear(5, 3), rng=0).quantize(kind)
    whole, sequences = small.dequantized(), [ids(n) for n in (5, 2, 7)]
    assert_same_bits(predict(small, sequences, batch=2), predict(whole, sequences))
    batch = [(ids(4, 3), np.array([0, 2, 1]))]
    loss = losses.softmax_cross_entropy
    found = [recurrent.evaluate(a, batch, loss) for a in (small, whole)]
    assert found[0] == found[1]


@kinds
def test_an_encoder_decoder_generates_the_same(kind):
    small = attending().quantize(kind)
    whole, source, target = small.dequantized(), ids(5, 3), ids(4, 3, below=6)
    assert isinstance(small, Seq2Seq)
    assert (small.weights, small.encoder.weights, whole.weights) == (kind, kind, "float32")
    assert_same_bits(small.forward((source, target))[0], whole.forward((source, target))[0])
    for beam in (1, 3):
        same(small.generate(source, 5, beam)[:3], whole.generate(source, 5, beam)[:3])
    again = pickle.loads(pickle.dumps(small))
    same(again.generate(source, 5, 2)[:3], whole.generate(source, 5, 2)[:3])


@kinds
def test_a_layer_of_ones_own_reads_dequantised_weights(kind):
    class Mixing(Layer):
        def __init__(self, width):
            super().__init__(width=width)
            self.in_features = self.out_features = width
            self.shapes = {"mix": (width, width), "shift": (width,)}

        def reset_parameters(self, rng):
            for a in self.parameters.values():
                a[:] = rng.standard_normal(a.shape)

        def forward(self, x, *_, **__):
            return x @ self.parameters["mix"] + self.parameters["shift"], None, x

        def backward(self, dy, tape, *_, **__):
            return Gradients(dy, {}, None)

    try:
        small = Sequential(Mixing(4), Linear(4, 2), rng=0).quantize(kind)
        x = floats(3, 4)
        assert_same_bits(small.forward(x)[0], small.dequantized().forward(x)[0])
        assert isinstance(small[0].parameters.stored("mix"), Quantized)
    finally:
        del LAYERS["Mixing"]


@kinds
def test_streams_of_quantised_models_are_copied_and_pickled(kind):
    small, x = nested().quantize(kind), ids(6, 2)
    expected, stream = small.dequantized().forward(x)[0], small.stream()
    for x_t in x[:3]:
        stream.step(x_t)
    for one in (stream.copy(), pickle.loads(pickle.dumps(stream)), copy.deepcopy(stream), stream):
        assert_same_bits(np.array([one.step(x_t) for x_t in x[3:]]), expected[3:])


def test_a_copy_shares_no_memory_and_a_packed_layer_is_not_pickled():
    small, x = nested().quantize("int8"), ids(3, 2)
    before = len(pickle.dumps(small))
    y = small.forward(x)[0]
    assert len(pickle.dumps(small)) == before
    twin = copy.deepcopy(small)
    assert_same_bits(twin.forward(x)[0], y)
    codes = [a[0].parameters.stored("weight").codes for a in (small, twin)]
    assert not np.shares_memory(*codes)


def codes(small):
    """Return the codes of all matrices."""
    stored = [small.parameters.stored(name) for name in small.parameters]
    return [a.codes for a in stored if isinstance(a, Quantized)]


def held(small):
    """Return the distinct arrays that a quantised model holds before it has run."""
    found = {}
    for parameters in (small.parameters, *(layer.parameters for layer in small.layers)):
        for name in parameters:
            a = parameters.stored(name)
            for one in (a.codes, a.scales) if isinstance(a, Quantized) else (a,):
                found[one.__array_interface__["data"][0]] = one
    return list(found.values())


@pytest.mark.parametrize(("kind", "times"), [("int8", 3.8), ("bfloat16", 1.98)])
def test_the_memory_of_a_quantised_model_is_a_fraction(kind, times):
    model = Sequential(Embedding(500, 256), LSTM(256, 256), Linear(256, 500), rng=0)
    small = model.quantize(kind)
    assert model.nbytes == model.flat.nbytes
    assert times < model.nbytes / small.nbytes < times + 0.2
    found = held(small)
    assert {a.dtype.name for a in found if a.ndim == 2} == {a.dtype.name for a in codes(small)}
    assert sum(a.nbytes for a in found) < model.nbytes / times + 20_000
    small.forward(ids(3, 2))
    assert not any(isinstance(v, np.ndarray) for v in vars(small).values())
    assert f"{kind}, " in small.summary().splitlines()[-1]


def test_a_layer_is_packed_once_and_ordinary_weights_are_packed_anew():
    model = Sequential(LSTM(3, 4, bidirectional=True), Attention(8), Linear(16, 2), rng=0)
    small, x = model.quantize("int8"), floats(4, 2, 3)
    y = small.forward(x)[0]
    assert small[0]._weights() is small[0]._weights()
    assert small[1]._pack() is small[1]._pack()
    assert small[2].stepper() is small[2].stepper()
    assert_same_bits(small.forward(x)[0], y)
    before = model.forward(x)[0]
    model.flat *= 2
    assert not np.array_equal(model.forward(x)[0], before)


def test_parameters_are_read_and_never_written():
    small = nested().quantize("int8")
    p = small.parameters
    assert isinstance(p, QuantizedParameters)
    assert not p["0.0.weight"].flags.writeable
    assert not p["0.1.bias_ih_l0"].flags.writeable
    assert not small.flat.flags.writeable
    assert p["0.0.weight"].dtype == p.dtype == np.float32
    assert small.size == small.flat.size == nested().size
    fixed = "^the weights of a quantised model cannot be changed: change those of the float32 model"
    with pytest.raises(TypeError, match=fixed):
        p["0.0.weight"] = np.zeros((7, 4), np.float32)
    with pytest.raises(TypeError, match=fixed):
        p.update({})
    with pytest.raises(TypeError, match=fixed):
        del p["0.0.weight"]
    with pytest.raises(ValueError, match="read-only"):
        p["0.1.bias_ih_l0"][:] = 0
    with pytest.raises(KeyError, match=r"no parameter '0\.weight'; the names are 0\.0\.weight, "):
        p["0.weight"]


def test_what_would_change_quantised_weights_is_refused():
    model = Sequential(LSTM(3, 4), Linear(4, 2), rng=0)
    small, x = model.quantize("int8"), floats(4, 2, 3)
    y, _, tape = small.forward(x, record=True)
    loss, batch = losses.mean_squared_error, [(x, np.zeros_like(y))]
    calls = {
        "backward trains": lambda: small.backward(y, tape),
        "fit trains": lambda: fit(small, batch, loss, Adam(), progress=False),
        "lr_range_test trains": lambda: lr_range_test(small, batch, loss),
        "TruncatedBPTT trains": lambda: TruncatedBPTT(small),
        "gradcheck needs gradients of": lambda: gradcheck(small, x),
        "initialise changes": lambda: small.initialise(),
        "bind moves": lambda: small.bind(np.zeros(small.size, np.float32)),
        "an assignment changes": lambda: setattr(small, "flat", model.flat),
        "record with a loss needs gradients of": lambda: small.record(x, batch[0][1], loss),
    }
    layer = small[0]
    calls_of_layers = {
        "backward trains": lambda: layer.backward(np.ones((4, 2, 4), np.float32), tape[0]),
        "initialise changes": lambda: layer.initialise(),
        "gradcheck needs gradients of": lambda: gradcheck(layer, x),
    }
    before = small.flat.copy()
    for action, call in [*calls.items(), *calls_of_layers.items()]:
        words = f"^{action} the weights, which are int8 and fixed: use the float32 model"
        with pytest.raises(TypeError, match=words) as error:
            call()
        assert "\n" not in str(error.value)
    assert_same_bits(small.flat, before)
    whole = small.dequantized()
    assert fit(whole, batch, loss, Adam(), progress=False).updates == 1


def test_what_cannot_be_quantised_is_refused():
    model = Sequential(LSTM(3, 4), Linear(4, 2), rng=0)
    small = model.quantize("int8")
    wrong = [
        (lambda: model.quantize("int4"), ValueError, "weights must be one of int8, bfloat16, got"),
        (lambda: model.quantize(8), TypeError, "weights must be one of int8, bfloat16, got 8"),
        (
            lambda: Sequential(LSTM(3, 4), dtype="float64").quantize("int8"),
            TypeError,
            "quantize needs float32 weights, and those of this model are float64$",
        ),
        (
            lambda: small.quantize("bfloat16"),
            TypeError,
            "quantize needs float32 weights, and those of this model are int8: call ",
        ),
        (model.dequantized, TypeError, "the weights are not quantised but float32: "),
        (
            lambda: Sequential(small, Linear(2, 2)),
            TypeError,
            r"layer 2 \(Linear\) must have int8 weights, as layer 0 \(LSTM\) has, got float32",
        ),
        (lambda: Sequential(small, dtype="float64"), TypeError, "dtype must be float32 for int8"),
        (lambda: small.plan(3, 2), TypeError, "training must be False: int8 weights cannot be"),
    ]
    for call, kind, words in wrong:
        with pytest.raises(kind, match=f"^{words}"):
            call()
    model.parameters["1.weight"][0, 0] = np.nan
    with pytest.raises(ValueError, match=r"^1\.weight must be finite to be quantised"):
        model.quantize("int8")
    encoder, decoder = (
        Sequential(Embedding(7, 4), LSTM(4, 4)),
        Sequential(Embedding(7, 4), LSTM(4, 4)),
    )
    with pytest.raises(TypeError, match=r"^decoder must have int8 weights, as the encoder has"):
        Seq2Seq(encoder.quantize("int8"), decoder)


@kinds
def test_quantised_models_make_larger_ones(kind):
    first = Sequential(Embedding(7, 4), LSTM(4, 4), rng=0).quantize(kind)
    last = Sequential(Dropout(0.1), Linear(4, 7), rng=1).quantize(kind)
    both, x = Sequential(first, last), ids(5, 3)
    assert both.weights == kind
    assert_same_bits(both.forward(x)[0], last.forward(first.forward(x)[0])[0])
    assert_same_bits(both.forward(x)[0], both.dequantized().forward(x)[0])
    stored = [
        a.stored(n) for a, n in ((first.parameters, "0.weight"), (both.parameters, "0.0.weight"))
    ]
    assert stored[0] is stored[1]
    encoder = Sequential(Embedding(7, 4), LSTM(4, 4), rng=0).quantize(kind)
    decoder = Sequential(Embedding(7, 4), LSTM(4, 4), Linear(4, 7), rng=0).quantize(kind)
    model = Seq2Seq(encoder, decoder)
    assert model.weights == kind
    assert_same_bits(model.forward((x, x))[0], model.dequantized().forward((x, x))[0])


def test_a_forward_pass_of_a_quantised_model_is_planned():
    model = Sequential(Embedding(65, 64), LSTM(64, 128), Linear(128, 65), rng=0)
    small = model.quantize("int8")
    plans = [a.plan(20, 4, training=False) for a in (model, small)]
    assert plans[0].parameters - plans[1].parameters == model.nbytes - small.nbytes
    assert plans[1].total < plans[0].total
