"""Recurrent layers: each owns the parameters of one cell, once or per direction.

Names and initial values of the parameters are PyTorch's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import cells, checks, kernels
from ..checks import elsewhere, guided
from ..engine import dropout, preactivations, ragged
from ..engine.bidirectional import MERGES, REVERSE, Bidirectional, Directions, DirectionTapes
from ..engine.engine import Engine
from ..engine.episodes import Episodes
from ..engine.params import Sizes, check_input_size, check_proj_size, check_state
from ..engine.reversed import Reversed
from ..engine.runner import DirectedRunner, Runner
from ..engine.stepping import PackedParams, Stepper
from ..engine.tape import Tape
from .base import Gradients, Layer
from .quantized import QuantizedParameters
from .recording import LayerRecording

# PyTorch's names of the fields of Params.
NAMES = {
    "W_ih": "weight_ih",
    "W_hh": "weight_hh",
    "b_ih": "bias_ih",
    "b_hh": "bias_hh",
    "W_hr": "weight_hr",
}


class Recurrent(Layer):
    """A layer of H units of one cell.

    x has shape (T, N, D) or (T, D), y (T, N, H) or (T, H). x and y may also be lists of arrays
    (T_i, D) and (T_i, H), one for each sequence.

    Parameters
    ----------
    cell : Cell or str
        The cell, or the name of a registered one.
    input_size : int
        D, the size of the last axis of x. It counts the columns that the cell's `inputs` name.
    hidden_size : int
        H, the number of units.
    bidirectional : bool, default False
        Whether a second set of H units, with parameters of its own, runs from the last valid step
        to the first. State, `params` and gradients of states are then `Directions(forward,
        reverse)`. `state.summary`, shape (N, 2H), is h after the last step of each direction; both
        halves have read the whole sequence; the reverse half of y[-1] has read one step only.
    merge : {"concat", "sum", "mul", "average"}, default "concat"
        How the outputs of both directions, aligned in time, are merged: y has 2H features for
        "concat" and H for the others.
    learn_state : bool, default False
        Whether the default initial state is learned: parameters "h0" (and "c0", "h0_reverse" and so
        on), shape (H,) each, which start as zeros. Their gradients are summed over the batch.
        PyTorch has no such parameters.
    proj_size : int, default 0
        P, the number of features of y and h of a cell with a projection; 0 for other cells.
    reverse : bool, default False
        Whether the layer runs from the last valid step of each sequence to the first; y stays
        aligned with x. The final state is that after the first step. Such a layer cannot run step
        by step. ONNX calls it direction="reverse", Keras go_backwards.
    **options : Any
        Hyper-parameters of the cell, and dropout inside the layer, see below.

    Other Parameters
    ----------------
    recurrent_dropout : float, default 0.0
        Variational dropout: the probability of dropping an entry of the h that is multiplied by
        W_hh. One mask for each sequence, the same at all steps.
    weight_drop : float, default 0.0
        DropConnect: the probability of dropping an entry of W_hh. One mask for each call.
    zoneout : float or dict of str to float, default 0.0
        The probability that an entry of a state keeps its previous value at a step, for all states
        or for each state by name.

    Raises
    ------
    TypeError
        If an option is unknown or a value has the wrong type.
    ValueError
        If a size is below 1, the cell is unknown, or an option has a value that is not allowed.

    Notes
    -----
    Dropout acts in training only. The masks, drawn from the model's `generator`, are in
    `tape.masks`.

    References
    ----------
    Schuster and Paliwal, "Bidirectional recurrent neural networks" (1997).
    Gal and Ghahramani, "A theoretically grounded application of dropout in recurrent neural
    networks" (2016), for `recurrent_dropout`.
    Merity, Keskar and Socher, "Regularizing and optimizing LSTM language models" (2018), for
    `weight_drop`.
    Krueger et al., "Zoneout: regularizing RNNs by randomly preserving hidden activations" (2017).
    """

    needs_sequence = takes_lookup = True
    runs_in_episodes = True  # pyright: ignore[reportAssignmentType]

    def __init__(
        self,
        cell: cells.Cell | str,
        input_size: int,
        hidden_size: int,
        bidirectional: bool = False,
        merge: str = "concat",
        learn_state: bool = False,
        proj_size: int = 0,
        reverse: bool = False,
        **options: Any,
    ):
        if type(bidirectional) in (int, str):  # the place of num_layers or of an activation
            words = elsewhere.answer("num_layers" if type(bidirectional) is int else "activation")
            shown = checks.shown(bidirectional)
            raise TypeError(f"bidirectional must be True or False, got {shown}{words}")
        bidirectional = checks.flag(bidirectional, "bidirectional")
        learn_state = checks.flag(learn_state, "learn_state")
        reverse = checks.flag(reverse, "reverse")
        checks.choice(merge, "merge", MERGES)
        if merge != "concat" and not bidirectional:
            raise ValueError(
                f"merge={merge!r} needs bidirectional=True: one direction has nothing to merge"
            )
        if reverse and bidirectional:
            raise ValueError(
                "reverse=True is one direction, bidirectional=True is both: leave one of them out"
            )
        cell = cells.find(cell)
        if type(self) is Recurrent:
            values = {k: options.pop(k) for k in cell.options if k in options}
            cell = cell(**values) if values else cell
            self._check_options(options, cell.options)
        input_size = check_input_size(cell, input_size)
        hidden_size = checks.size(hidden_size, "hidden_size")
        P = check_proj_size(cell, proj_size, hidden_size)
        sizes = {"input_size": input_size, "hidden_size": hidden_size}
        common = {
            "bidirectional": bidirectional,
            "merge": merge,
            "learn_state": learn_state,
            "proj_size": P if cell.has_projection else 0,
            "reverse": reverse,
        }
        common = {k: v for k, v in common.items() if v not in (False, "concat", 0)}
        super().__init__(
            **({"cell": cell.name} if type(self) is Recurrent else {}), **sizes, **options, **common
        )
        self.bidirectional, self.reverse = bidirectional, reverse
        self.merge: Any = merge if bidirectional else None
        self.dropouts = dropout.DropoutOptions.checked(
            cell, **{k: v for k, v in options.items() if k in dropout.NAMES}
        )
        self.engine = Engine(self.dropouts.inference_cell)
        self.runner = self._directions(self.engine)
        self.in_features, self.input_size, self.hidden_size = input_size, input_size, hidden_size
        self.sizes = Sizes(input_size, hidden_size, P)
        self.out_features = self.sizes.P * (2 if bidirectional and merge == "concat" else 1)
        directions = {"": 1, REVERSE: -1} if bidirectional else {"": -1 if reverse else 1}
        self.state_delays = {
            f"{s}{end}": delay for end, delay in directions.items() for s in cell.states
        }
        state_sizes = self.engine.state_sizes(self.sizes) * len(directions)
        self.state_sizes = dict(zip(self.state_delays, state_sizes, strict=True))
        shapes = self.engine.shapes(*self.sizes)._asdict()
        self.shapes = {
            f"{NAMES.get(n, n)}_l0{end}": s for end in directions for n, s in shapes.items()
        }
        self.initial = {
            f"{s}0{end}": f"{s}{end}" for end in directions for s in cell.states if learn_state
        }
        self.shapes |= {name: (self.state_sizes[s],) for name, s in self.initial.items()}

    def _check_options(self, options: dict, of_cell: Iterable[str] = ()) -> None:
        """Raise TypeError for an option that neither the layer nor its cell nor dropout has."""
        known = [*of_cell, *dropout.NAMES]
        for name in options:
            if name not in known:
                named = inspect.signature(type(self)).parameters.values()
                own = [p.name for p in named if p.kind is not p.VAR_KEYWORD]
                listed = dict.fromkeys([*own, *known])
                raise guided.unknown_option(type(self).__name__, name, listed, "Recurrent")

    @property
    def runs_in_segments(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True unless a direction starts at the last time step."""
        return not self.reads_ahead

    @property
    def cell(self) -> cells.Cell:
        """Equations of the cell; with zoneout, those of evaluation."""
        return self.engine.cell

    @property
    def params(self) -> Any:
        """The parameters as the engine's Params; `Directions` of them if bidirectional."""
        return self.params_from(self.parameters)

    def params_from(self, arrays: dict[str, np.ndarray]) -> Any:
        """Return Params of these arrays by name, in the order of `shapes`.

        Arrays of a learned initial state are left out.
        """
        return self._grouped(
            self.engine.Params, {n: a for n, a in arrays.items() if n not in self.initial}
        )

    def reference_runner(self, training: bool = False) -> Runner:
        """Return a runner that interprets the equations with NumPy; it accepts complex128 too."""
        if training and self.dropouts:
            return self._directions(
                self.dropouts.training_runner(self.generator, kernels.reference)
            )
        return self._directions(self.engine.reference)

    def _directions(self, engine: DirectedRunner) -> Runner:
        if self.bidirectional:
            return Bidirectional(engine, self.merge)
        return Reversed(engine) if self.reverse else engine

    def training_runner(self) -> Runner:
        """Return the runner for training, which applies dropout."""
        if not self.dropouts:
            return self.runner
        return self._directions(self.dropouts.training_runner(self.generator))

    def _grouped(self, kind, arrays):
        """Return a Params or State of arrays by name; `Directions` of them if bidirectional."""
        values = list(arrays.values())
        if not self.bidirectional:
            return kind(*values)
        half = len(values) // 2
        return Directions(kind(*values[:half]), kind(*values[half:]))

    def state_arrays(self, state: Any) -> dict[str, np.ndarray]:
        """Return the arrays of a state by name: "h", "c", and "h_reverse", "c_reverse"."""
        arrays = [a for one in state for a in one] if self.bidirectional else state
        return dict(zip(self.state_delays, arrays, strict=True))

    def state_from(self, arrays: dict[str, np.ndarray]) -> Any:
        """Return the state of these arrays by name: the inverse of `state_arrays`."""
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
        """Return the learned initial state for `rows` = (N,), or () for one sequence.

        None if the initial state is not learned.
        """
        if not self.initial:
            return None
        return self.state_from(
            {s: np.tile(self.parameters[n], (*rows, 1)) for n, s in self.initial.items()}
        )

    def forward(self, x, state=None, lengths: Any = None, record=False, training=None):
        checks.modes(record, training)
        x, lengths, listed = ragged.pad_sequences(x, lengths)
        learned: Any = state is None and bool(self.initial) and np.ndim(x) > 1
        episodes = lengths if isinstance(lengths, Episodes) else None
        if episodes is not None:
            learned = True if state is None else ~episodes.given
            state = self._states_of_episodes(state, episodes)
        elif learned:
            state = self.learned_state(np.shape(x)[1:-1])
        training = record if training is None else training
        runner = self.training_runner() if training else self.runner
        quantized = type(self._parameters) is QuantizedParameters
        # A recorded run, or one with dropout, reads the weights themselves.
        kept = quantized and not record and runner is self.runner
        params = self._weights() if kept else self.params
        y, final, tape = runner.forward(x, params, state, lengths, record=record)
        if episodes is not None:
            arrays = self.state_arrays(final).items()
            final = self.state_from({s: a[episodes.last] for s, a in arrays})
        if record:
            own: Any = tape.forward if self.bidirectional else tape
            own.episodes = episodes
            own.learned, own.list_lengths = learned, lengths if listed else None
        return ragged.unpad_sequences(y, np.asarray(lengths)) if listed else y, final, tape

    def _checked_state(self, state, name, N) -> dict[str, np.ndarray]:
        """Return the arrays (N, width) of a state by name; raise an error if one does not fit."""
        parts = state if self.bidirectional else (state,)
        if not isinstance(parts, (tuple, list)) or len(parts) != 1 + self.bidirectional:
            raise ValueError(
                f"{name} of a bidirectional layer must be (forward, reverse), "
                f"got {checks.shown(state)}"
            )
        engine = self.engine
        checked = [
            check_state(
                engine.cell, a, name, (N,), self.sizes, self.dtype, engine.dtypes, "the layer"
            )
            for a in parts
        ]
        return dict(zip(self.state_delays, [a for one in checked for a in one], strict=True))

    def _states_of_episodes(self, state, episodes) -> Any:
        """Return the initial state of each episode, (E, width); None for zeros."""
        if state is None and not self.initial:
            return None
        given = {} if state is None else self._checked_state(state, "state", episodes.N)
        default = {s: self.parameters[name] for name, s in self.initial.items()}
        return self.state_from(
            {
                s: episodes.initial(given.get(s), default.get(s, 0), width, self.dtype)
                for s, width in self.state_sizes.items()
            }
        )

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None, sums=None):
        checks.tape(tape, DirectionTapes if self.bidirectional else Tape)
        grads = self._gradients(out)
        own: Any = tape.forward if self.bidirectional else tape
        dy, lengths, listed = ragged.pad_dy(dy, own)
        runner = self.training_runner() if getattr(tape, "masks", None) else self.runner
        episodes = own.episodes
        if episodes is not None and dstate is not None:
            arrays = self._checked_state(dstate, "dstate", episodes.N)
            dstate = self.state_from({s: episodes.spread(a) for s, a in arrays.items()})
        dx, _, d_initial = runner.backward(
            dy, tape, dstate, self.params_from(grads), state_gradients, sums
        )
        if self.initial:
            arrays = self.state_arrays(d_initial)
            for name, s in self.initial.items():
                rows = arrays[s].reshape(-1, self.state_sizes[s])
                if isinstance(own.learned, np.ndarray):  # of episodes
                    rows = rows[own.learned]
                grads[name][:] = 0 if own.learned is False else rows.sum(axis=0)
        if episodes is not None:
            arrays = self.state_arrays(d_initial).items()
            d_initial = self.state_from({s: episodes.collected(a) for s, a in arrays})
        return Gradients(ragged.unpad_sequences(dx, lengths) if listed else dx, grads, d_initial)

    def recorded(self, y, tape):
        sums = preactivations.preactivations(tape)
        return LayerRecording(y, tape.gates, tape.states, preactivations=sums, initial=tape.initial)

    def footprint(self, T, N, width, dtype, ragged, training, table=None):
        runner = self.training_runner() if training else self.runner
        return runner.footprint(T, N, self.sizes, dtype, ragged, training, table=table)

    def keeps_input(self, ragged):
        return not ragged

    def stepper(self):
        if self.bidirectional:
            raise ValueError(
                "a bidirectional layer cannot run step by step: "
                "its reverse direction starts at the last time step"
            )
        if self.reverse:
            raise ValueError(
                "a layer with reverse=True cannot run step by step: it starts at the last time step"
            )
        return Stepper(self._weights(), self.engine.dtypes, self.learned_state(()))

    def _weights(self) -> Any:
        """Return the packed parameters; quantised ones are packed once and kept."""
        parameters = self.parameters
        if isinstance(parameters, QuantizedParameters):
            return parameters.packed(self._pack)
        return self._pack(parameters)

    def _pack(self, arrays) -> Any:
        """Return PackedParams of these arrays; `Directions` of them if bidirectional."""
        params, engine = self.params_from(arrays), self.engine

        def pack(one):
            if isinstance(one.W_ih, np.ndarray):
                return engine.pack(one)
            return PackedParams(engine.cell, engine.kernels, self.sizes, one)

        return Directions(*map(pack, params)) if self.bidirectional else pack(params)

    def packed(self):
        weights, learned = self._weights(), self.learned_state(())

        def run(x, state):
            if state is None and learned is not None:
                arrays, rows = self.state_arrays(learned), np.shape(x)[1:-1]
                state = self.state_from({s: np.tile(a, (*rows, 1)) for s, a in arrays.items()})
            return self.runner.forward(x, weights, state)[:2]

        return run

    def graph(self):
        return self.cell.graph()


def layer_from_cell(cell: cells.Cell | str, input_size: int, hidden_size: int) -> Recurrent:
    """Return a layer of any cell; proj_size is half of hidden_size if the cell has a projection.

    `input_size` is at least one more than the number of the cell's inputs.
    """
    proj_size = (hidden_size + 1) // 2 if cells.find(cell).has_projection else 0
    return Recurrent(cell, input_size, hidden_size, proj_size=proj_size)


class WithOptions(Recurrent, abstract=True):
    """Base class of layers whose options define the cell.

    A subclass sets `make_cell`, which gets the options that are not dropout.
    """

    make_cell: Callable[..., cells.Cell]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bidirectional: bool = False,
        merge: str = "concat",
        learn_state: bool = False,
        reverse: bool = False,
        **options: Any,
    ):
        cell = self._cell(options)
        super().__init__(
            cell,
            input_size,
            hidden_size,
            bidirectional,
            merge,
            learn_state,
            reverse=reverse,
            **options,
        )

    def _cell(self, options, **more) -> cells.Cell:
        """Return the cell of these options, dropout aside, and of those that follow from others."""
        known = [name for name in self.make_cell.options if name not in more]
        self._check_options(options, known)
        return self.make_cell(**{k: v for k, v in options.items() if k in known}, **more)


class RNN(WithOptions):
    """Vanilla (Elman) recurrent layer: h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh).

    x has shape (T, N, D), y (T, N, H); the state is (h,), shape (N, H).

    Parameters
    ----------
    input_size : int
        D, the size of the last axis of x.
    hidden_size : int
        H, the number of units.
    bidirectional : bool, default False
        Whether a second set of H units runs in reverse, as in `Recurrent`.
    merge : {"concat", "sum", "mul", "average"}, default "concat"
        How the outputs of both directions are merged.
    learn_state : bool, default False
        Whether the default initial state is learned rather than zeros.
    nonlinearity : str, default "tanh"
        Activation function f: a name in `recurrent.cells.ACTIVATIONS`.
    reverse : bool, default False
        Whether the layer runs from the last valid step to the first, as in `Recurrent`.
    **options : Any
        Further options, see below.

    Other Parameters
    ----------------
    clip : float, optional
        Bound of the pre-activation to +-clip, as in ONNX.
    biases : {0, 1, 2}, default 2
        Number of bias vectors per gate.
    recurrent_dropout, weight_drop, zoneout
        Dropout inside the layer, as in `Recurrent`.

    Raises
    ------
    TypeError
        If an option is unknown or a value has the wrong type.
    ValueError
        If a size is below 1 or an option has a value that is not allowed.

    References
    ----------
    Elman, "Finding structure in time" (1990).
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
        reverse: bool = False,
        **options: Any,
    ):
        options["nonlinearity"] = nonlinearity
        super().__init__(
            input_size, hidden_size, bidirectional, merge, learn_state, reverse, **options
        )


class LSTM(WithOptions):
    """Long short-term memory layer.

    x has shape (T, N, D), y (T, N, H); the state is (h, c), shape (N, H) each. Gates are in the
    order i, f, g, o. The equations are in `recurrent.cells.lstm`.

    Parameters
    ----------
    input_size : int
        D, the size of the last axis of x.
    hidden_size : int
        H, the number of units.
    bidirectional : bool, default False
        Whether a second set of H units runs in reverse, as in `Recurrent`.
    merge : {"concat", "sum", "mul", "average"}, default "concat"
        How the outputs of both directions are merged.
    learn_state : bool, default False
        Whether the default initial state is learned rather than zeros.
    proj_size : int, default 0
        P, at most H: h = W_hr (o tanh(c)) then has P features, in y and in the state, while c has
        H. 0 for no projection.
    reverse : bool, default False
        Whether the layer runs from the last valid step to the first, as in `Recurrent`.
    **options : Any
        Further options, see below.

    Other Parameters
    ----------------
    peephole : bool, default False
        Whether the gates i, f and o also read c, through a weight per unit.
    coupled : bool, default False
        Whether f = 1 - i, without weights of its own.
    layer_norm : bool, default False
        Whether pre-activations and c are normalised over the units. Gates then have one bias each.
    clip : float, optional
        Bound of the pre-activations to +-clip, as in ONNX.
    cell_clip : float, optional
        Bound of c to +-cell_clip.
    activations : tuple of str, default ("sigmoid", "tanh", "tanh")
        Activation functions of the gates, the candidate and the output: names in
        `recurrent.cells.ACTIVATIONS`.
    biases : {0, 1, 2}, default 2
        Number of bias vectors per gate.
    recurrent_dropout, weight_drop, zoneout
        Dropout inside the layer, as in `Recurrent`.

    Raises
    ------
    TypeError
        If an option is unknown or a value has the wrong type.
    ValueError
        If a size is below 1 or an option has a value that is not allowed.

    References
    ----------
    Hochreiter and Schmidhuber, "Long short-term memory" (1997).
    Gers, Schmidhuber and Cummins, "Learning to forget" (2000), for the forget gate.
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
        reverse: bool = False,
        **options: Any,
    ):
        proj_size = checks.integer(proj_size, "proj_size", 0)
        cell = self._cell(options, projection=proj_size != 0)
        Recurrent.__init__(
            self,
            cell,
            input_size,
            hidden_size,
            bidirectional,
            merge,
            learn_state,
            proj_size,
            reverse,
            **options,
        )


class GRU(WithOptions):
    """Gated recurrent unit layer.

    x has shape (T, N, D), y (T, N, H); the state is (h,), shape (N, H). Gates are in the order
    r, z, n. The equations are in `recurrent.cells.gru`.

    Parameters
    ----------
    input_size : int
        D, the size of the last axis of x.
    hidden_size : int
        H, the number of units.
    bidirectional : bool, default False
        Whether a second set of H units runs in reverse, as in `Recurrent`.
    merge : {"concat", "sum", "mul", "average"}, default "concat"
        How the outputs of both directions are merged.
    learn_state : bool, default False
        Whether the default initial state is learned rather than zeros.
    reverse : bool, default False
        Whether the layer runs from the last valid step to the first, as in `Recurrent`.
    **options : Any
        Further options, see below.

    Other Parameters
    ----------------
    reset_after : bool, default True
        Whether the reset gate multiplies W_hn h + b_hn, as in PyTorch, rather than h.
    z_keeps : bool, default True
        Whether z weights the previous state, as in PyTorch, rather than the candidate.
    layer_norm : bool, default False
        Whether pre-activations are normalised over the units. Gates then have one bias each.
    clip : float, optional
        Bound of the pre-activations to +-clip, as in ONNX.
    activations : tuple of str, default ("sigmoid", "tanh")
        Activation functions of the gates and the candidate: names in
        `recurrent.cells.ACTIVATIONS`.
    biases : {0, 1, 2}, default 2
        Number of bias vectors per gate.
    recurrent_dropout, weight_drop, zoneout
        Dropout inside the layer, as in `Recurrent`.

    Raises
    ------
    TypeError
        If an option is unknown or a value has the wrong type.
    ValueError
        If a size is below 1 or an option has a value that is not allowed.

    References
    ----------
    Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine
    translation" (2014).
    """

    make_cell = staticmethod(cells.gru_cell)


class QRNN(WithOptions):
    """Quasi-recurrent layer: gates read x only, and the recurrence is elementwise.

    x has shape (T, N, D), y (T, N, H); the state is (h, c), shape (N, H) each, and with a window of
    more than one step also the partial sums for later steps. Gates are in the order z, f, o.

    Parameters
    ----------
    input_size : int
        D, the size of the last axis of x.
    hidden_size : int
        H, the number of units.
    bidirectional : bool, default False
        Whether a second set of H units runs in reverse, as in `Recurrent`.
    merge : {"concat", "sum", "mul", "average"}, default "concat"
        How the outputs of both directions are merged.
    learn_state : bool, default False
        Whether the default initial state is learned rather than zeros.
    reverse : bool, default False
        Whether the layer runs from the last valid step to the first, as in `Recurrent`.
    **options : Any
        Further options, see below.

    Other Parameters
    ----------------
    window : int, default 1
        Number of time steps of x that a gate reads, from 1 to 9.
    recurrent_dropout, weight_drop, zoneout
        Dropout inside the layer, as in `Recurrent`.

    Raises
    ------
    TypeError
        If an option is unknown or a value has the wrong type.
    ValueError
        If a size is below 1 or an option has a value that is not allowed.

    References
    ----------
    Bradbury et al., "Quasi-recurrent neural networks" (2017).
    """

    make_cell = staticmethod(cells.qrnn_cell)
