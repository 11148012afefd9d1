"""What writes the nodes of an ONNX graph: names, constants and the shapes that change."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np

from ...kernels.quantized import quantize


class Builder:
    """The nodes and initializers of a graph, in the order in which they are added.

    Values that nodes make are called "/place/Operator_3", which no name of a parameter, an input or
    an output can be. The body of a Scan has a builder of its own, which adds its initializers to
    the graph around it.

    Parameters
    ----------
    dtype : dtype
        That of the model.
    outer : Builder, optional
        That of the graph around a body.
    weights : str, optional
        Kind of the weights of a quantised model: "int8" or "bfloat16".
    """

    def __init__(self, dtype: Any, outer: Builder | None = None, weights: str | None = None):
        import onnx

        self.weights = weights

        self.helper, self.onnx = onnx.helper, onnx
        self.dtype = np.dtype(dtype)
        self.float = onnx.helper.np_dtype_to_tensor_dtype(self.dtype)
        self.nodes: list[Any] = []
        self.initializers: dict[str, np.ndarray] = outer.initializers if outer else {}
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.place = outer.place if outer else ""
        self._numbers = outer._numbers if outer else count()
        self._known: dict[Any, str] = {}

    def body(self) -> Builder:
        """Return the builder of a body in this graph."""
        return Builder(self.dtype, self)

    def name(self, operator: str) -> str:
        """Return the name of a new value."""
        return f"/{self.place}/{operator}_{next(self._numbers)}"

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output; return the output's name."""
        return self.add_many(operator, inputs, 1, **attributes)[0]

    def add_many(
        self, operator: str, inputs: Sequence[str], outputs: int, **attributes: Any
    ) -> list[str]:
        """Add a node; return the names of its outputs."""
        names = [self.name(operator) for _ in range(outputs)]
        node = self.helper.make_node(operator, list(inputs), names, names[0], **attributes)
        self.nodes.append(node)
        return names

    def once(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Return the output of an equal node if there is one, else add it."""
        key = (operator, inputs, repr(attributes))
        if key not in self._known:
            self._known[key] = self.add(operator, *inputs, **attributes)
        return self._known[key]

    def parameter(self, name: str, array: np.ndarray) -> str:
        """Return the initializer of an array, called `name` unless another array is called so."""
        same = self.initializers.get(name)
        if same is not None and not np.array_equal(same, array):
            name = self.name(name)
        self.initializers[name] = array
        return name

    def matrix(self, name: str, array: np.ndarray) -> str:
        """Return the value of a parameter; that of a quantised matrix is computed from its codes.

        `array` has the dequantised weights, which give their codes again.
        """
        if self.weights is None or array.ndim < 2:
            return self.parameter(name, array)
        rows = array.reshape(-1, array.shape[-1])
        held = quantize(rows, self.weights, name)
        if not np.array_equal(held.dequantized(), rows):  # of a Conv1d: it is not quantised
            return self.parameter(name, array)
        if self.weights == "int8":
            codes = self.parameter(name, held.codes)
            scales = self.parameter(f"{name}.scales", held.scales)
            value = self.once("DequantizeLinear", codes, scales, axis=0)
        else:
            import ml_dtypes

            codes = self.parameter(name, held.codes.view(ml_dtypes.bfloat16))
            value = self.once("Cast", codes, to=self.float)
        return value if array.ndim == 2 else self.once("Reshape", value, self.ints(*array.shape))

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Return the initializer of a constant, by default of the model's dtype."""
        array = np.asarray(value, dtype or self.dtype)
        text = "_".join(map(str, (array.dtype, *array.shape)))
        key = f"/{text}/{array.tobytes().hex()}" if array.size < 9 else self.name("constant")
        self.initializers[key] = array
        return key

    def ints(self, *values: int) -> str:
        """Return the initializer of a vector of int64, such as axes or sizes."""
        return self.constant(values, np.int64)

    def size(self, value: str, axis: int) -> str:
        """Return the size of an axis as a vector of one int64."""
        return self.once("Shape", value, start=axis, end=axis + 1)

    def rows(self, value: str, like: str, width: int) -> str:
        """Return a value with a row of `width` entries for each sequence of `like` (T, N, K)."""
        shape = self.once("Concat", self.size(like, 1), self.ints(width), axis=0)
        return self.add("Expand", value, shape)

    def select(self, value: str, axis: int, first: int, last: int) -> str:
        """Return the slice first:last of an axis."""
        return self.add("Slice", value, self.ints(first), self.ints(last), self.ints(axis))

    def info(self, name: str, shape: Sequence[Any], dtype: Any = None) -> Any:
        """Return the type and shape of a value."""
        kind = self.helper.np_dtype_to_tensor_dtype(np.dtype(dtype or self.dtype))
        return self.helper.make_tensor_value_info(name, kind, list(shape))

    def valid(self, lengths: str, like: str) -> str:
        """Return which steps of `like` (T, N, K) are valid, (T, N, 1), bool."""
        T = self.once("Squeeze", self.size(like, 0), self.ints(0))
        steps = self.once("Range", self.constant(0, np.int64), T, self.constant(1, np.int64))
        column = self.once("Unsqueeze", steps, self.ints(1))
        wide = self.once("Cast", lengths, to=self.onnx.TensorProto.INT64)
        found = self.once("Less", column, wide)
        return self.once("Unsqueeze", found, self.ints(2))

    def masked(self, value: str, valid: str | None, instead: float = 0.0) -> str:
        """Return a value with another number at the steps that are not valid."""
        return self.add("Where", valid, value, self.constant(instead)) if valid else value

    def graph(self, name: str) -> Any:
        """Return the graph of all that was added."""
        tensors = [
            self.onnx.numpy_helper.from_array(np.asarray(a, order="C"), n)
            for n, a in self.initializers.items()
        ]
        return self.helper.make_graph(self.nodes, name, self.inputs, self.outputs, tensors)

    def body_graph(self, name: str) -> Any:
        """Return the graph of a body, whose initializers the graph around it has."""
        return self.helper.make_graph(self.nodes, name, self.inputs, self.outputs)
