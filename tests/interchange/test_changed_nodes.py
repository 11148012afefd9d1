"""Graphs of layers whose nodes are changed: what is still read as layers equals ONNX Runtime."""

import random
import warnings

import numpy as np
import pytest

from recurrent import Graph
from recurrent.interchange.onnx import Network, from_onnx

onnx = pytest.importorskip("onnx", reason="ONNX files need onnx: recurrent-engine[onnx]")
runtime = pytest.importorskip("onnxruntime", reason="this oracle is onnxruntime")

from test_onnx import branches, model  # noqa: E402

OPERATORS = (
    "Add", "Mul", "Sub", "Concat", "Transpose", "Squeeze", "Gather", "Slice", "ReduceMean",
    "ReduceMax", "Tanh", "Identity", "MatMul", "Reshape", "Softmax", "Flatten",
)  # fmt: skip


def change(proto, rng):
    """Change an operator, an input, an attribute or a constant of whole numbers."""
    k = rng.randrange(len(proto.graph.node))
    one = proto.graph.node[k]
    kind = rng.choice(["operator", "input", "attribute", "constant"])
    ints = [t for t in proto.graph.initializer if t.data_type == onnx.TensorProto.INT64]
    if kind == "operator":
        one.op_type = rng.choice(OPERATORS)
    elif kind == "input":
        known = [i.name for i in proto.graph.input]
        known += [name for node in proto.graph.node[:k] for name in node.output]
        one.input[rng.randrange(len(one.input))] = rng.choice(known)
    elif kind == "attribute" and one.attribute:
        a = rng.choice(one.attribute)
        if a.type == a.INT:
            a.i = rng.choice([0, 1, 2, -1, a.i + 1])
        elif a.type == a.INTS:
            rng.shuffle(values := list(a.ints))
            a.ints[:] = values
    elif ints:
        tensor = rng.choice(ints)
        a = onnx.numpy_helper.to_array(tensor).copy()
        a.flat[rng.randrange(a.size)] += rng.choice([-2, -1, 1, 2])
        tensor.CopyFrom(onnx.numpy_helper.from_array(a, tensor.name))


def theirs(proto, feeds):
    """Return the outputs of ONNX Runtime by name; None if it cannot run the graph."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    try:
        session = runtime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return dict(zip(feeds["outputs"], session.run(None, feeds["inputs"]), strict=True))
    except Exception:  # it has errors of its own
        return None


@pytest.mark.parametrize("count", [150, pytest.param(6000, marks=pytest.mark.slow)])
def test_changed_nodes_are_the_same_layers_or_none(count):
    rng, numbers = random.Random(count), np.random.default_rng(count)
    graphs = [(nodes, arrays, x, y.split()) for _, nodes, arrays, x, y, _ in branches()]
    compared = 0
    for _ in range(count):
        nodes, arrays, inputs, outputs = rng.choice(graphs)
        proto = onnx.load_from_string(model(nodes, arrays, inputs, outputs))
        change(proto, rng)
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                made = from_onnx(proto)
        except (TypeError, ValueError):  # it is no model any more
            continue
        # A length in the file, which is read as any length, is that of other arrays now.
        frozen = any("wrote the length" in str(one.message) for one in told)
        if frozen or isinstance(made, Network):
            continue
        x = {name: numbers.standard_normal((5, 3, 4)).astype(np.float32) for name in inputs}
        if getattr(made, "batch_first", False):
            x = {name: a.swapaxes(0, 1).copy() for name, a in x.items()}
        expected = theirs(proto, {"inputs": x, "outputs": outputs})
        if expected is None:
            continue
        read = [name for name in x if name in made._wiring.inputs] or ["x"]
        y = made({name: x[name] for name in read} if len(read) > 1 else x[read[0]])
        if not isinstance(y, dict):  # final states beside it may have been left out
            (name,) = made.outputs if isinstance(made, Graph) else (*outputs, "")[:1]
            same = [k for k in outputs if expected[k].shape == y.shape]
            y = {name if name in same or not same else same[0]: y}
        for name, a in y.items():
            words = onnx.printer.to_text(proto.graph)
            assert a.shape == expected[name].shape, words
            np.testing.assert_allclose(a, expected[name], atol=1e-5, err_msg=words)
            compared += 1
    assert compared > count / 6
