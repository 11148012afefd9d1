"""Text as numbers: vocabularies of code points or bytes, and the parallel streams that character models learn from."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

import numpy as np


class Vocabulary:
    """The symbols a model knows, numbered 0 to V - 1: code points in sorted order, or the 256 bytes of UTF-8 text.

    >>> v = Vocabulary.of("hello")
    >>> v.encode("hole")
    array([1, 3, 2, 0], dtype=int32)
    >>> v.decode([1, 3, 2, 0])
    'hole'
    """

    def __init__(self, symbols: str | None):
        """`symbols`: the characters, each once; None for bytes. Raises ValueError for none at all or one twice."""
        self.symbols = symbols
        if symbols is not None:
            if not symbols:
                raise ValueError("a vocabulary needs at least one character, the text is empty")
            if len(set(symbols)) != len(symbols):
                raise ValueError("the symbols of a vocabulary must differ from each other")
            self._codes = _codes(symbols)
            self._order = np.argsort(self._codes).astype(np.int32)
            self._sorted = self._codes[self._order]

    @classmethod
    def of(cls, text: str) -> Vocabulary:
        """The characters of a text. Raises ValueError for an empty one."""
        return cls("".join(sorted(set(text))))

    @classmethod
    def bytes(cls) -> Vocabulary:
        """All 256 bytes: any text can be encoded, whatever its characters."""
        return cls(None)

    @property
    def unit(self) -> str:
        """What one id stands for: "character" or "byte"."""
        return "byte" if self.symbols is None else "character"

    def __len__(self):
        return 256 if self.symbols is None else len(self.symbols)

    def __eq__(self, other):
        return isinstance(other, Vocabulary) and self.symbols == other.symbols

    __hash__ = None

    def __repr__(self):
        return f"Vocabulary({len(self)} {self.unit}s)"

    def encode(self, text: str | bytes) -> np.ndarray:
        """Ids, int32: (number of characters,) or (number of UTF-8 bytes,).

        Raises ValueError that names the first character that is not in the vocabulary and its position, TypeError for
        bytes where the symbols are characters.
        """
        if self.symbols is None:
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
            raise ValueError(f"character {unknown} is not among the {len(self)} of the vocabulary")
        return self._order[place]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids (n,); bytes that are not UTF-8 become U+FFFD. Raises IndexError for ids out of range."""
        return "".join(self.pieces(ids))

    def pieces(self, ids: Iterable[int]) -> Iterator[str]:
        """Text of ids as they come: a piece for each id, as soon as its character is complete."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for k in ids:
            if not 0 <= k < len(self):
                raise IndexError(f"ids must be in 0..{len(self) - 1}, got {k}")
            piece = self.symbols[k] if self.symbols is not None else decoder.decode(b"%c" % int(k))
            if piece:
                yield piece
        if rest := decoder.decode(b"", final=True):
            yield rest

    def describe(self) -> dict:
        """What builds an equal vocabulary again, as plain data."""
        return (
            {"kind": "bytes"}
            if self.symbols is None
            else {"kind": "characters", "symbols": self.symbols}
        )

    @classmethod
    def build(cls, description: dict) -> Vocabulary:
        """A vocabulary from what `describe` returned. Raises ValueError for anything else."""
        match description:
            case {"kind": "bytes"}:
                return cls.bytes()
            case {"kind": "characters", "symbols": str(symbols)}:
                return cls(symbols)
        raise ValueError(
            "a vocabulary must have the kind 'bytes', or the kind 'characters' and symbols"
        )


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def require(
    n: int, N: int, window: int = 1, unit: str = "character", held_out: float = 0.0, after: int = 1
) -> None:
    """Raise ValueError, with both numbers, unless n symbols, the last `held_out` aside, fill a window in each of N streams.

    `after`: symbols that are needed behind them, the last target among them.
    """
    need = N * window + after
    while need - int(need * held_out) < N * window + after:
        need += 1
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
    """Cut a text into N streams that run side by side.

    ids (n,). Returns x and y, both (L, N) with L = (n - 1) // N: column n is the n-th contiguous piece of the text, and
    y is what comes one later, x shifted by one. The last target of a stream is the first character of the next stream:
    every target is the true successor. The up to N characters beyond N L + 1 are left out; with `whole` as many more as make
    L a multiple of `window`.

    Raises ValueError, with both numbers, for a text that does not fill one `window` of steps in every stream.
    """
    require(len(ids), N, window, unit)
    L = (len(ids) - 1) // N
    L -= L % window if whole else 0
    x, y = (ids[k : k + N * L].reshape(N, L).T for k in (0, 1))
    return np.ascontiguousarray(x), np.ascontiguousarray(y)
