"""Initialisers: initial values of a layer's parameters, as in other libraries and papers.

An initialiser is a function of a layer and a random generator. Layers and models take one by name
("keras") or as a function: `LSTM(2, 3).initialise(0, init="keras")`.

W_ih and W_hh have a block of H rows for each gate. The bias of a gate is set in b_ih; b_hh is then
zero, because the two are added. Parameters that a scheme does not cover, such as the per-unit
parameters of a cell, start as in `pytorch`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

import numpy as np

from . import checks
from .checks.guided import module_getattr
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
    """The members of a recurrent layer that initialisers use."""

    cell: Cell
    input_size: int
    hidden_size: int


Initialiser = Callable[[AnyLayer, np.random.Generator], None]


def _check(layer: AnyLayer, rng: np.random.Generator) -> None:
    if isinstance(layer, type) or not hasattr(layer, "reset_parameters"):
        kind = f"the class {layer.__name__}" if isinstance(layer, type) else type(layer).__name__
        raise TypeError(f"layer must be a layer, got {kind}")
    checks.instance(rng, np.random.Generator, "rng", "a numpy.random.Generator")


def pytorch(layer: AnyLayer, rng: np.random.Generator) -> None:
    """Initialise a layer as PyTorch does.

    Recurrent layers: all parameters U(-1/sqrt(H), 1/sqrt(H)). Linear: U(-1/sqrt(in_features),
    1/sqrt(in_features)), and Conv1d alike, with the entries of a window as in_features.
    Embedding: N(0, 1).

    Parameters
    ----------
    layer : Layer
        Its parameters are modified.
    rng : numpy.random.Generator
        Source of the random numbers.
    """
    _check(layer, rng)
    layer.reset_parameters(rng)


def keras(layer: AnyLayer, rng: np.random.Generator) -> None:
    """Initialise a layer as Keras does.

    Recurrent layers: W_ih Glorot uniform, with the limit sqrt(6 / (D + G H)) for all G gates
    together; W_hh with orthonormal columns across all gates; biases 0, but 1 for the forget gate of
    an LSTM. Linear and Conv1d: Glorot uniform, biases 0. Embedding: U(-0.05, 0.05).

    Parameters
    ----------
    layer : Layer
        Its parameters are modified.
    rng : numpy.random.Generator
        Source of the random numbers.

    References
    ----------
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks"
    (2010).
    """
    _check(layer, rng)
    layer.reset_parameters(rng)
    if is_embedding(layer):
        for a in layer.parameters.values():
            a[:] = rng.uniform(-0.05, 0.05, a.shape)
    for name, a in matrices(layer).items():
        a[:] = orthonormal(rng, a.shape) if name.startswith("weight_hh") else glorot(rng, a.shape)
    set_biases(layer, forget=1.0)


def orthogonal(layer: AnyLayer, rng: np.random.Generator) -> None:
    """Initialise each gate by itself, as Haste does.

    W_hh of each gate is orthogonal and W_ih of each gate Glorot uniform; biases are 0, but 1 for
    the forget gate of an LSTM.

    Parameters
    ----------
    layer : Layer
        Its parameters are modified.
    rng : numpy.random.Generator
        Source of the random numbers.

    References
    ----------
    Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep
    linear neural networks" (2014).
    """
    _check(layer, rng)
    layer.reset_parameters(rng)
    for name, a in matrices(layer).items():
        random_matrix = orthonormal if name.startswith("weight_hh") else glorot
        for block in np.split(a, gate_blocks(layer, name)):
            block[:] = random_matrix(rng, block.shape)
    set_biases(layer, forget=1.0)


def char_rnn(layer: AnyLayer, rng: np.random.Generator) -> None:
    """Initialise a layer as karpathy/char-rnn does.

    All parameters, biases too, are U(-0.08, 0.08); then b_ih of an LSTM's forget gate is 1.

    Parameters
    ----------
    layer : Layer
        Its parameters are modified.
    rng : numpy.random.Generator
        Source of the random numbers.
    """
    _check(layer, rng)
    for a in layer.parameters.values():
        a[:] = rng.uniform(-0.08, 0.08, a.shape)
    for a in forget_biases(layer):
        a[:] = 1


def torch_rnn(layer: AnyLayer, rng: np.random.Generator) -> None:
    """Initialise a layer as jcjohnson/torch-rnn does.

    Recurrent layers: W_ih and W_hh N(0, 1 / (D + H)), biases 0, but 1 for the forget gate of an
    LSTM. Other layers start as in `pytorch`.

    Parameters
    ----------
    layer : Layer
        Its parameters are modified.
    rng : numpy.random.Generator
        Source of the random numbers.
    """
    _check(layer, rng)
    layer.reset_parameters(rng)
    if is_recurrent(layer):
        for a in matrices(layer).values():
            a[:] = rng.standard_normal(a.shape) / math.sqrt(layer.input_size + layer.hidden_size)
        set_biases(layer, forget=1.0)


def min_char_rnn(layer: AnyLayer, rng: np.random.Generator) -> None:
    """Initialise a layer as karpathy/min-char-rnn does: weights N(0, 0.01^2), biases 0.

    Parameters
    ----------
    layer : Layer
        Its parameters are modified.
    rng : numpy.random.Generator
        Source of the random numbers.
    """
    _check(layer, rng)
    for name, a in layer.parameters.items():
        a[:] = 0 if name.startswith("bias") else 0.01 * rng.standard_normal(a.shape)


@dataclass(frozen=True)
class Chrono:
    """Chrono initialisation: gates that forget after 1 to `T_max` time steps.

    Biases are b_f = ln U(1, T_max - 1) for the forget gate, b_i = -b_f for the input gate and 0 for
    the others. In a GRU, the update gate z takes the role of the forget gate. Weights start as in
    `pytorch`.

    Parameters
    ----------
    T_max : float
        Longest dependency in time steps, at least 3.

    Raises
    ------
    ValueError
        If `T_max` is below 3.

    References
    ----------
    Tallec and Ollivier, "Can recurrent neural networks warp time?" (2018).

    Examples
    --------
    >>> from recurrent import LSTM
    >>> b = LSTM(1, 4).initialise(0, init=Chrono(T_max=50)).params.b_ih
    >>> bool(np.all(b[:4] == -b[4:8]) and np.all(b[4:8] >= 0) and np.all(b[4:8] <= np.log(49)))
    True
    """

    T_max: float

    def __post_init__(self):
        object.__setattr__(self, "T_max", checks.number(self.T_max, "T_max", least=3))

    def __call__(self, layer: AnyLayer, rng: np.random.Generator) -> None:
        _check(layer, rng)
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


@dataclass(frozen=True)
class Reservoir:
    """Weights of an echo state network, which are not trained: W_hh is sparse, of a given radius.

    W_hh of each gate has entries U(-1, 1), a share `density` of them not 0, all scaled so that its
    largest eigenvalue has the magnitude `radius`. W_ih and biases are U(-input_scale, input_scale),
    b_hh is 0. Parameters of the cell's own, and other layers, start as in `pytorch`.

    Parameters
    ----------
    radius : float, default 0.9
        Spectral radius of W_hh; below 1 the state forgets its beginning.
    density : float, default 0.1
        Probability that an entry of W_hh is not 0, above 0 and at most 1.
    input_scale : float, default 1.0
        Largest magnitude in W_ih and b_ih.

    Raises
    ------
    ValueError
        If `radius` or `input_scale` is below 0, or `density` is not between 0 and 1.

    References
    ----------
    Jaeger, "The echo state approach to analysing and training recurrent neural networks" (2001).

    Examples
    --------
    >>> from recurrent import Recurrent
    >>> layer = Recurrent("echo_state", 1, 50, leak=0.3).initialise(0, init=Reservoir(0.8, 0.2))
    >>> W = layer.params.W_hh
    >>> bool(np.isclose(np.abs(np.linalg.eigvals(W)).max(), 0.8)), round(float((W != 0).mean()), 1)
    (True, 0.2)
    """

    radius: float = 0.9
    density: float = 0.1
    input_scale: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "radius", checks.number(self.radius, "radius", least=0))
        density = checks.number(self.density, "density", above=0, most=1)
        object.__setattr__(self, "density", density)
        scale = checks.number(self.input_scale, "input_scale", least=0)
        object.__setattr__(self, "input_scale", scale)

    def __call__(self, layer: AnyLayer, rng: np.random.Generator) -> None:
        _check(layer, rng)
        layer.reset_parameters(rng)
        if not is_recurrent(layer):
            return
        for name, a in matrices(layer).items():
            if name.startswith("weight_ih"):
                a[:] = rng.uniform(-self.input_scale, self.input_scale, a.shape)
            for block in np.split(a, gate_blocks(layer, name)) if name[:9] == "weight_hh" else ():
                W = rng.uniform(-1, 1, block.shape) * (rng.random(block.shape) < self.density)
                square = W.shape[0] == W.shape[1]  # not with a projection
                size = np.abs(np.linalg.eigvals(W)).max() if square else np.linalg.norm(W, 2)
                block[:] = W * (self.radius / size) if size else W
        for a in biases(layer, "bias_ih"):
            a[:] = rng.uniform(-self.input_scale, self.input_scale, a.shape)
        for a in biases(layer, "bias_hh"):
            a[:] = 0


INITIALISERS: dict[str, Initialiser] = {
    "pytorch": pytorch,
    "keras": keras,
    "orthogonal": orthogonal,
    "char-rnn": char_rnn,
    "torch-rnn": torch_rnn,
    "min-char-rnn": min_char_rnn,
}


def named(init: str | Initialiser) -> Initialiser:
    """Return the initialiser with this name, or `init` itself if it is a function.

    Raises ValueError for an unknown name, TypeError for anything but a name or a function.
    """
    if callable(init) and not isinstance(init, type):
        return init
    checks.instance(init, str, "init", "a name or a function such as initialisers.Chrono(T_max=9)")
    if init == "chrono":
        raise ValueError("init 'chrono' needs a time scale: use initialisers.Chrono(T_max=...)")
    if init not in INITIALISERS:
        raise ValueError(
            f"init must be one of {', '.join(INITIALISERS)} or Chrono(T_max=...), "
            f"got {checks.shown(init)}{checks.guess(init, INITIALISERS)}"
        )
    return INITIALISERS[init]


def is_recurrent(layer: AnyLayer) -> TypeGuard[RecurrentLayer]:
    """Return whether the layer has a cell."""
    return getattr(layer, "cell", None) is not None


def is_embedding(layer: AnyLayer) -> bool:
    """Return whether the layer is an embedding: its weight is a table of rows."""
    return layer.in_features is None and list(layer.shapes) == ["weight"]


def matrices(layer: AnyLayer) -> dict[str, np.ndarray]:
    """Return the weight matrices and windows by name, without the table of an embedding."""
    return {n: a for n, a in layer.parameters.items() if a.ndim > 1 and not is_embedding(layer)}


def biases(layer: AnyLayer, prefix: str) -> list[np.ndarray]:
    """Return the biases, of every direction, whose names start with `prefix`."""
    return [a for n, a in layer.parameters.items() if n.startswith(prefix)]


def gate_blocks(layer: AnyLayer, name: str) -> int:
    """Return the number of gates that the rows of a matrix belong to."""
    if not is_recurrent(layer):
        return 1
    cell = layer.cell
    return {"weight_ih": len(cell.x_gates), "weight_hh": len(cell.h_gates)}.get(name[:9], 1)


def keeping_gates(cell: Cell, hidden: bool = True) -> tuple[str, ...]:
    """Return the gates that multiply the old value of a state in the equation of its new value.

    These are f of an LSTM and, if the hidden state counts too (`hidden`), z of a GRU.
    """
    found = []
    for state, previous in zip(cell.states, cell.previous, strict=True):
        if hidden or state != cell.states[0]:
            nodes = topological([cell.values[state]])
            products = [e for e in nodes if e.op == "mul" and previous in e.args]
            found += [g for g in cell.x_gates if any(cell.values[g] in e.args for e in products)]
    return tuple(dict.fromkeys(found))


def forget_biases(layer: AnyLayer) -> list[np.ndarray]:
    """Return views of every b_ih on the biases of forget gates: those that keep a memory cell."""
    if not is_recurrent(layer):
        return []
    gates = layer.cell.x_gates
    keep = keeping_gates(layer.cell, hidden=False)
    return [np.split(a, len(gates))[gates.index(g)] for a in biases(layer, "bias_ih") for g in keep]


def set_biases(layer: AnyLayer, forget: float) -> None:
    """Set the biases of forget gates to `forget`, all others to zero."""
    for a in biases(layer, "bias"):
        a[:] = 0
    for a in forget_biases(layer):
        a[:] = forget


def glorot(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array of U(-limit, limit) with limit = sqrt(6 / (rows + columns)).

    Rows and columns of a convolution count once for each step of its window.
    """
    limit = math.sqrt(6 / (sum(shape[:2]) * math.prod(shape[2:])))
    return rng.uniform(-limit, limit, shape)


def orthonormal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return a random matrix with orthonormal columns, or rows if there are fewer of them.

    It is Q of the QR decomposition of a normal matrix, with signs such that R has a positive
    diagonal.
    """
    tall = max(shape), min(shape)
    q, r = np.linalg.qr(rng.standard_normal(tall))
    q = q * np.sign(np.diag(r))
    return q if shape[0] >= shape[1] else q.T


__getattr__ = module_getattr(__name__)
