"""Checks the engine's promises on the machine it runs on: `python -m recurrent selftest`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

from numba import config
from rich.console import Console
from rich.table import Table

from ..cells import Cell
from ..engine.engine import Engine
from ..gradcheck import gradcheck
from ..progress import track
from . import promises, textbook
from .problem import Case

DTYPES = ("float32", "float64")
FULL = Case(T=5, N=7, D=9, H=17)
RAGGED = Case(T=5, N=7, D=9, H=17, ragged=True, reverse=True)
LARGE = Case(T=8, N=16, D=33, H=65) if config.DISABLE_JIT else Case(T=24, N=37, D=33, H=65)


class Check(NamedTuple):
    """A promise, and a function of a cell and a dtype that raises if it is broken."""

    promise: str
    run: Callable[[Cell, str], None]
    only: str = ""  # the one cell that the promise is about


def _on(case: Case, check: Callable) -> Callable[[Cell, str], None]:
    return lambda cell, dtype: check(replace(case, dtype=dtype).build(Engine(cell)))


def _gradients(cell: Cell, dtype: str) -> None:
    if dtype == "float64":  # derivatives in float32 are coarser than the checks of the kernels
        p = RAGGED.build(Engine(cell))
        gradcheck(cell, p.x[:4, :3, :2], lengths=[4, 0, 2])


CHECKS = (
    Check("kernels equal the interpreted equations", _on(FULL, promises.equals_the_interpreter)),
    Check("the same for ragged batches, in reverse", _on(RAGGED, promises.equals_the_interpreter)),
    Check("gradients equal complex step and finite differences", _gradients),
    Check(
        "a sequence alone gives the bits it has in a batch",
        _on(RAGGED, promises.a_row_equals_the_sequence_alone),
    ),
    Check("more padding changes no bit", _on(RAGGED, promises.longer_padding_changes_nothing)),
    Check("stepping gives the bits of the sequence call", _on(FULL, promises.steps_equal_forward)),
    Check(
        "two chunks that carry the state equal one call",
        _on(FULL, promises.two_chunks_equal_one_call),
    ),
    Check("the number of threads changes no bit", _on(LARGE, promises.threads_change_no_bit)),
    Check("two layers stepped by hand equal the stack", textbook.two_layers_stepped_by_hand),
    Check(
        "the textbook RNN written in NumPy",
        lambda cell, dtype: textbook.the_vanilla_network(dtype),
        "rnn",
    ),
    Check(
        "one LSTM unit written in scalars",
        lambda cell, dtype: textbook.a_single_unit_unrolled(dtype),
        "lstm",
    ),
)


class Failure(NamedTuple):
    """A broken promise."""

    promise: str
    cell: str
    dtype: str
    message: str

    def __str__(self):
        return f"{self.promise} ({self.cell}, {self.dtype}): {' '.join(self.message.split())}"


def run(cells: Iterable[Cell], console: Console) -> list[Failure]:
    """Check every promise in float32 and float64 and print a table of the results.

    Parameters
    ----------
    cells : iterable of Cell
        The cells to check.
    console : rich.console.Console
        Console that prints the table.

    Returns
    -------
    list of Failure
        The broken promises.
    """
    cells, failures, began = list(cells), [], time.perf_counter()
    work = [(check, cell) for check in CHECKS for cell in cells if check.only in ("", cell.name)]
    good: dict[tuple[str, str], bool] = {}
    for check, cell in track(work, lambda w: f"{w[1].name}: {w[0].promise}"):
        for dtype in DTYPES:
            try:
                check.run(cell, dtype)
            except Exception as error:  # any error is a result to report
                message = f"{type(error).__name__}: {error}"
                failures.append(Failure(check.promise, cell.name, dtype, message))
        good[check.promise, cell.name] = not any(
            (f.promise, f.cell) == (check.promise, cell.name) for f in failures
        )
    console.print(_table(cells, good))
    for failure in failures:
        console.print(f"FAILED {failure}", soft_wrap=True)
    console.print(_verdict(good, failures, time.perf_counter() - began), soft_wrap=True)
    return failures


def _table(cells, good) -> Table:
    table = Table(
        title="The engine's promises, checked on this machine in float32 and float64",
        title_justify="left",
    )
    table.add_column("promise")
    for cell in cells:
        table.add_column(cell.name, justify="center")
    marks = {True: "ok", False: "FAILED", None: ""}
    for check in CHECKS:
        results = [good.get((check.promise, c.name)) for c in cells]
        if any(r is not None for r in results):
            table.add_row(check.promise, *(marks[r] for r in results))
    return table


def _verdict(good, failures, seconds) -> str:
    if failures:
        broken = sum(not g for g in good.values())
        return f"{broken} of {len(good)} checks failed in {seconds:.0f} s"
    return f"all {len(good)} checks passed in {seconds:.0f} s: {_machine()}"


def _machine() -> str:
    if config.DISABLE_JIT:
        return "the JIT is off, so the interpreter was checked"
    from ..kernels.codegen.target import host

    threads = config.NUMBA_NUM_THREADS
    return f"{8 * host().bytes}-bit vectors, {threads} thread{'s' * (threads > 1)}"
