"""Which numbers of a cell there is one of for each unit, H, and which for each that a projection hands on, P."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .expressions import CROSS_UNIT, Expr, topological

if TYPE_CHECKING:
    from .cell import Cell


def narrow_nodes(cell: Cell, roots: Iterable[Expr], d_new: Iterable[Expr] = ()) -> dict[Expr, bool]:
    """Of every node below the roots, whether it has P numbers. `d_new`: inputs that are as wide as the new states.

    Raises ValueError where the two kinds are combined.
    """
    known: dict[Expr, bool | None] = {}  # None: whatever it is combined with

    def visit(nodes):
        for e in topological(nodes):
            known.setdefault(e, _width(cell, e, [known[a] for a in e.args]))

    # Old states are as wide as new ones, which may be computed from them.
    known.update(dict.fromkeys(cell.previous))
    visit(cell.new)
    of_states = [bool(known[e]) for e in cell.new]
    known.clear()
    known.update(zip(cell.previous, of_states, strict=True))
    known.update(zip(d_new, of_states, strict=False))
    visit([*cell.new, *roots])
    for e in reversed(topological([*cell.new, *roots])):
        if known[e] is not None and e.op not in CROSS_UNIT:
            for a in e.args:  # masks are as wide as what they are multiplied by
                known[a] = known[e] if known[a] is None and a.op != "const" else known[a]
    return {e: bool(width) for e, width in known.items()}


def check_widths(cell: Cell) -> None:
    """Raise ValueError unless a projection, if there is one, gives the first state, and the only one of its kind."""
    try:
        narrow = cell.narrow_states
    except ValueError as error:
        raise ValueError(f"cell {cell.name}: {error}") from None
    for name, e in zip(cell.parameters, cell.parameter_inputs, strict=False):
        if cell.narrow.get(e):
            raise ValueError(
                f"cell {cell.name}: {name} is a number of each unit, of which a projection hands on fewer"
            )
    count = sum(e.op == "projection" for e in cell.cross_unit_ops)
    if count > 1 or narrow[0] != bool(count):
        raise ValueError(
            f"cell {cell.name}: one projection may give the first state, {cell.states[0]}; got {count} elsewhere"
        )


def _width(cell, e, args):
    if e.op == "projection":
        if args[0]:
            raise ValueError("what is projected must have a number for each unit")
        return True
    if e.op == "product_t":
        return cell.projected
    if e.op == "product" and bool(args[0]) != cell.projected:
        raise ValueError(f"W_hh of gate {e.name!r} multiplies what is as long as {cell.states[0]}")
    if e.op in ("product", "projection_t"):
        return False
    if e.op == "input":
        return False if any(a.input is e for a in cell.accumulators) else None
    known = {a for a in args if a is not None}
    if len(known) > 1:
        raise ValueError(
            f"{e.op} combines a number of each unit with one of the fewer that a projection hands on"
        )
    return known.pop() if known else None
