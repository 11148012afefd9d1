"""A model beside the series it forecasts: its state goes on with each new value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..models.sequential import Sequential
from .features import Features, History, Scales

BATCH = 256  # series whose history runs through the model at once


class Runner:
    """A model with the states of N series and the last steps of each.

    Results have the same bits whether values come one by one, in blocks or as a whole history.

    Parameters
    ----------
    model : Sequential
        The network.
    features : Features
        What it reads.
    recursive : bool
        Whether the network forecasts one step, from which the next one follows.
    """

    def __init__(self, model: Sequential, features: Features, recursive: bool):
        self.model, self.features, self.recursive = model, features, recursive
        self.tail: History
        self.scales: Scales
        self.output: np.ndarray  # (N, K), of the last step whose inputs are known
        self.stream = model.stream()

    def start(self, y: list[np.ndarray], x: list[np.ndarray], scales: Scales) -> Runner:
        """Read whole series: y are N arrays (L_i,), x N arrays (L_i, F). Return this one."""
        features, tails, outputs, states = self.features, [], [], []
        self.scales = scales
        for first in range(0, len(y), BATCH):
            inputs = []
            for n in range(first, min(first + BATCH, len(y))):
                history = features.history(y[n][:, None], x[n][:, None])
                steps = np.arange(len(y[n]) - features.lead)
                inputs.append(features.inputs(history, scales.rows([n]), steps)[:, 0])
                tails.append(features.tail(history))
            lengths = np.array([len(a) for a in inputs])
            batch = np.zeros((lengths.max(), len(inputs), features.width), np.float32)
            for n, a in enumerate(inputs):
                batch[: len(a), n] = a
            out, state, _ = self.model.forward(batch, lengths=lengths)
            outputs.append(out[np.maximum(lengths - 1, 0), np.arange(len(inputs))])
            states.append(state)
        y_last, last, filled, x_last = zip(*tails, strict=True)
        self.tail = History(
            np.concatenate(y_last, 1),
            np.concatenate(last, 1),
            np.concatenate(filled, 2),
            np.concatenate(x_last, 1),
        )
        self.output = np.concatenate(outputs)
        self.stream.state = _joined(states)
        return self

    def copy(self) -> Runner:
        """Return another one that goes on from here."""
        new = object.__new__(Runner)
        new.__dict__.update(self.__dict__)
        new.tail = History(*(a.copy() for a in self.tail))
        new.stream = self.stream.copy()
        return new

    def rows(self, rows: np.ndarray) -> Runner:
        """Return a copy with some of the series."""
        new = self.copy()
        new.tail, new.scales = self.tail.rows(rows), self.scales.rows(rows)
        new.tail = History(*(np.ascontiguousarray(a) for a in new.tail))
        new.output = self.output[rows]
        new.stream.state = mapped(lambda a: a[rows], self.stream.state)
        return new

    def put(self, rows: np.ndarray, other: Runner) -> None:
        """Take the states and the last steps of some series from another one."""
        for a, b in zip(self.tail[:3], other.tail[:3], strict=True):
            a[..., rows] = b
        self.tail.x[:, rows] = other.tail.x
        self.output = self.output.copy()
        self.output[rows] = other.output

        def changed(a, b):
            new = a.copy()
            new[rows] = b
            return new

        self.stream.state = mapped(changed, self.stream.state, other.stream.state)

    def push(self, y: np.ndarray, x: np.ndarray) -> None:
        """Go on by one step of all series, y (N,) and x (N, F)."""
        self.features.push(self.tail, y, x)
        self._step(self.features.reach - 1 - self.features.lead)

    def _step(self, t: int) -> None:
        """Run the network at a step of the tail."""
        inputs = self.features.inputs(self.tail, self.scales, np.array([t]))
        self.output = self.stream.step(inputs[0])

    def forecast(self, horizon: int, future: np.ndarray | None) -> np.ndarray:
        """Return forecasts (horizon, N); `future` (horizon, N, A) are the columns known ahead."""
        if self.recursive:
            return self._recursion(horizon, future)
        features, run = self.features, self
        if future is not None:
            run = self.copy()
            more = np.full((horizon, *run.tail.x.shape[1:]), np.nan)
            more[..., features.ahead] = future
            run.tail = run.tail._replace(x=np.concatenate([run.tail.x, more]))
            for t in range(features.reach - features.lead, features.reach):
                run._step(t)
        return features.values(run.output, self.tail, self.scales).T

    def _recursion(self, horizon: int, future: np.ndarray | None) -> np.ndarray:
        """Forecast one step, take the forecast as the value, and so on."""
        run, found = self.copy(), np.empty((horizon, len(self.output)))
        last = run.features.reach - 1
        nothing = run.tail.x[-1]  # without columns
        for k in range(horizon):
            if future is not None:
                x = run.tail.x
                run.tail = run.tail._replace(x=np.concatenate([x, future[k : k + 1]]))
                run._step(last)
                run.tail = run.tail._replace(x=x)
            found[k] = run.features.values(run.output, run.tail, run.scales)[:, 0]
            if k < horizon - 1:
                row = nothing if future is None else future[k]
                run.features.push(run.tail, found[k], row)
                if future is None:
                    run._step(last)
        return found


def rolling_forecasts(
    runner: Runner,
    y: list[np.ndarray],
    x: list[np.ndarray],
    ends: list[int],
    horizon: int,
    origins: int,
    step: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the values (horizon, N) after each origin, and their forecasts.

    The runner is at the ends of the series, the first origin. It reads `step` more values before
    the next one. Behind the end of a series, which the others may reach later, values are NaN.
    """
    total, N = (origins - 1) * step + horizon, len(y)
    values = np.full((total, N), np.nan)
    columns = np.full((total, N, runner.features.columns), np.nan)
    for n, end in enumerate(ends):
        later = y[n][end : end + total]
        values[: len(later), n] = later
        columns[: len(later), n] = x[n][end : end + total]
    ahead = runner.features.ahead
    for origin in range(0, origins * step, step):
        part = slice(origin, origin + horizon)
        yield values[part], runner.forecast(horizon, columns[part][..., ahead] if ahead else None)
        if origin < (origins - 1) * step:
            for t in range(origin, origin + step):
                runner.push(values[t], columns[t])


def mapped(function: Callable, *states: Any) -> Any:
    """Apply a function to the arrays of states of a model, which are tuples of tuples."""
    first = states[0]
    if first is None:
        return None
    if isinstance(first, np.ndarray):
        return function(*states)
    parts = [mapped(function, *some) for some in zip(*states, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)


def _joined(states: list[Any]) -> Any:
    """Return the states of batches as the state of all series."""
    return mapped(lambda *parts: np.concatenate(parts), *states)
