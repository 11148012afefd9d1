"""Shapes of the arrays that `forward` and `backward` allocate, and the memory those arrays take."""

from __future__ import annotations

from math import prod

import numpy as np

from .. import kernels
from ..equations.cell import Cell
from .footprint import WIDE, Footprint
from .params import Sizes

Shape = tuple[int, ...]


def forward_shapes(
    cell: Cell, S: int, N: int, sizes: Sizes, record: bool
) -> tuple[Shape, Shape, Shape]:
    """Return the shapes of h, of the other states and of the values saved for `backward`."""
    states, saved, (_, H, P) = len(cell.states) - 1, len(cell.backward.saved), sizes
    if record:
        return (N + S, P), (states, N + S, H), (S, saved, H)
    return (N + S, P), (states, N, H), (0, 0, H)


def backward_shapes(cell: Cell, S: int, N: int, H: int) -> tuple[Shape, Shape, Shape]:
    """Return the shapes of the gradients of states, accumulators and per-unit parameters.

    The gradients of accumulators have a row per step, those of parameters one per sequence.
    """
    return (len(cell.states), N, H), (S, cell.columns, H), (N, len(cell.parameters), H)


def mask_shapes(cell: Cell, S: int, H: int) -> tuple[Shape, Shape]:
    """Return the shapes of the units' masks, and of masks and per-unit parameters joined."""
    M = len(cell.masks)
    return ((S, M, H), (S, len(cell.parameters) + M, H)) if M else ((0,), (0,))


def footprint(
    cell: Cell,
    T: int,
    N: int,
    sizes: Sizes,
    dtype: np.dtype,
    ragged: bool,
    training: bool = True,
    reverse: bool = False,
    table: int | None = None,
) -> Footprint:
    """Estimate the bytes that `Engine.forward` and `Engine.backward` take."""
    (D, H, P), S, size = sizes, T * N, dtype.itemsize
    gathered = ragged or reverse  # rows are copied into packed order

    def sized(*shapes):
        return size * sum(prod(shape) for shape in shapes)

    known = S if table is None else min(table, S)  # rows of x, or of the table, that are multiplied
    rows = sized((known, D)) if table is not None or gathered else 0
    order = (T + 1 + 2 * N + 2 * S if gathered else 0) + (0 if table is None else known + S)
    tape = sized(*forward_shapes(cell, S, N, sizes, training)) + rows + WIDE * order
    unpacked = sized((S, P)) if gathered else 0
    scratch = kernels.backend.scratch(cell, sizes, S, N, known, table is not None, dtype)
    masks, joined = mask_shapes(cell, S, H)
    tape += sized(masks)
    if not training:  # y is a view of h, so all of h stays
        forward = scratch.forward + (tape if unpacked else 0)
        return Footprint(0, unpacked or tape, forward, 0, 0)
    forward = scratch.forward + sized(joined, masks if gathered else (0,))
    carry, da, dp = backward_shapes(cell, S, N, H)
    sums = 0 if table is None else sized((known, *da[1:]))
    dx = sized((known, D))
    spread = dx if gathered and table is None else 0
    # dx does not exist while the backward kernel runs.
    kernel, products = scratch.backward + sized(joined) - dx, sums + max(scratch.gradients, spread)
    backward = sized(carry, da, dp) + unpacked + max(kernel, products)
    return Footprint(tape, unpacked, forward, backward, dx)
