"""Layers: own their parameters, check shapes, call one engine function each way.

Every layer has `forward(x, state, lengths, record) -> (y, state, tape)` and
`backward(dy, tape, dstate) -> Gradients(dx, params, state)`. Parameter names and initialisation are PyTorch's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import cells, checks, kernels, masks, ragged
from .bidirectional import REVERSE, Bidirectional, Both
from .engine import Engine
from .footprint import Footprint
from .layer import Gradients, Layer
from .lookup import Lookup, RowGradients

NAMES = {"W_ih": "weight_ih", "W_hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh"}  # PyTorch's, of fields of Params


class Embedding(Layer):
    """A row of a matrix for each integer id: a one-hot vector times the matrix, without the zeros.

    x: ids of any integer dtype and shape, 0 <= id < num_embeddings. y: x.shape + (embedding_dim,).
    """

    def __init__(self, num_embeddings: int, embedding_dim: int):
        super().__init__(
            num_embeddings=checks.size(num_embeddings, "num_embeddings"),
            embedding_dim=checks.size(embedding_dim, "embedding_dim"),
        )
        self.outputs = embedding_dim
        self.shapes = {"weight": (num_embeddings, embedding_dim)}

    def draw(self, rng):
        weight = self.parameters["weight"]
        weight[:] = rng.standard_normal(weight.shape)

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        """Returns y, None, tape. Raises TypeError for ids that are no integers, IndexError for ids out of range."""
        found, _, tape = self.look_up(x, record)
        return np.asarray(found), None, tape

    def look_up(self, x: np.ndarray, record: bool = False) -> tuple[Lookup, None, np.ndarray | None]:
        """`forward` without writing y out, for a layer that takes a Lookup."""
        ids = self._checked(x)
        return Lookup(self.parameters["weight"], ids), None, ids if record else None

    def _checked(self, x):
        ids = np.asarray(x)
        if not np.issubdtype(ids.dtype, np.integer):
            raise TypeError(f"ids must be integers, got {ids.dtype.name}")
        V = self.shapes["weight"][0]
        if ids.size and (ids.min() < 0 or ids.max() >= V):
            place = tuple(int(k) for k in np.argwhere((ids < 0) | (ids >= V))[0])
            raise IndexError(f"ids must be in 0..{V - 1}, got {ids[place]} at {place}")
        return ids

    def stepper(self):
        weight = self.parameters["weight"].copy()
        return lambda x_t: weight[self._checked(x_t)]

    def backward(self, dy, tape, dstate=None, out=None, totals=None):
        """Returns Gradients; ids have none, so `dx` is None. dy may be RowGradients, where y was a Lookup."""
        grads = self._gradients(out)
        dW = grads["weight"]
        if isinstance(dy, RowGradients):
            dW[:] = 0
            dW[dy.ids] = dy.rows
            return Gradients(None, grads, None)
        dy = checks.array(dy, "dy")
        checks.same_dtype(dy, "dy", dW.dtype, "weight")
        checks.shape(dy, "dy", (*tape.shape, dW.shape[1]), "the shape of y")
        dW[:] = 0
        kernels.backend.scatter_add(dW, tape.reshape(-1), dy.reshape(-1, dW.shape[1]))
        return Gradients(None, grads, None)

    def footprint(self, T, N, width, dtype, ragged, training, table=None):
        return Footprint(0, T * N * self.outputs * dtype.itemsize, 0, 0, 0)


class Linear(Layer):
    """y = x W' + b over the last axis; W (out_features, in_features), b (out_features,)."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__(
            in_features=checks.size(in_features, "in_features"), out_features=checks.size(out_features, "out_features")
        )
        self.inputs, self.outputs = in_features, out_features
        self.shapes = {"weight": (out_features, in_features), "bias": (out_features,)}

    def draw(self, rng):
        bound = 1 / np.sqrt(self.inputs)
        for a in self.parameters.values():
            a[:] = rng.uniform(-bound, bound, a.shape)

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        """Returns y (..., out_features), None, tape. Raises ValueError for another last axis, TypeError for dtypes."""
        x, y = self._apply(x, kernels.backend.pack_linear(*self.parameters.values()))
        return y, None, x if record else None

    def _apply(self, x, packed):
        x = checks.array(x, "x")
        checks.same_dtype(x, "x", self.dtype, "weight")
        if x.ndim < 1 or x.shape[-1] != self.inputs:
            raise ValueError(f"x must be (..., {self.inputs}), got {x.shape}")
        y = np.empty((*x.shape[:-1], self.outputs), x.dtype)
        kernels.backend.linear(x.reshape(-1, self.inputs), packed, y.reshape(-1, self.outputs))
        return x, y

    def stepper(self):
        packed = kernels.backend.pack_linear(*self.parameters.values())
        return lambda x_t: self._apply(x_t, packed)[1]

    def backward(self, dy, tape, dstate=None, out=None, totals=None):
        """Returns Gradients."""
        W, grads = self.parameters["weight"], self._gradients(out)
        dy = checks.array(dy, "dy")
        checks.same_dtype(dy, "dy", W.dtype, "weight")
        checks.shape(dy, "dy", (*tape.shape[:-1], self.outputs), "the shape of y")
        dx = np.empty_like(tape)
        flat = (a.reshape(-1, a.shape[-1]) for a in (dy, tape))
        kernels.backend.linear_backward(*flat, W, dx.reshape(-1, self.inputs), grads["weight"], grads["bias"])
        return Gradients(dx, grads, None)

    def footprint(self, T, N, width, dtype, ragged, training, table=None):
        (M, K), b = self.shapes["weight"], dtype.itemsize
        forward, backward = kernels.backend.linear_scratch(M, K, T * N, dtype)
        return Footprint(0, T * N * M * b, forward, backward, T * N * K * b)

    def keeps_input(self, ragged):
        return True


class Dropout(Layer):
    """In training, each entry is zeroed with probability p and the others are scaled by 1 / (1 - p), afresh at each step.

    `per`: "step", or "sequence" for one mask at all steps of a sequence: variational dropout of what comes in (Gal and
    Ghahramani, 2016). Acts in a recorded forward pass unless `training=False` is said; never otherwise. The tape is the mask;
    equal generators draw equal masks: `model.generator = np.random.default_rng(seed)`.
    """

    def __init__(self, p: float = 0.5, per: str = "step"):
        if per not in ("step", "sequence"):
            raise ValueError(f"per must be 'step' or 'sequence', got {per!r}")
        super().__init__(p=masks.rate(p, "p"), **({} if per == "step" else {"per": per}))
        self.p, self.per = float(p), per

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        """Returns y, None, tape: the mask, scaled; None where nothing was dropped."""
        if self.p == 0 or not (record if training is None else training):
            return x, None, None
        x = checks.array(x, "x")
        mask = masks.kept(self.generator, self.p, x.shape if self.per == "step" else (1, *x.shape[1:]), x.dtype)
        return x * mask, None, mask if record else None

    def backward(self, dy, tape, dstate=None, out=None, totals=None):
        """Returns Gradients: what was dropped gets none."""
        return Gradients(dy if tape is None else dy * tape, {}, None)

    def footprint(self, T, N, width, dtype, ragged, training, table=None):
        entries = T * N * width if self.p and training else 0
        size = entries * dtype.itemsize
        return Footprint(size, size, entries, 0, size)


class Recurrent(Layer):
    """A layer of H units of one cell, given itself or by its name. x (T, N, D) or (T, D), y (T, N, H) or (T, H).

    `bidirectional`: two sets of H units, one of which runs from the last valid step to the first, each with parameters of
    its own. Their outputs are aligned in time and merged: `merge` is "concat", y (T, N, 2H), or "sum", "mul", "average",
    y (T, N, H). State, `params` and gradients of states are then `Both(forward, reverse)`, and `state.summary` is h of
    both ends, (N, 2H): what has seen the whole sequence, which y[-1] has not.
    `learn_state`: where no state is given, a sequence starts from parameters "h0" (and "c0"), (H,) each, zeros before training;
    a second direction has "h0_reverse". Their gradients sum over the batch. PyTorch has no such parameters.

    Dropout inside, in training alone: `recurrent_dropout`, the probability to drop an entry of the state that goes back into
    W_hh, one mask a sequence (Gal and Ghahramani, 2016); `weight_drop`, that of an entry of W_hh, one mask a call (Merity
    et al., 2018); `zoneout`, that of a state to stay as it is at a step, for all states or a dict of them by name (Krueger
    et al., 2017). Masks lie in `tape.masks`; a model's `generator` draws them.
    """

    reads_time = takes_lookup = True

    def __init__(
        self,
        cell: cells.Cell | str,
        input_size: int,
        hidden_size: int,
        bidirectional: bool = False,
        merge: str = "concat",
        learn_state: bool = False,
        **options: Any,
    ):
        for name, value in {"bidirectional": bidirectional, "learn_state": learn_state}.items():
            if not isinstance(value, bool):
                raise TypeError(f"{name} must be True or False, got {value!r}")
        if merge != "concat" and not bidirectional:
            raise ValueError(f"merge={merge!r} needs bidirectional=True: one direction has nothing to merge")
        cell = cells.find(cell)
        for name in _of_cell(options) if type(self) is Recurrent else ():
            raise TypeError(f"a layer of {cell.name} has no option {name!r}; it has {', '.join(masks.NAMES)}")
        both = {"bidirectional": bidirectional, "merge": merge, "learn_state": learn_state}
        both = {k: v for k, v in both.items() if v not in (False, "concat")}
        sizes = {k: checks.size(v, k) for k, v in (("input_size", input_size), ("hidden_size", hidden_size))}
        super().__init__(**({"cell": cell.name} if type(self) is Recurrent else {}), **sizes, **options, **both)
        self.bidirectional, self.merge = bidirectional, merge if bidirectional else None
        self.dropouts = masks.Dropouts.of(cell, **{k: v for k, v in options.items() if k in masks.NAMES})
        self.engine = Engine(self.dropouts.evaluated)
        self.runs = self._directions(self.engine)
        self.inputs, self.input_size, self.hidden_size = input_size, input_size, hidden_size
        self.outputs = 2 * hidden_size if bidirectional and merge == "concat" else hidden_size
        directions = {"": 1, REVERSE: -1} if bidirectional else {"": 1}
        self.loops = {f"{s}{end}": delay for end, delay in directions.items() for s in cell.states}
        shapes = self.engine.shapes(input_size, hidden_size)._asdict()
        self.shapes = {f"{NAMES.get(n, n)}_l0{end}": s for end in directions for n, s in shapes.items()}
        self.initial = {f"{s}0{end}": f"{s}{end}" for end in directions for s in cell.states} if learn_state else {}
        self.shapes |= dict.fromkeys(self.initial, (hidden_size,))

    @property
    def cell(self) -> cells.Cell:
        """The cell's equations."""
        return self.engine.cell

    @property
    def params(self) -> Any:
        """The parameters as the engine's Params; `Both` of a bidirectional layer."""
        return self.params_from(self.parameters)

    def params_from(self, arrays: dict[str, np.ndarray]) -> Any:
        """The params that have these arrays by name, in the order of `shapes`; those of the initial state left out."""
        return self._grouped(self.engine.Params, {n: a for n, a in arrays.items() if n not in self.initial})

    def interpreted(self, training: bool = False) -> Any:
        """What has `forward` and `backward` of this layer, interpreted by NumPy from the equations; takes complex128 too."""
        if training and self.dropouts:
            return self._directions(self.dropouts.trained(self.generator, kernels.plain))
        return self._directions(self.engine.reference)

    def _directions(self, engine):
        return Bidirectional(engine, self.merge) if self.bidirectional else engine

    def _trained(self):
        return self._directions(self.dropouts.trained(self.generator)) if self.dropouts else self.runs

    def _grouped(self, kind, arrays):
        """A Params or State of arrays by name, in order; `Both` of a bidirectional layer."""
        values = list(arrays.values())
        if not self.bidirectional:
            return kind(*values)
        half = len(values) // 2
        return Both(kind(*values[:half]), kind(*values[half:]))

    def state_arrays(self, state: Any) -> dict[str, np.ndarray]:
        """The arrays of a state by name: "h", "c" and, of a bidirectional layer, "h_reverse", "c_reverse"."""
        arrays = [a for one in state for a in one] if self.bidirectional else state
        return dict(zip(self.loops, arrays, strict=True))

    def state_from(self, arrays: dict[str, np.ndarray]) -> Any:
        """The state that has these arrays by name: the inverse of `state_arrays`."""
        return self._grouped(self.engine.State, {name: arrays[name] for name in self.loops})

    def draw(self, rng):
        for params in self.params if self.bidirectional else [self.params]:
            new = self.engine.init(self.input_size, self.hidden_size, self.dtype, rng)
            for a, b in zip(params, new, strict=True):
                a[:] = b
        for name in self.initial:
            self.parameters[name][:] = 0

    def learned_state(self, rows: tuple[int, ...]) -> Any:
        """The state that a sequence starts from, for `rows` (N,), or () of a single one; None where none is learned."""
        if not self.initial:
            return None
        return self.state_from({s: np.tile(self.parameters[n], (*rows, 1)) for n, s in self.initial.items()})

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        """Returns y, the final state and a tape: `Engine.forward` with this layer's parameters.

        x may be a list of arrays (T_i, D), one a sequence; y is then such a list too.
        """
        x, lengths, listed = ragged.given(x, lengths)
        learned = state is None and bool(self.initial) and np.ndim(x) > 1
        if learned:
            state = self.learned_state(np.shape(x)[1:-1])
        runs = self._trained() if (record if training is None else training) else self.runs
        y, final, tape = runs.forward(x, self.params, state, lengths, record=record)
        if learned and record:
            (tape.forward if self.bidirectional else tape).learned = True
        return ragged.unpad(y, lengths) if listed else y, final, tape

    def backward(self, dy, tape, dstate=None, out=None, totals=None):
        """Returns Gradients: `Engine.backward` with names for the parameters' gradients. dx is a list where dy is one."""
        grads = self._gradients(out)
        dy, lengths, listed = ragged.given(dy, None, "dy")
        runs = self._trained() if getattr(tape, "masks", None) else self.runs
        dx, _, d_initial = runs.backward(dy, tape, dstate, self.params_from(grads), totals)
        if self.initial:
            learned = (tape.forward if self.bidirectional else tape).learned
            arrays = self.state_arrays(d_initial)
            for name, s in self.initial.items():
                grads[name][:] = arrays[s].reshape(-1, self.hidden_size).sum(axis=0) if learned else 0
        return Gradients(ragged.unpad(dx, lengths) if listed else dx, grads, d_initial)

    def footprint(self, T, N, width, dtype, ragged, training, table=None):
        if training and self.dropouts:
            raise ValueError("dropout inside a layer: nobody counts what its masks take")
        return self.runs.footprint(T, N, self.input_size, self.hidden_size, dtype, ragged, training, table=table)

    def keeps_input(self, ragged):
        return not ragged

    def stepper(self):
        if self.bidirectional:
            raise ValueError("a bidirectional layer cannot run step by step: its reverse direction starts at the end")
        return self.engine.stepper(self.params, self.learned_state(()))

    def graph(self):
        return self.cell.graph()


def _of_cell(options):
    return {k: v for k, v in options.items() if k not in masks.NAMES}


class RNN(Recurrent):
    """Vanilla recurrent layer: h = f(W_ih x + b_ih + W_hh h + b_hh).

    `nonlinearity`: "tanh", "relu" or any other of `cells.ACTIVATIONS`. Further options: those of `cells.rnn_cell` and
    dropout as in `Recurrent`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        nonlinearity: str = "tanh",
        bidirectional: bool = False,
        merge: str = "concat",
        learn_state: bool = False,
        **options: Any,
    ):
        options["nonlinearity"] = nonlinearity
        super().__init__(
            cells.rnn_cell(**_of_cell(options)), input_size, hidden_size, bidirectional, merge, learn_state, **options
        )


class LSTM(Recurrent):
    """Long short-term memory layer; state (h, c); gates i f g o.

    Options: `peephole`, `coupled`, `clip`, `cell_clip`, `activations`, `biases`, as in `cells.lstm_cell`,
    and dropout as in `Recurrent`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bidirectional: bool = False,
        merge: str = "concat",
        learn_state: bool = False,
        **options: Any,
    ):
        super().__init__(
            cells.lstm_cell(**_of_cell(options)), input_size, hidden_size, bidirectional, merge, learn_state, **options
        )


class GRU(Recurrent):
    """Gated recurrent layer, reset after the product; state (h,); gates r z n.

    Options: `z_keeps`, `clip`, `activations`, `biases`, as in `cells.gru_cell`, and dropout as in `Recurrent`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bidirectional: bool = False,
        merge: str = "concat",
        learn_state: bool = False,
        **options: Any,
    ):
        super().__init__(
            cells.gru_cell(**_of_cell(options)), input_size, hidden_size, bidirectional, merge, learn_state, **options
        )
