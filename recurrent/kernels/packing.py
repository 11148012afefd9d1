"""Packed weights: a cell's parameters copied into the order in which the kernels read them.

A panel holds the weights of the units of one register tile: for each k, a whole vector of every
gate, so the inner loop of a product reads memory in order. `compiled` packs for one call or, for a
stream, once. The bias of every accumulator follows the same order. The sizes of all of this, and of
the workspace of a step in stages, are computed here too: the memory plan reads them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..equations.cell import Cell
from ..equations.expressions import topological
from . import blocking, matmul, memory, reference, schedule, sequence
from .codegen.target import target
from .matmul import NO_ROWS, WHOLE
from .quantized import STORED, Quantized, with_scales


def padded(t, units: int) -> int:
    """Return the units rounded up to whole vectors."""
    return -(-units // t.lanes) * t.lanes


# A view of a contiguous array, in a third of the time that reshape takes.
flat = np.ndarray.ravel


# Cost of an entry of an elementwise pass, in floating-point operations of a product.
RULE_ENTRY = 40.0


@lru_cache
def equations(cell: Cell) -> float:
    """Return the cost of a unit's equations in floating-point operations of a product."""
    return RULE_ENTRY * sum(e.op in schedule.SLOW for e in topological(cell.new))


class Gates(NamedTuple):
    """The gates whose rows of W_ih and W_hh the accumulators of a tile sum up; int64."""

    x: np.ndarray  # (accumulators,): gate in W_ih, -1 if an accumulator has no x part
    h: np.ndarray  # (accumulators,): gate in W_hh, -1 if it has no h part
    x_used: np.ndarray  # x without the -1
    h_used: np.ndarray  # h without the -1


@lru_cache
def gates_of_tiles(cell: Cell) -> tuple[Gates, ...]:
    """Return the gates of each tile of accumulators, see `schedule.tiles`."""
    found = []
    for tile in schedule.tiles(cell):
        some = [cell.accumulators[k] for k in tile]
        x = np.array([cell.x_rows.index(a.gate) if a.x else -1 for a in some], np.int64)
        h = np.array([cell.h_gates.index(a.gate) if a.h else -1 for a in some], np.int64)
        found.append(Gates(x, h, x[x >= 0], h[h >= 0]))
    return tuple(found)


@lru_cache
def vectors(cell, t) -> int:
    """Return how many vectors the widest tile of accumulators has."""
    return max(len(tile) * t.blocks(len(tile)) for tile in schedule.tiles(cell))


def sums_of_pieces(cell, t, K: int, rows: int) -> tuple[int, int]:
    """Return the pieces of K in which so many rows read panels, and how many sums they keep."""
    if rows < blocking.FEW:
        return WHOLE, 0
    width = vectors(cell, t)
    piece = blocking.piece(t, width, K, rows)
    return piece, 0 if piece == WHOLE else rows * width * t.lanes


def planes(cell, direction) -> int:
    """Return how many workspace arrays (N, H) a step in stages needs; 0 for a step in one stage."""
    return len(direction(cell)[1].planes) if cell.cross_unit_ops else 0


@lru_cache
def packed_sizes(cell, t, D, H, P) -> tuple[int, int]:
    """Return how many weights the panels and how many numbers the bias of `forward` have."""
    X, R = (sum(getattr(a, part) for a in cell.accumulators) for part in "xh")
    per_unit = X * (D + t.scale_rows) + R * (P + t.scale_rows)
    panels = padded(t, H) * per_unit + product_sizes(cell, t, H, P, schedule.forward)
    return panels, padded(t, H) * len(cell.accumulators)


def product_sizes(cell, t, H, P, direction) -> int:
    """Return how many weights the panels and biases of the products within a step have.

    A bias is a number of the target's dtype, the size of some quantised weights.
    """
    if not cell.cross_unit_ops:
        return 0
    return sum(
        padded(t, M) * (K + t.scale_rows) + H * (t.dtype.itemsize // t.weight_size)
        for M, K in (_shape(cell, e, H, P) for e in direction(cell)[1].products)
    )


def _shape(cell, e, H, P) -> tuple[int, int]:
    """Return the shape (M, K) of the matrix of a product."""
    return (P if cell.projected_nodes[e] else H), (P if cell.projected_nodes[e.args[0]] else H)


def pack_products(cell, t, params, H, P, direction, panels) -> np.ndarray:
    """Pack the weights of the products within a step, one after the other; return their biases."""
    products, plain_target = direction(cell)[1].products, target(panels.dtype)
    (_, W_hh, _, b_hh), W_hr = params[:4], reference.split_params(cell, params)[0]
    start, biases = 0, np.zeros((len(products), H), panels.dtype)
    for e, bias in zip(products, biases, strict=True):
        (M, K), matrix = _shape(cell, e, H, P), W_hr
        if e.name:
            block = slice(cell.h_gates.index(e.name) * H, (cell.h_gates.index(e.name) + 1) * H)
            matrix = W_hh[block]
            if e.op == "product":
                bias[:] = b_hh[block]
        K += t.scale_rows
        here = panels[start : start + padded(t, M) * K]
        if e.op.endswith("_t"):
            matmul.pack_rows(plain_target, flat(matrix), 0, M, M, NO_ROWS, 0, 1, K, here, K)
        else:
            matmul.pack_columns(plain_target, flat(matrix), 0, K, K, M, here)
        start += here.size
    return biases.reshape(-1)


class Packed:
    """A copy of a cell's weights, packed for the forward kernel.

    Quantised matrices are packed as float32 numbers, of which the codes are made at the end.
    """

    def __init__(self, cell: Cell, params):
        D, P, H = params[0].shape[1], params[1].shape[1], units(cell, params)
        kind = ""
        if isinstance(params[0], Quantized):
            kind = params[0].weights
            params = type(params)(*map(with_scales, params))
        W_ih, W_hh, b_ih, b_hh = params[:4]
        plain = t = target(W_ih.dtype, cell)
        if kind:
            t = target(W_ih.dtype, cell, kind)
        self.cell, self.target, self.equations = cell, t, equations(cell)
        size, self.width = packed_sizes(cell, t, D, H, P)
        gaps = H % t.lanes or P % t.lanes or cell.cross_unit_ops  # biases of products come last
        both = memory.panels(size + self.width, W_ih.dtype, gaps)
        panels, bias = both[:size], both[size:]
        self.planes, place, begin = planes(cell, schedule.forward), 0, 0
        for of_x, of_h, x_used, h_used in gates_of_tiles(cell):
            sequence.pack(
                plain, of_x.size, H, flat(W_ih), D + t.scale_rows, x_used, flat(W_hh),
                P + t.scale_rows, h_used, flat(b_ih), of_x, flat(b_hh), of_h, panels[place:],
                bias[begin:],
            )  # fmt: skip
            per_unit = x_used.size * (D + t.scale_rows) + h_used.size * (P + t.scale_rows)
            place += padded(t, H) * per_unit
            begin += padded(t, H) * of_x.size
        biases = None
        if cell.cross_unit_ops:
            biases = pack_products(cell, t, params, H, P, schedule.forward, panels[place:])
        if kind:
            panels = as_stored(t, panels)
        if biases is not None and biases.size:
            panels[panels.size - biases.nbytes // t.weight_size :] = biases.view(panels.dtype)
        parameters = per_unit_parameters(cell, params)
        self.weights = sequence.ForwardWeights(panels, bias, parameters, D, P, H)

    def cut(self, K: int, rows: int) -> tuple[int, np.ndarray]:
        """Return the pieces of K in which so many rows read the panels, and memory for the sums.

        See `tile.Cut`.
        """
        piece, numbers = sums_of_pieces(self.cell, self.target, K, rows)
        bias = self.weights.bias
        return piece, memory.empty((numbers,), bias.dtype) if numbers else bias

    def work(self, N: int) -> np.ndarray:
        """Return the workspace of a step of N sequences, for a cell whose steps need one."""
        return memory.empty((self.planes * N * self.weights.H,), self.weights.bias.dtype)


def as_stored(t, panels) -> np.ndarray:
    """Return packed numbers as the codes of a target's weights."""
    codes = memory.panels(panels.size, STORED[t.weights][0], False)
    codes[:] = panels
    return codes


def units(cell, params) -> int:
    """Return the hidden size H."""
    return params[4 if cell.has_projection else 1].shape[1]


def per_unit_parameters(cell, params) -> np.ndarray:
    """Return the per-unit parameters one after the other, H numbers each."""
    own = reference.split_params(cell, params)[1]
    return np.concatenate(own) if own else np.zeros(0, params[0].dtype)


def with_masks(parameters, masks) -> np.ndarray:
    """Return flat per-unit parameters; with masks (S, M, H) a copy for each row, then its masks."""
    if masks is None:
        return parameters
    S, M, H = masks.shape
    rows = np.broadcast_to(parameters, (S, parameters.size)), masks.reshape(S, M * H)
    return np.concatenate(rows, axis=1).reshape(-1)
