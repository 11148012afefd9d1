"""The engine's conformance on the machine that it runs on: `python -m recurrent selftest`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
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
FULL, RAGGED = Case(T=5, N=7, D=9, H=17), Case(T=5, N=7, D=9, H=17, ragged=True, reverse=True)
LARGE = Case(T=8, N=16, D=33, H=65) if config.DISABLE_JIT else Case(T=24, N=37, D=33, H=65)


class Check(NamedTuple):
    """One promise: its words, and a function of a cell and a dtype that raises where it is broken."""

    words: str
    run: Callable[[Cell, str], None]
    only: str = ""  # the one cell that it is about


def _of(promise: Callable, case: Case) -> Callable[[Cell, str], None]:
    return lambda cell, dtype: promise(Case(**{**vars(case), "dtype": dtype}).build(Engine(cell)))


def _gradients(cell: Cell, dtype: str) -> None:
    if (
        dtype == "float64"
    ):  # differences in float32 would tell nothing that the interpreter does not
        p = RAGGED.build(Engine(cell))
        gradcheck(cell, p.x[:4, :3, :2], lengths=[4, 0, 2])


CHECKS = (
    Check("kernels equal the interpreted equations", _of(promises.equals_the_interpreter, FULL)),
    Check(
        "... of sequences of different lengths, in reverse",
        _of(promises.equals_the_interpreter, RAGGED),
    ),
    Check("gradients equal complex step and differences", _gradients),
    Check(
        "a row of a batch equals the sequence alone",
        _of(promises.a_row_equals_the_sequence_alone, RAGGED),
    ),
    Check("longer padding changes no bit", _of(promises.longer_padding_changes_nothing, RAGGED)),
    Check("step by step equals the sequence call", _of(promises.steps_equal_forward, FULL)),
    Check(
        "two chunks with carried state equal one call",
        _of(promises.two_chunks_equal_one_call, FULL),
    ),
    Check("any number of threads gives the same bits", _of(promises.threads_change_no_bit, LARGE)),
    Check("two layers stepped by hand equal the stack", textbook.two_layers_stepped_by_hand),
    Check(
        "the textbook's network in plain NumPy",
        lambda cell, dtype: textbook.the_vanilla_network(dtype),
        "rnn",
    ),
    Check(
        "one unit written out in scalars",
        lambda cell, dtype: textbook.a_single_unit_unrolled(dtype),
        "lstm",
    ),
)


class Failure(NamedTuple):
    """A broken promise."""

    check: str
    cell: str
    dtype: str
    message: str

    def __str__(self):
        return f"{self.check} ({self.cell}, {self.dtype}): {' '.join(self.message.split())}"


def run(cells: Iterable[Cell], console: Console) -> list[Failure]:
    """Check every promise for these cells in both dtypes; prints a table as it goes, returns what failed."""
    cells, failures, began = list(cells), [], time.perf_counter()
    work = [(check, cell) for check in CHECKS for cell in cells if check.only in ("", cell.name)]
    good: dict[tuple[str, str], bool] = {}
    for check, cell in track(work, lambda w: f"{w[1].name}: {w[0].words}"):
        for dtype in DTYPES:
            try:
                check.run(cell, dtype)
            except Exception as error:  # whatever goes wrong here is what the user wants to know
                failures.append(
                    Failure(check.words, cell.name, dtype, f"{type(error).__name__}: {error}")
                )
        good[check.words, cell.name] = not any(
            (f.check, f.cell) == (check.words, cell.name) for f in failures
        )
    console.print(_table(cells, good))
    for failure in failures:
        console.print(f"FAILED {failure}", soft_wrap=True)
    console.print(_verdict(good, failures, time.perf_counter() - began), soft_wrap=True)
    return failures


def _table(cells, good) -> Table:
    table = Table(
        title="What the engine promises, checked on this machine in float32 and float64",
        title_justify="left",
    )
    table.add_column("promise")
    for cell in cells:
        table.add_column(cell.name, justify="center")
    marks = {True: "ok", False: "FAILED", None: ""}
    for check in CHECKS:
        found = [good.get((check.words, c.name)) for c in cells]
        if found != [None] * len(cells):
            table.add_row(check.words, *(marks[f] for f in found))
    return table


def _verdict(good, failures, seconds) -> str:
    if failures:
        return f"{sum(not g for g in good.values())} of {len(good)} promises are broken here, in {seconds:.0f} s"
    return f"all {len(good)} hold, in {seconds:.0f} s: {_where()}"


def _where() -> str:
    if config.DISABLE_JIT:
        return "the JIT is off, so this was the interpreter alone"
    from ..kernels.codegen.target import host

    return f"vectors of {8 * host().bytes} bits, {config.NUMBA_NUM_THREADS} thread{'s' * (config.NUMBA_NUM_THREADS > 1)}"
