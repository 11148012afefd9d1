"""A step in stages: where units meet, a product or a mean needs numbers of all of them, so equations before it come first.

Each stage is a few sums (products with weights, means over units), then equations that need nothing of later sums. What
one stage leaves for another lies in planes, a number for each unit and sequence of a step.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from .equations import Cell
from .expressions import MEETINGS, Expr, topological

SIDE_BY_SIDE = 4  # accumulators of a unit in one tile, of cells that do not apply their equations there


class Output(NamedTuple):
    """A value that leaves the step."""

    value: Expr
    narrow: bool  # as wide as what a projection hands on
    over: Expr | None = None  # what it may overwrite


class Stage(NamedTuple):
    level: int  # how many sums over units one after the other come before
    narrow: bool
    products: tuple[Expr, ...]
    means: tuple[Expr, ...]
    kept: tuple[Expr, ...]  # for later stages, by its equations
    outputs: tuple[int, ...]  # which of the step's outputs it computes


class Stages(NamedTuple):
    """Stages in order; all of a level may run side by side. `planes`: where what is not in registers lies."""

    stages: tuple[Stage, ...]
    planes: dict[Expr, int]

    @property
    def products(self) -> list[Expr]:
        """All of them, in the order in which their weights lie."""
        return [e for s in self.stages for e in s.products]


@lru_cache
def tiles(cell: Cell) -> tuple[tuple[int, ...], ...]:
    """Which accumulators are computed side by side: all, but where a step has stages no more than the registers take."""
    every = range(len(cell.accumulators))
    if not cell.meetings or len(every) <= SIDE_BY_SIDE:
        return (tuple(every),)
    kinds: dict = {}
    for k in every:
        kinds.setdefault((cell.accumulators[k].x, cell.accumulators[k].h), []).append(k)
    return tuple(tuple(ks[n : n + SIDE_BY_SIDE]) for ks in kinds.values() for n in range(0, len(ks), SIDE_BY_SIDE))


@lru_cache
def forward(cell: Cell) -> tuple[list[Output], Stages]:
    """A step's outputs, new states and then what the tape keeps besides, and the stages that compute them."""
    saved = [e for _, e in cell.backward.saved]
    over = (None, *cell.previous[1:])  # the first state has a place of its own
    outputs = [Output(*o) for o in zip(cell.new, cell.narrow_states, over, strict=True)]
    outputs += [Output(e, cell.narrow[e]) for e in saved]
    begun = tuple(a.input for a in cell.accumulators)
    return outputs, split(outputs, (*cell.previous, *cell.parameter_inputs), begun, cell.narrow)


@lru_cache
def backward(cell: Cell) -> tuple[list[Output], Stages]:
    """The same of a step back: gradients of accumulators, parameters and products, of states before and after the step."""
    b = cell.backward
    outputs = [Output(e, False) for e in (*b.d_accumulators, *b.d_parameters)]
    outputs += [Output(d, cell.narrow[e]) for d, e in zip(b.d_products, cell.products, strict=True)]
    outputs += [Output(*o) for o in zip(b.d_previous, cell.narrow_states, b.d_new, strict=True)]
    outputs += [Output(*o) for o in zip(b.d_states, cell.narrow_states, strict=True)]
    loaded = (*(e for _, e in b.saved), *cell.new, *cell.previous, *cell.parameter_inputs, *b.d_new)
    return outputs, split(outputs, loaded, (), cell.narrow)


def split(outputs: list[Output], loaded: Iterable[Expr], begun: tuple[Expr, ...], narrow: dict[Expr, bool]) -> Stages:
    """Stages that compute the outputs from `loaded`, which is in memory all the time, and `begun`, which products with
    weights leave in planes at first.

    What needs `loaded` alone is computed wherever it is needed.
    """
    nodes = _nodes([o.value for o in outputs], {*loaded, *begun})
    level, free = dict.fromkeys(begun, 0), dict.fromkeys(begun, False)
    for e in nodes:
        level[e] = max((level[a] for a in e.args if a in level), default=0) + (e.op in MEETINGS)
        free[e] = e.op not in MEETINGS and all(free.get(a, True) for a in e.args)
    met = [e for e in nodes if e.op in MEETINGS]
    products = [e for e in met if e.op != "mean"]
    planes = dict.fromkeys([*begun, *products, *(e.args[0] for e in met)])
    for e in nodes:
        if not free[e]:
            planes |= dict.fromkeys(a for a in e.args if not free.get(a, True) and level[a] < level[e])
    keys = {(level[e], narrow[e]) for e in (*begun, *met)} | {(level.get(e, 0), narrow[e]) for e in planes}
    keys |= {(level[o.value], o.narrow) for o in outputs if not free.get(o.value, True)}
    placed = []
    for o in outputs:
        at_end = max([n for n, width in keys if width == o.narrow], default=0)
        placed.append(at_end if free.get(o.value, True) else level[o.value])
        keys.add((placed[-1], o.narrow))
    read = _last_read(nodes, level, free, list(zip(outputs, placed, strict=True)))
    for k, o in enumerate(outputs):
        if read.get(o.over, 0) > placed[k]:
            placed[k] = read[o.over]
            keys.add((placed[k], o.narrow))
            if not free.get(o.value, True):
                planes[o.value] = None
    by_equations = [e for e in planes if e not in begun and e not in products]
    stages = []
    for n, width in sorted(keys):
        here = [e for e in (*met, *by_equations) if (level.get(e, 0), narrow[e]) == (n, width)]
        stages.append(
            Stage(
                n, width, tuple(e for e in here if e in products), tuple(dict.fromkeys(e for e in here if e.op == "mean")),
                tuple(e for e in here if e in by_equations),
                tuple(k for k, o in enumerate(outputs) if (placed[k], o.narrow) == (n, width)),
            )
        )  # fmt: skip
    return Stages(tuple(stages), {e: k for k, e in enumerate(planes)})


def _nodes(roots, at_hand) -> list[Expr]:
    """All below the roots down to those at hand, which are left out; arguments first."""
    needed = set()

    def need(e):
        if e not in at_hand and e not in needed:
            needed.add(e)
            for a in e.args:
                need(a)

    for e in roots:
        need(e)
    return [e for e in topological(roots) if e in needed]


def _last_read(nodes, level, free, placed) -> dict[Expr, int]:
    """The last level at which equations read something that is loaded."""
    read: dict[Expr, int] = {}

    def reads(e, n):
        if free.get(e, True):
            read[e] = max(read.get(e, 0), n)
            for a in e.args if e in free else ():
                reads(a, n)

    for e in nodes:
        if not free[e]:
            for a in e.args:
                reads(a, level[a] if e.op in MEETINGS and a in level else level[e] - (e.op in MEETINGS))
    for o, n in placed:
        reads(o.value, n)
    return read
