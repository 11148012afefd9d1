"""The README's list of reasons, with the figures of a stored run."""

from __future__ import annotations

from ..results import Row, Run, geometric_mean
from . import format

STEP = "lstm-step-N1-T1-D32-H32"
MEMORY = "memory-lstm-train-N64-T50-D512-H512"


def highlights(run: Run) -> str:
    """Return the reasons as a Markdown list; a reason whose rows the run lacks is stated without figures."""
    threads = max(run.threads, default=1)
    rows = run.select(threads=threads)
    named = {row.name: row for row in rows}

    def mean(**wanted) -> str | None:
        found = geometric_mean(run.select(threads=threads, **wanted))
        return format.ratio(found[0]) if found else None

    def figures(text: str, *values: str | None) -> str:
        return "" if None in values else text.format(*values)

    step, memory, imported = named.get(STEP), named.get(MEMORY), named.get("import")
    fast = figures(
        " Against the fastest peer of each benchmark (PyTorch, ONNX Runtime, OpenVINO, JAX), forward passes"
        f" run {{}} and training {{}} times as fast on {format.threads(threads)} (geometric means);"
        " one LSTM time step takes {}, a {} times shorter wait.",
        mean(group="forward"),
        mean(group="train"),
        _time(step),
        _ratio(step),
    )
    padding = figures(
        " Batches of sequences of different lengths run {} times as fast as in the fastest peer: padding costs nothing.",
        mean(group="ragged"),
    )
    cells = figures(
        " Cells beyond RNN, LSTM and GRU run {} times as fast as the fastest peer.",
        mean(group="cells"),
    )
    light = figures(
        " The import takes {} ({} times less than PyTorch's), and training a large LSTM {} times less memory"
        " than in the most frugal peer.",
        _time(imported),
        _ratio(imported, "torch"),
        _ratio(memory),
    )
    reasons = [
        f"**Fast.**{fast}",
        f"**Exact.** A sequence gives the same bits alone, in any batch, with any padding, on any number of threads, in one"
        f" call or step by step.{padding}",
        f"**Yours.** A cell of your own is six lines of equations, compiled, with exact gradients.{cells}",
        f"**Light.** Wheels only, and no deep-learning framework.{light}",
        "**Open.** Every gate, state and gradient of a run can be recorded and drawn, down to one weight of one unit.",
    ]
    return "\n".join(f"* {reason}" for reason in reasons) + "\n"


def _time(row: Row | None) -> str | None:
    return None if row is None else format.measured(row.median(), row.quantity)


def _ratio(row: Row | None, peer: str | None = None) -> str | None:
    if row is None:
        return None
    found = row.against(peer) if peer else row.ratio
    return format.ratio(found) if found else None
