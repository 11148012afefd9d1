"""Tells the functions that compute a node of ONNX what is known of it before a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

Run = Callable[..., Any]  # arrays in; an array out, or a tuple for several outputs
DOMAINS = ("", "ai.onnx")  # both name ONNX's own operators


class Known(NamedTuple):
    """A node: what is known of it before a call.

    `constants` has the arrays of its inputs, None for one that is known only at a call.
    """

    proto: Any
    attributes: dict[str, Any]
    constants: list[Any]
    opset: int

    @property
    def outputs(self) -> int:
        """The number of its outputs."""
        return len(self.proto.output)

    def constant(self, k: int) -> Any:
        """Return input k if it is constant; None if it is not, or is not given."""
        return self.constants[k] if k < len(self.constants) else None

    def given(self, k: int) -> bool:
        """Return whether the node has input k."""
        return k < len(self.proto.input) and bool(self.proto.input[k])

    def known(self, k: int) -> bool:
        """Return whether input k is constant, or not given."""
        return not self.given(k) or self.constant(k) is not None

    def integers(self, name: str, k: int) -> tuple[bool, tuple[int, ...] | None]:
        """Return whether integers are known, and which: an attribute, or input k in newer opsets.

        None stands for integers that are not given.
        """
        if name in self.attributes:
            value = self.attributes[name]
            return True, tuple(value) if isinstance(value, (list, tuple)) else (int(value),)
        if not self.given(k):
            return True, None
        value = self.constant(k)
        return value is not None, None if value is None else integers(value)


def integers(a: Any) -> tuple[int, ...]:
    """Return the entries of an array as ints."""
    return tuple(int(v) for v in a.ravel().tolist())
