"""Text for the commands: from a file, a folder, standard input, or Python's own help topics."""

from __future__ import annotations

import codecs
import errno
import io
import itertools
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ..charlm import documents as documents_of
from . import memory

CHUNK = 2**17  # bytes


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


class Text(NamedTuple):
    """A text that can be read once, in pieces.

    Parameters
    ----------
    pieces : iterator of str, or of bytes
        The text; bytes if it is read raw. Reading it raises OSError if a file cannot be read,
        ValueError if it is not UTF-8 and MemoryError for more text than there is memory for.
    notes : list of str
        What was left out or changed so far, one line each.
    """

    pieces: Iterator[Any]
    notes: list[str]


def read_text(
    path: str, raw: bool = False, keep: str | None = "", documents: str | None = None
) -> Text:
    """Read a text file, standard input ("-") or all text files below a folder, joined.

    The files of a folder are sorted by path; those that are not UTF-8 text are skipped. With `raw`,
    the contents are bytes. Otherwise the line ends CR and CRLF become LF, and byte-order marks are
    left out, unless those characters are in `keep`. `documents` cuts the text: see
    `documents.separator`.

    Raises OSError if there is no such file, ValueError if a folder holds no text files, and
    MemoryError for a text larger than the memory.
    """
    notes: list[str] = []
    if path == "-":
        sources: dict[str, Iterable[bytes]] = {"standard input": _standard_input()}
    elif os.path.isdir(path):
        found = sorted(p for p in Path(path).rglob("*") if p.is_file())
        shown = [p for p in found if not any(a.startswith(".") for a in p.relative_to(path).parts)]
        check_size(sum(p.stat().st_size for p in shown), path)
        texts = [p for p in shown if _is_text(p, raw)]
        if not texts:
            raise ValueError(f"{path}: no text files in this folder")
        skipped = [str(p) for p in shown if p not in texts]
        notes += [_note("skipped, not a text file: ", skipped)] if skipped else []
        sources = {str(p): _chunks(p) for p in texts}
    else:
        check_size(check_regular(path, "a text file or a folder").st_size, path)
        sources = {path: _chunks(path)}
    if raw:
        return Text(itertools.chain.from_iterable(sources.values()), notes)
    return Text(_decoded(sources, keep or "", documents, notes), notes)


def _decoded(
    sources: dict[str, Iterable[bytes]], keep: str, documents: str | None, notes: list[str]
) -> Iterator[str]:
    """Yield the text of files, cut into documents, and add notes about what was changed."""
    changed = []
    for k, (name, chunks) in enumerate(sources.items()):
        decoder = Decoder(name, keep)
        pieces = decoder.pieces(chunks)
        if documents is not None:
            pieces = documents_of.cut(pieces, documents_of.separator(documents))
            pieces = itertools.islice(pieces, k > 0, None)  # the file before has ended
        yield from pieces
        changed += [f"{name}: {', '.join(decoder.changes)}"] if decoder.changes else []
    notes += [_note("", changed)] if changed else []


def _is_text(path: Path, raw: bool) -> bool:
    """Return whether a file of a folder has no byte 0 and, unless it is read raw, is UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for data in _chunks(path):
        if b"\0" in data:
            return False
        try:
            decoder.decode(b"" if raw else data)
        except UnicodeDecodeError:
            return False
    return decoder.getstate()[0] == b""


def unknown_characters(lacking: list[str], unknown: str) -> list[str]:
    """Return a line about the characters that a vocabulary lacks and that were no error."""
    if not lacking:
        return []
    done = {"skip": "skipped", "replace": "replaced"}[unknown]
    few = ", ".join(map(repr, lacking[:10])) + ", ..." * (len(lacking) > 10)
    return [f"{done}, not in the vocabulary: {few}"]


def _note(beginning: str, names: list[str]) -> str:
    """Return a line about the first of several files."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{beginning}{names[0]}{more}"


class Decoder:
    """Decodes UTF-8 in chunks, with uniform line ends and without a byte-order mark.

    Parameters
    ----------
    name : str
        Name of the file in errors.
    keep : str
        The characters among CR and U+FEFF that stay.
    """

    def __init__(self, name: str, keep: str):
        self.name, self.keep = name, keep
        self.utf8: Any = codecs.getincrementaldecoder("utf-8")()
        self.lines = io.IncrementalNewlineDecoder(None, translate="\r" not in keep)
        self.mark = False

    @property
    def changes(self) -> list[str]:
        """Notes for the user: what the decoder has changed."""
        changes = ["byte-order mark left out"] if self.mark else []
        seen = self.lines.newlines or ()
        seen = (seen,) if isinstance(seen, str) else seen
        found = [name for name, end in (("CRLF", "\r\n"), ("CR", "\r")) if end in seen]
        if found and "\r" not in self.keep:
            changes.append(f"line ends {' and '.join(found)} read as LF")
        return changes

    def pieces(self, chunks: Iterable[bytes]) -> Iterator[str]:
        """Yield the text of the bytes in chunks."""
        read = 0
        for data in itertools.chain(chunks, [b""]):
            before = read - len(self.utf8.getstate()[0])
            try:
                text = self.utf8.decode(data, final=not data)
            except UnicodeDecodeError as error:
                raise ValueError(self._why(error, before)) from None
            if before == 0 and "\ufeff" not in self.keep and text.startswith("\ufeff"):
                self.mark, text = True, text[1:]
            read += len(data)
            text = self.lines.decode(text, final=not data)
            if text:
                yield text

    def _why(self, error: UnicodeDecodeError, before: int) -> str:
        """Return what is wrong with the bytes."""
        data: bytes = error.object
        if before == 0 and data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return f"{self.name}: not UTF-8 text but UTF-16; convert it: iconv -f UTF-16 -t UTF-8"
        wrong = f"byte 0x{data[error.start]:02x} at position {before + error.start}"
        return f"{self.name}: not UTF-8 text ({wrong}); use --bytes to train a model of bytes on it"


def _chunks(path: str | os.PathLike) -> Iterator[bytes]:
    """Yield the bytes of a file."""
    with naming(path), open(path, "rb") as file:
        while data := file.read(CHUNK):
            yield data


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


def _standard_input() -> Iterator[bytes]:
    """Yield standard input to its end; raise MemoryError as soon as it is too long."""
    if sys.stdin is None:
        raise ValueError("standard input is closed; expected a text, as in: cat FILE |")
    source: BinaryIO = sys.stdin.buffer
    if _is_endless(source):
        raise OSError("standard input: expected a text, got a device without an end")
    size = 0
    while data := source.read(CHUNK):
        size += len(data)
        check_size(size, "standard input")
        yield data


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


def demo_text() -> str:
    """Return the topics of Python's help(): about 465,000 characters, 103 distinct."""
    from pydoc_data.topics import topics

    return "".join(topics.values())
