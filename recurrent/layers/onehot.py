"""Ids as one-hot vectors: the input of the first character models."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from .base import Gradients, Layer
from .feedforward import Embedding


class OneHot(Embedding):
    """For each integer id the vector of zeros with a one at that place: an Embedding by the identity, which learns nothing.

    x: ids of any integer dtype and shape, 0 <= id < num_classes. y: x.shape + (num_classes,). Right below a recurrent layer
    no vector is written: W_ih x is then a column of W_ih.
    """

    def __init__(self, num_classes: int):
        Layer.__init__(self, num_classes=checks.size(num_classes, "num_classes"))
        self.rows = self.out_features = num_classes
        self._alone, self._table = np.dtype(np.float32), np.eye(0, dtype=np.float32)

    def initialise(self, rng: Any = 0, dtype: Any = None, init: Any = "pytorch") -> Layer:
        """As all layers; there is nothing to draw."""
        super().initialise(rng, dtype, init)
        if dtype is not None and self.owner is None:
            self._alone = checks.dtype(dtype)
        return self

    @property
    def dtype(self) -> np.dtype:
        """That of the model it is part of; alone float32, or what `initialise` was given."""
        return self._alone if self.owner is None else self.owner.dtype

    @property
    def table(self) -> np.ndarray:
        """The identity, (num_classes, num_classes)."""
        if self._table.shape != (self.rows, self.rows) or self._table.dtype != self.dtype:
            self._table = np.eye(self.rows, dtype=self.dtype)
        return self._table

    def reset_parameters(self, rng):
        pass

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None):
        """Returns Gradients, all empty."""
        return Gradients(None, self._gradients(out), None)
