"""The schedule of a time step: the order of a cell's products, means and equations.

Most cells need no schedule: their equations are the epilogue of one product. If units interact
within a step, a product or a mean needs values of all units, so the equations that these values
come from must be computed first. The step then has stages: products and means, then the equations
that can be computed from them. Values that one stage computes for a later one are stored in planes,
workspace arrays (N, H). `codegen.staged` writes the code of a schedule, `packing` and the memory
plan read its sizes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from ..equations.cell import Cell
from ..equations.expressions import CROSS_UNIT, Expr, topological

# Operations that take about as long as ten quick ones.
SLOW = {
    "cos", "div", "exp", "log", "remainder", "sigmoid", "sin", "softplus", "sqrt", "tanh",
}  # fmt: skip
# The most loads and quick operations with which a value is computed again, not stored for a later
# stage.
MAX_RECOMPUTED = 4
# Accumulators of a unit in one register tile, for cells that do not apply their equations there.
SIDE_BY_SIDE = 4


class Output(NamedTuple):
    """A value that the step computes for its caller."""

    value: Expr
    projected: bool  # whether it has P values instead of H
    overwrites: Expr | None = None  # the node whose memory it is written to


class Stage(NamedTuple):
    """Products and means, and the equations that can be computed from them."""

    level: int  # how many products and means, one after the other, come before
    projected: bool  # whether its values are P instead of H
    products: tuple[Expr, ...]
    means: tuple[Expr, ...]  # means of results of its equations, for later stages
    stored: tuple[Expr, ...]  # results of its equations, stored for later stages
    outputs: tuple[int, ...]  # numbers of the step's outputs that it computes


class Stages(NamedTuple):
    """The stages of a step in order, in groups.

    Only the first level of a group has products, so after them a row of the batch can pass through
    the whole group while it is in cache; threads have to wait for each other only between groups.
    """

    groups: tuple[tuple[Stage, ...], ...]
    planes: dict[Expr, int]  # number of the plane of a node; of a mean, its first entry in each row
    lasting: frozenset[Expr]  # nodes in planes that another group, or another row's product, reads

    @property
    def stages(self) -> list[Stage]:
        """All stages."""
        return [s for group in self.groups for s in group]

    @property
    def products(self) -> list[Expr]:
        """All products, in the order of their packed weights."""
        return [e for s in self.stages for e in s.products]


@lru_cache
def tiles(cell: Cell) -> tuple[tuple[int, ...], ...]:
    """Return which accumulators share a register tile.

    All do in a step without stages, so that its equations have them in registers; otherwise only as
    many as fit.
    """
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
    """Return the outputs of a forward step, new states then saved values, and its stages."""
    saved = [e for _, e in cell.backward.saved]
    # The first state is written to the next row of its history, never over the previous one.
    overwrites = (None, *cell.previous[1:])
    outputs = [Output(*o) for o in zip(cell.new, cell.projected_states, overwrites, strict=True)]
    outputs += [Output(e, cell.projected_nodes[e]) for e in saved]
    sums = tuple(a.input for a in cell.accumulators)
    loaded = (*cell.previous, *cell.parameter_inputs)
    return outputs, build_stages(outputs, loaded, sums, cell.projected_nodes)


@lru_cache
def backward(cell: Cell) -> tuple[list[Output], Stages]:
    """Return the outputs of a backward step and its stages.

    The outputs are gradients with respect to accumulators, per-unit parameters, products, previous
    states and new states, in this order.
    """
    b, projected = cell.backward, cell.projected_nodes
    outputs = [Output(e, False) for e in (*b.d_accumulators, *b.d_parameters)]
    outputs += [Output(d, projected[e]) for d, e in zip(b.d_products, cell.products, strict=True)]
    outputs += [Output(*o) for o in zip(b.d_previous, cell.projected_states, b.d_new, strict=True)]
    outputs += [Output(*o) for o in zip(b.d_states, cell.projected_states, strict=True)]
    loaded = (*(e for _, e in b.saved), *cell.new, *cell.previous, *cell.parameter_inputs, *b.d_new)
    return outputs, build_stages(outputs, loaded, (), projected)


def build_stages(
    outputs: list[Output],
    loaded: Iterable[Expr],
    sums: tuple[Expr, ...],
    projected: dict[Expr, bool],
) -> Stages:
    """Return stages that compute the outputs.

    loaded: nodes that are in memory during the whole step. sums: nodes that the large products have
    left in planes before the first stage. Values that need only `loaded`, or that are quick to
    compute, are computed again wherever they are used.
    """
    loaded = set(loaded)
    nodes = _nodes([o.value for o in outputs], {*loaded, *sums})
    level, free = dict.fromkeys(sums, 0), dict.fromkeys(sums, False)
    for e in nodes:
        level[e] = max((level[a] for a in e.args if a in level), default=0) + (e.op in CROSS_UNIT)
        free[e] = e.op not in CROSS_UNIT and all(free.get(a, True) for a in e.args)
    products = [e for e in nodes if e.op in CROSS_UNIT and e.op != "mean"]
    means = [e for e in nodes if e.op == "mean"]
    stored = dict.fromkeys(e.args[0] for e in products if e.args[0] not in (*sums, *products))
    stored |= dict.fromkeys(_expensive(nodes, level, free, {*loaded, *sums, *products, *stored}))

    def key(e):
        return level.get(e, 0), projected[e]

    def group_of(n):
        """Return the number of the group of level n: a level with products begins a new one."""
        return len({level[e] for e in products if level[e] <= n})

    keys = {key(e) for e in (*sums, *products, *stored, *(m.args[0] for m in means))}
    keys |= {(level[o.value], o.projected) for o in outputs if not free.get(o.value, True)}
    placed = []  # the level that computes each output
    for o in outputs:
        at_end = max([n for n, width in keys if width == o.projected], default=0)
        placed.append(at_end if free.get(o.value, True) else level[o.value])
        keys.add((placed[-1], o.projected))

    def reads():
        """Return the nodes in memory, in planes or means that the equations of each level read."""
        found: dict[int, set[Expr]] = {}
        visited = set()

        def visit(root, n):
            stack = [root]
            while stack:
                e = stack.pop()
                in_plane = e in sums or (e in stored and level.get(e, 0) < n)
                if e in loaded or in_plane or e.op in CROSS_UNIT:
                    found.setdefault(n, set()).add(e)
                elif (e, n) not in visited:
                    visited.add((e, n))
                    stack += e.args

        for e in (*stored, *(m.args[0] for m in means)):
            visit(e, level.get(e, 0))
        for o, n in zip(outputs, placed, strict=True):
            visit(o.value, n)
        return found

    # An output that overwrites a node waits for the last level that reads the node.
    late = True
    while late:
        last = {e: n for n, some in sorted(reads().items()) for e in some}
        late = [
            (k, last[o.overwrites])
            for k, o in enumerate(outputs)
            if last.get(o.overwrites, 0) > placed[k]
        ]
        for k, n in late:
            placed[k] = n
            keys.add((n, outputs[k].projected))
            if not free.get(outputs[k].value, True):
                stored[outputs[k].value] = None
    written = {
        e: group_of(key(e.args[0] if e.op == "mean" else e)[0])
        for e in (*sums, *stored, *products, *means)
    }
    lasting = {
        e for n, some in reads().items() for e in some if e in written and written[e] < group_of(n)
    }
    lasting |= {*sums, *products, *(e.args[0] for e in products)}
    stages = [
        Stage(
            *here,
            products=tuple(e for e in products if key(e) == here),
            means=tuple(e for e in means if key(e.args[0]) == here),
            stored=tuple(e for e in stored if key(e) == here),
            outputs=tuple(k for k, o in enumerate(outputs) if (placed[k], o.projected) == here),
        )
        for here in sorted(keys)
    ]
    groups = tuple(tuple(some) for _, some in groupby(stages, lambda s: group_of(s.level)))
    in_planes = dict.fromkeys([*sums, *products, *stored, *(e for e in means if e in lasting)])
    return Stages(groups, {e: k for k, e in enumerate(in_planes)}, frozenset(lasting))


def _expensive(nodes, level, free, available) -> list[Expr]:
    """Return nodes that later levels read and that take longer to compute again than to store."""
    later = {
        a for e in nodes if e.op not in CROSS_UNIT for a in e.args if level.get(a, 0) < level[e]
    }
    found, cost = [], {}
    for e in nodes:
        if e in available or e.op == "mean":
            continue
        spent = [0 if a.op in ("const", "mean") else cost.get(a, 1) for a in e.args]
        # A value that is the same for a whole row is computed once for it.
        cost[e] = sum(spent) + (10 if e.op in SLOW else 1) if any(spent) else 0
        if e in later and not free[e] and cost[e] > MAX_RECOMPUTED:
            found.append(e)
            cost[e] = 1
    return found


def _nodes(roots, available) -> list[Expr]:
    """Return the nodes that `roots` need and that are not available, arguments first."""
    needed = set(topological(roots, available)) - set(available)
    return [e for e in topological(roots) if e in needed]
