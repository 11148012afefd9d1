"""The training loop: `fit` and `evaluate`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from .. import checks, schedules
from ..checks.guided import explained
from ..data import Batch, Pair, as_arrays, as_batch
from ..losses import Loss, count_entries
from ..models.base import Model
from ..optim import Optimizer, clip_norm, clip_value
from ..progress import Progress, Silent
from .bptt import TruncatedBPTT, value_and_gradient
from .history import History
from .interrupt import deferred_interrupt
from .state import TrainingState

Metric = Callable[..., float]


@explained
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
    checkpoint_every: int | None = None,
    smooth: float = 0.98,
    resume: TrainingState | None = None,
) -> History:
    """Train a model: for each batch forward, loss, backward, gradient clipping, update.

    Ctrl-C, SIGTERM and SIGHUP end training as if it had finished: after the current update, or at
    once during validation, which `resume` then makes first. A second Ctrl-C raises
    KeyboardInterrupt at once. Whenever `fit` raises an error, model and `resume` are those after
    the last whole update, so that training can go on.

    Parameters
    ----------
    model : Model
        Its parameters are modified.
    batches : sized iterable of Batch
        One epoch per iteration, such as `Windows`, `Batches` or a list of `Batch`. It starts at the
        cursor of `resume`, or at its own `cursor`, if it has one.
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
    checkpoint_every : int, optional
        Keep the state of every that many steps alone and compute the others again in the backward
        pass: little memory for long sequences, the same bits. See `TruncatedBPTT`.
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
        Before an update whose loss or gradient is not finite; the message says whether x, targets
        or a parameter is not. The update before is the last; the attribute `history` of the error
        holds the history so far.
    ValueError
        If `batches` is empty, an option is out of range, `patience` or `metric` is used without
        `validation`, `updates` is below the number already made, the best parameters of an earlier
        call are lost, or a schedule ends before training does.
    TypeError
        If `batches` has no length, or an argument has the wrong type.

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
    state = TrainingState() if resume is None else resume
    checks.instance(state, TrainingState, "resume", "a TrainingState")
    rule: Any = state.optimizer if optimizer is None else optimizer
    checks.instance(rule, Optimizer, "optimizer", "an Optimizer such as optim.Adam()")
    _check_model(model, loss)
    limits = {"clip_norm": clip_norm, "clip_value": clip_value}
    limits = {k: checks.number(v, k, above=0) for k, v in limits.items() if v is not None}
    epochs = checks.integer(epochs, "epochs", 0)
    keep_best = checks.flag(keep_best, "keep_best")
    smooth = checks.number(smooth, "smooth", 0, below=1)
    if validate_every is not None:
        validate_every = checks.integer(validate_every, "validate_every", 1)
    if callback is not None:
        checks.function(callback, "callback", "print")
    if validation is not None:
        _length(validation, "validation")
    elif patience is not None:
        raise ValueError("patience counts validations, so it needs validation=batches, got None")
    elif metric is not None:
        raise ValueError("metric is computed in validations, so it needs validation=batches")
    if patience is not None:
        patience = checks.integer(patience, "patience", 1)
    if metric is not None:
        checks.function(metric, "metric", "losses.mean_squared_error")
    if not isinstance(progress, (bool, np.bool_)) and not hasattr(progress, "print"):
        raise TypeError(
            f"progress must be True, False or a rich Console, got {type(progress).__name__}"
        )
    keep_best = keep_best and validation is not None
    if keep_best and state.best_is_lost:
        raise ValueError(
            "the best parameters of the training to resume are not kept, because it ran without"
            " keep_best or validation since: pass keep_best=False"
        )
    reader = _Reader(batches, state.cursor)
    position = reader.cursor % reader.count  # in the epoch
    start = state.history.updates
    last = start + epochs * reader.count - position
    if updates is not None:
        last = checks.integer(updates, "updates", 0)
        if last < start:
            raise ValueError(
                f"updates counts those made before resume too: it must be at least {start},"
                f" got {last}"
            )
    schedules.check_length(rule.lr, rule.steps, rule.steps + last - start)
    run = TruncatedBPTT(model.time_major, look_back, state.carried, state.past, checkpoint_every)

    gradient = np.empty_like(model.flat)

    def is_due(update: int) -> bool:
        """Return whether a validation follows this update."""
        if validation is None or (history.validation and history.validation[-1][0] == update):
            return False
        if validate_every is None:
            return update == last or (update - start + position) % reader.count == 0
        return update == last or update % validate_every == 0

    def validate(update: int) -> None:
        """Validate, and keep the parameters if they are the best."""
        nonlocal worse
        with interrupt.at_once():
            values = _mean_over_batches(model, validation, loss, metric)
        with interrupt.held():
            _add_validation(history, update, *values)
            worse += 1
            if history.best is not None and history.best[0] == update:
                worse = 0
                state.best = model.flat.copy() if keep_best else None

    def conclude(update: int) -> None:
        """Run the callback after an update and its validation, and decide whether it is the last.

        The end is a KeyboardInterrupt or `history.stopped`.
        """
        if callback is not None:
            callback(update, history)
        if patience is not None and worse >= patience:
            history.stopped = "patience"
        else:
            interrupt.check()

    history = state.history.copy()
    history.stopped = ""
    finite = [v for v in history.validation if not math.isnan(v[1])]
    history.best = min(finite, key=lambda v: v[1], default=None)
    best_update = 0 if history.best is None else history.best[0]
    worse = sum(update > best_update for update, _ in history.validation)
    began = time.perf_counter() - history.seconds
    drawn: Any = None  # the generator's state, the cursor and the phase of the update
    before, phase = reader.cursor, "between updates"
    with deferred_interrupt() as interrupt:
        try:
            with _progress(progress, last, start, metric) as report:
                with interrupt.held():
                    state.optimizer, state.history = rule, history
                    state.restore_latest(model)
                    if not keep_best:
                        state.best = None
                if patience is not None and worse >= patience:
                    history.stopped = "patience"
                elif start > 0 and is_due(start):  # an interrupt came before it
                    validate(start)
                    conclude(start)
                interrupt.check()
                stream = iter(reader)
                while history.updates < last and not history.stopped:
                    update = history.updates + 1
                    drawn, before = model.generator.bit_generator.state, reader.cursor
                    phase = "gradient"
                    batch = as_arrays(next(stream), model)
                    if not batch.carry:
                        run.reset()
                    value, _, y = run.gradient(
                        batch.x, batch.targets, loss, batch.lengths, gradient, batch.resets
                    )
                    if not math.isfinite(value):
                        raise _not_finite(f"the loss is {value}", update, batch, model, history)
                    if not _clip(gradient, **limits):
                        what = "the gradient is not finite"
                        raise _not_finite(what, update, batch, model, history)
                    steps = math.prod(y.shape[:-1])
                    del y  # free the memory before the next forward pass
                    with interrupt.held():
                        phase = "update"
                        rule.update(model.flat, gradient)
                        state.carried, state.past = run.carried, run.past
                        state.cursor = reader.cursor
                        history.losses.append(value)
                        average = history.smoothed
                        history.smoothed = (
                            value if average is None else smooth * average + (1 - smooth) * value
                        )
                        history.seconds = time.perf_counter() - began
                        phase = "between updates"
                    if is_due(update):
                        validate(update)
                    report(history, steps)
                    conclude(update)
            with interrupt.held():
                history.stopped = history.stopped or "finished"
                state.restore_best(model)
            if interrupt.end():
                history.stopped = "interrupted"
        except BaseException as error:
            with interrupt.held():
                if phase != "between updates":
                    model.generator.bit_generator.state = drawn
                    reader.seek(before)
                lost = phase == "update" and not isinstance(error, Exception)
                if lost:  # an interrupt that a program raises by itself
                    state.optimizer = None
                state.restore_best(model)
            interrupt.end()
            if lost or interrupt.forced or not isinstance(error, KeyboardInterrupt):
                raise
            history.stopped = "interrupted"
        finally:
            history.seconds = time.perf_counter() - began
    return history


@explained
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
        Mean over the entries: each batch is weighted by the number of entries that the loss is a
        mean over, see `losses.count_entries`, or by its `weight`.

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
    """
    _check_model(model, loss)
    _check_batches(batches, "batches")
    return _mean_over_batches(model, batches, loss)[0]


def _check_model(model, loss) -> None:
    """Raise TypeError unless these are a model and a loss."""
    checks.instance(model, Model, "model", "a Sequential or another model")
    checks.function(loss, "loss", "losses.softmax_cross_entropy")


def _mean_over_batches(model, batches, loss, metric: Any = None) -> list[float]:
    """Return the mean of the loss, and of the metric, over the entries of one epoch."""
    state, whole = None, model.time_major

    def value_of_loss(y, targets, lengths):
        return value_and_gradient(loss, y, targets, lengths)[0]

    def value_of_metric(y, targets, lengths):
        value = metric(y, targets, lengths=lengths)
        if np.ndim(value):
            raise TypeError(f"metric must return a number, got {checks.shown(value)}")
        return value

    values = value_of_loss, value_of_metric
    functions = list(filter(None, (loss, metric)))
    totals, weights = [0.0] * len(functions), [0.0] * len(functions)
    cursor = getattr(batches, "cursor", None)
    try:
        if cursor is not None:
            batches.cursor = 0
        for batch in batches:
            batch = as_arrays(batch, model)
            before = state if batch.carry else None
            y, state, _ = whole.forward(batch.x, before, batch.lengths, resets=batch.resets)
            lengths = model.output_lengths(batch.lengths)
            for k, function in enumerate(functions):
                weight = batch.weight
                if weight is None:
                    weight = count_entries(function, y, batch.targets, lengths)
                if weight:
                    totals[k] += weight * values[k](y, batch.targets, lengths)
                    weights[k] += weight
    finally:
        if cursor is not None:
            batches.cursor = cursor
    if not all(weights):
        raise ValueError("nothing to evaluate: no batch has a valid entry")
    return [float(total / weight) for total, weight in zip(totals, weights, strict=True)]


def _add_validation(history, update, value, *metrics) -> None:
    """Add a validation to the history."""
    history.validation.append((update, value))
    history.metrics += [(update, v) for v in metrics]
    if not math.isnan(value) and (history.best is None or value < history.best[1]):
        history.best = update, value


def _clip(gradient, **limits: float) -> bool:
    """Clip the gradient in place and return whether it was finite."""
    if "clip_norm" in limits:
        finite = math.isfinite(clip_norm(gradient, limits["clip_norm"]))
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            finite = math.isfinite(gradient.sum())
    if "clip_value" in limits and finite:
        clip_value(gradient, limits["clip_value"])
    return finite


def _not_finite(what, update, batch, model, history) -> FloatingPointError:
    """Return an error that says why, and that holds the history before the failing update."""
    cause = "; ".join(_found_not_finite(batch, model)) or "try a lower lr or clip_norm"
    error: Any = FloatingPointError(
        f"update {update}: {what}; the parameters before it are kept; {cause}"
    )
    error.history = history
    return error


def _found_not_finite(batch, model) -> Iterator[str]:
    """Yield where a parameter, x or the targets are not finite; padding does not count."""
    pair = batch.lengths if isinstance(batch.lengths, Pair) else Pair(batch.lengths, batch.lengths)
    named = [("x", batch.x, pair.source), ("targets", batch.targets, pair.target)]
    if isinstance(batch.x, Pair):
        named[0] = ("the source of x", batch.x.source, pair.source)
    named += [(f"parameter {name}", a, None) for name, a in model.parameters.items()]
    for name, a, lengths in named:
        a = np.asarray(a)
        bad = ~np.isfinite(a) if a.dtype.kind == "f" else np.zeros(0, bool)
        if lengths is not None and bad.ndim > 1:
            shape: Any = bad.shape
            (T, N), steps = shape[:2], np.asarray(lengths)
            if steps.shape in ((N,), (T, N)):
                inside = checks.inside(steps, T).reshape(T, N, *[1] * (bad.ndim - 2))
                bad &= inside
        for place in np.argwhere(bad)[:1].tolist():
            yield f"{name} has {a[tuple(place)]} at {tuple(place)}"


def _length(batches, name: str = "batches") -> int:
    """Return the number of batches of an epoch; raise an error if there is none."""
    try:
        count = len(batches)
    except TypeError:
        kind = type(batches).__name__
        raise TypeError(
            f"{name} must have a length, got {kind}; use a list, Windows or Batches"
        ) from None
    if count == 0:
        raise ValueError(f"{name} must have at least one batch, got none")
    _check_batches(batches, name)
    return count


def _check_batches(batches, name) -> None:
    """Raise TypeError unless these are batches, as far as it costs little to know."""
    if isinstance(batches, (list, tuple, set, frozenset)):
        for batch in batches:
            as_batch(batch)
    elif (
        isinstance(batches, (str, bytes, dict, type))
        or hasattr(batches, "shape")  # an array, a number of NumPy or a tensor
        or not (hasattr(batches, "__iter__") or hasattr(batches, "__getitem__"))
    ):
        raise TypeError(
            f"{name} must be Windows, Batches or a list of batches, got {type(batches).__name__}"
        )


class _Reader:
    """Reads the batches of one epoch after the other, without end, from a cursor on."""

    def __init__(self, batches, cursor: int | None):
        self.batches, self.count = batches, _length(batches)
        self.counts = not hasattr(batches, "cursor")  # whether the cursor is kept here alone
        self.cursor = (0 if self.counts else batches.cursor) if cursor is None else cursor

    def seek(self, cursor: int) -> None:
        """Set the cursor."""
        self.cursor = cursor
        if not self.counts:
            self.batches.cursor = cursor

    def __iter__(self) -> Iterator[Batch]:
        while True:
            skip = self.cursor % self.count if self.counts else 0
            self.seek(self.cursor)
            found = False
            for batch in islice(self.batches, skip, None):
                found = True
                self.cursor = self.cursor + 1 if self.counts else self.batches.cursor
                yield batch
            if not found:
                raise ValueError(
                    f"batches must give {self.count} batches each time they are iterated,"
                    " got none; use a list, Windows or Batches"
                )


def _progress(progress, last, start, metric) -> Silent:
    """Return the progress display of `fit`."""
    if progress is False or last <= start:
        return Silent()
    name = getattr(metric, "__name__", "metric").replace("_", " ").strip("<>")
    return Progress(last, start, name, None if progress is True else progress)
