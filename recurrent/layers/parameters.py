"""Arrays by name that lie one after the other in a flat vector."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .. import checks


class ParameterViews(dict):
    """A dict of arrays that have their place in memory: what is assigned to a name is copied into its array.

    So `model.parameters["0.bias_ih_l0"] = a` and `model.parameters.update(arrays)` change the model, a PyTorch module's
    `state_dict()` included. No name comes or goes.

    >>> flat = np.zeros(3, np.float32)
    >>> arrays = parameter_views(flat, {"w": (1, 2), "b": (1,)})
    >>> arrays["w"] = np.ones((1, 2), np.float32)
    >>> flat
    array([1., 1., 0.], dtype=float32)
    """

    def __setitem__(self, name: str, value: Any) -> None:
        """Raises KeyError for a name that is not there, ValueError for another shape, TypeError for another dtype."""
        a, value = self[name], checks.array(value, name)
        checks.same_dtype(value, name, a.dtype, f"the model's {name}")
        checks.shape(value, name, a.shape, f"the shape of the model's {name}")
        a[:] = value

    def __missing__(self, name):
        raise KeyError(f"{name!r} is none of {', '.join(self)}")

    def update(self, other: Mapping | Iterable = (), **named: Any) -> None:
        """Copy each array given into that of its name; errors are those of assigning it."""
        for name, value in dict(other, **named).items():
            self[name] = value

    def __ior__(self, other):
        self.update(other)
        return self

    def _fixed(self, *_: Any) -> Any:
        raise TypeError("parameters can be changed, but none added or removed")

    __delitem__ = setdefault = pop = popitem = clear = _fixed

    def __reduce__(self):
        return _restored, (dict(self),)


def _restored(arrays: dict[str, np.ndarray]) -> ParameterViews:
    return ParameterViews(arrays)


def parameter_views(flat: np.ndarray, shapes: dict[str, tuple[int, ...]]) -> ParameterViews:
    """Arrays by name that lie one after the other in a flat vector."""
    out, start = {}, 0
    for name, shape in shapes.items():
        stop = start + math.prod(shape)
        out[name] = flat[start:stop].reshape(shape)
        start = stop
    return ParameterViews(out)
