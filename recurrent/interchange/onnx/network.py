"""A model of ONNX that is no chain of layers: runs its nodes one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ... import checks
from ...graph import Graph
from ...layers import Recurrent
from ..assemble import origin
from ..damage import one_line
from . import picture
from .declared import Declared
from .network_stream import NetworkStream
from .runner import NodeError, Program

UNTRAINED = (
    "backward", "fit", "record", "gradcheck", "optimizer", "parameters", "flat", "save", "quantize",
    "plan",
)  # fmt: skip


class Network:
    """A model of ONNX whose nodes are not a chain of layers; it computes and cannot be trained.

    Recurrent nodes run in the engine, the others in NumPy. What depends on constants alone is
    computed once. float16 in a file is float32 here. A result has at most 2^27 entries, and the
    loops of one call end after 2^18 steps; a file that asks for more is refused.

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
        self._declared = {
            i.name: Declared.of(i.type) for i in graph.input if i.name in self._program.inputs
        }
        self._needed = {name for name, one in self._declared.items() if not one.optional}

    def __call__(self, x: Any) -> Any:
        """Compute the outputs.

        Parameters
        ----------
        x : ndarray of any shape or dict of str to ndarray
            The input, as the file has its axes; several are a dict by name. Inputs that the file
            declares as optional may be left out.

        Returns
        -------
        ndarray or dict of str to ndarray
            The output; several are a dict by name.

        Raises
        ------
        TypeError
            If an input has not the dtype that the file declares.
        ValueError
            If inputs are missing or unknown, an input has not the shape that the file declares, or
            a node cannot compute; the message names the node and what it got.
        """
        feeds: Any = x if isinstance(x, dict) else dict.fromkeys(self.inputs[:1], x)
        if feeds.keys() != self._declared.keys() and not (
            self._needed <= feeds.keys() <= self._declared.keys()
        ):
            raise ValueError(
                f"x must be a dict of the inputs {', '.join(self.inputs)}, "
                f"got {', '.join(map(str, feeds)) or 'none'}"
            )
        feeds = {name: self._declared[name].checked(a, f"x[{name!r}]") for name, a in feeds.items()}
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

    def stream(self, carried: Mapping[str, str] | None = None, **initial: Any) -> NetworkStream:
        """Return a stream: it feeds outputs of a call back as inputs of the next one.

        Parameters
        ----------
        carried : dict of str to str, optional
            By the name of an output, the input that it becomes.
        **initial : ndarray
            Values of inputs by name: of a carried one at the first call, of another at each call. A
            carried input without one begins as zeros of the shape in the file; free sizes are those
            of other inputs with the same label, else 1.

        Returns
        -------
        NetworkStream
            Call it with the remaining inputs.

        Raises
        ------
        TypeError
            If `carried` is no dict, or a value has not the dtype that the file declares.
        ValueError
            If a name is unknown, an input is named twice, or a value has another shape.

        Notes
        -----
        `silero.stream({"stateN": "state"}, sr=16000)` is a stream of silero-vad, whose state begins
        as zeros: each call takes a frame of audio.
        """
        checks.instance(
            {} if carried is None else carried, dict, "carried", "a dict of outputs to inputs"
        )
        return NetworkStream(self, dict(carried or {}), initial)

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

    def graph(self) -> tuple[Graph, dict[str, str]]:
        """Return the graph of the nodes that run at a call, for pictures.

        Returns
        -------
        graph : recurrent.graph.Graph
            A node for each input, node and output.
        names : dict of str to str
            The names of the nodes in the file, by their ids in the graph.
        """
        return picture.graph(self._program, self.inputs, self.outputs, self.layers)

    def __copy__(self):
        return self  # nothing of it changes

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        raise TypeError("a network of ONNX cannot be pickled: keep the bytes of its file instead")

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
