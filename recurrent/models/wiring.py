"""Says which values the layers of a model read: its topology as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from .. import checks


class Wiring:
    """Says which values the layers of a model read.

    The values are the inputs, then the output of each layer, in the order in which layers run.

    Parameters
    ----------
    inputs : sequence of str
        Names of the inputs.
    reads : sequence of tuple of int
        For each layer the numbers of the values that it reads.
    outputs : mapping of str to int
        Names of the outputs, and the numbers of their values.

    Attributes
    ----------
    sources : list of int or tuple of int
        What each layer reads, as indices from the end of the list of values so far; a tuple where
        it reads several.
    several : tuple of str or None
        Names of the inputs if there are several: x is then a dict.
    results : dict of str to int or None
        The outputs if there are several: y is then a dict.
    readers : list of list of int
        For each value the layers that read it.
    is_chain : bool
        Whether each layer reads the one before, and the last one is the output.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        reads: Sequence[tuple[int, ...]],
        outputs: Mapping[str, int],
    ):
        self.inputs, self.reads, self.outputs = tuple(inputs), list(reads), dict(outputs)
        n = len(self.inputs)
        self.sources: list[Any] = []
        self.readers: list[list[int]] = [[] for _ in range(n + len(self.reads))]
        for k, read in enumerate(self.reads):
            back = tuple(v - n - k for v in read)
            self.sources.append(back[0] if len(back) == 1 else back)
            for v in dict.fromkeys(read):
                self.readers[v].append(k)
        self.several = self.inputs if n > 1 else None
        self.results = self.outputs if len(self.outputs) > 1 else None
        chain = all(read == (k,) for k, read in enumerate(self.reads))
        self.is_chain = chain and n == len(self.outputs) == 1

    @classmethod
    def chain(cls, layers: int) -> Wiring:
        """Return the wiring of layers that are applied one after the other."""
        return cls(("x",), [(k,) for k in range(layers)], {"y": layers})

    def value(self, k: int) -> int:
        """Return the number of the value that layer k computes."""
        return len(self.inputs) + k

    def lookups(self, layers: Sequence[Any]) -> list[bool]:
        """Return whether each layer passes a Lookup to the only layer that reads it."""
        found = []
        for k, layer in enumerate(layers):
            readers, is_output = self.readers[self.value(k)], self.value(k) in self.outputs.values()
            passes = layer.gives_lookup and len(readers) == 1 and not is_output
            found.append(passes and layers[readers[0]].takes_lookup)
        return found

    def steps(self, layers: Sequence[Any]) -> list[bool]:
        """Return whether each value has an axis of time."""
        found = [True] * len(self.inputs)
        for layer, read in zip(layers, self.reads, strict=True):
            found.append(layer.returns_sequence and found[read[0]])
        return found

    def clocks(self, steps: Sequence[bool], layers: Sequence[Any]) -> list[int]:
        """Return for each input the first of those that have its time steps.

        Inputs have the same steps if a join reads both, or what layers make of them that keep the
        steps.
        """
        first = list(range(len(self.inputs)))  # a value of the same steps, or itself
        origin = list(first)

        def find(i):
            while first[i] != i:
                i = first[i]
            return i

        for layer, read in zip(layers, self.reads, strict=True):
            for a, b in pairwise(read):
                if steps[a]:
                    i, j = sorted((find(origin[a]), find(origin[b])))
                    first[j] = i
            if not layer.keeps_steps:
                first.append(len(first))
            origin.append(origin[read[0]] if layer.keeps_steps else len(first) - 1)
        return [find(v) for v in range(len(self.inputs))]

    def origins(self) -> list[int]:
        """Return for each value the input that the first of what it is made of goes back to."""
        found = list(range(len(self.inputs)))
        for read in self.reads:
            found.append(found[read[0]])
        return found

    def runs(self) -> list[range]:
        """Return the layers in rows in which each one alone reads the one before."""
        found: list[range] = []
        for k, read in enumerate(self.reads):
            before = self.value(k - 1)
            alone = k and read == (before,) and self.readers[before] == [k]
            if alone and before not in self.outputs.values():
                found[-1] = range(found[-1].start, k + 1)
            else:
                found.append(range(k, k + 1))
        return found

    def named(self, x: Any, name: str = "x") -> dict[str, Any]:
        """Return what belongs to each of several inputs, in their order; raise an error else."""
        return by_name(x, name, self.inputs, "input")


def by_name(value: Any, name: str, names: Sequence[str], kind: str) -> dict[str, Any]:
    """Return the entries of a dict in the order of names; raise an error unless it has them all."""
    wanted = ", ".join(names)
    checks.instance(value, dict, name, f"a dict of the {kind}s {wanted}")
    for key in value:
        if key not in names:
            guess = checks.guess(key, names)
            raise ValueError(
                f"{name} must have the {kind}s {wanted}, got {checks.shown(key)}{guess}"
            )
    for key in names:
        if key not in value:
            raise ValueError(f"{name} must have the {kind}s {wanted}; {key} is missing")
    return {key: value[key] for key in names}
