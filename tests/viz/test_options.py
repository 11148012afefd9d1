"""Layers with fewer biases, with learned initial states, and of encoders and decoders."""

import re

import numpy as np
import pytest
from support.arithmetic import arithmetic
from support.dot_reader import read
from support.viz_checks import tiles

import recurrent as R
import viz
from recurrent.cells import CELLS
from viz.draw.palette import OTHER_GATES
from viz.reading.gates import look

LAYERS = [
    R.LSTM(3, 4, biases=1),
    R.GRU(3, 4, biases=0),
    R.GRU(3, 4, biases=1),
    R.LSTM(3, 4, learn_state=True),
    R.RNN(3, 4, bidirectional=True, learn_state=True),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_parameter_counts_match_the_layer(layer):
    ways = 1 + layer.bidirectional
    text = read(viz.unit(layer, 0).source)[0]["facts"].attributes["label"]
    expression, total = re.search(r"parameters: (.*) = (\d+)", text).groups()
    assert arithmetic(re.sub(r"[a-z]+", "", expression)) == int(total) == layer.size // ways // 4
    counted, all_of_them = re.search(
        r"(\d+) parameters = ([^a-z]*[\d)])", viz.reading.describe.layer_summary(layer)
    ).groups()
    assert arithmetic(all_of_them) == int(counted) == layer.size
    assert ("PyTorch" in viz.layer(layer).source) == (layer.cell.biases == 2)
    names = ["forward", "reverse"][:ways]
    assert (
        sum(
            a.size
            for way in names
            for a in tiles(viz.weights(layer, direction=way).source).values()
        )
        == layer.size
    )


def test_gates_of_one_cell_have_colours_of_their_own():
    for cell in CELLS.values():
        looks = [look(cell, g) for g in cell.gates]
        assert len({word for word, _ in looks}) == len(looks), cell.name
        if len(looks) <= len(OTHER_GATES):
            assert len({colour for _, colour in looks}) == len(looks), cell.name


def test_a_gate_is_called_what_it_is_in_its_cell():
    words = {name: [look(CELLS[name], g)[0] for g in CELLS[name].gates] for name in CELLS}
    assert words["lstm"] == ["input gate", "forget gate", "candidate", "output gate"]
    assert words["gru"] == ["reset gate", "update gate", "candidate"]
    assert words["qrnn"] == ["candidate", "forget gate", "output gate"]
    assert words["sru"] == ["candidate", "forget gate", "reset gate", "s"]


def test_a_product_within_the_step_is_drawn_as_a_dense_layer():
    layer = R.GRU(3, 4, reset_after=False)
    for drawing in (viz.cell(layer), viz.unit(layer, 1)):
        (node,) = (
            n for n in read(drawing.source)[0].values() if n.attributes.get("label") == "W_hh ·"
        )
        assert node.attributes.get("shape") != "ellipse"


def test_a_long_list_of_steps_is_elided_and_the_picture_says_so():
    model = R.Sequential(R.RNN(2, 3), rng=0)
    source = viz.unrolled(model, steps=list(range(60))).source
    assert sum(name.startswith("layer0@") for name in read(source)[0]) == 24
    assert "36 of 60 steps not drawn" in source


@pytest.mark.parametrize("biases", [0, 1])
def test_the_page_adds_as_many_biases_as_a_layer_has(biases):
    model = R.Sequential(R.GRU(3, 4, biases=biases), rng=0)
    recording = model.record(np.random.default_rng(0).standard_normal((3, 1, 3)).astype("float32"))
    text = viz.explore(model, recording, t=1).html
    z = re.search(r'data-neuron="z">.*?class="sum">(.*?)<', text, re.S)[1]
    np.testing.assert_allclose(
        1 / (1 + np.exp(-float(z))), recording.layers[0].gates["z"][1, 0, 0], rtol=1e-5
    )
    bias = float(re.search(r'data-neuron="z">.*?<td class="bias">(.*?)<', text, re.S)[1])
    assert bias == pytest.approx(float(model.parameters["0.bias_ih_l0"][4]) if biases else 0.0)


def test_a_unit_starts_from_the_learned_state():
    model = R.Sequential(R.GRU(3, 4, learn_state=True), rng=0)
    model.parameters["0.h0"][:] = [1, 2, 3, 4]
    recording = model.record(np.ones((2, 1, 3), "float32"))
    for drawing in (
        viz.unit(model[0], 1, recording, t=0),
        viz.unit(model[0], 1, recording, t=0, gate="z"),
    ):
        nodes, _, _ = read(drawing.source)
        found = [
            n.attributes["tooltip"] for k, n in nodes.items() if re.fullmatch(r"in:(z:)?h\d", k)
        ]
        assert [float(re.search(r"= (\S+)$", tip)[1]) for tip in found] == [1, 2, 3, 4]


def test_units_of_a_decoder_show_its_inputs_and_states():
    encoder, decoder = (
        R.Sequential(R.LSTM(3, 4), rng=0),
        R.Sequential(R.Embedding(5, 2), R.LSTM(2, 4), R.Linear(4, 5), rng=0),
    )
    model = R.Seq2Seq(encoder, decoder)
    rng = np.random.default_rng(0)
    source, target = rng.standard_normal((4, 2, 3)).astype("float32"), rng.integers(0, 5, (3, 2))
    recording = model.record((source, target), lengths=(np.array([4, 2]), None))
    read_values = read(viz.unit(encoder[0], 1, recording, t=1, n=1).source)[0]
    assert read_values["in:x2"].attributes["tooltip"] == f"x2 = {source[1, 1, 2]:.7g}".replace(
        "x2", "x₂"
    )
    written = read(viz.layer(decoder[1], recording, t=1, n=1).source)[0]
    assert written["x1"].attributes["tooltip"].endswith(f"= {recording.layers[1].y[1, 1, 1]:.7g}")
    assert (
        written["before2"]
        .attributes["tooltip"]
        .endswith(f"= {recording.layers[2].states['h'][0, 1, 2]:.7g}")
    )
    started = read(viz.unit(decoder[1], 1, recording, t=0, n=1).source)[0]
    left = recording.layers[0].states["h"][1, 1]  # the last valid step of sequence 1
    assert [started[f"in:h{k}"].attributes["tooltip"].rpartition("= ")[2] for k in range(4)] == [
        f"{v:.7g}" for v in left
    ]
    assert (
        started["key:h:title"].attributes["label"]
        == "fill: h at t = −1 (left: the encoder's) and 0 (right)"
    )
    part = model.record((source, target), keep=dict(names=["h"]))
    with pytest.raises(
        ValueError,
        match="a decoder starts from its encoder's final states, which this recording did not keep",
    ):
        viz.reading.unit_values.initial(part, viz.reading.direction.direction_of(decoder[1]), 0)


def test_the_steps_of_a_text_have_its_characters():
    model = R.Sequential(R.LSTM(2, 3), rng=0)
    source = viz.unrolled(model, 4, window=2, inputs="a\n 日").source
    for t, label in enumerate(["'a'", "'¶'", "' '", "'日'"]):
        assert f'"read:{t}" [label="{label}"' in source
    words = viz.unrolled(model, list(range(9)), inputs=["word" * k for k in range(9)]).source
    assert '"read:2" [label="\'wordword\'"' in words
    assert '"read:8" [label="…rdwordwordword\'"' in words
    assert "read:" not in viz.unrolled(model, 4).source


@pytest.mark.parametrize("given", ["abc", "abcde", []])
def test_each_step_needs_a_label(given):
    model = R.Sequential(R.LSTM(2, 3), rng=0)
    expected = f"inputs must have one label for each of 4 steps, got {len(given)}"
    with pytest.raises(ValueError, match=expected):
        viz.unrolled(model, 4, inputs=given)
    with pytest.raises(TypeError, match="inputs must be a sequence of labels, got 3"):
        viz.unrolled(model, 4, inputs=3)
