"""The engine: `init`, `forward`, `backward` and `step` of one cell."""

from .engine import Engine

__all__ = ["Engine"]
