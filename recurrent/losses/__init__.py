"""Losses: value and gradient with respect to y in one pass, as a mean over *valid* entries.

Every loss is called `loss(y, targets, lengths=None, mask=None)` and returns `(value, dy)`: value a
Python float, dy like y. Valid are the first `lengths[n]` steps of sequence n, and the entries where
`mask` is true; both if both are given. At other entries dy is zero, and y and targets have no
effect, even if they are NaN; at valid entries NaN propagates. Without any valid entry the value is
0.0. Entries are summed in float64, in row order.

Where y is a list of arrays (T_i, ...), as models return it for a list of sequences, targets are a
list too, and so is dy; the arrays have their own lengths.

`sample_weight` weighs the entries, one by one or sequence by sequence: the value is the sum of
weight times loss, divided by the sum of the weights. A weight of 0 makes an entry not valid.

`ctc` and `crf` are losses of whole sequences of labels: each sequence is an entry.

`functools.partial` gives options to a loss that is handed on, to `fit` for example:

>>> from functools import partial
>>> import numpy as np
>>> loss = partial(softmax_cross_entropy, label_smoothing=0.1, ignore_index=-100)
>>> value, dy = loss(np.zeros((2, 4)), [2, -100])
>>> round(value, 6), dy[1].tolist()
(1.386294, [0.0, 0.0, 0.0, 0.0])

A loss of your own is any function that is called in the same way. If it leaves out entries that
`count_entries` cannot know of, its attribute `entries` counts what it is a mean over, so that
`evaluate` gives the same mean for batches of any size:

>>> def error_where_known(y, targets, lengths=None):
...     return mean_squared_error(y, targets, lengths, mask=~np.isnan(targets))
>>> error_where_known.entries = lambda y, targets, lengths: np.count_nonzero(~np.isnan(targets))
"""

from __future__ import annotations

from ..checks.guided import module_getattr
from .alignments import ctc
from .classification import binary_cross_entropy, softmax_cross_entropy
from .entries import Loss, count_entries
from .linear_chain import crf
from .regression import huber, mean_absolute_error, mean_squared_error, quantile
from .steps import at_last_step, summed_over_steps

__all__ = [
    "Loss",
    "at_last_step",
    "binary_cross_entropy",
    "count_entries",
    "crf",
    "ctc",
    "huber",
    "mean_absolute_error",
    "mean_squared_error",
    "quantile",
    "softmax_cross_entropy",
    "summed_over_steps",
]

__getattr__ = module_getattr(__name__)
