"""The text of a command: words, or the name of a file that holds them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from recurrent import CharLM
from recurrent.cli.options import name_source, print_notes
from recurrent.cli.source import read_text

LONGEST = 20_000  # characters of a file; a picture shows fewer, but a model runs through all


def text_of(words: str, lm: CharLM) -> str:
    """Return the text of the file or folder of that name, or of standard input; else the words.

    Raises FileNotFoundError for one word with a suffix, such as book.txt, that names no file, and
    ValueError for a file without text, or with characters that the model does not know.
    """
    if words != "-" and not os.path.lexists(words):
        if Path(words).suffix and len(words.split()) == 1:
            raise FileNotFoundError(errno.ENOENT, "no such file; give a text by --text", words)
        return words
    text, source = "", read_text(words, keep=lm.vocabulary.symbols)
    for piece in source.pieces:
        text += piece
        if len(text) > LONGEST:
            source.notes.append(f"{words}: only the first {LONGEST:,} characters are read")
            break
    print_notes(source.notes)
    text = text[:LONGEST]
    with name_source(words):
        if not text:
            raise ValueError("expected a text of at least 1 character, got none")
        lm.ids(text)
    return text
