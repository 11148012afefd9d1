"""Every layer checks x and dy in the same way, whether it computes or passes them on."""

import numpy as np
import pytest

from recurrent import (
    CRF,
    GRU,
    LSTM,
    RNN,
    Attention,
    Conv1d,
    Dropout,
    Embedding,
    Hold,
    Last,
    LayerNorm,
    Linear,
    MaxPool,
    MeanPool,
    OneHot,
    ReLU,
    Softmax,
)

pytestmark = pytest.mark.reference

X = np.ones((4, 2, 3), "f")
IDS = np.ones((4, 2), int)
LAYERS = {
    "dropout 0": Dropout(0.0),
    "dropout": Dropout(0.5),
    "variational dropout": Dropout(0.5, per="sequence"),
    "hold": Hold(),
    "last": Last(),
    "max": MaxPool(),
    "mean": MeanPool(),
    "linear": Linear(3, 4),
    "convolution": Conv1d(3, 4, 2, padding="causal"),
    "strided convolution": Conv1d(3, 4, 2, stride=2),
    "linear without bias": Linear(3, 4, bias=False),
    "relu": ReLU(),
    "softmax": Softmax(),
    "layer norm": LayerNorm(3),
    "crf": CRF(3),
    "attention": Attention(3),
    "rnn": RNN(3, 4),
    "lstm with dropout": LSTM(3, 4, recurrent_dropout=0.2),
    "both directions": GRU(3, 4, bidirectional=True),
    "reverse": LSTM(3, 4, reverse=True),
    "embedding": Embedding(3, 4),
    "one-hot": OneHot(3),
}
WRONG = {
    "str": "text",
    "strings": np.full((4, 2, 3), "a"),
    "bytes": b"text",
    "objects": X.astype(object),
    "complex": X.astype(complex),
    "bool": X > 0,
    "float16": X.astype("f2"),
    "dates": X.astype("M8[s]"),
    "durations": IDS.astype("m8[s]"),  # NumPy counts them as integers
    "None": None,
    "dict": {"x": 1},
    "rows of different lengths": [[1.0], [1.0, 2.0]],
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", WRONG)
def test_x_that_is_no_array_of_numbers(name, training, kind):
    """Dropout that dropped nothing passed anything on, and durations were ids."""
    layer, words = LAYERS[name], r"\A[^\n]*(x|ids) must be [^\n]*\Z"
    with pytest.raises(TypeError, match=words):
        layer.forward(WRONG[kind], record=training, training=training)


def run(layer):
    y, _, tape = layer.forward(IDS if isinstance(layer, Embedding) else X, record=True)
    return y, tape


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("kind", ["str", "strings", "objects", "complex", "bool", "float16"])
def test_dy_that_is_no_array_of_numbers(name, kind):
    _, tape = run(LAYERS[name])
    with pytest.raises(TypeError, match=r"\A[^\n]*dy must be float32 or float64[^\n]*\Z"):
        LAYERS[name].backward(WRONG[kind], tape)


@pytest.mark.parametrize("name", [name for name in LAYERS if name not in ("dropout 0", "hold")])
def test_dy_of_another_shape_or_dtype(name):
    """A dy of one step was broadcast by the mask of dropout."""
    y, tape = run(LAYERS[name])
    for dy in (y[..., :1], y[..., None], np.zeros((*y.shape[:-1], y.shape[-1] + 1), "f")):
        with pytest.raises(ValueError, match=r"\A[^\n]*dy must [^\n]*\Z"):
            LAYERS[name].backward(dy.copy(), tape)
    with pytest.raises(TypeError, match=r"\A[^\n]*dy must have the dtype of [^\n]*\Z"):
        LAYERS[name].backward(y.astype("d"), tape)


def test_a_failed_call_of_a_layer_with_dropout_draws_no_mask():
    layer = LAYERS["lstm with dropout"]
    before = layer.generator.bit_generator.state
    for wrong in (X[..., :2], X.astype("d"), [[1.0]]):
        with pytest.raises((TypeError, ValueError)):
            layer.forward(wrong, record=True)
    assert layer.generator.bit_generator.state == before
