"""Finds the layers of a model of ONNX: a Sequential for one chain of data, else a Graph."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ... import checks
from ...layers import Conv1d, Layer
from ...models.graph_model import Graph
from ...models.sequential import Sequential
from ..assemble import assembled_graph, equal_parameters, filled
from . import axis_nodes, layer_nodes, loading, normal_nodes, numeric, shapes
from .axes import Data, NotLayers
from .axis_nodes import AXES
from .found import MOST_INPUTS, Found
from .known import Known
from .node import Node
from .operators import KINDS

GROWING = ("ConstantOfShape", "Expand", "Range", "Tile")  # whose results may be of any size
READERS = {**axis_nodes.READERS, **layer_nodes.READERS}


def layered(
    model: Any, outputs: tuple[str, ...], drop: bool
) -> tuple[Sequential | Graph, list[str]]:
    """Return the layers of the nodes between the inputs and outputs of a model, and warnings.

    With `drop`, outputs that are final states of layers are left out.

    Raises NotLayers if a node has no equal here.
    """
    walk = Walk(model, outputs)
    walk.run()
    return walk.model(drop), walk.warnings


class Walk(Found):
    """Follows the data from the inputs to the outputs, and the sizes and constants beside them."""

    def __init__(self, model: Any, outputs: tuple[str, ...]):
        import onnx

        self.onnx, self.graph, self.outputs = onnx, model.graph, outputs
        values: Any = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
        opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        super().__init__(values, {i.name for i in model.graph.input}, opset)
        self.warnings: list[str] = []
        self._declared: dict[str, set[int]] = {}  # lengths of "a" and "b"
        self.needed, _ = self._reached(())
        _, self.read = self._reached(("Shape",))  # the arrays whose entries the outputs depend on
        self.readers.update(outputs)
        for node in self.needed:
            if node.op_type != "Shape" and self.read.intersection(node.output):
                self.readers.update(self._reads(node))
        inputs = [i for i in model.graph.input if i.name not in values and i.name in self.read]
        if len(inputs) > MOST_INPUTS:
            raise NotLayers(f"it has more than {MOST_INPUTS} inputs")
        for one in inputs:
            self._input(one)

    def _input(self, one: Any) -> None:
        """Note an input: data, lengths, or an initial state."""
        kind = one.type.tensor_type
        dims = kind.shape.dim
        if self._is_initial(one.name):
            self.values[one.name] = shapes.Zeros()
        elif len(dims) == 1 and kind.elem_type in (6, 7):
            self.values[one.name] = shapes.Lengths(one.name)
        elif len(dims) not in (2, 3):
            raise NotLayers(f"its input {one.name} has {len(dims)} axes, and sequences have 2 or 3")
        else:
            width = dims[2].dim_value if len(dims) == 3 else 0
            sizes = {"F": width} if width else {}
            self.data[one.name] = Data(one.name, ("a", "b", "F")[: len(dims)], sizes)
            for label, dim in zip("ab", dims, strict=False):
                if dim.dim_value:
                    self._declared.setdefault(label, set()).add(dim.dim_value)

    def _is_initial(self, name: str) -> bool:
        """Return whether an array is read as initial states alone."""
        found, ends = {name}, 0
        for node in self.needed:
            places = [k for k, one in enumerate(node.input) if one in found]
            if not places or node.op_type == "Shape":
                continue
            if node.op_type in KINDS and min(places) > 4:
                ends += 1
            elif node.op_type in shapes.ZERO_KEEPING and places[0] == 0:
                found.update(node.output)
            else:
                return False
        return ends > 0 and found.isdisjoint(self.outputs)

    def run(self, nodes: Any = None) -> None:
        """Follow the data through nodes; by default all."""
        for node in self.needed if nodes is None else nodes:
            if node.op_type == "If":
                self._branch(node)
                continue
            if not any(name in self.data for name in node.input):
                self._constant(node)
                continue
            own = loading.attributes(self.onnx, node)
            read = Node(self, node, own)
            if node.op_type == "Shape":
                data = read.alone()
                axes = data.axes[own.get("start", 0) : own.get("end", len(data.axes))]
                self.values[node.output[0]] = [data.size(one) for one in axes]
            elif self.read.intersection(node.output):
                self._data(node, read)
            elif node.op_type in AXES:  # a Shape alone reads what it makes
                self.data[node.output[0]] = AXES[node.op_type](read)

    def _branch(self, node: Any) -> None:
        """Follow the data through the branch that an If always takes."""
        condition, own = self.values.get(node.input[0]), loading.attributes(self.onnx, node)
        if not isinstance(condition, np.ndarray) or condition.size != 1:
            if any(name in self.data for name in self._reads(node)):
                raise NotLayers(f"If {node.name} has no layer here")
            self.values.update(dict.fromkeys(node.output))
            return
        graph = own["then_branch" if condition.item() else "else_branch"]
        self.values.update((t.name, self.onnx.numpy_helper.to_array(t)) for t in graph.initializer)
        self.run(graph.node)
        for name, inner in zip(node.output, graph.output, strict=True):
            if inner.name in self.data:
                self.data[name] = replace(self.data[inner.name], sole=False)
            else:
                self.values[name] = self.values.get(inner.name)

    def _reads(self, node: Any) -> list[str]:
        """Return what a node reads, and all that is read in its graphs."""
        found = list(node.input)
        for a in node.attribute:
            for graph in loading.graphs(self.onnx, a.g) if a.type == a.GRAPH else ():
                found += [name for inner in graph.node for name in inner.input]
                found += [one.name for one in graph.output]
        return found

    def _data(self, node: Any, read: Node) -> None:
        """Note what a node makes of data."""
        label = f"{node.op_type} {read.name}"
        if node.domain not in ("", "ai.onnx"):
            raise NotLayers(f"{label} is an operator of {node.domain}")
        try:
            with checks.naming(label):
                found = normal_nodes.part(read)
                if found is None and node.op_type in READERS:
                    found = READERS[node.op_type](read)
        except NotLayers as reason:
            raise NotLayers(f"{label}: {reason}") from None
        if found is None:
            raise NotLayers(f"{label} has no layer here")
        found = found if isinstance(found, dict) else {node.output[0]: found}
        for name, data in found.items():
            self.data[name] = replace(data, sole=data.sole and self.readers[name] == 1)

    def _reached(self, ends: tuple[str, ...]) -> tuple[list[Any], set[str]]:
        """Return the nodes on which the outputs depend, in order, and all that they read.

        What nodes of the kinds in `ends` read does not count.
        """
        wanted, found = set(self.outputs), []
        for node in reversed(self.graph.node):
            if any(name in wanted for name in node.output if name):
                found.append(node)
                wanted.update(() if node.op_type in ends else self._reads(node))
        return found[::-1], wanted

    def _constant(self, node: Any) -> None:
        """Note the values of a node that no data reach."""
        own = loading.attributes(self.onnx, node)
        for name in node.output:
            self.values[name] = None
        given = [self.values.get(name) for name in node.input]
        known = all(isinstance(v, np.ndarray) for v in given)
        if known and node.op_type in numeric.MAKERS and node.op_type not in GROWING:
            self._computed(node, own, given)
            return
        own = {
            k: self.onnx.numpy_helper.to_array(v) if isinstance(v, self.onnx.TensorProto) else v
            for k, v in own.items()
        }
        if node.op_type == "Constant":
            kind, value = next(iter(own.items()))
            dtype = np.float32 if kind.startswith("value_float") else None
            found: Any = None if isinstance(value, (str, bytes)) else np.asarray(value, dtype)
        elif node.op_type == "TopK" and isinstance(given[0], shapes.Lengths):
            order = node.output[1]
            if given[0].order or given[1] != [shapes.BATCH]:
                return
            self.values[order] = shapes.Order(order)
            found = shapes.Lengths(given[0].name, order)
        else:
            found = shapes.computed(node.op_type, given, own)
        self.values[node.output[0]] = found

    def _computed(self, node: Any, own: dict[str, Any], given: list[Any]) -> None:
        """Note the values that a node makes of constants; they stay unknown if it cannot."""
        run = numeric.MAKERS[node.op_type](Known(node, own, given, self.opset))
        if run is None:
            return
        try:
            with np.errstate(all="ignore"):
                found = run(*given)
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return
        found = tuple(map(np.asarray, found if isinstance(found, tuple) else (found,)))
        most = max(loading.MOST_FOLDED, 2 * sum(a.size for a in given))
        if sum(a.size for a in found) <= most:
            self.values.update(zip(node.output, found, strict=False))

    # The model

    def model(self, drop: bool) -> Sequential | Graph:
        """Return the model of the layers that the outputs depend on."""
        ends = self._ends(drop)
        if len(self.given_lengths) > 1:
            raise NotLayers("its recurrent nodes have not all the same lengths")
        if self.whole and any(self.given_lengths):
            raise NotLayers(f"{self.whole[0]} reads the padding of sequences")
        self._note_fixed()
        used = set(ends.values())
        for name, (_, read) in reversed(self.layers.items()):
            used.update(read if name in used else ())
        nodes = {name: node for name, node in self.layers.items() if name in used}
        if not nodes:
            raise NotLayers("it has no layers")
        self._share([layer for layer, _ in nodes.values()])
        inputs = [i.name for i in self.graph.input if i.name in used]
        return assembled_graph(nodes, ends, inputs, self.time == "b")

    def _note_fixed(self) -> None:
        """Warn of lengths in the nodes; raise NotLayers if they are not those of the inputs."""
        strided = any(isinstance(layer, Conv1d) for layer, _ in self.layers.values())
        for one, numbers in self.fixed.items():
            known = numbers | self._declared.get(one, set())
            if len(known) > 1 and not (strided and one == self.time):
                raise NotLayers("a Reshape changes more than the directions")
            if one not in self._declared:
                what = "time" if one == self.time else "the batch"
                self.warnings.append(
                    f"the exporter wrote the length {min(numbers)} of {what} into the file, which "
                    "says that any is allowed: the model here takes any"
                )

    def _ends(self, drop: bool) -> dict[str, str]:
        """Return the layers whose values the outputs are, by the names of the outputs."""
        found: dict[str, str] = {}
        dropped: list[str] = []
        other = "a" if self.time == "b" else "b"
        for name in self.outputs:
            if name not in self.data:
                raise NotLayers(f"the output {name} does not depend on the inputs")
            data = self.data[name]
            if data.states and ("S" in data.axes or any(s.number for s in data.states)):
                dropped.append(name)
                continue
            data = self.features(data)
            if data.place not in self.layers or data.place in found.values():
                raise NotLayers(f"the output {name} is an input, or another output")
            if data.axes not in (("a", "b", "F"), (other, "F")) or data.order:
                raise NotLayers(
                    f"the axes of the output {name} have another order than those of the input"
                )
            found[name] = data.place
        if dropped and (not drop or not found):
            raise NotLayers(f"the output {dropped[0]} has final states of layers")
        if dropped:
            names = ", ".join(dropped)
            self.warnings.append(
                f"left out {names}: these are final states, which forward(x)[1] returns by layer; "
                f"from_onnx(..., outputs={list(self.outputs)!r}) computes them as the file does"
            )
        return found

    def _share(self, layers: list[Layer]) -> None:
        """Let equal parameters be one array: exporters write one several times.

        Layers are shared if all their parameters are equal, and the weights of a Linear if they
        are those of an Embedding. What has one value everywhere is not shared.
        """
        known: list[Layer] = []
        for layer in layers:
            for before in known:
                names = equal_parameters(before, layer)
                if names:
                    filled(layer, {**layer.parameters, **{n: before.parameters[n] for n in names}})
                    break
            else:
                known.append(layer)
