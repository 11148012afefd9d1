"""The value of every unit of a character model after each character of a text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from recurrent import checks
from recurrent.charlm.model import CharLM

FEATURES = ("inside quotes", "position in line", "upper case", "digit", "space")


class Match(NamedTuple):
    """The correlation (Pearson) of a unit with a feature over the characters of a text."""

    layer: int
    unit: int
    correlation: float


def read(model: Any, text: str, value: str = "h") -> dict[int, np.ndarray]:
    """Return h, c or a gate of every unit after each character, (characters, H) by layer number.

    Raises TypeError for anything but a CharLM, ValueError for an empty text, unknown characters,
    and a value that no layer has.
    """
    if not isinstance(model, CharLM):
        raise TypeError(f"text needs a character model (CharLM), got {type(model).__name__}")
    if not checks.text(text, "text"):
        raise ValueError("text must have at least one character, got none")
    recording = model.model.record(model.ids(text))
    last = np.arange(len(text))
    if model.vocabulary.unit == "byte":  # a character is known when its last byte has been read
        last = np.cumsum([len(c.encode("utf-8", "surrogatepass")) for c in text]) - 1
    found, known, value = {}, set(), checks.text(value, "value")
    for k, layer in enumerate(recording.layers):
        values = {**layer.gates, **layer.states}
        known |= set(values)
        if value in values:
            found[k] = np.asarray(values[value])[last]
    if not found:
        raise ValueError(
            f"value must be one of {', '.join(sorted(known))}, got {checks.shown(value)}"
        )
    return found


def units_like(model: Any, text: str, feature: Any, value: str = "h", top: int = 10) -> list[Match]:
    """Rank the units of a character model by how well their value follows a feature of a text.

    Parameters
    ----------
    model : recurrent.CharLM
        The model that reads the text.
    text : str
        The text, of at least two characters.
    feature : str, callable or array_like, shape (len(text),)
        One of "inside quotes", "position in line", "upper case", "digit", "space"; a function of
        the text; or one number for each character.
    value : str
        The value of the unit: "h", "c" or the name of a gate.
    top : int
        How many units to return.

    Returns
    -------
    list of Match
        Named tuples (layer, unit, correlation), the strongest correlation of either sign first.

    Raises
    ------
    TypeError
        If `model` is not a CharLM.
    ValueError
        If the feature is unknown, has another length or is constant, or no layer has `value`.
    """
    wanted, top = numbers(feature, checks.text(text, "text")), checks.size(top, "top")
    if len(wanted) < 2 or not wanted.std() > 0:
        raise ValueError(
            "the feature is the same for every character of this text, so no unit can follow it"
        )
    wanted = (wanted - wanted.mean()) / wanted.std()
    matches = []
    for k, a in read(model, text, value).items():
        a = a.astype(np.float64) - a.mean(axis=0, dtype=np.float64)
        spread = a.std(axis=0)
        correlation = wanted @ a / len(a) / np.where(spread > 0, spread, np.inf)
        matches += [Match(k, j, float(r)) for j, r in enumerate(correlation)]
    return sorted(matches, key=lambda m: (-abs(m.correlation), m.layer, m.unit))[:top]


def numbers(feature: str | Callable | Any, text: str) -> np.ndarray:
    """Return a feature as one float64 number for each character.

    >>> numbers("inside quotes", 'a "b" c'), numbers("position in line", "ab\\nc")
    (array([0., 0., 1., 1., 0., 0., 0.]), array([0., 1., 2., 0.]))
    """
    if isinstance(feature, str):
        if feature not in FEATURES:
            raise ValueError(
                f"feature must be one of {', '.join(FEATURES)}, numbers or a function, "
                f"got {checks.shown(feature)}"
            )
        return np.array(_NAMED[feature](text), np.float64)
    found = checks.as_array(_computed(feature, text), "feature")
    if found.dtype.kind not in "fiub":
        raise TypeError(f"feature must be numbers, got {checks.shown(feature)}")
    found = found.astype(np.float64)
    if found.shape != (len(text),):
        raise ValueError(
            f"feature must be ({len(text)},), one number for each character, got {found.shape}"
        )
    if not np.isfinite(found).all():
        k = int(np.flatnonzero(~np.isfinite(found))[0])
        raise ValueError(
            f"feature must be finite for every character, got {found[k]} at character {k}"
        )
    return found


def _computed(feature, text):
    if isinstance(feature, type):
        raise TypeError(f"feature must be a function of the text, got the class {feature.__name__}")
    return feature(text) if callable(feature) else feature


def _quoted(text):
    """Mark the characters from an opening double quote up to, not including, the closing one."""
    inside, out = False, []
    for c in text:
        inside ^= c == '"'
        out.append(inside)
    return out


def _column(text):
    at, out = 0, []
    for c in text:
        out.append(at)
        at = 0 if c == "\n" else at + 1
    return out


_NAMED = {
    "inside quotes": _quoted,
    "position in line": _column,
    "upper case": lambda text: [c.isupper() for c in text],
    "digit": lambda text: [c.isdigit() for c in text],
    "space": lambda text: [c.isspace() for c in text],
}
