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


@dataclass(frozen=True, eq=False)
class Normal:
    """A part of a LayerNorm that is several nodes: what is computed so far."""

    stage: str
    eps: float = 0.0
    weight: Any = None


@dataclass(frozen=True)
class Data:
    """Holds what is known of an array that depends on the inputs.

    Attributes
    ----------
    place : str
        The name of the input, or of the layer, whose value it is; "" for final states.
    axes : tuple of str
        The labels of its axes: "a" and "b", the first two of an input, one of which is time; "F",
        features; "D" and "H", directions and their units before they are merged; "S", stacked
        states; "G", groups of them; "1", an axis of length 1.
    sizes : dict of str to int
        The sizes of those axes that are known.
    states : tuple of State
        The final states that it holds: along "S", or side by side along "H" if there is no "S".
    sole : bool
        Whether nothing else reads the layer, so that it may take in what follows: a bias.
    order : str
        The name of the order that the sequences have; "" for that of the input.
    half : int, optional
        The direction whose units it has, of a bidirectional layer, which `place` is.
    step : int, optional
        0 or -1, the step that it has, of such a layer: the axis of time is left out or "1".
    normal : Normal, optional
        What part of a LayerNorm of the layer it is.
    """

    place: str
    axes: tuple[str, ...]
    sizes: dict[str, int] = field(default_factory=dict)
    states: tuple[State, ...] = ()
    sole: bool = False
    order: str = ""
    half: int | None = None
    step: int | None = None
    normal: Normal | None = None

    def size(self, label: str) -> Size:
        """Return the size of an axis, or its label if that is not known."""
        if label == "S":
            return len(self.states)
        return 1 if label == "1" else self.sizes.get(label, label)

    @property
    def is_whole(self) -> bool:
        """True if it has all that a layer computes, with whatever axes."""
        apart = (self.half, self.step, self.normal) != (None, None, None)
        return not self.states and not apart

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
            if not self._is_one(self.axes[k]):
                raise NotLayers(f"axis {k} cannot be left out")
        return self._merged([one for k, one in enumerate(self.axes) if k not in gone])

    def _is_one(self, label: str) -> bool:
        """Return whether an axis is of length 1 whatever the layers are."""
        return self.size(label) == 1 and label not in ("F", "H", "a", "b")

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

    def reshaped(self, target: list[Size], fixed: dict[str, set[int]]) -> Data:
        """Return it with the sizes of a Reshape, which joins directions and units, or states.

        Lengths of "a" and "b" that the target gives as numbers are noted in `fixed`.
        """
        if target.count(-1) > 1:
            raise NotLayers("a Reshape leaves two sizes open")
        axes, width, pair = list(self.axes), None, self.axes[-2:]
        if pair in (("D", "H"), ("S", "H")) and len(target) < len(axes):
            axes[-2:], width = ["H"], self.sizes["H"] * int(self.size(pair[0]))
        elif axes[0] == "S" and len(target) > len(axes):
            return self._grouped(target)
        kept: list[str] = []
        for k, n in enumerate(target):
            while axes and len(axes) > len(target) - k and self._is_one(axes[0]):
                axes.pop(0)
            if n == 1 and len(axes) < len(target) - k:
                kept.append("1")
                continue
            if not axes:
                raise NotLayers("a Reshape changes more than the directions")
            one = axes.pop(0)
            size = width if one == "H" and width is not None else self.size(one)
            if not (n in (-1, one, size) or (n == 0 and self.axes[k : k + 1] == (one,))):
                if one not in ("a", "b") or not isinstance(n, int) or n < 1:
                    raise NotLayers("a Reshape changes more than the directions")
                fixed.setdefault(one, set()).add(n)
            kept.append(one)
        if not all(map(self._is_one, axes)):
            raise NotLayers("a Reshape changes more than the directions")
        return self._merged(kept)

    def _grouped(self, target: list[Size]) -> Data:
        """Return stacked states in groups, such as those of each layer."""
        count, (groups, each) = len(self.states), target[:2]
        if groups == -1 and isinstance(each, int):
            groups = count // max(each, 1)
        same = [self.size(one) for one in self.axes[1:]]
        fits = isinstance(groups, int) and groups > 0 and each in (-1, count // groups)
        known = all(n in (-1, one) for n, one in zip(target[2:], same, strict=False))
        if not fits or count % int(groups) or len(target) != len(same) + 2 or not known:
            raise NotLayers("a Reshape changes more than the directions")
        return replace(self, axes=("G", *self.axes), sizes={**self.sizes, "G": int(groups)})

    def single(self) -> Data:
        """Return a stack of one state as that state with an axis of length 1."""
        if len(self.states) != 1:
            return self
        return replace(self, axes=tuple("1" if one == "S" else one for one in self.axes))

    def of_direction(self) -> Data:
        """Return the last step that one direction of a layer has read as its final state."""
        if (self.half, self.step) not in ((0, -1), (1, 0)):
            return self
        states = (State(self.place, self.half or 0, 0),)
        axes = tuple("H" if one == "F" else one for one in self.axes)
        return Data("", axes, {"H": self.sizes["F"]}, states, order=self.order)


def joined_states(given: Sequence[Data], axis: int) -> Data | None:
    """Return final states of several nodes, stacked or side by side; None if they are no states."""
    if given[0].axes[axis] == "H":
        given = [one.single() for one in given]
    first = given[0]
    if "G" in first.axes or not all(one.states and one.axes == first.axes for one in given):
        return None
    if len({(one.order, one.sizes["H"]) for one in given}) > 1:
        return None
    if first.axes[axis] != ("S" if "S" in first.axes else "H"):
        return None
    return replace(first, states=tuple(s for one in given for s in one.states))


def chosen_states(data: Data, axis: int, places: slice | int) -> Data:
    """Return some of stacked states; a number leaves out their axis."""
    count = len(data.states) // data.sizes["G"] if data.axes[axis] == "G" else 1
    if isinstance(places, slice):
        if count > 1 or "G" in data.axes or not data.states[places]:
            raise NotLayers("it takes no state, or several groups of them")
        return replace(data, states=data.states[places])
    if data.axes[axis] == "S" and "G" in data.axes:
        raise NotLayers("it takes a state of each group")
    groups = [data.states[k : k + count] for k in range(0, len(data.states), count)]
    if not -len(groups) <= places < len(groups):
        raise NotLayers(f"it takes state {places} of {len(groups)}")
    axes = tuple(one for k, one in enumerate(data.axes) if k != axis)
    return replace(data, states=groups[places], axes=axes)


def place_of(index: Any) -> int | None:
    """Return the place that the indices of a Gather name; None if they are not one number."""
    return int(index) if getattr(index, "ndim", None) == 0 else None
