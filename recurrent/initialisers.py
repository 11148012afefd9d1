"""Initial parameters by name: what other libraries and papers start from. Each is a function of a layer and a generator.

W_ih has a block of H rows for each gate, and so has W_hh. A bias of a gate goes into b_ih; b_hh is zero then, for the two
are added. What a scheme says nothing of (the per-unit parameters of a cell, layers without weights) is as in "pytorch".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

import numpy as np

from .equations.cell import Cell
from .equations.expressions import topological


class AnyLayer(Protocol):
    """The members of a layer that initialisers use."""

    cell: Any  # the Cell of a recurrent layer, else None
    in_features: int | None
    shapes: dict[str, tuple[int, ...]]

    @property
    def parameters(self) -> dict[str, np.ndarray]: ...

    def reset_parameters(self, rng: np.random.Generator) -> None: ...


class RecurrentLayer(AnyLayer, Protocol):
    """The same of a recurrent layer."""

    cell: Cell
    input_size: int
    hidden_size: int


Initialiser = Callable[[AnyLayer, np.random.Generator], None]


def pytorch(layer: AnyLayer, rng: np.random.Generator) -> None:
    """U(-1/sqrt(H), 1/sqrt(H)) for all of a recurrent layer; Linear U(-1/sqrt(inputs), 1/sqrt(inputs)), Embedding N(0, 1)."""
    layer.reset_parameters(rng)


def keras(layer: AnyLayer, rng: np.random.Generator) -> None:
    """Glorot uniform; W_hh with orthonormal columns across all gates; biases 0, 1 for the forget gate of an LSTM.

    The limit of W_ih is sqrt(6 / (D + G H)), of all gates together. Linear likewise; Embedding U(-0.05, 0.05).
    """
    layer.reset_parameters(rng)
    for _, a in layer.parameters.items() if is_embedding(layer) else ():
        a[:] = rng.uniform(-0.05, 0.05, a.shape)
    for name, a in matrices(layer).items():
        a[:] = orthonormal(rng, a.shape) if name.startswith("weight_hh") else glorot(rng, a.shape)
    set_biases(layer, forget=1.0)


def orthogonal(layer: AnyLayer, rng: np.random.Generator) -> None:
    """Every gate by itself, as in Haste: its W_hh orthogonal, its W_ih Glorot uniform; biases 0, the forget gate's 1.

    Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning" (2014).
    """
    layer.reset_parameters(rng)
    for name, a in matrices(layer).items():
        count = gate_blocks(layer, name)
        for block in np.split(a, count):
            block[:] = (
                orthonormal(rng, block.shape)
                if name.startswith("weight_hh")
                else glorot(rng, block.shape)
            )
    set_biases(layer, forget=1.0)


def char_rnn(layer: AnyLayer, rng: np.random.Generator) -> None:
    """karpathy/char-rnn: U(-0.08, 0.08) for everything, biases too; then 1 for the forget gate's b_ih."""
    for a in layer.parameters.values():
        a[:] = rng.uniform(-0.08, 0.08, a.shape)
    for a in forget_biases(layer):
        a[:] = 1


def torch_rnn(layer: AnyLayer, rng: np.random.Generator) -> None:
    """jcjohnson/torch-rnn: W_ih and W_hh N(0, 1 / (D + H)), biases 0, the forget gate's 1; the rest as PyTorch."""
    layer.reset_parameters(rng)
    if is_recurrent(layer):
        for a in matrices(layer).values():
            a[:] = rng.standard_normal(a.shape) / math.sqrt(layer.input_size + layer.hidden_size)
        set_biases(layer, forget=1.0)


def min_char_rnn(layer: AnyLayer, rng: np.random.Generator) -> None:
    """karpathy/min-char-rnn: weights N(0, 0.01^2), biases 0."""
    for name, a in layer.parameters.items():
        a[:] = 0 if name.startswith("bias") else 0.01 * rng.standard_normal(a.shape)


@dataclass(frozen=True)
class Chrono:
    """Gates that forget after 1 to `T_max` steps: b_f = ln U(1, T_max - 1), b_i = -b_f, other biases 0; weights as PyTorch.

    Tallec and Ollivier, "Can recurrent neural networks warp time?" (2018). Of a GRU it is z that keeps. Raises ValueError for
    a `T_max` below 3.

    >>> from recurrent import LSTM
    >>> b = LSTM(1, 4).initialise(0, init=Chrono(T_max=50)).params.b_ih
    >>> bool(np.all(b[:4] == -b[4:8]) and np.all(b[4:8] >= 0) and np.all(b[4:8] <= np.log(49)))
    True
    """

    T_max: float

    def __post_init__(self):
        if not self.T_max >= 3:
            raise ValueError(f"T_max must be at least 3 steps, got {self.T_max}")

    def __call__(self, layer: AnyLayer, rng: np.random.Generator) -> None:
        layer.reset_parameters(rng)
        if not is_recurrent(layer):
            return
        set_biases(layer, forget=0.0)
        gates = layer.cell.x_gates
        for bias in biases(layer, "bias_ih"):
            blocks = dict(zip(gates, np.split(bias, len(gates)), strict=True))
            for gate in keeping_gates(layer.cell):
                blocks[gate][:] = np.log(rng.uniform(1, self.T_max - 1, blocks[gate].shape))
                if "i" in blocks and gate != "i":
                    blocks["i"][:] = -blocks[gate]


INITIALISERS: dict[str, Initialiser] = {
    "pytorch": pytorch,
    "keras": keras,
    "orthogonal": orthogonal,
    "char-rnn": char_rnn,
    "torch-rnn": torch_rnn,
    "min-char-rnn": min_char_rnn,
}


def named(init: str | Initialiser) -> Initialiser:
    """An initialiser by its name; a function passes through. Raises ValueError for other names, TypeError for neither."""
    if callable(init):
        return init
    if not isinstance(init, str):
        raise TypeError(f"init must be a name or an initialiser, got {type(init).__name__}")
    if init == "chrono":
        raise ValueError("init 'chrono' needs to know how long: initialisers.Chrono(T_max=...)")
    if init not in INITIALISERS:
        raise ValueError(
            f"init must be one of {', '.join(INITIALISERS)} or Chrono(T_max=...), got {init!r}"
        )
    return INITIALISERS[init]


def is_recurrent(layer: AnyLayer) -> TypeGuard[RecurrentLayer]:
    """Whether it has a cell."""
    return getattr(layer, "cell", None) is not None


def is_embedding(layer: AnyLayer) -> bool:
    """Whether its weights are rows to choose from."""
    return layer.in_features is None and list(layer.shapes) == ["weight"]


def matrices(layer: AnyLayer) -> dict[str, np.ndarray]:
    """The weights that multiply something, by name."""
    return {n: a for n, a in layer.parameters.items() if a.ndim == 2 and not is_embedding(layer)}


def biases(layer: AnyLayer, kind: str) -> list[np.ndarray]:
    """Biases whose names begin so, of every direction."""
    return [a for n, a in layer.parameters.items() if n.startswith(kind)]


def gate_blocks(layer: AnyLayer, name: str) -> int:
    """How many gates the rows of a matrix belong to."""
    if not is_recurrent(layer):
        return 1
    return {"weight_ih": len(layer.cell.x_gates), "weight_hh": len(layer.cell.h_gates)}.get(
        name[:9], 1
    )


def keeping_gates(cell: Cell, hidden: bool = True) -> tuple[str, ...]:
    """Gates that multiply a state of the step before within what it becomes: f of an LSTM, and z of a GRU if `hidden`."""
    found = []
    for state, previous in zip(cell.states, cell.previous, strict=True):
        if hidden or state != cell.states[0]:
            products = [
                e for e in topological([cell.values[state]]) if e.op == "mul" and previous in e.args
            ]
            found += [g for g in cell.x_gates if any(cell.values[g] in e.args for e in products)]
    return tuple(dict.fromkeys(found))


def forget_biases(layer: AnyLayer) -> list[np.ndarray]:
    """The part of every b_ih that belongs to a gate which keeps a memory that is not put out: views."""
    if not is_recurrent(layer):
        return []
    gates = layer.cell.x_gates
    keep = keeping_gates(layer.cell, hidden=False)
    return [np.split(a, len(gates))[gates.index(g)] for a in biases(layer, "bias_ih") for g in keep]


def set_biases(layer: AnyLayer, forget: float) -> None:
    """All biases to zero but those of forget gates."""
    for a in biases(layer, "bias"):
        a[:] = 0
    for a in forget_biases(layer):
        a[:] = forget


def glorot(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """U(-limit, limit) with limit = sqrt(6 / (rows + columns)) (Glorot and Bengio, 2010)."""
    limit = math.sqrt(6 / sum(shape))
    return rng.uniform(-limit, limit, shape)


def orthonormal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Orthonormal columns, or rows where there are fewer of them: Q of a normal matrix, its signs fixed by R's diagonal."""
    tall = max(shape), min(shape)
    q, r = np.linalg.qr(rng.standard_normal(tall))
    q = q * np.sign(np.diag(r))
    return q if shape[0] >= shape[1] else q.T
