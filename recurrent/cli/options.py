"""Options and messages that several commands share."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import Annotated

import typer

Source = Annotated[
    str,
    typer.Argument(
        metavar="FILE|DIR|-",
        help="A text file, a folder of text files, or - for standard input.",
        show_default=False,
    ),
]


def number(help: str, minimum: int = 0, metavar: str = "N", **settings) -> typer.models.OptionInfo:
    """Return a numeric option; the convention is metavar "N" for integers and "X" for floats."""
    return typer.Option(min=minimum, metavar=metavar, help=help, **settings)


def examples(*lines: str) -> str:
    """Return the examples at the end of a command's --help."""
    return "Examples:\n\n" + "\n\n".join(f"  python -m recurrent {line}" for line in lines)


def warn_skipped(files: list[str]) -> None:
    """Report the files of a folder that are not text."""
    if files:
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        print(f"skipped, not a text file: {files[0]}{more}", file=sys.stderr)


@contextmanager
def name_source(source: str):
    """Prefix a ValueError with the name of the text's source."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{'standard input' if source == '-' else source}: {error}") from error
