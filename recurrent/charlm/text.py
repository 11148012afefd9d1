"""Text as ids: vocabularies of code points or bytes, and parallel streams of a text."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from .. import checks
from .documents import END, joined
from .idstore import IdStore

UNKNOWN = ("error", "skip", "replace")
REPLACEMENTS = "\ufffd? "  # the first of them that a vocabulary has
CHUNK = 2**18  # characters that are encoded at a time


class Vocabulary:
    """The symbols of a model, numbered from 0 to V - 1: code points, or the 256 bytes of UTF-8.

    Parameters
    ----------
    symbols : str or None
        The characters, each once; None for bytes.
    end : str, optional
        The one of them that marks the end of a document.

    Raises
    ------
    ValueError
        If there is no character, one occurs twice, or `end` is none of them.

    Examples
    --------
    >>> v = Vocabulary.of("hello")
    >>> v.encode("hole")
    array([1, 3, 2, 0], dtype=int32)
    >>> v.decode([1, 3, 2, 0])
    'hole'
    >>> v.encode("hole!", unknown="skip").tolist()
    [1, 3, 2, 0]
    """

    def __init__(self, symbols: str | None, end: str | None = None):
        self.symbols = symbols if symbols is None else checks.text(symbols, "symbols")
        self.end = end if end is None else checks.text(end, "end")
        if symbols is not None:
            if not symbols:
                raise ValueError("a vocabulary needs at least one character, but the text is empty")
            if len(set(symbols)) != len(symbols):
                raise ValueError("the symbols of a vocabulary must differ from each other")
            codes, V = _codes(symbols), len(symbols)
            # The id of each code point; V for those that are not in the vocabulary.
            self._ids = np.full(int(codes.max()) + 2, V, np.min_scalar_type(V))
            self._ids[codes] = np.arange(V)
        if end is not None and (len(end) != 1 or end not in (symbols or "")):
            raise ValueError(f"end must be one of the symbols, got {checks.shown(end)}")

    @classmethod
    def of(cls, text: str | list[str]) -> Vocabulary:
        """Build the vocabulary of a text: its characters in sorted order.

        Parameters
        ----------
        text : str, or list of str
            The text; or documents, for a vocabulary with a symbol that ends them.

        Returns
        -------
        Vocabulary

        Raises
        ------
        ValueError
            If the text is empty.
        """
        end = END if isinstance(text, (list, tuple)) else None
        text = joined(text) if isinstance(text, (list, tuple)) else checks.text(text, "text")
        return cls("".join(sorted(set(text))), end)

    @classmethod
    def of_pieces(
        cls, pieces: Iterable[str], end: str | None = None
    ) -> tuple[Vocabulary, np.ndarray]:
        """Build the vocabulary of a text that comes in pieces, and convert the text to ids.

        Parameters
        ----------
        pieces : iterable of str
            The text, which is read once.
        end : str, optional
            The character in it that ends a document.

        Returns
        -------
        vocabulary : Vocabulary
            The characters in sorted order.
        ids : ndarray, shape (n,), of the vocabulary's dtype

        Raises
        ------
        ValueError
            If the text is empty.
        """
        store, symbols = IdStore(np.uint8), ""  # in the order in which they are seen
        known: Any = None
        for piece in pieces:
            new = set(piece).difference(symbols)
            if new:
                symbols += "".join(sorted(new))
                known = cls(symbols)
            store.append(known._encode(piece, "error", 0), known.dtype)
        vocabulary, ids = cls("".join(sorted(symbols)), end), store.array()
        order = vocabulary.encode(symbols, dtype=vocabulary.dtype)
        for start in range(0, len(ids), CHUNK):
            ids[start : start + CHUNK] = order[ids[start : start + CHUNK]]
        return vocabulary, ids

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

    @property
    def dtype(self) -> np.dtype:
        """The smallest dtype that holds every id."""
        return np.min_scalar_type(len(self) - 1)

    @property
    def end_id(self) -> int | None:
        """The id of the symbol that ends a document, if there is one."""
        return None if self.end is None or self.symbols is None else self.symbols.index(self.end)

    def __eq__(self, other):
        return isinstance(other, Vocabulary) and self.describe() == other.describe()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self):
        return f"Vocabulary({len(self)} {self.unit}s{', with an end symbol' * bool(self.end)})"

    def encode(self, text: str | bytes, *, unknown: str = "error", dtype: Any = np.int32) -> Any:
        """Convert a text to ids.

        Parameters
        ----------
        text : str or bytes
            The text; bytes only for a vocabulary of bytes.
        unknown : {"error", "skip", "replace"}
            What becomes of a character that is not in the vocabulary. "replace" puts U+FFFD, a
            question mark or a space, the first of them that is in the vocabulary.
        dtype : dtype
            Type of the ids; `dtype` of the vocabulary takes the least memory.

        Returns
        -------
        ndarray, shape (n,), int
            One id per character, or per byte of its UTF-8 form.

        Raises
        ------
        ValueError
            If a character is not in the vocabulary; the message names it and its position.
        TypeError
            If the text is bytes but the symbols are characters.
        """
        checks.choice(unknown, "unknown", UNKNOWN)
        if self.symbols is None:
            checks.instance(text, (str, bytes), "text", "str or bytes")
            raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
            return np.frombuffer(raw, np.uint8).astype(dtype, copy=False)
        if not isinstance(text, str):
            raise TypeError(
                f"text must be str for a vocabulary of characters, got {type(text).__name__}"
            )
        out, n = np.empty(len(text), dtype), 0
        for start in range(0, len(text), CHUNK):
            ids = self._encode(text[start : start + CHUNK], unknown, start)
            out[n : n + len(ids)] = ids
            n += len(ids)
        return out[:n]

    def encode_pieces(
        self, pieces: Iterable, unknown: str = "error"
    ) -> tuple[np.ndarray, list[str]]:
        """Convert a text that comes in pieces to ids, in little memory.

        Parameters
        ----------
        pieces : iterable of str, or of bytes for a vocabulary of bytes
            The text, which is read once.
        unknown : {"error", "skip", "replace"}
            See `encode`.

        Returns
        -------
        ids : ndarray, shape (n,), of the vocabulary's dtype
        lacking : list of str
            The characters of the text that are not in the vocabulary.

        Raises
        ------
        ValueError
            If a character is not in the vocabulary.
        """
        store, position, lacking = IdStore(self.dtype), 0, set()
        for piece in pieces:
            if isinstance(piece, bytes):
                ids = np.frombuffer(piece, np.uint8)
            else:
                ids = self._encode(piece, unknown, position, lacking)
            store.append(ids, self.dtype)
            position += len(piece)
        return store.array(), sorted(lacking)

    def _encode(
        self, text: str, unknown: str, position: int, lacking: set[str] | None = None
    ) -> np.ndarray:
        """Convert a piece of a text, which begins at a position of it, to ids.

        Characters that are not in the vocabulary are added to `lacking`.
        """
        codes, V = _codes(text), len(self)
        ids = self._ids[np.minimum(codes, len(self._ids) - 1)]
        places = np.flatnonzero(ids == V)
        if not len(places):
            return ids
        if lacking is not None:
            lacking.update(map(chr, np.unique(codes[places])))
        if unknown == "skip":
            return np.delete(ids, places)
        if unknown == "replace":
            known: Any = self.symbols
            found = [known.index(c) for c in REPLACEMENTS if c in known]
            if not found:
                raise ValueError(
                    "unknown='replace' needs U+FFFD, '?' or ' ' in the vocabulary, which has none"
                )
            ids[places] = found[0]
            return ids
        at = int(places[0])
        raise ValueError(
            f"character {text[at]!r} (U+{codes[at]:04X}) at position {position + at} is not among "
            f"the {V} in the vocabulary"
        )

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
        end = {} if self.end is None else {"end": self.end}
        return {"kind": "characters", "symbols": self.symbols, **end}

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
                return cls(symbols, description.get("end"))
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
        Column n is the n-th contiguous piece of the text. Both are views of `ids`.
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
    return x, y
