"""Models as ONNX graphs: `to_onnx`."""

from .export import to_onnx

__all__ = ["to_onnx"]
