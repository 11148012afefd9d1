"""Models in ONNX files. The package onnx is imported when a file is read."""
