"""A step in stages: where units meet, a product or a mean needs numbers of all of them, so equations before it come first.

Each stage is a few sums (products with weights, means over units), then equations that need nothing of later sums. What
one stage leaves for another lies in planes, a number for each unit and sequence of a step.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from ..equations.cell import Cell
from ..equations.expressions import CROSS_UNIT, Expr, topological

SLOW = {"div", "exp", "sigmoid", "softplus", "sqrt", "tanh"}
TO_KEEP = 4  # what is computed again, where it is needed again, in so many loads and quick operations at most; a slow one is 10
SIDE_BY_SIDE = (
    4  # accumulators of a unit in one tile, of cells that do not apply their equations there
)


class Output(NamedTuple):
    """A value that leaves the step."""

    value: Expr
    projected: bool  # as wide as what a projection hands on
    over: Expr | None = None  # what it may overwrite


class Stage(NamedTuple):
    level: int  # how many sums over units one after the other come before
    projected: bool
    products: tuple[Expr, ...]
    means: tuple[Expr, ...]  # of what its equations compute: there for later stages
    kept: tuple[Expr, ...]  # for later stages, by its equations
    outputs: tuple[int, ...]  # which of the step's outputs it computes


class Stages(NamedTuple):
    """Stages in order, in stretches of which only the first level has products: the rest can be done row by row.

    `planes`: where what is not in registers lies; of a mean a row's first number alone. `lasting`: those of them that are
    read in another stretch than they are written in.
    """

    stretches: tuple[tuple[Stage, ...], ...]
    planes: dict[Expr, int]
    lasting: frozenset[Expr]

    @property
    def stages(self) -> list[Stage]:
        return [s for stretch in self.stretches for s in stretch]

    @property
    def products(self) -> list[Expr]:
        """All of them, in the order in which their weights lie."""
        return [e for s in self.stages for e in s.products]


@lru_cache
def tiles(cell: Cell) -> tuple[tuple[int, ...], ...]:
    """Which accumulators are computed side by side: all, but where a step has stages no more than the registers take."""
    every = range(len(cell.accumulators))
    if not cell.cross_unit_ops or len(every) <= SIDE_BY_SIDE:
        return (tuple(every),)
    kinds: dict = {}
    for k in every:
        kinds.setdefault((cell.accumulators[k].x, cell.accumulators[k].h), []).append(k)
    return tuple(
        tuple(ks[n : n + SIDE_BY_SIDE])
        for ks in kinds.values()
        for n in range(0, len(ks), SIDE_BY_SIDE)
    )


@lru_cache
def forward(cell: Cell) -> tuple[list[Output], Stages]:
    """A step's outputs, new states and then what the tape keeps besides, and the stages that compute them."""
    saved = [e for _, e in cell.backward.saved]
    over = (None, *cell.previous[1:])  # the first state has a place of its own
    outputs = [Output(*o) for o in zip(cell.new, cell.projected_states, over, strict=True)]
    outputs += [Output(e, cell.projected_nodes[e]) for e in saved]
    begun = tuple(a.input for a in cell.accumulators)
    return outputs, split(
        outputs, (*cell.previous, *cell.parameter_inputs), begun, cell.projected_nodes
    )


@lru_cache
def backward(cell: Cell) -> tuple[list[Output], Stages]:
    """The same of a step back: gradients of accumulators, parameters and products, of states before and after the step."""
    b = cell.backward
    outputs = [Output(e, False) for e in (*b.d_accumulators, *b.d_parameters)]
    outputs += [
        Output(d, cell.projected_nodes[e]) for d, e in zip(b.d_products, cell.products, strict=True)
    ]
    outputs += [Output(*o) for o in zip(b.d_previous, cell.projected_states, b.d_new, strict=True)]
    outputs += [Output(*o) for o in zip(b.d_states, cell.projected_states, strict=True)]
    loaded = (*(e for _, e in b.saved), *cell.new, *cell.previous, *cell.parameter_inputs, *b.d_new)
    return outputs, split(outputs, loaded, (), cell.projected_nodes)


def split(
    outputs: list[Output],
    loaded: Iterable[Expr],
    begun: tuple[Expr, ...],
    projected: dict[Expr, bool],
) -> Stages:
    """Stages that compute the outputs from `loaded`, which is in memory all the time, and `begun`, which products with
    weights leave in planes at first.

    What needs `loaded` alone is computed wherever it is needed, and so is what is quickly computed again.
    """
    loaded = set(loaded)
    nodes = _nodes([o.value for o in outputs], {*loaded, *begun})
    level, free = dict.fromkeys(begun, 0), dict.fromkeys(begun, False)
    for e in nodes:
        level[e] = max((level[a] for a in e.args if a in level), default=0) + (e.op in CROSS_UNIT)
        free[e] = e.op not in CROSS_UNIT and all(free.get(a, True) for a in e.args)
    products = [e for e in nodes if e.op in CROSS_UNIT and e.op != "mean"]
    means = [e for e in nodes if e.op == "mean"]
    kept = dict.fromkeys(e.args[0] for e in products if e.args[0] not in (*begun, *products))
    kept |= dict.fromkeys(_dear(nodes, level, free, {*loaded, *begun, *products, *kept}))

    def key(e):
        return level.get(e, 0), projected[e]

    def stretch(n):
        return len({level[e] for e in products if level[e] <= n})

    keys = {key(e) for e in (*begun, *products, *kept, *(m.args[0] for m in means))}
    keys |= {(level[o.value], o.projected) for o in outputs if not free.get(o.value, True)}
    placed = []
    for o in outputs:
        at_end = max([n for n, width in keys if width == o.projected], default=0)
        placed.append(at_end if free.get(o.value, True) else level[o.value])
        keys.add((placed[-1], o.projected))

    def read():
        """What the equations of every level read, by level: what is loaded, planes and means."""
        found: dict[int, set[Expr]] = {}
        seen = set()

        def visit(e, n):
            if (
                e in loaded
                or e in begun
                or e.op in CROSS_UNIT
                or (e in kept and level.get(e, 0) < n)
            ):
                found.setdefault(n, set()).add(e)
            elif (e, n) not in seen:
                seen.add((e, n))
                for a in e.args:
                    visit(a, n)

        for e in (*kept, *(m.args[0] for m in means)):
            visit(e, level.get(e, 0))
        for o, n in zip(outputs, placed, strict=True):
            visit(o.value, n)
        return found

    late = True
    while late:  # what overwrites something waits until that has been read
        last = {e: n for n, some in sorted(read().items()) for e in some}
        late = [(k, last[o.over]) for k, o in enumerate(outputs) if last.get(o.over, 0) > placed[k]]
        for k, n in late:
            placed[k] = n
            keys.add((n, outputs[k].projected))
            if not free.get(outputs[k].value, True):
                kept[outputs[k].value] = None
    written = {
        e: stretch(key(e.args[0] if e.op == "mean" else e)[0])
        for e in (*begun, *kept, *products, *means)
    }
    lasting = {
        e for n, some in read().items() for e in some if e in written and written[e] < stretch(n)
    }
    lasting |= {*begun, *products, *(e.args[0] for e in products)}
    stages = [
        Stage(
            *here, tuple(e for e in products if key(e) == here), tuple(e for e in means if key(e.args[0]) == here),
            tuple(e for e in kept if key(e) == here),
            tuple(k for k, o in enumerate(outputs) if (placed[k], o.projected) == here),
        )
        for here in sorted(keys)
    ]  # fmt: skip
    planes = dict.fromkeys([*begun, *products, *kept, *(e for e in means if e in lasting)])
    return Stages(
        tuple(tuple(some) for _, some in groupby(stages, lambda s: stretch(s.level))),
        {e: k for k, e in enumerate(planes)}, frozenset(lasting),
    )  # fmt: skip


def _dear(nodes, level, free, at_hand) -> list[Expr]:
    """Of what later levels need, that which takes longer to compute again than to store and to load."""
    later = {
        a for e in nodes if e.op not in CROSS_UNIT for a in e.args if level.get(a, 0) < level[e]
    }
    found, cost = [], {}
    for e in nodes:
        if e in at_hand or e.op == "mean":
            continue
        spent = [0 if a.op in ("const", "mean") else cost.get(a, 1) for a in e.args]
        # What is the same for a whole row is computed once for it.
        cost[e] = sum(spent) + (10 if e.op in SLOW else 1) if any(spent) else 0
        if e in later and not free[e] and cost[e] > TO_KEEP:
            found.append(e)
            cost[e] = 1
    return found


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
