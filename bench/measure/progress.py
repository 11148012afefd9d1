"""Reports the progress of a run: a bar on a terminal, otherwise ten lines."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..results import Row


def report_progress(rows: Iterable[Row], total: int, console: Console) -> Iterator[Row]:
    """Yield the rows, and report each of them."""
    if console.is_terminal:
        columns = (
            MofNCompleteColumn(),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("starting", total=total)
            for row in rows:
                bar.update(task, advance=1, description=f"{row.name}, {row.threads} thread(s)")
                yield row
        return
    start = time.perf_counter()
    for done, row in enumerate(rows, 1):
        if done == total or done * 10 // total > (done - 1) * 10 // total:
            seconds = time.perf_counter() - start
            console.print(
                f"{done}/{total} rows in {seconds:.0f} s; {row.name}",
                highlight=False,
                soft_wrap=True,
            )
        yield row
