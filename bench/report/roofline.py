"""The roofline: speed against arithmetic intensity under the machine's limits, per thread count."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recurrent.models import files

from ..results import Row, Run
from . import format
from .plot import BLUE, FAINT, GREEN, INK, RED, Bbox, Chart, Text, round_ticks, styled

TITLE = "Roofline: recurrent between compute and bandwidth, float32"
PANEL, HEIGHT, TOP, BOTTOM, LEFT = 620, 520, 88, 56, 62  # pixels
COLOURS = (BLUE, RED, GREEN)  # by cell
SHAPES = {"forward": "o", "train": "s"}  # by task


def roofline(run: Run, path: str | Path) -> None:
    """Write the roofline as SVG.

    Raises ValueError if the run lacks peaks, or rows with FLOPs and bytes.
    """
    files.replace(path, draw(run).svg().encode())


def draw(run: Run) -> Chart:
    """Draw the roofline without writing it."""
    panels = {n: rows for n in run.threads if (rows := _rows(run, n))}
    if not panels:
        raise ValueError(
            "a roofline needs peaks and float32 forward or train rows with flops and bytes; "
            "this run has none"
        )
    rows = [r for panel in panels.values() for r in panel]
    cells = list(dict.fromkeys(r.cell for r in rows))
    peaks = [run.peaks[str(n)] for n in panels]
    xs = [r.intensity for r in rows] + [p["float32"] / p["cache_bandwidth"] for p in peaks]
    ys = [r.gflops for r in rows] + [p["float32"] for p in peaks]
    limits = {"xlim": (min(xs) / 1.5, max(xs) * 1.5), "ylim": (min(ys) / 1.5, max(ys) * 1.5)}
    with styled():
        width = LEFT + PANEL * len(panels)
        picture = Chart(width, HEIGHT, TITLE, _description(run, panels))
        picture.text(20, 28, TITLE, fontsize=13, fontweight="bold")
        for k, (threads, rows) in enumerate(panels.items()):
            left = LEFT + PANEL * k
            axes = picture.axes(left, TOP, left + PANEL - 60, HEIGHT - BOTTOM)
            axes.set(xscale="log", yscale="log", **limits)
            _panel(picture, axes, run, threads, rows, cells)
            if k == 0:
                handles = [_mark(axes, [], [], cells, c, t) for c in cells for t in SHAPES]
                picture.legend(handles, 16, 50)
    return picture


def _rows(run, threads):
    """Select the rows that have a place in the roofline."""
    peaks = run.peaks.get(str(threads), {})
    if not (peaks.get("float32") and peaks.get("cache_bandwidth")):
        return []
    rows = run.select(threads=threads, dtype="float32")
    return [r for r in rows if r.group in SHAPES and r.task in SHAPES and r.gflops and r.intensity]


def _panel(picture, axes, run, threads, rows, cells):
    """Draw the axes, ceilings, marks and labels of one thread count."""
    round_ticks(axes.xaxis)
    round_ticks(axes.yaxis)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.grid(**FAINT)
    axes.set(xlabel="FLOP per byte from beyond the first-level cache", ylabel="GFLOP/s")
    axes.set_title(format.threads(threads), loc="left", fontsize=9, fontweight="bold")
    obstacles = _ceilings(axes, run.peaks[str(threads)], rows)
    for r in rows:
        mark = _mark(axes, r.intensity, r.gflops, cells, r.cell, r.task)
        share = format.percent(run.share_of_peak(r))
        tip = f"{r.name}, {format.threads(threads)}: {format.number(r.gflops)} GFLOP/s"
        picture.tooltip(mark, f"{tip}, {share} of the roof")
        x, y = axes.transData.transform((r.intensity, r.gflops))
        obstacles.append(Bbox.from_extents(x - 5, y - 5, x + 5, y + 5))
    for r in extremes(run, rows):
        _label(axes, r, obstacles)


def _mark(axes, x, y, cells, cell, task):
    """Plot a mark whose colour is the cell's and whose shape is the task's."""
    (mark,) = axes.plot(
        x,
        y,
        SHAPES[task],
        color=COLOURS[cells.index(cell) % len(COLOURS)],
        markersize=5.5,
        fillstyle="none" if task == "train" else "full",
        label=f"{cell} {task}",
    )
    return mark


def _ceilings(axes, peaks, rows):
    """Draw the peak and the bandwidths with their figures; return the boxes that they cover."""
    peak, (left, right), bottom = peaks["float32"], axes.get_xlim(), axes.get_ylim()[0]
    knee = max(left, peak / peaks["cache_bandwidth"])
    lines = [([knee, right], [peak, peak], f"FMA peak {format.number(peak)} GFLOP/s", "-")]
    for key, dashes in (("cache_bandwidth", "-"), ("memory_bandwidth", "--")):
        bandwidth = peaks.get(key)
        if bandwidth and (low := max(left, bottom / bandwidth)) < peak / bandwidth:
            high = min(right, peak / bandwidth)
            name = f"{key.split('_')[0]} {format.number(bandwidth)} GB/s"
            lines.append(([low, high], [low * bandwidth, high * bandwidth], name, dashes))
    marks = axes.transData.transform([(r.intensity, r.gflops) for r in rows])
    boxes = []
    for xs, ys, name, dashes in lines:
        axes.plot(xs, ys, dashes, color=INK, linewidth=1.5)
        start, end = axes.transData.transform(list(zip(xs, ys, strict=True)))
        along = start + (end - start) * np.linspace(0, 1, 60)[:, None]
        boxes += [Bbox.from_extents(*(point - 4), *(point + 4)) for point in along]
        label = axes.text(0, 0, name, fontsize=8.25, ha="center", rotation_mode="anchor")
        direction = (end - start) / np.linalg.norm(end - start)
        room = np.linalg.norm(along - start, axis=1), np.linalg.norm(along - end, axis=1)
        fits = np.minimum(*room) > label.get_window_extent().width / 2 + 4
        middles = along[fits] if fits.any() else along[30:31]
        # The peak's name stands at the right end, others where they are farthest from any mark.
        distances = np.linalg.norm(middles[:, None] - marks, axis=2).min(axis=1)
        middle = middles[-1 if ys[0] == ys[1] else distances.argmax()]
        place = middle + 5 * np.array([-direction[1], direction[0]])
        label.set_position(axes.transData.inverted().transform(place))
        label.set_rotation(np.degrees(np.arctan2(direction[1], direction[0])))
        boxes.append(label.get_window_extent())
    return boxes


def _label(axes, row, obstacles):
    """Label a mark at the nearest free position; leave the label out if no position is free."""
    text = f"{row.cell} {row.task} {format.label(row)}"
    for dx, dy in _offsets():
        label = axes.annotate(
            text,
            (row.intensity, row.gflops),
            (dx, dy),
            textcoords="offset points",
            fontsize=8,
            ha="left" if dx > 0 else "right",
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "color": INK,
                "linewidth": 0.5,
                "shrinkA": 1,
                "shrinkB": 3,
                "relpos": (float(dx < 0), 0.5),
            },
        )
        label.update_positions(axes.figure.canvas.get_renderer())
        box = Text.get_window_extent(label)  # without the arrow, which starts at the mark
        inside = axes.bbox
        fits = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0
        if fits and box.y1 <= inside.y1 and not box.count_overlaps(obstacles):
            obstacles.append(box)
            return
        label.remove()


def _offsets():
    """Yield offsets of a label from its mark in points, nearest first."""
    for distance in range(8, 72, 8):
        for dx, dy in ((distance, 0), (8, -distance), (8, distance)):
            if distance < 40 or dy:
                yield dx, dy
                yield -dx, dy


def extremes(run: Run, rows: list[Row]) -> list[Row]:
    """Return, per task, the rows with the least and the most intensity, speed and share of roof."""
    found = []
    for task in SHAPES:
        of_task = [r for r in rows if r.task == task]
        for figure in (lambda r: r.intensity, lambda r: r.gflops, run.share_of_peak):
            found += [min(of_task, key=figure), max(of_task, key=figure)] if of_task else []
    return list({r.key: r for r in found}.values())


def _description(run, panels):
    """Describe the roofline for readers who cannot see it."""
    sentences = []
    for threads, rows in panels.items():
        shares = sorted(run.share_of_peak(r) for r in rows)
        middle = format.percent(shares[len(shares) // 2])
        low, high = format.percent(shares[0]), format.percent(shares[-1])
        sentences.append(
            f"{format.threads(threads)}: {len(rows)} rows at {low} to {high} of the roof, half of "
            f"them at {middle} or more."
        )
    return " ".join(sentences)
