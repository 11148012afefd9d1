"""Files that `to_onnx` wrote: the model that they describe, if its graph is that of the file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...models import schema, storage
from ...models.layered import Layered
from ...models.seq2seq import build
from ..onnx_writer import to_onnx
from . import loading
from .operators import KINDS, Operator

ENTRY = "recurrent"  # of the metadata
WHAT_BUILDING_RAISES = (
    ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError,
)  # fmt: skip


def described(proto: Any, outputs: Sequence[str] | None) -> Any:
    """Return the model that a file describes; None unless `to_onnx` writes this graph of it.

    The description alone is not believed: another program may have changed the nodes. None, too, if
    `outputs` names others than those of the model; final states are arguments and results of
    `forward` instead.
    """
    text = next((p.value for p in proto.metadata_props if p.key == ENTRY), None)
    if text is None:
        return None
    try:
        description = schema.parse_json(text, "the description")
        storage.model_schema(description, "the description")
        model = build(description, _parameters(proto.graph))
        if not isinstance(model, Layered):
            return None
        wiring = model._wiring
        others = {i.name for i in proto.graph.input} - {*wiring.inputs}
        lengths, states = "lengths" in others, bool(others - {"lengths"})
        again = to_onnx(model, lengths=lengths, states=states)
    except WHAT_BUILDING_RAISES:
        return None
    wanted = outputs is None or [*wiring.outputs] == [*outputs]
    return model if wanted and again.graph == proto.graph else None


def _parameters(graph: Any) -> dict[str, np.ndarray]:
    """Return the parameters in a graph by the names of the model."""
    import onnx

    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    found = dict(arrays)
    for name, a in arrays.items():  # learned initial states have one row
        if name.removesuffix("_reverse").endswith("0") and a.ndim == 2 and len(a) == 1:
            found[name] = a[0]
    for node in graph.node:
        if node.op_type in KINDS:
            names = [*node.input, *[""] * (8 - len(node.input))]
            given = [arrays[names[k]] if names[k] else None for k in (1, 2, 3, 7)]
            layer = Operator(node.op_type, loading.attributes(onnx, node)).layer(*given)
            prefix = names[1].removesuffix("weight_ih_l0")
            found |= {f"{prefix}{n}": a for n, a in layer.parameters.items()}
    return found
