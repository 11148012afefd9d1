"""The attention level of a page: which saved states the output of one step looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..draw import notation, palette
from ..draw.drawing import Drawing
from ..views import attention as view
from .packed import Blob
from .stack import Stack
from .tables import symbol


@dataclass(frozen=True)
class Looks:
    """Of one sequence: weights (T_out, T_in), the steps that it has, and the labels of what is read and written."""

    weights: np.ndarray
    written: list[int]
    read: list[int]
    inputs: list[str]
    outputs: list[str]
    k: int
    first: int  # layer of the stack
    others: int  # Attention layers besides
    drawn_at: int  # the step that is shown first, or the nearest that there is

    @property
    def columns(self) -> list[int]:
        """The saved states that are drawn."""
        found = view.columns_of(self.weights[np.ix_(self.written, self.read)])
        return [self.read[s] for s in found]

    @property
    def rows(self) -> list[int]:
        """The outputs that are drawn when the step `drawn_at` is."""
        found = view.rows_of(len(self.written), self.written.index(self.drawn_at))
        return [self.written[t] for t in found]


def attention_of(
    model: Any,
    stack: Stack,
    n: int,
    t: int,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
) -> Looks | None:
    """What the first Attention of a stack looks at, or None. Raises ValueError for a wrong number of inputs."""
    places = [
        k + stack.first for k, a in enumerate(stack.recording.layers) if a.weights is not None
    ]
    if not places:
        return None
    _, weights, skipped = view.recorded(model, stack.whole, n, places[0])
    sizes = dict(zip(("outputs", "inputs"), weights.shape, strict=True))
    for name, given in (("inputs", inputs), ("outputs", outputs)):
        if given is not None and len(given) != sizes[name]:
            raise ValueError(
                f"{name} must have one label for each of {sizes[name]} steps, got {len(given)}"
            )
    written, read = (
        [s for s in range(count) if s not in gone]
        for count, gone in zip(weights.shape, skipped, strict=True)
    )
    if not written or not read:
        return None
    texts = [
        [notation.sub(letter, s) for s in range(count)]
        if given is None
        else [symbol(str(v)) for v in given]
        for given, letter, count in (
            (inputs, "x", sizes["inputs"]),
            (outputs, "y", sizes["outputs"]),
        )
    ]
    nearest = min(written, key=lambda s: abs(s - t))
    return Looks(weights, written, read, *texts, places[0], stack.first, len(places) - 1, nearest)


def drawing(model: Any, stack: Stack, n: int, looks: Looks) -> Drawing:
    """The picture of the step that is shown first."""
    shown = dict(inputs=looks.inputs, outputs=looks.outputs, layer=looks.k, step=looks.drawn_at)
    return view.attention(model, stack.whole, n, **shown)


def known(looks: Looks | None, blob: Blob) -> dict | None:
    """What a script needs to move the picture: weights of the drawn states, rows that a sequence has, labels."""
    if looks is None:
        return None
    columns, rows = looks.columns, looks.rows
    return {
        "row": f"layer{looks.k - looks.first}",
        "weights": blob.put(looks.weights[:, columns]), "written": looks.written, "columns": columns, "rows": len(rows),
        "focus": rows.index(looks.drawn_at), "inputs": [looks.inputs[s] for s in columns], "outputs": looks.outputs,
        "high": view.ROW, "faint": view.FAINT, "place": looks.k, "half": view.OUTPUTS // 2,
        "wide": view.pitch([looks.inputs[s] for s in columns]) >= view.NUMBERED,
        "colours": palette.ATTENTION, "ink": palette.INK,
    }  # fmt: skip
