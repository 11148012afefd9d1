"""Prints a run: a table per thread count, geometric means, the rows behind, and the goals."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ..results import OURS, Row, Run, geometric_mean
from . import format, goals, quantized

STYLES = {True: "green", False: "bold red", None: "dim"}


def show(run: Run, console: Console) -> None:
    """Print the whole run; if all engines do not fit, show only the best peer of each row."""
    for threads in run.threads:
        console.print(_fitting(console, lambda full, n=threads: _rows(run, n, all_peers=full)))
        if rows := quantized.rows(run, threads):
            console.print(_fitting(console, lambda full, r=rows: _quantized(r, mean=full)))
        console.print(_means(run, threads))
    losing(run, console)
    console.print(_goals(run))
    for engine, why in run.missing.items():
        console.print(Text(f"{engine} was not measured: {why}"))


def _fitting(console, make):
    """Return the table `make(True)` or, if that is wider than the console, `make(False)`."""
    table = make(True)
    wide = console.options.update(width=1000)
    fits = Measurement.get(console, wide, table).maximum <= console.width
    return table if fits else make(False)


def losing(run: Run, console: Console) -> None:
    """Print every row that is behind its best peer, then every row without a comparison."""
    console.print(Text(summary(run), style=STYLES[not run.losing]))
    for row in [*run.losing, *uncompared(run)]:
        sign = format.BEHIND if row.ratio is not None else "!"
        console.print(
            Text(f"  {sign} {row.name}, {format.threads(row.threads)}: {format.standing(row)}"),
            soft_wrap=True,
        )
    console.print()


def uncompared(run: Run) -> list[Row]:
    """Return the rows with an error, then those without a peer."""
    return sorted((r for r in run.rows if r.ratio is None), key=lambda r: not r.error)


def summary(run: Run) -> str:
    """Say how many rows are behind, failed, or have no peer."""
    compared = sum(r.ratio is not None for r in run.rows)
    errors, rest = sum(bool(r.error) for r in run.rows), len(uncompared(run))
    text = f"{len(run.losing)} of {compared} rows are behind the best peer"
    text += f"; {errors} with an error" if errors else ""
    return text + (f"; {rest - errors} without a peer" if rest > errors else "")


def grid(title: str, *headings: str) -> Table:
    """Return an empty table in the common style; all columns but the first are right-aligned."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for k, heading in enumerate(headings):
        table.add_column(heading, justify="right" if k else "left", no_wrap=True)
    return table


def _rows(run, threads, all_peers):
    """Return the table of one thread count, with all peers or the best peer only."""
    rows = run.select(threads=threads)
    peers = [e for e in run.peers if any(e in r.samples for r in rows)]
    headings = [format.short(e) for e in peers] if all_peers else ["best peer"]
    title = f"{format.threads(threads)}: medians, p10–p90 of recurrent; ratio = {format.RATIO}"
    table = grid(
        title,
        "workload",
        "",
        OURS,
        "p10–p90",
        *headings,
        *(["GFLOP/s"] if all_peers else []),
        "of roof",
        "ratio",
    )
    heading = None
    for row in rows:
        if format.section(row) != heading:
            heading = format.section(row)
            table.add_section()
            table.add_row(Text(heading, style="bold"))
        if not row.measured:
            table.add_row(
                f"  {format.label(row)}",
                "",
                Text("error" if row.error else "none", style=STYLES[False]),
            )
            continue
        scale, unit = format.unit(row.median(), row.quantity)
        per = "" if row.per == "call" else f"/{format.short(row.per)}"
        times = (
            [_peer(row, e, scale) for e in peers]
            if all_peers
            else [_peer(row, row.best_peer, scale, named=True)]
        )
        speed = [format.number(row.gflops) if row.gflops else format.NONE] if all_peers else []
        share = format.percent(run.share_of_peak(row))
        ratio = Text(
            format.signed(row.ratio), style=STYLES[None if row.ratio is None else row.ratio >= 1]
        )
        ours = format.number(row.median() / scale)
        table.add_row(
            f"  {format.label(row)}",
            unit + per,
            ours,
            format.spread(row),
            *times,
            *speed,
            share,
            ratio,
        )
    return table


def _quantized(rows, mean):
    """Return the table of the rows with errors, with or without the mean errors."""
    engines, threads = quantized.engines(rows), format.threads(rows[0].threads)
    table = grid(f"{threads}: {quantized.title(mean)}", "workload", *quantized.headings(engines))
    heading = None
    for row in rows:
        if format.section(row) != heading:
            heading = format.section(row)
            table.add_section()
            table.add_row(Text(heading, style="bold"))
        table.add_row(
            f"  {format.label(row).removesuffix(' int8')}",
            *quantized.cells(row, engines, "\n", mean),
        )
    return table


def _peer(row, engine, scale, named=False):
    """Format a peer's median, in bold if it is the best."""
    if engine not in row.samples:
        return Text(format.NONE, style="dim")
    figure = format.number(row.median(engine) / scale)
    return Text(
        f"{format.short(engine)} {figure}" if named else figure,
        style="bold" if engine == row.best_peer else "",
    )


def _means(run, threads):
    """Return the geometric means of the ratios to the best peer of each row and to each peer."""
    peers = run.peers
    table = grid(
        f"{format.threads(threads)}: geometric means of the ratios (number of rows)",
        "rows",
        "best peer",
        *peers,
    )
    for name, rows in run.groups(threads).items():
        table.add_row(name, *(mean(rows, p) for p in (None, *peers)))
    return table


def mean(rows: list[Row], peer: str | None) -> str:
    """Format a geometric mean and its number of rows."""
    value = geometric_mean(rows, peer)
    return f"{format.ratio(value[0])} ({value[1]})" if value else format.NONE


def _goals(run):
    table = grid("goals", "goal", "bound", "threads", "verdict", "reason")
    for column in (table.columns[0], table.columns[-1]):
        column.no_wrap, column.overflow = False, "fold"
    for column in table.columns[-2:]:
        column.justify = "left"
    previous = None
    for v in goals.check(run):
        what = ("", "") if v.goal is previous else (v.goal.what, v.goal.bound)
        previous = v.goal
        table.add_row(*what, str(v.threads or ""), Text(v.word, style=STYLES[v.met]), v.reason)
    return table
