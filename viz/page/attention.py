"""The attention level of a page: the weights of all saved states at one output step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recurrent import checks

from ..draw import notation
from ..draw.drawing import Drawing
from ..reading.attention_weights import recorded_weights
from ..views.attention import attention as draw_attention
from ..views.parts import attention_grid as grid
from .packed import Blob
from .stack import Stack
from .tables import symbol


@dataclass(frozen=True)
class Attention:
    """The attention of one sequence: weights (T_out, T_in), valid steps, and their labels."""

    weights: np.ndarray
    written: list[int]
    read: list[int]
    inputs: list[str]
    outputs: list[str]
    k: int  # the place of the layer in the model
    first: int  # the place of the first layer of the stack
    others: int  # number of further Attention layers
    drawn_at: int  # the valid step nearest to the one that is shown first

    @property
    def columns(self) -> list[int]:
        """The drawn saved states."""
        found = grid.columns_of(self.weights[np.ix_(self.written, self.read)])
        return [self.read[s] for s in found]

    @property
    def rows(self) -> list[int]:
        """The output steps that the picture draws around step `drawn_at`."""
        found = grid.rows_of(len(self.written), self.written.index(self.drawn_at))
        return [self.written[t] for t in found]

    def fits(self, other: Attention | None) -> bool:
        """Return whether the picture has all the saved states that another sequence reads."""
        whole = self.columns == self.read
        return other is not None and whole and set(other.read) <= set(self.read)


def attention_of(
    model: Any,
    stack: Stack,
    n: int,
    t: int,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
) -> Attention | None:
    """Return the attention of a stack's first Attention layer, or None.

    Raises ValueError for a wrong number of labels.
    """
    layers = enumerate(stack.recording.layers, stack.first)
    places = [k for k, recorded in layers if recorded.weights is not None]
    if not places:
        return None
    found = recorded_weights(model, stack.whole, n, places[0])
    T_out, T_in = found.weights.shape
    read_labels = _labels(inputs, "inputs", T_in, "x")
    written_labels = _labels(outputs, "outputs", T_out, "y")
    written = [s for s in range(T_out) if s not in found.padded_outputs]
    read = [s for s in range(T_in) if s not in found.padded_inputs]
    if not written or not read:
        return None
    nearest = min(written, key=lambda s: abs(s - t))
    return Attention(
        weights=found.weights,
        written=written,
        read=read,
        inputs=read_labels,
        outputs=written_labels,
        k=places[0],
        first=stack.first,
        others=len(places) - 1,
        drawn_at=nearest,
    )


def _labels(given, name, count, letter):
    """Return a label for each step."""
    if given is None:
        return [notation.sub(letter, s) for s in range(count)]
    checks.labels(given, name)
    if len(given) != count:
        raise ValueError(f"{name} must have one label for each of {count} steps, got {len(given)}")
    return [symbol(str(v)) for v in given]


def drawing(model: Any, stack: Stack, n: int, attention: Attention) -> Drawing:
    """Return the picture of the step that is shown first."""
    labels = dict(inputs=attention.inputs, outputs=attention.outputs)
    place = dict(layer=attention.k, step=attention.drawn_at)
    return draw_attention(model, stack.whole, n, **labels, **place)


def known(attention: Attention | None, batch: list[Attention | None], blob: Blob) -> dict | None:
    """Return the data from which the page's script updates the picture.

    It draws the same states and rows for all sequences of the `batch`: those of `attention`.
    """
    if attention is None:
        return None
    columns, rows = attention.columns, attention.rows
    inputs = [attention.inputs[s] for s in columns]
    return {
        "row": f"layer{attention.k - attention.first}",
        "columns": columns,
        "rows": len(rows),
        "focus": rows.index(attention.drawn_at),
        "high": grid.ROW,
        "faint": grid.FAINT,
        "place": attention.k,
        "half": grid.OUTPUTS // 2,
        "wide": grid.pitch(inputs) >= grid.NUMBERED,
        "runs": [
            {
                "weights": blob.put(one.weights[:, columns]),
                "written": one.written,
                "inputs": [one.inputs[s] for s in columns],
                "outputs": one.outputs,
            }
            for one in batch
            if one is not None
        ],
    }
