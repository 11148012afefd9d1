"""Parameters by name, as views into one flat vector."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from .. import checks


class ParameterViews(dict):
    """A dict of arrays in fixed memory: assigning to a name copies the value into its array.

    So `model.parameters["0.bias_ih_l0"] = a` and `model.parameters.update(arrays)` change the
    model; `arrays` may be the `state_dict()` of a PyTorch module. Names cannot be added or removed.

    Examples
    --------
    >>> flat = np.zeros(3, np.float32)
    >>> arrays = parameter_views(flat, {"w": (1, 2), "b": (1,)})
    >>> arrays["w"] = np.ones((1, 2), np.float32)
    >>> flat
    array([1., 1., 0.], dtype=float32)
    """

    def __setitem__(self, name: str, value: Any) -> None:
        """Copy `value` into the array.

        Raises KeyError for an unknown name, ValueError for another shape, TypeError for another
        dtype.
        """
        value = self._fitting(name, value)
        self[name][:] = value

    def _fitting(self, name, value) -> np.ndarray:
        a = self[name] if isinstance(name, str) else self.__missing__(name)
        value = checks.array(value, name)
        checks.same_dtype(value, name, a.dtype, f"the model's {name}")
        checks.shape(value, name, a.shape, f"the shape of the model's {name}")
        return value

    def __missing__(self, name):
        raise unknown_parameter(name, self)

    def update(self, other: Mapping | Iterable = (), **named: Any) -> None:
        """Copy each value into the array of its name; raises the errors of an assignment.

        If one value does not fit, none is copied.
        """
        try:
            values = dict(other, **named)
        except (TypeError, ValueError):
            raise TypeError(
                f"other must be a dict of arrays by name, got {type(other).__name__}"
            ) from None
        fitting = {name: self._fitting(name, value) for name, value in values.items()}
        for name, value in fitting.items():
            self[name][:] = value

    def __ior__(self, other):
        self.update(other)
        return self

    def __call__(self) -> list[np.ndarray]:
        """Return the arrays in a list, as the method `parameters` of PyTorch's modules."""
        return list(self.values())

    def _fixed(self, *_: Any) -> Any:
        raise TypeError("parameters cannot be added or removed; assign a value to an existing name")

    __delitem__ = setdefault = pop = popitem = clear = _fixed  # pyright: ignore[reportAssignmentType]

    def __reduce__(self):
        return _restored, (dict(self),)


class GradientViews(dict):
    """Arrays by name that a model makes for the gradients of a layer; it has checked them."""


def unknown_parameter(name: Any, known: Collection[str]) -> KeyError:
    """Return the error for a name that no parameter has."""
    return KeyError(
        f"no parameter {checks.shown(name)}; the names are {', '.join(known)}"
        f"{checks.guess(name, known)}"
    )


def _restored(arrays: dict[str, np.ndarray]) -> ParameterViews:
    return ParameterViews(arrays)


def parameter_views(flat: np.ndarray, shapes: dict[str, tuple[int, ...]]) -> ParameterViews:
    """Return views of these shapes by name, which divide a flat vector in order."""
    views, start = {}, 0
    for name, shape in shapes.items():
        stop = start + math.prod(shape)
        views[name] = flat[start:stop].reshape(shape)
        start = stop
    return ParameterViews(views)
