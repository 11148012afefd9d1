"""Says how other programs lay out the arrays of recurrent layers: one table for each format.

Gates have the names of this package. The permutation of the blocks of an array follows from two
orders of names; no code knows a pair of formats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..cells import CELLS

# Layouts of a weight matrix of G gates, H units and D inputs.
ROWS = "(G*H, D)"
COLUMNS = "(D, G*H)"
FLAT = "(D, G*H), where the D*H entries of a gate are an (H, D) matrix, row by row"


class Format(NamedTuple):
    """The arrays of one direction of a recurrent layer in a format.

    Attributes
    ----------
    title : str
        Name of the format.
    gates : dict of str to str
        By cell, the gates in the order of their blocks.
    fields : dict of str to str
        The field of the engine's Params, by the name of each array. "b" stands for one array of all
        biases: b_ih, and b_hh after it if it has twice as many entries.
    layout : str
        ROWS, COLUMNS or FLAT.
    biases : str
        Number and place of the biases in words.
    """

    title: str
    gates: dict[str, str]
    fields: dict[str, str]
    layout: str
    biases: str

    def read(
        self, cell: str, hidden_size: int, arrays: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Return the arrays of a layer in the order and layout of this package.

        Parameters
        ----------
        cell : str
            "rnn", "lstm" or "gru".
        hidden_size : int
            H, the number of units.
        arrays : dict of str to ndarray
            The arrays by their names in the format.

        Returns
        -------
        dict of str to ndarray
            The arrays by the fields of Params.

        Raises
        ------
        ValueError
            If an array has not the shape that the format says.
        """
        gates = self.gates[cell].split()
        size, found = len(gates) * hidden_size, {}
        for name, a in arrays.items():
            field = self.fields[name]
            if field == "b":
                if a.size not in (size, 2 * size):
                    raise ValueError(f"{name} must have {size} or {2 * size} entries, got {a.size}")
                parts = dict(zip(("b_ih", "b_hh"), a.reshape(-1, size), strict=False))
            else:
                parts = {
                    field: self._rows(name, a, len(gates), hidden_size)
                    if field in ("W_ih", "W_hh")
                    else a
                }
            for part, values in parts.items():
                ordered = part != "W_hr"
                found[part] = reordered(values, gates, CELLS[cell].gates) if ordered else values
        return found

    def _rows(self, name, a, G, H):
        """Return a weight matrix with the rows of each gate in a block, (G*H, D)."""
        axis = 0 if self.layout == ROWS else 1
        if a.ndim != 2 or a.shape[axis] != G * H:
            raise ValueError(f"{name} must be {self.layout[:8]} with G*H = {G * H}, got {a.shape}")
        if self.layout == ROWS:
            return a
        if self.layout == COLUMNS:
            return a.T
        return np.concatenate([b.reshape(b.shape[::-1]) for b in np.split(a, G, axis=1)])


def reordered(a: np.ndarray, source: Sequence[str], target: Sequence[str]) -> np.ndarray:
    """Return an array whose blocks, one for each gate along the first axis, have another order.

    Parameters
    ----------
    a : ndarray, shape (G*H, ...)
        The blocks.
    source, target : sequence of str
        The gates in the order of the blocks of `a` and of the result.

    Returns
    -------
    ndarray, shape (G*H, ...)
        `a` itself if the orders are equal.

    Examples
    --------
    >>> reordered(np.array([1, 2, 3, 4, 5, 6]), "z r n".split(), "r z n".split()).tolist()
    [3, 4, 1, 2, 5, 6]
    """
    if list(source) == list(target):
        return a
    blocks = dict(zip(source, np.split(a, len(source)), strict=True))
    return np.concatenate([blocks[gate] for gate in target])


_KERAS = {"kernel": "W_ih", "recurrent_kernel": "W_hh", "bias": "b"}
_KERAS_GATES = {"rnn": "h", "lstm": "i f g o", "gru": "z r n"}

TORCH = Format(
    "PyTorch",
    {"rnn": "h", "lstm": "i f g o", "gru": "r z n"},
    {
        "weight_ih": "W_ih",
        "weight_hh": "W_hh",
        "bias_ih": "b_ih",
        "bias_hh": "b_hh",
        "weight_hr": "W_hr",
    },
    ROWS,
    "two vectors, or none (bias=False)",
)
KERAS = Format(
    "Keras",
    _KERAS_GATES,
    _KERAS,
    COLUMNS,
    "one vector, or none; two rows for reset_after=True",
)
CUDNN = Format(
    "CuDNN layers of Keras 2", _KERAS_GATES, _KERAS, FLAT, "all of W_ih, then all of W_hh"
)
ONNX = Format(
    "ONNX",
    {"rnn": "h", "lstm": "i o f g", "gru": "z r n"},
    {"W": "W_ih", "R": "W_hh", "B": "b"},
    ROWS,
    "all of W_ih, then all of W_hh",
)
FORMATS = (TORCH, KERAS, ONNX)
