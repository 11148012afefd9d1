"""The functions of one cell: `init`, `forward`, `backward`, `step`, and what they keep."""

from .engine import Engine

__all__ = ["Engine"]
