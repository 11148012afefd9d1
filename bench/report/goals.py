"""The performance goals of this engine, checked against the rows of a run."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from ..results import OURS, OWN, Row, Run, geometric_mean
from . import format
from .quantized import FLOAT32

Figures = list[tuple[str, float]]  # name of a row and its figure; NaN if the row is an error


@dataclass(frozen=True)
class Goal:
    """A bound on every figure of `figures(run, threads)`.

    The figures must be at least `limit`, or at most `limit` if `at_most`. `show` formats a figure.
    """

    what: str
    limit: float
    figures: Callable[[Run, int], Figures]
    at_most: bool = False
    show: Callable[[float], str] = format.ratio

    @property
    def bound(self) -> str:
        """The limit with its relation, such as "≥ 1.00"."""
        return f"{'≤' if self.at_most else '≥'} {self.show(self.limit)}"

    def check(self, run: Run, threads: int) -> Verdict | None:
        """Return the verdict at one thread count; None if the run has no such row."""
        figures = self.figures(run, threads)
        if not figures:
            return None
        sign = -1 if self.at_most else 1
        missed = [f for f in figures if not sign * f[1] >= sign * self.limit]
        name, worst = min(figures, key=lambda f: -math.inf if math.isnan(f[1]) else sign * f[1])
        if math.isnan(worst):
            reason = f"{name} is an error"
        elif missed:
            distance = float(f"{abs(worst / self.limit - 1) * 100:.2g}")
            reason = f"{self.show(worst)}, {distance:g} % off: {name}"
        else:
            reason = f"{self.show(worst)}: {name}"
        if len(figures) > 1:
            reason += f"; {len(figures) - len(missed)} of {len(figures)} rows meet it"
        return Verdict(self, threads, not missed, reason)


@dataclass(frozen=True)
class Verdict:
    """The verdict on a goal, with its reason; `met` is None if the run has no row for the goal."""

    goal: Goal
    threads: int | None
    met: bool | None
    reason: str

    @property
    def word(self) -> str:
        return {True: "met", False: "missed", None: format.NONE}[self.met]


def check(run: Run) -> list[Verdict]:
    """Return a verdict for every goal and thread count of the run."""
    verdicts = []
    for goal in GOALS:
        found = [v for n in run.threads if (v := goal.check(run, n)) is not None]
        verdicts += found or [Verdict(goal, None, None, "not in this run")]
    return verdicts


def sizes(name: str) -> dict[str, int]:
    """Parse the sizes in a workload's name.

    >>> sizes("lstm-forward-N7-T33-D13-H50")
    {'N': 7, 'T': 33, 'D': 13, 'H': 50}
    """
    return {
        k: int(v) for k, v in re.findall(r"(?<![A-Za-z0-9])([NTDHL])(\d+)(?![A-Za-z0-9])", name)
    }


def _figures(rows: Iterable[Row], figure: Callable[[Row], float | None]) -> Figures:
    """Return `figure(row)` by row name, without rows that have none; NaN for an error."""
    figures = ((r.name, math.nan if r.error else figure(r)) for r in rows)
    return [(name, f) for name, f in figures if f is not None]


def _ratios(run, threads, peer=None, condition=lambda row: True, **fields):
    rows = filter(condition, run.select(threads=threads, **fields))
    return _figures(rows, lambda r: r.against(peer) if peer else r.ratio)


def _grid(run, threads):
    return _ratios(run, threads, group="forward") + _ratios(run, threads, group="train")


def _mean(run, threads, group, peer=None):
    rows = run.select(threads=threads, group=group)
    mean = geometric_mean(rows, peer)
    return [(f"geometric mean of {mean[1]} of {len(rows)} rows", mean[0])] if mean else []


def _share(run, threads, ratio):
    figures = _grid(run, threads)
    ahead = sum(f >= ratio for _, f in figures)
    return [(f"{ahead} of {len(figures)} rows", ahead / len(figures))] if figures else []


def _large(run, threads, task):
    rows = run.select(threads=threads, task=task, group=task)
    return _figures((r for r in rows if (r.flops or 0) > 1e9), run.share_of_fma)


def _quantized(run, threads, figure, condition=lambda row: True):
    rows = run.select(threads=threads, group="quantized")
    return _figures(filter(condition, rows), figure)


def _error(row):
    """Return the least error of a peer over recurrent's, both the greatest of their results."""
    peers = [greatest for e, (greatest, _) in row.errors.items() if e not in OWN]
    return min(peers) / row.errors[OURS][0] if peers else None


def _medians(run, threads, condition, **fields):
    rows = filter(condition, run.select(threads=threads, **fields))
    return _figures(rows, lambda r: r.median() if r.measured else None)


def _per_flop(row):
    return row.median() / row.flops if row.measured and row.flops else None


def _relative(run, rows, companion):
    """Return each row's time per FLOP over that of the row that `companion` returns for it.

    If the machine's peak was measured with both rows, their times are scaled by their peaks.
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
    return _relative(
        run,
        (r for r in rows if "full" not in r.name),
        lambda r: full.get((r.cell, r.task, *sizes(r.name).items())),
    )


def _odd(run, threads):
    rows = {r.name: r for r in run.select(threads=threads, group="odd")}

    def rounded(row):
        return re.sub(r"(?<=-[DH])\d+", lambda m: str(-(-int(m[0]) // 16) * 16), row.name)

    return _relative(
        run, (r for r in rows.values() if rounded(r) != r.name), lambda r: rows.get(rounded(r))
    )


def _one_sequence(row, least=64, most=512):
    found = sizes(row.name)
    return found.get("N") == 1 and least <= found.get("H", 0) <= most


def _one_step_of_32(row):
    return sizes(row.name).get("H") == 32 and "many" not in row.name


def _named(*parts):
    """Return a condition: the row's name contains every part as a whole word."""
    return lambda row: all(
        re.search(rf"(?<![A-Za-z0-9]){p}(?![A-Za-z0-9])", row.name) for p in parts
    )


def _gain(row):
    return row.against(FLOAT32)


_large_and_alone = partial(_one_sequence, least=512, most=1024)
_seconds, _percent = format.measured, partial(format.percent, decimals=1)

GOALS = (
    Goal("every forward and training row: best peer's time / recurrent's", 1.0, _grid),
    Goal(
        "forward and training rows that are at least 1.10 times as fast as the best peer",
        0.9,
        partial(_share, ratio=1.1),
        show=_percent,
    ),
    Goal(
        "forward, N = 1, H from 64 to 512: best peer's time / recurrent's",
        1.25,
        partial(_ratios, group="forward", condition=_one_sequence),
    ),
    Goal(
        "forward: geometric mean of the ratios to the best peer",
        1.7,
        partial(_mean, group="forward"),
    ),
    Goal(
        "forward: geometric mean of the ratios to PyTorch",
        4.0,
        partial(_mean, group="forward", peer="torch"),
    ),
    Goal(
        "training: geometric mean of the ratios to the best peer",
        1.9,
        partial(_mean, group="train"),
    ),
    Goal(
        "training: geometric mean of the ratios to PyTorch",
        5.0,
        partial(_mean, group="train", peer="torch"),
    ),
    Goal(
        "forward calls over 1 GFLOP: share of the FMA peak",
        0.88,
        partial(_large, task="forward"),
        show=_percent,
    ),
    Goal(
        "training calls over 1 GFLOP: share of the FMA peak",
        0.8,
        partial(_large, task="train"),
        show=_percent,
    ),
    Goal(
        "ragged batches: time per valid step / that of the full batch", 1.25, _ragged, at_most=True
    ),
    Goal(
        "ragged batches: PyTorch's packed sequences / recurrent",
        5.0,
        partial(_ratios, peer="torch", group="ragged", condition=lambda r: "full" not in r.name),
    ),
    Goal("float64: PyTorch / recurrent", 3.0, partial(_ratios, peer="torch", group="float64")),
    Goal(
        "streaming, H = 32: time per step",
        4e-6,
        partial(_medians, group="stream", condition=_one_step_of_32),
        True,
        _seconds,
    ),
    Goal(
        "streaming, H = 32: ONNX Runtime / recurrent",
        2.0,
        partial(_ratios, peer="onnxruntime", group="stream", condition=_one_step_of_32),
    ),
    Goal("odd sizes: time per FLOP / that of the next multiples of 16", 1.25, _odd, at_most=True),
    Goal(
        "character model 2 x 512: PyTorch / recurrent",
        1.15,
        partial(_ratios, peer="torch", group="charlm", condition=_named("2x512")),
    ),
    Goal(
        "character model 2 x 128: PyTorch / recurrent",
        1.5,
        partial(_ratios, peer="torch", group="charlm", condition=_named("2x128")),
    ),
    Goal(
        "peak memory in training: PyTorch / recurrent",
        1.0,
        partial(_ratios, peer="torch", group="memory"),
    ),
    Goal(
        "first forward call, cold cache",
        4.0,
        partial(_medians, group="first", condition=_named("forward", "cold")),
        True,
        _seconds,
    ),
    Goal(
        "first training call, cold cache",
        10.0,
        partial(_medians, group="first", condition=_named("train", "cold")),
        True,
        _seconds,
    ),
    Goal(
        "first call, warm cache",
        0.3,
        partial(_medians, group="first", condition=_named("warm")),
        True,
        _seconds,
    ),
    Goal(
        "int8, N = 1, H = 512 and 1024: recurrent in float32 / in int8",
        3.0,
        partial(_quantized, figure=_gain, condition=_large_and_alone),
    ),
    Goal(
        "int8, N = 1, H = 512 and 1024: best peer's int8 / recurrent's",
        1.0,
        partial(_quantized, figure=lambda row: row.ratio, condition=_large_and_alone),
    ),
    Goal(
        "int8, N = 1, H = 512 and 1024: least error of a peer / recurrent's",
        1.0,
        partial(_quantized, figure=_error, condition=_large_and_alone),
    ),
    Goal(
        "character model 2 x 512, sampling: recurrent in float32 / in int8",
        2.0,
        partial(_quantized, figure=_gain, condition=_named("2x512")),
    ),
)
