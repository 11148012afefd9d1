"""Streams of models whose layers are not a chain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..engine.chain import Chain
from ..layers.stream import Stream
from .wiring import Wiring


class GraphStream(Stream):
    """The layers of a graph run one time step at a time.

    With several inputs x_t is a dict by name, with several outputs y_t is one.

    Parameters
    ----------
    steppers : sequence of callable
        A function x_t -> y_t per layer, as `Layer.stepper` returns it.
    names : sequence of str
        What error messages call each layer.
    wiring : Wiring
        Which values the layers read.
    state : tuple, optional
        The state to start from, as `forward` returns it; the layers' initial states by default.
    """

    def __init__(
        self, steppers: Sequence[Callable], names: Sequence[str], wiring: Wiring, state: Any = None
    ):
        self._wiring = wiring
        super().__init__(steppers, names, state)

    def _arrange(self):
        """Let steppers in a row that can be linked run in one call, if nobody else reads them."""
        self._plan: list[Any] = []
        self._calls: list[Any] = []  # of each entry of the plan: the values it reads and computes
        for run in self._wiring.runs():
            start = run.start
            while start < run.stop:
                stop = start
                while stop < run.stop and hasattr(self._steppers[stop], "link"):
                    stop += 1
                linked = self._steppers[start:stop]
                self._plan.append(Chain(linked) if linked else self._steppers[start])
                stop = max(stop, start + 1)
                read = self._wiring.reads[start]
                reads = read[0] if len(read) == 1 else read
                self._calls.append((self._plan[-1], reads, self._wiring.value(stop - 1)))
                start = stop

    def step(self, x_t: Any) -> Any:
        """Run one time step.

        If an error is raised or Ctrl-C is pressed, all states are those before the call.

        Parameters
        ----------
        x_t : ndarray, shape (N, D) or (D,), or dict of them
            Input of the step, in the dtype of the weights, or ids; by name if there are several
            inputs. N must not change before `reset`.

        Returns
        -------
        ndarray, shape (N, H) or (H,), or dict of them
            Output of the step; by name if there are several outputs.

        Raises
        ------
        ValueError
            If the shape does not fit or N has changed.
        TypeError
            If the dtype does not fit.
        IndexError
            If an id is out of range.
        """
        wiring, values = self._wiring, {}
        if wiring.several is None:
            values[0] = x_t
        else:
            values = dict(enumerate(wiring.named(x_t, "x_t").values()))
        try:
            for step, reads, v in self._calls:
                joins = type(reads) is tuple
                values[v] = step(tuple(values[r] for r in reads) if joins else values[reads])
        except BaseException:
            self.rewind(self._steps)
            raise
        self._steps += 1
        found = {name: values[v] for name, v in wiring.outputs.items()}
        return found if wiring.results else next(iter(found.values()))

    __call__ = step

    def __getstate__(self):
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_calls"}
