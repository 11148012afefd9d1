"""Feedforward layers, and what all layers have in common."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import naive
from support.arithmetic import construct
from support.strategies import WIDTHS

from recurrent import (
    CRF,
    GRU,
    LSTM,
    QRNN,
    RNN,
    Activation,
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
    Recurrent,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from recurrent.conformance.tolerance import assert_close, assert_same_bits
from recurrent.layers.base import LAYERS, Layer

pytestmark = pytest.mark.reference

widths = st.sampled_from(WIDTHS)
EXAMPLES = [
    Embedding(5, 3),
    Linear(4, 3),
    Dropout(0.5),
    RNN(4, 3),
    RNN(4, 3, nonlinearity="relu"),
    LSTM(4, 3),
    GRU(4, 3),
]
EXAMPLES += [
    RNN(4, 3, bidirectional=True),
    LSTM(4, 3, bidirectional=True),
    GRU(4, 3, bidirectional=True, merge="mul"),
    GRU(4, 3, reverse=True),
]
EXAMPLES += [
    QRNN(4, 3),
    LayerNorm(4),
    CRF(4),
    OneHot(5),
    Last(),
    Last(bidirectional=True),
    Last(reverse=True),
    MeanPool(),
    MaxPool(),
]
EXAMPLES += [
    Hold(),
    Attention(4, score="dot"),
    Attention(4),
    Attention(4, score="additive", score_size=6, output_size=5),
]
EXAMPLES += [
    Linear(4, 3, bias=False),
    Conv1d(4, 3, 2, padding="causal"),
    Conv1d(4, 6, 3, stride=2, padding=1, groups=2),
    Embedding(5, 3, padding_idx=-1),
    Activation("leaky_relu"),
    Activation("softmax"),
    ReLU(),
    Tanh(),
    Sigmoid(),
    Softmax(),
]


@given(S=st.integers(1, 15), K=widths, M=widths, seed=st.integers(0, 999))
def test_linear_equals_naive_loops(dtype, S, K, M, seed):
    layer, rng = Linear(K, M).initialise(seed, dtype), np.random.default_rng(seed)
    W, b = layer.parameters.values()
    x, dy = rng.standard_normal((S, K)).astype(dtype), rng.standard_normal((S, M)).astype(dtype)
    y, state, tape = layer.forward(x, record=True)
    grads = layer.backward(dy, tape)
    assert state is None
    assert grads.state is None
    assert_close(y, naive.product(x, W.T) + b, K, max(1.0, np.abs(y).max()))
    assert_close(grads.dx, naive.product(dy, W), M, max(1.0, np.abs(grads.dx).max()))
    assert_close(
        grads.params["weight"],
        naive.product(dy.T, x),
        S,
        max(1.0, np.abs(grads.params["weight"]).max()),
    )
    assert_close(grads.params["bias"], dy.sum(axis=0, dtype=float), S, max(1.0, np.abs(dy).max()))


@given(N=st.integers(1, 15), K=widths, M=widths, seed=st.integers(0, 999))
def test_rows_of_linear_are_independent(dtype, N, K, M, seed):
    layer = Linear(K, M).initialise(seed, dtype)
    x = np.random.default_rng(seed).standard_normal((2, N, K)).astype(dtype)
    dy = np.random.default_rng(seed + 1).standard_normal((2, N, M)).astype(dtype)
    y, _, tape = layer.forward(x, record=True)
    dx = layer.backward(dy, tape).dx
    for n in range(N):
        y1, _, tape1 = layer.forward(x[:, n], record=True)
        assert_same_bits(y1, y[:, n])
        assert_same_bits(layer.backward(dy[:, n], tape1).dx, dx[:, n])


@given(V=st.integers(1, 20), D=widths, N=st.integers(1, 9), seed=st.integers(0, 999))
def test_embedding_equals_a_one_hot_vector_times_the_matrix(dtype, V, D, N, seed):
    layer, rng = Embedding(V, D).initialise(seed, dtype), np.random.default_rng(seed)
    W = layer.parameters["weight"]
    ids, dy = rng.integers(0, V, (3, N)), rng.standard_normal((3, N, D)).astype(dtype)
    y, _, tape = layer.forward(ids, record=True)
    hot = naive.one_hot(ids, V).reshape(-1, V)
    assert_same_bits(y.reshape(-1, D), naive.product(hot, W).astype(dtype))
    grads = layer.backward(dy, tape)
    assert grads.dx is None
    dW = grads.params["weight"]
    assert_close(dW, naive.product(hot.T, dy.reshape(-1, D)), 3 * N, max(1.0, np.abs(dW).max()))
    never = np.setdiff1d(np.arange(V), ids)
    assert not dW[never].any()


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "int64", "uint64"])
def test_embedding_takes_ids_of_any_integer_dtype(kind):
    layer = Embedding(7, 3)
    ids = np.array([[0, 6, 2], [6, 6, 1]], kind)
    y, _, tape = layer.forward(ids, record=True)
    assert_same_bits(y, layer.parameters["weight"][ids.astype(int)])
    dy = np.ones((2, 3, 3), np.float32)
    assert layer.backward(dy, tape).params["weight"][:, 0].tolist() == [1, 1, 1, 0, 0, 0, 3]


def test_dropout_acts_in_training_only():
    layer, x = Dropout(0.5), np.ones((50, 8, 10), np.float32)
    assert layer.forward(x)[0] is x
    assert layer.forward(x, record=True, training=False)[0] is x
    y, _, mask = layer.forward(x, record=True)
    assert set(np.unique(y)) == {0, 2}
    share = (y == 0).mean()
    assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(y.size)
    assert not np.array_equal(y[0], y[1])  # a new mask at each step
    dy = np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)
    assert_same_bits(layer.backward(dy, mask).dx, dy * y)


def test_dropout_with_probability_zero_is_the_identity(dtype):
    x = np.ones((2, 3), dtype)
    y, _, tape = Dropout(0.0).forward(x, record=True)
    assert y is x
    assert Dropout(0.0).backward(x, tape).dx is x


@pytest.mark.parametrize("layer", EXAMPLES, ids=repr)
def test_every_layer_describes_itself(layer, dtype):
    """repr builds an equal layer; parameters and gradients have the declared shapes and dtype."""
    again = construct(repr(layer), LAYERS)
    assert again.shapes == layer.shapes
    assert again.options == layer.options
    again.initialise(3, dtype)
    assert {n: a.shape for n, a in again.parameters.items()} == layer.shapes
    assert layer.size == sum(a.size for a in again.parameters.values())
    x = np.zeros((2, 3), int) if isinstance(layer, Embedding) else np.ones((2, 3, 4), dtype)
    y, _, tape = again.forward(x, record=True)
    grads = again.backward(np.ones_like(y), tape)
    assert {n: (g.shape, g.dtype) for n, g in grads.params.items()} == {
        n: (s, dtype) for n, s in layer.shapes.items()
    }
    if layer.out_features is not None:
        assert y.shape[-1] == layer.out_features


def test_every_registered_layer_has_an_example():
    own = {name for name, kind in LAYERS.items() if kind.__module__.startswith("recurrent.")}
    missing = own - {type(e).__name__ for e in EXAMPLES} - {"Recurrent"}
    missing -= {"Residual"}  # test_residual.py
    missing -= {"Add", "Concat", "Multiply"}  # models/test_graph.py
    assert not missing, f"add {missing} to EXAMPLES"


def test_the_name_of_another_layer_class_is_refused():
    before = LAYERS["LSTM"]
    with pytest.raises(TypeError, match=r"the name 'LSTM' is taken by recurrent.layers.recurrent"):
        type("LSTM", (Layer,), {"__module__": "elsewhere"})
    assert LAYERS["LSTM"] is before


def test_a_layer_class_that_is_defined_again_replaces_itself():
    try:
        first, second = (type("DefinedTwice", (Layer,), {"__module__": "a"}) for _ in range(2))
        assert first is not second
        assert LAYERS["DefinedTwice"] is second
    finally:
        del LAYERS["DefinedTwice"]


def test_a_layer_alone_equals_the_engine_with_its_parameters(engine):
    layers = {
        "rnn": RNN(3, 5),
        "rnn_relu": RNN(3, 5, nonlinearity="relu"),
        "lstm": LSTM(3, 5),
        "gru": GRU(3, 5),
    }
    layer = layers.get(engine.name) or Recurrent(engine.name, 3, 5)
    x = np.random.default_rng(0).standard_normal((4, 2, 3)).astype(np.float32)
    y, state, _ = layer.forward(x)
    expected, final, _ = engine.forward(x, layer.params)
    assert_same_bits(y, expected)
    assert_same_bits(state.h, final.h)
    same = engine.init(3, 5)
    for a, b in zip(layer.params, same, strict=True):
        assert_same_bits(a, b)


def test_parameters_of_the_same_seed_are_the_same():
    a, b, c = (LSTM(3, 5).initialise(s).parameters["weight_hh_l0"] for s in (1, 1, 2))
    assert_same_bits(a, b)
    assert not np.array_equal(a, c)
