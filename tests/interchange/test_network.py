"""Network: graphs of ONNX that are no chain of layers, against ONNX Runtime."""

import numpy as np
import pytest

from recurrent.interchange.onnx import Network, from_onnx

onnx = pytest.importorskip("onnx", reason="ONNX files need onnx: recurrent-engine[onnx]")
runtime = pytest.importorskip("onnxruntime", reason="this oracle is onnxruntime")
helper, FLOAT, INT64, BOOL = (
    onnx.helper,
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.INT64,
    onnx.TensorProto.BOOL,
)
KINDS = {np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64, np.dtype(bool): BOOL}
T, N, D, H = 4, 3, 2, 5


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(","), outputs.split(","), **attributes)


def graph(nodes, inputs, outputs, arrays=(), name="g"):
    """Return a GraphProto; `inputs` are arrays by name, whose dtypes count."""
    return helper.make_graph(
        nodes,
        name,
        [
            helper.make_tensor_value_info(
                n, KINDS[np.asarray(a).dtype], [None] * np.asarray(a).ndim
            )
            for n, a in inputs.items()
        ],
        [
            helper.make_tensor_value_info(n, kind, None)
            for n, _, kind in ((*o.partition(":")[:2], FLOAT) for o in outputs)
        ],
        [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in dict(arrays).items()],
    )


def model(nodes, inputs, outputs, arrays=(), opset=17, functions=()):
    """Return the bytes of a model."""
    proto = helper.make_model(
        graph(nodes, inputs, outputs, arrays),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
        functions=list(functions),
    )
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in outputs)
    return proto.SerializeToString()


def network(data):
    """Return the Network of a model, also where its nodes are a chain of layers."""
    return Network(onnx.load_model_from_string(data))


def lstm_arrays(prefix="", seed=0):
    return {
        f"{prefix}W": normal(1, 4 * H, D, seed=seed),
        f"{prefix}R": normal(1, 4 * H, H, seed=seed) / 2,
        f"{prefix}B": normal(1, 8 * H, seed=seed),
    }


def reordered(prefix):
    """Return nodes that compute R, with the gates in ONNX's order, from it in another order."""
    return [
        node("Split", "raw", "p1,p2,p3,p4", axis=1, num_outputs=4),
        node("Concat", "p2,p1,p4,p3", f"{prefix}R", axis=1),
    ]


def test_layers_have_the_weights_of_recurrent_nodes():
    arrays = lstm_arrays("a", 1) | lstm_arrays("b", 2)
    branch = [node("LSTM", "x,bW,bR,bB", "q", name="inner", hidden_size=H)]
    raw = arrays.pop("bR")
    raw = np.concatenate([np.split(raw, 4, 1)[k] for k in (1, 0, 3, 2)], axis=1)
    nodes = [
        node("LSTM", "x,aW,aR,aB", "p", hidden_size=H),
        *reordered("b"),
        helper.make_node(
            "If",
            ["flag"],
            ["r"],
            then_branch=graph(branch, {}, ["q"]),
            else_branch=graph([node("Identity", "p", "s")], {}, ["s"]),
        ),
        node("Add", "p,r", "y"),
    ]
    made = from_onnx(
        model(nodes, {"x": normal(T, N, D), "flag": np.array(True)}, ["y"], arrays | {"raw": raw},
              opset=18)
    )  # fmt: skip
    assert isinstance(made, Network)
    assert sorted(made.layers) == ["inner", "p"]
    x = normal(T, N, D)
    p, q = (made.layers[name].forward(x)[0] for name in ("p", "inner"))
    assert np.array_equal(made({"x": x, "flag": np.array(True)}), (p + q)[:, None])
    assert np.array_equal(made({"x": x, "flag": np.array(False)}), (p + p)[:, None])
