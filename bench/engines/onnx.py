"""Builds an ONNX model of one node, for ONNX Runtime and OpenVINO."""

from __future__ import annotations

import numpy as np

CELLS = ("lstm", "gru", "rnn", "gru_before")
GATES = {"lstm": [0, 3, 1, 2], "gru": [1, 0, 2], "rnn": [0]}  # indices of our gates in ONNX's order
STATES = {"lstm": ["h", "c"], "gru": ["h"], "rnn": ["h"]}


def model(workload, data, states: bool = False) -> bytes:
    """Return a serialised model from X to Y (T, directions, N, H).

    Data with lengths add a second input `lengths`. With `states`, the model maps X, initial_h and
    initial_c to final_h and final_c, each (1, N, H).
    """
    from onnx import TensorProto, helper, numpy_helper

    op, H = workload.cell.removesuffix("_before"), workload.H
    order = GATES[op]
    kind = TensorProto.FLOAT if workload.dtype == "float32" else TensorProto.DOUBLE
    directions = []
    for params in data.params:
        W, R, *biases = (a.reshape(-1, H, *a.shape[1:])[order].reshape(a.shape) for a in params)
        directions.append((W, R, np.concatenate(biases)))
    weights = dict(zip("WRB", map(np.stack, zip(*directions, strict=True)), strict=True))
    inputs = [helper.make_tensor_value_info("X", kind, data.x.shape)]
    input_names, output_names = ["X", *weights], ["Y"]
    if data.lengths is not None:
        inputs.append(
            helper.make_tensor_value_info("lengths", TensorProto.INT32, data.lengths.shape)
        )
        input_names.append("lengths")
    outputs = [helper.make_tensor_value_info("Y", kind, None)]
    if states:
        names, shape = STATES[workload.cell], (1, workload.N, H)
        inputs += [helper.make_tensor_value_info(f"initial_{s}", kind, shape) for s in names]
        outputs = [helper.make_tensor_value_info(f"final_{s}", kind, shape) for s in names]
        input_names += ["", *(f"initial_{s}" for s in names)]
        output_names = ["", *(f"final_{s}" for s in names)]
    attributes = {"linear_before_reset": int(workload.cell == "gru")} if op == "gru" else {}
    if len(data.params) == 2:
        attributes["direction"] = "bidirectional"
    node = helper.make_node(op.upper(), input_names, output_names, hidden_size=H, **attributes)
    graph = helper.make_graph(
        [node], "cell", inputs, outputs, [numpy_helper.from_array(a, n) for n, a in weights.items()]
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    return proto.SerializeToString()


def feed(data) -> dict[str, np.ndarray]:
    """Return the inputs of a sequence by name."""
    return {"X": data.x} | (
        {} if data.lengths is None else {"lengths": data.lengths.astype(np.int32)}
    )


def merged(Y: np.ndarray) -> np.ndarray:
    """Return y (T, N, directions * H) from Y (T, directions, N, H)."""
    return Y[:, 0] if Y.shape[1] == 1 else np.concatenate([Y[:, 0], Y[:, 1]], axis=-1)


def stepper(run, workload, data):
    """Return a function that runs one time step per call and feeds the final states back.

    `run(inputs)` returns the final states in the order of STATES.
    """
    names = STATES[workload.cell]
    zeros = np.zeros((1, workload.N, workload.H), workload.dtype)
    inputs = {"X": data.x} | {f"initial_{s}": zeros for s in names}

    def step():
        for s, a in zip(names, run(inputs), strict=True):
            inputs[f"initial_{s}"] = a
        return inputs["initial_h"][0]

    return step
