"""A linear-chain conditional random field, as the last layer of a model."""

from __future__ import annotations

import numpy as np

from .. import checks, kernels
from ..engine.footprint import Footprint
from .base import Gradients, Layer


class CRF(Layer):
    """Linear-chain conditional random field, the last layer of a model that tags sequences.

    x holds the score of each of K tags at each step, the emissions. y holds the score of each pair
    of neighbouring tags: `y.reshape(T, N, K + 1, K + 1)[t, n, i, j]` is that of tag j at step t
    after tag i. Row K has the scores of a first step, column K those of ending after tag i. The
    score of a sequence of tags is the sum of those of its pairs, and p(tags) is exp(score) divided
    by the sum over all sequences.

    `losses.crf` is -log p of the right tags, and `viterbi_decode(y)` finds the most probable ones.
    The layer needs no lengths, which the loss and the search take.

    Parameters have the names, meaning and initial values of pytorch-crf: `start_transitions`,
    shape (K,), `end_transitions`, shape (K,), and `transitions`, shape (K, K): row i has the scores
    of all tags after tag i. TensorFlow Addons has its `transitions` the same way, and
    `boundaries` in place of the others.

    Parameters
    ----------
    num_tags : int
        K.

    Raises
    ------
    TypeError
        If num_tags is not an int; in `forward`, if x does not have the dtype of the parameters.
    ValueError
        If num_tags is below 1; in `forward`, if the last axis of x is not K.

    References
    ----------
    J. Lafferty, A. McCallum and F. Pereira, "Conditional random fields", ICML (2001).

    Examples
    --------
    >>> from recurrent import LSTM, Linear, Sequential
    >>> model = Sequential(LSTM(5, 8, bidirectional=True), Linear(16, 3), CRF(3))
    >>> model.forward(np.zeros((7, 2, 5), np.float32))[0].shape
    (7, 2, 16)
    """

    runs_in_segments = True
    in_features: int
    out_features: int

    def __init__(self, num_tags: int):
        K = checks.size(num_tags, "num_tags")
        super().__init__(num_tags=K)
        self.in_features, self.out_features = K, (K + 1) ** 2
        self.shapes = {
            "start_transitions": (K,),
            "end_transitions": (K,),
            "transitions": (K, K),
        }

    def check_below(self, below):
        super().check_below(below)
        for k, layer in enumerate(below):
            if not layer.returns_sequence:
                raise ValueError(
                    f"its input must be a sequence, but layer {k} ({type(layer).__name__}) outputs "
                    "one vector per sequence"
                )

    def reset_parameters(self, rng):
        for a in self.parameters.values():
            a[:] = rng.uniform(-0.1, 0.1, a.shape)

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        checks.modes(record, training)
        x, K = checks.array(x, "x"), self.in_features
        checks.same_dtype(x, "x", self.dtype, "transitions")
        if x.ndim < 1 or x.shape[-1] != K:
            raise ValueError(f"x must be (..., {K}), got {x.shape}")
        table = self._table(self.parameters)
        y = np.empty((*x.shape[:-1], K + 1, K + 1), x.dtype)
        np.add(x[..., None, :], table[:, :K], out=y[..., :K])
        y[..., K] = table[:, K]
        y = y.reshape(*x.shape[:-1], self.out_features)
        return y, None, y if record else None

    def _table(self, arrays) -> np.ndarray:
        """Return the scores of transitions, (K + 1, K + 1): from the start in row K."""
        K = self.in_features
        table = np.zeros((K + 1, K + 1), arrays["transitions"].dtype)
        table[:K, :K], table[K, :K] = arrays["transitions"], arrays["start_transitions"]
        table[:K, K] = arrays["end_transitions"]
        return table

    def stepper(self):
        frozen = CRF(self.in_features)
        frozen.bind({name: a.copy() for name, a in self.parameters.items()})
        return super(CRF, frozen).stepper()

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None, sums=None):
        checks.tape(tape, np.ndarray)
        dy, K = checks.array(dy, "dy"), self.in_features
        checks.same_dtype(dy, "dy", self.dtype, "transitions")
        checks.shape(dy, "dy", tape.shape, "the shape of y")
        grads = self._sums(out, sums, dy=dy)
        total = self._table(grads)
        kernels.backend.column_sums(dy.reshape(-1, self.out_features), total.reshape(-1))
        grads["transitions"][:] = total[:K, :K]
        grads["start_transitions"][:] = total[K, :K]
        grads["end_transitions"][:] = total[:K, K]
        pairs = dy.reshape(*dy.shape[:-1], K + 1, K + 1)
        dx = pairs[..., 0, :K].copy()
        for i in range(1, K + 1):  # in this order whatever the shape
            dx += pairs[..., i, :K]
        return Gradients(dx, grads, None)

    def footprint(self, T, N, width, dtype, ragged, training, table=None):
        size = T * N * dtype.itemsize
        return Footprint(0, size * self.out_features, 0, 0, size * self.in_features)
