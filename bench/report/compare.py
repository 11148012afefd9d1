"""Compares two runs: the change of recurrent, and that of the unchanged peers, which is noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.text import Text

from ..results import OWN, Row, Run
from . import format
from .table import STYLES, grid


@dataclass(frozen=True)
class Change:
    """A row that both runs have."""

    before: Row
    after: Row

    @property
    def ours(self) -> float:
        """Recurrent's median after, divided by its median before."""
        return self.after.median() / self.before.median()

    @property
    def peers(self) -> float | None:
        """The geometric mean, over the peers, of the median after divided by the median before."""
        ratios = [
            self.after.median(e) / self.before.median(e)
            for e in self.before.samples
            if e not in OWN and e in self.after.samples
        ]
        return float(np.exp(np.mean(np.log(ratios)))) if ratios else None

    @property
    def outside(self) -> bool:
        """True if the spreads (p10 to p90) of recurrent's samples in both runs are disjoint."""
        (a_low, a_high), (b_low, b_high) = self.before.spread(), self.after.spread()
        return b_low > a_high or b_high < a_low

    @property
    def verdict(self) -> str:
        """Slower, faster, or that the change lies within the spread or the change of the peers."""
        noise = abs(math.log(self.peers)) if self.peers else 0.0
        if not self.outside:
            return "within the spread"
        if abs(math.log(self.ours)) <= noise:
            return "like the peers"
        return "slower" if self.ours > 1 else "faster"


def changes(a: Run, b: Run) -> list[Change]:
    """Return the rows measured in both runs, largest change first."""
    after = {r.key: r for r in b.rows if r.measured}
    both = [
        Change(r, after[r.key])
        for r in a.rows
        if r.measured and r.key in after and r.quantity == after[r.key].quantity
    ]
    return sorted(both, key=lambda c: -abs(math.log(c.ours)))


def compare(a: Run, b: Run, console: Console) -> None:
    """Print B / A for the rows of both runs, and name the rows that cannot be compared."""
    both = changes(a, b)
    for name, x, y in (("machine", a.machine, b.machine), ("version", a.versions, b.versions)):
        for key in dict.fromkeys([*x, *y]):
            before, after = x.get(key, format.NONE), y.get(key, format.NONE)
            if before != after:
                text = f"different {name}: {key} {before} in A, {after} in B"
                console.print(Text(text), soft_wrap=True)
    table = grid(
        "time of B / time of A, largest change first; below 1 is faster",
        "workload",
        "threads",
        "A",
        "B",
        "B / A",
        "peers",
        "",
    )
    table.columns[-1].justify = "left"
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    for c in both:
        times = [format.measured(r.median(), r.quantity) for r in (c.before, c.after)]
        style = STYLES[{"slower": False, "faster": True}.get(c.verdict)]
        figures = format.change(c.ours), format.change(c.peers)
        table.add_row(
            c.before.name, str(c.before.threads), *times, *figures, Text(c.verdict, style=style)
        )
    console.print(table)
    console.print(Text(_summary(both)), soft_wrap=True)
    for name, run, other in (("A", a, b), ("B", b, a)):
        compared, there = {c.before.key for c in both}, {r.key for r in other.rows}
        for r in run.rows:
            if r.key not in compared:
                why = (
                    f"only in {name}"
                    if r.key not in there
                    else f"not compared; in {name}: {format.standing(r)}"
                )
                console.print(
                    Text(f"  ! {r.name}, {format.threads(r.threads)}: {why}"), soft_wrap=True
                )


def _summary(both):
    if not both:
        return "no row was measured in both runs"
    verdicts = [c.verdict for c in both]
    ours = math.exp(np.mean([math.log(c.ours) for c in both]))
    noise = [abs(math.log(c.peers)) for c in both if c.peers]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in ("faster", "slower"))
    text = f"{len(both)} rows, geometric mean {format.change(ours)}: {counts}"
    return text + (
        f"; median change of the peers {np.expm1(np.median(noise)) * 100:.1f} %" if noise else ""
    )
