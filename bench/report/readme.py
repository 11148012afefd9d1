"""Writes the README's figures from a stored run: the reasons and the table of speed.

Each stands between two comments; the first of them names the run.
"""

from __future__ import annotations

import re
from pathlib import Path

from recurrent.models import files

from ..results import OURS, Row, Run, geometric_mean, read
from . import format
from .highlights import highlights
from .markdown import circumstances, table
from .table import summary

START, END = "<!-- {}: {} -->", "<!-- /{} -->"
BLOCK = r"<!-- {0}:(?: (?P<run>\S+))? -->\n(?P<text>.*?)<!-- /{0} -->"
# Single sequences, small and large batches, training, streaming, and whole models.
SHOWN = (
    ("forward", "lstm-forward-N1-T100-D32-H64"),
    ("forward", "lstm-forward-N32-T50-D128-H256"),
    ("forward", "lstm-forward-N64-T50-D512-H512"),
    ("train", "lstm-train-N32-T50-D128-H256"),
    ("train", "lstm-train-N64-T50-D512-H512"),
    ("forward", "gru-forward-N1-T100-D32-H64"),
    ("train", "gru-train-N32-T50-D128-H256"),
    ("train", "rnn-train-N32-T50-D128-H256"),
    ("stream", "lstm-step-N1-T1-D32-H32"),
    ("charlm", "charlm-2x512-N50-T50"),
    ("seq2seq", "seq2seq-update-N32-S30-T30-H256"),
)
# A first call that compiles, and one that finds its kernels in the cache on disk.
FIRST = (
    "first-cold-lstm-forward-N32-T50-D64-H128",
    "first-warm-lstm-forward-N32-T50-D64-H128",
)
BEHIND = 3  # number of rows furthest behind that are shown as well


def readme(run: Path, path: Path) -> None:
    """Write the figures of a stored run into the README at `path`, which names the run.

    Raises ValueError if the README lacks the comments, or the run is stored outside the
    README's folder.
    """
    run, path = Path(run).resolve(), Path(path).resolve()
    if not run.is_relative_to(path.parent):
        raise ValueError(
            f"{run}: expected a run stored in {path.parent}, so that the figures can be checked"
        )
    text, name, measured = path.read_text(encoding="utf-8"), run.relative_to(path.parent), read(run)
    for block, written in WRITTEN.items():
        start, end = START.format(block, name.as_posix()), END.format(block)
        if len(_pattern(block).findall(text)) != 1:
            start = START.format(block, "FILE")
            raise ValueError(f"{path}: expected {start} once, followed by {end}")
        before, after = _pattern(block).split(text)[:: _pattern(block).groups + 1]
        text = f"{before}{start}\n{written(measured)}{end}{after}"
    files.replace(path, text.encode())


def stored(text: str, block: str = "speed") -> tuple[str, str] | None:
    """Return the run that a README names, and the text of the block; None if it names no run."""
    found = _pattern(block).search(text)
    return (found["run"], found["text"]) if found and found["run"] else None


def _pattern(block: str) -> re.Pattern:
    return re.compile(BLOCK.format(block), re.S)


def speed(run: Run) -> str:
    """Return the table, and the machine that it was measured on, as Markdown."""
    head = ["workload", "threads", OURS, "best peer", "ratio"]
    means = "; ".join(f"{format.threads(n)}: {_means(run, n)}" for n in run.threads)
    first = [_line(row) for row in run.most_threads() if row.name in FIRST]
    parts = [
        table(head, [_line(row) for row in steady(run)]),
        f"Ratio = {format.RATIO}. Geometric means of all rows: {means}.",
        f"{summary(run)}." + (" Those furthest behind are in the tables." if run.losing else ""),
        *(["First call in a process:", table(head, first)] if first else []),
        circumstances(run),
    ]
    return "\n\n".join(parts) + "\n"


def steady(run: Run) -> list[Row]:
    """Select the rows of SHOWN and those furthest behind, first calls left out."""
    named = [r for r in run.most_threads() if (r.group, r.name) in SHOWN]
    behind = [r for r in run.losing if r.group != "first"][:BEHIND]
    keys = {r.key for r in [*named, *behind]}
    return [r for r in run.rows if r.key in keys]


def _line(row):
    per = "" if row.per == "call" else f" a {row.per}"
    if row.ratio is None:
        return f"`{row.name}`", row.threads, format.standing(row), "", ""
    peer = f"{row.best_peer} {format.measured(row.median(row.best_peer), row.quantity)}"
    ours = format.measured(row.median(), row.quantity) + per
    return f"`{row.name}`", row.threads, ours, peer + per, format.signed(row.ratio)


def _means(run, threads):
    out = []
    for group in ("forward", "train"):
        rows = run.select(threads=threads, group=group)
        best, torch = geometric_mean(rows), geometric_mean(rows, "torch")
        if best:
            out.append(
                f"{group} {format.ratio(best[0])}"
                + (f" ({format.ratio(torch[0])} to PyTorch)" if torch else "")
            )
    return ", ".join(out) or "no row"


WRITTEN = {"why": highlights, "speed": speed}
