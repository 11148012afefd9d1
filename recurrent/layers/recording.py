"""What a run leaves for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from .. import checks
from ..engine import preactivations
from ..engine.bidirectional import REVERSE


@dataclass(frozen=True)
class Keep:
    """Which part of a run a recording keeps; None for all. What is kept is copied: nothing else stays in memory.

    `names`: of gates, states and pre-activations ("i", "c", "n.h"), and "y". `steps`: numbers or a slice. `units`: numbers, of
    recurrent layers. `layers`: numbers; others leave nothing.
    """

    names: Sequence[str] | None = None
    steps: Sequence[int] | slice | None = None
    units: Sequence[int] | None = None
    layers: Sequence[int] | None = None

    @classmethod
    def of(cls, keep: Any) -> Keep | None:
        """From a dict of these fields; None and a Keep pass through. Raises ValueError for other fields, TypeError."""
        if keep is None or isinstance(keep, cls):
            return keep
        if not isinstance(keep, dict):
            raise TypeError(f"keep must be a dict, got {type(keep).__name__}")
        known = [f.name for f in fields(cls)]
        for name in keep:
            if name not in known:
                raise ValueError(f"keep has {', '.join(known)}; got {name!r}")
        return cls(**keep)

    def part(self, a: np.ndarray | None, steps: bool, units: bool) -> np.ndarray | None:
        """A copy of the kept steps (first axis) and units (last axis) of an array. Raises IndexError for ones it has not."""
        if a is None:
            return None
        with checks.naming("keep"):
            if steps and self.steps is not None:
                a = a[self.steps if isinstance(self.steps, slice) else list(self.steps)]
            if units and self.units is not None:
                a = a[..., list(self.units)]
        return a.copy()

    def check(self, layers: list[LayerRecording]) -> None:
        """Raise ValueError for layers that are not there, and for names that none of the layers has."""
        chosen = range(len(layers)) if self.layers is None else self.layers
        for k in chosen:
            if k not in range(len(layers)):
                raise ValueError(f"keep: layers must be in 0..{len(layers) - 1}, got {k!r}")
        there = {"y": None} | {
            n.removesuffix(REVERSE): None for k in chosen for n in layers[k].names
        }
        for name in self.names or ():
            if name not in there:
                raise ValueError(f"keep: names must be among {', '.join(there)}, got {name!r}")


@dataclass
class LayerRecording:
    """One layer's run. Recurrent layers have gates, states and pre-activations by name, each (T, N, H); gradients of the
    loss with respect to them where there was one; `initial`: the states that each sequence began with, (N, H), which a decoder
    has from its encoder. Attention has its weights, (T_out, N, T_in).

    Of a bidirectional layer those of both directions, in the input's time: "h" comes from step t - 1, "h_reverse" from t + 1.
    Pre-activations are named as in `recurrent.preactivations`.
    """

    y: np.ndarray | None
    gates: dict[str, np.ndarray] = field(default_factory=dict)
    states: dict[str, np.ndarray] = field(default_factory=dict)
    dy: np.ndarray | None = None  # gradient of the loss with respect to y, from the layers above
    dstates: dict[str, np.ndarray] = field(
        default_factory=dict
    )  # with respect to each state: through time too
    weights: np.ndarray | None = None  # of attention: each row sums to 1 over the valid steps
    preactivations: dict[str, np.ndarray] = field(default_factory=dict)
    dpreactivations: dict[str, np.ndarray] = field(default_factory=dict)
    initial: dict[str, np.ndarray] = field(default_factory=dict)

    def finish(self, tape: Any) -> None:
        """Add what follows from the gradients of the states, once they are there."""
        if self.dstates:
            self.dpreactivations = preactivations.gradients(tape, self.dstates)

    @property
    def names(self) -> list[str]:
        """Of all that it has by name."""
        values = [getattr(self, f.name) for f in fields(self)]
        return [name for value in values if isinstance(value, dict) for name in value]

    def keep_only(self, keep: Keep, has_steps: bool) -> LayerRecording:
        """The part of it that is to stay, as copies."""
        inner = bool(self.states)
        wanted = None if keep.names is None else set(keep.names)
        out = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, dict):
                chosen = {
                    n: a
                    for n, a in value.items()
                    if wanted is None or n.removesuffix(REVERSE) in wanted
                }
                steps = has_steps and f.name != "initial"
                out[f.name] = {n: keep.part(a, steps, inner) for n, a in chosen.items()}
            else:
                out[f.name] = (
                    keep.part(value, has_steps, inner) if wanted is None or "y" in wanted else None
                )
        return LayerRecording(**out)


@dataclass
class Recording:
    """A run of a model: input, output, and for each layer what happened inside."""

    x: np.ndarray
    y: np.ndarray
    layers: list[LayerRecording]
    lengths: np.ndarray | None = None  # as `forward` took them
    targets: Any = None
    loss: float | None = None
    gradients: Any = None

    def keep_only(self, keep: Keep, has_steps: Sequence[bool]) -> Recording:
        """The part of it that is to stay: layers as `Keep` says, empty ones in place of others; the rest as it is.

        `has_steps`: of each layer, whether its output still has. Raises ValueError or IndexError for what is not there.
        """
        keep.check(self.layers)
        layers = [
            layer.keep_only(keep, steps)
            if keep.layers is None or k in keep.layers
            else LayerRecording(None)
            for k, (layer, steps) in enumerate(zip(self.layers, has_steps, strict=True))
        ]
        return replace(self, layers=layers)
