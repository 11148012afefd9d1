"""Recordings: outputs, gates, states and gradients of a run, kept for inspection."""

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
    """Selects the part of a run that a recording keeps; None selects all.

    Parts are copied, so that the memory of the rest is freed.

    Parameters
    ----------
    names : sequence of str, optional
        Names of gates, states and pre-activations ("i", "c", "n.h"), and "y".
    steps : sequence of int or slice, optional
        Time steps.
    units : sequence of int, optional
        Units of recurrent layers.
    layers : sequence of int, optional
        Numbers of layers; the recordings of other layers are empty.
    """

    names: Sequence[str] | None = None
    steps: Sequence[int] | slice | None = None
    units: Sequence[int] | None = None
    layers: Sequence[int] | None = None

    @classmethod
    def of(cls, keep: Any) -> Keep | None:
        """Return a Keep from a dict of its fields; a Keep and None are returned unchanged.

        Raises ValueError for an unknown field, TypeError for anything but a dict.
        """
        if keep is None or isinstance(keep, cls):
            return keep
        if not isinstance(keep, dict):
            raise TypeError(f"keep must be a dict, got {type(keep).__name__}")
        known = [f.name for f in fields(cls)]
        for name in keep:
            if name not in known:
                raise ValueError(f"the keys of keep must be among {', '.join(known)}, got {name!r}")
        for name, words in {"names": "str", "units": "int", "layers": "int"}.items():
            if keep.get(name) is not None:
                checks.iterable(keep[name], f"keep: {name}", f"a sequence of {words}")
                check = checks.text if name == "names" else checks.integer
                keep = {**keep, name: [check(v, f"keep: {name}") for v in keep[name]]}
        if keep.get("steps") is not None and not isinstance(keep["steps"], slice):
            checks.iterable(keep["steps"], "keep: steps", "a sequence of int or a slice")
            keep = {**keep, "steps": [checks.integer(v, "keep: steps") for v in keep["steps"]]}
        return cls(**keep)

    def part(self, a: np.ndarray | None, steps: bool, units: bool) -> np.ndarray | None:
        """Return a copy of the selected steps (first axis) and units (last axis) of an array.

        `steps` and `units` say whether the array has these axes. Raises IndexError for indices out
        of range.
        """
        if a is None:
            return None
        with checks.naming("keep"):
            if steps and self.steps is not None:
                a = a[self.steps if isinstance(self.steps, slice) else list(self.steps)]
            if units and self.units is not None:
                a = a[..., list(self.units)]
        return a.copy()

    def check(self, layers: list[LayerRecording]) -> None:
        """Raise ValueError for layers that do not exist and names that no selected layer has."""
        chosen = range(len(layers)) if self.layers is None else self.layers
        for k in chosen:
            if k not in range(len(layers)):
                raise ValueError(
                    f"keep: layers must be in 0..{len(layers) - 1}, got {checks.shown(k)}"
                )
        known = {"y": None} | {
            n.removesuffix(REVERSE): None for k in chosen for n in layers[k].names
        }
        for name in self.names or ():
            if name not in known:
                raise ValueError(f"keep: names must be among {', '.join(known)}, got {name!r}")


@dataclass
class LayerRecording:
    """The run of one layer.

    Dicts are empty for layers that are not recurrent. A bidirectional layer has the arrays of both
    directions, aligned with the time of the input: "h" was computed from step t - 1, "h_reverse"
    from step t + 1.

    Parameters
    ----------
    y : ndarray or None, shape of the layer's output
        Output; None if not kept.
    gates : dict of str to ndarray, shape (T, N, H)
        Gate activations by name.
    states : dict of str to ndarray, shape (T, N, H)
        States after each step by name.
    dy : ndarray or None, shape of y
        Gradient of the loss with respect to y, from the layers above.
    dstates : dict of str to ndarray, shape (T, N, H)
        Gradient of the loss with respect to each state, through later steps too.
    weights : ndarray or None, shape (T_out, N, T_in)
        Attention weights; each row sums to 1 over the valid steps.
    preactivations : dict of str to ndarray, shape (T, N, H)
        Pre-activations, named as in `recurrent.engine.preactivations`.
    dpreactivations : dict of str to ndarray, shape (T, N, H)
        Gradients of the loss with respect to them.
    initial : dict of str to ndarray, shape (N, H)
        Initial states by name; those of a decoder come from its encoder.
    """

    y: np.ndarray | None
    gates: dict[str, np.ndarray] = field(default_factory=dict)
    states: dict[str, np.ndarray] = field(default_factory=dict)
    dy: np.ndarray | None = None
    dstates: dict[str, np.ndarray] = field(default_factory=dict)
    weights: np.ndarray | None = None
    preactivations: dict[str, np.ndarray] = field(default_factory=dict)
    dpreactivations: dict[str, np.ndarray] = field(default_factory=dict)
    initial: dict[str, np.ndarray] = field(default_factory=dict)

    def __repr__(self):
        return f"<LayerRecording: {self.brief}>"

    @property
    def brief(self) -> str:
        """The shape of y, and the names of the gates and states, in at most 90 characters."""
        names = {"gates": self.gates, "states": self.states}
        words = [] if self.y is None else [f"y {checks.brief(self.y)}"]
        for kind, arrays in names.items():
            forward = [name for name in arrays if not name.endswith(REVERSE)]
            words += [f"{kind} {' '.join(forward)}"] * bool(forward)
        words += ["both directions"] * any(name.endswith(REVERSE) for name in self.states)
        words += ["weights"] * (self.weights is not None)
        words += ["gradients"] * (self.dy is not None or bool(self.dstates))
        text = ", ".join(words) or "nothing kept"
        return text if len(text) <= 90 else f"{text[:87]}..."

    def finish(self, tape: Any) -> None:
        """Compute the gradients of the pre-activations, once those of the states are known."""
        if self.dstates:
            self.dpreactivations = preactivations.gradients(tape, self.dstates)

    @property
    def names(self) -> list[str]:
        """Names of all gates, states and pre-activations."""
        values = [getattr(self, f.name) for f in fields(self)]
        return [name for value in values if isinstance(value, dict) for name in value]

    def keep_only(self, keep: Keep, has_steps: bool) -> LayerRecording:
        """Return copies of the parts that `keep` selects; `has_steps`: y has a time axis."""
        has_units = bool(self.states)
        names = None if keep.names is None else set(keep.names)
        parts = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, dict):
                steps = has_steps and f.name != "initial"
                parts[f.name] = {
                    n: keep.part(a, steps, has_units)
                    for n, a in value.items()
                    if names is None or n.removesuffix(REVERSE) in names
                }
            elif names is None or "y" in names:
                parts[f.name] = keep.part(value, has_steps, has_units)
            else:
                parts[f.name] = None
        return LayerRecording(**parts)


@dataclass
class Recording:
    """A run of a model: its input, its output, and the run of each layer.

    Parameters
    ----------
    x : ndarray, shape (T, N, D) or (T, N), or a pair of such arrays
        Input; a pair (source, target) for a Seq2Seq.
    y : ndarray, shape of the model's output
        Output of the last layer.
    layers : list of LayerRecording
        The recordings of the layers, in order.
    lengths : array of int, shape (N,), or mask, shape (T, N), optional
        Lengths as passed to `forward`.
    targets : Any, optional
        Targets as passed to the loss.
    loss : float, optional
        Value of the loss.
    gradients : Gradients, optional
        Gradients of the loss.
    """

    x: Any
    y: Any
    layers: list[LayerRecording]
    lengths: np.ndarray | None = None
    targets: Any = None
    loss: float | None = None
    gradients: Any = None

    def __repr__(self):
        words = [f"x {checks.brief(self.x)}", f"y {checks.brief(self.y)}"]
        words += [] if self.loss is None else [f"loss {self.loss:.6g}"]
        words += ["gradients"] * (self.gradients is not None)
        lines = [f"layer {k}: {layer.brief}" for k, layer in enumerate(self.layers)]
        if len(lines) > 8:
            lines[5:-2] = [f"... and {len(lines) - 7:,} more layers ..."]
        return "\n  ".join([f"<Recording: {', '.join(words)}", *lines]) + ">"

    def keep_only(self, keep: Keep, has_steps: Sequence[bool]) -> Recording:
        """Return a recording whose layers hold copies of the parts that `keep` selects.

        `has_steps` says for each layer whether its output has a time axis. Raises ValueError or
        IndexError for parts that do not exist.
        """
        keep.check(self.layers)
        layers = [
            layer.keep_only(keep, steps)
            if keep.layers is None or k in keep.layers
            else LayerRecording(None)
            for k, (layer, steps) in enumerate(zip(self.layers, has_steps, strict=True))
        ]
        return replace(self, layers=layers)
