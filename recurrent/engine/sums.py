"""Sums of parameter gradients over the segments of a run, the last segment of time first."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels import memory


class Sums:
    """What `backward` of one layer hands on from one segment of time to the segment before it.

    The gradients of most parameters are sums over rows, which continue in the arrays themselves.
    Others are computed from sums that have to be complete; those sums are here.

    Parameters
    ----------
    final : bool, default False
        Whether the next segment is the first of the run, so that no other follows.

    Attributes
    ----------
    dp : ndarray, shape (N, U, H), or None
        Gradients of the parameters of each unit for each sequence, in packed order.
    ids, rows, da : ndarray, shapes (V,), (V, D) and (V, C, H)
        Of a Lookup: the ids so far, their rows of the table, and the sums of the gradients with
        respect to the accumulators over all steps with each id.
    d_dropped : ndarray, shape (N, P), or None
        Gradient with respect to h after dropout, at the beginning of the later segment.
    """

    def __init__(self, final: bool = False):
        self.final = final
        self.dp: Any = None
        self.ids: Any = None
        self.rows: Any = None
        self.da: Any = None
        self.d_dropped: Any = None
        self._parts: dict[int, Sums] = {}

    def part(self, k: int) -> Sums:
        """Return those of layer k of a layer that holds others."""
        part = self._parts.setdefault(k, Sums())
        part.final = self.final
        return part

    def per_unit(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return dp so far, zeros at first."""
        self.dp = memory.zeros(shape, dtype) if self.dp is None else self.dp
        return self.dp

    def add_by_id(self, kernels, ids, places, rows, da) -> None:
        """Add the rows of da (S, C, H), last first, to the sums of their ids, ids[places]."""
        if self.ids is None:
            self.ids, self.rows = ids, rows
            self.da = memory.zeros((len(ids), *da.shape[1:]), da.dtype)
        elif not np.array_equal(ids, self.ids):
            places = self._merge(ids, rows)[places]
        width = da.shape[1] * da.shape[2]
        kernels.scatter_add(self.da.reshape(-1, width), places, da.reshape(-1, width))

    def _merge(self, ids, rows) -> np.ndarray:
        """Make room for more ids; return the places of these among all."""
        merged = np.union1d(self.ids, ids)
        new = np.searchsorted(merged, ids)
        if len(merged) > len(self.ids):
            before, old_rows, old_da = np.searchsorted(merged, self.ids), self.rows, self.da
            self.rows = memory.empty((len(merged), rows.shape[1]), rows.dtype)
            self.rows[before], self.rows[new] = old_rows, rows
            self.da = memory.zeros((len(merged), *old_da.shape[1:]), old_da.dtype)
            self.da[before] = old_da
            self.ids = merged
        return new
