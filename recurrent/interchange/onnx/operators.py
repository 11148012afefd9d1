"""ONNX's recurrent operators RNN, LSTM and GRU, run by the engine: all attributes and inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ... import cells, checks
from ...cells.activations import canonical
from ...engine.bidirectional import REVERSE
from ...engine.engine import Engine
from ...layers import GRU, LSTM, RNN, Recurrent
from ...layers.recurrent import NAMES
from ..assemble import filled
from ..formats import ONNX, reordered

DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


class Kind(NamedTuple):
    """An operator: our cell, the layer of it, its activations and the attributes it has alone."""

    cell: str
    layer: type[Recurrent]
    family: Any
    activations: tuple[str, ...]
    own: tuple[str, ...]


KINDS = {
    "RNN": Kind("rnn", RNN, cells.rnn_cell, ("tanh",), ()),
    "LSTM": Kind("lstm", LSTM, cells.lstm_cell, ("sigmoid", "tanh", "tanh"), ("input_forget",)),
    "GRU": Kind("gru", GRU, cells.gru_cell, ("sigmoid", "tanh"), ("linear_before_reset",)),
}
# output_sequence, of version 1, says what the names of the outputs say.
COMMON = (
    "activations", "activation_alpha", "activation_beta", "clip", "direction", "hidden_size",
    "layout", "output_sequence",
)  # fmt: skip
PEEPHOLES = ("p_i", "p_o", "p_f")  # the order of P


class Operator:
    """One RNN, LSTM or GRU node without its arrays.

    Parameters
    ----------
    kind : str
        "RNN", "LSTM" or "GRU".
    attributes : dict of str to Any
        The attributes that the node gives; the others have ONNX's defaults.

    Raises
    ------
    ValueError
        If the operator has no such attribute, or a value is not allowed.

    Notes
    -----
    A sequence of length 0 keeps its initial state. (ONNX does not say; ONNX Runtime returns zeros.)
    Numbers that an activation needs and the node does not give are the defaults of the operator
    with its name, as ONNX says. ONNX Runtime has 0 for ThresholdedRelu, Affine and ScaledTanh; the
    last two have no default in ONNX and are refused.
    """

    def __init__(self, kind: str, attributes: Mapping[str, Any]):
        self.kind = KINDS[kind]
        given = {k: v for k, v in attributes.items() if v is not None}
        for name in given:
            if name not in (*COMMON, *self.kind.own):
                raise ValueError(f"{kind} has no attribute {checks.shown(name)}")
        # Version 1 of the operators misspells the default.
        direction = given.get("direction", "forward")
        direction = "forward" if direction == "foward" else direction
        self.reverse = DIRECTIONS[checks.choice(direction, "direction", tuple(DIRECTIONS))]
        self.layout = checks.integer(given.get("layout", 0), "layout", 0, 1)
        hidden_size = given.get("hidden_size")
        self.hidden_size = None if hidden_size is None else checks.size(hidden_size, "hidden_size")
        self.options = [
            self._options(given, functions) for functions in self._functions(kind, given)
        ]

    def _functions(self, kind: str, given: dict[str, Any]) -> list[tuple[str, ...]]:
        """Return the activations of each direction, as cells name them."""
        usual, count = self.kind.activations, len(self.reverse)
        names = given.get("activations") or usual * count
        if len(names) != len(usual) * count:
            raise ValueError(
                f"activations must be {len(usual)} names for each direction of {kind}, "
                f"got {len(names)} for {count} direction{'s' * (count > 1)}"
            )
        numbers: list[list[float]] = [
            list(given.get(f"activation_{a}") or ()) for a in ("alpha", "beta")
        ]
        found = [_function(name, numbers) for name in names]
        return [tuple(found[k : k + len(usual)]) for k in range(0, len(found), len(usual))]

    def _options(self, given: dict[str, Any], functions: tuple[str, ...]) -> dict[str, Any]:
        """Return the options of a cell that are not the defaults, but for biases and peepholes."""
        options: dict[str, Any] = {}
        if functions != self.kind.activations:
            single = self.kind.cell == "rnn"
            options |= {"nonlinearity": functions[0]} if single else {"activations": functions}
        if given.get("clip"):
            options["clip"] = _shortest(checks.number(given["clip"], "clip", above=0))
        if checks.integer(given.get("input_forget", 0), "input_forget", 0, 1):
            options["coupled"] = True
        if self.kind.cell == "gru":
            after = given.get("linear_before_reset", 0)
            if not checks.integer(after, "linear_before_reset", 0, 1):
                options["reset_after"] = False
        return options

    def fields(
        self, W: np.ndarray, R: np.ndarray, B: np.ndarray | None, P: np.ndarray | None
    ) -> list[tuple[dict[str, Any], dict[str, np.ndarray]]]:
        """Return for each direction the options of its cell, and the arrays by field of Params.

        Raises ValueError if a shape is not ONNX's.
        """
        count, gates = len(self.reverse), len(ONNX.gates[self.kind.cell].split())
        if R.ndim != 3:
            raise ValueError(f"R must be (directions, G*H, H), got {R.shape}")
        H = R.shape[-1] if self.hidden_size is None else self.hidden_size
        expected = {"R": (R, (count, gates * H, H)), "B": (B, (count, 2 * gates * H))}
        expected |= {"P": (P, (count, 3 * H)), "W": (W, (count, gates * H, *W.shape[2:3]))}
        for name, (a, shape) in expected.items():
            if a is not None:
                ways = f"{count} direction{'s' * (count > 1)}"
                words = f"the shape of {gates} gates of {H} units in {ways}"
                checks.shape(a, name, shape, words)
        if P is not None and self.kind.cell != "lstm":
            raise ValueError("P is an input of LSTM alone")
        found = []
        for k in range(count):
            options = dict(self.options[k])
            arrays = {"W": W[k], "R": R[k]} | ({} if B is None else {"B": B[k]})
            own = ONNX.read(self.kind.cell, H, arrays)
            if B is None:
                options["biases"] = 0
            if P is not None:
                options["peephole"] = True
                own |= dict(zip(PEEPHOLES, np.split(P[k], 3), strict=True))
            cell = self.kind.family(**options)
            if options.get("coupled"):  # it has rows of f, which nothing reads
                gate_order = cells.CELLS["lstm"].gates
                own = {
                    n: a if n.startswith("p_") else reordered(a, gate_order, cell.x_gates)
                    for n, a in own.items()
                    if n != "p_f"
                }
            found.append((options, own))
        return found

    def layer(self, W: Any, R: Any, B: Any = None, P: Any = None) -> Recurrent:
        """Return a layer with these arrays.

        Raises ValueError if its directions differ in more than the arrays.
        """
        first, *others = fields = self.fields(W, R, B, P)
        if any(options != first[0] for options, _ in others):
            raise ValueError(
                "both directions of a layer have the same activations, and those of this node "
                "differ"
            )
        way: dict[str, Any] = {} if self.reverse == (False,) else {"reverse": True}
        way = {"bidirectional": True} if others else way
        layer = self.kind.layer(W.shape[2], R.shape[2], **way, **first[0])
        ends = ("", REVERSE)
        arrays = {
            f"{NAMES.get(name, name)}_l0{end}": a
            for end, (_, own) in zip(ends, fields, strict=False)
            for name, a in own.items()
        }
        filled(layer, arrays)
        return layer

    def weights(self, W: Any, R: Any, B: Any = None, P: Any = None, reference=False) -> Weights:
        """Return the weights of a run, packed; with `reference`, for NumPy alone."""
        made = []
        for options, own in self.fields(W, R, B, P):
            engine = Engine(self.kind.family(**options))
            engine = engine.reference if reference else engine
            contiguous = {n: np.ascontiguousarray(a) for n, a in own.items()}
            made.append((engine, engine.pack(engine.Params(**contiguous))))
        return Weights(self, made)


class Weights:
    """The packed weights of an operator: runs it."""

    def __init__(self, operator: Operator, directions: list[tuple[Engine, Any]]):
        self.operator, self.directions = operator, directions

    def run(
        self,
        X: np.ndarray,
        sequence_lens: np.ndarray | None = None,
        initial_h: np.ndarray | None = None,
        initial_c: np.ndarray | None = None,
    ) -> tuple[np.ndarray, ...]:
        """Return Y, Y_h and, of an LSTM, Y_c, in the layout of the operator.

        Parameters
        ----------
        X : ndarray, shape (T, N, D)
            The input; (N, T, D) for layout 1.
        sequence_lens : ndarray, shape (N,), int, optional
            Valid steps of each sequence.
        initial_h, initial_c : ndarray, shape (directions, N, H), optional
            Initial states, zeros by default; (N, directions, H) for layout 1.

        Returns
        -------
        tuple of ndarray
            Y has shape (T, directions, N, H), or (N, T, directions, H) for layout 1.
        """
        swapped = bool(self.operator.layout)
        if X.ndim != 3:
            raise ValueError(f"X must have three axes, got {X.shape}")
        x = np.ascontiguousarray(X.swapaxes(0, 1) if swapped else X)
        states = [initial_h, initial_c][: len(self.directions[0][0].cell.states)]
        states = [a if a is None or not swapped else a.swapaxes(0, 1) for a in states]
        ys, finals = [], []
        for k, (engine, packed) in enumerate(self.directions):
            state = self._state(engine, k, states, x, packed)
            reverse = self.operator.reverse[k]
            y, final, _ = engine.forward(x, packed, state, sequence_lens, reverse=reverse)
            ys.append(y)
            finals.append(final)
        if len(ys) == 1 and not swapped:  # no copies
            return ys[0][:, None], *(a[None] for a in finals[0])
        Y = np.stack(ys, axis=2 if swapped else 1)
        if swapped:  # (T, N, directions, H)
            Y = np.ascontiguousarray(Y.swapaxes(0, 1))
        ends = [np.stack(parts, axis=int(swapped)) for parts in zip(*finals, strict=True)]
        return Y, *ends

    def _state(self, engine, k, states, x, packed):
        """Return the initial state of direction k; None for zeros."""
        if all(a is None for a in states):
            return None
        shape = (len(self.directions), x.shape[1], packed.sizes.H)
        given = []
        for name, a in zip(("initial_h", "initial_c"), states, strict=False):
            if a is None:
                a = np.zeros(shape, x.dtype)
            checks.shape(a, name, shape, "(directions, N, H)")
            given.append(np.ascontiguousarray(a[k]))
        return engine.State(*given)


def _function(name: Any, numbers: list[list[float]]) -> str:
    """Return an activation as cells name it; take its numbers from those left."""
    plain = checks.text(name, "activations").lower()
    if plain not in cells.ACTIVATIONS:
        raise ValueError(
            f"activations must be among {', '.join(cells.ACTIVATIONS)}, got {checks.shown(name)}"
        )
    values = []
    for left, default, word in zip(
        numbers, cells.ACTIVATIONS[plain][1], ("alpha", "beta"), strict=False
    ):
        value = left.pop(0) if left else default
        if value is None:
            raise ValueError(f"{name} needs activation_{word}, which has no default in ONNX")
        values.append(repr(_shortest(value)))
    text = f"{plain}({', '.join(values)})" if values else plain
    return canonical(text)


def _shortest(value: float) -> float:
    """Return the shortest number that a float32 of ONNX stands for: 0.01."""
    return float(str(np.float32(value)))
