"""from_onnx of what to_onnx wrote: the same model, unless another program changed the file."""

import json
import random

import numpy as np
import pytest

import recurrent
from recurrent import (
    GRU,
    LSTM,
    RNN,
    Add,
    Attention,
    Conv1d,
    Dropout,
    Embedding,
    Graph,
    Hold,
    Last,
    LayerNorm,
    Linear,
    MeanPool,
    ReLU,
    Residual,
    Sequential,
    Softmax,
    to_onnx,
)
from recurrent.interchange.onnx import Network, from_onnx

onnx = pytest.importorskip("onnx", reason="ONNX files need onnx: recurrent-engine[onnx]")
pytest.importorskip("onnxscript", reason="ONNX files need onnxscript: recurrent-engine[onnx]")


@recurrent.cell("written_test", gates="g", states="h")
def own_cell(x, h, previous):
    g = recurrent.cells.tanh(x.g + h.g)
    return dict(g=g, h=0.5 * previous.h + 0.5 * g)


BODIES = {
    "own cell": lambda: recurrent.Recurrent("written_test", 3, 4),
    "lstm": lambda: LSTM(3, 4, peephole=True, bidirectional=True, merge="mul", biases=1),
    "gru": lambda: GRU(3, 4, reset_after=False, learn_state=True, reverse=True),
    "rnn": lambda: RNN(3, 4, nonlinearity="softsign", biases=0, clip=0.4),
    "projection": lambda: LSTM(3, 4, proj_size=2, bidirectional=True, learn_state=True),
}


def shared():
    reader = LSTM(3, 4)
    nodes = {
        "first": (reader, "a"), "second": (reader, "b"), "sum": (Add(), "first", "second"),
        "steps": Linear(4, 2), "mean": (MeanPool(), "sum"),
    }  # fmt: skip
    return Graph(nodes, ["steps", "mean"])


MODELS = {
    "tied": lambda: Sequential(
        Embedding(9, 3), LSTM(3, 3), Linear(3, 9), tie={"2.weight": "0.weight"}, batch_first=True
    ),
    "inner": lambda: Sequential(
        Embedding(9, 4), Residual(GRU(4, 4), LayerNorm(4)), Dropout(0.3), Linear(4, 2, bias=False)
    ),
    "steps": lambda: Sequential(Conv1d(3, 4, 3, 2), ReLU(), RNN(4, 4), Hold(), Attention(4)),
    "last": lambda: Sequential(LSTM(3, 4, reverse=True), Last(reverse=True), Softmax()),
    "graph": shared,
}
MODELS |= {
    name: lambda make=make: Sequential(make(), dtype="float64") for name, make in BODIES.items()
}
MODELS |= {
    f"{name}, float32": lambda make=make: Sequential(make()) for name, make in BODIES.items()
}


def randomised(model):
    """Fill all parameters with numbers: learned states and biases too."""
    rng = np.random.default_rng(4)
    for a in model.parameters.values():
        a[...] = rng.uniform(-0.6, 0.6, a.shape)
    return model


def assert_equal(found, model):
    assert type(found) is type(model)
    assert json.dumps(found.describe()) == json.dumps(model.describe())
    assert list(found.parameters) == list(model.parameters)
    for name, a in model.parameters.items():
        np.testing.assert_array_equal(found.parameters[name], a)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("lengths", [False, True])
def test_a_written_model_comes_back(name, lengths):
    model = randomised(MODELS[name]())
    for states in (False, True):
        proto = to_onnx(model, lengths=lengths, states=states)
        assert_equal(from_onnx(proto.SerializeToString()), model)
        assert_equal(from_onnx(proto, list(model._wiring.outputs)), model)
        every = tuple(one.name for one in proto.graph.output)
        if len(every) > len(model._wiring.outputs):
            assert from_onnx(proto, every).outputs == every


def test_a_written_model_has_the_same_bits(tmp_path):
    model = randomised(Sequential(Embedding(9, 4), LSTM(4, 5), Last(), Linear(5, 2)))
    ids = np.random.default_rng(1).integers(0, 9, (6, 3))
    to_onnx(model, tmp_path / "model.onnx")
    np.testing.assert_array_equal(from_onnx(tmp_path / "model.onnx")(ids), model(ids))


@pytest.mark.parametrize("name", ["graph", "tied", "last"])
def test_without_its_description_the_nodes_are_read(name):
    """The layers that nodes stand for have the same bits."""
    model = randomised(MODELS[name]())
    proto = to_onnx(model)
    del proto.metadata_props[:]
    found = from_onnx(proto)
    assert type(found) is type(model)
    assert found.size == model.size
    rng = np.random.default_rng(2)
    x = rng.standard_normal((5, 2, 3)).astype(np.float32)
    x = {"a": x, "b": x + 1} if name == "graph" else x
    x = rng.integers(0, 9, (2, 5)) if name == "tied" else x
    expected, y = model(x), found(x)
    for key in expected if name == "graph" else [...]:
        np.testing.assert_array_equal(y[key], expected[key])


def test_a_changed_graph_is_not_what_the_description_says():
    model = randomised(Sequential(LSTM(3, 4), ReLU(), Linear(4, 2)))
    proto = to_onnx(model)
    (linear,) = [n for n in proto.graph.node if n.op_type == "Add"]
    linear.op_type = "Sub"
    found = from_onnx(proto)
    assert isinstance(found, Network)
    x = np.ones((3, 2, 3), np.float32)
    product = model(x) - model.parameters["2.bias"]
    np.testing.assert_allclose(found(x), product - model.parameters["2.bias"], atol=1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_changed_descriptions_change_no_model():
    """Whatever the description becomes, the model computes what the nodes do."""
    model = randomised(Sequential(LSTM(3, 4), Linear(4, 2)))
    proto, rng = to_onnx(model), random.Random(5)
    text = proto.metadata_props[0].value
    for _ in range(60):
        k = rng.randrange(len(text))
        changed = rng.choice(['"', "{", "9", "-1", "", "x", "null", "[" * 5000])
        proto.metadata_props[0].value = text[:k] + changed + text[k + rng.randrange(3) :]
        found = from_onnx(proto)
        assert [type(one) for one in found.layers] == [LSTM, Linear]
        for a, b in zip(found.parameters.values(), model.parameters.values(), strict=True):
            np.testing.assert_array_equal(a, b)
