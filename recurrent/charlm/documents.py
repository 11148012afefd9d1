"""Texts of several documents: one symbol marks where one ends and the next begins.

A text of documents is "<end>first<end>second<end>". The model reads <end>, from its initial state,
before the first symbol of a document, and learns to predict <end> after the last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from .. import checks

END = "\x03"  # the control character "end of text"


def separator(documents: str) -> str:
    """Return the text between two documents: that of the option `documents`.

    Parameters
    ----------
    documents : str
        "lines", "files", or the text.

    Returns
    -------
    str
        An empty one for "files", which only end.
    """
    return {"lines": "\n", "files": ""}.get(documents, documents)


def joined(documents: Any, end: str = END) -> str:
    """Return a list of documents as one text.

    Parameters
    ----------
    documents : list of str
        The documents; empty ones are left out.
    end : str
        The symbol that marks the end of each.

    Returns
    -------
    str

    Raises
    ------
    ValueError, TypeError
        If an entry is no str, contains the symbol, or all are empty.
    """
    for n, document in enumerate(documents):
        _check(checks.text(document, f"text[{n}]"), end, f"text[{n}]")
    whole = [document for document in documents if document]
    if not whole:
        raise ValueError("text must have a document that is not empty, got none")
    return end + end.join(whole) + end


def cut(pieces: Iterable[str], separator: str, end: str = END) -> Iterator[str]:
    """Cut a text into documents where a separator stands.

    Parameters
    ----------
    pieces : iterable of str
        The text, in pieces of any length.
    separator : str
        The separator, which may go over the end of a piece; an empty one only ends the text.
    end : str
        The symbol that marks the end of a document.

    Yields
    ------
    str
        The text with the symbol before and behind each document, in pieces.

    Raises
    ------
    ValueError
        If the text contains the symbol.
    """
    yield end
    rest, ended = "", True
    for piece in pieces:
        _check(piece, end, "the text")
        *whole, last = (rest + piece).split(separator) if separator else [rest + piece]
        keep = max(0, len(last) - max(0, len(separator) - 1))  # the rest may begin a separator
        rest = last[keep:]
        text = re.sub(f"{end}+", end, end.join([*whole, last[:keep]]))
        text = text.removeprefix(end) if ended else text
        if text:
            ended = text.endswith(end)
            yield text
    rest += "" if ended and not rest else end
    if rest:
        yield rest


def _check(text: str, end: str, name: str) -> None:
    """Raise ValueError if a text contains the symbol that ends documents."""
    if end in text:
        raise ValueError(
            f"{name} has the character U+{ord(end):04X}, which marks the end of a document"
        )
