"""Texts for character models: what is learned from and what is held out, as streams side by side; by each known loader.

A loader takes ids (n,), N streams, windows of T steps, and the fractions of the text that are held out for validation and
for a test that nobody here makes; it gives x and y (L, N) to learn from, and the held-out text as ids or as such streams.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import NamedTuple

import numpy as np

from .text import require, streams


class Loaded(NamedTuple):
    """What a loader makes of a text."""

    x: np.ndarray  # (L, N)
    y: np.ndarray  # (L, N): what comes one step later
    held_out: np.ndarray | tuple[np.ndarray, np.ndarray] | None  # ids (n,), or x and y (L', N')


def split(
    ids: np.ndarray, validation: float, unit: str = "character", test: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """The text to learn from, and the fraction `validation` after it; the fraction `test` at the end is in neither.

    Raises ValueError where less is held out than validation needs.
    """
    held, left = int(len(ids) * validation), int(len(ids) * test)
    if validation and held < 2:
        raise ValueError(
            f"{validation:g} of {len(ids):,} {unit}s is less than the 2 that validation needs; use validation 0"
        )
    end = len(ids) - left
    return ids[: end - held], ids[end - held : end]


def even(ids: np.ndarray, N: int, T: int, validation: float, test: float, unit: str) -> Loaded:
    """The end of the text is held out; the streams of the rest are as long as it allows; every target is the true successor."""
    require(len(ids), N, T, unit, validation + test)
    training, held_out = split(ids, validation, unit, test)
    return Loaded(*streams(training, N, T, unit), held_out if validation else None)


def min_char_rnn(
    ids: np.ndarray, N: int, T: int, validation: float, test: float, unit: str
) -> Loaded:
    """As `even`, but the last character is no target: min-char-rnn starts again where fewer than T + 2 characters are left."""
    require(len(ids), N, T, unit, validation + test, after=2)
    training, held_out = split(ids, validation, unit, test)
    return Loaded(*streams(training[:-1], N, T, unit), held_out if validation else None)


def char_rnn(ids: np.ndarray, N: int, T: int, validation: float, test: float, unit: str) -> Loaded:
    """The streams of the whole text first, cut to full windows; then the last windows of every stream are held out.

    The successor of the text's last character is its first. Of the windows floor((1 - validation - test) count) are learned
    from, and the others held out, or floor(validation count) of them if there is a test. Raises ValueError for a text that
    leaves no window to learn from.
    """
    need = next(k for k in count(1) if int(k * (1 - validation - test)) > 0) * N * T
    if len(ids) < need:
        apart = (
            f", with {validation + test:g} of the windows held out" if validation or test else ""
        )
        what = f"the text has {len(ids):,} {unit}s, but at least {need:,} are needed"
        raise ValueError(f"{what}: {N} streams of {T} steps{apart}")
    ids = ids[: len(ids) // (N * T) * N * T]
    x, y = (np.ascontiguousarray(a.reshape(N, -1).T) for a in (ids, np.roll(ids, -1)))
    windows = len(x) // T
    learned = int(windows * (1 - validation - test))
    end = windows if not test else learned + int(windows * validation)
    held_out = (
        (x[learned * T : end * T], y[learned * T : end * T])
        if validation and end > learned
        else None
    )
    return Loaded(x[: learned * T], y[: learned * T], held_out)


def torch_rnn(ids: np.ndarray, N: int, T: int, validation: float, test: float, unit: str) -> Loaded:
    """The end of the text is held out; all streams are cut to full windows; fewer streams where the held-out text is short."""
    require(len(ids), N, T, unit, validation + test)
    training, held_out = split(ids, validation, unit, test)
    if validation:
        require(len(held_out), 1, T, f"held-out {unit}")
        held_out = streams(held_out, min(N, (len(held_out) - 1) // T), T, unit, whole=True)
    return Loaded(*streams(training, N, T, unit, whole=True), held_out if validation else None)


Loader = Callable[[np.ndarray, int, int, float, float, str], Loaded]
LOADERS: dict[str, Loader] = {
    "even": even,
    "char-rnn": char_rnn,
    "torch-rnn": torch_rnn,
    "min-char-rnn": min_char_rnn,
}


def named(loader: str) -> Loader:
    """A loader by its name. Raises ValueError for another."""
    if loader not in LOADERS:
        raise ValueError(f"loader must be one of {', '.join(LOADERS)}, got {loader!r}")
    return LOADERS[loader]
