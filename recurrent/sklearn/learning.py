"""Training of a forecaster: windows of all series, with the targets of every step."""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any, NamedTuple

import numpy as np

from ..data import Batches, Scaler
from ..losses import huber, mean_absolute_error, mean_squared_error
from ..models.sequential import Sequential
from ..optim import Optimizer
from ..training.fit import fit
from ..training.history import History as Losses
from .features import Features, Scales
from .frames import Panel
from .network import network
from .rolling import BATCH, Runner

LOSSES = {
    "squared_error": mean_squared_error,
    "absolute_error": mean_absolute_error,
    "huber": huber,
}
WINDOWS = 1024  # of an epoch, about: more windows of a long series overlap less


class Options(NamedTuple):
    """The options of training, checked."""

    network: dict[str, Any]
    optimizer: Optimizer
    loss: Any
    scale: str | None
    window: int | None
    batch_size: int
    max_epochs: int
    clip_norm: float | None
    validation: float | None  # the share of each series, None without early stopping
    patience: int
    seed: int
    verbose: bool


class Trained(NamedTuple):
    """A network, and how it was trained."""

    model: Sequential
    features: Features
    scales: Scales
    columns: tuple[np.ndarray, np.ndarray]  # the shift and the scale of X
    history: Losses
    loss_curve: list[float]
    recursive: bool
    best_epochs: int = 0  # the number of epochs with the lowest loss of validation

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """Return columns of X (..., F) in the units of the network."""
        return in_units(x, *self.columns, "X")

    def ahead(self, x: np.ndarray) -> np.ndarray:
        """Return the columns that are known ahead in the units of the network."""
        shift, scale = (a[self.features.ahead] for a in self.columns)
        return in_units(x, shift, scale, "X")

    def runner(self, panel: Panel) -> Runner:
        """Return the model at the end of series."""
        x = [self.scaled(a) for a in exogenous(panel)]
        return Runner(self.model, self.features, self.recursive).start(panel.y, x, self.scales)


def in_units(a: np.ndarray, shift: np.ndarray, scale: np.ndarray, name: str) -> np.ndarray:
    """Return values in the units of the network; raise ValueError unless float32 holds them."""
    with np.errstate(over="ignore"):
        scaled = (a - shift) / scale
    for value in a[np.abs(scaled) > np.finfo(np.float32).max][:1]:
        raise ValueError(f"{name} must be of the size of the values of fit, got {value:g}")
    return scaled


def held_out(steps: int, fraction: float | None, least: int) -> int:
    """Return how many of the last steps of a series are held out: none without a fraction."""
    return 0 if fraction is None else max(math.ceil(fraction * steps), least)


def exogenous(panel: Panel) -> list[np.ndarray]:
    """Return the columns of X of each series, (L_i, F); F is 0 without X."""
    return panel.x or [np.empty((len(a), 0)) for a in panel.y]


class Prepared(NamedTuple):
    """A new network, and what it is trained with."""

    model: Sequential
    batches: Batches
    validation: Batches | None
    scales: Scales
    columns: tuple[np.ndarray, np.ndarray]


def prepare(panel: Panel, features: Features, options: Options) -> Prepared:
    """Return a new network and the windows of series."""
    every = np.concatenate(exogenous(panel))
    columns = np.zeros(0), np.ones(0)
    if every.shape[1]:
        scaler: Any = Scaler().fit(every)
        columns = scaler.shift, scaler.scale
    inputs, targets, scales = [], [], []
    for y, x in zip(panel.y, exogenous(panel), strict=True):
        history = features.history(y[:, None], ((x - columns[0]) / columns[1])[:, None])
        scales.append(features.measure(history, options.scale))
        steps = np.arange(len(y) - max(1, features.lead))
        inputs.append(features.inputs(history, scales[-1], steps)[:, 0])
        targets.append(features.targets_of(history, scales[-1], steps)[:, 0])
    validation = None
    if options.validation is not None:
        lengths = [len(y) for y in panel.y]
        targets, later = _split(targets, lengths, options.validation, features.targets)
        validation = Batches(inputs, later, min(BATCH, len(inputs)), None, per_sequence=False)
    parts = _windows([len(a) for a in inputs], _window(features, options.window))
    parts = [(n, part) for n, part in parts if not np.isnan(targets[n][part]).all()]
    batches = Batches(
        [inputs[n][part] for n, part in parts],
        [targets[n][part] for n, part in parts],
        min(options.batch_size, len(parts)),
        options.seed,
        per_sequence=False,
    )
    model = network(
        input_size=features.width,
        output_size=features.targets,
        pooling=None,
        rng=options.seed,
        **options.network,
    )
    joined = Scales(*(np.concatenate(some) for some in zip(*scales, strict=True)))
    return Prepared(model, batches, validation, joined, columns)


def train(panel: Panel, features: Features, options: Options, recursive: bool) -> Trained:
    """Train a new network with series."""
    model, batches, validation, scales, columns = prepare(panel, features, options)
    history = fit(
        model,
        batches,
        KnownTargets(options.loss),
        copy.deepcopy(options.optimizer),
        epochs=options.max_epochs,
        validation=validation,
        patience=None if validation is None else options.patience,
        clip_norm=options.clip_norm,
        progress=options.verbose,
    )
    if history.stopped == "interrupted":
        warnings.warn("training was interrupted before its end", stacklevel=5)
    each = len(batches)
    curve = [float(np.mean(history.losses[k : k + each])) for k in range(0, history.updates, each)]
    best = len(curve) if history.best is None else history.best[0] // each
    return Trained(model, features, scales, columns, history, curve, recursive, best)


class KnownTargets:
    """A loss over the targets that are not NaN.

    Parameters
    ----------
    loss : callable
        A loss of `recurrent.losses`.
    """

    def __init__(self, loss: Any):
        self.loss = loss

    def __call__(self, y, targets, lengths=None):
        return self.loss(y, targets, lengths, mask=~np.isnan(targets))

    def entries(self, y, targets, lengths=None):
        """Count the targets; those behind the length of a sequence are zeros."""
        inside = np.arange(len(targets))[:, None] < (len(y) if lengths is None else lengths)
        return int(np.count_nonzero(~np.isnan(targets) & inside[..., None]))


def _window(features: Features, window: int | None) -> int:
    """Return the number of steps of a window."""
    return max(64, 2 * max((features.targets, *features.lags))) if window is None else window


def _windows(lengths: list[int], window: int) -> list[tuple[int, slice]]:
    """Return the series and the steps of each window; the last one ends with its series."""
    stride = min(max(1, sum(lengths) // WINDOWS), max(1, window // 2))
    found = []
    for n, length in enumerate(lengths):
        last = max(0, length - window)
        found += [(n, slice(start, start + window)) for start in [*range(0, last, stride), last]]
    return found


def _split(targets: list, lengths: list[int], fraction: float, K: int) -> tuple[list, list]:
    """Return the targets to train with, and those of the last steps, to validate with."""
    train, later = [], []
    for a, L in zip(targets, lengths, strict=True):
        first = L - held_out(L, fraction, 1)
        after = np.arange(len(a))[:, None] + np.arange(1, K + 1) >= first
        train.append(np.where(after, np.float32(np.nan), a))
        later.append(np.where(after, a, np.float32(np.nan)))
    return train, later
