"""A benchmark run, stored as JSON lines, and the figures derived from it.

Line 1 is the run (machine, versions, peaks), every other line a `Row`: one workload at one thread
count. Derived figures are not stored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path

import numpy as np

from recurrent import checks
from recurrent.models import files, schema

FORMAT = 1
OURS = "recurrent"
# Recurrent with other weights, beside a row of int8: engine -> kind of weights.
VARIANTS = {"recurrent-bfloat16": "bfloat16", "recurrent-float32": "float32"}
OWN = (OURS, *VARIANTS)
DIGITS = 4  # significant digits of a stored sample; the timer's noise is larger


@dataclass(frozen=True)
class Row:
    """One workload at one thread count: the samples of every engine, or an error.

    flops: multiplications and additions of the matrix products per call.
    bytes: the least that a call moves from beyond the first-level cache (weights once per time
        step, x and y once).
    samples: engine -> one figure per round, seconds per call or bytes as `quantity` says.
    notes: engine -> the reason that this row lacks it.
    errors: engine -> the greatest and the mean absolute error of its results against float64, for
        quantised weights.
    peak: GFLOP/s of fused multiply-adds, measured between the rounds of a long call.
    """

    name: str
    group: str
    cell: str
    task: str
    threads: int
    dtype: str
    samples: dict[str, list[float]]
    flops: float | None = None
    bytes: float | None = None
    quantity: str = "seconds"
    per: str = "call"
    error: str | None = None
    notes: dict[str, str] = field(default_factory=dict)
    peak: list[float] = field(default_factory=list)
    errors: dict[str, list[float]] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, int]:
        """Name and thread count, which identify a row."""
        return self.name, self.threads

    def median(self, engine: str = OURS) -> float:
        """Return the median of an engine's samples."""
        return float(np.median(self.samples[engine]))

    def spread(self, engine: str = OURS) -> tuple[float, float]:
        """Return the 10th and 90th percentile of an engine's samples."""
        low, high = np.percentile(self.samples[engine], (10, 90))
        return float(low), float(high)

    @property
    def measured(self) -> bool:
        """True if recurrent has samples."""
        return self.error is None and OURS in self.samples

    @property
    def best_peer(self) -> str | None:
        """The peer with the lowest median."""
        peers = [e for e in self.samples if e not in OWN]
        return min(peers, key=self.median) if peers and self.measured else None

    @property
    def ratio(self) -> float | None:
        """The best peer's median over recurrent's; above 1, recurrent is ahead."""
        return self.against(self.best_peer)

    def against(self, peer: str | None) -> float | None:
        """Return the ratio to one peer, if both were measured."""
        return self.median(peer) / self.median() if self.measured and peer in self.samples else None

    @property
    def gflops(self) -> float | None:
        """GFLOP/s of recurrent at the median."""
        timed = self.measured and self.quantity == "seconds" and self.flops
        return self.flops / self.median() / 1e9 if timed else None

    @property
    def intensity(self) -> float | None:
        """FLOP per byte moved from beyond the first-level cache."""
        return self.flops / self.bytes if self.flops and self.bytes else None


@dataclass(frozen=True)
class Run:
    """The rows of a run, and where and how they were measured.

    peaks: thread count (a string, as in JSON) -> FMA peak in GFLOP/s by dtype, and
        `cache_bandwidth` and `memory_bandwidth` in GB/s.
    missing: engine -> the reason that it was not measured.
    """

    date: str
    command: str
    mode: str
    machine: dict
    versions: dict[str, str]
    missing: dict[str, str] = field(default_factory=dict)
    peaks: dict[str, dict[str, float]] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()

    @property
    def threads(self) -> list[int]:
        return sorted({r.threads for r in self.rows})

    @property
    def peers(self) -> list[str]:
        """The peers in the order of first appearance."""
        return [e for e in dict.fromkeys(e for r in self.rows for e in r.samples) if e not in OWN]

    def select(self, **values) -> list[Row]:
        """Return the rows whose fields have these values: `select(group="forward", threads=1)`."""
        return [r for r in self.rows if all(getattr(r, k) == v for k, v in values.items())]

    def most_threads(self) -> list[Row]:
        """Return each workload at the most threads at which it was measured."""
        return list({r.name: r for r in sorted(self.rows, key=lambda r: r.threads)}.values())

    def groups(self, threads: int) -> dict[str, list[Row]]:
        """Return the timed rows by group, and by group and cell if a group has several cells."""
        groups = {}
        for row in self.select(threads=threads, quantity="seconds"):
            groups.setdefault(row.group, []).append(row)
        out = {}
        for group, rows in groups.items():
            out[group] = rows
            cells = dict.fromkeys(r.cell for r in rows)
            if len(cells) > 1:
                out |= {f"{group}, {cell}": [r for r in rows if r.cell == cell] for cell in cells}
        return out

    @property
    def losing(self) -> list[Row]:
        """The rows in which a peer is faster, furthest behind first."""
        return sorted(
            (r for r in self.rows if r.ratio is not None and r.ratio < 1), key=lambda r: r.ratio
        )

    def peak_of(self, row: Row) -> float | None:
        """Return the FMA peak (GFLOP/s) during the row, or else at the start of the run."""
        return (
            float(np.median(row.peak))
            if row.peak
            else self.peaks.get(str(row.threads), {}).get(row.dtype)
        )

    def share_of_fma(self, row: Row) -> float | None:
        """Return recurrent's speed as a fraction of the machine's FMA peak."""
        peak = self.peak_of(row)
        return row.gflops / peak if row.gflops and peak else None

    def roof(self, row: Row) -> tuple[float, str] | None:
        """Return the highest GFLOP/s that the machine allows, and the limit: compute or bandwidth.

        The bandwidth is that of the caches, where the weights stay from one time step to the next.
        """
        peaks, peak = self.peaks.get(str(row.threads), {}), self.peak_of(row)
        roofs = [(peak, "compute")] if peak else []
        if row.intensity and peaks.get("cache_bandwidth"):
            roofs.append((row.intensity * peaks["cache_bandwidth"], "bandwidth"))
        return min(roofs) if roofs else None

    def share_of_peak(self, row: Row) -> float | None:
        """Return recurrent's speed as a fraction of the row's roof."""
        roof = self.roof(row)
        return row.gflops / roof[0] if row.gflops and roof else None


def geometric_mean(rows: Iterable[Row], peer: str | None = None) -> tuple[float, int] | None:
    """Return the mean ratio to each row's best peer, or to one peer, and the number of rows."""
    ratios = [r.against(peer) if peer else r.ratio for r in rows]
    logs = [math.log(r) for r in ratios if r is not None]
    return (math.exp(sum(logs) / len(logs)), len(logs)) if logs else None


def write(path: str | Path, run: Run) -> None:
    """Write one JSON line for the run and one for each row; samples keep `DIGITS` digits."""
    head = {"kind": "run", "format": FORMAT} | {k: v for k, v in vars(run).items() if k != "rows"}
    lines = [head]
    for row in run.rows:
        samples = {
            e: [float(f"{s:.{DIGITS}g}") for s in values] for e, values in row.samples.items()
        }
        lines.append(
            {"kind": "row"}
            | asdict(row)
            | {"samples": samples, "peak": [round(p, 2) for p in row.peak]}
            | {"errors": {e: [float(f"{v:.3g}") for v in two] for e, two in row.errors.items()}}
        )
    files.replace(path, "".join(json.dumps(line) + "\n" for line in lines).encode())


def read(path: str | Path) -> Run:
    """Read a file written by `write` or `python -m bench --out`.

    Raises OSError if the file cannot be read, and ValueError with file, line and field if it is
    not such a file.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected JSON lines in UTF-8, got another encoding ({error.reason})"
        ) from None
    rows, seen = [], set()
    head = _parse(path, 1, lines[0] if lines else "", "run", Run)
    for number, line in enumerate(lines[1:], 2):
        row = Row(**_parse(path, number, line, "row", Row))
        problem = _problem(row) or (
            f"{row.name} at {row.threads} thread(s) appears twice" if row.key in seen else None
        )
        if problem:
            raise ValueError(f"{path}, line {number}: {problem}")
        seen.add(row.key)
        rows.append(row)
    return Run(**head, rows=tuple(rows))


_text = schema.text(10_000)
_figure = schema.optional(checks.number)
_texts = schema.mapping(_text)

# The kinds of the fields of a row and of a run, but for the figures that `_problem` checks.
KINDS: dict[str, schema.Schema] = {
    **dict.fromkeys(("name", "group", "cell", "task", "dtype", "per"), _text),
    **dict.fromkeys(("flops", "bytes"), _figure),
    **{"error": schema.optional(_text), "notes": _texts},
    **dict.fromkeys(("date", "command", "mode"), _text),
    **{"machine": schema.dictionary, "versions": _texts, "missing": _texts},
    "peaks": schema.mapping(schema.mapping(_figure)),
}


def _parse(path, number, line, kind, of):
    """Parse a line and return the fields that the dataclass `of` has."""
    try:
        data = schema.parse_json(line, "the line")
    except ValueError as error:
        raise ValueError(
            f"{path}, line {number}: expected a JSON object, got {line[:40]!r} ({error})"
        ) from None
    got = data.get("kind") if isinstance(data, dict) else data
    if got != kind:
        raise ValueError(
            f'{path}, line {number}: expected a line of kind "{kind}", got {checks.shown(got)}'
        )
    if kind == "run" and data.get("format") != FORMAT:
        raise ValueError(
            f"{path}, line {number}: expected format {FORMAT}, got "
            f"{checks.shown(data.get('format'))}"
        )
    absent = [
        f.name
        for f in fields(of)
        if f.default is MISSING and f.default_factory is MISSING and f.name not in data
    ]
    if absent:
        raise ValueError(f"{path}, line {number}: the {kind} lacks {', '.join(absent)}")
    values = {f.name: data[f.name] for f in fields(of) if f.name in data and f.name != "rows"}
    try:
        for name, value in values.items():
            if name in KINDS:
                KINDS[name](value, name)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}, line {number}: {error}") from None
    return values


def _problem(row):
    """Describe the first invalid figure of a row; return None if all are valid."""
    if not isinstance(row.threads, int) or row.threads < 1:
        return f"threads must be a whole number of at least 1, got {row.threads!r}"
    if not isinstance(row.samples, dict):
        return f"samples must be engine -> list of numbers, got {row.samples!r:.60}"
    for engine, values in row.samples.items():
        if not (_positive(values) and values):
            return f"samples of {engine} must be positive finite numbers, got {values!r:.60}"
    if not isinstance(row.errors, dict):
        return f"errors must be engine -> list of numbers, got {row.errors!r:.60}"
    for engine, two in row.errors.items():
        if not (_numbers(two) and len(two) == 2 and min(two) >= 0):
            return f"errors of {engine} must be two numbers of at least 0, got {two!r:.60}"
    if not _positive(row.peak):
        return f"peak must be positive finite numbers, got {row.peak!r:.60}"
    if row.quantity not in ("seconds", "bytes"):
        return f'quantity must be "seconds" or "bytes", got {row.quantity!r}'
    return None


def _positive(values):
    """Return whether `values` is a list of positive finite numbers."""
    return _numbers(values) and all(v > 0 for v in values)


def _numbers(values):
    """Return whether `values` is a list of finite numbers."""
    return isinstance(values, list) and all(
        isinstance(v, int | float) and abs(v) < 1e300 for v in values
    )
