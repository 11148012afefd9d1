"""The training loop: `fit` and `evaluate`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from .. import checks
from ..data import Batch, as_batch
from ..losses import Loss
from ..models.base import Model
from ..optim import Optimizer, clip_norm, clip_value
from ..progress import Progress, Silent
from .bptt import TruncatedBPTT
from .history import History
from .interrupt import deferred_interrupt
from .state import TrainingState

Metric = Callable[..., float]


def fit(
    model: Model,
    batches: Iterable[Batch],
    loss: Loss,
    optimizer: Optimizer | None = None,
    *,
    epochs: int = 1,
    updates: int | None = None,
    validation: Iterable[Batch] | None = None,
    validate_every: int | None = None,
    patience: int | None = None,
    keep_best: bool = True,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    metric: Metric | None = None,
    progress: Any = True,
    callback: Callable[[int, History], None] | None = None,
    look_back: int | None = None,
    smooth: float = 0.98,
    resume: TrainingState | None = None,
) -> History:
    """Train a model: for each batch forward, loss, backward, gradient clipping, update.

    Ctrl-C ends training as if it had finished: after the current update, or at once during
    validation. A second Ctrl-C raises KeyboardInterrupt immediately, even within an update.

    Parameters
    ----------
    model : Model
        Its parameters are modified.
    batches : sized iterable of Batch
        One epoch per iteration, such as `Windows`, `Batches` or a list of `Batch`. It starts at its
        `cursor`, if it has one.
    loss : callable
        `loss(y, targets, lengths=...)` returns the value and the gradient with respect to y.
    optimizer : Optimizer, optional
        That of `resume` by default.
    epochs : int
        Number of epochs.
    updates : int, optional
        Total number of updates, including those made before `resume`; overrides `epochs`.
    validation : sized iterable of Batch, optional
        Held-out batches, evaluated after each epoch and at the end.
    validate_every : int, optional
        Number of updates between two validations; by default an epoch.
    patience : int, optional
        Early stopping: number of validations in a row without a new best loss that ends training.
    keep_best : bool
        With `validation`, leave the model with the best parameters rather than the latest.
    clip_norm : float, optional
        Clip the norm of the gradient to this limit.
    clip_value : float, optional
        Then clip each entry of the gradient to this limit.
    metric : callable, optional
        `metric(y, targets, lengths=...)` returns a number that is evaluated in each validation.
    progress : bool or rich.console.Console
        Whether, or where, to show progress.
    callback : callable, optional
        `callback(update, history)` runs after each update and its validation.
    look_back : int, optional
        How many steps a gradient goes back where batches carry the state, including those of the
        batch; by default only those. See `TruncatedBPTT`.
    smooth : float
        Smoothing factor of `history.smoothed`, an exponential moving average of the losses.
    resume : TrainingState, optional
        Continue this training: its optimiser, history, cursor and carried state. The state
        (`recurrent.training.state`) is updated after each update. The model must be as the earlier
        call left it.

    Returns
    -------
    History
        Losses and validations, including those of `resume`.

    Raises
    ------
    FloatingPointError
        Before an update whose loss or gradient is not finite. The parameters are those after the
        update before; the attribute `history` of the error holds the history so far.
    ValueError
        If `batches` is empty, or `patience` is used without `validation`.
    TypeError
        If `batches` has no length, or `loss` or `optimizer` is not one.

    Examples
    --------
    >>> from recurrent import LSTM, Linear, Sequential
    >>> from recurrent.data import Windows
    >>> from recurrent.losses import mean_squared_error
    >>> from recurrent.optim import Adam
    >>> wave = np.sin(0.3 * np.arange(401, dtype=np.float32)).reshape(-1, 1, 1)
    >>> model = Sequential(LSTM(1, 8), Linear(8, 1), rng=0)
    >>> windows = Windows(wave[:-1], wave[1:], 20)
    >>> history = fit(model, windows, mean_squared_error, Adam(1e-2), epochs=20, progress=False)
    >>> history.updates, history.losses[0] > 0.3, history.losses[-1] < 0.01
    (400, True, True)
    """
    checks.function(loss, "loss", "losses.softmax_cross_entropy")
    state = TrainingState() if resume is None else resume
    optimizer = state.optimizer if optimizer is None else optimizer
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"optimizer must be an Optimizer such as optim.Adam(), got {type(optimizer).__name__}"
        )
    if epochs < 0:
        raise ValueError(f"epochs must be at least 0, got {epochs}")
    if patience is not None and validation is None:
        raise ValueError("patience counts validations, so it needs validation=batches, got None")
    count = _length(batches)
    position = _seek(batches, state.cursor) % count  # in the epoch

    history = state.history.copy()
    history.stopped = ""
    finite = [v for v in history.validation if not math.isnan(v[1])]
    history.best = min(finite, key=lambda v: v[1], default=None)
    best_update = 0 if history.best is None else history.best[0]
    worse = sum(update > best_update for update, _ in history.validation)
    state.optimizer, state.history = optimizer, history
    if patience is not None and worse >= patience:
        history.stopped = "patience"
        return history

    start = history.updates
    last = start + epochs * count - position if updates is None else updates
    run = TruncatedBPTT(model, look_back, state.carried, state.past)
    state.restore_latest(model)
    if validation is None or not keep_best:
        state.best = None
    gradient = np.empty_like(model.flat)
    began = time.perf_counter() - history.seconds
    with deferred_interrupt() as interrupt, _progress(progress, last, start, metric) as report:
        try:
            for update, batch in zip(range(start + 1, last + 1), _repeat(batches), strict=False):
                if not batch.carry:
                    run.reset()
                value, _, y = run.gradient(batch.x, batch.targets, loss, batch.lengths, gradient)
                if not math.isfinite(value):
                    raise _not_finite(f"the loss is {value}", update, history)
                if not _clip(gradient, clip_norm, clip_value):
                    raise _not_finite("the gradient is not finite", update, history)
                optimizer.update(model.flat, gradient)
                steps = math.prod(y.shape[:-1])
                del y  # free the memory before the next forward pass
                state.carried, state.past = run.carried, run.past
                state.cursor = getattr(batches, "cursor", None)
                history.losses.append(value)
                average = history.smoothed
                history.smoothed = (
                    value if average is None else smooth * average + (1 - smooth) * value
                )
                history.seconds = time.perf_counter() - began

                end_of_epoch = (update - start + position) % count == 0
                due = end_of_epoch if validate_every is None else update % validate_every == 0
                if validation is not None and (due or update == last):
                    with interrupt.at_once():
                        _validate(model, validation, loss, metric, update, history)
                    worse += 1
                    if history.best is not None and history.best[0] == update:
                        worse = 0
                        state.best = model.flat.copy() if keep_best else None
                report(history, steps)
                if callback is not None:
                    callback(update, history)
                if patience is not None and worse >= patience:
                    history.stopped = "patience"
                    break
                interrupt.check()
            history.stopped = history.stopped or "finished"
        except KeyboardInterrupt:
            if interrupt.forced:
                raise
            history.stopped = "interrupted"
        finally:
            history.seconds = time.perf_counter() - began
    state.restore_best(model)
    return history


def evaluate(model: Model, batches: Iterable[Batch], loss: Loss) -> float:
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

    Returns
    -------
    float
        Mean over the entries, each batch weighted by its number of valid entries.

    Raises
    ------
    ValueError
        If there is no valid entry.
    """
    checks.function(loss, "loss", "losses.softmax_cross_entropy")
    return _mean_over_batches(model, batches, _value_of(loss))[0]


def _value_of(loss):
    """Return a function that computes only the value of a loss."""
    return lambda y, targets, lengths: loss(y, targets, lengths=lengths)[0]


def _mean_over_batches(model, batches, *functions) -> list[float]:
    """Return the mean of each function over one epoch, batches weighted by their valid entries."""
    state, weights = None, 0
    totals = [0.0] * len(functions)
    cursor = getattr(batches, "cursor", None)
    try:
        if cursor is not None:
            batches.cursor = 0
        for batch in map(as_batch, batches):
            y, state, _ = model.forward(batch.x, state if batch.carry else None, batch.lengths)
            lengths = model.output_lengths(batch.lengths)
            # A model that pools answers once for each sequence, including those without steps.
            pooled = batch.lengths is not None and lengths is None
            weight = np.size(batch.targets) if pooled or batch.weight is None else batch.weight
            weights += weight
            if weight:
                totals = [
                    total + weight * function(y, batch.targets, lengths)
                    for total, function in zip(totals, functions, strict=True)
                ]
    finally:
        if cursor is not None:
            batches.cursor = cursor
    if weights == 0:
        raise ValueError("nothing to evaluate: no batch has a valid entry")
    return [float(total / weights) for total in totals]


def _validate(model, batches, loss, metric, update, history) -> None:
    """Add a validation to the history."""
    functions = [_value_of(loss)]
    if metric is not None:
        functions.append(lambda y, targets, lengths: metric(y, targets, lengths=lengths))
    value, *metrics = _mean_over_batches(model, batches, *functions)
    history.validation.append((update, value))
    history.metrics += [(update, v) for v in metrics]
    if not math.isnan(value) and (history.best is None or value < history.best[1]):
        history.best = update, value


def _clip(gradient, norm_limit, value_limit) -> bool:
    """Clip the gradient in place and return whether it was finite."""
    if norm_limit is not None:
        finite = math.isfinite(clip_norm(gradient, norm_limit))
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            finite = math.isfinite(gradient.sum())
    if value_limit is not None and finite:
        clip_value(gradient, value_limit)
    return finite


def _not_finite(what, update, history) -> FloatingPointError:
    """Return an error that holds the history before the failing update."""
    error: Any = FloatingPointError(
        f"update {update}: {what}; the parameters before it are kept; try a lower lr or clip_norm"
    )
    error.history = history
    return error


def _length(batches) -> int:
    """Return the number of batches of an epoch; raise an error if there is none."""
    try:
        count = len(batches)
    except TypeError:
        name = type(batches).__name__
        raise TypeError(
            f"batches must have a length, got {name}; use a list, Windows or Batches"
        ) from None
    if count == 0:
        raise ValueError("batches must have at least one batch, got none")
    return count


def _seek(batches: Any, cursor: int | None) -> int:
    """Move the batches to a cursor, if they have one, and return it."""
    if cursor is not None and hasattr(batches, "cursor"):
        batches.cursor = cursor
    return getattr(batches, "cursor", 0)


def _repeat(batches) -> Iterator[Batch]:
    """Yield the batches of one epoch after the other, without end."""
    while True:
        yield from map(as_batch, batches)


def _progress(progress, last, start, metric) -> Silent:
    """Return the progress display of `fit`."""
    if progress is False or last <= start:
        return Silent()
    name = getattr(metric, "__name__", "metric").replace("_", " ").strip("<>")
    return Progress(last, start, name, None if progress is True else progress)
