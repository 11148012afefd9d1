"""The ratio of every row on a log axis: ahead to the right of 1, behind to the left, in a colour and with a mark of its own."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from ..results import Row, Run
from . import format
from .plot import LogAxis, Plot
from .table import summary

WIDTH, LEFT, RIGHT = 860, 232, 690  # the axis runs from LEFT to RIGHT; figures stand right of it
PITCH, HEAD, TOP, BOTTOM = 16, 26, 92, 44


def chart(run: Run, path: str | Path) -> None:
    """Write the picture as SVG: a line a workload, a mark a thread count."""
    Path(path).write_text(draw(run).svg(), encoding="utf-8")


def draw(run: Run) -> Plot:
    """The picture, not yet written."""
    lines: dict[str, list[Row]] = {}
    for row in run.rows:
        lines.setdefault(row.name, []).append(row)
    sections = [
        (heading, list(rows))
        for heading, rows in groupby(lines.values(), lambda rows: format.section(rows[0]))
    ]
    axis = LogAxis([0.7, 2.0, *(r.ratio for r in run.rows if r.ratio)], LEFT, RIGHT)
    bottom = TOP + sum(HEAD + PITCH * len(rows) for _, rows in sections)
    plot = Plot(
        WIDTH, bottom + BOTTOM, "Best peer's time over recurrent's, by workload", _description(run)
    )
    plot.text(20, 28, "Best peer's time / recurrent's, by workload", size=17, bold=True)
    plot.text(
        20, 47, f"{run.machine.get('processor', '')}, {run.date[:10]}. {summary(run)}.", "muted"
    )
    _legend(plot, run.threads)
    for tick in axis.ticks():
        plot.line(
            axis(tick),
            TOP,
            axis(tick),
            bottom,
            "line" if tick == 1 else "faint",
            1.5 if tick == 1 else 1,
        )
        for y in (TOP - 6, bottom + 16):
            plot.text(
                axis(tick), y, f"{tick:g}", "ink" if tick == 1 else "muted", 11, "middle", tick == 1
            )
    plot.text(axis(1) - 8, bottom + 34, "← behind", "red", 12, "end")
    plot.text(axis(1) + 8, bottom + 34, "ahead →", "blue", 12)
    y = TOP
    for heading, rows in sections:
        y += HEAD
        plot.text(20, y - 5, heading, bold=True)
        for of_name in rows:
            _line(plot, axis, of_name, y + PITCH / 2, run.threads)
            y += PITCH
    return plot


def _line(plot, axis, rows, y, threads):
    """One workload: its name, marks, and ratios in figures, one column a thread count."""
    plot.text(32, y + 4, format.label(rows[0]), size=11.5)
    plot.line(LEFT, y, RIGHT, y, "faint", 0.5)
    for row in sorted(rows, key=lambda r: -r.threads):
        k = threads.index(row.threads)
        x = RIGHT + 62 + 58 * k
        tip = f"{row.name}, {format.threads(row.threads)}: {format.standing(row)}"
        if row.ratio is None:
            plot.mark("cross", axis(1), y, "red", tip=tip, r=3.5) if row.error else None
            plot.text(
                x,
                y + 4,
                "error" if row.error else "no peer",
                "red" if row.error else "muted",
                11,
                "end",
                bool(row.error),
            )
            continue
        colour = "blue" if row.ratio >= 1 else "red"
        plot.line(axis(1), y, axis(row.ratio), y, colour, 1)
        plot.mark("circle" if row.ratio >= 1 else "down", axis(row.ratio), y, colour, k > 0, tip)
        plot.text(
            x,
            y + 4,
            format.signed(row.ratio),
            colour if row.ratio < 1 else "ink",
            11,
            "end",
            row.ratio < 1,
        )


def _legend(plot, threads):
    y = 68
    entries = [
        ("circle", "blue", False, "ahead"),
        ("down", "red", False, "behind"),
        ("cross", "red", False, "error"),
    ]
    for k, (shape, colour, hollow, name) in enumerate(entries):
        plot.mark(shape, 26 + 76 * k, y - 4, colour, hollow, name)
        plot.text(35 + 76 * k, y, name, "muted")
    for k, count in enumerate(threads):
        plot.text(RIGHT + 62 + 58 * k, TOP - 6, format.threads(count), "muted", 10.5, "end")
    if len(threads) > 1:
        more = " and ".join(format.threads(n) for n in threads[1:])
        plot.text(260, y, f"filled: {format.threads(threads[0])}; hollow: {more}", "muted")


def _description(run):
    """What the picture shows, for those who cannot see it."""
    behind = "; ".join(
        f"{r.name} with {format.threads(r.threads)} {format.ratio(r.ratio)}" for r in run.losing
    )
    return f"{summary(run)}. " + (f"Behind: {behind}." if behind else "")
