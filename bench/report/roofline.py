"""Where each kernel stands between the machine's two limits: a log-log picture, one panel a thread count."""

from __future__ import annotations

import math
from pathlib import Path

from ..results import Row, Run
from . import format
from .plot import LogAxis, Plot

PANEL, HEIGHT, TOP, BOTTOM, LEFT = 620, 520, 84, 56, 62
CELLS = ("blue", "red", "green")
SHAPES = {"forward": "circle", "train": "square"}


def roofline(run: Run, path: str | Path) -> None:
    """Write the picture as SVG. Raises `ValueError` where the run has no peaks or no row with FLOP and bytes."""
    Path(path).write_text(draw(run).svg(), encoding="utf-8")


def draw(run: Run) -> Plot:
    """The picture, not yet written."""
    panels = {n: rows for n in run.threads if (rows := _rows(run, n))}
    if not panels:
        raise ValueError(
            "a roofline needs peaks and float32 forward or train rows with flops and bytes; this run has none"
        )
    rows = [r for of in panels.values() for r in of]
    cells = list(dict.fromkeys(r.cell for r in rows))
    peaks = [run.peaks[str(n)] for n in panels]
    xs = [r.intensity for r in rows] + [p["float32"] / p["cache_bandwidth"] for p in peaks]
    ys = [r.gflops for r in rows] + [p["float32"] for p in peaks]
    width = LEFT + PANEL * len(panels)
    plot = Plot(
        width,
        HEIGHT,
        "Roofline: recurrent between compute and bandwidth",
        _description(run, panels),
    )
    plot.text(
        20, 28, "Roofline: recurrent between compute and bandwidth, float32", size=17, bold=True
    )
    x = 20
    for k, cell in enumerate(cells):
        for task, shape in SHAPES.items():
            plot.mark(shape, x + 6, 48, CELLS[k % len(CELLS)], hollow=task == "train")
            plot.text(x + 15, 52, f"{cell} {task}", "muted")
            x += 30 + 7 * len(f"{cell} {task}")
    for k, (threads, of) in enumerate(panels.items()):
        start = LEFT + PANEL * k
        axes = LogAxis(xs, start, start + PANEL - 60, 1.5), LogAxis(ys, HEIGHT - BOTTOM, TOP, 1.5)
        taken = _panel(plot, axes, run.peaks[str(threads)], of)
        _points(plot, axes, run, of, cells, taken)
    return plot


def _rows(run, threads):
    """Rows that have a place in the picture."""
    peaks = run.peaks.get(str(threads), {})
    if not (peaks.get("float32") and peaks.get("cache_bandwidth")):
        return []
    of = (
        r
        for r in run.select(threads=threads, dtype="float32")
        if r.group in SHAPES and r.task in SHAPES
    )
    return [r for r in of if r.gflops and r.intensity]


def _panel(plot, axes, peaks, rows):
    """Axes, and the ceilings with their figures; returns the boxes (left, top, right, bottom) that names keep off."""
    x, y = axes
    taken, points = [], [(x(r.intensity), y(r.gflops)) for r in rows]
    for tick in x.ticks():
        plot.line(x(tick), y.start, x(tick), y.end, "faint")
        plot.text(x(tick), y.start + 16, f"{tick:g}", "muted", 11, "middle")
    for tick in y.ticks():
        plot.line(x.start, y(tick), x.end, y(tick), "faint")
        plot.text(x.start - 6, y(tick) + 4, f"{tick:g}", "muted", 11, "end")
    plot.text(
        (x.start + x.end) / 2,
        y.start + 38,
        "FLOP per byte from beyond the first cache",
        "muted",
        12,
        "middle",
    )
    plot.text(x.start - 40, (y.start + y.end) / 2, "GFLOP/s", "muted", 12, "middle", turn=-90)
    plot.text(x.start, TOP - 8, format.threads(rows[0].threads), bold=True)
    peak = peaks["float32"]
    for name, dash in (("cache_bandwidth", ""), ("memory_bandwidth", "5 4")):
        bandwidth = peaks.get(name)
        if not bandwidth:
            continue
        low = max(x.low, y.low / bandwidth)
        high = min(x.high, peak / bandwidth)
        if low >= high:
            continue
        ends = x(low), y(low * bandwidth), x(high), y(high * bandwidth)
        plot.line(*ends, "line", 2, dash)
        taken += _along(*ends)
        what = f"{name.split('_')[0]} {format.number(bandwidth)} GB/s"
        _name_ceiling(plot, ends, what, points)
    knee = max(x.low, peak / peaks["cache_bandwidth"])
    plot.line(x(knee), y(peak), x.end, y(peak), "line", 2)
    plot.text(x.end, y(peak) - 7, f"FMA peak {format.number(peak)} GFLOP/s", "muted", 11, "end")
    return [
        *taken,
        *_along(x(knee), y(peak), x.end, y(peak)),
        (x.end - 170, y(peak) - 18, x.end, y(peak)),
    ]


def _name_ceiling(plot, ends, what, points):
    """Words along a ceiling, where they are farthest from any point."""
    x1, y1, x2, y2 = ends
    length = math.hypot(x2 - x1, y2 - y1)
    half = 3 * len(what) / length  # of the words, as a part of the line
    parts = [half + (1 - 2 * half) * k / 8 for k in range(9)] if half < 0.5 else [0.5]
    middles = [(x1 + part * (x2 - x1), y1 + part * (y2 - y1)) for part in parts]
    x, y = max(middles, key=lambda m: min(math.dist(m, p) for p in points))
    turn = math.atan2(y2 - y1, x2 - x1)
    # Six pixels off the line, at a right angle to it.
    plot.text(
        x + 6 * math.sin(turn),
        y - 6 * math.cos(turn),
        what,
        "muted",
        11,
        "middle",
        turn=math.degrees(turn),
    )


def _along(x1, y1, x2, y2):
    """Boxes that cover a ceiling and the words over it."""
    steps = max(1, int(math.hypot(x2 - x1, y2 - y1) / 8))
    places = ((x1 + (x2 - x1) * k / steps, y1 + (y2 - y1) * k / steps) for k in range(steps + 1))
    return [(x - 6, y - 8, x + 4, y + 4) for x, y in places]


def _points(plot, axes, run, rows, cells, taken):
    """A mark a row; names for the extremes only, where nothing is in the way."""
    x, y = axes
    places = [(x(r.intensity), y(r.gflops)) for r in rows]
    for r, place in zip(rows, places, strict=True):
        share = format.percent(run.share_of_peak(r))
        tip = f"{r.name}, {format.threads(r.threads)}: {format.number(r.gflops)} GFLOP/s, {share} of the roof"
        plot.mark(
            SHAPES[r.task], *place, CELLS[cells.index(r.cell) % len(CELLS)], r.task == "train", tip
        )
    taken = taken + [(px - 6, py - 6, px + 6, py + 6) for px, py in places]
    for row in extremes(run, rows):
        px, py = places[rows.index(row)]
        text = f"{row.cell} {row.task} {format.label(row)}"
        width = 5.6 * len(text)
        for dx, dy, anchor in _around():
            left = px + dx - (width if anchor == "end" else 0)
            box = left, py + dy - 9, left + width, py + dy + 3
            inside = x.start <= box[0] and box[2] <= x.end and y.end <= box[1] and box[3] <= y.start
            if inside and not any(_overlap(box, other) for other in taken):
                plot.line(px, py, px + dx, py + dy - 3, "line", 0.7)
                plot.text(px + dx, py + dy, text, "ink", 10.5, anchor)
                taken.append(box)
                break


def extremes(run: Run, rows: list[Row]) -> list[Row]:
    """Per task the rows with the least and the most intensity, speed, and share of the roof."""
    out = []
    for task in SHAPES:
        of = [r for r in rows if r.task == task]
        for figure in (lambda r: r.intensity, lambda r: r.gflops, lambda r: run.share_of_peak(r)):
            out += [min(of, key=figure), max(of, key=figure)] if of else []
    return list({r.key: r for r in out}.values())


def _around():
    """Places for a name about a mark, nearest first."""
    for far in range(12, 84, 12):
        for dy in (4, far, -far):
            yield far, dy, "start"
            yield -far, dy, "end"


def _overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _description(run, panels):
    """What the picture shows, for those who cannot see it."""
    out = []
    for threads, rows in panels.items():
        shares = sorted(run.share_of_peak(r) for r in rows)
        middle = format.percent(shares[len(shares) // 2])
        ends = f"{format.percent(shares[0])} to {format.percent(shares[-1])}"
        out.append(
            f"{format.threads(threads)}: {len(rows)} rows at {ends} of the roof, half of them at {middle} or more."
        )
    return " ".join(out)
