"""Infer, for each expression in a cell, whether it has H values (one per unit) or P (projected)."""

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
    """Infer for every node reachable from `roots` whether it has P values instead of H.

    `new` and `previous` are the states after and before a step; `pre_activations` are the inputs
    that stand for dot products; the inputs `d_new` are as wide as the new states. Raises ValueError
    if an operation combines H values with P.
    """
    known: dict[Expr, bool | None] = {}  # None: as wide as whatever it is combined with

    def infer(nodes):
        for e in topological(nodes):
            args = [known[a] for a in e.args]
            known.setdefault(e, _is_projected(e, args, pre_activations, has_projection))

    # The first pass finds the widths of the new states, which are those of the previous ones too.
    known.update(dict.fromkeys(previous))
    infer(new)
    states = [bool(known[e]) for e in new]
    known.clear()
    known.update(zip(previous, states, strict=True))
    known.update(zip(d_new, states, strict=False))
    infer([*new, *roots])
    # Masks are as wide as what they multiply.
    for e in reversed(topological([*new, *roots])):
        if known[e] is not None and e.op not in CROSS_UNIT:
            for a in e.args:
                if known[a] is None and a.op != "const":
                    known[a] = known[e]
    return {e: bool(width) for e, width in known.items()}


def _is_projected(e, args, pre_activations, has_projection):
    """Return whether a node has P values, given whether its arguments do; None if unknown."""
    if e.op == "projection":
        if args[0]:
            raise ValueError("projection needs a vector of H values (one per unit), got P values")
        return True
    if e.op == "product_t":
        return has_projection
    if e.op == "product" and bool(args[0]) != has_projection:
        needed, got = ("P", "H") if has_projection else ("H", "P")
        raise ValueError(
            f"product({e.name!r}, ...) needs a vector of {needed} values, as the first state has, "
            f"got {got} values"
        )
    if e.op in ("product", "projection_t"):
        return False
    if e.op == "input":
        return False if e in pre_activations else None
    widths = {a for a in args if a is not None}
    if len(widths) > 1:
        raise ValueError(f"{e.op} combines H values (one per unit) with P projected values")
    return widths.pop() if widths else None
