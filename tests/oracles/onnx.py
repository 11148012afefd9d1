"""A recurrent ONNX node, run by ONNX Runtime."""

import numpy as np
import pytest


def onnx_run(op, feeds, **attributes):
    """Return y (T, N, H) and the final states of a node of one direction, as `onnx_outputs`."""
    y, *final = onnx_outputs(op, feeds, **attributes)
    return y[:, 0], [s[0] for s in final]


def onnx_outputs(op, feeds, **attributes):
    """Return the outputs of a node; `feeds` has the inputs, or None, in order."""
    onnx = pytest.importorskip(
        "onnx", reason="a one-node model needs onnx: pip install recurrent-engine[test]"
    )
    runtime = pytest.importorskip(
        "onnxruntime", reason="this oracle is onnxruntime: pip install recurrent-engine[test]"
    )
    outputs = ["Y", "Y_h", "Y_c"][: 3 if op == "LSTM" else 2]
    inputs = [n if a is not None else "" for n, a in feeds.items()]
    feeds = {n: a for n, a in feeds.items() if a is not None}
    helper, kind = onnx.helper, onnx.TensorProto
    node = helper.make_node(op, inputs, outputs, **attributes)
    graph = helper.make_graph(
        [node],
        op,
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in feeds.items()
        ],
        [helper.make_tensor_value_info(n, kind.FLOAT, None) for n in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def as_int32(lengths):
    """Return lengths as ONNX takes them."""
    return None if lengths is None else lengths.astype(np.int32)
