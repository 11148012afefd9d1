"""The chart of every row's ratio, on a logarithmic axis: right of 1 is ahead, left of 1 behind."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from recurrent.models import files

from ..results import Row, Run
from . import format
from .plot import BLUE, FAINT, INK, RED, Chart, round_ticks, styled
from .table import summary

TITLE = "Best peer's time / recurrent's time, by workload"
WIDTH, LEFT, RIGHT = 860, 242, 690  # pixels; the axis runs from LEFT to RIGHT
TOP, BOTTOM, HEADING, LINE = 92, 44, 26, 16  # margins; height of a heading and of a line


def chart(run: Run, path: str | Path) -> None:
    """Write the chart as SVG: one line for each workload, one mark for each thread count."""
    files.replace(path, draw(run).svg().encode())


def draw(run: Run) -> Chart:
    """Draw the chart without writing it."""
    workloads: dict[str, list[Row]] = {}
    for row in run.rows:
        workloads.setdefault(row.name, []).append(row)
    sections = [
        (heading, list(lines))
        for heading, lines in groupby(workloads.values(), lambda rows: format.section(rows[0]))
    ]
    bottom = TOP + sum(HEADING + LINE * len(lines) for _, lines in sections)
    with styled():
        picture = Chart(WIDTH, bottom + BOTTOM, TITLE, _description(run))
        axes = _axes(picture, run, bottom)
        _head(picture, axes, run)
        y = TOP
        for heading, lines in sections:
            y += HEADING
            picture.text(20, y - 5, heading, fontweight="bold")
            for rows in lines:
                _line(picture, axes, rows, y + LINE / 2, run.threads)
                y += LINE
    return picture


def _axes(picture, run, bottom):
    """Add the axes; x is the ratio, y the position in the picture in pixels."""
    axes = picture.axes(LEFT, TOP, RIGHT, bottom)
    ratios = [0.7, 2.0, *(r.ratio for r in run.rows if r.ratio)]
    axes.set(xscale="log", xlim=(min(ratios) / 1.15, max(ratios) * 1.15), ylim=(bottom, TOP))
    round_ticks(axes.xaxis)
    axes.tick_params(length=0, labeltop=True)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis="x", **FAINT)
    axes.axvline(1, color=INK, linewidth=1.1)
    axes.text(0.94, bottom + 34, "← behind", color=RED, ha="right")
    axes.text(1.06, bottom + 34, "ahead →", color=BLUE)
    return axes


def _head(picture, axes, run):
    """Write the title, the legend, and the thread counts over the columns of figures."""
    machine = run.machine.get("processor", "")
    picture.text(20, 28, TITLE, fontsize=13, fontweight="bold")
    picture.text(20, 47, f"{machine}, {run.date[:10]}. {summary(run)}.")
    handles = [
        axes.plot([], [], shape, color=colour, label=label)[0]
        for label, colour, shape in (
            ("ahead", BLUE, "o"),
            ("behind", RED, "v"),
            ("error", RED, "x"),
        )
    ]
    if len(run.threads) > 1:
        more = " and ".join(format.threads(n) for n in run.threads[1:])
        label = f"filled: {format.threads(run.threads[0])}; hollow: {more}"
        handles += axes.plot([], [], " ", label=label)
    picture.legend(handles, 16, 66)
    for k, count in enumerate(run.threads):
        picture.text(_column(k), TOP - 6, format.threads(count), fontsize=8, ha="right")


def _column(k):
    """Return the right edge, in pixels, of the column of figures for the k-th thread count."""
    return RIGHT + 62 + 58 * k


def _line(picture, axes, rows, y, threads):
    """Draw one workload: its name, its marks, and its ratios as figures."""
    picture.text(32, y + 4, format.label(rows[0]), fontsize=8.5)
    axes.axhline(y, **FAINT | {"linewidth": 0.4})
    for row in sorted(rows, key=lambda r: -r.threads):
        k = threads.index(row.threads)
        colour = BLUE if row.ratio is not None and row.ratio >= 1 else RED
        text, emphasis = "no peer", False
        if row.error:
            text, emphasis, shape = "error", True, "x"
        elif row.ratio is not None:
            text, emphasis = format.signed(row.ratio), row.ratio < 1
            shape = "v" if emphasis else "o"
            axes.hlines(y, *sorted((1, row.ratio)), color=colour, linewidth=0.8)
        picture.text(
            _column(k),
            y + 4,
            text,
            fontsize=8.25,
            ha="right",
            color=RED if emphasis else INK,
            fontweight="bold" if emphasis else "normal",
        )
        if row.error or row.ratio is not None:
            (mark,) = axes.plot(
                row.ratio or 1,
                y,
                shape,
                color=colour,
                markersize=5.5,
                fillstyle="none" if k else "full",
            )
            tip = f"{row.name}, {format.threads(row.threads)}: {format.standing(row)}"
            picture.tooltip(mark, tip)


def _description(run):
    """Describe the chart for readers who cannot see it."""
    behind = "; ".join(
        f"{r.name} with {format.threads(r.threads)} {format.ratio(r.ratio)}" for r in run.losing
    )
    return f"{summary(run)}. " + (f"Behind: {behind}." if behind else "")
