"""Cells whose units meet within a step: the interpreter's loop of steps, its products compiled.

The equations between the products run in NumPy, on all units of a step at once; only cells with meetings come here.
"""

from __future__ import annotations

import numpy as np

from . import dense, plain
from .jit import jit
from .target import target
from .tile import at, product_tiles

NO_ROWS = np.zeros(0, np.int64)


@jit
def add_product(target, S, M, K, a, panels, out):
    """out (S, M) += a (S, K) w: from the numbers that are there, in the order of k. All arrays flat."""
    product_tiles(target, S, M, K, at(out, 0), M, at(a, 0), K, at(panels, 0), at(out, 0))


class Weights(plain.Weights):
    """The interpreter's weights, packed for the register tile when a product first needs them."""

    def __init__(self, cell, params):
        super().__init__(cell, params)
        self.target, self.panels = target(self.W_ih.dtype), {}

    def add(self, a, matrix, gate, out, back=False):
        key = matrix, gate, back
        if key not in self.panels:
            H = self.W_hh.shape[1]
            self.panels[key] = self._pack(getattr(self, matrix)[gate * H : (gate + 1) * H], back)
        a = np.ascontiguousarray(a)
        add_product(self.target, *out.shape, a.shape[1], a.reshape(-1), self.panels[key], out.reshape(-1))

    def _pack(self, W, back):
        M, K = W.shape
        columns, rows = (K, M) if back else (M, K)
        panels = np.zeros(-(-columns // self.target.lanes) * self.target.lanes * rows, W.dtype)
        if back:
            dense.pack_rows(self.target, W.reshape(-1), K, NO_ROWS, 0, M, panels, M)
        else:
            dense.pack_columns(self.target, W.reshape(-1), K, M, panels)
        return panels
