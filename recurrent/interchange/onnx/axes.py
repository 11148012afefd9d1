"""Arrays of data with labels on their axes, and the nodes that turn, join and leave out axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from .shapes import Size

FAR = 2**31 - 1  # the end of a slice that goes to the end of an axis


class NotLayers(Exception):
    """The nodes are no known layers; the message says which one is not."""


class State(NamedTuple):
    """The final state of one direction of a recurrent node."""

    node: str  # the name of the layer
    direction: int
    number: int  # 0 for h, 1 for c


@dataclass(frozen=True)
class Data:
    """What is known of an array that depends on the inputs.

    Attributes
    ----------
    place : str
        The name of the input, or of the layer, whose value it is; "" for final states.
    axes : tuple of str
        The labels of its axes: "a" and "b", the first two of an input, one of which is time; "F",
        features; "D" and "H", directions and their units before they are merged; "S", stacked
        states; "1", an axis of length 1.
    sizes : dict of str to int
        The sizes of those axes that are known.
    states : tuple of State
        The final states that it holds: along "S", or side by side along "H" if there is no "S".
    sole : bool
        Whether nothing else reads the layer, so that it may take in what follows: a bias.
    order : str
        The name of the order that the sequences have; "" for that of the input.
    """

    place: str
    axes: tuple[str, ...]
    sizes: dict[str, int] = field(default_factory=dict)
    states: tuple[State, ...] = ()
    sole: bool = False
    order: str = ""

    def size(self, label: str) -> Size:
        """Return the size of an axis, or its label if that is not known."""
        if label == "S":
            return len(self.states)
        return 1 if label == "1" else self.sizes.get(label, label)

    def axis(self, k: int) -> int:
        """Return the number of an axis that may be counted from the end."""
        if not -len(self.axes) <= k < len(self.axes):
            raise NotLayers(f"it has no axis {k}")
        return k % len(self.axes)

    def turned(self, perm: Sequence[int]) -> Data:
        """Return it with its axes in another order."""
        if sorted(perm) != list(range(len(self.axes))):
            raise NotLayers("it turns axes that are not there")
        return replace(self, axes=tuple(self.axes[k] for k in perm))

    def without(self, gone: Sequence[int]) -> Data:
        """Return it without some axes of length 1."""
        for k in gone:
            if self.size(self.axes[k]) != 1 or self.axes[k] in ("F", "H"):
                raise NotLayers(f"axis {k} cannot be left out")
        return self._merged([one for k, one in enumerate(self.axes) if k not in gone])

    def widened(self, places: Sequence[int]) -> Data:
        """Return it with new axes of length 1 at these places."""
        rank, axes = len(self.axes) + len(places), list(self.axes)
        for k in sorted(k % rank for k in places):
            axes.insert(k, "1")
        if self.states and "S" not in axes and len(self.states) == 1 and axes.count("1") == 1:
            axes[axes.index("1")] = "S"
        return replace(self, axes=tuple(axes))

    def _merged(self, axes: Sequence[str]) -> Data:
        """Return it with the units of all directions as features, unless they are apart."""
        if "D" in axes or self.states or "H" not in axes:
            return replace(self, axes=tuple(axes))
        sizes = {**self.sizes, "F": self.sizes["H"] * self.sizes["D"]}
        return replace(self, axes=tuple("F" if a == "H" else a for a in axes), sizes=sizes)

    def reshaped(self, target: list[Size], fixed: dict[str, int]) -> Data:
        """Return it with the sizes of a Reshape, which joins directions and units, or states.

        Lengths of "a" and "b" that the target gives as numbers are noted in `fixed`.
        """
        if target.count(-1) > 1:
            raise NotLayers("a Reshape leaves two sizes open")
        axes, width = list(self.axes), None
        pair = tuple(axes[-2:])
        if pair in (("D", "H"), ("S", "H")) and len(target) < len(axes):
            each = self.sizes["H"]
            count = self.sizes["D"] if pair[0] == "D" else len(self.states)
            axes[-2:], width = ["H"], each * count
        kept: list[str] = []
        for k, n in enumerate(target):
            while axes and len(axes) > len(target) - k and self.size(axes[0]) == 1:
                axes.pop(0)  # it leaves out an axis of length 1
            if n == 1 and len(axes) < len(target) - k:
                kept.append("1")
                continue
            if not axes:
                raise NotLayers("a Reshape changes more than the directions")
            one = axes.pop(0)
            size = width if one == "H" and width is not None else self.size(one)
            if not (n in (-1, one, size) or (n == 0 and self.axes[k : k + 1] == (one,))):
                if one not in ("a", "b") or not isinstance(n, int):
                    raise NotLayers("a Reshape changes more than the directions")
                fixed[one] = n
            kept.append(one)
        if any(self.size(one) != 1 for one in axes):
            raise NotLayers("a Reshape changes more than the directions")
        return self._merged(kept)


def joined_states(given: Sequence[Data], axis: int) -> Data | None:
    """Return final states of several nodes, stacked or side by side; None if they are no states."""
    first = given[0]
    if not all(one.states and one.axes == first.axes for one in given):
        return None
    if len({(one.order, one.sizes["H"]) for one in given}) > 1:
        return None
    if first.axes[axis] != ("S" if "S" in first.axes else "H"):
        return None
    return replace(first, states=tuple(s for one in given for s in one.states))


def chosen_states(data: Data, axis: int, places: slice | int) -> Data:
    """Return some of stacked states; a number leaves out their axis."""
    if isinstance(places, slice):
        left = data.states[places]
        if not left:
            raise NotLayers("it takes no state")
        return replace(data, states=left)
    if not -len(data.states) <= places < len(data.states):
        raise NotLayers(f"it takes state {places} of {len(data.states)}")
    axes = tuple(one for k, one in enumerate(data.axes) if k != axis)
    return replace(data, states=(data.states[places],), axes=axes)


def place_of(index: Any) -> int | None:
    """Return the place that the indices of a Gather name; None if they are not one number."""
    return int(index) if getattr(index, "ndim", None) == 0 else None
