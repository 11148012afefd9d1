"""The repr of a large object fits in ten lines of a notebook and names what is in it."""

import numpy as np
import pytest

from recurrent import (
    GRU,
    LSTM,
    RNN,
    Attention,
    CharLM,
    Embedding,
    Linear,
    Seq2Seq,
    Sequential,
    fit,
    gradcheck,
)
from recurrent.data import Batches, Pairs, Windows
from recurrent.losses import mean_squared_error, softmax_cross_entropy
from recurrent.optim import Adam
from recurrent.training.history import History

X = np.random.default_rng(0).standard_normal((40, 6, 3)).astype(np.float32)


def trained(updates=300):
    model, batches = Sequential(RNN(3, 2), rng=0), Batches(X, X[..., :2], 2)
    return fit(
        model,
        batches,
        mean_squared_error,
        Adam(0.01),
        updates=updates,
        validation=batches,
        validate_every=1,
        progress=False,
    )


def stack(layers):
    return Sequential(*[RNN(3, 3) for _ in range(layers)], rng=0)


def pair():
    encoder = Sequential(Embedding(5, 3), LSTM(3, 2, bidirectional=True))
    decoder = Sequential(Embedding(5, 3), LSTM(3, 4), Attention(4, 4), Linear(8, 5))
    ids = np.ones((9, 2), int)
    model = Seq2Seq(encoder, decoder)
    return model.record((ids, ids), ids, softmax_cross_entropy)


SHOWN = {
    "recording": (lambda: stack(2).record(X), ["x (40, 6, 3) float32", "layer 1", "states h"]),
    "with gradients": (
        lambda: stack(1).record(X, X, mean_squared_error),
        ["loss ", "gradients"],
    ),
    "of many layers": (
        lambda: stack(50).record(X),
        ["layer 4:", "... and 43 more layers ...", "layer 49:"],
    ),
    "of a pair": (pair, ["both directions", "gates i f g o", "weights", "layer 5: y (9, 2, 5)"]),
    "a part": (
        lambda: stack(2).record(X, keep=dict(names=["h"], layers=[1])),
        ["layer 0: nothing kept", "layer 1: gates h, states h"],
    ),
    "one layer": (lambda: stack(1).record(X).layers[0], ["<LayerRecording: y (40, 6, 3) float32"]),
    "history": (lambda: trained(300), ["<History of 300 updates: loss ", "best ", "finished>"]),
    "empty history": (History, ["<History of 0 updates: 0 s>"]),
    "gradcheck": (
        lambda: gradcheck(Sequential(GRU(2, 3), Linear(3, 2)), X[:3, :2, :2], entries=2),
        ["<GradCheck of ", "gradients are right; the worst: "],
    ),
    "windows": (
        lambda: Windows(X, X, 10),
        ["<Windows: x=(40, 6, 3) float32, y=(40, 6, 3) float32", "window=10", "carry='epoch'"],
    ),
    "batches": (lambda: Batches(X, X, 2), ["<Batches: ", "x=(40, 6, 3) float32", "size=2"]),
    "pairs": (
        lambda: Pairs([np.arange(3)] * 900, [np.arange(2)] * 900, 4),
        ["<Pairs: ", "sources=a list of 900", "size=4"],
    ),
    "stream": (lambda: stack(40).stream(), ["<Stream of ", "any batch"]),
    "stream of a layer": (lambda: LSTM(3, 4).stream(), ["<", "Stream of one layer"]),
    "character model": (lambda: CharLM("to be", layers=1, hidden=3), ["CharLM(Vocabulary("]),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_repr_is_short_and_says_what_is_there(name):
    make, words = SHOWN[name]
    value = make()
    text = repr(value)
    assert text.count("\n") < 10
    assert len(text) < 1500
    assert "[[" not in text  # no entries of arrays
    for word in words:
        assert word in text
