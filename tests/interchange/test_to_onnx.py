"""to_onnx: ONNX Runtime computes from the graph what the model computes."""

import json
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import recurrent
from recurrent import (
    GRU,
    LSTM,
    QRNN,
    RNN,
    Activation,
    Add,
    Attention,
    Concat,
    Conv1d,
    Dropout,
    Embedding,
    Graph,
    Last,
    LayerNorm,
    Linear,
    MaxPool,
    MeanPool,
    Multiply,
    OneHot,
    Recurrent,
    Residual,
    Sequential,
    cells,
)
from recurrent.interchange import to_onnx
from recurrent.layers import Layer

onnx = pytest.importorskip("onnx", reason="pip install recurrent-engine[test]")
runtime = pytest.importorskip("onnxruntime", reason="pip install recurrent-engine[test]")

SIZES = [(1, 3), (6, 1), (5, 4)]  # T, N
TOLERANCE = {"float32": 2e-5, "float64": 1e-10}


def session(proto):
    """Return what runs a checked graph: a function of its inputs that returns a dict."""
    onnx.checker.check_model(proto, full_check=True)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    found = runtime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [out.name for out in found.get_outputs()]
    return lambda feeds: dict(zip(names, found.run(None, feeds), strict=True))


def operators(proto):
    """Return the operators of the nodes of a graph."""
    return [node.op_type for node in proto.graph.node]


def randomised(model, seed=0):
    """Fill all parameters with numbers that are not zero: learned states and biases too."""
    rng = np.random.default_rng(seed)
    for a in model.parameters.values():
        a[...] = rng.uniform(-0.6, 0.6, a.shape) + 0.05
    return model


def inputs(model, T, N, rng, width=3):
    """Return x for a model: ids if its first layer reads them."""
    first = model.layers[0]
    shape = (N, T) if model.batch_first else (T, N)
    if first.gives_lookup:
        return rng.integers(0, first.rows, shape)
    return rng.standard_normal((*shape, first.in_features or width)).astype(model.dtype)


def agrees(model, sizes=SIZES, width=3):
    """Check that ONNX Runtime computes what the model does, at several sizes, ragged or not."""
    rng = np.random.default_rng(1)
    tolerance = TOLERANCE[model.dtype.name]
    full, ragged = session(to_onnx(model)), session(to_onnx(model, lengths=True))
    for T, N in sizes:
        x = inputs(model, T, N, rng, width)
        np.testing.assert_allclose(full({"x": x})["y"], model(x), tolerance, tolerance)
        lengths = rng.integers(0, T + 1, N)
        lengths[0] = T
        feeds = {"x": x, "lengths": lengths.astype(np.int32)}
        y, expected = ragged(feeds)["y"], model(x, lengths)
        valid = model.output_lengths(lengths)
        if valid is not None:  # y of layers without a state is anything in the padding
            axis = 1 if model.batch_first else 0
            now = np.arange(y.shape[axis]) < np.asarray(valid)[:, None]
            now = now if model.batch_first else now.T
            y, expected = y[now], expected[now]
        np.testing.assert_allclose(y, expected, tolerance, tolerance)


RECURRENT = [
    (lambda: RNN(3, 4), "RNN"),
    (lambda: RNN(3, 4, nonlinearity="relu", biases=1), "RNN"),
    (lambda: RNN(3, 4, reverse=True, biases=0), "RNN"),
    (lambda: LSTM(3, 4), "LSTM"),
    (lambda: LSTM(3, 4, bidirectional=True, learn_state=True), "LSTM"),
    (lambda: LSTM(3, 4, peephole=True, bidirectional=True, merge="mul", biases=1), "LSTM"),
    (lambda: LSTM(3, 4, biases=0, reverse=True), "LSTM"),
    (lambda: GRU(3, 4, bidirectional=True, merge="sum"), "GRU"),
    (lambda: GRU(3, 4, reset_after=False, bidirectional=True, merge="average"), "GRU"),
    (lambda: GRU(3, 4, biases=1, learn_state=True), "GRU"),
    (lambda: LSTM(3, 4, proj_size=2, bidirectional=True), "Scan"),
    (lambda: LSTM(3, 4, layer_norm=True, reverse=True), "Scan"),
    (lambda: LSTM(3, 4, coupled=True, cell_clip=0.3, clip=0.5, learn_state=True), "Scan"),
    (lambda: LSTM(3, 4, zoneout=0.2, activations=("hardsigmoid", "softsign", "elu")), "Scan"),
    (lambda: GRU(3, 4, z_keeps=False, layer_norm=True, bidirectional=True, merge="sum"), "Scan"),
    (lambda: QRNN(3, 4, window=3, bidirectional=True), "Scan"),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make, operator", RECURRENT)
def test_recurrent_layers(make, operator, dtype):
    model = randomised(Sequential(make(), dtype=dtype))
    found = operators(to_onnx(model))
    assert (operator if dtype == "float32" else "Scan") in found
    agrees(model)


@pytest.mark.parametrize("name", list(cells.CELLS))
def test_every_cell(name):
    layer = recurrent.layers.recurrent.layer_from_cell(name, 4, 3)
    agrees(Sequential(layer, dtype="float64"))
