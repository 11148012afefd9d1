"""Ways of cutting a text into training streams and held-out text, each named after its program.

A split takes ids (n,), the number N of streams, the steps T of a window, and the fractions of the
text that are held out for validation and for a test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import checks
from .text import require, smallest, streams


class Split(NamedTuple):
    """A text, cut for training.

    Parameters
    ----------
    x : ndarray, shape (L, N), int
        Training streams.
    y : ndarray, shape (L, N), int
        Their targets: the ids one step later.
    held_out : ndarray, shape (n,), or two of shape (L', N'), int, optional
        Held-out text as ids, or as streams x and y.
    """

    x: np.ndarray
    y: np.ndarray
    held_out: np.ndarray | tuple[np.ndarray, np.ndarray] | None


def split(
    ids: np.ndarray, validation: float, unit: str = "character", test: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Split a text into a part to train on and the held-out part that follows it.

    Parameters
    ----------
    ids : ndarray, shape (n,), int
        The text.
    validation : float
        Fraction that is held out.
    unit : str
        Name of a symbol in error messages: "character" or "byte".
    test : float
        Fraction at the end that is in neither part.

    Returns
    -------
    training, held_out : ndarray, shapes (n1,) and (n2,)

    Raises
    ------
    ValueError
        If fewer than the two ids that a validation needs would be held out.
    """
    held, unread = int(len(ids) * validation), int(len(ids) * test)
    if validation and held < 2:
        raise ValueError(
            f"{validation:g} of {len(ids):,} {unit}s is less than the 2 that validation needs;"
            " use validation 0"
        )
    end = len(ids) - unread
    return ids[: end - held], ids[end - held : end]


def even(ids: np.ndarray, N: int, T: int, validation: float, test: float, unit: str) -> Split:
    """Hold out the end of the text and cut the rest into the longest possible streams."""
    require(len(ids), N, T, unit, validation + test)
    training, held_out = split(ids, validation, unit, test)
    return Split(*streams(training, N, T, unit), held_out if validation else None)


def min_char_rnn(
    ids: np.ndarray, N: int, T: int, validation: float, test: float, unit: str
) -> Split:
    """Cut as `even` does, but without the last character.

    min-char-rnn starts a new epoch when fewer than T + 2 characters are left.
    """
    require(len(ids), N, T, unit, validation + test, after=2)
    training, held_out = split(ids, validation, unit, test)
    return Split(*streams(training[:-1], N, T, unit), held_out if validation else None)


def char_rnn(ids: np.ndarray, N: int, T: int, validation: float, test: float, unit: str) -> Split:
    """Cut the whole text into streams of full windows, then hold out the last windows of each.

    The target of the last character of the text is the first character. Each stream has `count`
    windows, of which floor((1 - validation - test) count) are for training. All others are held
    out, or only floor(validation count) of them if there is a test. Raises ValueError if no
    window is left for training.
    """
    need = smallest(lambda windows: int(windows * (1 - validation - test)) > 0) * N * T
    if len(ids) < need:
        held_out = f", with {validation + test:g} of the windows held out"
        raise ValueError(
            f"the text has {len(ids):,} {unit}s, but at least {need:,} are needed:"
            f" {N} streams of {T} steps{held_out if validation or test else ''}"
        )
    ids = ids[: len(ids) // (N * T) * N * T]
    x, y = (a.reshape(N, -1).T for a in (ids, np.roll(ids, -1)))
    windows = len(x) // T
    training = int(windows * (1 - validation - test))
    end = windows if not test else training + int(windows * validation)
    held_out = None
    if validation and end > training:
        held_out = x[training * T : end * T], y[training * T : end * T]
    return Split(x[: training * T], y[: training * T], held_out)


def torch_rnn(ids: np.ndarray, N: int, T: int, validation: float, test: float, unit: str) -> Split:
    """Hold out the end of the text and cut both parts into streams of full windows.

    There are fewer held-out streams where the held-out text is short.
    """
    require(len(ids), N, T, unit, validation + test)
    training, held_out = split(ids, validation, unit, test)
    if validation:
        require(len(held_out), 1, T, f"held-out {unit}")
        held_out = streams(held_out, min(N, (len(held_out) - 1) // T), T, unit, whole=True)
    return Split(*streams(training, N, T, unit, whole=True), held_out if validation else None)


SPLITS: dict[str, Callable[[np.ndarray, int, int, float, float, str], Split]] = {
    "even": even,
    "char-rnn": char_rnn,
    "torch-rnn": torch_rnn,
    "min-char-rnn": min_char_rnn,
}


def find(name: str) -> Callable[[np.ndarray, int, int, float, float, str], Split]:
    """Return a split by the name of its loader; raise ValueError if it is unknown."""
    return SPLITS[checks.choice(name, "loader", SPLITS)]
