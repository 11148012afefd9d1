"""Models of other programs, in and out, and what layers compute in words.

What reads files of others is imported when it is used; the engine imports none of it.
"""

from .explain import explain
from .keras import from_keras
from .onnx import from_onnx
from .onnx_writer import to_onnx
from .torch import from_torch, to_torch

__all__ = ["explain", "from_keras", "from_onnx", "from_torch", "to_onnx", "to_torch"]
