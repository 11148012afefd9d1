"""How far two correct programs may differ: the engine's own measure."""

from recurrent.conformance.tolerance import assert_close, assert_same_bits, tolerance

__all__ = ["assert_close", "assert_same_bits", "tolerance"]
