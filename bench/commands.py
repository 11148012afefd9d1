"""The commands that read stored runs; `add` gives them to the app of `python -m bench`."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .report.compare import compare as compare_runs
from .report.table import show as show_run
from .results import Run, read, write

ROOT = Path(__file__).parents[1]
README, RUNS = ROOT / "README.md", ROOT / "bench" / "runs"
LARGEST = 300_000  # bytes of a run that is kept in the repository

Stored = Annotated[
    Path, typer.Argument(metavar="RUN", help="A file that --out wrote.", show_default=False)
]


def add(app: typer.Typer) -> None:
    """Register all of them."""
    for command in (show, compare, report, roofline, readme):
        app.command()(command)


def console() -> Console:
    """As wide as the terminal; without one, wide enough for every engine."""
    return Console(width=None if sys.stdout.isatty() else 140)


@contextmanager
def one_line():
    """A file that cannot be read, or is not a run, is one line on standard error and exit code 2."""
    try:
        yield
    except OSError as error:
        print(f"bench: {error.filename}: {error.strerror}", file=sys.stderr)
        raise typer.Exit(2) from None
    except ValueError as error:
        print(f"bench: {error}", file=sys.stderr)
        raise typer.Exit(2) from None


def show(run: Stored) -> None:
    """Print the tables of a run again."""
    with one_line():
        show_run(read(run), console())


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="The run before.", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="B", help="The run after.", show_default=False)],
) -> None:
    """What changed from run A to run B, beside what the peers moved meanwhile, which is noise."""
    with one_line():
        compare_runs(read(a), read(b), console())


def report(
    run: Stored,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where to write.")
    ] = Path("report"),
) -> None:
    """Write a Markdown report with its pictures."""
    from .report.markdown import (
        report as write_report,  # pictures import the engine: --help need not wait for it
    )

    with one_line():
        print(write_report(read(run), out))


def roofline(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN]", help="By default the README's run.", show_default=False),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="Where to write.")
    ] = Path("roofline.svg"),
) -> None:
    """Draw where each kernel stands between compute and bandwidth limit, as SVG."""
    from .report.roofline import roofline as draw_roofline

    with one_line():
        draw_roofline(_readme_run() if run is None else read(run), out)
        print(out)


def readme(run: Stored) -> None:
    """Store a run in bench/runs and write the README's table from it."""
    from .report.readme import readme as write_table

    with one_line():
        kept = RUNS / run.name
        whole = read(run)
        RUNS.mkdir(exist_ok=True)
        write(kept, whole)
        write_table(kept, README)
    size = kept.stat().st_size
    print(
        f"{kept}: {size / 1000:,.0f} kB"
        + (f", more than the {LARGEST // 1000} kB wanted" if size > LARGEST else "")
    )


def _readme_run() -> Run:
    from .report.readme import stored

    found = stored(README.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(
            "the README has no stored run yet; measure one: python -m bench --out run.jsonl"
        )
    return read(ROOT / found[0])
