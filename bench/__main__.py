"""`python -m bench`: run the workloads, print a table, write JSON lines."""

from __future__ import annotations

import json
import os
import platform
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    quick: Annotated[bool, typer.Option("--quick", help="A few workloads, well under two minutes.")] = False,
    only: Annotated[str, typer.Option(help="Workloads whose name matches, such as 'lstm-train-*'.")] = "*",
    threads: Annotated[int, typer.Option(min=1, help="Threads for every engine.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.01, help="Seconds an engine and workload.")] = 0.5,
    out: Annotated[Path | None, typer.Option(help="Write JSON lines here.")] = None,
) -> None:
    """Time this engine and its peers on the same work in one run; a row whose results disagree is an error.

    Example: python -m bench --only 'lstm-*-H128' --out run.jsonl
    """
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[variable] = str(threads)  # before anything that reads them is imported
    if threads == 1:  # XLA reads no number of threads; this keeps it to one
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    from .engines import installed, versions
    from .measure import measure
    from .workloads import WORKLOADS

    chosen = [w for w in WORKLOADS if fnmatch(w.name, only if "*" in only else f"*{only}*") and (w.quick or not quick)]
    if not chosen:
        print(f"bench: no workload matches {only!r}; names look like {WORKLOADS[0].name}", file=sys.stderr)
        raise typer.Exit(2)
    engines, missing = installed(threads)
    console = Console(width=None if sys.stdout.isatty() else 140)
    for line in missing:
        console.print(line)
    seconds = min(seconds, 0.2) if quick else seconds
    rows = [measure(w, engines, seconds, threads) for w in track(chosen, "measuring", console=Console(stderr=True))]
    table = Table(title=f"microseconds a call, median; {threads} thread(s); ratio = best peer / recurrent")
    table.add_column("workload")
    for engine in engines:
        table.add_column(engine.name, justify="right")
    table.add_column("GFLOP/s", justify="right")
    table.add_column("ratio", justify="right")
    for row in rows:
        if row.error:
            table.add_row(row.workload.name, f"[red]{row.error}")
            continue
        cells = [f"{row.median(e.name) * 1e6:,.0f}" if e.name in row.seconds else "" for e in engines]
        ratio = "" if row.ratio is None else f"[{'green' if row.ratio >= 1 else 'red'}]{row.ratio:.2f}"
        table.add_row(row.workload.name, *cells, f"{row.workload.flops / row.median('recurrent') / 1e9:.1f}", ratio)
    console.print(table)
    if out is not None:
        facts = {"machine": platform.processor() or platform.machine(), "cpus": os.cpu_count(), "threads": threads} | versions()
        lines = [{"name": r.workload.name, "error": r.error, "seconds": r.seconds} for r in rows]
        out.write_text("".join(json.dumps(line) + "\n" for line in [facts, *lines]))
    if any(row.error for row in rows):
        raise typer.Exit(1)


if __name__ == "__main__":
    app(prog_name="python -m bench")
