"""Writes a run as a folder: report.md with every row, and its charts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from recurrent.models import files

from ..results import OURS, Run, geometric_mean, write
from . import format, goals, quantized
from .table import mean, summary, uncompared


def report(run: Run, folder: str | Path) -> Path:
    """Write report.md, chart.svg, run.jsonl and, if the run has the data, roofline.svg.

    Returns the path of the report.
    """
    from .chart import chart  # matplotlib is needed by the charts alone
    from .roofline import roofline

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "run.jsonl", run)
    chart(run, folder / "chart.svg")
    try:
        roofline(run, folder / "roofline.svg")
        limits = "![Roofline: speed against the limits of compute and bandwidth](roofline.svg)"
    except ValueError as error:
        limits = f"No roofline: {error}."
    path = folder / "report.md"
    files.replace(path, markdown(run, limits).encode())
    return path


def markdown(run: Run, limits: str = "") -> str:
    """Return the report: the rows behind first, then means, goals, and every row."""
    parts = [
        "# Benchmark",
        circumstances(run),
        "## Rows behind the best peer",
        f"{summary(run)}.",
        *_losing(run),
    ]
    parts += [
        "![The ratio of every row](chart.svg)",
        "## Geometric means of the ratios",
        f"Ratio = {format.RATIO}.",
    ]
    parts += [_means(run, n) for n in run.threads]
    parts += ["## Goals", _goals(run), "## Limits of this machine", _peaks(run), limits]
    for threads in run.threads:
        for group in dict.fromkeys(r.group for r in run.rows):
            rows = run.select(threads=threads, group=group)
            if rows:
                parts += [f"## {group}, {format.threads(threads)}", _rows(run, rows)]
            if any(r.errors for r in rows):
                parts += [f"{quantized.title()}.", _quantized(rows)]
    return "\n\n".join(p for p in parts if p) + "\n"


def table(headings: Iterable[str], rows: Iterable[Iterable[str]], left: int = 1) -> str:
    """Return a Markdown table; the first `left` columns are left-aligned, the others right-aligned.

    >>> print(table(["a", "b"], [["x|y", "1"]]))
    | a | b |
    | --- | ---: |
    | x\\|y | 1 |
    """
    headings = list(headings)
    rule = ["---" if k < left else "---:" for k in range(len(headings))]
    lines = [
        headings,
        rule,
        *([str(c).replace("|", "\\|").replace("\n", " ") for c in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def circumstances(run: Run) -> str:
    """Name the machine, versions, date and command of a run."""
    m = run.machine
    memory = f", {format.measured(m['memory_bytes'], 'bytes')}" if m.get("memory_bytes") else ""
    processor = f"{m.get('processor', 'unknown processor')} ({m.get('vector', '?')})"
    machine = f"{processor}, {m.get('cpus', '?')} processors{memory}, {m.get('system', '?')}"
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    missing = "".join(f" {engine} was not measured: {why}." for engine, why in run.missing.items())
    return f"{machine}; {run.date[:10]}. {versions}.{missing} `{run.command}`"


def _losing(run):
    lines = [
        f"* {format.BEHIND} `{r.name}`, {format.threads(r.threads)}: {format.standing(r)}"
        for r in run.losing
    ]
    lines += [
        f"* `{r.name}`, {format.threads(r.threads)}: {format.standing(r)}" for r in uncompared(run)
    ]
    return ["\n".join(lines)] if lines else []


def _means(run, threads):
    peers = run.peers
    rows = (
        (name, *(mean(of, p) for p in (None, *peers)))
        for name, of in run.groups(threads).items()
        if geometric_mean(of)
    )
    return table([f"{format.threads(threads)} (number of rows)", "best peer", *peers], rows)


def _goals(run):
    rows = (
        (v.goal.what, v.goal.bound, v.threads or "", v.word, v.reason) for v in goals.check(run)
    )
    return table(["goal", "bound", "threads", "verdict", "reason"], rows, left=5)


def _quantized(rows):
    """Return the table of the rows with errors."""
    rows = [r for r in rows if r.measured and r.errors]
    engines = quantized.engines(rows)
    lines = [[f"`{r.name}`", *quantized.cells(r, engines, "; ")] for r in rows]
    return table(["workload", *quantized.headings(engines)], lines)


def _peaks(run):
    names = list(dict.fromkeys(name for peaks in run.peaks.values() for name in peaks))
    units = {n: "GB/s" if n.endswith("bandwidth") else "GFLOP/s" for n in names}
    headings = [f"{n.replace('_', ' ')}, {units[n]}" for n in names]
    rows = (
        (format.threads(int(n)), *(format.number(p[k]) if k in p else format.NONE for k in names))
        for n, p in run.peaks.items()
    )
    return table(["", *headings], rows) if names else "Not measured in this run."


def _rows(run, rows):
    """Return the table of a group: medians, speed, share of the roof, limit, and ratio."""
    engines = [OURS, *(e for e in run.peers if any(e in r.samples for r in rows))]
    lines = []
    for r in rows:
        per = "" if r.per == "call" else f" a {r.per}"
        if not r.measured:
            lines.append([f"`{r.name}`", format.standing(r), *[""] * (len(engines) + 4)])
            continue
        times = [
            format.measured(r.median(e), r.quantity) + per if e in r.samples else format.NONE
            for e in engines
        ]
        roof = run.roof(r) if r.gflops else None
        speed = format.number(r.gflops) if r.gflops else format.NONE
        bound = roof[1] if roof else format.NONE
        lines.append(
            [
                f"`{r.name}`",
                *times,
                format.spread(r),
                speed,
                format.percent(run.share_of_peak(r)),
                bound,
                format.signed(r.ratio),
            ]
        )
    return table(
        ["workload", *engines, f"p10–p90 of {OURS}", "GFLOP/s", "of roof", "bound by", "ratio"],
        lines,
    )
