"""Streams: layers run one time step at a time; states are kept, weights are packed once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import groupby
from typing import Any

import numpy as np

from .. import checks
from ..checks.guided import Guided
from ..engine.chain import Chain


class StreamState(tuple):
    """A copy of the state of a stream, one entry per layer, as `forward` takes it.

    Neither its entries nor their arrays can be changed: assign to `stream.state`.
    """

    def __setitem__(self, k, value):
        raise TypeError(
            "an entry of a stream's state cannot be assigned, because the state is a copy: "
            "assign all entries, stream.state = (...)"
        )


class Steps:
    """Steppers of several layers, one after the other; itself a stepper.

    Parameters
    ----------
    steppers : sequence of callable
        A function x_t -> y_t per layer, as `Layer.stepper` returns it.
    names : sequence of str
        What error messages call each layer; an empty str for a layer alone.
    """

    def __init__(self, steppers: Sequence[Callable], names: Sequence[str]):
        self._steppers, self._names = list(steppers), list(names)
        self._steps = 0  # that all layers have made since their states were set
        self._arrange()

    def _arrange(self):
        """Let steppers in a row that can be linked run in one call."""
        self._plan: list[Any] = []
        for linked, group in groupby(self._steppers, lambda step: hasattr(step, "link")):
            some = list(group)
            self._plan += [Chain(some)] if linked else some

    def _forget(self):
        for step in self._plan:
            if isinstance(step, Chain):
                step.forget()

    def step(self, x_t: np.ndarray | np.integer | int) -> np.ndarray:
        """Run one time step.

        If an error is raised or Ctrl-C is pressed, all states are those before the call.

        Parameters
        ----------
        x_t : ndarray, shape (N, D) or (D,), float32 or float64
            Input of the step, in the dtype of the weights. Ids, shape (N,) or a single one, where
            the first layer is an Embedding. N must not change before `reset`.

        Returns
        -------
        ndarray, shape (N, H) or (H,)
            Output of the last layer; that of a pooling layer is over the steps so far.

        Raises
        ------
        ValueError
            If the shape does not fit or N has changed.
        TypeError
            If the dtype does not fit.
        IndexError
            If an id is out of range.
        """
        y: Any = x_t
        try:
            for step in self._plan:
                y = step(y)
        except BaseException:
            self.rewind(self._steps)
            raise
        self._steps += 1
        return y

    __call__ = step

    def rewind(self, steps: int) -> None:
        """Return to the states after a number of steps, at most one fewer than there were.

        Parameters
        ----------
        steps : int
            How many steps count since the states were set.
        """
        for step in self._steppers:
            if hasattr(step, "rewind"):
                step.rewind(steps)
        self._steps = steps
        if steps == 0:
            self._forget()

    def reset(self, rows: Any = None) -> None:
        """Return to the initial states of the layers, such as zeros.

        Parameters
        ----------
        rows : sequence of int, or array of bool, shape (N,), optional
            The sequences of the batch that return; the others keep their states. All by default;
            then N may change.

        Raises
        ------
        ValueError
            If the stream runs a single sequence, or `rows` has another shape.
        TypeError
            If `rows` are no ints.
        IndexError
            If there is no such row.
        """
        for step in self._steppers:
            if not hasattr(step, "reset"):
                continue
            if rows is None:
                step.reset()
            else:
                step.reset(rows)
        if rows is None:
            self._steps = 0
            self._forget()

    @property
    def rows(self) -> tuple[int, ...] | None:
        """Shape of the batch, (N,), or () for one sequence; None while any fits."""
        found = (getattr(step, "rows", None) for step in self._steppers)
        return next((rows for rows in found if rows is not None), None)

    @property
    def state(self) -> Any:
        """The state per layer: None for a layer without one, and before the first step.

        It is a copy. Assigning sets all states; None stands for the initial state of a layer.
        """
        return StreamState(getattr(step, "state", None) for step in self._steppers)

    @state.setter
    def state(self, value: Any) -> None:
        self._set_state(value)

    def _set_state(self, value):
        new = self.copy()  # an error leaves this one as it is
        new.reset()
        entries = checks.per_layer(value, "state", len(self._steppers))
        for step, name, entry in zip(new._steppers, self._names, entries, strict=True):
            if entry is None:
                continue
            with checks.naming(name) if name else nullcontext():
                if not hasattr(step, "state"):
                    raise ValueError(f"state must be None, got {checks.shown(entry)}")
                step.state = entry
                if step.rows != new.rows:
                    raise ValueError(
                        "state must have the batch of the layers before, "
                        f"{new.rows}, got {step.rows}"
                    )
        self.__dict__.update(new.__dict__)

    def copy(self) -> Any:
        """Return a stream that goes on from the same states; the weights are shared.

        Returns
        -------
        Stream
            Neither stream changes the other one.
        """
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        new._steppers = [copy.deepcopy(s) if hasattr(s, "state") else s for s in self._steppers]
        new._arrange()
        return new

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name != "_plan"}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._arrange()

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()


class Stream(Steps, Guided):
    """Layers run one time step at a time; `stream()` of a layer or a model returns one.

    Outputs are bitwise equal to those of the same layers run over the whole sequence. A stream uses
    a snapshot of the weights taken when it is created; make a new one after changing them. It can
    be copied and pickled.

    Parameters
    ----------
    steppers : sequence of callable
        A function x_t -> y_t per layer, as `Layer.stepper` returns it.
    names : sequence of str
        What error messages call each layer; an empty str for a layer alone.
    state : Any, optional
        The state to start from, as `forward` returns it; the layers' initial states by default.

    Examples
    --------
    >>> from recurrent import GRU, Linear, MeanPool, Sequential
    >>> model, x = Sequential(GRU(3, 4), MeanPool(), Linear(4, 2)), np.ones((9, 5, 3), np.float32)
    >>> stream = model.stream()
    >>> for x_t in x[:7]:
    ...     y = stream.step(x_t)
    >>> bool((y == model.forward(x[:7])[0]).all())
    True

    Of a stream of 5 sequences, let the last one begin again:

    >>> stream.reset(rows=[4])
    >>> bool((stream.step(x[7])[4] == model.forward(x[7:8, 4])[0]).all())
    True

    Two ways to keep a state:

    >>> later, state = stream.copy(), stream.state
    >>> stream.state = state
    >>> bool((later.step(x[8]) == stream.step(x[8])).all())
    True
    """

    def __init__(self, steppers: Sequence[Callable], names: Sequence[str], state: Any = None):
        super().__init__(steppers, names)
        if state is not None:
            self.state = state

    def __repr__(self):
        names = ", ".join(name for name in self._names if name) or "one layer"
        batch = "any batch" if self.rows is None else f"batch {self.rows}"
        return f"<Stream of {names}: {batch}, {self._steps} steps since the state was set>"


class LayerStream(Stream):
    """The stream of one layer; its state is that of the layer, not a tuple of one entry."""

    @property
    def state(self) -> Any:
        """The state, as `forward` of the layer returns it; None without one and before a step.

        It is a copy. Assigning sets the state; None stands for the initial state of the layer.
        """
        return super().state[0]

    @state.setter
    def state(self, value: Any) -> None:
        self._set_state((value,))
