"""The README's pictures match this code; UPDATE_GOLDEN=1 rewrites them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import viz
from recurrent import LSTM, Dropout, Embedding, Linear, Sequential
from viz.cli import backwards, models

FOLDER = Path(__file__).parents[2] / "viz" / "pictures"


def unit():
    model = Sequential(LSTM(5, 10), Linear(10, 1), rng=0)
    x = np.random.default_rng(0).standard_normal((10, 1000, 5), dtype=np.float32)
    return viz.unit(model[0], 3, recording=model.record(x[:, :1]))


def unrolled():
    return viz.unrolled(Sequential(LSTM(5, 10), Linear(10, 1), rng=0), steps=4)


def network():
    layers = Embedding(65, 128), LSTM(128, 512), Dropout(0.2), LSTM(512, 512), Linear(512, 65)
    return viz.network(Sequential(*layers, rng=0))


def few():
    """A small layer and a run of it."""
    model = Sequential(LSTM(3, 5), Linear(5, 1), rng=0)
    x = np.random.default_rng(0).standard_normal((10, 1, 3), dtype=np.float32)
    return model, model.record(x)


def layer():
    model, recording = few()
    return viz.layer(model[0], recording)


def cell():
    return viz.cell(few()[0][0])


def gate():
    model, recording = few()
    return viz.unit(model[0], 3, recording=recording, gate="f")


def weights():
    model, recording = few()
    return viz.weights(model[0], recording)


def task():
    return viz.task("encoder-decoder")


# Attention weights of a trained model, whose bits differ between machines.
WEIGHTS = Path(__file__).parents[1] / "golden" / "backwards.json"


def attention():
    known = json.loads(WEIGHTS.read_text())
    return viz.attention(np.array(known["weights"]), inputs=known["read"], outputs=known["written"])


@pytest.mark.slow
def test_a_model_trained_in_seconds_attends_as_in_the_picture():
    """Each output is the letter with the largest weight; UPDATE_GOLDEN=1 stores the weights."""
    translator = backwards.train(progress=False)
    run = models.run(translator, backwards.SHOWN, 0)
    assert "".join(run.outputs) == backwards.SHOWN[::-1] + "end"
    weights = run.recording.layers[4].weights[:, 0]
    if os.environ.get("UPDATE_GOLDEN"):
        known = {
            "read": run.inputs,
            "written": run.outputs,
            "weights": weights.astype(float).round(4).tolist(),
        }
        WEIGHTS.write_text(json.dumps(known) + "\n")
    known = json.loads(WEIGHTS.read_text())
    for found in (weights, np.array(known["weights"])):
        aligned = found[:-1].argmax(axis=1) == np.arange(len(backwards.SHOWN))[::-1]
        assert aligned.mean() > 0.8


DRAWN = [unit, layer, cell, gate, unrolled, network, weights, task, attention]


@pytest.mark.parametrize("draw", DRAWN, ids=lambda f: f.__name__)
def test_stored_pictures_match_this_code(draw):
    path, svg = FOLDER / f"{draw.__name__}.svg", draw().svg(engine="graphviz-pure")
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(svg)
    assert path.read_text() == svg
