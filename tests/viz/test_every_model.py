"""Pictures of models of every kind of layer: no text is covered, and every wire can be followed."""

import numpy as np
import pytest
from support.dot_reader import read
from support.viz_checks import assert_contrast, assert_nets_apart, assert_texts_clear
from support.viz_models import attending

import viz
from recurrent import (
    GRU,
    LSTM,
    QRNN,
    RNN,
    Conv1d,
    Dropout,
    Embedding,
    Last,
    LayerNorm,
    Linear,
    MaxPool,
    MeanPool,
    Recurrent,
    Sequential,
    losses,
)

MODELS = {
    "many to one": lambda: (LSTM(3, 4), Last(), Linear(4, 2)),
    "both directions, mean": lambda: (GRU(3, 4, bidirectional=True), MeanPool(), Linear(8, 2)),
    "convolution": lambda: (
        Conv1d(3, 4, 3, padding="same"), LSTM(4, 4), LayerNorm(4), Dropout(0.5), MaxPool(),
        Linear(4, 2),
    ),
    "both ends": lambda: (
        Embedding(9, 3), LSTM(3, 4, bidirectional=True), Last(bidirectional=True), Linear(8, 2),
    ),
    "from the end": lambda: (LSTM(3, 4, reverse=True), Last(reverse=True), Linear(4, 2)),
    "deep": lambda: (
        Embedding(9, 3), LSTM(3, 4, bidirectional=True), LSTM(8, 5, proj_size=2),
        Recurrent("qrnn", 2, 4), Linear(4, 2),
    ),
    "one unit": lambda: (RNN(1, 1), Linear(1, 1)),
    "four states": lambda: (Recurrent("slstm", 3, 4, bidirectional=True, merge="sum"),),
    "eight states": lambda: (QRNN(3, 4, window=3), Linear(4, 2)),
    "learned": lambda: (GRU(3, 4, learn_state=True, reverse=True), Linear(4, 2)),
}  # fmt: skip
LENGTHS = np.array([7, 4, 1])


def recorded(name, lengths):
    model, rng = Sequential(*MODELS[name](), rng=0), np.random.default_rng(0)
    shape = (7, 3) if isinstance(model[0], Embedding) else (7, 3, model[0].in_features)
    x = rng.standard_normal(shape).astype("float32")
    x = rng.integers(0, 9, shape) if len(shape) == 2 else x
    y = np.zeros_like(model.forward(x, lengths=lengths)[0])
    return model, model.record(x, y, losses.mean_squared_error, lengths=lengths)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("name", MODELS)
def test_models_with_values(name, lengths):
    model, run = recorded(name, lengths)
    one_way = all(-1 not in layer.state_delays.values() for layer in model.layers)
    sources = [
        viz.network(model, run).source,
        *(viz.unrolled(model, 7, recording=run, n=n).source for n in (0, 1, 2)),
        viz.unrolled(model, [0, 2, 6], recording=run).source,
        viz.gradients(model, run).source,
    ]
    if one_way:
        sources.append(viz.unrolled(model, 7, window=3, recording=run).source)
    for source in sources:
        assert_texts_clear(source)


@pytest.mark.parametrize("name", MODELS)
def test_models_without_values(name):
    model = Sequential(*MODELS[name](), rng=0)
    for source in (
        viz.network(model).source,
        viz.unrolled(model).source,
        viz.unrolled(model, 30).source,
    ):
        assert_texts_clear(source)
    if not any(isinstance(layer, (MeanPool, MaxPool, Last)) for layer in model.layers):
        assert_nets_apart(viz.unrolled(model, 3).source)
        assert_nets_apart(viz.network(model).source)


def test_an_encoder_and_a_decoder_with_attention():
    model, run = attending()
    for drawing in (
        viz.network(model, run),
        viz.gradients(model, run),
        viz.attention(model, run),
        viz.attention(model, run, n=1, step=1),
        viz.unrolled(model.encoder),
        viz.unrolled(model.decoder),
    ):
        assert_texts_clear(drawing.source)


@pytest.mark.parametrize("look", [{}, {"dark": True}, {"palette": "print"}], ids=str)
def test_texts_about_attention_have_a_contrast_of_4_5(look):
    model, run = attending()
    for view in (viz.network, viz.gradients, viz.attention):
        assert_contrast(view(model, run, **look).source)


@pytest.mark.parametrize("name", ["four states", "eight states"])
def test_every_loop_of_a_network_ends_at_its_box(name):
    model = Sequential(*MODELS[name](), rng=0)
    for source, box in (
        (viz.network(model).source, "layer0"),
        (viz.layer(Sequential(*MODELS[name](), rng=0)[0]).source, "folded"),
    ):
        nodes, edges, _ = read(source)
        _, bottom, _, top = nodes[box].box
        loops = [e for e in edges if e.tail == e.head == box]
        assert len(loops) >= 4
        for e in loops:
            ends = list(e.points())
            assert all(bottom < y < top for _, y in (ends[0], ends[-1]))
