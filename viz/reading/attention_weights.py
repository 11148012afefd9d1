"""The weights of an Attention layer, from a recorded run or an array."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from recurrent import checks

from .models import checked
from .steps import padded_steps


class AttentionWeights(NamedTuple):
    """Weights (T_out, T_in) of one sequence, the layer's place, and the padded steps."""

    layer: int
    weights: np.ndarray
    padded_outputs: frozenset[int]
    padded_inputs: frozenset[int]


def one_sequence(weights: Any, n: int) -> np.ndarray:
    """Return the weights (T_out, T_in) of sequence n of (T_out, N, T_in) or (T_out, T_in)."""
    a = checks.as_array(weights, "model, as weights,")
    if a.dtype.kind not in "fiu":
        raise TypeError(
            "model must be a model with an Attention layer or an array of weights, "
            f"got {checks.shown(weights)}"
        )
    a, n = a.astype(np.float64), checks.integer(n, "n")
    if a.ndim not in (2, 3):
        raise ValueError(f"weights must be (T_out, N, T_in) or (T_out, T_in), got {a.shape}")
    if a.ndim == 3 and not 0 <= n < a.shape[1]:
        raise IndexError(f"n must be in 0..{a.shape[1] - 1}, the sequences of the weights, got {n}")
    return a[:, n] if a.ndim == 3 else a


def recorded_weights(model: Any, recording: Any, n: int, layer: int | None) -> AttentionWeights:
    """Return the weights of an Attention layer, by default the first, in sequence n of a run."""
    if recording is None:
        raise ValueError("attention draws a recorded run: give recording=model.record(...)")
    checked(model, recording, "attention")
    places = [k for k, recorded in enumerate(recording.layers) if recorded.weights is not None]
    if not places:
        name = type(model).__name__
        raise TypeError(f"attention draws a model with an Attention layer, got {name} without one")
    layer = None if layer is None else checks.integer(layer, "layer")
    if layer is not None and layer not in places:
        listed = ", ".join(map(str, places))
        raise IndexError(f"layer must be one of {listed}, the Attention layers, got {layer}")
    k = places[0] if layer is None else layer
    weights = one_sequence(recording.layers[k].weights, n)
    lengths = recording.lengths
    read, written = lengths if isinstance(lengths, tuple) else (lengths, lengths)
    return AttentionWeights(
        k, weights, padded_steps(written, n, len(weights)), padded_steps(read, n, len(weights[0]))
    )
