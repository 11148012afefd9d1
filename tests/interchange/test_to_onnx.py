"""to_onnx: ONNX Runtime computes from the graph what the model computes."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.onnx_models import LAYERS, RECURRENT, graph_of_branches, inputs, randomised

import recurrent
from recurrent import (
    GRU,
    LSTM,
    RNN,
    Activation,
    Attention,
    CharLM,
    Conv1d,
    Embedding,
    Graph,
    Hold,
    Last,
    LayerNorm,
    Linear,
    Recurrent,
    Residual,
    Seq2Seq,
    Sequential,
    cells,
    to_onnx,
)
from recurrent.interchange.onnx_writer.layers import known_class
from recurrent.layers import Layer

onnx = pytest.importorskip("onnx", reason="pip install recurrent-engine[test]")
reference = pytest.importorskip("onnx.reference", reason="pip install recurrent-engine[test]")
runtime = pytest.importorskip("onnxruntime", reason="pip install recurrent-engine[test]")

SIZES = [(1, 3), (6, 1), (5, 4)]  # T, N
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


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


def output(model, x, lengths=None):
    """Return y; of a single recurrent layer by its equations, which compiles no kernels."""
    layer = model.layers[0]
    if len(model) > 1 or not isinstance(layer, Recurrent):
        return model(x, lengths)
    x = x.swapaxes(0, 1) if model.batch_first else x
    state = layer.learned_state(x.shape[1:2])
    y = layer.reference_runner().forward(x, layer.params, state, lengths)[0]
    return y.swapaxes(0, 1) if model.batch_first else y


def agrees(model, sizes=SIZES, width=3):
    """Check that ONNX Runtime computes what the model does, at several sizes, ragged or not."""
    rng = np.random.default_rng(1)
    tolerance = TOLERANCE[model.dtype.name]
    full, ragged = session(to_onnx(model)), session(to_onnx(model, lengths=True))
    for T, N in sizes:
        x = inputs(model, T, N, rng, width)
        np.testing.assert_allclose(full({"x": x})["y"], output(model, x), tolerance, tolerance)
        lengths = rng.integers(0, T + 1, N)
        lengths[0] = T
        feeds = {"x": x, "lengths": lengths.astype(np.int32)}
        y, expected = ragged(feeds)["y"], output(model, x, lengths)
        valid = model.output_lengths(lengths)
        # Padding is zeros or held after these layers, after others it may be anything.
        if valid is not None and not isinstance(model.layers[-1], (Recurrent, Hold)):
            axis = 1 if model.batch_first else 0
            now = np.arange(y.shape[axis]) < np.asarray(valid)[:, None]
            now = now if model.batch_first else now.T
            y, expected = y[now], expected[now]
        np.testing.assert_allclose(y, expected, tolerance, tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("make", "operator"), RECURRENT)
def test_recurrent_layers(make, operator, dtype):
    model = randomised(Sequential(make(), dtype=dtype))
    found = operators(to_onnx(model))
    assert (operator if dtype == "float32" else "Scan") in found
    agrees(model)


@pytest.mark.parametrize("name", list(cells.CELLS))
def test_every_cell(name):
    layer = recurrent.layers.recurrent.layer_from_cell(name, 4, 3)
    agrees(Sequential(layer, dtype="float64"))


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, batch_first):
    agrees(randomised(Sequential(*LAYERS[name](), batch_first=batch_first)))


@pytest.mark.parametrize("name", [n for n in LAYERS if "convolution" not in n])
def test_layers_of_float64(name):
    agrees(randomised(Sequential(*LAYERS[name](), dtype="float64")))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "name", ["silu", "gelu_tanh", "affine(2, 1)", "scaledtanh(2, 0.5)", *cells.ACTIVATIONS]
)
def test_activations(name, dtype):
    if name in ("affine", "scaledtanh"):
        name += "(0.5, -1)"
    agrees(Sequential(Activation(name), dtype=dtype))


def test_every_operation_of_cells():
    """The operations that no cell of this package uses, in a cell of a user."""

    @cells.trace_cell("to_onnx operations", gates="a b", states="h s", register=False)
    def cell(x, h, previous, *, leak=0.3):
        a = cells.where(x.a > h.a, cells.sin(x.a), cells.cos(h.a)) % -0.7
        b = (x.b + h.b) % 0.4 + cells.sqrt(1 + abs(x.b)) - cells.log(1 + cells.exp(h.b))
        s = cells.minimum(a, b) * (previous.s >= 0) + cells.maximum(-a, b / 3) ** 3
        return dict(a=a, b=b, s=cells.clip(s, 2), h=leak * cells.softplus(s) + cells.mean(b))

    agrees(Sequential(Recurrent(cell, 3, 4), dtype="float64"))


def test_states_that_are_the_same_for_all_units():
    @cells.trace_cell("to_onnx narrow", gates="a", states="h s", register=False)
    def cell(x, h, previous):
        s = cells.mean(x.a) * cells.mean(h.a)
        return dict(a=x.a + h.a, s=s, h=previous.s + 0.5 * x.a)

    agrees(Sequential(Recurrent(cell, 3, 4)))


def test_a_cell_that_projects_a_value_of_all_units():
    @cells.trace_cell("to_onnx project", gates="a", states="h", register=False)
    def cell(x, h, previous):
        return dict(a=x.a + h.a, h=cells.projection(cells.mean(x.a + h.a)))

    agrees(Sequential(Recurrent(cell, 3, 4, proj_size=2)))


@pytest.mark.parametrize("name", ["slstm", "phased_lstm", "grud"])
def test_scan_in_the_evaluator_of_onnx(name):
    """ONNX's own evaluator is a second witness; it runs no Scan backwards."""
    layer = recurrent.layers.recurrent.layer_from_cell(name, 4, 3)
    model = randomised(Sequential(layer, Linear(3, 2), dtype="float64"))
    x = np.random.default_rng(6).standard_normal((5, 3, 4))
    evaluator = reference.ReferenceEvaluator(to_onnx(model, lengths=True))
    feeds = {"x": x, "lengths": np.array([5, 0, 2], np.int32)}
    np.testing.assert_allclose(
        evaluator.run(["y"], feeds)[0], model(x, feeds["lengths"]), 1e-12, 1e-12
    )


@pytest.mark.parametrize("batch_first", [False, True])
def test_graph(batch_first):
    model = randomised(graph_of_branches(batch_first=batch_first))
    full, ragged = session(to_onnx(model)), session(to_onnx(model, lengths=True))
    rng = np.random.default_rng(2)
    for T, N in SIZES:
        shape = (N, T) if batch_first else (T, N)
        x = {"ids": rng.integers(0, 7, shape)}
        x["x"] = rng.standard_normal((*shape, 3)).astype("float32")
        lengths = rng.integers(1, T + 1, N)
        now = np.arange(T) < lengths[:, None]
        now = now if batch_first else now.T
        found, expected = full(x), model(x)
        assert list(found) == ["class", "value"]
        for name, y in found.items():
            np.testing.assert_allclose(y, expected[name], 1e-5, 1e-5)
        found = ragged({**x, "lengths": lengths.astype(np.int32)})
        expected = model(x, lengths)
        np.testing.assert_allclose(found["class"][now], expected["class"][now], 1e-5, 1e-5)
        np.testing.assert_allclose(found["value"], expected["value"], 1e-5, 1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("learn_state", [False, True])
def test_states_continue(learn_state, dtype):
    """Two halves of a sequence with the states between them are the whole; states may be left out.

    They are of an operator in float32, of a Scan in float64.
    """
    model = randomised(Sequential(LSTM(3, 4, learn_state=learn_state), GRU(4, 2), dtype=dtype))
    run = session(to_onnx(model, states=True))
    x = np.random.default_rng(3).standard_normal((6, 2, 3)).astype(dtype)
    first = run({"x": x[:2]})
    assert list(first) == ["y", "0.hn", "0.cn", "1.hn"]
    states = {f"{name[:-1]}0": a for name, a in first.items() if name != "y"}
    second = run({"x": x[2:], **states})
    y, state, _ = model.forward(x)
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(np.concatenate([first["y"], second["y"]]), y, tolerance, tolerance)
    for own, names in zip(state, (["0.hn", "0.cn"], ["1.hn"]), strict=True):
        for a, name in zip(own, names, strict=True):
            np.testing.assert_allclose(second[name], a, tolerance, tolerance)


def test_states_of_both_directions_and_inside_residual():
    model = randomised(
        Sequential(Residual(RNN(3, 3)), LSTM(3, 2, bidirectional=True), Last(bidirectional=True))
    )
    proto = to_onnx(model, lengths=True, states=True)
    names = ["0.0.hn", "1.hn", "1.cn", "1.hn_reverse", "1.cn_reverse"]
    assert sorted(out.name for out in proto.graph.output)[1:] == sorted([*names, "y"])[1:]
    run, rng = session(proto), np.random.default_rng(4)
    x, lengths = rng.standard_normal((5, 3, 3)).astype("float32"), np.array([5, 1, 3])
    found = run({"x": x, "lengths": lengths.astype(np.int32)})
    y, state, _ = model.forward(x, lengths=lengths)
    np.testing.assert_allclose(found["y"], y, 1e-5, 1e-5)
    np.testing.assert_allclose(found["1.hn_reverse"], state[1].reverse.h, 1e-5, 1e-5)
    np.testing.assert_allclose(found["1.cn"], state[1].forward.c, 1e-5, 1e-5)
    np.testing.assert_allclose(found["0.0.hn"], state[0][0].h, 1e-5, 1e-5)


def test_layers_that_share_a_learned_state_have_inputs_of_their_own():
    shared = GRU(3, 3, learn_state=True)
    model = randomised(Graph({"a": shared, "b": shared}, "b"))
    run = session(to_onnx(model, states=True))
    x = np.random.default_rng(5).standard_normal((4, 2, 3)).astype("float32")
    found = run({"x": x, "b.h0": np.zeros((2, 3), "float32")})
    y = model.forward(x, [None, (np.zeros((2, 3), "float32"),)])[0]
    np.testing.assert_allclose(found["y" if "y" in found else "b"], y, 1e-5, 1e-5)


def test_names_and_description():
    model = Sequential(Embedding(5, 4), GRU(4, 4), Linear(4, 5), tie={"2.weight": "0.weight"})
    proto = to_onnx(model)
    assert proto.ir_version == 8
    assert [(i.domain, i.version) for i in proto.opset_import] == [("", 17)]
    arrays = {a.name: onnx.numpy_helper.to_array(a) for a in proto.graph.initializer}
    assert "2.weight" not in arrays  # it is the array of 0.weight
    for name in ("0.weight", "2.bias"):
        np.testing.assert_array_equal(arrays[name], model.parameters[name])
    z_r_n = np.concatenate(np.split(model.parameters["1.weight_ih_l0"], 3)[:2][::-1])
    np.testing.assert_array_equal(arrays["1.weight_ih_l0"][0, :8], z_r_n)
    (entry,) = proto.metadata_props
    assert (entry.key, json.loads(entry.value)) == ("recurrent", model.describe())
    shapes = [
        [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*proto.graph.input, *proto.graph.output)
    ]
    assert shapes == [["T", "N"], ["T of y", "N", 5]]


def test_scan_keeps_the_names_and_arrays_of_parameters():
    model = Sequential(Recurrent("janet", 3, 4))
    proto = to_onnx(model)
    arrays = {a.name: onnx.numpy_helper.to_array(a) for a in proto.graph.initializer}
    for name, a in model.parameters.items():
        np.testing.assert_array_equal(arrays[name], a)


QUANTISED = {
    "tied": lambda: Sequential(
        Embedding(9, 4), LSTM(4, 4, bidirectional=True, learn_state=True), Linear(8, 4),
        Linear(4, 9), tie={"3.weight": "0.weight"},
    ),
    "own cells": lambda: Sequential(
        LSTM(3, 4, proj_size=2, reverse=True), Recurrent("mgu", 2, 4), GRU(4, 3)
    ),
    "others": lambda: Sequential(Conv1d(3, 4, 2), LayerNorm(4), Residual(RNN(4, 4)), Attention(4)),
}  # fmt: skip


@pytest.mark.parametrize("weights", ["int8", "bfloat16"])
@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_weights_stay_small(name, weights):
    """ONNX Runtime computes with the widened weights; matrices of float32 are in no initializer."""
    model = randomised(QUANTISED[name]())
    small = model.quantize(weights)
    proto = to_onnx(small)
    arrays = {a.name: onnx.numpy_helper.to_array(a) for a in proto.graph.initializer}
    kept = {n: a for n, a in arrays.items() if a.ndim > 1 and a.dtype == np.float32}
    vectors = ("bias_l0", "h0", "c0", "h0_reverse", "c0_reverse")
    assert all(n.endswith(vectors) or a.ndim == 3 for n, a in kept.items()), list(kept)
    held = [a.size for a in arrays.values() if a.dtype.name == weights]
    assert sum(held) == sum(a.size for a in model.parameters.values() if a.ndim == 2)
    x = inputs(model, 5, 3, np.random.default_rng(7))
    expected = small.dequantized()(x)
    np.testing.assert_allclose(session(proto)({"x": x})["y"], expected, 1e-5, 1e-5)
    np.testing.assert_allclose(recurrent.from_onnx(proto)(x), expected, 1e-5, 1e-5)


def test_file(tmp_path):
    model = Sequential(GRU(3, 2))
    proto = to_onnx(model, tmp_path / "model.onnx")
    assert onnx.load(tmp_path / "model.onnx") == proto


@pytest.mark.parametrize("name", recurrent.layers.__all__)
def test_every_layer_is_written(name):
    """Attention over a memory alone is refused: a graph has none."""
    kind = getattr(recurrent.layers, name)
    if isinstance(kind, type) and issubclass(kind, Layer) and kind is not Layer:
        assert known_class(object.__new__(kind)) is not None


def seq2seq():
    encoder = Sequential(Embedding(5, 2), GRU(2, 3))
    decoder = Sequential(Embedding(5, 2), GRU(2, 3), Attention(3, 3), Linear(6, 5))
    return Seq2Seq(encoder, decoder, start=0, end=1)


class DoubledUnknown(Layer):
    """A layer of a user, which to_onnx does not know."""

    def __init__(self):
        super().__init__()

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        return 2 * x, None, None


class DoubledLinear(Linear):
    """A layer whose forward is not that of its base class."""

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        y, state, tape = super().forward(x, state, lengths, record, training)
        return 2 * y, state, tape


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (
            lambda: Sequential(GRU(3, 2), DoubledUnknown()),
            ValueError,
            "layer 1 .*no nodes for DoubledUnknown",
        ),
        (
            lambda: Sequential(DoubledLinear(3, 2)),
            ValueError,
            "layer 0 .*no nodes for DoubledLinear",
        ),
        (
            lambda: Sequential(Residual(DoubledLinear(3, 3))),
            ValueError,
            "no nodes for DoubledLinear",
        ),
        (lambda: Sequential(Attention(3, 3)), ValueError, "memory_size"),
        (
            lambda: Graph({"a": GRU(3, 2), "a.hn": Linear(2, 2)}, "a.hn"),
            ValueError,
            "called 'a.hn'",
        ),
        (lambda: GRU(3, 2), TypeError, "a Sequential or a Graph"),
        (lambda: seq2seq(), TypeError, r"to_onnx\(model.encoder\) writes its encoder"),
        (lambda: CharLM("abc", hidden=2), TypeError, "its network is its attribute model, a Seq"),
    ],
)
def test_what_onnx_cannot_say_is_refused_before_a_file_is_written(tmp_path, model, error, message):
    with pytest.raises(error, match=message) as found:
        to_onnx(model(), tmp_path / "model.onnx")
    assert "\n" not in str(found.value)
    assert not list(tmp_path.iterdir())


def test_a_graph_with_an_input_called_lengths():
    model = Graph({"y": (Linear(3, 2), "lengths")}, "y")
    assert [i.name for i in to_onnx(model).graph.input] == ["lengths"]
    with pytest.raises(ValueError, match="called 'lengths'"):
        to_onnx(model, lengths=True)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_options_of_recurrent_layers(data):
    """Any cell, direction, number of biases, learned state and dtype, in ragged batches."""
    kind = data.draw(st.sampled_from([RNN, LSTM, GRU]))
    options = {"biases": data.draw(st.integers(0, 2)), "learn_state": data.draw(st.booleans())}
    direction = data.draw(st.sampled_from(["forward", "reverse", "both"]))
    if direction == "both":
        merge = data.draw(st.sampled_from(["concat", "sum", "mul", "average"]))
        options |= {"bidirectional": True, "merge": merge}
    options |= {"reverse": True} if direction == "reverse" else {}
    more = {
        RNN: {"nonlinearity": st.sampled_from(["tanh", "relu"])},
        LSTM: {"peephole": st.booleans(), "proj_size": st.sampled_from([0, 2])},
        GRU: {"reset_after": st.booleans()},
    }[kind]
    options |= {name: data.draw(values) for name, values in more.items()}
    D, H = data.draw(st.integers(1, 5)), data.draw(st.integers(2, 5))
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    batch_first = data.draw(st.booleans())
    model = Sequential(kind(D, H, **options), dtype=dtype, batch_first=batch_first)
    agrees(randomised(model, data.draw(st.integers(0, 99))), sizes=[(4, 3), (2, 1)])
