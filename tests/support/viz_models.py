"""Cells, models and recordings that the tests of pictures share."""

import re
from pathlib import Path

import numpy as np

import recurrent
from recurrent.cells import CELLS, PYTORCH
from recurrent.layers.recording import LayerRecording, Recording
from recurrent.layers.recurrent import Recurrent
from recurrent.losses import mean_squared_error

from .cells import linear, minimal, peephole, three

GOLDEN = Path(__file__).parents[1] / "golden"
D, H, T, N = 5, 10, 6, 2


OWN = {c.name: c for c in (peephole, linear, three)}
EVERY = {**PYTORCH, **OWN}
GOLDEN_CELLS = {"rnn": CELLS["rnn"], "lstm": CELLS["lstm"], "gru": CELLS["gru"], "minimal": minimal}


def recorded(name, inputs=D, units=H, steps=T, dtype="float32", seed=0):
    """A model of one layer of a cell and a recording of it."""
    model = recurrent.Sequential(Recurrent(EVERY[name], inputs, units), rng=seed, dtype=dtype)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((steps, N, inputs)).astype(dtype)
    y = rng.standard_normal((steps, N, units)).astype(dtype)
    return model, model.record(x, targets=y, loss=mean_squared_error)


def exact_model(kind, *sizes):
    """A model with weights that are exact in binary, so that pictures are the same everywhere."""
    model = recurrent.Sequential(kind(*sizes), recurrent.Linear(sizes[1], 2))
    model.flat[:] = ((np.arange(model.size) * 7) % 33 - 16) / 32
    return model


def exact_recording(model):
    def a(*shape):
        return (((np.arange(np.prod(shape)) * 5) % 17 - 8) / 8).reshape(shape).astype("float32")

    layer = model[0]
    T, H = 12, layer.hidden_size
    states = {s: a(T, 1, H) for s in layer.cell.states}
    mine = LayerRecording(
        states["h"],
        {g: a(T, 1, H) for g in layer.cell.gates},
        states,
        dstates={s: a(T, 1, H) for s in states},
    )
    return Recording(a(T, 1, layer.input_size), a(T, 1, 2), [mine, LayerRecording(a(T, 1, 2))])


def both_directions(kind=recurrent.LSTM, lengths=None):
    model = recurrent.Sequential(
        kind(D, H, bidirectional=True), recurrent.Linear(2 * H, 1), rng=0, dtype="float64"
    )
    x = np.random.default_rng(0).standard_normal((T, 2, D))
    return model, model.record(x, lengths=lengths)


def attending():
    """An encoder-decoder model with attention, and a run with different lengths."""
    R = recurrent
    encoder = R.Sequential(R.Embedding(30, 4), R.LSTM(4, 3, bidirectional=True), rng=0)
    decoder = R.Sequential(
        R.Embedding(12, 4), R.LSTM(4, 6), R.Attention(6, 6, output_size=6), R.Linear(6, 12), rng=1
    )
    model = R.Seq2Seq(encoder, decoder)
    model.flat *= 4
    rng = np.random.default_rng(0)
    x = rng.integers(0, 30, (7, 2)), rng.integers(0, 12, (5, 2))
    targets = rng.integers(0, 12, (5, 2))
    return model, model.record(x, targets, R.losses.softmax_cross_entropy, lengths=([7, 5], [5, 3]))


def tooltip_number(node):
    """The number at the end of a tooltip."""
    return re.search(r"(?:= |value )(\S+)$", node.attributes["tooltip"])[1]
