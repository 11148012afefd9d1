"""NumPy's masked arrays: without a masked entry they are arrays; with one the call is refused."""

import numpy as np
import pytest

import recurrent
from recurrent import (
    LSTM,
    Dropout,
    Embedding,
    Hold,
    Last,
    LayerNorm,
    Linear,
    MaxPool,
    MeanPool,
    OneHot,
    Sequential,
)
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.data import Batches, Windows
from recurrent.losses import (
    at_last_step,
    binary_cross_entropy,
    mean_squared_error,
    softmax_cross_entropy,
)
from recurrent.optim import SGD, clip_norm

pytestmark = pytest.mark.reference

X = np.linspace(0, 1, 24, dtype="f").reshape(4, 2, 3)
IDS = np.arange(8).reshape(4, 2) % 3
PARAMS = recurrent.lstm.init(3, 5)
MODEL = Sequential(LSTM(3, 5), Linear(5, 3), rng=0)
Y, _, TAPE = MODEL.forward(X, record=True)


def loader(kind, x, y):
    return list(kind(x, y, 2))


# By name: a call with one array in the place that is tested, and that array.
CALLS = {
    "x": (lambda a: recurrent.lstm.forward(a, PARAMS), X),
    "x_t": (lambda a: recurrent.lstm.step(a, None, PARAMS), X[0]),
    "a parameter": (lambda a: recurrent.lstm.forward(X, PARAMS._replace(W_hh=a)), PARAMS.W_hh),
    "state": (lambda a: recurrent.lstm.forward(X, PARAMS, (a, a)), np.ones((2, 5), "f")),
    "lengths": (lambda a: MODEL.forward(X, lengths=a), np.array([3, 4])),
    "mask": (lambda a: MODEL.forward(X, lengths=a), np.ones((4, 2), bool)),
    "a list": (lambda a: MODEL.forward([a, X[:, 1]]), X[:, 0]),
    "a stream": (lambda a: MODEL.stream().step(a), X[0]),
    "dy": (lambda a: MODEL.backward(a, TAPE), Y),
    "flat": (lambda a: setattr(MODEL, "flat", a), MODEL.flat.copy()),
    "parameters": (
        lambda a: MODEL.parameters.update({"1.bias": a}),
        MODEL.parameters["1.bias"].copy(),
    ),
    "ids": (Embedding(3, 2).forward, IDS),
    "one-hot ids": (OneHot(3).forward, IDS),
    "dropout": (Dropout(0.5).forward, X),
    "layer norm": (LayerNorm(3).forward, X),
    "hold": (Hold().forward, X),
    "last": (Last().forward, X),
    "max": (MaxPool().forward, X),
    "mean": (MeanPool().forward, X),
    "targets": (lambda a: mean_squared_error(X, a), X),
    "class targets": (lambda a: softmax_cross_entropy(X, a), IDS),
    "probabilities": (lambda a: binary_cross_entropy(X, a), X),
    "last targets": (lambda a: at_last_step(mean_squared_error)(X, a), X[-1]),
    "outputs": (lambda a: mean_squared_error(a, X), X),
    "loss mask": (lambda a: mean_squared_error(X, X, mask=a), np.ones(X.shape, bool)),
    "batches x": (lambda a: loader(Batches, a, X), X),
    "batches y": (lambda a: loader(Batches, X, a), X),
    "windows x": (lambda a: loader(Windows, a, IDS), IDS),
    "windows y": (lambda a: loader(Windows, IDS, a), IDS),
    "gradient": (lambda a: SGD().update(np.zeros(3, "f"), a), np.ones(3, "f")),
    "norm": (lambda a: clip_norm(a, 1.0), np.ones(3, "f")),
}


def arrays(value):
    """Return all arrays of a result."""
    if isinstance(value, (tuple, list)):
        return [a for v in value for a in arrays(v)]
    return [value] if isinstance(value, np.ndarray) else []


@pytest.mark.parametrize("name", CALLS)
def test_a_masked_entry_is_refused_and_a_mask_without_any_passes(name):
    """The mask was dropped without a word, and what it hides was taken as data."""
    call, a = CALLS[name]
    expected = arrays(call(a.copy()))
    for masked in (np.ma.masked_array(a.copy()), np.ma.masked_array(a, np.zeros(a.shape, bool))):
        for ours, theirs in zip(arrays(call(masked)), expected, strict=True):
            if name != "dropout":  # new masks at each call
                assert_same_bits(ours, theirs)
    masked = np.ma.masked_array(a.copy())
    masked[(0,) * a.ndim] = np.ma.masked
    with pytest.raises(ValueError, match=r"\A[^\n]* has 1 masked entry: [^\n]*filled\(0\)\Z"):
        call(masked)


def test_masked_arrays_in_lists_are_refused():
    row = np.ma.masked_array([1.0, 2.0, 3.0], [0, 1, 0])
    for rows in ([row, row], [[row]], (row,)):
        with pytest.raises(ValueError, match="masked entr"):
            recurrent.lstm.forward(rows, recurrent.lstm.init(3, 5, "float64"))


def test_results_are_not_written_into_masked_arrays():
    flat = np.ma.masked_array(np.zeros(3, "f"))
    with pytest.raises(TypeError, match="flat must be an array without a mask"):
        SGD().update(flat, np.ones(3, "f"))
    y, _, tape = MODEL.forward(X, record=True)
    with pytest.raises(TypeError, match="out must be an array without a mask"):
        MODEL.backward(y, tape, out=np.ma.masked_array(np.zeros(MODEL.size, "f")))
