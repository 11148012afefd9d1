"""Options and messages that several commands share."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterable
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import __version__
from ..charlm.text import UNKNOWN
from ..models import foreign
from ..models.files import check_writable
from .runner import UsageError
from .source import check_regular

LARGEST = 2**63 - 1  # the largest integer of 64 bits


def existing_file(path: Any) -> Any:
    """Return the path of a file to read; raise OSError for a folder, a device, or no file."""
    if path is not None:
        check_regular(path)
    return path


def existing_model(path: Any) -> Any:
    """Return the path of a model; the error for a folder names a model in it."""
    if path is not None and os.path.isdir(path):
        raise IsADirectoryError(foreign.folder(path))
    return existing_file(path)


def make_folder(file: Path) -> None:
    """Make the folder of a file; raise OSError if the file cannot be written there."""
    folder = file.parent
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder; expected the name of one to write to")
    folder.mkdir(parents=True, exist_ok=True)
    check_writable(file)


Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="A file of train, task, demo, model.save or CharLM.save.",
        show_default=False,
        callback=existing_model,
    ),
]
Source = Annotated[
    str,
    typer.Argument(
        metavar="FILE|DIR|-",
        help="A text file, a folder of text files, or - for standard input.",
        show_default=False,
    ),
]


def _print_version(wanted: bool) -> None:
    """Print the version of the package and end the command."""
    if wanted:
        print(f"recurrent {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
    ),
]


Unknown = Annotated[
    StrEnum("Unknown", {name: name for name in UNKNOWN}),
    typer.Option(
        metavar="NAME",
        help="What becomes of characters that the model does not know: error, skip or replace.",
    ),
]


def number(
    help: str, minimum: int = 0, metavar: str = "N", *names: str, **settings: Any
) -> typer.models.OptionInfo:
    """Return a numeric option; the convention is metavar "N" for integers and "X" for floats."""
    settings |= {"min": minimum, "metavar": metavar, "help": help, "callback": _representable}
    return typer.Option(*names, **settings)


def _representable(value: Any) -> Any:
    """Return a number; raise BadParameter for NaN and for an integer of more than 64 bits."""
    if isinstance(value, float) and math.isnan(value):
        raise typer.BadParameter("expected a number, got nan")
    if isinstance(value, int) and value > LARGEST:
        digits = len(str(value)) if value < 10**30 else "more than 30"
        raise typer.BadParameter(f"expected at most {LARGEST}, got a number of {digits} digits")
    return value


OTHERS = "; --unknown skip or replace takes others"  # after an unknown character


def given(context: typer.Context) -> set[str]:
    """Return the names of the parameters that the command line gives."""
    return {
        name
        for name in context.params
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }


def flag(name: str) -> str:
    """Return the option of a parameter: "--top-k" for top_k."""
    return f"--{name.strip('_').replace('_', '-')}"


def in_options(error: Exception, names: Iterable[str], also: dict[str, str] | None = None) -> str:
    """Return the text of an error with the options of a command in place of its parameters.

    "temperature must be above 0" becomes "--temperature must be above 0". `also` has the options of
    parameters with other names.
    """
    options = {name.strip("_"): flag(name) for name in names} | (also or {})
    if not options:
        return str(error)
    pattern = rf"(?<![\w-])({'|'.join(sorted(options, key=len, reverse=True))})"
    pattern += "(?= must| needs| always| counts)"
    return re.sub(pattern, lambda match: options[match[1]], str(error))


def refuse(context: typer.Context, ignored: Iterable[str], beside: str, why: str) -> None:
    """Raise UsageError if one of the options `ignored` is given, which `beside` would ignore."""
    for name in ignored:
        if name in given(context):
            raise UsageError(f"{flag(name)} cannot be combined with {beside}: {why}")


def examples(*lines: str) -> str:
    """Return the examples at the end of a command's --help."""
    return "Examples:\n\n" + "\n\n".join(f"  python -m recurrent {line}" for line in lines)


def print_notes(notes: Iterable[str]) -> None:
    """Print what a command left out or changed, on standard error."""
    for note in notes:
        print(note, file=sys.stderr)


def unescaped(value: str | None, option: str) -> str | None:
    """Return the text of an option, in which \\n, \\t and so on stand for the characters."""
    if value is None:
        return None
    try:
        text = value.encode("raw_unicode_escape").decode("unicode_escape")
    except UnicodeDecodeError:
        raise UsageError(
            f"{option}: expected a text with \\n, \\t or \\\\, got {value!r}"
        ) from None
    if not text:
        raise UsageError(f"{option}: expected a text that is not empty")
    return text


@contextmanager
def name_source(source: str, names: Iterable[str] = (), hint: str = ""):
    """Prefix a ValueError with the name of the text's source; `hint` follows unknown characters.

    `names` are the parameters of the command, see `in_options`.
    """
    try:
        yield
    except ValueError as error:
        text = in_options(error, names) + hint * ("is not among" in str(error))
        name = f"{'standard input' if source == '-' else source}: "
        raise ValueError(name * (not text.startswith(name)) + text) from error
