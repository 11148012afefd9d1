"""What all models have: layers, parameters in one flat vector, a run and its recording."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks, initialisers
from ..engine import buffers, ragged
from ..layers.base import Gradients, Layer
from ..layers.parameters import ParameterViews
from ..layers.recording import Keep, Recording


class Model:
    """What models have in common: layers, parameters in one flat vector, a run and its recording.

    A subclass has `layers`, `parameters` (views into `flat` by name) and `backward`, and says how layers are run.
    """

    layers: list[Layer]
    parameters: ParameterViews
    _flat: np.ndarray
    _generator: np.random.Generator

    def __len__(self):
        return len(self.layers)

    def __getitem__(self, k: int) -> Layer:
        return self.layers[k]

    @property
    def parts(self) -> dict[str, Model]:
        """The stacks of layers that the model is made of, by name; "" for a model that is one stack."""
        return {"": self}

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.flat.size

    @property
    def flat(self) -> np.ndarray:
        """All parameters, (P,); what is assigned is copied into it. Raises ValueError or TypeError where that does not fit."""
        return self._flat

    @flat.setter
    def flat(self, values: np.ndarray) -> None:
        if values is not self._flat:  # as after `model.flat -= step`
            values = checks.array(values, "flat")
            checks.same_dtype(values, "flat", self._flat.dtype, "the model")
            checks.shape(values, "flat", self._flat.shape, "(P,)")
            self._flat[:] = values

    def __getstate__(self):
        return {
            name: value for name, value in self.__dict__.items() if name != "parameters"
        }  # views are made anew

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._bind_parameters(self._flat)

    def _bind_parameters(self, flat: np.ndarray) -> None:
        """Have all parameters in this vector, which holds their values, and the layers use them."""
        raise NotImplementedError

    @property
    def generator(self) -> np.random.Generator:
        """What dropout draws from."""
        return self._generator

    @generator.setter
    def generator(self, rng: np.random.Generator) -> None:
        self._generator = rng
        for layer in self.layers:
            layer.generator = rng

    def where(self, k: int) -> str:
        """How messages name a layer."""
        return f"layer {k} ({type(self.layers[k]).__name__})"

    def initialise(self, rng: Any = 0, init: str | initialisers.Initialiser = "pytorch") -> Model:
        """Draw all parameters anew, layer by layer from one seed or numpy Generator; returns the model."""
        rng = checks.generator(rng)
        for layer in self.layers:
            layer.initialise(rng, init=init)
        return self

    def has_steps(self, k: int) -> bool:
        """Whether what layer k puts out still has steps."""
        return all(layer.returns_sequence for layer in self.layers[: k + 1])

    def output_lengths(self, lengths: Any) -> Any:
        """The lengths of what the model puts out, as losses take them; None where it has no steps."""
        raise NotImplementedError

    def backward(
        self,
        dy: Any,
        tape: tuple,
        dstate: Any = None,
        out: np.ndarray | None = None,
        recording: Recording | None = None,
    ) -> Gradients:
        """Gradients of the loss from dy = dL/dy and the tape of a recorded forward pass."""
        raise NotImplementedError

    def prepare_input(self, x, lengths) -> tuple[Any, Any, bool]:
        """x and lengths as arrays, and whether what is put out was given as a list of sequences."""
        raise NotImplementedError

    def run_layers(self, x, state, lengths, record, training) -> tuple[list, tuple, tuple]:
        """x and the output of every layer; the new state; the tape of every layer."""
        raise NotImplementedError

    def forward(
        self,
        x: Any,
        state: Any = None,
        lengths: Any = None,
        record: bool = False,
        training: bool | None = None,
    ) -> tuple[np.ndarray, tuple, tuple | None]:
        """Run all layers. Returns y, the state and the tape; `record` keeps what `backward` needs.

        Dropout acts where `training`, by default if `record`. Raises TypeError, ValueError or IndexError that name the layer.
        """
        x, lengths, listed = self.prepare_input(x, lengths)
        outputs, new, tapes = self.run_layers(x, state, lengths, record, training)
        found = self.output_lengths(lengths)
        y = (
            ragged.unpad_sequences(outputs[-1], found)
            if listed and found is not None
            else outputs[-1]
        )
        return y, new, tapes if record else None

    def record(
        self, x: Any, targets: Any = None, loss: Any = None, lengths: Any = None, keep: Any = None
    ) -> Recording:
        """Run without dropout and keep every layer's output, gates, states and pre-activations; with `targets` and `loss`
        their gradients too.

        x and targets as `forward` takes them; what is kept has blanks where x was a list.
        `loss(y, targets, lengths=lengths)` returns the value and dL/dy. `keep`, a dict of `names`, `steps`, `units`, `layers`,
        says which part of it is to stay, as `recording.Keep` has it: of a long run what is of interest, and no more memory
        than that once it is over. Raises ValueError for targets without loss, or the reverse, and for what is not in `Keep`.

        >>> from recurrent import LSTM, Sequential
        >>> recording = Sequential(LSTM(2, 9)).record(np.zeros((500, 1, 2), np.float32), keep=dict(names=["c"], units=[3]))
        >>> {name: a.shape for name, a in recording.layers[0].states.items()}
        {'c': (500, 1, 1)}
        """
        keep = Keep.of(keep)
        if (targets is None) != (loss is None):
            raise ValueError("record needs both targets and loss, or neither")
        if loss is not None:
            checks.function(loss, "loss", "losses.softmax_cross_entropy")
        x, lengths, listed = self.prepare_input(x, lengths)
        outputs, _, tape = self.run_layers(x, None, lengths, record=True, training=False)
        y = outputs[-1]
        layers = [
            layer.recorded(np.asarray(a), t)
            for layer, a, t in zip(self.layers, outputs[1:], tape, strict=True)
        ]
        recording = Recording(outputs[0], y, layers, lengths)
        if loss is not None:
            recording.targets = (
                ragged.pad_sequences(targets, None, "targets")[0] if listed else targets
            )
            recording.loss, dy = loss(y, recording.targets, lengths=self.output_lengths(lengths))
            recording.gradients = self.backward(dy, tape, recording=recording)
            for layer, mine in zip(layers, tape, strict=True):
                layer.finish(mine)
        if keep is None:
            return recording
        buffers.release()  # its tapes, when they go: a long run leaves what is kept of it, and no more
        return recording.keep_only(keep, [self.has_steps(k) for k in range(len(self))])
