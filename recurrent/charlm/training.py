"""A training of a character model from its text and recipe to its history; what it saves is what it can go on from."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import schedules
from ..data import Windows
from ..losses import softmax_cross_entropy, summed_over_steps
from ..training.fit import fit
from ..training.history import History
from . import splits
from .recipe import FIXED, Recipe

if TYPE_CHECKING:
    from .model import CharLM

SMOOTH = 0.98  # of the loss that is shown, where the recipe does not say so


def bits_per_character(y: np.ndarray, targets: np.ndarray, lengths: Any = None) -> float:
    """Softmax cross-entropy in bits: nats / ln 2."""
    return softmax_cross_entropy(y, targets, lengths=lengths)[0] / math.log(2)


def windows_of(lm: CharLM, ids: np.ndarray, recipe: Recipe) -> tuple[Windows, Windows | None]:
    """What is learned from and what is held out."""
    load = splits.named(recipe.loader)
    x, y, held_out = load(
        ids, recipe.batch, recipe.seq, recipe.validation, recipe.test, lm.vocabulary.unit
    )
    if isinstance(held_out, tuple):
        held_out = Windows(*held_out, recipe.seq)
    elif held_out is not None:
        held_out = lm._windows(held_out, min(recipe.batch, max(1, len(held_out) // 1000)))
    return Windows(x, y, recipe.seq, carry=recipe.carry), held_out


def learn(
    lm: CharLM,
    ids: np.ndarray,
    recipe: Recipe,
    *,
    resume: bool = False,
    new_rate: bool = True,
    save_to: str | os.PathLike | None = None,
    progress: Any = True,
    callback: Callable[[int, History], None] | None = None,
) -> History:
    """Train the model by a recipe, from the beginning or, with `resume`, from where it stopped: see `CharLM.train`.

    `new_rate`: whether the optimiser's rate is that of the recipe, or its schedule, from now on.
    """
    text = {"symbols": len(ids), "text": hashlib.sha256(np.ascontiguousarray(ids)).hexdigest()}
    if resume:
        _check_resumable(lm, recipe, text)
    windows, held_out = windows_of(lm, ids, recipe)
    last = recipe.epochs * len(windows) if recipe.updates is None else recipe.updates
    optimizer = lm.optimizer if resume else recipe.new_optimizer()
    if recipe.schedule is not None and new_rate:
        optimizer.lr = schedules.parse(recipe.schedule, recipe.lr, last, len(windows))
    elif resume and new_rate:
        optimizer.lr = recipe.lr
    if not resume:
        lm.forget()
    lm.optimizer, lm.options, windows.cursor = optimizer, recipe.plain | text, lm.cursor
    before, every = lm.history, recipe.validate_every or len(windows)
    began = math.log(len(lm.vocabulary)) if recipe.smooth is not None else None
    best = lm.model.flat.copy() if held_out and before.best else None
    if lm.latest is not None:
        lm.model.flat[:] = lm.latest

    def keep(now: History) -> None:
        lm.history, lm.cursor, lm.state, lm.past = (
            before.then(now),
            windows.cursor,
            now.state,
            now.past,
        )
        if lm.history.best and lm.history.best[0] == lm.history.updates:
            nonlocal best
            best = lm.model.flat.copy()

    def after_update(update: int, now: History) -> None:
        due = update % every == 0 or update == last
        if due or (now.validation and now.validation[-1][0] == update):
            keep(now)
            if save_to is not None:
                with _holding(lm, best):
                    lm.save(save_to)
        if callback is not None:
            callback(update, now)

    try:
        now = fit(
            lm.model,
            windows,
            summed_over_steps(softmax_cross_entropy) if recipe.sum_steps else softmax_cross_entropy,
            optimizer,
            updates=last,
            validation=held_out,
            validate_every=recipe.validate_every,
            patience=recipe.patience,
            keep_best=False,
            clip_norm=recipe.clip,
            clip_value=recipe.clip_value,
            metric=bits_per_character if held_out else None,
            progress=progress,
            callback=after_update,
            look_back=recipe.look_back,
            smooth=SMOOTH if recipe.smooth is None else recipe.smooth,
            smoothed=began if before.smoothed is None else before.smoothed,
            start=before.updates,
            state=lm.state,
            past=lm.past,
            validated=before.validation,
        )
    except BaseException:
        if best is not None:
            lm.model.flat[:] = best
        lm.latest = lm.optimizer = (
            None  # in the middle of an update: what was saved can be resumed, this cannot
        )
        raise
    keep(now)
    lm.latest = None
    if best is not None and not np.array_equal(best, lm.model.flat):
        lm.latest = lm.model.flat.copy()
        lm.model.flat[:] = best
    if save_to is not None:
        lm.save(save_to)
    return lm.history


@contextmanager
def _holding(lm: CharLM, best: np.ndarray | None):
    """In the middle of training: the model holds the best parameters, `latest` those of now."""
    lm.latest = None if best is None else lm.model.flat.copy()
    try:
        if best is not None:
            lm.model.flat[:] = best
        yield
    finally:
        if best is not None:
            lm.model.flat[:] = lm.latest


def _check_resumable(lm: CharLM, recipe: Recipe, text: dict) -> None:
    if lm.optimizer is None:
        raise ValueError("nothing to resume: this model was saved without its training")
    before, now = Recipe.of(lm.options).plain, recipe.plain
    for name in FIXED:
        if now[name] != before[name]:
            raise ValueError(
                f"resume needs the {name} that the training began with: {before[name]}, got {now[name]}"
            )
    if any(text[name] != lm.options[name] for name in text):
        unit = lm.vocabulary.unit
        counts = f"{lm.options['symbols']:,} {unit}s, now {text['symbols']:,}"
        raise ValueError(
            f"resume needs the text that the training began with: it had {counts}, or others"
        )
