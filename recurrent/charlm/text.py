"""Text as ids: vocabularies of code points or bytes, and parallel streams of a text."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from .. import checks


class Vocabulary:
    """The symbols of a model, numbered from 0 to V - 1: code points, or the 256 bytes of UTF-8.

    Parameters
    ----------
    symbols : str or None
        The characters, each once; None for bytes.

    Raises
    ------
    ValueError
        If there is no character, or one occurs twice.

    Examples
    --------
    >>> v = Vocabulary.of("hello")
    >>> v.encode("hole")
    array([1, 3, 2, 0], dtype=int32)
    >>> v.decode([1, 3, 2, 0])
    'hole'
    """

    def __init__(self, symbols: str | None):
        self.symbols = symbols if symbols is None else checks.text(symbols, "symbols")
        if symbols is not None:
            if not symbols:
                raise ValueError("a vocabulary needs at least one character, but the text is empty")
            if len(set(symbols)) != len(symbols):
                raise ValueError("the symbols of a vocabulary must differ from each other")
            self._codes = _codes(symbols)
            self._order = np.argsort(self._codes).astype(np.int32)
            self._sorted = self._codes[self._order]

    @classmethod
    def of(cls, text: str) -> Vocabulary:
        """Build the vocabulary of a text: its characters in sorted order.

        Parameters
        ----------
        text : str
            The text.

        Returns
        -------
        Vocabulary

        Raises
        ------
        ValueError
            If the text is empty.
        """
        return cls("".join(sorted(set(checks.text(text, "text")))))

    @classmethod
    def bytes(cls) -> Vocabulary:
        """Build the vocabulary of all 256 bytes, which can encode any text.

        Returns
        -------
        Vocabulary
        """
        return cls(None)

    @property
    def unit(self) -> str:
        """Name of the symbol that an id represents: "character" or "byte"."""
        return "byte" if self.symbols is None else "character"

    def __len__(self):
        return 256 if self.symbols is None else len(self.symbols)

    def __eq__(self, other):
        return isinstance(other, Vocabulary) and self.symbols == other.symbols

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self):
        return f"Vocabulary({len(self)} {self.unit}s)"

    def encode(self, text: str | bytes) -> np.ndarray:
        """Convert a text to ids.

        Parameters
        ----------
        text : str or bytes
            The text; bytes only for a vocabulary of bytes.

        Returns
        -------
        ndarray, shape (n,), int32
            One id per character, or per byte of its UTF-8 form.

        Raises
        ------
        ValueError
            If a character is not in the vocabulary; the message names it and its position.
        TypeError
            If the text is bytes but the symbols are characters.
        """
        if self.symbols is None:
            checks.instance(text, (str, bytes), "text", "str or bytes")
            raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
            return np.frombuffer(raw, np.uint8).astype(np.int32)
        if not isinstance(text, str):
            raise TypeError(
                f"text must be str for a vocabulary of characters, got {type(text).__name__}"
            )
        codes = _codes(text)
        place = np.minimum(np.searchsorted(self._sorted, codes), len(self) - 1)
        for at in np.flatnonzero(self._sorted[place] != codes)[:1]:
            unknown = f"{text[at]!r} (U+{codes[at]:04X}) at position {at}"
            raise ValueError(f"character {unknown} is not among the {len(self)} in the vocabulary")
        return self._order[place]

    def decode(self, ids: Iterable[int]) -> str:
        """Convert ids to text.

        Parameters
        ----------
        ids : iterable of int
            The ids.

        Returns
        -------
        str
            Bytes that are not UTF-8 become U+FFFD.

        Raises
        ------
        IndexError
            If an id is out of range.
        """
        return "".join(self.pieces(ids))

    def pieces(self, ids: Iterable[int]) -> Iterator[str]:
        """Convert ids to text as they come.

        Parameters
        ----------
        ids : iterable of int
            The ids.

        Yields
        ------
        str
            A character, as soon as it is complete.

        Raises
        ------
        IndexError
            If an id is out of range.
        """
        checks.iterable(ids, "ids", "an iterable of int")
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for k in ids:
            k = checks.index(k, "ids", len(self))
            piece = self.symbols[k] if self.symbols is not None else decoder.decode(b"%c" % int(k))
            if piece:
                yield piece
        if rest := decoder.decode(b"", final=True):
            yield rest

    def describe(self) -> dict:
        """Describe the vocabulary as plain data.

        Returns
        -------
        dict
            A description from which `build` makes an equal vocabulary.
        """
        if self.symbols is None:
            return {"kind": "bytes"}
        return {"kind": "characters", "symbols": self.symbols}

    @classmethod
    def build(cls, description: Any) -> Vocabulary:
        """Build a vocabulary from its description.

        Parameters
        ----------
        description : dict
            The result of `describe`; anything else is refused.

        Returns
        -------
        Vocabulary

        Raises
        ------
        ValueError
            If it is anything else.
        """
        match description:
            case {"kind": str("bytes")}:
                return cls.bytes()
            case {"kind": str("characters"), "symbols": str(symbols)}:
                return cls(symbols)
        raise ValueError(
            "a vocabulary must have the kind 'bytes', or the kind 'characters' and symbols, "
            f"got {checks.shown(description)}"
        )


def _codes(text: str) -> np.ndarray:
    """Return the code points of a text, uint32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def smallest(holds: Callable[[int], bool]) -> int:
    """Return the smallest positive integer for which a condition holds.

    Parameters
    ----------
    holds : callable
        The condition; it holds for all larger integers too.

    Returns
    -------
    int
    """
    low, high = 0, 1
    while not holds(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def require(
    n: int, N: int, window: int = 1, unit: str = "character", held_out: float = 0.0, after: int = 1
) -> None:
    """Raise ValueError if a text of n symbols is too short; it gives n and the least number.

    Parameters
    ----------
    n : int
        Number of symbols of the text.
    N : int
        Number of streams, each of which needs one window.
    window : int
        Number of steps of a window.
    unit : str
        Name of a symbol in the error message: "character" or "byte".
    held_out : float
        Fraction of the text that is held out.
    after : int
        Number of symbols needed after the windows, including the last target.
    """
    used = N * window + after
    need = smallest(lambda n: n - int(n * held_out) >= used)
    if n < need:
        what = "is empty" if n == 0 else f"has {n:,} {unit}{'s' * (n != 1)}"
        steps = f"{window} step{'s' * (window != 1)}"
        where = f"{N} streams of {steps}" if N > 1 else steps
        apart = f", with {held_out:g} of the text held out" if held_out else ""
        more = "the one after" if after == 1 else f"the {after} after"
        raise ValueError(
            f"the text {what}, but at least {need:,} are needed: {where} and {more}{apart}"
        )


def streams(
    ids: np.ndarray, N: int, window: int = 1, unit: str = "character", whole: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a text into N streams of L = (n - 1) // N steps that run side by side.

    The last target of a stream is the first symbol of the next one, so that every target is the
    true successor. The up to N symbols after the first N L + 1 are left out.

    Parameters
    ----------
    ids : ndarray, shape (n,), int
        The text.
    N : int
        Number of streams.
    window : int
        Number of steps that each stream needs at least.
    unit : str
        Name of a symbol in error messages: "character" or "byte".
    whole : bool
        Make L a multiple of `window`.

    Returns
    -------
    x : ndarray, shape (L, N), int
        Column n is the n-th contiguous piece of the text.
    y : ndarray, shape (L, N), int
        Targets: x one step later.

    Raises
    ------
    ValueError
        If the text does not fill one window in every stream.
    """
    require(len(ids), N, window, unit)
    L = (len(ids) - 1) // N
    L -= L % window if whole else 0
    x, y = (ids[k : k + N * L].reshape(N, L).T for k in (0, 1))
    return np.ascontiguousarray(x), np.ascontiguousarray(y)
