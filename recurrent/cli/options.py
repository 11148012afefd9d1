"""What the commands have in common: how options and examples look, where a text comes from."""

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


def number(help: str, least: int = 0, mark: str = "N", **more) -> typer.models.OptionInfo:
    """A whole number; with mark "X" any number."""
    return typer.Option(min=least, metavar=mark, help=help, **more)


def examples(*lines: str) -> str:
    """The last paragraph of a --help."""
    return "Examples:\n\n" + "\n\n".join(f"  python -m recurrent {line}" for line in lines)


def mention(skipped: list[str]) -> None:
    """Say which files of a folder are no text."""
    if skipped:
        more = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
        print(f"left out, as it is not text: {skipped[0]}{more}", file=sys.stderr)


@contextmanager
def naming(source: str):
    """Put the text's file before what is wrong with it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{'standard input' if source == '-' else source}: {error}") from error
