"""Recurrent layers in Keras, on its NumPy backend, with the weights of our layers."""

import os

import numpy as np
import pytest
from oracles.onnx_cases import blocks

# Keras reads this when it is imported; NumPy needs neither TensorFlow nor a second PyTorch.
os.environ["KERAS_BACKEND"] = "numpy"
keras = pytest.importorskip(
    "keras", reason="this oracle is keras: pip install recurrent-engine[peers]"
)
if keras.backend.backend() != "numpy":
    pytest.skip(
        "this oracle is Keras on NumPy, but another backend was imported before",
        allow_module_level=True,
    )

# Keras' class, and the order of our row blocks in it: LSTM i f c o, GRU z r h.
KERAS = {
    "RNN": (keras.layers.SimpleRNN, [0]),
    "LSTM": (keras.layers.LSTM, [0, 1, 2, 3]),
    "GRU": (keras.layers.GRU, [1, 0, 2]),
}
MERGE = {"concat": "concat", "sum": "sum", "mul": "mul", "average": "ave"}


def weights(params, order, reset_after):
    """Return kernel (D, G H), recurrent_kernel (H, G H) and bias; two with `reset_after`."""
    W, U, b_ih, b_hh = (blocks(a, order) for a in params)
    return [W.T, U.T, np.stack([b_ih, b_hh]) if reset_after else b_ih + b_hh]


def layer(ours, **options):
    """Return the Keras layer that equals ours, with all outputs and the final state."""
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
    """Return y (T, N, ...) and the final states, (N, H) each, of x (T, N, D) and a mask (T, N)."""
    initial = [np.array(s) for s in state] or None
    y, *final = theirs(
        x.swapaxes(0, 1),
        initial_state=initial,
        mask=None if mask is None else mask.T,
        training=training,
    )
    return y.swapaxes(0, 1), final


def arrays(theirs):
    """Return the weights of a Keras layer."""
    return [np.array(v.value) for v in theirs.weights]
