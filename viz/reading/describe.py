"""Sentences and counts about a layer, computed from its shapes and its cell's equations."""

from __future__ import annotations

from typing import Any

import numpy as np

from recurrent import Graph

from ..draw import notation
from .direction import Direction, direction_of
from .wiring import Neuron

_SIZES = (
    "input_size",
    "hidden_size",
    "in_features",
    "out_features",
    "num_embeddings",
    "embedding_dim",
    "num_classes",
    "num_tags",
    "normalized_shape",
    "in_channels",
    "out_channels",
    "kernel_size",
)
BIASES = {2: "2 biases as in PyTorch (b_ih, b_hh)", 1: "1 bias (b_ih)", 0: "no biases"}


def kind(layer: Any) -> str:
    """Return the name of the layer's class, or of its cell for a plain Recurrent layer."""
    name = type(layer).__name__
    return layer.cell.name if name == "Recurrent" else name


def short(layer: Any) -> str:
    """Return a layer as a program writes it, sizes without their names: `LSTM(128, 512)`."""
    text = layer if isinstance(layer, str) else repr(layer)
    for name in _SIZES:
        text = text.replace(f"{name}=", "")
    return text


def name(layer: Any) -> str:
    """Return the name of a layer, as pictures show it: its origin, or that of a node of a Graph."""
    layer = layer.layer if isinstance(layer, Direction) else layer
    found, owner = layer.origin, layer.owner
    if not found and isinstance(owner, Graph):
        found = next(
            (n for n, one in zip(owner.names, owner.layers, strict=True) if one is layer), ""
        )
    return notation.short(found)


def named(layer: Any, words: str = " of ") -> str:
    """Return the name of a layer after some words; "" if it has none."""
    return f"{words}{found}" if (found := name(layer)) else ""


def unit_facts(layer: Any) -> list[str]:
    """Return lines about one unit: neurons, inputs, parameters, and outputs of unit and layer."""
    way = direction_of(layer)
    cell, D, H, W = way.cell, way.input_size, way.hidden_size, way.output_size
    X, R, P, A = len(cell.x_gates), len(cell.h_gates), _own(way), _sums(cell)
    B, biases = cell.biases, _biases(cell)
    weights, size = X * D + R * W, way.size // H
    shared = f" + {len(cell.scalars)} shared" * bool(cell.scalars)
    whole = all(a.x and a.h for a in cell.accumulators if a.gate not in cell.inputs)
    each = "it has" if A == 1 else "each neuron:" if whole else "each gate:"
    takes = [f"{each} {D:,} + {W:,} = {D + W:,} inputs", BIASES[B]]
    more = f" + {P}" if P else ""
    counted = f"{X} × ({D:,} + {W:,}{f' + {B}' * bool(B)}){more}"
    if not R:
        takes = [f"{notation.count(X, 'gate')} of {notation.count(D, 'input')}", alone(way)]
        counted = f"{weights:,} weights + {biases} bias{'es' * (biases != 1)}{more}"
    elif X != R:
        x_gates, h_gates = notation.count(X, "gate"), notation.count(R, "gate")
        takes = [f"{x_gates} of {notation.count(D, 'input')}, {h_gates} of {W:,} from all units"]
        counted = f"{weights:,} weights + {biases} biases{more}"
    one_bias_each = weights + A + P
    whole_layer = f"layer: {notation.count(H, 'unit')} × {size:,}{shared} = {way.size:,}"
    if B == 2:
        whole_layer += f" (one bias per Σ: {H * one_bias_each:,})"
    if way.both:
        whole_layer += ", in each direction"
    return [
        f"One {kind(way.layer)} unit = {_neurons(cell, whole)}",
        *takes,
        f"parameters: {counted} = {size:,}",
        *[f"with one bias per Σ: {weights:,} + {A}{more} = {one_bias_each:,}"] * (B == 2),
        whole_layer,
        *_outputs(way),
    ]


def alone(way: Direction) -> str:
    """Say that the units of a cell without weights for h do not read each other."""
    first = notation.sub(way.cell.states[0], "t")
    return f"no unit reads {first} of another one"


def apart(way: Direction) -> str:
    """Say how the units of a cell read each other whose dot products have no weights for h."""
    if not way.cell.h_gates:
        return alone(way)
    return "units read each other by W_hh ·\nwithin a step"


def _sums(cell):
    """Return the number of dot products of a unit."""
    return sum(a.gate not in cell.inputs for a in cell.accumulators)


def _neurons(cell, whole):
    """Return a phrase that counts the neurons of a unit and lists its memories."""
    A = _sums(cell)
    text = notation.count(A, "neuron")
    if not whole:
        gates = notation.count(len(cell.gates), "gate")
        text = f"{gates} of {notation.count(A, 'dot product')} (Σ)"
    memories = [notation.sub(s, "t") for s in cell.states[1:]]
    return f"{text} + its own memory {' and '.join(memories)}" if memories else text


def _outputs(way):
    """Return lines about the outputs of a unit and the output of the layer."""
    cell, H, W = way.cell, way.hidden_size, way.output_size
    first, m = notation.sub(cell.states[0], "t"), notation.sub("m", "t")
    memories = [notation.sub(s, "t") for s in cell.states[1:]]
    inside = f" (private: {', '.join(memories)})" if memories else ""
    if cell.has_projection:
        times, size = notation.count(W, "time"), notation.count(W, "number")
        return [
            f"output of the unit: ONE number {m}, weighted {times} in W_hr{inside}",
            f"output of the layer: {first} = W_hr {m}, {size}, (N, {W})",
        ]
    return [
        f"output of the unit: ONE number {first}{inside}",
        f"output of the layer: {first} of {'all ' * (H > 1)}{notation.count(H, 'unit')}, (N, {H})",
    ]


def layer_summary(layer: Any) -> str:
    """Return the units and parameters of a layer, counted from its weights and biases."""
    way = direction_of(layer)
    H, sizes = way.hidden_size, (way.input_size, way.hidden_size, way.output_size)
    own = _own(way)
    counted = _counted(way.cell, *(f"{v:,}" for v in sizes), str(own) if own else "")
    units, size = notation.count(H, "unit"), way.layer.size
    if way.both and not isinstance(layer, Direction):
        return f"{units} in each of 2 directions · {size:,} parameters = 2 × {counted}"
    return f"{units} · {layer.size:,} parameters = {counted}"


def cell_summary(cell: Any) -> str:
    """Return the number of parameters of a cell for D inputs and H units.

    >>> from recurrent.cells import find
    >>> cell_summary(find("lstm")), cell_summary(find("indrnn"))
    ('H × 4 × (D + H + 2) parameters', 'H × (1 × (D + 1) + 1) parameters')
    """
    width = "P" if cell.has_projection else "H"
    own = len(cell.parameters) - len(cell.scalars)
    parts = [str(own)] * bool(own) + ["P"] * cell.has_projection
    return f"{_counted(cell, 'D', 'H', width, ' + '.join(parts))} parameters"


def _counted(cell, D, H, W, own):
    """Return the number of parameters as a product of sizes, which are texts."""
    X, R, B = len(cell.x_gates), len(cell.h_gates), cell.biases
    each = f"{X} × ({D} + {W}{f' + {B}' * bool(B)})".removeprefix("1 × ")
    if X != R:
        each = f"{X} × {f'({D} + 1)' if B else D}"
        each += f" + {R} × {f'({W} + 1)' if B > 1 else W}" if R else ""
    each += f" + {own}" if own else ""
    counted = f"{H} × {each}" if X == R and not own else f"{H} × ({each})"
    return counted + f" + {len(cell.scalars)}" * bool(cell.scalars)


def convention(cell: Any) -> str:
    """Return a phrase about the number of biases of a dot product.

    >>> convention(type("Cell", (), {"biases": 0}))
    'no biases'
    """
    return BIASES[cell.biases]


def _biases(cell):
    """Return the number of biases of one unit."""
    return len(cell.x_gates) * (cell.biases > 0) + len(cell.h_gates) * (cell.biases > 1)


def _own(way):
    """Return the number of parameters of one unit besides weights and biases.

    These are the parameters of the equations, the unit's column of W_hr and learned initial states.
    """
    own = len(way.cell.parameters) + (way.output_size if way.cell.has_projection else 0)
    own -= len(way.cell.scalars)
    return own + len(way.layer.initial) // (1 + way.both)


def one_bias(layer: Any) -> int:
    """Return the number of parameters if b_ih and b_hh were one bias for each dot product."""
    way = direction_of(layer)
    doubled = _biases(way.cell) - _sums(way.cell)
    return way.layer.size - way.hidden_size * doubled * (1 + way.both)


def weights(layer: Any, neuron: Neuron, j: int) -> dict[str, np.ndarray]:
    """Return the weights of a neuron of unit j: "x" (D,) and "h" (H,) or (P,) where it has them."""
    cell, H, params = layer.cell, layer.hidden_size, layer.params
    out = {}
    if neuron.x:
        out["x"] = params.W_ih[cell.x_gates.index(neuron.gate) * H + j]
    if neuron.h:
        out["h"] = params.W_hh[cell.h_gates.index(neuron.gate) * H + j]
    return out
