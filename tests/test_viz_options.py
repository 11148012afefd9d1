"""Layers with fewer biases, with initial states that are learned, of encoder and decoder: counted and drawn as they are."""

import re

import numpy as np
import pytest
from dotreader import read
from test_viz_weights import tiles

import recurrent as R
import viz

LAYERS = [
    R.LSTM(3, 4, biases=1),
    R.GRU(3, 4, biases=0),
    R.GRU(3, 4, biases=1),
    R.LSTM(3, 4, learn_state=True),
    R.RNN(3, 4, bidirectional=True, learn_state=True),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_parameters_are_counted_as_the_layer_has_them(layer):
    ways = 1 + layer.bidirectional
    text = read(viz.unit(layer, 0).source)[0]["facts"].attributes["label"]
    expression, total = re.search(r"parameters: (.*) = (\d+)", text).groups()
    assert eval(re.sub(r"[a-z]+", "", expression).replace("×", "*")) == int(total) == layer.size // ways // 4
    counted, all_of_them = re.search(r"(\d+) parameters = ([^a-z]*[\d)])", viz.facts.of_layer(layer)).groups()
    assert eval(all_of_them.replace("×", "*")) == int(counted) == layer.size
    assert ("PyTorch" in viz.layer(layer).source) == (layer.cell.biases == 2)
    names = ["forward", "reverse"][:ways]
    assert sum(a.size for way in names for a in tiles(viz.weights(layer, direction=way).source).values()) == layer.size


def test_a_unit_starts_from_the_state_that_was_learned():
    model = R.Sequential(R.GRU(3, 4, learn_state=True), rng=0)
    model.parameters["0.h0"][:] = [1, 2, 3, 4]
    recording = model.record(np.ones((2, 1, 3), "float32"))
    for drawing in (viz.unit(model[0], 1, recording, t=0), viz.unit(model[0], 1, recording, t=0, gate="z")):
        nodes, _, _ = read(drawing.source)
        found = [n.attributes["tooltip"] for k, n in nodes.items() if re.fullmatch(r"in:(z:)?h\d", k)]
        assert [float(re.search(r"= (\S+)$", tip)[1]) for tip in found] == [1, 2, 3, 4]


def test_a_decoder_s_units_are_drawn_with_what_they_read():
    encoder, decoder = R.Sequential(R.LSTM(3, 4), rng=0), R.Sequential(R.Embedding(5, 2), R.LSTM(2, 4), R.Linear(4, 5), rng=0)
    model = R.Seq2Seq(encoder, decoder)
    rng = np.random.default_rng(0)
    source, target = rng.standard_normal((4, 2, 3)).astype("float32"), rng.integers(0, 5, (3, 2))
    recording = model.record((source, target), lengths=(np.array([4, 2]), None))
    read_values = read(viz.unit(encoder[0], 1, recording, t=1, n=1).source)[0]
    assert read_values["in:x2"].attributes["tooltip"] == f"x2 = {source[1, 1, 2]:.7g}".replace("x2", "x₂")
    written = read(viz.layer(decoder[1], recording, t=1, n=1).source)[0]
    assert written["x1"].attributes["tooltip"].endswith(f"= {recording.layers[1].y[1, 1, 1]:.7g}")
    assert written["before2"].attributes["tooltip"].endswith(f"= {recording.layers[2].states['h'][0, 1, 2]:.7g}")
    started = read(viz.unit(decoder[1], 1, recording, t=0, n=1).source)[0]
    left = recording.layers[0].states["h"][1, 1]  # of sequence 1, which ends there
    assert [started[f"in:h{k}"].attributes["tooltip"].rpartition("= ")[2] for k in range(4)] == [f"{v:.7g}" for v in left]
    assert started["key:h:title"].attributes["label"] == "fill of h, c at t = −1 (left: the encoder's) and 0 (right)"
    part = model.record((source, target), keep=dict(names=["h"]))
    with pytest.raises(ValueError, match="a decoder starts from what its encoder leaves, which this recording has not kept"):
        viz.values.initial(part, viz.direction.of(decoder[1]), 0)
