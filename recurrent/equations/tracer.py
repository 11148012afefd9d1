"""The tracer: a cell written once, as its equations per unit, kept as an expression graph.

A cell is a Python function of scalars of *one* unit. It is called once, with symbols for numbers, and what it returns
is the graph of its equations. The compiled kernel, its backward pass, the NumPy reference and the pictures are all
read from that graph.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable

from .cell import Accumulator, Cell
from .cell import register as register_cell
from .expressions import Expr, as_expr, shared, topological


class _Names:
    """A unit's scalars by name; says which there are where another is asked for."""

    def __init__(self, cell: str, space: str, values: dict[str, Expr]):
        self.__dict__.update(values)
        self._words = f"{space} has {', '.join(values) or 'nothing'}"
        self._cell = cell

    def __getattr__(self, name):
        raise AttributeError(f"cell {self._cell}: there is no {name!r}: {self._words}")


def trace_cell(
    name: str,
    gates: str,
    states: str,
    parameters: str = "",
    biases: int = 2,
    initial: dict[str, float] | None = None,
    register: bool = True,
) -> Callable[[Callable], Cell]:
    """Declare a cell by a function of one unit's scalars.

    The function receives `x` (`x.i` is row i of W_ih x + b_ih for this unit), `h` (`h.i` is W_hh h + b_hh), `previous`
    (`previous.c` is this unit's own state of the step before) and, where `parameters` names any, `p` (one number per
    unit each). It returns a dict with every gate and every new state by name. The first state is the one that W_hh
    multiplies and the layer puts out. `biases`: 2 as in PyTorch, b_ih alone with 1, none with 0.
    `initial`: values of parameters that do not begin as random numbers.
    """
    for what, names in {"gates": gates, "states": states, "parameters": parameters}.items():
        if not isinstance(names, str):
            raise TypeError(
                f"cell {name}: {what} must be names with blanks between, such as 'i f', got {type(names).__name__}"
            )
    gate_names, state_names, parameter_names = (
        tuple(gates.split()),
        tuple(states.split()),
        tuple(parameters.split()),
    )
    if not state_names:
        raise ValueError(f"cell {name}: it needs a state, the first of which the layer puts out")

    def trace(function: Callable) -> Cell:
        x = {g: Expr("input", name=f"x.{g}") for g in gate_names}
        h = {g: Expr("input", name=f"h.{g}") for g in gate_names}
        previous = {s: Expr("input", name=f"previous.{s}") for s in state_names}
        p = {q: Expr("input", name=f"p.{q}") for q in parameter_names}
        spaces = {"x": x, "h": h, "previous": previous, **({"p": p} if p else {})}
        try:
            inspect.signature(function).bind(*spaces)
        except TypeError:
            expected, got = ", ".join(spaces), inspect.signature(function)
            raise TypeError(
                f"cell {name}: the equations must be a function of ({expected}), got {got}"
            ) from None
        values = function(*(_Names(name, space, values) for space, values in spaces.items()))
        if not isinstance(values, dict):
            raise TypeError(
                f"cell {name}: the equations must return a dict of gates and new states, got {type(values).__name__}"
            )
        unknown = [n for n in values if n not in (*gate_names, *state_names)]
        if unknown:
            raise ValueError(
                f"cell {name}: the equations return {unknown[0]!r}, which is neither a gate nor a state"
            )
        missing = [n for n in (*gate_names, *state_names) if n not in values]
        if missing:
            raise ValueError(
                f"cell {name}: the equations must return a value for {', '.join(missing)}"
            )
        values = {n: as_expr(values[n]) for n in (*gate_names, *state_names)}
        one = shared(values.values())
        values = {n: one[e] for n, e in values.items()}
        accumulators, values = _merge(gate_names, x, h, values)
        result = Cell(
            name, gate_names, state_names, parameter_names, accumulators, tuple(previous.values()), tuple(p.values()), values,
            biases, initial or {},
        )  # fmt: skip
        for e in result.products:
            rows = [q.name for q in result.products] + [a.gate for a in accumulators if a.h]
            if e.op == "product" and (e.name not in gate_names or rows.count(e.name) > 1):
                raise ValueError(
                    f"cell {name}: a product needs a gate whose rows of W_hh nothing else uses, got {e.name!r}"
                )
        check_widths(result)
        return register_cell(result) if register else result

    return trace


def check_widths(cell: Cell) -> None:
    """Raise ValueError unless a projection, if there is one, gives the first state, and the only one of its kind."""
    try:
        projected = cell.projected_states
    except ValueError as error:
        raise ValueError(f"cell {cell.name}: {error}") from None
    for name, e in zip(cell.parameters, cell.parameter_inputs, strict=False):
        if cell.projected_nodes.get(e):
            raise ValueError(
                f"cell {cell.name}: {name} is a number of each unit, of which a projection hands on fewer"
            )
    count = sum(e.op == "projection" for e in cell.cross_unit_ops)
    if count > 1 or projected[0] != bool(count):
        raise ValueError(
            f"cell {cell.name}: one projection may give the first state, {cell.states[0]}; got {count} elsewhere"
        )


def _merge(gates, x, h, values):
    """Replace x.g + h.g by one accumulator wherever a cell uses them in that sum only."""
    nodes = topological(values.values())
    uses = Counter(a for e in nodes for a in e.args) + Counter(values.values())
    merged = {}
    for e in nodes:
        if e.op == "add" and all(a.op == "input" and a.name[1] == "." for a in e.args):
            first, second = (a.name.split(".") for a in e.args)
            if (
                {first[0], second[0]} == {"x", "h"}
                and first[1] == second[1]
                and all(uses[a] == 1 for a in e.args)
            ):
                merged[e] = Expr("input", name=f"a.{first[1]}")
    new = dict(merged)
    for e in nodes:
        if e not in new:
            new[e] = e.on(*(new[a] for a in e.args))
    sums = {m.name[2:]: m for m in merged.values()}
    first = [
        Accumulator(g, True, g in sums, sums.get(g, x[g])) for g in gates if g in sums or uses[x[g]]
    ]  # in the order of the gates, so that W_ih is one run of rows
    rest = [Accumulator(g, False, True, h[g]) for g in gates if g not in sums and uses[h[g]]]
    return tuple(first + rest), {n: new[e] for n, e in values.items()}
