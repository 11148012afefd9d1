"""A Network run step by step: outputs become inputs of the next step."""

from __future__ import annotations

from typing import Any

from ... import checks
from .declared import zeros


class NetworkStream:
    """A network that feeds its outputs back; `Network.stream` returns one. Call it or its `step`.

    Attributes
    ----------
    carried : dict of str to str
        By the name of an output, the input that it becomes.
    """

    def __init__(self, network: Any, carried: dict[str, str], initial: dict[str, Any]):
        self._network, self.carried = network, carried
        for output, name in carried.items():
            checks.choice(output, "an output of carried", network.outputs)
            checks.choice(name, "an input of carried", network.inputs)
        names = list(carried.values())
        if len(set(names)) < len(names):
            raise ValueError(f"carried must name each input once, got {', '.join(names)}")
        for name in initial:
            checks.choice(name, "an initial value", network.inputs)
        own = network._declared
        self._values = {name: own[name].checked(a, name).copy() for name, a in initial.items()}
        self._initial = dict(self._values)
        self._asked = [n for n in network.inputs if n not in names and n not in initial]
        self._results = [n for n in network.outputs if n not in carried]

    def __call__(self, x: Any = None) -> Any:
        """Compute the outputs of the next step.

        Parameters
        ----------
        x : ndarray of any shape or dict of str to ndarray, optional
            The inputs that are neither carried nor given beforehand; several are a dict by name.

        Returns
        -------
        ndarray or dict of str to ndarray
            The outputs that are not carried; several are a dict by name.
        """
        own = self._network._declared
        given = x if isinstance(x, dict) else {} if x is None else dict.fromkeys(self._asked[:1], x)
        if not set(self._asked) & self._network._needed <= given.keys() <= set(self._asked):
            raise ValueError(
                f"x must be the inputs {', '.join(self._asked) or 'none'}, which are neither "
                f"carried nor given, got {', '.join(map(str, given)) or 'none'}"
            )
        for name in self.carried.values():
            if name not in self._values:
                self._values[name] = zeros(own, name, given)
        found = self._network({**self._values, **given})
        found = found if isinstance(found, dict) else {self._network.outputs[0]: found}
        self._values |= {name: found[output] for output, name in self.carried.items()}
        if len(self._results) == 1:
            return found[self._results[0]]
        return {name: found[name] for name in self._results}

    step = __call__

    @property
    def state(self) -> dict[str, Any]:
        """The values of the carried inputs at the next call, by name; a copy."""
        names = self.carried.values()
        return {n: self._values[n].copy() for n in names if n in self._values}

    def copy(self) -> NetworkStream:
        """Return a stream that goes on from here on its own.

        Returns
        -------
        NetworkStream
            It shares the network.
        """
        other = NetworkStream(self._network, dict(self.carried), self._initial)
        other._values = {name: a.copy() for name, a in self._values.items()}
        return other

    __copy__ = copy

    def __deepcopy__(self, memo):
        return self.copy()

    def reset(self) -> None:
        """Begin again from the initial values."""
        self._values = dict(self._initial)

    def __repr__(self):
        carried = ", ".join(f"{a} -> {b}" for a, b in self.carried.items()) or "nothing"
        return f"<stream of {self._network!r}, which carries {carried}>"
