"""Prints tables with notes on the console, or writes them as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from . import markdown
from .table import grid


class Sheet(NamedTuple):
    """A table and what must be said with it."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


def show(sheets: Iterable[Sheet], console: Console) -> None:
    """Print all tables."""
    for sheet in sheets:
        table = grid(sheet.title, *sheet.headings)
        for row in sheet.rows:
            table.add_row(*row)
        console.print(table)
        for note in sheet.notes:
            console.print(Text(f"* {note}"))
        console.print()


def text(sheets: Iterable[Sheet]) -> str:
    """Return all tables in Markdown.

    >>> print(text([Sheet("Sizes", ["a", "b"], [["x", "1"]], ["In bytes."])]))
    ## Sizes
    <BLANKLINE>
    | a | b |
    | --- | ---: |
    | x | 1 |
    <BLANKLINE>
    * In bytes.
    """
    parts = []
    for sheet in sheets:
        parts += [f"## {sheet.title}", markdown.table(sheet.headings, sheet.rows)]
        parts += ["\n".join(f"* {note}" for note in sheet.notes)] if sheet.notes else []
    return "\n\n".join(parts)
