"""Formats figures for tables: three significant digits, suitable units, honest ratios."""

from __future__ import annotations

from ..results import Row

AHEAD, BEHIND = "▲", "▼"  # so that colour is never the only signal
RATIO = f"best peer / recurrent, {AHEAD} ahead, {BEHIND} behind"
NONE = "–"
TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
SIZES = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))


def number(value: float) -> str:
    """Format with three significant digits and without an exponent.

    >>> number(0.123456), number(12.3456), number(1234.56), number(0.9996)
    ('0.123', '12.3', '1,235', '1.00')
    """
    rounded = float(f"{value:.3g}")
    decimals = 3 if rounded < 1 else 2 if rounded < 10 else 1 if rounded < 100 else 0
    return f"{value:,.{decimals}f}"


def unit(value: float, quantity: str = "seconds") -> tuple[float, str]:
    """Return the largest unit that does not exceed the value, and its name.

    >>> unit(0.0042), unit(3 * 2**20, "bytes")
    ((0.001, 'ms'), (1048576.0, 'MiB'))
    """
    units = TIMES if quantity == "seconds" else SIZES
    return next((u for u in units if value >= u[0]), units[-1])


def measured(value: float, quantity: str = "seconds") -> str:
    """Format a value with its unit.

    >>> measured(0.0042), measured(1.5e9, "bytes")
    ('4.20 ms', '1.40 GiB')
    """
    scale, name = unit(value, quantity)
    return f"{number(value / scale)} {name}"


def ratio(value: float | None) -> str:
    """Format a ratio with enough digits to show on which side of 1 it lies.

    >>> ratio(2.345), ratio(0.9962), ratio(1.00002), ratio(31.4), ratio(0.0039), ratio(None)
    ('2.35', '0.996', '1.00', '31.4', '0.004', '–')
    """
    if value is None:
        return NONE
    if value < 1:
        return next((s for d in (2, 3, 4) if 0 < float(s := f"{value:.{d}f}") < 1), f"{value:.6f}")
    return number(value)


def change(value: float | None) -> str:
    """Format the ratio between two runs, which is usually close to 1.

    >>> change(0.98765), change(None)
    ('0.988', '–')
    """
    return NONE if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    """Format a ratio with a sign for ahead or behind.

    >>> signed(2.345), signed(0.5), signed(None)
    ('▲ 2.35', '▼ 0.50', '–')
    """
    return NONE if value is None else f"{AHEAD if value >= 1 else BEHIND} {ratio(value)}"


def percent(share: float | None, decimals: int = 0) -> str:
    """Format a fraction in percent.

    >>> percent(0.916), percent(0.916, 1), percent(None)
    ('92 %', '91.6 %', '–')
    """
    return NONE if share is None else f"{share * 100:.{decimals}f} %"


def short(name: str) -> str:
    """Abbreviate a name for a table column."""
    return {"onnxruntime": "onnxrt", "character": "char"}.get(name, name)


def threads(count: int) -> str:
    """Format a thread count."""
    return f"{count} thread{'s' if count > 1 else ''}"


def label(row: Row) -> str:
    """Return a row's name with spaces, without the part that its section's heading repeats.

    >>> label(Row("lstm-forward-N1-T100-D8-H16", "forward", "lstm", "forward", 1, "float32", {}))
    'N1 T100 D8 H16'
    """
    text = row.name.removeprefix(f"{row.cell}-{row.task}-")
    text = row.name.removeprefix(f"{row.group}-") if text == row.name else text
    return text.replace("-", " ")


def section(row: Row) -> str:
    """Return the heading of the section that a row belongs to.

    >>> section(Row("lstm-train-N7", "odd", "lstm", "train", 1, "float32", {}))
    'lstm train (odd)'
    """
    prefix = f"{row.cell}-{row.task}-"
    heading = f"{row.cell} {row.task}" if row.name.startswith(prefix) else row.group
    return heading if row.group in (row.task, heading) else f"{heading} ({row.group})"


def standing(row: Row) -> str:
    """Describe a row's result: its ratio and both times, or why it has none.

    >>> samples = {"recurrent": [2e-3], "torch": [1e-3]}
    >>> standing(Row("a", "forward", "lstm", "forward", 1, "float32", samples))
    '0.50: recurrent 2.00 ms (2.00–2.00), torch 1.00 ms'
    """
    if row.error:
        return f"error: {row.error}"
    if not row.measured:
        return "not measured"
    ours = f"recurrent {measured(row.median(), row.quantity)} ({spread(row)})"
    if row.best_peer is None:
        return f"no peer: {ours}"
    theirs = measured(row.median(row.best_peer), row.quantity)
    return f"{ratio(row.ratio)}: {ours}, {row.best_peer} {theirs}"


def spread(row: Row) -> str:
    """Format the 10th to 90th percentile of recurrent's samples, in the unit of the median."""
    scale, _ = unit(row.median(), row.quantity)
    return "–".join(number(v / scale) for v in row.spread())
