"""Parameters of a quantised model and of its layers, by name: matrices quantised, vectors float32.

They cannot be changed, so a layer packs them once for its kernels and keeps the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ..kernels.quantized import Quantized
from .parameters import ParameterViews, unknown_parameter

FIXED = (
    "the weights of a quantised model cannot be changed: change those of the float32 model and "
    "quantise it again, or change model.dequantized()"
)


class QuantizedParameters(Mapping):
    """Parameters by name that are read as float32 arrays but held in fewer bits.

    A matrix is dequantised whenever it is read. No array can be written, and no name assigned.

    Parameters
    ----------
    held : mapping of str to Quantized or ndarray, of any shape
        Matrices as `Quantized`, everything else as float32 arrays.
    weights : {"int8", "bfloat16"}
        Kind of the quantised weights.

    Examples
    --------
    >>> from recurrent.kernels.quantized import quantize
    >>> W = np.array([[1, 0.5]], np.float32)
    >>> arrays = QuantizedParameters({"w": quantize(W, "bfloat16")}, "bfloat16")
    >>> arrays["w"], arrays.nbytes
    (array([[1. , 0.5]], dtype=float32), 4)
    """

    dtype = np.dtype(np.float32)

    def __init__(self, held: Mapping[str, Quantized | np.ndarray], weights: str):
        self.weights = weights
        self._held = dict(held)
        self._packed: Any = None

    def stored(self, name: str) -> Quantized | np.ndarray:
        """Return a parameter as it is held: a matrix as `Quantized`, a vector as an array.

        Kernels want arrays that can be written; nobody may do so.
        """
        try:
            return self._held[name]
        except (KeyError, TypeError):
            raise unknown_parameter(name, self._held) from None

    def __getitem__(self, name: str) -> np.ndarray:
        a = self.stored(name)
        found = a.dequantized() if isinstance(a, Quantized) else a.view()
        found.flags.writeable = False
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, name: object) -> bool:
        return name in self._held

    def __repr__(self):
        return f"<{self.weights} parameters {', '.join(self) or 'of none'}>"

    def __call__(self) -> list[np.ndarray]:
        """Return the arrays in a list, as the method `parameters` of PyTorch's modules."""
        return list(self.values())

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter by name."""
        return {name: a.shape for name, a in self._held.items()}

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(map(math.prod, self.shapes.values()))

    @property
    def nbytes(self) -> int:
        """Bytes of codes, scales and vectors."""
        return sum(a.nbytes for a in self._held.values())

    def vector(self) -> np.ndarray:
        """Return all parameters in one vector, shape (P,), float32, which cannot be written."""
        flat = np.concatenate([np.empty(0, self.dtype), *(a.reshape(-1) for a in self.values())])
        flat.flags.writeable = False
        return flat

    def part(self, names: Mapping[str, str]) -> QuantizedParameters:
        """Return some of the parameters, by new names: {new name: name}. No array is copied."""
        return QuantizedParameters(
            {n: self.stored(name) for n, name in names.items()}, self.weights
        )

    def packed(self, pack: Callable[[Mapping[str, Any]], Any]) -> Any:
        """Return `pack` of the parameters as they are held, which is called once."""
        if self._packed is None:
            self._packed = pack(self._held)
        return self._packed

    def __reduce__(self):
        return QuantizedParameters, (self._held, self.weights)

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError(FIXED)

    __setitem__ = __delitem__ = __ior__ = update = _refuse
    setdefault = pop = popitem = clear = _refuse


def refuse_quantized(parameters: Any, action: str) -> None:
    """Raise TypeError if parameters are quantised; `action` is what would change them."""
    if type(parameters) is QuantizedParameters:
        raise TypeError(
            f"{action} the weights, which are {parameters.weights} and fixed: use the float32 "
            "model and quantise it afterwards, or use model.dequantized()"
        )


def part(parameters: Mapping[str, np.ndarray], names: Mapping[str, str]) -> Any:
    """Return some of the parameters by new names, {new name: name}; no array is copied."""
    if isinstance(parameters, QuantizedParameters):
        return parameters.part(names)
    return ParameterViews({n: parameters[name] for n, name in names.items()})
