"""Training of a character model on the windows of a text."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from .. import checks
from ..data import Batch, Windows
from ..losses import softmax_cross_entropy, summed_over_steps
from ..models.sequential import Sequential
from ..training.fit import fit
from ..training.history import History
from ..training.interrupt import deferred_interrupt
from ..training.state import TrainingState
from ..training.workers import Workers
from . import splits
from .presets import CARRIES
from .recipe import FIXED, Recipe
from .text import CHUNK, Vocabulary, streams

LARGEST_LOGITS = 2**20  # of a window of evaluation: 4 MB in float32
SMOOTH = 0.98  # smoothing factor of the displayed loss, unless the recipe has one


def bits_per_character(y: np.ndarray, targets: np.ndarray, lengths: Any = None) -> float:
    """Compute the softmax cross-entropy in bits.

    Parameters
    ----------
    y : ndarray, shape (T, N, V), float32 or float64
        Logits.
    targets : ndarray, shape (T, N), int
        Ids of the next symbols.
    lengths : ndarray, shape (N,), int, optional
        Lengths of the sequences.

    Returns
    -------
    float
    """
    return softmax_cross_entropy(y, targets, lengths=lengths)[0] / math.log(2)


class TextWindows(Windows):
    """Windows of ids of any dtype, in which the state is reset where a document begins.

    Parameters
    ----------
    x, y : ndarray, shape (L, N), int
        Streams of ids, and their targets.
    window : int
        Number of steps of a window.
    end : int, optional
        The id that stands before the first symbol of each document.
    **options : object
        Options of `Windows`.
    """

    def __init__(self, x: Any, y: Any, window: int, end: int | None = None, **options: Any):
        super().__init__(x, y, window, **options)
        self.end = end

    def batch(self, k: int) -> Batch:
        batch = super().batch(k)
        x, y = (np.ascontiguousarray(a, np.int32) for a in (batch.x, batch.targets))
        resets = None if self.end is None else x == self.end
        batch = batch._replace(x=x, targets=y)
        return batch if resets is None or not resets.any() else batch._replace(resets=resets)


def evaluation_windows(vocabulary: Vocabulary, ids: np.ndarray, N: int) -> Windows:
    """Cut a text of ids (n,) into windows of N streams, as long as 4 MB of logits allow."""
    x, y = streams(ids, N, unit=vocabulary.unit)
    longest = max(1, LARGEST_LOGITS // (N * len(vocabulary)))
    return TextWindows(x, y, min(len(x), longest), vocabulary.end_id, keep_last=True)


def training_windows(
    vocabulary: Vocabulary, ids: np.ndarray, recipe: Recipe
) -> tuple[Windows, Windows | None]:
    """Cut a text of ids (n,) into windows for training and for validation."""
    if recipe.look_back is not None and vocabulary.end is not None:
        raise ValueError(
            "look_back must be None for a text of documents, between which the state is reset, "
            f"got {recipe.look_back}"
        )
    cut, end = splits.find(recipe.loader), vocabulary.end_id
    x, y, held_out = cut(
        ids, recipe.batch, recipe.seq, recipe.validation, recipe.test, vocabulary.unit
    )
    if isinstance(held_out, tuple):
        held_out = TextWindows(*held_out, recipe.seq, end)
    elif held_out is not None:
        N = min(recipe.batch, max(1, len(held_out) // 1000))
        held_out = evaluation_windows(vocabulary, held_out, N)
    return TextWindows(x, y, recipe.seq, end, carry=CARRIES[recipe.carry]), held_out


def fingerprint(ids: np.ndarray) -> dict[str, Any]:
    """Return the length and a digest of a text of ids (n,), by which resuming recognises it."""
    digest = hashlib.sha256()
    for start in range(0, len(ids), CHUNK):
        digest.update(np.ascontiguousarray(ids[start : start + CHUNK], np.int32).data)
    return {"symbols": len(ids), "text": digest.hexdigest()}


def check_resumable(before: dict, recipe: Recipe) -> None:
    """Raise ValueError unless training with the options `before` can resume with these options."""
    old, new = Recipe.from_dict(before).to_dict(), recipe.to_dict()
    for name in FIXED:
        if new[name] != old[name]:
            raise ValueError(
                f"resume needs the {name} that the training began with: {old[name]},"
                f" got {new[name]}"
            )


def check_text(before: dict, text: dict, unit: str) -> None:
    """Raise ValueError unless a text is the one that a training began with.

    `text` is its fingerprint, `unit` the name of a symbol ("character" or "byte").
    """
    if any(text[name] != before[name] for name in text):
        raise ValueError(
            "resume needs the text that the training began with:"
            f" {before['symbols']:,} {unit}s, got {text['symbols']:,}"
            f"{' different ones' * (before['symbols'] == text['symbols'])};"
            " to train on with another text, load the model and train it without resume"
        )


def learn(
    model: Sequential,
    windows: Windows,
    held_out: Windows | None,
    recipe: Recipe,
    training: TrainingState,
    *,
    save: Callable[[], None] | None = None,
    progress: Any = True,
    callback: Callable[[int, History], None] | None = None,
    workers: Workers | None = None,
) -> History:
    """Train a model by a recipe and save it after each validation, and at the end.

    Without validation it is saved after each epoch. When `save` is called the model holds the best
    parameters. After an error, be it of `save`, the training can go on from its last update.
    """
    if callback is not None:
        checks.function(callback, "callback", "print")
    workers = Workers() if workers is None else workers
    updates = recipe.total_updates(len(windows))
    every = recipe.validate_every or len(windows)
    if "metric" in training.history.metrics:  # of a file that has no names of metrics
        named = training.history.metrics
        named[bits_per_character.__name__] = named.pop("metric")
    if recipe.smooth is not None and training.history.smoothed is None:
        training.history.smoothed = math.log(cast(int, model.out_features))

    def saves(update: int) -> bool:
        validation = training.history.validation
        validated = bool(validation) and validation[-1][0] == update
        return save is not None and (update % every == 0 or update == updates or validated)

    def after_update(update: int, history: History) -> None:
        if save is not None and saves(update):
            with interrupt.held():
                training.restore_best(model)
                try:
                    save()
                finally:
                    training.restore_latest(model)
        if callback is not None:
            callback(update, history)

    after_update.reads_state = (lambda update: True) if callback else saves  # type: ignore[attr-defined]
    loss = summed_over_steps(softmax_cross_entropy) if recipe.sum_steps else softmax_cross_entropy
    with deferred_interrupt() as interrupt:
        fit(
            model,
            windows,
            loss,
            updates=updates,
            validation=held_out,
            validate_every=recipe.validate_every,
            patience=recipe.patience,
            clip_norm=recipe.clip,
            clip_value=recipe.clip_value,
            metrics=bits_per_character if held_out else None,
            progress=progress,
            callback=after_update,
            look_back=recipe.look_back,
            smooth=SMOOTH if recipe.smooth is None else recipe.smooth,
            resume=training,
            shards=recipe.shards,
            comm=workers,
        )
        with interrupt.held(), workers.together():
            if save is not None and workers.first:
                save()
    return training.history
