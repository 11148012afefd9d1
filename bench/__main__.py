"""`python -m bench`: measures this engine and its peers, prints a table, writes JSON lines."""

from __future__ import annotations

# First, because it handles Ctrl-C during the imports that follow.
import recurrent  # noqa: F401  # isort: skip

import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from recurrent.cli import runner
from recurrent.cli.options import Version, number, refuse
from recurrent.cli.streams import keep_going
from recurrent.models.files import check_writable
from recurrent.training import signals

from . import commands

if TYPE_CHECKING:
    from .results import Run

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def thread_counts(text: str, most: int) -> list[int]:
    """Parse thread counts such as "1,2" or "all"; raises typer.BadParameter."""
    try:
        counts = [most if part.strip() == "all" else int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"expected numbers such as 1,{most}, or all; got {text!r}"
        ) from None
    if not all(1 <= n <= most for n in counts):
        raise typer.BadParameter(f"expected 1 to {most}, the number of processors; got {text!r}")
    return sorted(set(counts))


def earlier(out: Path | None, now: Run) -> Run:
    """Return the run in the file `out`, to continue it; `now` if the file does not exist yet.

    Raises typer.BadParameter if the file comes from another machine or from other versions.
    """
    from .results import read

    if out is None:
        raise typer.BadParameter("needs --out, the file to continue", param_hint="--resume")
    if not out.exists():
        return now
    try:
        before = read(out)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error), param_hint="--resume") from None
    for then, here in ((before.machine, now.machine), (before.versions, now.versions)):
        for name in sorted(then.keys() | here.keys()):
            if then.get(name) != here.get(name):
                raise typer.BadParameter(
                    f"{out} was measured with {name} {then.get(name, 'absent')}, "
                    f"but {name} is now {here.get(name, 'absent')}",
                    param_hint="--resume",
                )
    return replace(before, command=now.command, mode=now.mode)


def _check_output(out: Path) -> None:
    """Raise typer.BadParameter if the run cannot be written to this file."""
    try:
        check_writable(out)
    except OSError as error:
        raise typer.BadParameter(runner.describe(error), param_hint="--out") from None


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="Few rows; under two minutes.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="All rows, measured longer: for published figures.")
    ] = False,
    only: Annotated[
        str,
        typer.Option(
            metavar="PATTERN", help="Rows whose names match, such as 'lstm-train-*' or H128."
        ),
    ] = "*",
    threads: Annotated[
        str,
        typer.Option(metavar="N,N", help="Thread counts; 'all' means the number of processors."),
    ] = "1,all",
    seconds: Annotated[
        float | None,
        number("Measuring time per engine and row, in seconds.", metavar="X"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File to write all samples to, as JSON lines."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the rows in --out and measure the others.")
    ] = False,
    version: Version = False,
) -> None:
    """Measure this engine and its peers on the same work, side by side in one run.

    Results are compared before anything is timed: if they disagree, the row is
    an error, and the exit code is 1.

    Rows of int8 weights also show float32 of this engine, and errors.

    Without --quick or --full it takes over twenty minutes on two processors.
    Ctrl-C keeps the rows measured so far; --resume continues from there.

    Examples:

    python -m bench --quick

    python -m bench --only 'lstm-*-H128' --threads 1 --out run.jsonl
    """
    if context.invoked_subcommand is not None:
        refuse(context, context.params, context.invoked_subcommand, "it measures nothing")
        return
    if quick and full:
        raise typer.BadParameter("expected --quick or --full, not both")
    # Imported here, so that --help and the other commands start fast.
    from . import results
    from .engines import versions
    from .measure.machine import processors
    from .measure.progress import report_progress
    from .measure.runner import collect, plan
    from .measure.timing import PACES, Pace
    from .report import table
    from .workloads.catalogue import choose

    mode = "quick" if quick else "full" if full else "default"
    counts, chosen = thread_counts(threads, processors()), choose(only, mode)
    if not chosen:
        more = [w.name for w in choose(only, "full")]
        hint = f"; --full has {len(more)}, such as {more[0]}" if more else ""
        raise typer.BadParameter(f"no row of this mode matches {only!r}{hint}", param_hint="--only")
    if out is not None:
        _check_output(out)
    pace = PACES[mode] if seconds is None else Pace(seconds, PACES[mode].rounds)
    run = commands.now(mode, versions())
    if resume:
        run = earlier(out, run)
    rows, peaks, missing = list(run.rows), run.peaks, run.missing
    planned = plan(chosen, counts, {row.key for row in rows})
    total = len(rows) + sum(len(w) for _, w in planned)
    measured = collect(planned, pace, peaks, missing)
    stopped: KeyboardInterrupt | None = None
    keep_going()
    try:
        rows.extend(report_progress(measured, total - len(rows), Console(stderr=True)))
    except KeyboardInterrupt as error:
        stopped = error
    finally:
        measured.close()
    run = replace(run, rows=tuple(rows))
    if out is not None:
        results.write(out, run)
    table.show(run, Console(width=None if sys.stdout.isatty() else 160))
    if stopped is not None:
        signum = getattr(stopped, "signum", signal.SIGINT)
        raise signals.Ended(signum, f" after {len(rows)} of {total} rows")
    if any(row.error for row in rows):
        raise typer.Exit(1)


commands.add(app)

if __name__ == "__main__":
    sys.exit(runner.run(app, "bench"))
