"""Figures as people read them: three significant digits, a unit that fits, a ratio that never rounds to the wrong side of 1."""

from __future__ import annotations

from ..results import Row

AHEAD, BEHIND = "▲", "▼"  # a colour never says it alone
RATIO = f"best peer / recurrent, {AHEAD} ahead, {BEHIND} behind"
NONE = "–"
TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
SIZES = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))


def number(value: float) -> str:
    """Three significant digits, no exponent.

    >>> number(0.123456), number(12.3456), number(1234.56), number(0.9996)
    ('0.123', '12.3', '1,235', '1.00')
    """
    rounded = float(f"{value:.3g}")
    decimals = 3 if rounded < 1 else 2 if rounded < 10 else 1 if rounded < 100 else 0
    return f"{value:,.{decimals}f}"


def unit(value: float, quantity: str = "seconds") -> tuple[float, str]:
    """The largest unit that a value has at least one of, and its name.

    >>> unit(0.0042), unit(3 * 2**20, "bytes")
    ((0.001, 'ms'), (1048576.0, 'MiB'))
    """
    units = TIMES if quantity == "seconds" else SIZES
    return next((u for u in units if value >= u[0]), units[-1])


def measured(value: float, quantity: str = "seconds") -> str:
    """A value with its unit.

    >>> measured(0.0042), measured(1.5e9, "bytes")
    ('4.20 ms', '1.40 GiB')
    """
    scale, name = unit(value, quantity)
    return f"{number(value / scale)} {name}"


def ratio(value: float | None) -> str:
    """A ratio; as many digits as it takes to show on which side of 1 it is.

    >>> ratio(2.345), ratio(0.9962), ratio(1.00002), ratio(31.4), ratio(0.0039), ratio(None)
    ('2.35', '0.996', '1.00', '31.4', '0.004', '–')
    """
    if value is None:
        return NONE
    if value < 1:
        return next((s for d in (2, 3, 4) if 0 < float(s := f"{value:.{d}f}") < 1), f"{value:.6f}")
    return number(value)


def fine(change: float | None) -> str:
    """A change between two runs, which is small.

    >>> fine(0.98765), fine(None)
    ('0.988', '–')
    """
    return NONE if change is None else f"{change:.3f}"


def signed(value: float | None) -> str:
    """A ratio with the sign of who is ahead.

    >>> signed(2.345), signed(0.5), signed(None)
    ('▲ 2.35', '▼ 0.50', '–')
    """
    return NONE if value is None else f"{AHEAD if value >= 1 else BEHIND} {ratio(value)}"


def percent(share: float | None, decimals: int = 0) -> str:
    """A share in percent.

    >>> percent(0.916), percent(0.916, 1), percent(None)
    ('92 %', '91.6 %', '–')
    """
    return NONE if share is None else f"{share * 100:.{decimals}f} %"


def short(name: str) -> str:
    """A name that fits a column."""
    return {"onnxruntime": "onnxrt", "character": "char"}.get(name, name)


def threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def label(row: Row) -> str:
    """A row's name with spaces, without what its section says already.

    >>> label(Row("lstm-forward-N1-T100-D8-H16", "forward", "lstm", "forward", 1, "float32", {}))
    'N1 T100 D8 H16'
    """
    short = row.name.removeprefix(f"{row.cell}-{row.task}-")
    short = row.name.removeprefix(f"{row.group}-") if short == row.name else short
    return short.replace("-", " ")


def section(row: Row) -> str:
    """The heading that a row stands under.

    >>> section(Row("lstm-train-N7", "odd", "lstm", "train", 1, "float32", {}))
    'lstm train (odd)'
    """
    words = (
        f"{row.cell} {row.task}" if row.name.startswith(f"{row.cell}-{row.task}-") else row.group
    )
    return words if row.group in (row.task, words) else f"{words} ({row.group})"


def standing(row: Row) -> str:
    """How a row stands, in words: for a list of rows behind, or one that could not be compared.

    >>> standing(Row("a", "forward", "lstm", "forward", 1, "float32", {"recurrent": [2e-3], "torch": [1e-3]}))
    '0.50: recurrent 2.00 ms (2.00–2.00), torch 1.00 ms'
    """
    if row.error:
        return f"error: {row.error}"
    if not row.measured:
        return "not measured"
    ours = f"recurrent {measured(row.median(), row.quantity)} ({spread(row)})"
    if row.best_peer is None:
        return f"no peer: {ours}"
    return f"{ratio(row.ratio)}: {ours}, {row.best_peer} {measured(row.median(row.best_peer), row.quantity)}"


def spread(row: Row) -> str:
    """10th to 90th percentile of ours, in the unit of the median."""
    scale, _ = unit(row.median(), row.quantity)
    return "–".join(number(v / scale) for v in row.spread())
