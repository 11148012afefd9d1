"""The README's list of reasons, with the figures of a stored run."""

from __future__ import annotations

from ..results import Row, Run, geometric_mean
from . import format

STEP = "lstm-step-N1-T1-D32-H32"
MEMORY = "memory-lstm-train-N64-T50-D512-H512"


def highlights(run: Run) -> str:
    """Return the reasons as a Markdown list, without the figures whose rows the run lacks."""
    threads = max(run.threads, default=1)
    named = {row.name: row for row in run.most_threads()}

    def mean(**wanted) -> str | None:
        found = geometric_mean(run.select(threads=threads, **wanted))
        return format.ratio(found[0]) if found else None

    def figures(text: str, *values: str | None) -> str:
        return "" if None in values else text.format(*values)

    step, memory, imported = named.get(STEP), named.get(MEMORY), named.get("import")
    fast = figures(
        f" On {format.threads(threads)}, against the fastest of PyTorch, ONNX Runtime, OpenVINO and"
        " JAX in each benchmark, forward passes run {} and training {} times as fast (geometric"
        " means). One time step of a small LSTM takes {}; the fastest peer needs {} times as long.",
        mean(group="forward"),
        mean(group="train"),
        _value(step),
        _ratio(step),
    )
    lengths = figures(
        " Padding is not computed: batches with lengths run {} times as fast as in the fastest"
        " peer.",
        mean(group="ragged"),
    )
    cells = figures(
        " Cells and options beyond the plain RNN, LSTM and GRU run {} times as fast as in the"
        " fastest peer.",
        mean(group="cells"),
    )
    light = figures(
        " The import takes {}; PyTorch's takes {} times as long. Building and training a large LSTM"
        " adds {} of memory at the peak; the most economical peer adds {} times as much.",
        _value(imported),
        _ratio(imported, "torch"),
        _value(memory),
        _ratio(memory),
    )
    reasons = [
        f"**Fast.**{fast}",
        "**Reproducible.** On one machine, a sequence gives the same bits alone, in any batch, with"
        f" any padding, on any number of threads, and step by step.{lengths}",
        "**Extensible.** A cell of your own is a few lines of equations; forward and backward are"
        f" compiled from them.{cells}",
        f"**Light.** It installs from wheels, without a deep-learning framework.{light}",
        "**Open.** Every gate, state and gradient of a run can be recorded and drawn, down to one"
        " weight of one unit.",
    ]
    return "".join(f"* {reason}\n" for reason in reasons)


def _value(row: Row | None) -> str | None:
    return None if row is None else format.measured(row.median(), row.quantity)


def _ratio(row: Row | None, peer: str | None = None) -> str | None:
    if row is None:
        return None
    found = row.against(peer) if peer else row.ratio
    return format.ratio(found) if found else None
