"""Layers keep the name that they had in the program that they come from."""

import re

import numpy as np
import pytest

import recurrent
from recurrent import GRU, LSTM, Dropout, Embedding, Graph, Last, Linear, Residual, Sequential
from recurrent.interchange.assemble import origin

ORIGINS = ["words", "encoder.lstm.l0", "encoder.lstm.l1", "head"]


def state_dict():
    layers = Embedding(9, 4), LSTM(4, 5, bidirectional=True), LSTM(10, 5, bidirectional=True)
    arrays = recurrent.to_torch(Sequential(*layers, Linear(10, 2)))
    names = {"0.": "words.", "1.": "encoder.lstm.", "2.": "encoder.lstm.", "3.": "head."}
    found = {}
    for name, a in arrays.items():
        start, rest = name[:2], name[2:]
        found[names[start] + (rest.replace("_l0", "_l1") if start == "2." else rest)] = a
    return found


def origins(model):
    return [layer.origin for layer in model.layers]


def test_the_names_of_a_state_dict_are_kept_and_those_of_a_stack_numbered():
    model = recurrent.from_torch(state_dict())
    assert origins(model) == ORIGINS
    assert model[1].origin == "encoder.lstm.l0"


def test_a_mapping_names_the_layers_that_get_arrays():
    last = Last(bidirectional=True)
    layers = {"words": ..., "encoder": ..., "last": last, "head": Linear(10, 2)}
    model = recurrent.from_torch(state_dict(), layers)
    assert origins(model) == [*ORIGINS[:3], "", "head"]
    assert layers["head"].origin == ""  # the caller's own layer is as it was


def test_the_names_of_a_whole_module_are_empty_or_numbers():
    one = {name[2:]: a for name, a in recurrent.to_torch(Sequential(GRU(2, 3))).items()}
    assert origins(recurrent.from_torch(one)) == [""]
    two = recurrent.to_torch(Sequential(GRU(2, 3), GRU(3, 3)), stacked=True)
    assert origins(recurrent.from_torch(two)) == ["l0", "l1"]


@pytest.mark.parametrize("weights", [None, "bfloat16"])
def test_files_and_copies_keep_them(tmp_path, weights):
    model = recurrent.from_torch(state_dict())
    model = model.quantize(weights) if weights else model
    model.save(tmp_path / "m.safetensors")
    loaded = recurrent.load(tmp_path / "m.safetensors")
    assert origins(loaded) == origins(Sequential(loaded)) == ORIGINS
    loaded.save(tmp_path / "n.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == (tmp_path / "n.safetensors").read_bytes()


def test_graphs_and_layers_within_layers_keep_them(tmp_path):
    inner = GRU(3, 3)
    inner.origin = "block.gru"
    model = Graph({"a": Residual(inner), "b": Dropout(0.1)}, "b")
    model["b"].origin = "drop"
    model.save(tmp_path / "g.safetensors")
    loaded = recurrent.load(tmp_path / "g.safetensors")
    assert (loaded["a"].inner[0].origin, loaded["b"].origin) == ("block.gru", "drop")


def test_without_an_origin_nothing_is_written():
    model = Sequential(GRU(2, 3))
    assert model[0].origin == ""
    assert model.describe()["layers"] == [{"type": "GRU", "options": model[0].options}]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3, "origin must be a str, got int"),
        (None, "origin must be a str, got NoneType"),
        ("two\nlines", r"origin must be 0 to 200 printable characters, got 'two\nlines'"),
        ("n" * 201, "origin must be 0 to 200 printable characters, got "),
    ],
)
def test_an_origin_is_a_short_line(value, words):
    layer = GRU(2, 3)
    with pytest.raises((TypeError, ValueError), match=re.escape(words)):
        layer.origin = value
    assert layer.origin == ""
    description = Sequential(GRU(2, 3)).describe()
    description["layers"][0]["origin"] = value
    with pytest.raises((TypeError, ValueError), match=re.escape(words)):
        Sequential.build(description)


def test_a_name_of_another_program_is_made_to_fit():
    assert origin("a\nb\x1b[2J") == "ab[2J"
    assert origin("m." * 150 + "lstm") == ("m." * 150 + "lstm")[-200:]
    layer = LSTM(1, 1)
    layer.origin = origin("x" * 300)
    assert layer.origin == "x" * 200


def test_results_do_not_depend_on_it():
    x = np.ones((3, 2), np.float32)
    model = Sequential(GRU(2, 3), rng=0)
    before = model(x)
    model[0].origin = "encoder"
    np.testing.assert_array_equal(model(x), before, strict=True)
