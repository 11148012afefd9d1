"""ONNX Runtime: a recurrent node, any other node, and whole files."""

import numpy as np
import pytest


def onnx_run(op, feeds, **attributes):
    """Return y (T, N, H) and the final states of a node of one direction, as `onnx_outputs`."""
    y, *final = onnx_outputs(op, feeds, **attributes)
    return y[:, 0], [s[0] for s in final]


def onnx_outputs(op, feeds, **attributes):
    """Return the outputs of a node; `feeds` has the inputs, or None, in order."""
    outputs = ["Y", "Y_h", "Y_c"][: 3 if op == "LSTM" else 2]
    given = {n: a for n, a in feeds.items() if a is not None}
    return onnx_run_model(node_model(op, feeds, outputs, **attributes), given)


def node_model(op, feeds, outputs=("y",), constants=(), domain="", opset=14, **attributes):
    """Return the bytes of a model of one node; `feeds` has its inputs, or None, in order.

    Inputs named in `constants` are initialisers.
    """
    onnx = pytest.importorskip(
        "onnx", reason="a one-node model needs onnx: pip install recurrent-engine[test]"
    )
    helper = onnx.helper
    inputs = [n if a is not None else "" for n, a in feeds.items()]
    feeds = {n: a for n, a in feeds.items() if a is not None}
    node = helper.make_node(op, inputs, outputs, domain=domain, **attributes)
    graph = helper.make_graph(
        [node],
        op,
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in feeds.items()
            if n not in constants
        ],
        [onnx.ValueInfoProto(name=n) for n in outputs],  # ONNX Runtime finds the types
        [onnx.numpy_helper.from_array(feeds[n], n) for n in constants if n in feeds],
    )
    opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(domain, 1)] * bool(domain)
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return model.SerializeToString()


def onnx_session(model):
    """Return a session of ONNX Runtime on one thread, of a path or the bytes of a file."""
    runtime = pytest.importorskip(
        "onnxruntime", reason="this oracle is onnxruntime: pip install recurrent-engine[test]"
    )
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def onnx_run_model(model, feeds):
    """Return the outputs of a model, of a path or the bytes of a file."""
    return onnx_session(model).run(None, feeds)


def as_int32(lengths):
    """Return lengths as ONNX takes them."""
    return None if lengths is None else lengths.astype(np.int32)
