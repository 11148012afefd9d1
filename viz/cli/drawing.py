"""Options that every command takes that draws one picture, and the file it writes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from recurrent.cli.options import in_options, number
from recurrent.cli.runner import UsageError
from recurrent.models import files

from ..draw.adapt import LABELS, LEAST, MOST, OPTIONS, Chosen, using
from ..draw.drawing import Drawing, format_of

PANEL = "Look"


def output(path: Path | None) -> Path | None:
    """Return the path of a picture; raise an error if it cannot be written."""
    if path is not None:
        format_of(path)
        files.check_writable(path)
    return path


Out = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--out",
        metavar="FILE",
        help="Output file: .svg, .png, .pdf, .gv or .html. Default: VIEW.svg.",
        show_default=False,
        callback=output,
    ),
]
Title = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT", help="Heading of the picture.", show_default=False, rich_help_panel=PANEL
    ),
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KIND=A,B,...",
        help=f"Names of {', '.join(LABELS[:-1])} or {LABELS[-1]}; may be repeated.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
Width = Annotated[
    float | None,
    typer.Option(
        metavar="PIXELS",
        help=f"Width of the picture, {LEAST} to {MOST:,}.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
Palette = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="default, colour-blind or print (greys; dashes and − mark values below zero).",
        rich_help_panel=PANEL,
    ),
]
Dark = Annotated[
    bool | None,
    typer.Option(
        "--dark/--light",
        help="Colours for a dark or a light page. Default: an SVG follows its reader.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
Dpi = Annotated[
    int | None,
    number(
        "Pixels per inch of a .png. Default: 144.", 1, show_default=False, rich_help_panel=PANEL
    ),
]
LOOK = dict(title=Title, labels=Labels, width=Width, palette=Palette, dark=Dark)


def draws(command: Callable[..., Drawing]) -> Callable[..., int]:
    """Let a command that returns a picture take the options of its look, and write it to a file."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())
    required = [p for p in own if p.default is p.empty]

    keyword = inspect.Parameter.KEYWORD_ONLY

    def option(name, kind, default):
        return inspect.Parameter(name, keyword, default=default, annotation=kind)

    def run(out, dpi, **arguments):
        look: Any = {name: arguments.pop(name) for name in OPTIONS}
        path = Path(f"{command.__name__}.svg") if out is None else out
        if dpi is not None and format_of(path) != "png":
            raise UsageError(f"--dpi is for a .png, got it for {path.name}, which has no pixels")
        with using(chosen_look(**look)):
            drawing = command(**arguments)
        print(f"wrote {drawing.save(path, dpi=dpi)}")
        return 0

    parameters = [
        *required,
        option("out", Out, None),
        *(p for p in own if p not in required),
        *(option(name, kind, OPTIONS[name]) for name, kind in LOOK.items()),  # type: ignore
        option("dpi", Dpi, None),
    ]
    parameters = [p.replace(kind=keyword) for p in parameters]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


def chosen_look(labels: list[str] | None, **look: Any) -> Chosen:
    """Return the look that the options of a command ask for; raise UsageError for a wrong one."""
    try:
        return Chosen({**look, "labels": labels_of(labels)})  # type: ignore[typeddict-item]
    except ValueError as error:
        raise UsageError(in_options(error, OPTIONS)) from None


def labels_of(given: list[str] | None) -> dict[str, list[str]] | None:
    """Return the labels that KIND=A,B,... options give.

    >>> labels_of(["inputs=rain,wind", "units=a"])
    {'inputs': ['rain', 'wind'], 'units': ['a']}
    """
    if not given:
        return None
    found = {}
    for text in given:
        kind, equals, names = text.partition("=")
        if not equals or kind not in LABELS:
            kinds = f"{', '.join(LABELS[:-1])} or {LABELS[-1]}"
            raise UsageError(f"--labels must be KIND=A,B,... of kind {kinds}, got {text!r}")
        found[kind] = names.split(",")
    return found
