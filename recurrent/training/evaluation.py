"""Evaluation: the mean loss and the metrics of one epoch."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, overload

import numpy as np

from .. import checks, losses
from .. import metrics as known_metrics
from ..checks.guided import explained
from ..data import Batch, as_arrays
from ..layers import CRF
from ..losses import Loss, count_entries
from ..metrics import Metric
from ..models.base import Model
from .bptt import value_and_gradient
from .reader import check_batches, weighted

LOSS = "loss"  # the name of the loss among the metrics


@overload
def evaluate(model: Model, batches: Iterable[Batch], loss: Loss, metrics: None = None) -> float: ...
@overload
def evaluate(
    model: Model, batches: Iterable[Batch], loss: Loss, metrics: Any
) -> dict[str, Any]: ...
@explained
def evaluate(
    model: Model, batches: Iterable[Batch], loss: Loss, metrics: Any = None
) -> float | dict[str, Any]:
    """Compute the mean loss over all valid entries of one epoch, without dropout.

    The state is carried into batches whose `carry` is true. The cursor of the batches does not
    change.

    Parameters
    ----------
    model : Model
        The model to evaluate.
    batches : iterable of Batch
        Read once, from the beginning.
    loss : callable
        `loss(y, targets, lengths=...)` returns the value and the gradient with respect to y.
    metrics : callable, str, list or dict, optional
        Metrics, such as `metrics.accuracy` or its name, or several: a list, or a dict of them by
        names of your own.

    Returns
    -------
    float or dict of str to float
        Mean over the entries: each batch is weighted by the number of entries that the loss is a
        mean over, see `losses.count_entries`, or by its `weight`. With `metrics`, a dict of "loss"
        and of each metric by its name.

    Raises
    ------
    ValueError
        If there is no valid entry.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> from recurrent import Linear, Sequential
    >>> from recurrent.losses import mean_squared_error
    >>> model = Sequential(Linear(1, 1))
    >>> model.flat = np.array([1, 0], np.float32)  # y = x
    >>> long, short = np.full((9, 1, 1), 3, np.float32), np.ones((1, 1, 1), np.float32)
    >>> batches = [(long, 0 * long, [1]), (short, 0 * short)]  # one valid step each
    >>> evaluate(model, batches, mean_squared_error)
    5.0
    >>> evaluate(model, batches, mean_squared_error, metrics="mean_absolute_error")
    {'loss': 5.0, 'mean_absolute_error': 2.0}
    """
    check_model(model, loss)
    check_batches(batches, "batches")
    named = by_name(metrics, model)
    values = values_of(model, batches, loss, named)
    return values[LOSS] if metrics is None else values


def check_model(model: Any, loss: Any) -> None:
    """Raise TypeError or ValueError unless these are a model and a loss that fits it."""
    checks.instance(model, Model, "model", "a Sequential or another model")
    checks.function(loss, "loss", "losses.softmax_cross_entropy")
    loss = _plain(loss)
    ours = (getattr(losses, name) for name in losses.__all__)
    if isinstance(model.layers[-1], CRF) and loss is not losses.crf and loss in ours:
        raise ValueError(
            f"loss must be losses.crf for a model that ends in a CRF, got {loss.__name__}"
        )


def _plain(function: Any) -> Any:
    """Return the function that `functools.partial` has given options."""
    while isinstance(function, partial):
        function = function.func
    return function


def by_name(metrics: Any, model: Model) -> dict[str, Metric]:
    """Return metrics by their names; raise an error for what is none, or does not fit a model."""
    if metrics is None:
        return {}
    single = isinstance(metrics, str) or callable(metrics)
    if isinstance(metrics, dict):
        pairs = list(metrics.items())
    elif single or isinstance(metrics, (list, tuple)):
        given: Any = [metrics] if single else metrics
        pairs = [(None, metric) for metric in given]
    else:
        raise TypeError(
            "metrics must be a metric such as metrics.accuracy, or a list or dict of them, got"
            f" {checks.shown(metrics)}"
        )
    named: dict[str, Metric] = {}
    for name, metric in pairs:
        if isinstance(metric, str):
            known = [n for n in MODULE if n not in ("at_last_step",)]
            metric = MODULE[checks.choice(metric, "metrics", known)]
        checks.function(metric, "metrics", "metrics.accuracy")
        function = _plain(metric)
        if isinstance(model.layers[-1], CRF) and function in OF_CLASSES:
            raise ValueError(
                "metrics must be metrics.tag_accuracy for a model that ends in a CRF, got "
                f"{function.__name__}"
            )
        name = known_metrics.name_of(metric) if name is None else checks.text(name, "metrics: name")
        if not name or name == LOSS or name in named or len(name) > 100:
            why = "is that of the loss" if name == LOSS else "is used twice"
            why = "must have 1 to 100 characters" if not 0 < len(name) <= 100 else why
            raise ValueError(
                f"metrics: the name {checks.shown(name)} {why}; give names in a dict, such as"
                " metrics=dict(accuracy=metrics.accuracy)"
            )
        named[name] = metric
    return named


MODULE: dict[str, Metric] = {
    name: value
    for name, value in vars(known_metrics).items()
    if hasattr(value, "counts") and hasattr(value, "value")
}


OF_CLASSES = (known_metrics.accuracy, known_metrics.confusion_matrix, known_metrics.macro_f1)


class _Sum:
    """Adds up a metric over batches: its counts, or its mean weighted by entries."""

    def __init__(self, name: str, metric: Any):
        self.name, self.metric, self.total, self.weight = name, metric, None, 0
        self.counting = known_metrics.counting(metric)

    def add(self, y: Any, targets: Any, lengths: Any, weight: float | None) -> None:
        """Add a batch."""
        if self.counting:
            counts = self.counting[0](y, targets, lengths=lengths)
            self.total = counts if self.total is None else self.total + counts
            return
        if weight is None:
            weight = count_entries(self.metric, y, targets, lengths)
        if weight:
            value = self.metric(y, targets, lengths=lengths)
            if np.ndim(value):
                raise TypeError(
                    f"metrics: {self.name} must return a number, got {checks.shown(value)}"
                )
            self.total = (self.total or 0.0) + weight * value
            self.weight += weight

    @property
    def value(self) -> Any:
        """Value of all batches."""
        if self.counting:
            value = self.counting[1](self.total)
            return float(value) if np.ndim(value) == 0 else value
        if not self.weight:
            raise ValueError(f"nothing to evaluate: no batch has a valid entry for {self.name}")
        return float(self.total / self.weight)  # type: ignore[operator]


def values_of(
    model: Model, batches: Iterable[Batch], loss: Loss, metrics: dict[str, Metric]
) -> dict[str, Any]:
    """Return the mean loss, as "loss", and the metrics of one epoch."""
    state, total, weights, whole = None, 0.0, 0.0, model.time_major
    sums = [_Sum(name, metric) for name, metric in metrics.items()]
    cursor = getattr(batches, "cursor", None)
    try:
        if cursor is not None:
            batches.cursor = 0  # type: ignore[attr-defined]
        for batch in batches:
            batch = as_arrays(batch, model)
            before = state if batch.carry else None
            y, state, _ = whole.forward(batch.x, before, batch.lengths, resets=batch.resets)
            lengths, own = model.output_lengths(batch.lengths), weighted(loss, batch)
            weight = batch.weight
            if weight is None:
                weight = count_entries(own, y, batch.targets, lengths)
            if weight:
                total += weight * value_and_gradient(own, y, batch.targets, lengths)[0]
                weights += weight
            for one in sums:
                one.add(y, batch.targets, lengths, batch.weight)
    finally:
        if cursor is not None:
            batches.cursor = cursor  # type: ignore[attr-defined]
    if not weights:
        raise ValueError("nothing to evaluate: no batch has a valid entry")
    return {LOSS: float(total / weights), **{one.name: one.value for one in sums}}
