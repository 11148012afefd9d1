"""Files of quantised models: a fraction of the size, equal bits, and errors of one line."""

import os

import numpy as np
import pytest
from support.checkpoints import parts, write
from support.quantized import KINDS

import recurrent
from recurrent import (
    GRU,
    LSTM,
    Attention,
    CharLM,
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    Recurrent,
    Residual,
    Seq2Seq,
    Sequential,
)
from recurrent.charlm.text import Vocabulary
from recurrent.charlm.translator import Translator
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.training import checkpoint

LETTERS = Vocabulary.of("abcdefgh")
TEXT = "to be or not to be, that is the question. " * 3


def pair():
    decoder = Sequential(
        Embedding(8, 2), LSTM(2, 6), Attention(6, 6, output_size=3), Linear(3, 8), rng=1
    )
    encoder = Sequential(Embedding(8, 2), LSTM(2, 3, bidirectional=True), rng=0)
    return Seq2Seq(encoder, decoder, start=1, end=2)


def frozen():
    model = Sequential(LSTM(2, 3), Linear(3, 1), rng=8)
    model[0].trainable = False
    return model


MODELS = {
    "both directions": lambda: Sequential(LSTM(2, 3, bidirectional=True), Linear(6, 1), rng=4),
    "nested and tied": lambda: Sequential(
        Sequential(Embedding(7, 4), LSTM(4, 4)),
        Dropout(0.1),
        Linear(4, 7),
        tie={"2.weight": "0.0.weight"},
        rng=6,
    ),
    "residual": lambda: Sequential(Residual(GRU(4, 4), LayerNorm(4)), rng=6, batch_first=True),
    "projection": lambda: Sequential(LSTM(2, 5, proj_size=3, peephole=True), rng=9),
    "cell": lambda: Sequential(Recurrent("mgu", 2, 3, learn_state=True), rng=9),
    "frozen": frozen,
    "no matrix": lambda: Sequential(LayerNorm(3), Dropout(0.1)),
    "pair": pair,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODELS)
def test_a_quantised_model_comes_back_as_it_was(name, kind, tmp_path):
    small = MODELS[name]().quantize(kind)
    small.save(tmp_path / "m")
    again = recurrent.load(tmp_path / "m")
    assert type(again) is type(small)
    assert (again.weights, again.nbytes, repr(again)) == (kind, small.nbytes, repr(small))
    assert again.describe() == small.describe()
    assert again.frozen == small.frozen
    assert again.generator.bit_generator.state == small.generator.bit_generator.state
    assert list(again.parameters) == list(small.parameters)
    for n in small.parameters:
        assert_same_bits(again.parameters[n], small.parameters[n])
    again.save(tmp_path / "again")
    assert parts(tmp_path / "again")[1] == parts(tmp_path / "m")[1]  # with the digest of all arrays
    again.dequantized().save(tmp_path / "whole")
    assert recurrent.load(tmp_path / "whole").weights == "float32"


@pytest.mark.parametrize(("kind", "times"), [("int8", 3.8), ("bfloat16", 1.95)])
def test_a_file_is_a_fraction_of_the_size(kind, times, tmp_path):
    model = Sequential(Embedding(300, 256), LSTM(256, 256), Linear(256, 300), rng=0)
    model.save(tmp_path / "whole")
    model.quantize(kind).save(tmp_path / "small")
    sizes = [os.path.getsize(tmp_path / name) for name in ("whole", "small")]
    assert times < sizes[0] / sizes[1] < times + 0.2
    arrays = parts(tmp_path / "small")[0]
    codes, name = arrays["1.weight_hh_l0"], "1.weight_hh_l0.scale"
    assert codes.dtype == {"int8": np.int8, "bfloat16": np.uint16}[kind]
    assert codes.shape == (1024, 256)
    assert arrays["1.bias_hh_l0"].dtype == np.float32
    assert (name in arrays) == (kind == "int8")
    assert kind != "int8" or (arrays[name].shape, arrays[name].dtype) == ((1024,), np.float32)


def scaled(value):
    def change(arrays):
        arrays["1.weight.scale"][1] = value

    return change


def moved(name, function):
    def change(arrays):
        arrays[name] = function(arrays[name])

    return change


def lost(name):
    return lambda arrays: arrays.pop(name)


SCALE = r"array 1\.weight\.scale must have positive numbers of at most 16 significant bits, got .* "
DAMAGED = {
    "negative scale": ("int8", scaled(-0.5), SCALE + "at 1"),
    "zero scale": ("int8", scaled(0), SCALE + "at 1"),
    "scale NaN": ("int8", scaled(np.nan), SCALE + "at 1"),
    "infinite scale": ("int8", scaled(np.inf), SCALE + "at 1"),
    "denormal scale": ("int8", scaled(1e-40), SCALE + "at 1"),
    "scale with more bits": ("int8", scaled(1 + 2**-16), SCALE + "at 1"),
    "scale too large": ("int8", scaled(2.0**127), SCALE + "at 1"),
    "no scale": ("int8", lost("1.weight.scale"), r"array 1\.weight\.scale is missing, expected"),
    "scale of another dtype": (
        "int8",
        moved("1.weight.scale", np.float64),
        r"array 1\.weight\.scale must be \(2,\) float32, got \(2,\) float64",
    ),
    "scale of another shape": (
        "int8",
        moved("1.weight.scale", lambda a: a[:, None].copy()),
        r"array 1\.weight\.scale must be \(2,\) float32, got \(2, 1\) float32",
    ),
    "no codes": ("int8", lost("1.weight"), r"array 1\.weight is missing, expected \(2, 4\) int8"),
    "code -128": (
        "int8",
        moved("1.weight", lambda a: np.full_like(a, -128)),
        r"array 1\.weight must be in -127\.\.127, got -128",
    ),
    "codes of another dtype": (
        "int8",
        moved("1.weight", np.float32),
        r"array 1\.weight must be \(2, 4\) int8, got \(2, 4\) float32",
    ),
    "codes of another shape": (
        "bfloat16",
        moved("1.weight", lambda a: a.T.copy()),
        r"array 1\.weight must be \(2, 4\) uint16, got \(4, 2\) uint16",
    ),
    "NaN": (
        "bfloat16",
        moved("1.weight", lambda a: np.full_like(a, 0x7FC0)),
        r"array 1\.weight must be finite, got NaN or infinity",
    ),
    "a scale of bfloat16": (
        "bfloat16",
        lambda arrays: arrays.update({"1.weight.scale": np.ones(2, np.float32)}),
        r"the model has no arrays called '1\.weight\.scale'",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_refused_in_one_line(case, tmp_path):
    kind, change, words = DAMAGED[case]
    Sequential(LSTM(3, 4), Linear(4, 2), rng=0).quantize(kind).save(tmp_path / "m")
    arrays, metadata = parts(tmp_path / "m")
    change(arrays)
    write(tmp_path / "m", arrays, metadata)
    with pytest.raises(ValueError, match=f"m: {words}") as error:
        recurrent.load(tmp_path / "m")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"int8"', '"int4"', "model.weights must be one of int8, bfloat16, got 'int4'"),
        ('"float32"', '"float64"', "dtype of description must be float32 for int8 weights, got"),
        ('"weights"', '"heights"', "model has an entry 'heights'; known are "),
        (', "weights": "int8"', "", r"array 0\.weight_ih_l0 must be \(16, 3\) float32, got"),
    ],
)
def test_a_wrong_description_is_refused_in_one_line(old, new, words, tmp_path):
    Sequential(LSTM(3, 4), Linear(4, 2), rng=0).quantize("int8").save(tmp_path / "m")
    arrays, metadata = parts(tmp_path / "m")
    assert old in metadata["model"]
    metadata["model"] = metadata["model"].replace(old, new)
    write(tmp_path / "m", arrays, metadata)
    with pytest.raises((TypeError, ValueError), match=words) as error:
        recurrent.load(tmp_path / "m")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_character_model_samples_and_is_saved(kind, tmp_path):
    lm = CharLM(TEXT, layers=2, hidden=6, embedding=3, dropout=0.2)
    lm.train(TEXT, seq=5, batch=2, updates=2, progress=False)
    small = lm.quantize(kind)
    whole = small.dequantized()
    assert small.optimizer is None
    assert lm.optimizer is not None
    assert small.sample("to ", 30, seed=1) == whole.sample("to ", 30, seed=1)
    assert small.bits_per_character(TEXT) == whole.bits_per_character(TEXT)
    small.save(tmp_path / "m")
    again = recurrent.load(tmp_path / "m")
    assert (type(again), again.model.weights) == (CharLM, kind)
    assert again.options == small.options
    assert again.sample("to ", 30, seed=1) == small.sample("to ", 30, seed=1)
    with pytest.raises(TypeError, match=f"^train trains the weights, which are {kind} and fixed"):
        again.train(TEXT, seq=5, batch=2, updates=2, progress=False)
    assert checkpoint.load(tmp_path / "m").model.weights == kind
    assert whole.train(TEXT, seq=5, batch=2, updates=2, progress=False).updates == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_translator_translates_and_is_saved(kind, tmp_path):
    small = Translator(pair(), LETTERS, LETTERS).quantize(kind)
    small.save(tmp_path / "m")
    again, whole = recurrent.load(tmp_path / "m"), small.dequantized()
    assert (again.model.weights, whole.model.weights) == (kind, "float32")
    for beam in (1, 2):
        expected = whole.translate("abcd", beam=beam)
        assert again.translate("abcd", beam=beam) == small.translate("abcd", beam=beam) == expected


def test_names_of_scales_are_kept_free():
    class Scaled(recurrent.layers.Layer):
        def __init__(self):
            super().__init__()
            self.shapes = {"w": (2, 2), "w.scale": (2,)}

        def reset_parameters(self, rng):
            pass

        def forward(self, x, *_, **__):
            return x, None, x

    try:
        with pytest.raises(
            ValueError, match=r"^cannot quantise a layer with a parameter called 0\.w"
        ):
            Sequential(Scaled()).quantize("int8")
    finally:
        del recurrent.layers.base.LAYERS["Scaled"]
