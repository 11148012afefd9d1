"""Recurrent layers: own their parameters, check shapes, call one engine function each way.

Every layer has `forward(x, state, lengths, record) -> (y, state, tape)` and
`backward(dy, tape, dstate) -> Gradients(dx, params, state)`. Parameter names and initialisation are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import cells, checks, kernels
from ..engine import dropout, preactivations, ragged
from ..engine.bidirectional import REVERSE, Bidirectional, Directions
from ..engine.engine import Engine
from ..engine.params import Sizes, check_proj_size
from .base import Gradients, Layer
from .recording import LayerRecording

# PyTorch's, of fields of Params.
NAMES = {
    "W_ih": "weight_ih",
    "W_hh": "weight_hh",
    "b_ih": "bias_ih",
    "b_hh": "bias_hh",
    "W_hr": "weight_hr",
}


class Recurrent(Layer):
    """A layer of H units of one cell, given itself or by its name. x (T, N, D) or (T, D), y (T, N, H) or (T, H).

    `bidirectional`: two sets of H units, one of which runs from the last valid step to the first, each with parameters of
    its own. Their outputs are aligned in time and merged: `merge` is "concat", y (T, N, 2H), or "sum", "mul", "average",
    y (T, N, H). State, `params` and gradients of states are then `Directions(forward, reverse)`, and `state.summary` is h of
    both ends, (N, 2H): what has seen the whole sequence, which y[-1] has not.
    `learn_state`: where no state is given, a sequence starts from parameters "h0" (and "c0"), (H,) each, zeros before training;
    a second direction has "h0_reverse". Their gradients sum over the batch. PyTorch has no such parameters.

    `proj_size`: P, of a cell that projects: y and h then have P numbers in place of H.

    Dropout inside, in training alone: `recurrent_dropout`, the probability to drop an entry of the state that goes back into
    W_hh, one mask a sequence (Gal and Ghahramani, 2016); `weight_drop`, that of an entry of W_hh, one mask a call (Merity
    et al., 2018); `zoneout`, that of a state to stay as it is at a step, for all states or a dict of them by name (Krueger
    et al., 2017). Masks lie in `tape.masks`; a model's `generator` draws them.

    Raises ValueError for sizes below 1, unknown cells and values of options that are not allowed; TypeError for unknown
    options and values of another kind.
    """

    needs_sequence = takes_lookup = True

    def __init__(
        self,
        cell: cells.Cell | str,
        input_size: int,
        hidden_size: int,
        bidirectional: bool = False,
        merge: str = "concat",
        learn_state: bool = False,
        proj_size: int = 0,
        **options: Any,
    ):
        for name, value in {"bidirectional": bidirectional, "learn_state": learn_state}.items():
            if not isinstance(value, bool):
                raise TypeError(f"{name} must be True or False, got {value!r}")
        if merge != "concat" and not bidirectional:
            raise ValueError(
                f"merge={merge!r} needs bidirectional=True: one direction has nothing to merge"
            )
        cell = cells.find(cell)
        for name in _cell_options(options) if type(self) is Recurrent else ():
            raise TypeError(
                f"a layer of {cell.name} has no option {name!r}; it has {', '.join(dropout.NAMES)}"
            )
        both = {
            "bidirectional": bidirectional,
            "merge": merge,
            "learn_state": learn_state,
            "proj_size": proj_size,
        }
        both = {k: v for k, v in both.items() if v not in (False, "concat", 0)}
        sizes = {
            k: checks.size(v, k)
            for k, v in (("input_size", input_size), ("hidden_size", hidden_size))
        }
        super().__init__(
            **({"cell": cell.name} if type(self) is Recurrent else {}), **sizes, **options, **both
        )
        self.bidirectional, self.merge = bidirectional, merge if bidirectional else None
        self.dropouts = dropout.DropoutOptions.checked(
            cell, **{k: v for k, v in options.items() if k in dropout.NAMES}
        )
        self.engine = Engine(self.dropouts.inference_cell)
        self.runner = self._directions(self.engine)
        self.in_features, self.input_size, self.hidden_size = input_size, input_size, hidden_size
        self.sizes = Sizes(input_size, hidden_size, check_proj_size(cell, proj_size, hidden_size))
        self.out_features = self.sizes.P * (2 if bidirectional and merge == "concat" else 1)
        directions = {"": 1, REVERSE: -1} if bidirectional else {"": 1}
        self.state_delays = {
            f"{s}{end}": delay for end, delay in directions.items() for s in cell.states
        }
        self.state_sizes = dict(
            zip(
                self.state_delays,
                self.engine.state_sizes(self.sizes) * len(directions),
                strict=True,
            )
        )
        shapes = self.engine.shapes(*self.sizes)._asdict()
        self.shapes = {
            f"{NAMES.get(n, n)}_l0{end}": s for end in directions for n, s in shapes.items()
        }
        self.initial = (
            {f"{s}0{end}": f"{s}{end}" for end in directions for s in cell.states}
            if learn_state
            else {}
        )
        self.shapes |= {name: (self.state_sizes[s],) for name, s in self.initial.items()}

    @property
    def cell(self) -> cells.Cell:
        """The cell's equations."""
        return self.engine.cell

    @property
    def params(self) -> Any:
        """The parameters as the engine's Params; `Directions` of a bidirectional layer."""
        return self.params_from(self.parameters)

    def params_from(self, arrays: dict[str, np.ndarray]) -> Any:
        """The params that have these arrays by name, in the order of `shapes`; those of the initial state left out."""
        return self._grouped(
            self.engine.Params, {n: a for n, a in arrays.items() if n not in self.initial}
        )

    def reference_runner(self, training: bool = False) -> Any:
        """What has `forward` and `backward` of this layer, interpreted by NumPy from the equations; takes complex128 too."""
        if training and self.dropouts:
            return self._directions(
                self.dropouts.training_runner(self.generator, kernels.reference)
            )
        return self._directions(self.engine.reference)

    def _directions(self, engine):
        return Bidirectional(engine, self.merge) if self.bidirectional else engine

    def training_runner(self):
        return (
            self._directions(self.dropouts.training_runner(self.generator))
            if self.dropouts
            else self.runner
        )

    def _grouped(self, kind, arrays):
        """A Params or State of arrays by name, in order; `Directions` of a bidirectional layer."""
        values = list(arrays.values())
        if not self.bidirectional:
            return kind(*values)
        half = len(values) // 2
        return Directions(kind(*values[:half]), kind(*values[half:]))

    def state_arrays(self, state: Any) -> dict[str, np.ndarray]:
        """The arrays of a state by name: "h", "c" and, of a bidirectional layer, "h_reverse", "c_reverse"."""
        arrays = [a for one in state for a in one] if self.bidirectional else state
        return dict(zip(self.state_delays, arrays, strict=True))

    def state_from(self, arrays: dict[str, np.ndarray]) -> Any:
        """The state that has these arrays by name: the inverse of `state_arrays`."""
        return self._grouped(self.engine.State, {name: arrays[name] for name in self.state_delays})

    def reset_parameters(self, rng):
        for params in self.params if self.bidirectional else [self.params]:
            new = self.engine.init(
                self.input_size, self.hidden_size, self.dtype, rng, self.options.get("proj_size", 0)
            )
            for a, b in zip(params, new, strict=True):
                a[:] = b
        for name in self.initial:
            self.parameters[name][:] = 0

    def learned_state(self, rows: tuple[int, ...]) -> Any:
        """The state that a sequence starts from, for `rows` (N,), or () of a single one; None where none is learned."""
        if not self.initial:
            return None
        return self.state_from(
            {s: np.tile(self.parameters[n], (*rows, 1)) for n, s in self.initial.items()}
        )

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        """Returns y, the final state and a tape: `Engine.forward` with this layer's parameters.

        x may be a list of arrays (T_i, D), one a sequence; y is then such a list too.
        """
        x, lengths, listed = ragged.pad_sequences(x, lengths)
        learned = state is None and bool(self.initial) and np.ndim(x) > 1
        if learned:
            state = self.learned_state(np.shape(x)[1:-1])
        runs = self.training_runner() if (record if training is None else training) else self.runner
        y, final, tape = runs.forward(x, self.params, state, lengths, record=record)
        if learned and record:
            (tape.forward if self.bidirectional else tape).learned = True
        return ragged.unpad_sequences(y, lengths) if listed else y, final, tape

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None):
        """Returns Gradients: `Engine.backward` with names for the parameters' gradients. dx is a list where dy is one."""
        grads = self._gradients(out)
        dy, lengths, listed = ragged.pad_sequences(dy, None, "dy")
        runs = self.training_runner() if getattr(tape, "masks", None) else self.runner
        dx, _, d_initial = runs.backward(dy, tape, dstate, self.params_from(grads), state_gradients)
        if self.initial:
            learned = (tape.forward if self.bidirectional else tape).learned
            arrays = self.state_arrays(d_initial)
            for name, s in self.initial.items():
                grads[name][:] = (
                    arrays[s].reshape(-1, self.state_sizes[s]).sum(axis=0) if learned else 0
                )
        return Gradients(ragged.unpad_sequences(dx, lengths) if listed else dx, grads, d_initial)

    def recorded(self, y, tape):
        sums = preactivations.preactivations(tape)
        return LayerRecording(y, tape.gates, tape.states, preactivations=sums, initial=tape.initial)

    def footprint(self, T, N, width, dtype, ragged, training, table=None):
        return (self.training_runner() if training else self.runner).footprint(
            T, N, self.sizes, dtype, ragged, training, table=table
        )

    def keeps_input(self, ragged):
        return not ragged

    def stepper(self):
        if self.bidirectional:
            raise ValueError(
                "a bidirectional layer cannot run step by step: its reverse direction starts at the end"
            )
        return self.engine.stepper(self.params, self.learned_state(()))

    def packed(self):
        pack, params, learned = self.engine.pack, self.params, self.learned_state(())
        weights = Directions(*map(pack, params)) if self.bidirectional else pack(params)

        def run(x, state):
            if state is None and learned is not None:
                arrays, rows = self.state_arrays(learned), np.shape(x)[1:-1]
                state = self.state_from({s: np.tile(a, (*rows, 1)) for s, a in arrays.items()})
            return self.runner.forward(x, weights, state)[:2]

        return run

    def graph(self):
        return self.cell.graph()


def layer_from_cell(cell: cells.Cell | str, input_size: int, hidden_size: int) -> Recurrent:
    """A layer of any cell; one that projects hands on half as many numbers as it has units."""
    projected = cells.find(cell).has_projection
    return Recurrent(
        cell, input_size, hidden_size, proj_size=(hidden_size + 1) // 2 if projected else 0
    )


# What layers of other libraries take, and how it is said here.
ELSEWHERE = {
    "num_layers": "a layer is one: Sequential(LSTM(D, H), LSTM(H, H))",
    "batch_first": "time comes first: give x.swapaxes(0, 1)",
    "bias": "biases=0, 1 or 2 says how many vectors of them a gate has",
    "dropout": "Dropout(p) goes between layers, recurrent_dropout=p inside",
    "return_sequences": "y has every step; Last() after it takes the last",
    "stateful": "the state that a call returns is given to the next",
}


def _cell_options(options):
    """Options besides those of dropout. Raises TypeError for one of another library."""
    for name in options:
        if name in ELSEWHERE:
            raise TypeError(f"{name} is not an option here: {ELSEWHERE[name]}")
    return {k: v for k, v in options.items() if k not in dropout.NAMES}


class WithOptions(Recurrent, abstract=True):
    """A layer whose options besides dropout make its cell: a subclass names the `make_cell` function that takes them."""

    make_cell: Callable[..., cells.Cell]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bidirectional: bool = False,
        merge: str = "concat",
        learn_state: bool = False,
        **options: Any,
    ):
        cell = type(self).make_cell(**_cell_options(options))
        super().__init__(
            cell, input_size, hidden_size, bidirectional, merge, learn_state, **options
        )


class RNN(WithOptions):
    """Vanilla recurrent layer, x (T, N, D) to y (T, N, H), state (h,): h = f(W_ih x + b_ih + W_hh h + b_hh).

    `nonlinearity`: "tanh", "relu" or any other of `cells.ACTIVATIONS`. Further options: those of `cells.rnn_cell` and
    dropout as in `Recurrent`.
    """

    make_cell = staticmethod(cells.rnn_cell)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bidirectional: bool = False,
        merge: str = "concat",
        learn_state: bool = False,
        nonlinearity: str = "tanh",
        **options: Any,
    ):
        options["nonlinearity"] = nonlinearity
        super().__init__(input_size, hidden_size, bidirectional, merge, learn_state, **options)


class LSTM(WithOptions):
    """Long short-term memory layer, x (T, N, D) to y (T, N, H); state (h, c), (N, H) each; gates i f g o.

    `proj_size`: P, at most H: h = W_hr (o tanh(c)), P numbers, is put out and goes back; c keeps its H. 0: h = o tanh(c).
    Further options: `peephole`, `coupled`, `layer_norm`, `clip`, `cell_clip`, `activations`, `biases`, as in
    `cells.lstm_cell`, and dropout as in `Recurrent`.
    """

    make_cell = staticmethod(cells.lstm_cell)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bidirectional: bool = False,
        merge: str = "concat",
        learn_state: bool = False,
        proj_size: int = 0,
        **options: Any,
    ):
        if "projection" in options:
            raise TypeError("the projection of an LSTM layer is given by its size: proj_size")
        cell = self.make_cell(**_cell_options(options), projection=proj_size != 0)
        Recurrent.__init__(
            self,
            cell,
            input_size,
            hidden_size,
            bidirectional,
            merge,
            learn_state,
            proj_size,
            **options,
        )


class GRU(WithOptions):
    """Gated recurrent layer, x (T, N, D) to y (T, N, H), by default reset after the product; state (h,), (N, H); gates r z n.

    Options: `reset_after`, `z_keeps`, `layer_norm`, `clip`, `activations`, `biases`, as in `cells.gru_cell`,
    and dropout as in `Recurrent`.
    """

    make_cell = staticmethod(cells.gru_cell)


class QRNN(WithOptions):
    """Quasi-recurrent layer; state (h, c), and what waits where the `window` is longer than 1; gates z f o.

    Options: `window`, how many steps of x a gate sees, as in `cells.qrnn_cell`, and dropout as in `Recurrent`.
    """

    make_cell = staticmethod(cells.qrnn_cell)
