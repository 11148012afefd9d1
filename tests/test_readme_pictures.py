"""The README's pictures are what this code draws: UPDATE_GOLDEN=1 writes them anew."""

import os
from pathlib import Path

import numpy as np
import pytest

import viz
from recurrent import LSTM, Dropout, Embedding, Linear, Sequential

FOLDER = Path(__file__).parent.parent / "viz" / "pictures"


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
    """A layer small enough for a small picture, and a run of it."""
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


def attention():
    shares = np.array([[12, 2, 1, 1], [1, 13, 1, 1], [0, 2, 3, 11]]) / 16
    return viz.attention(shares, inputs=["the", "cat", "is", "asleep"], outputs=["die", "Katze", "schläft"])


DRAWN = [unit, layer, cell, gate, unrolled, network, weights, task, attention]


@pytest.mark.parametrize("draw", DRAWN, ids=lambda f: f.__name__)
def test_stored_pictures_are_drawn_by_this_code(draw):
    path, svg = FOLDER / f"{draw.__name__}.svg", draw().svg(engine="graphviz-pure")
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(svg)
    assert path.read_text() == svg
