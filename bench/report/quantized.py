"""The rows of quantised weights: the time of every engine, and under it its error."""

from __future__ import annotations

from collections.abc import Iterable

from ..results import OURS, VARIANTS, Row, Run
from . import format

FLOAT32 = "recurrent-float32"


def title(mean: bool = True) -> str:
    """Return what the table shows, with or without mean errors."""
    return f"int8 weights: medians; greatest{' (and mean)' * mean} error against float64"


def rows(run: Run, threads: int) -> list[Row]:
    """Return the rows that have errors."""
    return [r for r in run.select(threads=threads) if r.errors and r.measured]


def engines(rows: Iterable[Row]) -> list[str]:
    """Return recurrent, its variants, then the peers that have an error in one of the rows."""
    return list(dict.fromkeys([OURS, *VARIANTS, *(e for r in rows for e in r.errors)]))


def headings(engines: list[str]) -> list[str]:
    """Name the columns after the workload."""
    return [
        *(format.short(VARIANTS.get(e, e)) for e in engines),
        f"{VARIANTS[FLOAT32]} / int8",
        "peer / int8",
    ]


def cells(row: Row, engines: list[str], between: str, mean: bool = True) -> list[str]:
    """Return the columns after the workload; `between` stands between a time and its error."""
    times = [
        f"{format.measured(row.median(e))}{between}{error(*row.errors[e], mean=mean)}"
        if e in row.samples and e in row.errors
        else format.NONE
        for e in engines
    ]
    return [*times, format.ratio(row.against(FLOAT32)), format.signed(row.ratio)]


def error(greatest: float, average: float, mean: bool = True) -> str:
    """Format an error.

    >>> error(0.00312, 4.16e-4), error(0.00312, 4.16e-4, mean=False), error(0.0, 0.0)
    ('3.1e-3 (4.2e-4)', '3.1e-3', '0 (0)')
    """
    texts = [f"{v:.1e}".replace("e-0", "e-") if v else "0" for v in (greatest, average)]
    return f"{texts[0]} ({texts[1]})" if mean else texts[0]
