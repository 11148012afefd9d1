"""Text for the commands: from a file, a folder, standard input, or Python's own help topics."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def read_text(path: str, raw: bool = False) -> tuple[str | bytes, list[str]]:
    """Read a text file, standard input ("-") or all text files below a folder, joined.

    The files of a folder are sorted by path. With `raw`, the contents are returned as bytes.

    Returns the text, and the files of a folder that were skipped because they are not UTF-8 text.
    Raises OSError if a file cannot be read, and ValueError if a single file is not UTF-8 or a
    folder holds no text files.
    """
    if path == "-":
        return _decode(sys.stdin.buffer.read(), "standard input", raw), []
    if not os.path.isdir(path):
        return _decode(Path(path).read_bytes(), path, raw), []
    parts, skipped = [], []
    for file in sorted(p for p in Path(path).rglob("*") if p.is_file()):
        if any(part.startswith(".") for part in file.relative_to(path).parts):
            continue
        data = file.read_bytes()
        if b"\0" in data:
            skipped.append(str(file))
            continue
        try:
            parts.append(_decode(data, str(file), raw))
        except ValueError:
            skipped.append(str(file))
    if not parts:
        raise ValueError(f"{path}: no text files in this folder")
    return (b"" if raw else "").join(parts), skipped


def _decode(data: bytes, name: str, raw: bool) -> str | bytes:
    if raw:
        return data
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        wrong = f"byte 0x{data[error.start]:02x} at position {error.start}"
        raise ValueError(
            f"{name}: not UTF-8 text ({wrong}); use --bytes to train a model of bytes on it"
        ) from None


def demo_text() -> str:
    """Return the topics of Python's help(): about 465,000 characters, 103 distinct."""
    from pydoc_data.topics import topics

    return "".join(topics.values())
