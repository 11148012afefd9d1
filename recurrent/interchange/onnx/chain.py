"""Finds the layers of a model of ONNX whose data go through one chain of nodes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ... import checks
from ...layers import (
    Activation,
    Conv1d,
    Dropout,
    Embedding,
    Last,
    Layer,
    LayerNorm,
    Linear,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from ...layers.recurrent import Recurrent
from ...models.sequential import Sequential
from ..assemble import Part, array, assembled, filled
from . import loading, shapes
from .operators import KINDS, Operator

PLAIN = {"Relu": ReLU, "Tanh": Tanh, "Sigmoid": Sigmoid}
# Activations with numbers: the names and the defaults in ONNX.
NUMBERED: dict[str, dict[str, float]] = {
    "LeakyRelu": {"alpha": 0.01},
    "Elu": {"alpha": 1.0},
    "ThresholdedRelu": {"alpha": 1.0},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "Softplus": {},
    "Softsign": {},
}
FAR = 2**31 - 1  # the end of a slice that goes to the end of an axis
INTEGERS = (2, 3, 4, 5, 6, 7, 12, 13)  # ONNX's numbers of the integer dtypes


class NotAChain(Exception):
    """The nodes are no chain of known layers; the message says which one is not."""


def sequential(model: Any, outputs: tuple[str, ...]) -> Sequential:
    """Return the layers of the nodes between the input and the output of a model.

    Raises NotAChain if a node has no equal here, or the data go more than one way.
    """
    if len(outputs) != 1:
        raise NotAChain(f"it has {len(outputs)} outputs, {', '.join(outputs)}")
    return _Walk(model, outputs[0]).model()


class _Walk:
    """Follows the data from the input to the output, and the sizes and constants beside them.

    `axes` has the labels of the axes of each array of data: "a" and "b", the first two of the
    input, one of which is time; "F", features; "D" and "H", directions and units before they are
    merged; "L", time after all steps but the last are cut off.
    """

    def __init__(self, model: Any, output: str):
        import onnx

        self.onnx, self.graph, self.output = onnx, model.graph, output
        self.opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        self.values: dict[str, shapes.Value] = {
            t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer
        }
        inputs = [i for i in model.graph.input if i.name not in self.values]
        if len(inputs) != 1:
            raise NotAChain(f"it has {len(inputs)} inputs, {', '.join(i.name for i in inputs)}")
        shape = inputs[0].type.tensor_type
        rank = len(shape.shape.dim) if shape.HasField("shape") else 0
        if rank not in (2, 3):
            raise NotAChain(f"its input has {rank} axes, and sequences have 2 or 3")
        self.axes = {inputs[0].name: ["a", "b", "F"][:rank]}
        self.current = inputs[0].name
        self.time: str | None = None  # "a" or "b"
        self.sizes: dict[str, int] = {}
        self.parts: list[tuple[str, Layer]] = []
        self.fixed: dict[str, int] = {}  # lengths of "a" and "b" that a Reshape names
        dims = shape.shape.dim
        self.free = [one for one, d in zip("ab", dims, strict=False) if not d.dim_value]
        self.needed, _ = self._reached(())
        _, self.read = self._reached(("Shape",))  # the arrays whose entries the output depends on

    def model(self) -> Sequential:
        for node in self.needed:
            data = [name for name in node.input if name in self.axes]
            label = f"{node.op_type} {node.name or node.output[0]}"
            if not data:
                self._constant(node)
            elif node.op_type == "Shape":
                axes, own = self.axes[data[0]], loading.attributes(self.onnx, node)
                axes = axes[own.get("start", 0) : own.get("end", len(axes))]
                self.values[node.output[0]] = [self.sizes.get(one, one) for one in axes]
            elif not self.read.intersection(node.output):  # a Shape alone reads what it makes
                if node.op_type == "Transpose":
                    own = loading.attributes(self.onnx, node)
                    self.axes[node.output[0]] = self._transpose(node, own, self.axes[data[0]])
            elif data != [self.current]:
                raise NotAChain(f"{label} reads {' and '.join(data)}: the data branch")
            else:
                with checks.naming(label):
                    self._node(node, label)
        if self.current != self.output:
            raise NotAChain(f"the output {self.output} is not the end of the chain")
        axes = self.axes[self.current]
        wanted = ["a", "b", "F"]
        if axes not in (wanted, [self._other(), "F"]):
            raise NotAChain("the axes of the output have another order than those of the input")
        for one, n in self.fixed.items():
            if one in self.free:
                what = "time" if one == self.time else "the batch"
                warnings.warn(
                    f"the exporter wrote the length {n} of {what} into the file, which says that "
                    "any is allowed: the model here takes any",
                    stacklevel=5,
                )
        batch_first = self.time == "b"
        parts = [Part(name, name, lambda layer=layer: [layer]) for name, layer in self.parts]
        return assembled(parts, None, batch_first)

    def _other(self) -> str:
        """Return the label of the axis of sequences."""
        return "a" if self.time == "b" else "b"

    def _reached(self, ends: tuple[str, ...]) -> tuple[list[Any], set[str]]:
        """Return the nodes on which the output depends, in order, and all that they read.

        What nodes of the kinds in `ends` read does not count.
        """
        wanted, found = {self.output}, []
        for node in reversed(self.graph.node):
            if any(name in wanted for name in node.output if name):
                found.append(node)
                wanted.update(() if node.op_type in ends else node.input)
        return found[::-1], wanted

    def _constant(self, node: Any) -> None:
        """Note the values of a node that no data reach."""
        own = loading.attributes(self.onnx, node)
        own = {
            k: self.onnx.numpy_helper.to_array(v) if isinstance(v, self.onnx.TensorProto) else v
            for k, v in own.items()
        }
        if node.op_type == "Constant":
            value = next(iter(own.values()))
            found: Any = None if isinstance(value, (str, bytes)) else np.asarray(value)
        else:
            given = [self.values.get(name) for name in node.input]
            found = shapes.computed(node.op_type, given, own)
        for name in node.output:
            self.values[name] = None
        self.values[node.output[0]] = found

    # Nodes of the chain

    def _node(self, node: Any, label: str) -> None:
        read = getattr(self, f"_{node.op_type.lower()}", None)
        own = loading.attributes(self.onnx, node)
        if node.domain not in ("", "ai.onnx"):
            raise NotAChain(f"{label} is an operator of {node.domain}")
        name, axes = node.output[0], self.axes[self.current]
        if node.op_type in KINDS:
            name, axes = self._recurrent(node, own, axes)
        elif node.op_type in PLAIN:
            self._put(node, PLAIN[node.op_type]())
        elif node.op_type in NUMBERED:
            values = [
                repr(float(str(np.float32(own.get(k, default)))))
                for k, default in NUMBERED[node.op_type].items()
            ]
            text = f"({', '.join(values)})" if values else ""
            self._put(node, Activation(node.op_type.lower() + text))
        elif read is not None:
            axes = read(node, own, list(axes))
        else:
            raise NotAChain(f"{label} has no layer here")
        self.axes[name], self.current = axes, name

    def _put(self, node: Any, *layers: Layer) -> None:
        name = node.name or node.output[0]
        self.parts += [(name, layer) for layer in layers]

    def _array(self, node: Any, k: int) -> np.ndarray | None:
        """Return input k, a constant; None if the node has none."""
        if k >= len(node.input) or not node.input[k]:
            return None
        value = self.values.get(node.input[k])
        if not isinstance(value, np.ndarray):
            raise NotAChain(f"{node.op_type} {node.name}: {node.input[k]} is no constant")
        return value

    def _weight(self, node: Any, k: int) -> Any:
        """Return input k, a constant of float32 or float64; None if the node has none."""
        a = self._array(node, k)
        if a is not None and a.dtype.kind in "iu":
            raise NotAChain(f"{node.op_type} {node.name} has quantised weights, {a.dtype}")
        return None if a is None else array(a, node.input[k])

    def _integers(self, node: Any, own: dict[str, Any], name: str, k: int) -> list[int] | None:
        """Return numbers that are an attribute, or input k in newer versions."""
        if name in own:
            value = own[name]
            return list(value) if isinstance(value, (list, tuple)) else [value]
        a = self._array(node, k)
        return None if a is None else [int(v) for v in a.ravel()]

    def _steps(self, label: str) -> None:
        """Note which axis is time."""
        if label not in ("a", "b") or self.time not in (None, label):
            raise NotAChain("time is one axis for one layer and another for the next")
        self.time = label

    def _recurrent(self, node: Any, own: dict[str, Any], axes: list[str]) -> tuple[str, list[str]]:
        operator = Operator(node.op_type, own)
        names = [*node.input, *[""] * (8 - len(node.input))]
        if names[0] != self.current:
            raise NotAChain(f"{node.op_type} {node.name}: the data are no X")
        for k, word in ((4, "lengths"), (5, "initial states"), (6, "initial states")):
            if names[k] and (k == 4 or not shapes.is_zero(self.values.get(names[k]))):
                raise NotAChain(f"{node.op_type} {node.name} has {word} of its own")
        if len(axes) != 3 or axes[2] != "F":
            raise NotAChain(f"{node.op_type} {node.name}: the data are no sequences of features")
        t, n = (axes[1], axes[0]) if operator.layout else (axes[0], axes[1])
        self._steps(t)
        arrays = [self._weight(node, k) for k in (1, 2, 3, 7)]
        layer = operator.layer(*arrays)
        self._put(node, layer)
        self.sizes |= {"D": len(operator.reverse), "H": layer.hidden_size}
        used = [k for k, name in enumerate(node.output) if name and name in self.read]
        if used == [1]:  # the state after all steps
            way = {"bidirectional": True} if len(operator.reverse) == 2 else {}
            self._put(node, Last(**way, **({"reverse": True} if operator.reverse[0] else {})))
            return node.output[1], [n, "D", "H"] if operator.layout else ["D", n, "H"]
        if used != [0]:
            raise NotAChain(f"{node.op_type} {node.name}: more than its steps is read")
        return node.output[0], [n, t, "D", "H"] if operator.layout else [t, "D", n, "H"]

    def _transpose(self, node, own, axes):
        perm = own.get("perm", list(range(len(axes)))[::-1])
        return [axes[k] for k in perm]

    def _squeeze(self, node, own, axes):
        gone = self._integers(node, own, "axes", 1)
        if not gone:
            raise NotAChain("it leaves out all axes of length 1, whichever they are")
        return self._without(axes, [k % len(axes) for k in gone])

    def _without(self, axes: list[str], gone: list[int]) -> list[str]:
        """Return the axes without some of length 1: one direction, or the last step."""
        for k in gone:
            if axes[k] == "D" and self.sizes["D"] == 1:
                continue
            if axes[k] == "L":
                continue
            raise NotAChain(f"axis {k} cannot be left out")
        left = [one for k, one in enumerate(axes) if k not in gone]
        return self._merged(left) if "D" not in left else left

    def _merged(self, axes: list[str]) -> list[str]:
        """Return the axes with the units of all directions as features."""
        if "H" in axes:
            self.sizes["F"] = self.sizes["H"] * self.sizes["D"]
        return ["F" if one == "H" else one for one in axes]

    def _reshape(self, node, own, axes):
        target = shapes.sizes(self.values.get(node.input[1]))
        if target is None or (own.get("allowzero") and 0 in target) or target.count(-1) > 1:
            raise NotAChain("the shape of a Reshape is not known")
        merges = axes[-2:] == ["D", "H"]
        kept = axes[:-2] if merges else axes[:-1]
        width = self.sizes["D"] * self.sizes["H"] if merges else self.sizes.get(axes[-1])
        if len(target) != len(kept) + 1 or target[-1] not in (-1, width, axes[-1]):
            raise NotAChain("a Reshape changes more than the directions")
        for n, one in zip(target, kept, strict=False):
            if n in (0, -1, one, self.sizes.get(one)):
                continue
            if one not in ("a", "b") or isinstance(n, str):
                raise NotAChain("a Reshape changes more than the directions")
            self.fixed[one] = n
        return self._merged([*kept, "H"]) if merges else axes

    def _gather(self, node, own, axes):
        axis = own.get("axis", 0)
        if node.input[1] == self.current:  # rows of a table, by the ids in the data
            table = self._weight(node, 0)
            if axis or table.ndim != 2 or "F" in axes:
                raise NotAChain(f"{node.op_type} {node.name} is no embedding")
            self._put(node, filled(Embedding(*table.shape), {"weight": table}))
            self.sizes["F"] = table.shape[1]
            return [*axes, "F"]
        index, axis = self._array(node, 1), axis % len(axes)
        if index is None or index.ndim:
            raise NotAChain("it takes several places of an axis")
        k = int(index)
        if axes[axis] == "D" and self.sizes["D"] == 1 and k in (0, -1):
            return self._without(axes, [axis])
        if axes[axis] == "L" and k in (0, -1):
            return self._without(axes, [axis])
        self._last(node, axes[axis], k)
        return [one for j, one in enumerate(axes) if j != axis]

    def _last(self, node: Any, label: str, k: int) -> None:
        """Add the layer that takes step k, the last one of a direction."""
        below = next((p for _, p in reversed(self.parts) if isinstance(p, Recurrent)), None)
        if label != self.time or below is None or below.bidirectional:
            raise NotAChain("it takes a step that is not the last of a layer")
        if k != (0 if below.reverse else -1):
            raise NotAChain(f"it takes step {k}, which is not the last one of the layer below")
        self._put(node, Last(reverse=True) if below.reverse else Last())

    def _slice(self, node, own, axes):
        start, end, along = (
            self._integers(node, own, name, k)
            for name, k in (("starts", 1), ("ends", 2), ("axes", 3))
        )
        step = self._array(node, 4)
        if not start or not end or not along or len(along) > 1 or (step is not None and step != 1):
            raise NotAChain("it takes several places of an axis")
        axis, last = along[0] % len(axes), (start[0], end[0] >= FAR) == (-1, True)
        if not last and (start[0], end[0]) != (0, 1):
            raise NotAChain("it takes several places of an axis")
        self._last(node, axes[axis], -1 if last else 0)
        axes[axis] = "L"
        return axes

    def _matmul(self, node, own, axes):
        if node.input[0] != self.current or axes[-1] != "F":
            raise NotAChain("it is no product of features with a matrix")
        W = self._weight(node, 1)
        if W.ndim != 2:
            raise NotAChain("it is no product of features with a matrix")
        return self._linear(node, axes, W.T, None)

    def _linear(self, node, axes, W, b):
        given = {"weight": W} | ({} if b is None else {"bias": b})
        layer = Linear(*W.shape[::-1]) if b is not None else Linear(*W.shape[::-1], bias=False)
        self._put(node, filled(layer, given))
        self.sizes["F"] = W.shape[0]
        return axes

    def _gemm(self, node, own, axes):
        W, b = self._weight(node, 1), self._weight(node, 2)
        plain = own.get("alpha", 1.0) == own.get("beta", 1.0) == 1.0 and not own.get("transA", 0)
        if not plain or len(axes) != 2 or axes[-1] != "F" or node.input[0] != self.current:
            raise NotAChain("it is no Linear")
        W = W if own.get("transB", 0) else W.T
        if b is not None and b.shape != W.shape[:1]:
            raise NotAChain("its C is no bias")
        return self._linear(node, axes, W, b)

    def _add(self, node, own, axes):
        """A bias: of the Linear before it."""
        k = next(k for k, name in enumerate(node.input) if name != self.current)
        b = self._weight(node, k)
        below = self.parts[-1][1] if self.parts else None
        if (
            not isinstance(below, Linear) or "bias" in below.shapes or b is None
            or b.shape != (below.out_features,)
        ):  # fmt: skip
            raise NotAChain("it is no bias")
        self.parts.pop()
        return self._linear(node, axes, below.parameters["weight"], b)

    def _softmax(self, node, own, axes):
        axis = own.get("axis", -1 if self.opset >= 13 else 1)
        if axes[-1] != "F" or axis not in (-1, len(axes) - 1):
            raise NotAChain("it is not along the features")
        self._put(node, Softmax())
        return axes

    def _gelu(self, node, own, axes):
        if own.get("approximate", "none") != "tanh":
            raise NotAChain("it is not the approximation by tanh")
        self._put(node, Activation("gelu_tanh"))
        return axes

    def _identity(self, node, own, axes):
        return axes

    def _cast(self, node, own, axes):
        if "F" in axes or own.get("to") not in INTEGERS or self.parts:
            raise NotAChain("it changes the dtype of data")
        return axes

    def _dropout(self, node, own, axes):
        given = self._array(node, 1)
        rate = own.get("ratio", 0.5) if given is None else float(given)
        self._put(node, Dropout(float(str(np.float32(rate)))))
        return axes

    def _layernormalization(self, node, own, axes):
        scale, bias = self._weight(node, 1), self._weight(node, 2)
        if own.get("axis", -1) not in (-1, len(axes) - 1) or axes[-1] != "F" or scale.ndim != 1:
            raise NotAChain("it does not normalise the features")
        given = {"weight": scale, "bias": np.zeros_like(scale) if bias is None else bias}
        eps = float(str(np.float32(own.get("epsilon", 1e-5))))
        self._put(node, filled(LayerNorm(scale.size, eps), given))
        return axes

    def _conv(self, node, own, axes):
        W, b = self._weight(node, 1), self._weight(node, 2)
        if len(axes) != 3 or axes[1] != "F" or W.ndim != 3:
            raise NotAChain("it is no convolution over time with the channels in the middle")
        if own.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
            raise NotAChain(f"it has auto_pad={own['auto_pad']}")
        self._steps(axes[2])
        (stride,), (dilation,) = own.get("strides", [1]), own.get("dilations", [1])
        left, right = own.get("pads", [0, 0])
        groups, k = own.get("group", 1), W.shape[2]
        padding: Any = left
        if left != right:
            if right or left != (k - 1) * dilation:
                raise NotAChain(f"it has pads={[left, right]}")
            padding = "causal"
        made = Conv1d(
            W.shape[1] * groups, W.shape[0], k, stride, padding, dilation, groups, b is not None
        )
        self._put(node, filled(made, {"weight": W} | ({} if b is None else {"bias": b})))
        self.sizes["F"] = W.shape[0]
        return axes
