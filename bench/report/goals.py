"""The targets that this engine set itself, checked against the rows of a run: met, missed and by how much, or not in it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from ..results import Row, Run, geometric_mean
from . import format

Figures = list[tuple[str, float]]  # name of a row, its figure; NaN where the row is an error


@dataclass(frozen=True)
class Target:
    """`figures(run, threads)` must all be at least `limit`, or at most where `most`; `show` words one figure."""

    what: str
    limit: float
    figures: Callable[[Run, int], Figures]
    most: bool = False
    show: Callable[[float], str] = format.ratio

    @property
    def wanted(self) -> str:
        return f"{'≤' if self.most else '≥'} {self.show(self.limit)}"

    def check(self, run: Run, threads: int) -> Verdict | None:
        """The verdict at one thread count; None without a row."""
        figures = self.figures(run, threads)
        if not figures:
            return None
        sign = -1 if self.most else 1
        missing = [f for f in figures if not sign * f[1] >= sign * self.limit]
        name, worst = min(figures, key=lambda f: -math.inf if math.isnan(f[1]) else sign * f[1])
        if math.isnan(worst):
            found = f"{name} is an error"
        elif missing:
            found = f"{self.show(worst)}, {float(f'{abs(worst / self.limit - 1) * 100:.2g}'):g} % off: {name}"
        else:
            found = f"{self.show(worst)}: {name}"
        if len(figures) > 1:
            found += f"; {len(figures) - len(missing)} of {len(figures)} rows meet it"
        return Verdict(self, threads, not missing, found)


@dataclass(frozen=True)
class Verdict:
    """`met` is None where the run has no such row; `found` says what decided."""

    target: Target
    threads: int | None
    met: bool | None
    found: str

    @property
    def word(self) -> str:
        return {True: "met", False: "missed", None: format.NONE}[self.met]


def check(run: Run) -> list[Verdict]:
    """A verdict for every target and thread count of the run."""
    out = []
    for target in TARGETS:
        found = [v for n in run.threads if (v := target.check(run, n)) is not None]
        out += found or [Verdict(target, None, None, "not in this run")]
    return out


def sizes(name: str) -> dict[str, int]:
    """The sizes in a workload's name.

    >>> sizes("lstm-forward-N7-T33-D13-H50")
    {'N': 7, 'T': 33, 'D': 13, 'H': 50}
    """
    return {
        k: int(v) for k, v in re.findall(r"(?<![A-Za-z0-9])([NTDHL])(\d+)(?![A-Za-z0-9])", name)
    }


def _each(rows: Iterable[Row], figure: Callable[[Row], float | None]) -> Figures:
    """Rows that have the figure, and those whose error keeps it away."""
    figures = ((r.name, math.nan if r.error else figure(r)) for r in rows)
    return [(name, f) for name, f in figures if f is not None]


def _ratios(run, threads, peer=None, holds=lambda row: True, **wanted):
    rows = filter(holds, run.select(threads=threads, **wanted))
    return _each(rows, lambda r: r.against(peer) if peer else r.ratio)


def _grid(run, threads):
    return _ratios(run, threads, group="forward") + _ratios(run, threads, group="train")


def _mean(run, threads, group, peer=None):
    rows = run.select(threads=threads, group=group)
    mean = geometric_mean(rows, peer)
    return [(f"geometric mean of {mean[1]} of {len(rows)} rows", mean[0])] if mean else []


def _large(run, threads, task):
    rows = (
        r
        for r in run.select(threads=threads, task=task)
        if r.group == task and (r.flops or 0) > 1e9
    )
    return _each(rows, run.share_of_fma)


def _medians(run, threads, holds, **wanted):
    return _each(
        filter(holds, run.select(threads=threads, **wanted)),
        lambda r: r.median() if r.measured else None,
    )


def _per_flop(row):
    return row.median() / row.flops if row.measured and row.flops else None


def _beside(run, rows, companion):
    """Time per FLOP of rows, over that of the row which `companion` finds among the run's.

    Where the machine's peak was measured beside both, each counts at the speed that the machine had.
    """
    figures = []
    for row in rows:
        other = companion(row)
        if row.error or (other and other.error):
            figures.append((row.name, math.nan))
        elif other and _per_flop(row) and _per_flop(other):
            speed = run.peak_of(row) / run.peak_of(other) if row.peak and other.peak else 1.0
            figures.append((row.name, _per_flop(row) / _per_flop(other) * speed))
    return figures


def _ragged(run, threads):
    rows = run.select(threads=threads, group="ragged")
    full = {(r.cell, r.task, *sizes(r.name).items()): r for r in rows if "full" in r.name}
    return _beside(
        run,
        (r for r in rows if "full" not in r.name),
        lambda r: full.get((r.cell, r.task, *sizes(r.name).items())),
    )


def _odd(run, threads):
    rows = {r.name: r for r in run.select(threads=threads, group="odd")}

    def rounded(row):
        return re.sub(r"(?<=-[DH])\d+", lambda m: str(-(-int(m[0]) // 16) * 16), row.name)

    return _beside(
        run, (r for r in rows.values() if rounded(r) != r.name), lambda r: rows.get(rounded(r))
    )


def _one_step_of_32(row):
    return sizes(row.name).get("H") == 32 and "many" not in row.name


def _named(*parts):
    return lambda row: all(
        re.search(rf"(?<![A-Za-z0-9]){p}(?![A-Za-z0-9])", row.name) for p in parts
    )


_seconds, _part = format.measured, partial(format.percent, decimals=1)

TARGETS = (
    Target("every forward and training row, best peer's time / ours", 1.0, _grid),
    Target("forward, geometric mean to the best peer", 2.0, partial(_mean, group="forward")),
    Target(
        "forward, geometric mean to PyTorch", 4.0, partial(_mean, group="forward", peer="torch")
    ),
    Target("training, geometric mean to the best peer", 2.5, partial(_mean, group="train")),
    Target("training, geometric mean to PyTorch", 5.0, partial(_mean, group="train", peer="torch")),
    Target(
        "forward over 1 GFLOP a call, share of the FMA peak",
        0.92,
        partial(_large, task="forward"),
        show=_part,
    ),
    Target(
        "training over 1 GFLOP a call, share of the FMA peak",
        0.85,
        partial(_large, task="train"),
        show=_part,
    ),
    Target("ragged batches, time per valid step / the full batch's", 1.2, _ragged, most=True),
    Target(
        "ragged batches, PyTorch's packed sequences / ours",
        5.0,
        partial(_ratios, peer="torch", group="ragged", holds=lambda r: "full" not in r.name),
    ),
    Target("float64, PyTorch / ours", 3.0, partial(_ratios, peer="torch", group="float64")),
    Target(
        "streaming at H = 32, a step",
        4e-6,
        partial(_medians, group="stream", holds=_one_step_of_32),
        True,
        _seconds,
    ),
    Target(
        "streaming at H = 32, ONNX Runtime / ours",
        2.0,
        partial(_ratios, peer="onnxruntime", group="stream", holds=_one_step_of_32),
    ),
    Target("odd sizes, time per FLOP / that of the next multiples of 16", 1.25, _odd, most=True),
    Target(
        "char model 2 x 512, PyTorch / ours",
        1.15,
        partial(_ratios, peer="torch", group="charlm", holds=_named("2x512")),
    ),
    Target(
        "char model 2 x 128, PyTorch / ours",
        1.5,
        partial(_ratios, peer="torch", group="charlm", holds=_named("2x128")),
    ),
    Target(
        "peak memory in training, PyTorch / ours",
        1.0,
        partial(_ratios, peer="torch", group="memory"),
    ),
    Target(
        "first forward call, cold cache",
        4.0,
        partial(_medians, group="first", holds=_named("forward", "cold")),
        True,
        _seconds,
    ),
    Target(
        "first training call, cold cache",
        10.0,
        partial(_medians, group="first", holds=_named("train", "cold")),
        True,
        _seconds,
    ),
    Target(
        "first call, warm cache",
        0.3,
        partial(_medians, group="first", holds=_named("warm")),
        True,
        _seconds,
    ),
)
