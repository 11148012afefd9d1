"""A model of ONNX that is no chain of layers: runs its nodes one after the other."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ... import checks
from ...layers import Recurrent
from ..assemble import origin
from ..damage import one_line
from .runner import NodeError, Program

UNTRAINED = (
    "backward", "fit", "record", "gradcheck", "optimizer", "parameters", "flat", "save", "quantize",
    "stream", "plan",
)  # fmt: skip


class Network:
    """A model of ONNX whose nodes are not a chain of layers; it computes and cannot be trained.

    Recurrent nodes run in the engine, the others in NumPy. What depends on constants alone is
    computed once.

    Attributes
    ----------
    inputs, outputs : tuple of str
        The names of inputs and outputs.
    operators : tuple of str
        The kinds of nodes, each once.
    why : str
        Why it is no Sequential.
    """

    def __init__(self, model: Any, outputs: list[str] | None = None, why: str = ""):
        graph = model.graph
        self.outputs = tuple(outputs or [o.name for o in graph.output])
        self.operators = tuple(dict.fromkeys(node.op_type for node in graph.node))
        self.why, self._node_count = why, len(graph.node)
        self._program = Program(model, self.outputs)
        self.inputs = tuple(self._program.inputs)
        self._fixed = {
            i.name: [d.dim_value for d in i.type.tensor_type.shape.dim]
            for i in graph.input
            if any(d.dim_value for d in i.type.tensor_type.shape.dim)
        }

    def __call__(self, x: Any) -> Any:
        """Compute the outputs.

        Parameters
        ----------
        x : ndarray of any shape or dict of str to ndarray
            The input, as the file has its axes; several are a dict by name.

        Returns
        -------
        ndarray or dict of str to ndarray
            The output; several are a dict by name.
        """
        feeds: Any = x if isinstance(x, dict) else dict.fromkeys(self.inputs[:1], x)
        if set(feeds) != set(self.inputs):
            raise ValueError(
                f"x must be a dict of the inputs {', '.join(self.inputs)}, "
                f"got {', '.join(map(str, feeds)) or 'none'}"
            )
        feeds = {name: checks.as_array(a, f"x[{name!r}]") for name, a in feeds.items()}
        self._check_sizes(feeds)
        try:
            results = self._program.run(feeds)
        except NodeError as error:
            words = (
                f"the nodes cannot compute this x: {error}; a file may hold the length or the "
                "batch size that it was made with"
            )
            raise ValueError(one_line(words)) from None
        if len(self.outputs) == 1:
            return results[0]
        return dict(zip(self.outputs, results, strict=True))

    forward = __call__

    def _check_sizes(self, feeds: dict[str, Any]) -> None:
        """Raise ValueError for a size that the file fixes and x does not have."""
        for name, sizes in self._fixed.items():
            shape = feeds[name].shape if name in feeds else ()
            if name in feeds and (
                len(shape) != len(sizes)
                or any(n and n != m for n, m in zip(sizes, shape, strict=True))
            ):
                wanted = ", ".join(str(n or "any") for n in sizes)
                raise ValueError(
                    f"x[{name!r}] must have the shape ({wanted}), which the file fixes, got {shape}"
                )

    @cached_property
    def layers(self) -> dict[str, Recurrent]:
        """The recurrent nodes as layers, by the names of the nodes: for pictures and as a copy.

        Nodes whose weights are computed from inputs, or whose two directions have different
        activations, have no layer. A node without a name has that of its first output.
        """
        found = {}
        for name, (operator, arrays) in self._program.weights.items():
            try:
                found[name] = operator.layer(*(None if a is None else a.copy() for a in arrays))
            except ValueError:  # its directions differ in more than the arrays
                continue
            found[name].origin = origin(name)
        return found

    def __repr__(self):
        return (
            f"<network of ONNX: {', '.join(self.inputs)} -> {', '.join(self.outputs)}, "
            f"{self._node_count} nodes of {len(self.operators)} kinds>"
        )

    def __getattr__(self, name):
        if name in UNTRAINED:
            raise AttributeError(
                f"a network of ONNX has no {name}: it computes its outputs and cannot be trained, "
                f"because it is no chain of known layers: {self.__dict__.get('why', '')}"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
