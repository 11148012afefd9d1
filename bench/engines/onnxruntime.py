"""ONNX Runtime: one operator node with all optimisations; inference only."""

from __future__ import annotations

from . import onnx
from .engine import Engine


class OnnxRuntime(Engine):
    name, package, module = "onnxruntime", "onnxruntime", "onnxruntime"
    cells = onnx.CELLS

    def __init__(self, threads):
        super().__init__(threads)
        import onnx as _  # noqa: F401 - the model is built with it
        import onnxruntime

        self.runtime = onnxruntime

    def session(self, model):
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.log_severity_level = 4  # errors are raised as well
        # Otherwise its threads keep spinning and take a core from the engine that is timed next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return self.runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def forward(self, workload, data):
        session, feed = self.session(onnx.model(workload, data)), onnx.feed(data)
        return lambda: onnx.merged(session.run(None, feed)[0])

    def step(self, workload, data):
        session = self.session(onnx.model(workload, data, states=True))
        return onnx.stepper(lambda inputs: session.run(None, inputs), workload, data)
