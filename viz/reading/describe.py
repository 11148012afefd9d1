"""Numbers and sentences about a layer, counted from its shapes and its cell's equations."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..draw import notation
from .direction import direction_of
from .wiring import Neuron

_SIZES = (
    *(
        "input_size",
        "hidden_size",
        "in_features",
        "out_features",
        "num_embeddings",
        "embedding_dim",
        "num_classes",
    ),
    "normalized_shape",
)
BIASES = {2: "2 biases as in PyTorch (b_ih, b_hh)", 1: "1 bias (b_ih)", 0: "no biases"}


def kind(layer: Any) -> str:
    """What people call the layer; one made of a cell alone is called like the cell."""
    name = type(layer).__name__
    return layer.cell.name if name == "Recurrent" else name


def short(layer: Any) -> str:
    """A layer as a program writes it, without the names of sizes: `LSTM(128, 512)`."""
    text = layer if isinstance(layer, str) else repr(layer)
    for name in _SIZES:
        text = text.replace(f"{name}=", "")
    return text


def unit_facts(layer: Any) -> list[str]:
    """What a unit of this layer is: inputs, parameters with two biases (PyTorch's) and with one, what comes out."""
    way = direction_of(layer)
    cell, D, H, W = way.cell, way.input_size, way.hidden_size, way.output_size
    X, R, P, A = len(cell.x_gates), len(cell.h_gates), _own(layer), len(cell.accumulators)
    B, biases = cell.biases, _biases(cell)
    weights, size, first = X * D + R * W, way.size // H, notation.sub(cell.states[0], "t")
    memories = [notation.sub(s, "t") for s in cell.states[1:]]
    whole = all(a.x and a.h for a in cell.accumulators)
    made = notation.count(A, "neuron")
    if not whole:
        made = (
            f"{notation.count(len(cell.gates), 'gate')} of {notation.count(A, 'dot product')} (Σ)"
        )
    if memories:
        made += f" + its own memory {' and '.join(memories)}"
    each = "it has" if A == 1 else "each neuron:" if whole else "each gate:"
    takes = f"{each} {D:,} + {W:,} = {D + W:,} inputs, {BIASES[B]}"
    more = f" + {P}" if P else ""
    counted = f"{X} × ({D:,} + {W:,}{f' + {B}' * bool(B)}){more}"
    if X != R:
        takes = f"{notation.count(X, 'gate')} of {notation.count(D, 'input')}, {notation.count(R, 'gate')} of {W:,} from all units"
        counted = f"{weights:,} weights + {biases} biases{more}"
    whole_layer = f"layer: {notation.count(H, 'unit')} × {size:,} = {H * size:,}"
    if B == 2:
        whole_layer += f" (one bias per Σ: {H * (weights + A + P):,})"
    if way.both:
        whole_layer += ", in each direction"
    ends = [
        f"out of the unit: ONE number {first}"
        + (f" (kept inside: {', '.join(memories)})" if memories else ""),
        f"out of the layer: {first} of {'all ' * (H > 1)}{notation.count(H, 'unit')}, (N, {H})",
    ]
    if cell.has_projection:
        ends[0] = ends[0].replace(
            first, f"{notation.sub('m', 't')}, weighed {notation.count(W, 'time')} in W_hr"
        )
        ends[1] = (
            f"out of the layer: {first} = W_hr {notation.sub('m', 't')}, {notation.count(W, 'number')}, (N, {W})"
        )
    return [
        f"One {kind(way.layer)} unit = {made}",
        takes,
        f"parameters: {counted} = {size:,}",
        *[f"with one bias per Σ: {weights:,} + {A}{more} = {weights + A + P:,}"] * (B == 2),
        whole_layer,
        *ends,
    ]


def layer_summary(layer: Any) -> str:
    """Units and parameters of a layer, counted from its weights and as many biases as its cell has."""
    way = direction_of(layer)
    cell, D, H, W = way.cell, way.input_size, way.hidden_size, way.output_size
    X, R, P, B = len(cell.x_gates), len(cell.h_gates), _own(layer), cell.biases
    each = f"{X} × ({D:,} + {W:,}{f' + {B}' * bool(B)})".removeprefix("1 × ")
    if X != R:
        each = f"{X} × ({D:,}{' + 1' * (B > 0)}) + {R} × ({W:,}{' + 1' * (B > 1)})"
    each += f" + {P}" if P else ""
    counted = f"{H:,} × {each}" if X == R and not P else f"{H:,} × ({each})"
    if getattr(layer, "bidirectional", False):
        return f"{notation.count(H, 'unit')} in each of 2 directions · {layer.size:,} parameters = 2 × {counted}"
    return f"{notation.count(H, 'unit')} · {layer.size:,} parameters = {counted}"


def convention(cell: Any) -> str:
    """How many biases a dot product has, in words.

    >>> convention(type("Cell", (), {"biases": 0}))
    'no biases'
    """
    return BIASES[cell.biases]


def _biases(cell):
    """Of one unit."""
    return len(cell.x_gates) * (cell.biases > 0) + len(cell.h_gates) * (cell.biases > 1)


def _own(layer):
    """Parameters that each unit has for itself: those of the equations, its column of W_hr, initial states that are learned."""
    way = direction_of(layer)
    own = len(way.cell.parameters) + (way.output_size if way.cell.has_projection else 0)
    return own + len(getattr(way.layer, "initial", ())) // (1 + way.both)


def one_bias(layer: Any) -> int:
    """Parameters of the layer where each dot product has one bias: b_ih + b_hh as one number."""
    cell = layer.cell
    doubled = _biases(cell) - len(cell.accumulators)
    way = direction_of(layer)
    return way.layer.size - way.hidden_size * doubled * (1 + way.both)


def weights(layer: Any, neuron: Neuron, j: int) -> dict[str, np.ndarray]:
    """Weights of a neuron of unit j: "x" (D,) and "h" (H,) or (P,), where it has them."""
    cell, H, params = layer.cell, layer.hidden_size, layer.params
    out = {}
    if neuron.x:
        out["x"] = params.W_ih[cell.x_gates.index(neuron.gate) * H + j]
    if neuron.h:
        out["h"] = params.W_hh[cell.h_gates.index(neuron.gate) * H + j]
    return out
