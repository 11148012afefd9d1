"""Checks arrays against what an ONNX file declares of its inputs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ... import checks


class Declared(NamedTuple):
    """Holds the dtype and the sizes of an input; None or 0 where the file has none."""

    dtype: Any
    sizes: tuple[int, ...] | None
    labels: tuple[str, ...]  # of sizes that are free: equal ones have the same size
    optional: bool
    listed: bool  # a sequence of arrays

    @classmethod
    def of(cls, kind: Any) -> Declared:
        import onnx

        optional = kind.HasField("optional_type")
        kind = kind.optional_type.elem_type if optional else kind
        if not kind.HasField("tensor_type"):
            return cls(None, None, (), optional, kind.HasField("sequence_type"))
        tensor = kind.tensor_type
        dtype = None
        if tensor.elem_type not in (0, onnx.TensorProto.STRING):
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if not tensor.HasField("shape"):
            return cls(dtype, None, (), optional, False)
        dims = tensor.shape.dim
        sizes = tuple(d.dim_value for d in dims)
        return cls(dtype, sizes, tuple(d.dim_param for d in dims), optional, False)

    def checked(self, value: Any, name: str) -> Any:
        """Return the value as an array; raise an error unless it is what the file declares."""
        if self.listed:
            checks.instance(value, list, name, "a list of arrays")
            return [checks.as_array(a, f"{name}[{k}]") for k, a in enumerate(value)]
        a = value if type(value) is np.ndarray else checks.as_array(value, name)
        if a.dtype != self.dtype and self.dtype is not None:
            same_kind = a.dtype.kind in "iu" and self.dtype.kind in "iu"
            if not (a.dtype == np.float16 or same_kind) or not np.can_cast(a.dtype, self.dtype):
                advice = f'; write {name}.astype("{self.dtype}")' if a.dtype.kind in "fiu" else ""
                raise TypeError(f"{name} must be {self.dtype}, got {a.dtype}{advice}")
            a = a.astype(self.dtype)
        sizes, shape = self.sizes, a.shape
        if sizes is not None and shape != sizes:
            same = len(shape) == len(sizes)
            if not same or any(n and n != m for n, m in zip(sizes, shape, strict=True)):
                wanted = ", ".join(str(n or "any") for n in sizes)
                raise ValueError(
                    f"{name} must have the shape ({wanted}), which the file fixes, got {shape}"
                )
        return a


def zeros(declared: dict[str, Declared], name: str, given: dict[str, Any]) -> np.ndarray:
    """Return zeros for a carried input; free sizes are those of given inputs with the same label.

    Free sizes without one are 1. Raises ValueError if the number of axes is not known.
    """
    known: dict[str, int] = {}
    for other, a in given.items():
        if declared[other].sizes is not None:
            pairs = zip(declared[other].labels, np.shape(a), strict=False)
            known |= {label: n for label, n in pairs if label}
    dtype, sizes, labels, *_ = declared[name]
    if sizes is None or dtype is None:
        raise ValueError(
            f"{name} needs an initial value, as the file does not say its shape: write "
            f"stream(carried, {name}=np.zeros(...))"
        )
    found = [n or known.get(label, 1) for n, label in zip(sizes, labels, strict=True)]
    return np.zeros(found, dtype)
