"""A model of ONNX that is no chain of layers: runs its nodes one after the other."""

from __future__ import annotations

from typing import Any

from ... import checks
from . import loading
from .operators import KINDS, Operator

UNTRAINED = (
    "backward", "fit", "record", "gradcheck", "optimizer", "parameters", "flat", "save", "quantize",
    "stream", "plan",
)  # fmt: skip


class Network:
    """A model of ONNX whose nodes are not a chain of layers; it computes and cannot be trained.

    Recurrent nodes run in the engine, the others by onnx's operators in NumPy.

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
        from onnx.reference import ReferenceEvaluator

        from .quantised import OPERATORS

        graph = model.graph
        constants = {t.name for t in graph.initializer}
        self.inputs = tuple(i.name for i in graph.input if i.name not in constants)
        self.outputs = tuple(outputs or [o.name for o in graph.output])
        self.operators = tuple(dict.fromkeys(node.op_type for node in graph.node))
        self.why, self._node_count = why, len(graph.node)
        try:
            self._evaluator = ReferenceEvaluator(
                model, new_ops=[*recurrent_operators(), *OPERATORS]
            )
        except (NotImplementedError, RuntimeError, TypeError, AttributeError, KeyError) as error:
            words = " ".join(str(error).split())
            raise ValueError(f"a node cannot be run: {words:.300}") from None

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
        feeds: dict[str, Any] = x if isinstance(x, dict) else dict.fromkeys(self.inputs[:1], x)
        if set(feeds) != set(self.inputs):
            raise ValueError(
                f"x must be a dict of the inputs {', '.join(self.inputs)}, "
                f"got {', '.join(map(str, feeds)) or 'none'}"
            )
        feeds = {name: checks.as_array(a, f"x[{name!r}]") for name, a in feeds.items()}
        try:
            results: Any = self._evaluator.run(list(self.outputs), feeds)
        except Exception as error:  # onnx's operators raise all kinds for what does not fit
            words = " ".join(str(error.__cause__ or error).split())
            raise ValueError(
                f"the nodes cannot compute this x: {words:.300}; a file may hold the length or the "
                "batch size that it was made with"
            ) from None
        if len(self.outputs) == 1:
            return results[0]
        return dict(zip(self.outputs, results, strict=True))

    forward = __call__

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


def recurrent_operators() -> list[type]:
    """Return the recurrent operators as classes for onnx's evaluator."""
    from onnx.reference.op_run import OpRun

    class Engine(OpRun):
        """Runs a recurrent node in the engine; weights that stay the same are packed once."""

        def __init__(self, onnx_node, run_params, schema=None):
            import onnx

            super().__init__(onnx_node, run_params, schema)
            own = loading.attributes(onnx, onnx_node)
            self.held = Operator(onnx_node.op_type, own)
            self.arrays: Any = None
            self.weights: Any = None

        def _run(self, X, W, R, B=None, lengths=None, initial_h=None, initial_c=None, P=None, **_):
            given = (W, R, B, P)
            if self.arrays is None or any(
                a is not b for a, b in zip(given, self.arrays, strict=True)
            ):
                self.weights, self.arrays = self.held.weights(*given), given
            with checks.naming(f"node {self.onnx_node.name or self.onnx_node.op_type}"):
                found = self.weights.run(X, lengths, initial_h, initial_c)
            return tuple(found[: max(len(self.onnx_node.output), 1)])

    return [type(kind, (Engine,), {"op_domain": ""}) for kind in KINDS]
