"""The training loop: `fit` and `evaluate`."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import checks
from ..data import Batch
from ..losses import Loss
from ..models.base import Model
from ..optim import Optimizer, clip_norm, clip_value
from ..progress import Progress, Silent
from .bptt import TruncatedBPTT
from .history import History

Metric = Callable[..., float]


def fit(
    model: Model,
    batches: Iterable[Batch],
    loss: Loss,
    optimizer: Optimizer,
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
    smoothed: float | None = None,
    start: int = 0,
    state: Any = None,
    past: Any = None,
    validated: Sequence[tuple[int, float]] = (),
) -> History:
    """Train a model: for each batch forward, loss, backward, clip, update.

    `batches`: a collection of `Batch` that can be iterated once an epoch, such as `Windows` or `Batches`; from its `cursor` on
    if it has one. `loss(y, targets, lengths=...)` gives value and gradient. Training ends after `epochs` passes or, if given,
    when `updates` are done, the `start` ones of earlier calls counted. `state` and `past` of an earlier call's history are
    what a first batch that carries goes on from.

    `validation`: batches for `evaluate`, after each epoch or every `validate_every` updates, and at the end. With it, training
    also ends after `patience` validations in a row without a new best, and the best parameters are put back at the end,
    unless `keep_best` is false. `validated`: the validations of earlier calls, from which best and patience go on.
    `metric(y, targets, lengths=...)` is evaluated with the validation.

    `clip_norm`, `clip_value`: limits of the whole gradient's norm and of each entry; the norm first. `progress`: True, False
    or a rich Console; the loss it shows is `history.smoothed`, which starts at `smoothed`, or the first loss, and becomes
    `smooth` times itself plus (1 - smooth) times the loss. `callback(update, history)` runs after each update and what
    belongs to it.

    `look_back`: how many steps a gradient goes back where batches carry the state, those of the batch counted, by default
    only those: see `TruncatedBPTT`.

    Ctrl-C ends training as if it had finished, after the update that is under way; in a validation at once. A second one
    does not wait: KeyboardInterrupt, in the middle of an update. Raises FloatingPointError before an update whose loss or
    gradient is not finite, with the `history` so far as attribute; the parameters are those of the update before.

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
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"optimizer must be one such as optim.Adam(), got {type(optimizer).__name__}"
        )
    if epochs < 0:
        raise ValueError(f"epochs must be at least 0, got {epochs}")
    count = _length(batches)
    done_of_pass = getattr(batches, "cursor", 0) % count
    last = start + epochs * count - done_of_pass if updates is None else updates
    if patience is not None and validation is None:
        raise ValueError("patience counts validations: give validation=batches too")
    finite = [v for v in validated if not math.isnan(v[1])]
    best = min(finite, key=lambda v: v[1], default=None)
    history = History(start=start, state=state, past=past, smoothed=smoothed, best=best)
    run = TruncatedBPTT(model, look_back, state, past)
    gradient = np.empty_like(model.flat)
    best, began = None, time.perf_counter()
    worse = sum(history.best is None or update > history.best[0] for update, _ in validated)
    if patience is not None and worse >= patience:
        history.stopped = "patience"
        return history
    report = _reporter(progress, last, start, metric)
    with _deferred_interrupt() as interrupt, report:
        try:
            for update, batch in zip(range(start + 1, last + 1), _passes(batches), strict=False):
                if not batch.carry:
                    run.reset()
                value, _, y = run.gradient(batch.x, batch.targets, loss, batch.lengths, gradient)
                if not math.isfinite(value):
                    raise _not_finite(f"the loss is {value}", update, history)
                if not _clip(gradient, clip_norm, clip_value):
                    raise _not_finite("the gradient is not finite", update, history)
                optimizer.update(model.flat, gradient)
                symbols = math.prod(y.shape[:-1])
                del y  # or it lives on beside that of the next update
                history.state, history.past = run.resumption
                history.losses.append(value)
                history.smoothed = (
                    value
                    if history.smoothed is None
                    else smooth * history.smoothed + (1 - smooth) * value
                )
                history.seconds = time.perf_counter() - began

                end_of_pass = (update - start + done_of_pass) % count == 0
                due = end_of_pass if validate_every is None else update % validate_every == 0
                if validation is not None and (due or update == last):
                    with interrupt.at_once():
                        _validate(model, validation, loss, metric, update, history)
                    worse += 1
                    if history.best is not None and history.best[0] == update:
                        worse = 0
                        best = model.flat.copy() if keep_best else None
                report(history, symbols)
                if callback is not None:
                    callback(update, history)
                if patience is not None and worse >= patience:
                    history.stopped = "patience"
                    break
                interrupt.now()
            history.stopped = history.stopped or "finished"
        except KeyboardInterrupt:
            if interrupt.torn:
                raise
            history.stopped = "interrupted"
        finally:
            history.seconds = time.perf_counter() - began
    if best is not None:
        model.flat[:] = best
    return history


def evaluate(model: Model, batches: Iterable[Batch], loss: Loss) -> float:
    """Mean loss over all valid entries of one pass from its beginning; state carried where batches say so, no dropout.

    A `cursor` of the batches is left where it was. Raises ValueError if there is no valid entry.
    """
    checks.function(loss, "loss", "losses.softmax_cross_entropy")
    return _means(model, batches, lambda y, targets, lengths: loss(y, targets, lengths=lengths)[0])[
        0
    ]


def _means(model, batches, *functions) -> list[float]:
    """The mean of functions of (y, targets, lengths) over a pass, batches weighted by their valid entries."""
    cursor, state, total, weights = (
        getattr(batches, "cursor", None),
        None,
        [0.0] * len(functions),
        0,
    )
    try:
        if cursor is not None:
            batches.cursor = 0
        for batch in map(Batch.of, batches):
            y, state, _ = model.forward(batch.x, state if batch.carry else None, batch.lengths)
            lengths = model.output_lengths(batch.lengths)
            pooled = (
                batch.lengths is not None and lengths is None
            )  # one answer each, those of no steps too
            weight = np.size(batch.targets) if pooled or batch.weight is None else batch.weight
            weights += weight
            if weight:
                total = [
                    s + weight * f(y, batch.targets, model.output_lengths(batch.lengths))
                    for s, f in zip(total, functions, strict=True)
                ]
    finally:
        if cursor is not None:
            batches.cursor = cursor
    if weights == 0:
        raise ValueError("nothing to evaluate: no batch has a valid entry")
    return [float(s / weights) for s in total]


def _validate(model, batches, loss, metric, update, history) -> None:
    functions = [lambda y, targets, lengths: loss(y, targets, lengths=lengths)[0]]
    if metric is not None:
        functions.append(lambda y, targets, lengths: metric(y, targets, lengths=lengths))
    value, *others = _means(model, batches, *functions)
    history.validation.append((update, value))
    history.metrics += [(update, v) for v in others]
    if not math.isnan(value) and (history.best is None or value < history.best[1]):
        history.best = update, value


def _clip(gradient, norm_limit, value_limit) -> bool:
    """Clip the gradient in place; whether it was finite."""
    if norm_limit is not None:
        finite = math.isfinite(clip_norm(gradient, norm_limit))
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            finite = math.isfinite(gradient.sum())
    if value_limit is not None and finite:
        clip_value(gradient, value_limit)
    return finite


def _not_finite(what, update, history) -> FloatingPointError:
    error = FloatingPointError(
        f"update {update}: {what}; the parameters before it are kept; try a lower lr or clip_norm"
    )
    error.history = history
    return error


def _length(batches) -> int:
    try:
        count = len(batches)
    except TypeError:
        name = type(batches).__name__
        raise TypeError(
            f"batches must have a length, got {name}; make a list of it, or Windows, or Batches"
        ) from None
    if count == 0:
        raise ValueError("batches must have at least one batch, got none")
    return count


def _passes(batches) -> Iterator[Batch]:
    while True:
        yield from map(Batch.of, batches)


def _reporter(progress, last, start, metric) -> Silent:
    if progress is False or last <= start:
        return Silent()
    name = getattr(metric, "__name__", "metric").replace("_", " ").strip("<>")
    return Progress(last, start, name, None if progress is True else progress)


class _Interrupt:
    """Ctrl-C, kept until it is convenient: an update is never torn in two."""

    def __init__(self):
        self.asked, self.immediate, self.torn = False, False, False

    def handle(self, signum, frame):
        self.torn = self.asked  # a second time: whoever asks does not want to wait
        self.asked = True
        if self.immediate or self.torn:
            raise KeyboardInterrupt

    def now(self) -> None:
        """Raise the interrupt that was asked for, if any."""
        if self.asked:
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self):
        """Where Ctrl-C need not wait."""
        self.now()
        self.immediate = True
        try:
            yield
        finally:
            self.immediate = False


@contextmanager
def _deferred_interrupt():
    interrupt = _Interrupt()
    # Signals reach the main thread only; a handler that someone else has set stays.
    mine = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if mine:
        signal.signal(signal.SIGINT, interrupt.handle)
    try:
        yield interrupt
    finally:
        if mine:
            signal.signal(signal.SIGINT, signal.default_int_handler)
