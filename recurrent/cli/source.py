"""Text for the commands: from a file, a folder, standard input, or Python's own help topics."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from . import memory

CHUNK = 2**20  # bytes


def check_regular(path: str | os.PathLike, expected: str = "a file") -> os.stat_result:
    """Return the status of a file that can be read to its end.

    Raises OSError if there is no such file, and for anything else, such as a folder or a device:
    reading a FIFO would wait for a writer, and a device may have no end.
    """
    try:
        status = os.stat(path)
    except ValueError as error:  # a null character
        raise FileNotFoundError(errno.ENOENT, str(error), path) from None
    if not stat.S_ISREG(status.st_mode):
        piped = "; pass its text on standard input, as -" * stat.S_ISFIFO(status.st_mode)
        raise OSError(f"{path}: expected {expected}, got {_kind(status.st_mode)}{piped}")
    return status


def read_text(path: str, raw: bool = False) -> tuple[str | bytes, list[str]]:
    """Read a text file, standard input ("-") or all text files below a folder, joined.

    The files of a folder are sorted by path. With `raw`, the contents are returned as bytes.

    Returns the text, and the files of a folder that were skipped because they are not UTF-8 text.
    Raises OSError if a file cannot be read, ValueError if a single file is not UTF-8 or a folder
    holds no text files, and MemoryError for more text than the machine has memory for.
    """
    if path == "-":
        return _decode(_read_standard_input(), "standard input", raw), []
    if not os.path.isdir(path):
        check_size(check_regular(path, "a text file or a folder").st_size, path)
        with naming(path):
            return _decode(Path(path).read_bytes(), path, raw), []
    parts, skipped, size = [], [], 0
    for file in sorted(p for p in Path(path).rglob("*") if p.is_file()):
        if any(part.startswith(".") for part in file.relative_to(path).parts):
            continue
        size += file.stat().st_size
        check_size(size, path)
        with naming(file):
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


@contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Let an error of the system name a file that could be opened, but not read."""
    try:
        yield
    except OSError as error:
        if error.strerror and error.filename is None:
            error.filename = path
        raise


def check_size(size: int, name: str) -> None:
    """Raise MemoryError if a text of `size` bytes does not fit into memory."""
    memory.check(memory.TEXT * size, f"{name}: a text of {size:,} bytes", "use a part of it")


def _read_standard_input() -> bytes:
    """Read standard input to its end; raise MemoryError as soon as it is too long."""
    if sys.stdin is None:
        raise ValueError("standard input is closed; expected a text, as in: cat FILE |")
    source: BinaryIO = sys.stdin.buffer
    if _is_endless(source):
        raise OSError("standard input: expected a text, got a device without an end")
    parts, size = [], 0
    while data := source.read(CHUNK):
        parts.append(data)
        size += len(data)
        check_size(size, "standard input")
    return b"".join(parts)


def _is_endless(source) -> bool:
    """Return whether a stream is a device other than a terminal or /dev/null."""
    try:
        status = os.fstat(source.fileno())
    except OSError:  # a stream of the caller's own, without a file
        return False
    null = stat.S_ISCHR(status.st_mode) and status.st_rdev == os.stat(os.devnull).st_rdev
    device = stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)
    return device and not null and not source.isatty()


def _kind(mode: int) -> str:
    """Name the kind of what a path names."""
    kinds = {
        "a folder": stat.S_ISDIR,
        "a FIFO": stat.S_ISFIFO,
        "a socket": stat.S_ISSOCK,
        "a device": lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode),
    }
    return next((name for name, is_kind in kinds.items() if is_kind(mode)), "something else")


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
