"""The task view and the attention view."""

import os
import re

import numpy as np
import pytest
from support.dot_reader import read
from support.viz_checks import assert_clear
from support.viz_models import GOLDEN

import recurrent as R
import viz
from recurrent.layers.recording import LayerRecording, Recording
from viz.draw import notation
from viz.views.task import STORIES

# Attention


def shares(T_out, T_in, seed=0):
    a = np.exp(2 * np.random.default_rng(seed).standard_normal((T_out, T_in)))
    return a / a.sum(axis=1, keepdims=True)


def said(text):
    return float(text.rpartition("= ")[2])


def exact_attention():
    """A recording whose attention weights are exact in binary."""
    model = R.Sequential(R.LSTM(2, 2, bidirectional=True), R.Attention(4), R.Linear(8, 2))
    weights = np.array([[4, 2, 1, 1], [0, 8, 0, 0], [2, 2, 2, 2], [1, 0, 3, 4]])[:, None] / 8
    layers = [
        LayerRecording(np.zeros((4, 1, 4))),
        LayerRecording(np.zeros((4, 1, 8)), weights=weights),
        LayerRecording(np.zeros((4, 1, 2))),
    ]
    return model, Recording(np.zeros((4, 1, 2)), np.zeros((4, 1, 2)), layers)


def test_every_attention_weight_is_drawn():
    model = R.Sequential(R.LSTM(3, 4, bidirectional=True), R.Attention(8), R.Linear(16, 2), rng=0)
    model.flat[:] *= 4
    recording = model.record(
        np.random.default_rng(0).standard_normal((6, 2, 3)).astype("float32"), lengths=[6, 5]
    )
    weights = recording.layers[1].weights
    for n, T in ((0, 6), (1, 5)):
        nodes, edges, _ = read(viz.attention(model, recording, n=n).source)
        tiles = {
            k: said(v.attributes["tooltip"])
            for k, v in nodes.items()
            if re.fullmatch(r"w\d+,\d+", k)
        }
        assert tiles == {
            f"w{t},{s}": float(f"{weights[t, n, s]:.7g}") for t in range(T) for s in range(T)
        }
        lines = {
            (e.tail, e.head): e.attributes
            for e in edges
            if e.head.startswith("mean") and e.tail.startswith("state")
        }
        assert lines.keys() == {
            (f"state{s}", f"mean{t}")
            for t in range(T)
            for s in range(T)
            if weights[t, n, s] >= 0.01
        }
        for (tail, head), a in lines.items():
            assert said(a["tooltip"]) == tiles[f"w{head[4:]},{tail[5:]}"]
        ranked = sorted(lines.values(), key=lambda a: said(a["tooltip"]))
        widths = [float(a["penwidth"]) for a in ranked]
        assert widths == sorted(widths)
        assert {f"enc0:{s}" for s in range(T)} | {f"enc1:{s}" for s in range(T)} < set(nodes)


def test_an_array_of_weights_is_drawn_with_labels():
    a = shares(3, 5)
    drawing = viz.attention(
        a, inputs=["the", "cat", "that", "ran", "slept"], outputs=["die", "Katze", "schlief"]
    )
    nodes, _, _ = read(drawing.source)
    assert [nodes[f"in{s}"].attributes["label"] for s in range(5)] == [
        "the",
        "cat",
        "that",
        "ran",
        "slept",
    ]
    assert nodes["w1,2"].attributes["tooltip"] == f"weight of that for Katze = {a[1, 2]:.7g}"
    assert nodes["w1,2"].attributes["label"] == f"{a[1, 2]:.2f}"
    assert "Katze: " in drawing.description
    batch = viz.attention(np.stack([shares(3, 5, 1), a], axis=1), n=1)
    assert read(batch.source)[0]["w1,2"].attributes["tooltip"].endswith(f"= {a[1, 2]:.7g}")


def test_long_sequences_are_elided_and_the_picture_says_so():
    source = viz.attention(shares(30, 60)).source
    assert "40 of 60 inputs drawn, those with the largest weights" in source
    assert "the first 24 of 30 outputs drawn" in source
    assert sum(bool(re.fullmatch(r"w\d+,\d+", k)) for k in read(source)[0]) == 24 * 40


@pytest.mark.parametrize("sizes", [(1, 1), (1, 7), (4, 5), (10, 30), (12, 2)])
def test_nothing_overlaps_in_the_attention_view(sizes):
    assert_clear(viz.attention(shares(*sizes)).source)


def test_nothing_overlaps_in_the_attention_view_with_an_encoder():
    model, recording = exact_attention()
    assert_clear(viz.attention(model, recording).source)
    nasty = ['</script>"', "\\N\\G", "שלום", "😀\x07\n"]
    drawing = viz.attention(model, recording, inputs=nasty, outputs=nasty)
    assert drawing.svg() == viz.attention(model, recording, inputs=nasty, outputs=nasty).svg()


# Tasks

MODELS = {
    "one-to-one": lambda: R.Sequential(R.Linear(5, 4), R.Linear(4, 2)),
    "one-to-many": lambda: R.Sequential(R.LSTM(5, 10), R.GRU(10, 10), R.Linear(10, 5)),
    "many-to-one": lambda: R.Sequential(
        R.Embedding(9, 5), R.LSTM(5, 10, bidirectional=True), R.MeanPool(), R.Linear(20, 2)
    ),
    "many-to-many": lambda: R.Sequential(R.RNN(5, 10), R.Linear(10, 3)),
    "encoder-decoder": lambda: both_networks(),
}


def both_networks():
    encoder = R.Sequential(R.Embedding(9, 5), R.LSTM(5, 10), R.LSTM(10, 10))
    decoder = R.Sequential(R.Embedding(9, 5), R.LSTM(5, 10), R.Linear(10, 9))
    return R.Seq2Seq(encoder, decoder)


@pytest.mark.parametrize("kind", STORIES)
@pytest.mark.parametrize("given", [False, True])
def test_inputs_and_outputs_are_at_their_steps(kind, given):
    story = STORIES[kind]
    nodes, edges, _ = read(viz.task(kind, MODELS[kind]() if given else None).source)
    labels = [nodes[f"in{t}"].attributes["label"] for t in range(len(story.inputs))]
    assert labels == list(story.inputs)
    written = {
        t: nodes[f"out{t}"].attributes["label"]
        for t in range(len(story.inputs))
        if f"out{t}" in nodes
    }
    assert written == {t: o for t, o in enumerate(story.outputs) if o is not None}
    fed = {(e.tail, e.head) for e in edges if e.tail.startswith("out")}
    assert fed == (
        {(f"out{t}", f"in{t + 1}") for t in range(story.cut or 0, len(labels) - 1)}
        if story.fed
        else set()
    )
    for a, b in fed:  # inputs are the previous outputs
        assert nodes[a].attributes["label"] == nodes[b].attributes["label"]


@pytest.mark.parametrize("kind", STORIES)
def test_the_layers_are_those_of_the_model(kind):
    model = MODELS[kind]()
    nodes, edges, _ = read(viz.task(kind, model).source)
    texts = "\n".join(n.attributes["label"] for n in nodes.values())
    for layer in model.layers:
        assert viz.reading.describe.short(layer) in texts
        if layer.size:
            assert f"{layer.size:,} parameters" in texts
    if kind == "many-to-one":
        assert {e.tail for e in edges if e.head == "row2@3"} == {f"row1@{t}" for t in range(4)}
        assert [n for n in nodes if n.startswith("row3@")] == ["row3@3"]
        assert ("row1@3", "row1@2") in {(e.tail, e.head) for e in edges}  # the reverse direction
    if kind == "encoder-decoder":
        assert [(e.tail, e.head) for e in edges if e.attributes.get("penwidth") == "2.6"] == [
            ("row2@2", "row1d@3")
        ]


@pytest.mark.parametrize("kind", STORIES)
@pytest.mark.parametrize("given", [False, True])
def test_nothing_overlaps_in_the_task_view(kind, given):
    assert_clear(viz.task(kind, MODELS[kind]() if given else None).source)


# Golden text and errors


@pytest.mark.parametrize("name", ["attention", *(f"task_{kind}" for kind in STORIES)])
def test_golden_text(name):
    """UPDATE_GOLDEN=1 rewrites the files; look at the pictures before committing them."""
    path = GOLDEN / f"{name}.gv"
    drawing = (
        viz.attention(*exact_attention(), inputs="abcd")
        if name == "attention"
        else viz.task(name[5:], MODELS[name[5:]]())
    )
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(drawing.source, encoding="utf-8")
    assert drawing.source == path.read_text(encoding="utf-8"), (
        "UPDATE_GOLDEN=1 accepts the new text"
    )


def test_errors_name_the_expected_value():
    model, recording = exact_attention()
    plain = R.Sequential(R.LSTM(2, 2))
    cases = [
        (ValueError, "give recording=", lambda: viz.attention(model)),
        (
            TypeError,
            "without one",
            lambda: viz.attention(plain, plain.record(np.zeros((3, 1, 2), "float32"))),
        ),
        (
            ValueError,
            "attention needs a recording of this model, which has 1 layer; the recording has 3",
            lambda: viz.attention(plain, recording),
        ),
        (IndexError, r"n must be in 0\.\.0.*got 1", lambda: viz.attention(model, recording, n=1)),
        (
            IndexError,
            "layer must be one of 1, the Attention layers, got 0",
            lambda: viz.attention(model, recording, layer=0),
        ),
        (
            ValueError,
            "inputs must have one label for each of 4 steps, got 2",
            lambda: viz.attention(model, recording, inputs="ab"),
        ),
        (
            ValueError,
            "got a minimum of 1 and sums of 3 to 3",
            lambda: viz.attention(np.ones((2, 3))),
        ),
        (ValueError, r"weights must be \(T_out, N, T_in\)", lambda: viz.attention(np.ones(3))),
        (
            TypeError,
            "attention with a recording needs its model, got ndarray",
            lambda: viz.attention(np.ones((2, 3)), recording),
        ),
        (ValueError, "one saved state, got 0 and 3", lambda: viz.attention(np.ones((0, 3)))),
        (ValueError, "kind must be one of one-to-one, ", lambda: viz.task("some")),
        (
            TypeError,
            "task draws a model of layers, got LSTM",
            lambda: viz.task("many-to-one", R.LSTM(2, 3)),
        ),
        (
            ValueError,
            "many-to-one needs a model with one output",
            lambda: viz.task("many-to-one", plain),
        ),
        (
            ValueError,
            "one-to-one needs a model with no recurrent layer",
            lambda: viz.task("one-to-one", plain),
        ),
        (
            ValueError,
            "needs a model of an encoder and a decoder",
            lambda: viz.task("encoder-decoder", plain),
        ),
        (
            ValueError,
            "needs a model without an encoder",
            lambda: viz.task("many-to-many", both_networks()),
        ),
    ]
    for kind, message, call in cases:
        with pytest.raises(kind, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_recorded_outputs_are_written_beside_the_boxes():
    x = np.random.default_rng(0).standard_normal((3, 2, 5)).astype("f")
    model = R.Sequential(R.LSTM(5, 10), R.Linear(10, 3), rng=0)
    found = re.findall(r"\|y\| ([\d.]+)", viz.task("many-to-many", model, model.record(x)).source)
    sizes = [
        notation.plain(np.abs(y[t]).mean())
        for t in range(3)
        for y in (a.y for a in model.record(x).layers)
    ]
    assert found == sizes
    last = R.Sequential(R.GRU(5, 4), R.Last(), rng=0)
    recording = last.record(x)
    found = re.findall(r"\|y\| ([\d.]+)", viz.task("many-to-one", last, recording).source)
    every = [notation.plain(np.abs(recording.layers[0].y[t]).mean()) for t in range(3)]
    assert found == [*every, notation.plain(np.abs(recording.y).mean())]
    for model, message in ((None, "needs the model of a recording"), (last, "a recording of this")):
        with pytest.raises(ValueError, match=message):
            viz.task("many-to-one", model, R.Sequential(R.GRU(5, 4)).record(x))


@pytest.mark.parametrize(
    "view", [viz.cell, viz.layer, viz.weights, lambda engine: viz.unit(engine, 0)]
)
def test_an_engine_cannot_be_drawn(view):
    with pytest.raises(TypeError, match=r"draws .*, got Engine"):
        view(R.lstm)
