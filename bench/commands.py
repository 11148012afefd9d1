"""The commands that read stored runs; `add` registers them with the app of `python -m bench`."""

from __future__ import annotations

import shlex
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from recurrent.cli.runner import describe, print_error
from recurrent.cli.source import check_regular, naming
from recurrent.models.files import check_writable

from .measure.machine import machine
from .report.compare import compare as compare_runs
from .report.table import show as show_run
from .results import Run, read, write

ROOT = Path(__file__).parents[1]
README, RUNS = ROOT / "README.md", ROOT / "bench" / "runs"
MAX_SIZE = 600_000  # bytes of a run that the repository keeps

Stored = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run file, as written by --out.", show_default=False)
]


def add(app: typer.Typer) -> None:
    """Register all commands."""
    for command in (show, compare, report, roofline, readme, forecasts, classes, exchange):
        app.command()(command)


def console() -> Console:
    """Return a console as wide as the terminal; without one, wide enough for all engines."""
    return Console(width=None if sys.stdout.isatty() else 140)


@contextmanager
def one_line():
    """Report an unreadable file, a file that holds no run, or a missing package in one line."""
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        if getattr(sys.stdout, "error", None) is not None:
            raise  # standard output cannot be written
        print_error("bench", describe(error))
        raise typer.Exit(2) from None


def _stored(path: Path) -> Run:
    """Read a run; raise OSError or ValueError for anything else."""
    check_regular(path, "a run file")
    with naming(path):
        return read(path)


def show(run: Stored) -> None:
    """Print the tables of a run."""
    with one_line():
        show_run(_stored(run), console())


def compare(
    a: Annotated[
        Path, typer.Argument(metavar="A", help="File of the earlier run.", show_default=False)
    ],
    b: Annotated[
        Path, typer.Argument(metavar="B", help="File of the later run.", show_default=False)
    ],
) -> None:
    """Compare two runs; the change of the peers, whose code is the same, shows the noise."""
    with one_line():
        compare_runs(_stored(a), _stored(b), console())


def report(
    run: Stored,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder to write the report to.")
    ] = Path("report"),
) -> None:
    """Write a report in Markdown with charts; needs matplotlib."""
    with one_line():
        from .report.markdown import report as write_report

        print(write_report(_stored(run), out))


def roofline(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN", help="A run file, as written by --out; by default the README's run."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="SVG file to write the chart to.")
    ] = Path("roofline.svg"),
) -> None:
    """Draw each kernel's speed against the limits of compute and bandwidth; needs matplotlib."""
    with one_line():
        stored = _readme_run() if run is None else _stored(run)
        from .report.roofline import roofline as draw_roofline

        draw_roofline(stored, out)
        print(out)


def readme(run: Stored) -> None:
    """Store a run in bench/runs and update the README's table from it."""
    from .report.readme import readme as write_table

    with one_line():
        stored = RUNS / run.name
        contents = _stored(run)
        RUNS.mkdir(exist_ok=True)
        write(stored, contents)
        write_table(stored, README)
    size = stored.stat().st_size
    over = f", over the limit of {MAX_SIZE // 1000} kB" if size > MAX_SIZE else ""
    print(f"{stored}: {size / 1000:,.0f} kB{over}")


Seeds = Annotated[int, typer.Option(metavar="N", min=1, help="Number of seeds.")]
Tables = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write the tables there too.")
]


def forecasts(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SERIES]...", help="Series; all by default.", show_default=False),
    ] = None,
    seeds: Seeds = 5,
    out: Tables = None,
) -> None:
    """Forecast real series beside baselines and PyTorch; prints tables in Markdown."""
    with one_line():
        from .real import forecasts as real

        _tables("series", real.SERIES, names, real, seeds, out)


def classes(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DATA]...", help="Data sets; all by default.", show_default=False),
    ] = None,
    seeds: Seeds = 5,
    out: Tables = None,
) -> None:
    """Classify real sequences beside 1-NN, PyTorch and published figures; prints Markdown."""
    with one_line():
        from .real import classes as real

        _tables("data set", real.PROBLEMS, names, real, seeds, out)


def exchange(
    processes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=2,
            help="Number of processes, a power of two; by default as many as processors.",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small gradients and a small model; for a try.")
    ] = False,
    out: Tables = None,
) -> None:
    """Time the exchange of gradients among processes, and trainings that share it; needs MPI.

    Updates of a model are timed in one process, and in several that start under mpiexec, in turn.
    A second part is a model of more workers, from the measured terms and from those of networks.

    Without --quick it takes minutes. Other programs disturb it.
    """
    with one_line():
        from .measure import exchange as measuring
        from .report import exchange as tables
        from .report import sheet

        if out is not None:
            check_writable(out)
        count = measuring.checked(processes)
        run = now("quick" if quick else "default", tables.versions())
        errors = Console(stderr=True, highlight=False)
        measured = measuring.measure(count, measuring.PACES[run.mode], errors.print)
        sheets = tables.tables(measured)
        sheet.show(sheets, console())
        if out is not None:
            out.write_text(tables.text(sheets, run), encoding="utf-8")
    if any(training.error for training in measured.trainings):
        raise typer.Exit(1)


def now(mode: str, versions: dict[str, str]) -> Run:
    """Return a run without rows that begins now: this machine and this command."""
    command = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
    date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Run(date, command, mode, machine(), versions)


def _tables(kind, known, names, real, seeds, out):
    """Measure real data and print the tables."""
    from .real.tables import tables

    if out is not None:
        check_writable(out)

    def table(one):
        return real.markdown(one, real.measure(one, seeds))

    tables(kind, known, names, table, real.title(seeds), out)


def _readme_run() -> Run:
    from .report.readme import stored

    named = stored(README.read_text(encoding="utf-8"))
    if named is None:
        raise ValueError(
            "the README has no stored run yet; measure one with python -m bench --out run.jsonl"
        )
    return read(ROOT / named[0])
