"""OpenVINO: the same ONNX model, compiled for latency; inference in float32 only."""

from __future__ import annotations

from . import onnx
from .engine import Engine


class OpenVINO(Engine):
    name, package, module = "openvino", "openvino", "openvino"
    cells = onnx.CELLS

    def __init__(self, threads):
        super().__init__(threads)
        import onnx as _  # noqa: F401 - the model is built with it
        import openvino

        self.core = openvino.Core()

    def request(self, model):
        """Return a function that runs a model; without the precision hint it may use bfloat16."""
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        request = self.core.compile_model(
            self.core.read_model(model), "CPU", options
        ).create_infer_request()
        return lambda inputs: request.infer(inputs, share_inputs=True, share_outputs=True)

    def forward(self, workload, data):
        if workload.dtype != "float32":
            return None
        infer, feed = self.request(onnx.model(workload, data)), onnx.feed(data)
        return lambda: onnx.merged(infer(feed)[0])

    def step(self, workload, data):
        infer = self.request(onnx.model(workload, data, states=True))
        # The request overwrites its outputs in the next call: feed back copies.
        return onnx.stepper(
            lambda inputs: [a.copy() for a in infer(inputs).values()], workload, data
        )
