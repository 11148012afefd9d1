"""Which numbers of a cell there is one of for each unit, H, and which for each that a projection hands on, P."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from .expressions import CROSS_UNIT, Expr, topological


def projected_nodes(
    roots: Sequence[Expr],
    new: Sequence[Expr],
    previous: Sequence[Expr],
    pre_activations: Collection[Expr],
    has_projection: bool,
    d_new: Iterable[Expr] = (),
) -> dict[Expr, bool]:
    """Infer for every node below `roots` whether it has P values.

    `new` and `previous` are a cell's states after and before a step, `pre_activations` the inputs that are dot products,
    `has_projection` says whether the cell has a projection; the inputs `d_new` are as wide as the new states.

    Raises ValueError where an operation combines H values with P.
    """
    known: dict[Expr, bool | None] = {}  # None: whatever it is combined with

    def visit(nodes):
        for e in topological(nodes):
            known.setdefault(
                e, _width(e, [known[a] for a in e.args], pre_activations, has_projection)
            )

    # Old states are as wide as new ones, which may be computed from them.
    known.update(dict.fromkeys(previous))
    visit(new)
    of_states = [bool(known[e]) for e in new]
    known.clear()
    known.update(zip(previous, of_states, strict=True))
    known.update(zip(d_new, of_states, strict=False))
    visit([*new, *roots])
    for e in reversed(topological([*new, *roots])):
        if known[e] is not None and e.op not in CROSS_UNIT:
            for a in e.args:  # masks are as wide as what they are multiplied by
                known[a] = known[e] if known[a] is None and a.op != "const" else known[a]
    return {e: bool(width) for e, width in known.items()}


def _width(e, args, pre_activations, has_projection):
    if e.op == "projection":
        if args[0]:
            raise ValueError("what is projected must have a number for each unit")
        return True
    if e.op == "product_t":
        return has_projection
    if e.op == "product" and bool(args[0]) != has_projection:
        raise ValueError(f"W_hh of gate {e.name!r} multiplies what is as long as the first state")
    if e.op in ("product", "projection_t"):
        return False
    if e.op == "input":
        return False if e in pre_activations else None
    known = {a for a in args if a is not None}
    if len(known) > 1:
        raise ValueError(
            f"{e.op} combines a number of each unit with one of the fewer that a projection hands on"
        )
    return known.pop() if known else None
