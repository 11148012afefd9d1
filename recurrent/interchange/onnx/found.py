"""Collects the layers, data and constants found while the nodes of ONNX are read."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from ...layers import Concat, Last, Layer
from ...layers.recurrent import Recurrent
from . import shapes
from .axes import Data, NotLayers, State

LONGEST = 100  # characters of a name
MOST_LAYERS = 1000  # models of more would be slow to put together
MOST_INPUTS = 100


def _place(name: str, kind: str) -> str:
    """Return the name of a node without its operator: "/encoder/lstm/LSTM_1" is "encoder/lstm"."""
    parts = [one for one in name[:LONGEST].split("/") if one]
    if len(parts) > 1 and kind in (parts[-1], parts[-1].rpartition("_")[0]):
        parts.pop()
    return "/".join(parts)


class Found:
    """The layers, data and constants of a model, and what nodes ask for.

    Attributes
    ----------
    data : dict of str to Data
        The arrays that depend on the inputs.
    values : dict of str to Value
        The other ones.
    layers : dict of str to (Layer, tuple of str)
        The layers by name, and what each reads.
    lasts : dict of str to str
        The layers that take the final state of a recurrent one, by its name.
    readers : Counter
        How many nodes and outputs read each array.
    whole : list of str
        Nodes that read the padding, if there is any.
    fixed : dict of str to set of int
        Lengths of "a" and "b" that a Reshape names.
    time : str, optional
        The label of the axis of time, "a" or "b".
    given_lengths : set of str
        The inputs that are the lengths of recurrent nodes; "" for none.
    """

    def __init__(self, values: dict[str, shapes.Value], inputs: set[str], opset: int):
        self.values, self.inputs, self.opset = values, inputs, opset
        self.data: dict[str, Data] = {}
        self.layers: dict[str, tuple[Layer, tuple[str, ...]]] = {}
        self.lasts: dict[str, str] = {}
        self.readers: Counter[str] = Counter()
        self.whole: list[str] = []
        self.fixed: dict[str, set[int]] = {}
        self.time: str | None = None
        self.given_lengths: set[str] = set()

    def put(self, name: str, kind: str, layer: Layer, *read: str) -> str:
        """Add the layer of a node of a kind under a name of its own; return the name."""
        if len(self.layers) == MOST_LAYERS:
            raise NotLayers(f"the model has more than {MOST_LAYERS:,} layers")
        base = _place(name, kind) or type(layer).__name__.lower()
        found, k = base, 2
        while found in self.layers or found in self.inputs:
            found, k = f"{base}_{k}", k + 1
        self.layers[found] = layer, read
        return found

    def steps(self, label: str) -> None:
        """Note which axis is time."""
        if label not in ("a", "b") or self.time not in (None, label):
            raise NotLayers("time is one axis for one layer and another for the next")
        self.time = label

    def note_lengths(self, name: str, data: Data) -> None:
        """Note whether a recurrent node has lengths: those of the model."""
        value = self.values.get(name) if name else None
        if name and (not isinstance(value, shapes.Lengths) or value.order != data.order):
            raise NotLayers("it has lengths of its own")
        self.given_lengths.add(value.name if isinstance(value, shapes.Lengths) else "")

    def sorted(self, data: Data, label: str, order: shapes.Order) -> Data:
        """Return data whose sequences are put into the order of their lengths, or back."""
        if label not in ("a", "b") or data.order != (order.name if order.back else ""):
            raise NotLayers("it takes several places of an axis")
        self.steps("a" if label == "b" else "b")
        return replace(data, order="" if order.back else order.name)

    def ways(self, place: str) -> set[bool]:
        """Return the directions of the recurrent layers below a value: True is reverse."""
        left, seen, found = [place], set(), set()
        while left:
            name = left.pop()
            layer, read = self.layers.get(name, (None, ()))
            if name in seen:
                continue
            seen.add(name)
            if isinstance(layer, Recurrent):
                found.update((False, True) if layer.bidirectional else (layer.reverse,))
            else:
                left += read
        return found

    def features(self, data: Data) -> Data:
        """Return data as features: final states as what Last layers take."""
        if not data.states:
            if data.step is not None:
                raise NotLayers("at the last step the reverse direction has read a single step")
            if data.normal is not None:
                raise NotLayers("it reads a part of a normalisation")
            if data.half is not None:
                raise NotLayers("it reads one direction of a layer")
            if "H" in data.axes:
                raise NotLayers("it reads the directions of a layer apart")
            return data
        data = data.single()
        if "S" in data.axes:
            raise NotLayers("it reads the states of several layers at once")
        places, left = [], list(data.states)
        while left:
            one = left.pop(0)
            layer: Any = self.layers[one.node][0]
            if one.number:
                raise NotLayers("it reads c, the state of the cells")
            if layer.bidirectional:
                if one.direction or not left or left.pop(0) != State(one.node, 1, 0):
                    raise NotLayers("it reads the final state of one direction")
                if layer.merge != "concat":
                    raise NotLayers("the directions are merged, and read apart, too")
            if one.node not in self.lasts:
                way = {"bidirectional": True} if layer.bidirectional else {}
                last = Last(**way, **({"reverse": True} if layer.reverse else {}))
                self.lasts[one.node] = self.put(f"{one.node}.last", "", last, one.node)
            places.append(self.lasts[one.node])
        place = places[0] if len(places) == 1 else self.put("states", "", Concat(), *places)
        axes = tuple("F" if one == "H" else one for one in data.axes)
        width = data.sizes["H"] * len(data.states)
        return Data(place, axes, {"F": width}, order=data.order)
