"""Loops of ONNX whose states are weights, as tf2onnx writes them, against ONNX Runtime."""

import numpy as np
import pytest
from oracles.onnx import onnx_run_model

from recurrent.interchange.onnx import from_onnx

onnx = pytest.importorskip("onnx", reason="ONNX files need onnx: recurrent-engine[onnx]")
FLOAT, INT64, BOOL = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL


def loop(constant):
    """Return h -> tanh(h @ W + b) in a Loop, with W and b among its states, which all come out."""
    helper = onnx.helper
    info, node = helper.make_tensor_value_info, helper.make_node
    body = helper.make_graph(
        [
            node("Identity", ["W0"], ["W1"]),
            node("MatMul", ["h0", "W0"], ["p"]),
            node("Add", ["p", "b0"], ["q"]),
            node("Tanh", ["q"], ["h1"]),
            node("Identity", ["W1"], ["W2"]),
            node("Identity", ["b0"], ["b1"]),
            node("Identity", ["on"], ["goes_on"]),
            node("Identity", ["h1"], ["row"]),
        ],
        "body",
        [
            info("k", INT64, []), info("on", BOOL, []), info("W0", FLOAT, [3, 3]),
            info("h0", FLOAT, [2, 3]), info("b0", FLOAT, [3]),
        ],
        [
            info("goes_on", BOOL, []), info("W2", FLOAT, [3, 3]), info("h1", FLOAT, [2, 3]),
            info("b1", FLOAT, [3]), info("row", FLOAT, [2, 3]),
        ],
    )  # fmt: skip
    W = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)
    inputs = [info("trips", INT64, []), info("h", FLOAT, [2, 3]), info("b", FLOAT, [3])]
    graph = helper.make_graph(
        [node("Loop", ["trips", "", "W", "h", "b"], ["W3", "y", "b3", "rows"], body=body)],
        "g",
        inputs + [info("W", FLOAT, [3, 3])] * (not constant),
        [info(n, FLOAT, None) for n in ("W3", "y", "b3", "rows")],
        [onnx.numpy_helper.from_array(W, "W")] * constant,
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return proto.SerializeToString(), {} if constant else {"W": W}


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("trips", [1, 4])
def test_states_that_no_step_changes(constant, trips):
    data, feeds = loop(constant)
    network = from_onnx(data)
    rng = np.random.default_rng(trips)
    feeds |= {
        "trips": np.array(trips), "h": rng.standard_normal((2, 3)).astype(np.float32),
        "b": rng.standard_normal(3).astype(np.float32),
    }  # fmt: skip
    expected = onnx_run_model(data, feeds)
    for _ in range(2):
        found = network(feeds)
        for name, theirs in zip(("W3", "y", "b3", "rows"), expected, strict=True):
            np.testing.assert_allclose(found[name], theirs, atol=1e-6)
            found[name][...] = 9  # what comes out is the caller's


def test_no_step():
    data, feeds = loop(True)
    feeds |= {"trips": np.array(0), "h": np.ones((2, 3), np.float32), "b": np.ones(3, np.float32)}
    found, expected = from_onnx(data)(feeds), onnx_run_model(data, feeds)
    for name, theirs in zip(("W3", "y", "b3", "rows"), expected, strict=True):
        np.testing.assert_array_equal(found[name], theirs)


def test_a_matrix_that_is_a_state_is_packed_once(monkeypatch):
    from recurrent.interchange.onnx import windows

    made = []
    linear = windows.linear
    monkeypatch.setattr(windows, "linear", lambda *a: made.append(a) or linear(*a))
    data, _ = loop(True)
    network = from_onnx(data)
    feeds = {"h": np.ones((2, 3), np.float32), "b": np.ones(3, np.float32)}
    network(feeds | {"trips": np.array(5)})
    assert len(made) == 1
