"""`python -m bench`: measure this engine and its peers, tell it as a table, write it as JSON lines."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from . import commands

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)
commands.add(app)


def thread_counts(text: str, most: int) -> list[int]:
    """Thread counts, in order, from "1,2" or "all". Raises typer.BadParameter."""
    try:
        found = [most if part.strip() == "all" else int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"expected numbers such as 1,{most}, or all; got {text!r}") from None
    if not all(1 <= n <= most for n in found):
        raise typer.BadParameter(f"expected 1 to {most}, the processors here; got {text!r}")
    return sorted(set(found))


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="Few rows, under two minutes.")] = False,
    full: Annotated[bool, typer.Option("--full", help="All rows, longer: for figures to publish.")] = False,
    only: Annotated[str, typer.Option(metavar="PATTERN", help="Rows whose name matches: 'lstm-train-*', H128.")] = "*",
    threads: Annotated[str, typer.Option(metavar="N,N", help="Thread counts; 'all' is the number of processors.")] = "1,all",
    seconds: Annotated[float | None, typer.Option(min=0, metavar="X", help="Seconds an engine and row.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all samples here, as JSON lines.")] = None,
) -> None:
    """Time this engine and its peers on the same work, side by side in one run.

    Results are compared before anything is timed; a row whose results disagree is an error, and the exit code 1.

    It takes over twenty minutes, on two processors, unless --quick or --full. Ctrl-C keeps the rows measured so far.

    Examples:

    python -m bench --quick

    python -m bench --only 'lstm-*-H128' --threads 1 --out run.jsonl
    """
    if context.invoked_subcommand is not None:
        return
    if quick and full:
        raise typer.BadParameter("--quick or --full, not both")
    # Not before it is known that something is to be measured: --help need not wait for the engine.
    from . import run, table
    from .collect import collect, plan
    from .engines import versions
    from .machine import machine, processors
    from .measure import PACES, Pace
    from .progress import shown
    from .workloads import choose

    mode = "quick" if quick else "full" if full else "default"
    counts, chosen = thread_counts(threads, processors()), choose(only, mode)
    if not chosen:
        more = [w.name for w in choose(only, "full")]
        there = f"; --full has {len(more)}, such as {more[0]}" if more else ""
        raise typer.BadParameter(f"no row of this mode matches {only!r}{there}", param_hint="--only")
    if out is not None and not out.absolute().parent.is_dir():
        raise typer.BadParameter(f"no such folder: {out.absolute().parent}", param_hint="--out")
    pace = PACES[mode] if seconds is None else Pace(seconds, PACES[mode].rounds)
    planned, rows, peaks, missing = plan(chosen, counts), [], {}, {}
    date, total = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), sum(len(w) for _, w in planned)
    measured = collect(planned, pace, peaks, missing)
    stopped = False
    try:
        rows.extend(shown(measured, total, Console(stderr=True)))
    except KeyboardInterrupt:
        stopped = True
    finally:
        measured.close()
    command = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
    whole = run.Run(date, command, mode, machine(), versions(), missing, peaks, tuple(rows))
    if out is not None:
        run.write(out, whole)
    table.show(whole, Console(width=None if sys.stdout.isatty() else 160))
    if stopped:
        print(f"bench: stopped after {len(rows)} of {total} rows", file=sys.stderr)
        raise typer.Exit(130)
    if any(row.error for row in rows):
        raise typer.Exit(1)


commands.add(app)

if __name__ == "__main__":
    app(prog_name="python -m bench")
