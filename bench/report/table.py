"""A run on the terminal: a table a thread count, geometric means, rows behind in plain sight, targets."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ..results import OURS, Row, Run, geometric_mean
from . import format, goals

STYLES = {True: "green", False: "bold red", None: "dim"}


def show(run: Run, console: Console) -> None:
    """Print all of it; where it would not fit, the best peer of each row stands for all of them."""
    for threads in run.threads:
        for every in (True, False):
            table = _rows(run, threads, every)
            if (
                Measurement.get(console, console.options.update(width=1000), table).maximum
                <= console.width
            ):
                break
        console.print(table)
        console.print(_means(run, threads))
    losing(run, console)
    console.print(_targets(run))
    for engine, why in run.missing.items():
        console.print(Text(f"{engine} is left out: {why}"))


def losing(run: Run, console: Console) -> None:
    """Rows behind their best peer, then those that could not be compared: every one, by name."""
    console.print(Text(summary(run), style=STYLES[not run.losing]))
    for row in [*run.losing, *uncompared(run)]:
        sign = format.BEHIND if row.ratio is not None else "!"
        console.print(
            Text(f"  {sign} {row.name}, {format.threads(row.threads)}: {format.standing(row)}"),
            soft_wrap=True,
        )
    console.print()


def uncompared(run: Run) -> list[Row]:
    """Rows with an error or without a peer, errors first."""
    return sorted((r for r in run.rows if r.ratio is None), key=lambda r: not r.error)


def summary(run: Run) -> str:
    """How many rows are behind, ahead, and not compared."""
    compared = sum(r.ratio is not None for r in run.rows)
    errors, rest = sum(bool(r.error) for r in run.rows), len(uncompared(run))
    lines = f"{len(run.losing)} of {compared} rows are behind the best peer"
    lines += f"; {errors} with an error" if errors else ""
    return lines + (f"; {rest - errors} without a peer" if rest > errors else "")


def grid(title: str, *headings: str) -> Table:
    """An empty table in the one look: first column to the left, figures to the right."""
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


def _rows(run, threads, every):
    """The table of one thread count: all engines, or ours and the best peer."""
    rows = run.select(threads=threads)
    peers = [e for e in run.engines if e != OURS and any(e in r.samples for r in rows)]
    headings = [format.short(e) for e in peers] if every else ["best peer"]
    title = f"{format.threads(threads)}: medians, p10–p90 of ours; ratio = {format.RATIO}"
    table = grid(
        title,
        "workload",
        "",
        OURS,
        "p10–p90",
        *headings,
        *(["GFLOP/s"] if every else []),
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
            if every
            else [_peer(row, row.best_peer, scale, named=True)]
        )
        speed = [format.number(row.gflops) if row.gflops else format.NONE] if every else []
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


def _peer(row, engine, scale, named=False):
    """A peer's median, the best one's in bold."""
    if engine not in row.samples:
        return Text(format.NONE, style="dim")
    figure = format.number(row.median(engine) / scale)
    return Text(
        f"{format.short(engine)} {figure}" if named else figure,
        style="bold" if engine == row.best_peer else "",
    )


def _means(run, threads):
    """Geometric means of the ratios: to the best peer of each row, and to each peer."""
    peers = [e for e in run.engines if e != OURS]
    table = grid(
        f"{format.threads(threads)}: geometric means of the ratios (rows)",
        "rows",
        "best peer",
        *peers,
    )
    for name, rows in run.groups(threads).items():
        table.add_row(name, *(mean(rows, p) for p in (None, *peers)))
    return table


def mean(rows: list[Row], peer: str | None) -> str:
    """A geometric mean and its number of rows."""
    found = geometric_mean(rows, peer)
    return f"{format.ratio(found[0])} ({found[1]})" if found else format.NONE


def _targets(run):
    table = grid("targets", "target", "wanted", "threads", "verdict", "found")
    for column in (table.columns[0], table.columns[-1]):
        column.no_wrap, column.overflow = False, "fold"
    for column in table.columns[-2:]:
        column.justify = "left"
    told = None
    for v in goals.check(run):
        what = ("", "") if v.target is told else (v.target.what, v.target.wanted)
        told = v.target
        table.add_row(*what, str(v.threads or ""), Text(v.word, style=STYLES[v.met]), v.found)
    return table
