"""A recurrent layer of this engine in Keras, on its NumPy backend, with the same weights."""

import os

import numpy as np
import pytest
from oracles.onnx_cases import blocks

os.environ["KERAS_BACKEND"] = (
    "numpy"  # read when Keras is imported: neither TensorFlow nor a second PyTorch
)
keras = pytest.importorskip(
    "keras", reason="this oracle is keras: pip install recurrent-engine[peers]"
)
if keras.backend.backend() != "numpy":
    pytest.skip(
        "this oracle is Keras on NumPy, but another backend was imported before",
        allow_module_level=True,
    )

# By the class of a layer: Keras' class, and blocks of our rows in its order: LSTM i f c o, GRU z r h.
KERAS = {
    "RNN": (keras.layers.SimpleRNN, [0]),
    "LSTM": (keras.layers.LSTM, [0, 1, 2, 3]),
    "GRU": (keras.layers.GRU, [1, 0, 2]),
}
MERGE = {"concat": "concat", "sum": "sum", "mul": "mul", "average": "ave"}


def weights(params, order, reset_after):
    """kernel (D, G H), recurrent_kernel (H, G H) and the bias: one, or of a GRU that resets after the product a row of each."""
    W, U, b_ih, b_hh = (blocks(a, order) for a in params)
    return [W.T, U.T, np.stack([b_ih, b_hh]) if reset_after else b_ih + b_hh]


def layer(ours, **options):
    """The layer of Keras that equals this one of ours: all outputs and the final state; `options` as Keras has them."""
    kind, order = KERAS[type(ours).__name__]
    options |= {
        k: ours.options[k] for k in ("recurrent_dropout", "reset_after") if k in ours.options
    }
    theirs = kind(ours.hidden_size, return_sequences=True, return_state=True, **options)
    if ours.bidirectional:
        theirs = keras.layers.Bidirectional(theirs, merge_mode=MERGE[ours.merge])
    theirs.build((1, 1, ours.input_size))
    reset_after = kind is keras.layers.GRU and ours.options.get("reset_after", True)
    params = ours.params if ours.bidirectional else [ours.params]
    theirs.set_weights([a for p in params for a in weights(p, order, reset_after)])
    return theirs


def run(theirs, x, state=(), mask=None, training=False):
    """y (T, N, ...) and the arrays of the final state of x (T, N, D), a list of states (N, H) and a mask (T, N)."""
    initial = [np.array(s) for s in state] or None
    y, *final = theirs(
        x.swapaxes(0, 1),
        initial_state=initial,
        mask=None if mask is None else mask.T,
        training=training,
    )
    return y.swapaxes(0, 1), final


def arrays(theirs):
    """The weights of a layer of Keras."""
    return [np.array(v.value) for v in theirs.weights]
