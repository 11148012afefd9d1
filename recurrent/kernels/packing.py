"""A cell's weights as the kernels read them, and how much memory that and a step in stages take."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..equations.cell import Cell
from . import matmul, reference, schedule, sequence
from .codegen.target import target

NO_ROWS = np.zeros(0, np.int64)


def padded(t, units: int) -> int:
    return -(-units // t.lanes) * t.lanes


flat = np.ndarray.ravel  # a view of what is contiguous, in a third of the time that reshape takes


class Gates(NamedTuple):
    """Which block of rows of W_ih and W_hh each accumulator of a tile has, -1 for none; and those of the ones that have any."""

    x: np.ndarray
    h: np.ndarray
    x_used: np.ndarray
    h_used: np.ndarray


@lru_cache
def gates_of_tiles(cell: Cell) -> tuple[Gates, ...]:
    """Of every tile of accumulators."""
    found = []
    for tile in schedule.tiles(cell):
        some = [cell.accumulators[k] for k in tile]
        x = np.array([cell.x_gates.index(a.gate) if a.x else -1 for a in some], np.int64)
        h = np.array([cell.h_gates.index(a.gate) if a.h else -1 for a in some], np.int64)
        found.append(Gates(x, h, x[x >= 0], h[h >= 0]))
    return tuple(found)


def planes(cell, direction) -> int:
    """How many the stages of a step need."""
    return len(direction(cell)[1].planes) if cell.cross_unit_ops else 0


@lru_cache
def packed_sizes(cell, t, D, H, W) -> tuple[int, int]:
    """Numbers of the forward kernel's panels and of its bias."""
    X, R = (sum(getattr(a, part) for a in cell.accumulators) for part in "xh")
    panels = padded(t, H) * (X * D + R * W) + product_sizes(cell, t, H, W, schedule.forward)
    return panels, padded(t, H) * len(cell.accumulators)


def product_sizes(cell, t, H, W, direction) -> int:
    """Numbers of the panels of products within a step, and of their biases."""
    if not cell.cross_unit_ops:
        return 0
    return sum(
        padded(t, M) * K + H
        for M, K in (_shape(cell, e, H, W) for e in direction(cell)[1].products)
    )


def _shape(cell, e, H, W) -> tuple[int, int]:
    """How many sums a product makes of how many numbers."""
    return (W if cell.projected_nodes[e] else H), (W if cell.projected_nodes[e.args[0]] else H)


def pack_products(cell, t, params, H, W, direction, panels) -> None:
    """Weights of the products within a step one after the other in `panels`, at last a bias (H,) for each."""
    found, dense_target = direction(cell)[1].products, target(panels.dtype)
    start, (_, W_hh, _, b_hh), W_hr = 0, params[:4], reference.split_params(cell, params)[0]
    for k, e in enumerate(found):
        (M, K), matrix = _shape(cell, e, H, W), W_hr
        bias = panels[panels.size - H * (len(found) - k) :][:H]
        if e.name:
            block = slice(cell.h_gates.index(e.name) * H, (cell.h_gates.index(e.name) + 1) * H)
            matrix = W_hh[block]
            if e.op == "product":
                bias[:] = b_hh[block]
        here = panels[start : start + padded(t, M) * K]
        if e.op.endswith("_t"):
            matmul.pack_rows(dense_target, flat(matrix), M, NO_ROWS, 0, K, here, K)
        else:
            matmul.pack_columns(dense_target, flat(matrix), K, M, here)
        start += here.size


class Packed:
    """A cell's weights as the forward kernel reads them."""

    def __init__(self, cell: Cell, params):
        W_ih, W_hh, b_ih, b_hh = params[:4]
        self.D, self.W, self.H = D, W, H = W_ih.shape[1], W_hh.shape[1], units(cell, params)
        self.target = t = target(W_ih.dtype, cell)
        size, self.width = packed_sizes(cell, t, D, H, W)
        self.panels, self.bias = np.zeros(size, W_ih.dtype), np.zeros(self.width, W_ih.dtype)
        self.planes, place, begin = planes(cell, schedule.forward), 0, 0
        for of_x, of_h, x_used, h_used in gates_of_tiles(cell):
            panels, bias = self.panels[place:], self.bias[begin:]
            sequence.pack(
                t, of_x.size, H, flat(W_ih), D, x_used, flat(W_hh), W, h_used, b_ih, of_x, b_hh, of_h, panels, bias
            )  # fmt: skip
            place += padded(t, H) * (x_used.size * D + h_used.size * W)
            begin += padded(t, H) * of_x.size
        if cell.cross_unit_ops:
            pack_products(cell, t, params, H, W, schedule.forward, self.panels[place:])
        self.parameters = per_unit_parameters(cell, params)

    def work(self, N: int) -> np.ndarray:
        """Scratch for a step of N sequences in stages."""
        return np.empty(self.planes * N * self.H, self.bias.dtype) if self.planes else self.bias


def units(cell, params) -> int:
    return reference.split_params(cell, params)[0].shape[1]


def per_unit_parameters(cell, params) -> np.ndarray:
    """One after the other, H numbers each."""
    own = reference.split_params(cell, params)[1]
    return np.concatenate(own) if own else np.zeros(0, params[0].dtype)


def with_inputs(parameters, inputs) -> np.ndarray:
    """Per-unit parameters (P, H), flat; in each row followed by what the units get at that step, (S, P + M, H), if anything."""
    if inputs is None:
        return parameters
    S, M, H = inputs.shape
    return np.concatenate(
        [np.broadcast_to(parameters, (S, parameters.size)), inputs.reshape(S, M * H)], axis=1
    ).reshape(-1)
