"""The loop of `fit`: updates and validations that end, fail and resume between two updates."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import Batch, as_arrays
from ..losses import Loss, count_entries
from ..losses.entries import causes_of
from ..models.base import Model
from ..progress import Progress, Silent
from .bptt import TruncatedBPTT
from .evaluation import values_of
from .finite import clip, not_finite
from .history import History
from .interrupt import DeferredInterrupt, deferred_interrupt
from .monitor import Monitor
from .rates import Rates
from .reader import Reader, weighted
from .state import TrainingState


@dataclass
class Loop:
    """A training: its parts, the options of `fit` that the loop reads, and the loop itself."""

    model: Model
    loss: Loss
    state: TrainingState
    history: History
    reader: Reader
    run: TruncatedBPTT
    rates: Rates
    monitor: Monitor
    validation: Any
    metrics: dict[str, Any]
    callbacks: list[Callable]
    validate_every: int | None
    patience: int | None
    keep_best: bool
    accumulate: int
    ema: float | None
    limits: dict[str, float]
    smooth: float
    last: int  # the number of updates at the end

    def __post_init__(self) -> None:
        self.start = self.history.updates
        self.gradient = np.empty_like(self.model.flat)
        self.part = self.gradient if self.accumulate == 1 else np.empty_like(self.gradient)
        self.interrupt: DeferredInterrupt
        self.raw: np.ndarray | None = None  # the latest parameters, while the model is averaged
        self.rates.first = self.start - self.rates.rule.steps

    def go(self, progress: Any) -> History:
        """Train to the last update, and leave the model with the parameters that are kept."""
        history, state, model, reader = self.history, self.state, self.model, self.reader
        began = time.perf_counter() - history.seconds
        drawn: Any = None  # the generator's state, the cursor and the phase of the update
        before, phase = reader.cursor, "between updates"
        with deferred_interrupt() as interrupt:
            self.interrupt = interrupt
            try:
                with self._progress(progress) as report:
                    with interrupt.held():
                        self._begin()
                    if self.patience is not None and self.monitor.worse >= self.patience:
                        history.stopped = "patience"
                    elif self.start > 0 and self._is_due(self.start):  # an interrupt came before it
                        self._validate(self.start)
                        self._conclude(self.start)
                    interrupt.check()
                    stream = iter(reader)
                    while history.updates < self.last and not history.stopped:
                        update = history.updates + 1
                        drawn, before = model.generator.bit_generator.state, reader.cursor
                        phase = "gradient"
                        value, steps = self._gradient(stream, update)
                        with interrupt.held():
                            phase = "update"
                            self._update(value)
                            history.seconds = time.perf_counter() - began
                            phase = "between updates"
                        if self._is_due(update):
                            self._validate(update)
                        report(history, steps)
                        self._conclude(update)
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
                    self._leave_average()
                    state.restore_best(model)
                interrupt.end()
                if lost or interrupt.forced or not isinstance(error, KeyboardInterrupt):
                    raise
                history.stopped = "interrupted"
            finally:
                history.seconds = time.perf_counter() - began
        return history

    def _begin(self) -> None:
        """Put the state of the training in place."""
        history, state = self.history, self.state
        state.optimizer, state.history = self.rates.rule, history
        state.restore_latest(self.model)
        if self.ema is None:
            state.average = None
        if not self.keep_best:
            state.best = None
        elif history.best is not None and history.best[0] == history.updates:
            kept = self.model.flat if state.average is None else state.average
            state.best = kept.copy()
        for name in self.metrics:
            history.metrics.setdefault(name, [])
        self.rates.validated(self.monitor)

    def _gradient(self, stream: Any, update: int) -> tuple[float, int]:
        """Compute the gradient of an update; return its loss and the number of steps read."""
        total = weights = 0.0
        steps, batches = 0, []
        while True:
            batch = as_arrays(next(stream), self.model)
            batches.append(batch)
            loss = weighted(self.loss, batch)
            if not batch.carry:
                self.run.reset()
            value, _, y = self.run.gradient(
                batch.x, batch.targets, loss, batch.lengths, self.part, batch.resets
            )
            if not math.isfinite(value):
                lengths = self.model.output_lengths(batch.lengths)
                known = causes_of(loss, y, batch.targets, lengths)
                what = f"the loss is {value}"
                raise not_finite(what, update, [batch], self.model, self.history, known)
            steps += _rows(y)
            if self.accumulate > 1:
                weight = self._weight(loss, batch, y)
                total, weights = total + weight * value, weights + weight
                self.part *= weight
                if len(batches) == 1:
                    self.gradient[:] = self.part
                else:
                    self.gradient += self.part
            del y  # free the memory before the next forward pass
            if len(batches) == self.accumulate or self.reader.position == 0:
                break
        if self.accumulate > 1:
            value = total / weights if weights else 0.0
            self.gradient /= weights or 1.0
        self.rates.clear_frozen(self.gradient)
        if not clip(self.gradient, **self.limits):
            what = "the gradient is not finite"
            raise not_finite(what, update, batches, self.model, self.history)
        return value, steps

    def _weight(self, loss: Loss, batch: Batch, y: Any) -> float:
        """Return the number of entries that the loss of a batch is a mean over."""
        if batch.weight is not None:
            return batch.weight
        return count_entries(loss, y, batch.targets, self.model.output_lengths(batch.lengths))

    def _update(self, value: float) -> None:
        """Update the parameters, their average, the state and the history."""
        model, state, history = self.model, self.state, self.history
        rate = self.rates.now(self.rates.rule.lr)
        self.rates.update(model.flat, self.gradient)
        if self.ema is not None:
            if state.average is None:
                state.average = model.flat.copy()
            else:
                state.average += (1 - self.ema) * (model.flat - state.average)
        state.carried, state.past = self.run.carried, self.run.past
        state.cursor = self.reader.cursor
        history.losses.append(value)
        history.lr = float(rate)
        average, smooth = history.smoothed, self.smooth
        history.smoothed = value if average is None else smooth * average + (1 - smooth) * value

    def _is_due(self, update: int) -> bool:
        """Return whether a validation follows this update."""
        done = self.history.validation
        if self.validation is None or (done and done[-1][0] == update):
            return False
        if self.validate_every is None:
            return update == self.last or self.reader.position == 0
        return update == self.last or update % self.validate_every == 0

    def _validate(self, update: int) -> None:
        """Validate, and keep the parameters if they are the best."""
        model, state, interrupt = self.model, self.state, self.interrupt
        if state.average is not None:
            with interrupt.held():
                self.raw = model.flat.copy()
                model.flat[:] = state.average
        with interrupt.at_once():
            values = values_of(model, self.validation, self.loss, self.metrics)
        with interrupt.held():
            if self.monitor.add(update, values):
                state.best = model.flat.copy() if self.keep_best else None
            self._leave_average()
            self.rates.validated(self.monitor)

    def _leave_average(self) -> None:
        """Put the latest parameters back into the model after a validation of the average."""
        if self.raw is not None:
            self.model.flat[:] = self.raw
            self.raw = None

    def _conclude(self, update: int) -> None:
        """Run the callbacks after an update and its validation, and decide whether it is the last.

        The end is a KeyboardInterrupt or `history.stopped`.
        """
        results = [callback(update, self.history) for callback in self.callbacks]
        if self.patience is not None and self.monitor.worse >= self.patience:
            self.history.stopped = "patience"
        elif any(isinstance(result, (bool, np.bool_)) and result for result in results):
            self.history.stopped = "callback"
        else:
            self.interrupt.check()

    def _progress(self, progress: Any) -> Silent:
        """Return the progress display."""
        if progress is False or self.last <= self.start:
            return Silent()
        return Progress(self.last, self.start, None if progress is True else progress)


def _rows(y: Any) -> int:
    """Return the number of steps of all sequences of y; of the first output if there are several.

    A pooled output has one for each sequence.
    """
    first = next(iter(y.values())) if isinstance(y, dict) else y
    return math.prod(first.shape[:-1])
