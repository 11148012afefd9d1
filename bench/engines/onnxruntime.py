"""ONNX Runtime: one operator node with all optimisations; inference only.

int8 weights are those of its `quantize_dynamic`, which makes a node of DynamicQuantizeLSTM.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from . import onnx
from .engine import Engine


class OnnxRuntime(Engine):
    name, package, module = "onnxruntime", "onnxruntime", "onnxruntime"
    cells = onnx.CELLS
    weights = ("", "int8")

    def __init__(self, threads):
        super().__init__(threads)
        import onnx as _  # noqa: F401 - the model is built with it
        import onnxruntime

        self.runtime = onnxruntime

    def session(self, workload, model):
        model = quantized(model) if workload.weights else model
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.log_severity_level = 4  # errors are raised as well
        # Otherwise its threads keep spinning and take a core from the engine that is timed next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return self.runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def forward(self, workload, data):
        session, feed = self.session(workload, onnx.model(workload, data)), onnx.feed(data)
        return lambda: onnx.merged(session.run(None, feed)[0])

    def step(self, workload, data):
        session = self.session(workload, onnx.model(workload, data, states=True))
        return onnx.stepper(lambda inputs: session.run(None, inputs), workload, data)


def quantized(model: bytes) -> bytes:
    """Return a model with int8 weights, one scale a row, which is as fast and more accurate.

    Raises NotImplementedError if the cell has no quantised operator: its node stays as it is.
    """
    from onnx import load_model_from_string
    from onnxruntime.quantization import quantize_dynamic

    proto = load_model_from_string(model)
    before = proto.graph.node[0].op_type
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        quantize_dynamic(proto, path, per_channel=True)
        model = path.read_bytes()
    if load_model_from_string(model).graph.node[0].op_type == before:
        raise NotImplementedError(f"ONNX Runtime has no quantised {before}")
    return model
