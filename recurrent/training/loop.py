"""The loop of `fit`: updates and validations that end, fail and resume between two updates."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..losses import Loss
from ..models.base import Model
from ..progress import Progress, Silent
from .agreement import digest
from .evaluation import values_of
from .finite import clip, not_finite
from .history import History
from .interrupt import DeferredInterrupt, deferred_interrupt
from .monitor import Monitor
from .rates import Rates
from .reader import Reader
from .shards import ShardRuns, join
from .state import TrainingState
from .workers import GRACE, Workers, is_settled, settled


@dataclass
class Loop:
    """A training: its parts, the options of `fit` that the loop reads, and the loop itself."""

    model: Model
    loss: Loss
    state: TrainingState
    history: History
    reader: Reader
    shards: ShardRuns
    workers: Workers
    carries: bool  # whether batches may start from the state of the batch before
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
        self.interrupt: DeferredInterrupt
        self.raw: np.ndarray | None = None  # the latest parameters, while the model is averaged
        self.rates.first = self.start - self.rates.rule.steps
        self.signum = 0  # of a signal that all workers know of
        self.forced = False  # whether a second Ctrl-C came to one of them
        self.calls = False  # whether the first worker has callbacks
        # Of the own shards, after the last update: carried state, and inputs that follow it.
        self.carried: tuple[Any, Any] = None, None

    def go(self, progress: Any) -> History:
        """Train to the last update, and leave the model with the parameters that are kept."""
        history, state, model, reader = self.history, self.state, self.model, self.reader
        began = time.perf_counter() - history.seconds
        self.drawn = model.generator.bit_generator.state  # before the update
        self.before, self.phase = reader.cursor, "between updates"
        with self.workers.threads(), self.workers.watched(), deferred_interrupt() as interrupt:
            self.interrupt = interrupt
            self.workers.ended = lambda: interrupt.caught and not self.signum
            failure: BaseException | None = None
            try:
                with interrupt.held():
                    self._begin()
                with self._progress(progress) as report:
                    self._run(report, began)
            except BaseException as error:
                failure = error
            try:
                with interrupt.held():
                    failure, lost = self._settle(failure)
                    if failure is not None and self.phase != "between updates":
                        model.generator.bit_generator.state = self.drawn
                        reader.seek(self.before)
                    if lost:
                        state.optimizer = None
                    self._leave_average()
                    state.restore_best(model)
                    stopped = self._stop()
                if failure is None:
                    history.stopped = "interrupted" if stopped else history.stopped or "finished"
                elif lost or self.forced or not isinstance(failure, KeyboardInterrupt):
                    if isinstance(failure, FloatingPointError):  # that of another worker has none
                        failure.history = history  # type: ignore[attr-defined]
                    raise failure
                else:
                    history.stopped = "interrupted"
            finally:
                history.seconds = time.perf_counter() - began
                self.workers.ended = never
        return history

    def _run(self, report: Any, began: float) -> None:
        """Make the updates and validations, and set `history.stopped` at the end."""
        history, model, reader, interrupt = self.history, self.model, self.reader, self.interrupt
        if self.patience is not None and self.monitor.worse >= self.patience:
            history.stopped = "patience"
        elif self.start > 0 and self._is_due(self.start):  # an interrupt came before it
            self._validate(self.start)
            self._conclude(self.start)
        self._check_interrupt()
        stream = iter(reader)
        while history.updates < self.last and not history.stopped:
            update = history.updates + 1
            self.drawn, self.before = model.generator.bit_generator.state, reader.cursor
            self.phase = "gradient"
            batches, sums = self._own_gradient(stream, update)
            with interrupt.held():
                value, steps = self._gradient(batches, sums, update)
                self.phase = "update"
                self._update(value)
                elapsed = time.perf_counter() - began
                longest = GRACE + 2 * (elapsed - history.seconds)
                self.workers.grace = max(self.workers.grace, longest)
                history.seconds = elapsed
                self.phase = "between updates"
            if self._is_due(update):
                self._validate(update)
            report(history, steps)
            self._conclude(update)

    def _settle(self, failure: BaseException | None) -> tuple[BaseException | None, bool]:
        """Agree on the error that all workers end with, or None, and on a signal.

        Return the error, and whether the state is lost: training cannot go on from it.
        """
        if self.workers.size == 1:
            return failure, self._is_torn(failure)
        gathering = False
        while True:
            try:
                if failure is not None and not is_settled(failure):
                    self.workers.fail(failure)
                place = self.history.updates, len(self.history.validation), self.phase == "update"
                everyone = self.workers.share((place, self.interrupt.forced, gathering))
                places, forced, gathered = zip(*everyone, strict=True)
                self.forced = any(forced)
                # One has failed where others have not, or while it gathered the state.
                lost = any(gathered) or len(set(places)) > 1 or self._is_torn(failure)
                if not lost:
                    if failure is None:
                        self._agree({})
                    gathering = True
                    self._gather_carried()
                self.signum = self.workers.meet(signum=self.interrupt.signum or 0).signum
                return failure, lost
            except BaseException as error:
                failure = error

    def _is_torn(self, failure: BaseException | None) -> bool:
        """Return whether an interrupt that a program raises by itself has cut an update in two."""
        interrupted = failure is not None and not isinstance(failure, Exception)
        return interrupted and self.phase == "update"

    def _stop(self) -> bool:
        """Return whether a signal ends training: of several workers, one that all know of."""
        if self.workers.size == 1:
            stopped, self.forced = self.interrupt.end(), self.interrupt.forced
            return stopped
        self.interrupt.told(self.signum or None)
        self.interrupt.forced = False
        return self.interrupt.end(bool(self.signum))

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
        self.calls = self.workers.any(self.workers.first and bool(self.callbacks))

    def _own_gradient(self, stream: Any, update: int) -> tuple[list[list], np.ndarray]:
        """Read the batches of an update, and compute the gradient of the own shards."""
        batches: list[list] = []
        while True:
            batches.append(next(stream))
            if len(batches) == self.accumulate or self.reader.position == 0:
                break
        return batches, self.shards.gradient(batches, update, self.history, self.gradient)

    def _gradient(self, batches: list[list], sums: np.ndarray, update: int) -> tuple[float, int]:
        """Add up the gradients of all shards; return the loss and the number of steps read."""
        loss, weight, steps = sums.tolist()
        meeting = self.workers.meet(loss, weight, steps, self.interrupt.signum or 0)
        self.workers.add(self.gradient)
        self.signum, value = meeting.signum, meeting.loss
        self.interrupt.told(meeting.signum or None)
        if self.shards.scaled:
            value = meeting.loss / meeting.weight if meeting.weight else 0.0
            self.gradient /= meeting.weight or 1.0
        self.rates.clear_frozen(self.gradient)
        if not clip(self.gradient, **self.limits):
            what = "the gradient is not finite"
            read = [batch for parts in batches for batch in parts if batch is not None]
            raise not_finite(what, update, read, self.model, self.history)
        return value, int(meeting.steps)

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
        if self.carries:
            self.carried = self.shards.carried, self.shards.past
        if self.workers.size == 1:
            state.carried, state.past = self.carried
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
        values: dict[str, Any] = {}
        if self.workers.first:
            with interrupt.at_once():
                values = values_of(model, self.validation, self.loss, self.metrics)
        with interrupt.held():
            values = self._agree(values)
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
        ends = self._call_callbacks(update)
        if self.patience is not None and self.monitor.worse >= self.patience:
            self.history.stopped = "patience"
        elif ends:
            self.history.stopped = "callback"
        else:
            self._check_interrupt()

    def _call_callbacks(self, update: int) -> bool:
        """Call the callbacks, on the first worker; return whether one ends training."""
        if not self.calls:
            return False
        reads = self.workers.first and any(
            getattr(callback, "reads_state", _always)(update) for callback in self.callbacks
        )
        with self.interrupt.held():
            if self.workers.any(reads):
                self._gather_carried()
        results: list[Any] = []
        if self.workers.first:
            results = [callback(update, self.history) for callback in self.callbacks]
        ends = any(isinstance(result, (bool, np.bool_)) and result for result in results)
        with self.interrupt.held():
            return self.workers.any(ends)

    def _check_interrupt(self) -> None:
        """Raise KeyboardInterrupt if a signal has come, and all workers know of it."""
        if self.workers.size == 1:
            self.interrupt.check()
        elif self.signum:
            raise settled(KeyboardInterrupt())

    def _agree(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the values of a validation, which the first worker has made."""
        if self.workers.size == 1:
            return values
        everyone = self.workers.share((values, digest(self.model.flat)))
        for rank, (_, own) in enumerate(everyone):
            if own != everyone[0][1]:
                raise settled(
                    RuntimeError(
                        f"the parameters of rank {rank} are no longer those of rank 0: the"
                        " processors of the machines do not compute the same bits"
                    )
                )
        return everyone[0][0]

    def _gather_carried(self) -> None:
        """Put the carried state of all shards into the training state."""
        if self.workers.size > 1 and self.history.updates > self.start:
            everyone = self.workers.share(self.carried) if self.carries else [self.carried]
            carried, past = zip(*everyone, strict=True)
            self.state.carried, self.state.past = join(list(carried), 0), join(list(past), 1)

    def _progress(self, progress: Any) -> Silent:
        """Return the progress display."""
        if progress is False or self.last <= self.start or not self.workers.first:
            return Silent()
        return Progress(self.last, self.start, None if progress is True else progress)


def never() -> bool:
    """Return False: no signal tells a worker to end."""
    return False


def _always(update: int) -> bool:
    """Return True: a callback may read the training state after each update."""
    return True
