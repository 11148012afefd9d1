"""The loop of `fit`: updates and validations that end, fail and resume between two updates."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..losses import Loss
from ..models.base import Model
from ..progress import Progress, Silent
from .evaluation import values_of
from .finite import clip, not_finite
from .history import History
from .interrupt import DeferredInterrupt, deferred_interrupt
from .monitor import Monitor
from .rates import Rates
from .reader import Reader
from .shards import ShardRuns, join, over_arrays
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
        # Of the own shards, after the last update: carried state, and inputs that follow it.
        self.carried: tuple[Any, Any] = None, None

    @property
    def facts(self) -> dict[str, Any]:
        """What must be equal on all workers, by name."""
        rule, state, batches = self.rates.rule, self.state, self.reader.batches.batches
        arrays = {"average": state.average, "latest": state.latest, **rule.arrays}
        options = (
            self.shards.count, self.last, self.accumulate, self.ema, self.limits, self.smooth,
            self.validate_every, self.patience, len(self.callbacks), self.validation is None,
        )  # fmt: skip
        return {
            "parameters": digest(self.model.flat),
            "optimizer": (type(rule).__name__, rule.options, rule.steps),
            "arrays_of_resume": {k: a if a is None else digest(a) for k, a in arrays.items()},
            "carried_state": over_arrays(lambda a: digest(a[0]), [(state.carried, state.past)]),
            "history": self.history.losses,
            "seed": (state.seed, getattr(batches, "seed", None)),
            "batches": (self.reader.count, self.reader.cursor),
            "options": options,
        }

    def go(self, progress: Any) -> History:
        """Train to the last update, and leave the model with the parameters that are kept."""
        history, state, model, reader = self.history, self.state, self.model, self.reader
        began = time.perf_counter() - history.seconds
        self.drawn = model.generator.bit_generator.state  # before the update
        self.before, self.phase = reader.cursor, "between updates"
        with self.workers.threads(), self.workers.watched(), deferred_interrupt() as interrupt:
            self.interrupt = interrupt
            self.workers.ended = lambda: interrupt.signum is not None
            failure: BaseException | None = None
            try:
                with self._progress(progress) as report:
                    self._run(report, began)
            except BaseException as error:
                failure = error
            try:
                with interrupt.held():
                    failure = self._settle(failure)
                    lost = False
                    if failure is not None and self.phase != "between updates":
                        model.generator.bit_generator.state = self.drawn
                        reader.seek(self.before)
                        # An interrupt that a program raises by itself.
                        lost = self.phase == "update" and not isinstance(failure, Exception)
                    if lost:
                        state.optimizer = None
                    self._leave_average()
                    self._gather_carried()
                    state.restore_best(model)
                    interrupt.signum = interrupt.signum or self.signum or None
                stopped = interrupt.end()
                if failure is None:
                    history.stopped = "interrupted" if stopped else history.stopped or "finished"
                elif lost or interrupt.forced or not isinstance(failure, KeyboardInterrupt):
                    raise failure
                else:
                    history.stopped = "interrupted"
            finally:
                history.seconds = time.perf_counter() - began
        return history

    def _run(self, report: Any, began: float) -> None:
        """Make the updates and validations, and set `history.stopped` at the end."""
        history, model, reader, interrupt = self.history, self.model, self.reader, self.interrupt
        with interrupt.held():
            self._begin()
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
            value, steps = self._gradient(stream, update)
            with interrupt.held():
                self.phase = "update"
                self._update(value)
                elapsed = time.perf_counter() - began
                self.workers.grace = GRACE + 2 * (elapsed - history.seconds)
                history.seconds = elapsed
                self.phase = "between updates"
            if self._is_due(update):
                self._validate(update)
            report(history, steps)
            self._conclude(update)

    def _settle(self, failure: BaseException | None) -> BaseException | None:
        """Return the error that all workers end with, or None; agree on a signal."""
        while True:
            try:
                if failure is not None and not is_settled(failure):
                    self.workers.fail(failure)
                self.signum = self.workers.meet(signum=self.interrupt.signum or 0).signum
                return failure
            except BaseException as error:
                if error is failure and self.workers.size == 1:
                    return failure
                failure = error

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
        batches: list[list] = []
        while True:
            batches.append(next(stream))
            if len(batches) == self.accumulate or self.reader.position == 0:
                break
        sums = self.shards.gradient(batches, update, self.history, self.gradient)
        with self.interrupt.held():
            meeting = self.workers.meet(*sums.tolist(), self.interrupt.signum or 0)
            self.workers.add(self.gradient)
        self.signum, value = meeting.signum, meeting.loss
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
        if not self.callbacks:
            return False
        if any(getattr(call, "reads_state", _always)(update) for call in self.callbacks):
            with self.interrupt.held():
                self._gather_carried()
        results: list[Any] = []
        if self.workers.first:
            results = [callback(update, self.history) for callback in self.callbacks]
        ends = any(isinstance(result, (bool, np.bool_)) and result for result in results)
        with self.interrupt.held():
            return self.workers.meet(ends).loss > 0

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


def digest(a: np.ndarray) -> str:
    """Return a digest of the bits of an array."""
    return hashlib.sha256(np.ascontiguousarray(a).data).hexdigest()


def _always(update: int) -> bool:
    """Return True: a callback may read the training state after each update."""
    return True
